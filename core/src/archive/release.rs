//! Release files: what a suite says about itself and about its indexes.

use super::checksum::Sha256;
use super::date;
use super::deb822::Control;
use crate::config::ArchiveSource;
use crate::error::{Error, ErrorKind, Result};
use std::collections::HashMap;

/// A file that a Release file vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its hash.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
}

/// The content of a Release file whose signature was verified.
#[derive(Debug, Clone)]
pub struct Release {
    control: Control,
    files: HashMap<String, Listed>,
    name: String,
}

impl Release {
    /// Reads the signed text of a file called `name` in messages.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] for text that is no Release file, and for one without SHA-256
    /// values.
    pub fn parse(text: &[u8], name: &str) -> Result<Self> {
        let control = Control::parse(text, name)?;
        let table = control.get("SHA256").ok_or_else(|| {
            Error::new(ErrorKind::Archive, format!("{name} has no SHA256 values"))
                .with_hint("MD5 and SHA-1 are not accepted; the archive must be made again with a current tool")
        })?;
        let mut files = HashMap::new();
        for line in table.lines().filter(|line| !line.trim().is_empty()) {
            let mut words = line.split_whitespace();
            let entry = (words.next(), words.next(), words.next(), words.next());
            let (Some(hash), Some(size), Some(path), None) = entry else {
                return Err(Error::new(
                    ErrorKind::Archive,
                    format!("{name} has the line {line:?} among its SHA256 values"),
                ));
            };
            let size = size.parse().map_err(|_| {
                Error::new(ErrorKind::Archive, format!("{name} gives {path} the size {size:?}"))
            })?;
            files.insert(path.to_owned(), Listed { sha256: hash.parse()?, size });
        }
        Ok(Release { control, files, name: name.to_owned() })
    }

    /// A field, empty if it is absent.
    pub fn field(&self, name: &str) -> &str {
        self.control.get(name).unwrap_or_default()
    }

    /// `Origin`.
    pub fn origin(&self) -> &str {
        self.field("Origin")
    }

    /// `Suite`, such as `stable`.
    pub fn suite(&self) -> &str {
        self.field("Suite")
    }

    /// `Codename`, such as `bookworm`.
    pub fn codename(&self) -> &str {
        self.field("Codename")
    }

    /// `Date`, in seconds since the epoch.
    pub fn date(&self) -> Option<i64> {
        date::parse(self.field("Date"))
    }

    /// What the file says about the index at `path` below the suite's directory.
    pub fn file(&self, path: &str) -> Option<Listed> {
        self.files.get(path).copied()
    }

    /// Whether any listed path begins with `prefix`.
    pub fn has_files_below(&self, prefix: &str) -> bool {
        self.files.keys().any(|path| path.starts_with(prefix))
    }

    /// `Acquire-By-Hash`.
    pub fn by_hash(&self) -> bool {
        self.field("Acquire-By-Hash").eq_ignore_ascii_case("yes")
    }

    /// Whether the suite has packages of `architecture`. A file without the field does not say
    /// no.
    pub fn has_architecture(&self, architecture: &str) -> bool {
        let field = self.field("Architectures");
        field.is_empty() || field.split_whitespace().any(|name| name == architecture)
    }

    /// Whether packages of architecture `all` stand in an index of their own only.
    pub fn has_own_all_index(&self) -> bool {
        let lists_all = self.field("Architectures").split_whitespace().any(|name| name == "all");
        let merged = self.field("No-Support-for-Architecture-all");
        lists_all && !merged.split_whitespace().any(|name| name == "Packages")
    }

    /// The pin priority of its packages: 500, or less for suites that do not want to be taken
    /// by default (`apt_preferences(5)`).
    pub fn priority(&self) -> i32 {
        let yes = |field| self.field(field).eq_ignore_ascii_case("yes");
        match (yes("NotAutomatic"), yes("ButAutomaticUpgrades")) {
            (true, true) => 100,
            (true, false) => 1,
            _ => 500,
        }
    }

    /// Checks dates and names against what `source` asks for at the time `now` (seconds since
    /// the epoch). Gives warnings.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if the file is expired or from the future.
    pub fn check(&self, source: &ArchiveSource, now: i64) -> Result<Vec<String>> {
        let name = &self.name;
        let error = |why: String| Error::new(ErrorKind::Archive, format!("{name} {why}"));
        let stated = |field: &str| match self.control.get(field) {
            None => Ok(None),
            Some(text) => match date::parse(text) {
                Some(seconds) => Ok(Some((text, seconds))),
                None => Err(error(format!("has the {field} {text:?}, which is no date"))),
            },
        };
        let dated = stated("Date")?;
        if source.check_date
            && let Some((text, seconds)) = dated
            && seconds > now + 60
        {
            return Err(error(format!("is from the future: its Date is {text}")).with_hint(
                "set this machine's clock, or `check_date = false` for the archive in the config",
            ));
        }
        if source.check_valid_until {
            let hint = "take another mirror; for a frozen mirror or a snapshot set `check_valid_until = false` in the config";
            if let Some((text, seconds)) = stated("Valid-Until")?
                && seconds < now
            {
                return Err(error(format!(
                    "is expired: it was valid until {text}, {} ago",
                    span(now - seconds)
                ))
                .with_hint(hint));
            }
            if let (Some(max), Some((text, seconds))) = (source.valid_until_max, dated) {
                let max = i64::try_from(max.as_secs()).unwrap_or(i64::MAX);
                if seconds.saturating_add(max) < now {
                    let why = format!("is expired: its Date {text} is more than {} old", span(max));
                    return Err(error(why).with_hint(hint));
                }
            }
        }
        let mut warnings = Vec::new();
        let asked = source.suite.trim_end_matches('/');
        let told = [self.suite(), self.codename()];
        let named = told.iter().any(|name| !name.is_empty());
        // `bookworm/updates` and `stable-security` are told with their codename.
        let fits = |name: &&str| {
            *name == asked
                || asked.rsplit_once('/').is_some_and(|(_, last)| last == *name)
                || asked.split('/').next() == Some(name)
        };
        if !source.suite.ends_with('/') && named && !told.iter().any(fits) {
            warnings.push(format!(
                "{name} is for the suite {:?} with the codename {:?}, not for {asked:?}",
                self.suite(),
                self.codename()
            ));
        }
        Ok(warnings)
    }
}

/// A duration for people.
fn span(seconds: i64) -> String {
    match seconds {
        172_800.. => format!("{} days", seconds / 86400),
        7200.. => format!("{} hours", seconds / 3600),
        _ => format!("{} minutes", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::acquire::tests::source;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn release(fields: &str) -> Result<Release> {
        Release::parse(
            format!("{fields}SHA256:\n {HASH} 0 main/binary-amd64/Packages\n").as_bytes(),
            "InRelease",
        )
    }

    #[test]
    fn fields_and_table_are_read() {
        let release = release(
            "Suite: stable\nArchitectures: all amd64\nAcquire-By-Hash: yes\nNotAutomatic: yes\n",
        )
        .unwrap();
        assert_eq!(release.file("main/binary-amd64/Packages").unwrap().size, 0);
        assert!(
            release.by_hash() && release.has_own_all_index() && release.has_files_below("main/")
        );
        assert!(!release.has_architecture("i386"));
        assert_eq!(release.priority(), 1);
        let merged = super::tests::release(
            "Architectures: all amd64\nNo-Support-for-Architecture-all: Packages\n",
        )
        .unwrap();
        assert!(!merged.has_own_all_index());
    }

    #[test]
    fn weak_hashes_and_garbage_are_refused() {
        let error = Release::parse(b"Suite: x\nMD5Sum:\n a 0 b\n", "InRelease").unwrap_err();
        assert!(error.to_string().contains("no SHA256") && error.hint().is_some());
        assert!(Release::parse(b"Suite: x\nSHA256:\n a 0 b\n", "InRelease").is_err());
        assert!(Release::parse(b"<html>\n", "InRelease").is_err());
    }

    #[test]
    fn dates_are_checked() {
        let source = source("http://mirror.example.org", "sid");
        let at = |text| date::parse(text).unwrap();
        let limited = release("Suite: sid\nDate: Fri, 30 Oct 2026 08:00:00 UTC\nValid-Until: Fri, 06 Nov 2026 08:00:00 UTC\n").unwrap();
        let late = at("Mon, 09 Nov 2026 08:00:00 UTC");
        assert!(limited.check(&source, at("Fri, 06 Nov 2026 07:00:00 UTC")).unwrap().is_empty());
        let error = limited.check(&source, late).unwrap_err();
        assert!(error.to_string().contains("3 days ago"), "{error}");
        assert!(error.hint().unwrap().contains("check_valid_until = false"));
        let frozen = ArchiveSource { check_valid_until: false, ..source.clone() };
        assert!(limited.check(&frozen, late).is_ok());
        let error = limited.check(&source, at("Thu, 29 Oct 2026 08:00:00 UTC")).unwrap_err();
        assert!(error.to_string().contains("future"), "{error}");
        let short = ArchiveSource {
            valid_until_max: Some(std::time::Duration::from_secs(86400)),
            ..source
        };
        assert!(limited.check(&short, at("Sun, 01 Nov 2026 08:00:00 UTC")).is_err());
    }

    #[test]
    fn another_suite_is_a_warning() {
        let release = release("Suite: stable\nCodename: trixie\n").unwrap();
        for (suite, warnings) in [("trixie", 0), ("stable", 0), ("sid", 1), ("./", 0)] {
            let got = release.check(&source("http://mirror.example.org", suite), 0).unwrap();
            assert_eq!(got.len(), warnings, "{suite}");
        }
    }
}
