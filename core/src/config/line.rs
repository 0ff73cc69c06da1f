//! Single lines of `sources.list(5)`, as options carry them.

use super::apt::Entry;
use super::{ArchiveSource, Config, Keyring};
use crate::error::{Error, ErrorKind, Result};

impl Config {
    /// Reads one line of `sources.list(5)`, such as
    /// `deb [signed-by=/path/key.gpg] http://mirror.example.org/debian bookworm-backports main`.
    /// Without `signed-by` the keys of this config's own archives may sign it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a line that is not understood.
    pub fn parse_source_line(&self, line: &str) -> Result<ArchiveSource> {
        let mut warnings = Vec::new();
        let found = super::apt::one_line(line, "option", self.architecture.as_str(), &mut warnings);
        let Some(entry) = found.into_iter().next() else {
            let why = warnings.pop().map_or_else(String::new, |warning| warning.message);
            return Err(Error::new(
                ErrorKind::Usage,
                format!("{line:?} is no line of a list of sources: {why}"),
            )
            .with_hint("give a line as in sources.list(5): deb [options] URI SUITE COMPONENT…"));
        };
        Ok(self.source_of(entry))
    }

    fn source_of(&self, entry: Entry) -> ArchiveSource {
        let Entry { uri, suite, components, options, .. } = entry;
        let signed_by = options.signed_by;
        let keyring = match signed_by.inline {
            Some(key) => Keyring::Inline(key),
            None if !signed_by.files.is_empty() => {
                Keyring::Files { files: signed_by.files, fingerprints: signed_by.fingerprints }
            }
            None => Keyring::Any(self.archives.iter().map(|own| own.keyring.clone()).collect()),
        };
        ArchiveSource {
            uri: super::apt::shown(&uri),
            suite,
            components,
            architectures: options.architectures,
            keyring,
            trusted: options.trusted == Some(true),
            check_valid_until: options.check_valid_until.unwrap_or(true),
            check_date: options.check_date.unwrap_or(true),
            valid_until_max: options.valid_until_max,
            by_hash: options.by_hash.unwrap_or_default(),
            origin: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loader, Places};
    use std::path::PathBuf;

    fn config() -> Config {
        let folder = tempfile::tempdir().unwrap();
        Loader::at(Places::below(folder.path())).load("debian-bookworm").unwrap()
    }

    #[test]
    fn a_line_becomes_a_source_with_its_options() {
        let line = "deb [signed-by=/k.gpg check-valid-until=no] http://mirror.example.org/debian bookworm-backports main contrib";
        let source = config().parse_source_line(line).unwrap();
        assert_eq!(source.suite, "bookworm-backports");
        assert_eq!(source.components, ["main", "contrib"]);
        assert!(!source.check_valid_until);
        let files = vec![PathBuf::from("/k.gpg")];
        assert_eq!(source.keyring, Keyring::Files { files, fingerprints: vec![] });
    }

    #[test]
    fn a_line_that_is_none_says_what_a_line_is() {
        let error = config().parse_source_line("deb nonsense").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hint().unwrap().contains("sources.list(5)"));
    }
}
