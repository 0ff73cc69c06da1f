//! Where packages come from.

use std::path::PathBuf;
use std::time::Duration;

/// One suite of one archive, as a line of `sources.list(5)` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveSource {
    /// The archive's root without a slash at its end: `http`, `https`, `file` or `copy`.
    pub uri: String,
    /// The suite below `dists/`; one that ends in `/` is a flat repository's directory.
    pub suite: String,
    /// Components; empty for a flat repository.
    pub components: Vec<String>,
    /// Architectures to take instead of the config's own; empty: the config's own.
    pub architectures: Vec<String>,
    /// The keys that may sign the suite's Release file.
    pub keyring: Keyring,
    /// Taken without any signature (`trusted=yes`).
    pub trusted: bool,
    /// Refuse a Release file whose `Valid-Until` has passed.
    pub check_valid_until: bool,
    /// Refuse a Release file whose `Date` lies in the future.
    pub check_date: bool,
    /// Upper bound on the age of a Release file (`valid-until-max`).
    pub valid_until_max: Option<Duration>,
    /// Whether indexes are fetched under their hash.
    pub by_hash: ByHash,
    /// The `Origin` that the verified Release file must name; a source of the host's that names
    /// another is left out with a warning.
    pub origin: Option<String>,
    /// Nothing but the name of the suite says that the source is the distribution's, and a third
    /// party's repository may have that name too. Until a verified Release file has named the
    /// Origin, a source that cannot be used is left out with a warning if another one has the
    /// suite. Sources of the config itself, of `-updates` and of `-security` are never presumed:
    /// without them everything fails, so that nobody can take updates away by breaking them.
    pub presumed: bool,
}

impl ArchiveSource {
    /// A suite of an archive with all checks, whose keys are those of `keyring`.
    pub fn new(uri: &str, suite: &str, components: &[&str], keyring: Keyring) -> ArchiveSource {
        ArchiveSource {
            uri: uri.trim_end_matches('/').to_owned(),
            suite: suite.to_owned(),
            components: components.iter().map(|name| (*name).to_owned()).collect(),
            architectures: Vec::new(),
            keyring,
            trusted: false,
            check_valid_until: true,
            check_date: true,
            valid_until_max: None,
            by_hash: ByHash::Auto,
            origin: None,
            presumed: false,
        }
    }
}

/// The keys that may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keyring {
    /// OpenPGP certificates in these files, binary or armored; with fingerprints (upper-case
    /// hexadecimal), only these keys or subkeys of them. One that ends in `!` stands for the key
    /// itself without its subkeys.
    Files {
        /// The files.
        files: Vec<PathBuf>,
        /// Empty: every key of the files.
        fingerprints: Vec<String>,
    },
    /// An armored certificate, as deb822 sources may carry it in `Signed-By`.
    Inline(String),
    /// The archive keys that the library carries for this distribution (`debian`).
    BuiltIn(String),
    /// A key of any of these suffices. Files among them that cannot be read count as empty if
    /// another one has the key.
    Any(Vec<Keyring>),
    /// Of another keyring only these keys or subkeys of them, whatever it says itself.
    Only {
        /// The keyring.
        keyring: Box<Keyring>,
        /// As those of files; never empty.
        fingerprints: Vec<String>,
    },
}

impl Keyring {
    /// The same keyring, of which only these keys count; all of them if none is named.
    pub(crate) fn only(self, fingerprints: &[String]) -> Keyring {
        match fingerprints {
            [] => self,
            _ => Keyring::Only { keyring: Box::new(self), fingerprints: fingerprints.to_vec() },
        }
    }
}

/// `Acquire-By-Hash` (apt's `by-hash` option).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ByHash {
    /// As the Release file says.
    #[default]
    Auto,
    /// Never.
    No,
    /// Always.
    Force,
}
