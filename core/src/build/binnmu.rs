//! The changelog entry of a binNMU.

use super::BinNmu;
use crate::archive::date;
use crate::archive::version::Version;
use crate::error::{Error, ErrorKind, Result};

/// The version of a binNMU: `+bN` behind that of the source.
pub(super) fn version(source: &Version, number: u32) -> Result<Version> {
    Version::parse(&format!("{source}+b{number}"))
}

/// What an entry is about.
pub(super) struct About<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a Version,
    pub(super) distribution: &'a str,
    pub(super) architecture: &'a str,
    /// Who signs if the options name nobody.
    pub(super) maintainer: &'a str,
}

/// The entry that goes before `changelog` (Policy section 4.4, with dpkg's `binary-only`).
pub(super) fn entry(binnmu: &BinNmu, about: &About<'_>, changelog: &str) -> Result<String> {
    let time = match binnmu.timestamp {
        Some(time) => time,
        None => last_entry(changelog)? + i64::from(binnmu.number),
    };
    let maintainer = binnmu.maintainer.as_deref().unwrap_or(about.maintainer);
    let message = binnmu.message.trim().lines().collect::<Vec<_>>().join("\n    ");
    let About { name, version, distribution, architecture, .. } = about;
    Ok(format!(
        "{name} ({version}) {distribution}; urgency=low, binary-only=yes\n\n  \
         * Binary-only non-maintainer upload for {architecture}; no source changes.\n  \
         * {message}\n\n -- {}  {}\n\n",
        maintainer.split_whitespace().collect::<Vec<_>>().join(" "),
        date::format(time).replace(" UTC", " +0000"),
    ))
}

/// The time of the topmost entry, seconds since 1970.
fn last_entry(changelog: &str) -> Result<i64> {
    let line = changelog.lines().find(|line| line.starts_with(" -- "));
    let time =
        line.and_then(|line| line.split_once(">  ")).and_then(|(_, time)| date::parse(time.trim()));
    time.ok_or_else(|| {
        Error::new(
            ErrorKind::Source,
            "the time of the last entry of debian/changelog is not understood",
        )
        .with_hint("give the time of the binNMU")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "hello (2.10-3) unstable; urgency=medium\n\n  * x\n\n \
        -- A <a@example.org>  Mon, 26 Dec 2022 16:30:00 +0100\n";

    #[test]
    fn the_entry_is_that_of_a_build_daemon() {
        let binnmu = BinNmu {
            number: 2,
            message: "Rebuild against libfoo2\nand libbar3\n".into(),
            maintainer: None,
            timestamp: None,
        };
        let version = version(&Version::parse("2.10-3").unwrap(), 2).unwrap();
        let about = About {
            name: "hello",
            version: &version,
            distribution: "sid",
            architecture: "amd64",
            maintainer: "A <a@example.org>",
        };
        assert_eq!(
            entry(&binnmu, &about, OLD).unwrap(),
            "hello (2.10-3+b2) sid; urgency=low, binary-only=yes\n\n  \
             * Binary-only non-maintainer upload for amd64; no source changes.\n  \
             * Rebuild against libfoo2\n    and libbar3\n\n \
             -- A <a@example.org>  Mon, 26 Dec 2022 15:30:02 +0000\n\n"
        );
    }

    #[test]
    fn a_changelog_without_a_time_is_refused() {
        assert_eq!(last_entry("x\n").unwrap_err().kind(), ErrorKind::Source);
    }
}
