//! Archives that are named for one call, as lines of `sources.list(5)`.

use super::apt::{one_line, without_login};
use super::source::{ArchiveSource, ByHash, Keyring};
use super::{Config, Credential};
use crate::error::{Error, ErrorKind, Result};

/// Reads lines such as `deb [signed-by=/path/to/key.asc] https://mirror.example.org/debian
/// trixie-backports main`. One that names no keys must be signed by those of the config's first
/// archive; fingerprints alone choose among these.
///
/// Logins in the URIs come back apart, as everywhere in a config.
///
/// # Errors
/// [`ErrorKind::Usage`] for a line that is not understood or names no packages.
pub fn extra_repositories(
    lines: &[String],
    config: &Config,
) -> Result<(Vec<ArchiveSource>, Vec<Credential>)> {
    let mut sources = Vec::new();
    let mut credentials = Vec::new();
    for line in lines {
        let mut warnings = Vec::new();
        let entries =
            one_line(line, "extra repository", config.architecture.as_str(), &mut warnings);
        let usage = |why: &str| {
            Error::new(
                ErrorKind::Usage,
                format!("the extra repository {line:?} cannot be used: {why}"),
            )
            .with_hint(
                "write it as `deb URI SUITE COMPONENT…`; sources.list(5) describes the format",
            )
        };
        if let Some(warning) = warnings.first() {
            return Err(usage(&warning.message));
        }
        let Some(entry) = entries.into_iter().find(|entry| entry.types.iter().any(|t| t == "deb"))
        else {
            return Err(usage("it does not begin with `deb`"));
        };
        let signed_by = &entry.options.signed_by;
        let keyring = match (&signed_by.inline, config.archives.first()) {
            (Some(inline), _) => Keyring::Inline(inline.clone()),
            (None, first) if signed_by.files.is_empty() => match first {
                Some(first) => first.keyring.clone(),
                None => Keyring::BuiltIn(config.distribution.name().to_owned()),
            }
            .only(&signed_by.fingerprints),
            (None, _) => Keyring::Files {
                files: signed_by.files.clone(),
                fingerprints: signed_by.fingerprints.clone(),
            },
        };
        let (uri, login) = match without_login(&entry.uri) {
            Some((uri, login)) => (uri, Some(login)),
            None => (entry.uri.clone(), None),
        };
        credentials.extend(login);
        let check_date = entry.options.check_date.unwrap_or(true);
        sources.push(ArchiveSource {
            uri,
            suite: entry.suite,
            components: entry.components,
            architectures: entry.options.architectures,
            keyring,
            trusted: entry.options.trusted == Some(true),
            check_valid_until: check_date && entry.options.check_valid_until.unwrap_or(true),
            check_date,
            valid_until_max: entry.options.valid_until_max,
            by_hash: entry.options.by_hash.unwrap_or(ByHash::Auto),
            origin: None,
            presumed: false,
        });
    }
    Ok((sources, credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<(Vec<ArchiveSource>, Vec<Credential>)> {
        let config = Config::load("debian-bookworm", &["use_host_apt=false"]).unwrap();
        extra_repositories(&[line.to_owned()], &config)
    }

    #[test]
    fn a_line_becomes_an_archive() {
        let line = "deb [signed-by=/k.asc trusted=yes] http://u:p@mirror.example.org/x/ bookworm-backports main contrib";
        let (sources, logins) = of(line).unwrap();
        assert_eq!(sources[0].suite, "bookworm-backports");
        assert_eq!(sources[0].components, ["main", "contrib"]);
        assert!(sources[0].trusted && !sources[0].uri.contains("u:p"), "{sources:?}");
        assert_eq!(logins[0].login, "u");
        let (sources, _) = of("deb http://mirror.example.org/x ./").unwrap();
        assert!(sources[0].components.is_empty() && !sources[0].trusted);
        assert_ne!(sources[0].keyring, Keyring::Inline(String::new()));
    }

    #[test]
    fn fingerprints_alone_choose_among_the_keys_of_the_config() {
        let fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567";
        let line = format!("deb [signed-by={fingerprint}] http://mirror.example.org/x ./");
        let all = of("deb http://mirror.example.org/x ./").unwrap().0[0].keyring.clone();
        let (sources, _) = of(&line).unwrap();
        assert_eq!(sources[0].keyring, all.only(&[fingerprint.to_owned()]));
    }

    #[test]
    fn lines_that_name_no_packages_are_refused() {
        for line in [
            "",
            "# deb http://a b c",
            "deb-src http://mirror.example.org/x sid main",
            "deb http://mirror.example.org",
            "deb [x http://a b c",
        ] {
            assert_eq!(of(line).unwrap_err().kind(), ErrorKind::Usage, "{line}");
        }
    }
}
