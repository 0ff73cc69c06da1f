//! apt's `extended_states`: which packages were installed only as dependencies.

use std::os::fd::BorrowedFd;

use super::info::read;
use super::{Error, Stanza};

/// The mark of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedState {
    /// Package name.
    pub name: String,
    /// Its architecture; for `all` apt writes the native one.
    pub architecture: String,
    /// Installed automatically.
    pub auto: bool,
}

/// The marks that apt recorded in a root; none if apt never did.
///
/// # Errors
/// The file cannot be read, or is not in apt's form.
pub fn extended_states(root: BorrowedFd<'_>) -> Result<Vec<ExtendedState>, Error> {
    const PATH: &str = "var/lib/apt/extended_states";
    let text = match read(root, PATH) {
        Ok(text) => text,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    ExtendedState::parse(&text)
        .map_err(|error| Error::Damaged { path: format!("/{PATH}"), what: error.to_string() })
}

impl ExtendedState {
    /// The marks in `text`, in its order. Paragraphs without the needed fields are left out.
    ///
    /// # Errors
    /// The text consists of no paragraphs.
    pub fn parse(text: &[u8]) -> Result<Vec<Self>, super::StanzaError> {
        Ok(Stanza::parse(text)?
            .into_iter()
            .filter_map(|stanza| {
                Some(Self {
                    name: stanza.text("Package")?.into(),
                    architecture: stanza.text("Architecture")?.into(),
                    auto: stanza.text("Auto-Installed") == Some("1"),
                })
            })
            .collect())
    }

    /// The file as apt writes it for the first time: automatic packages only, in the order of
    /// its cache ([`bucket_order`]).
    pub fn write(states: &[Self]) -> String {
        let mut automatic: Vec<_> = states.iter().filter(|state| state.auto).collect();
        automatic.sort_by_key(|state| (bucket_order(&state.name), state.name.clone()));
        automatic
            .iter()
            .map(|state| {
                format!(
                    "Package: {}\nArchitecture: {}\nAuto-Installed: 1\n\n",
                    state.name, state.architecture
                )
            })
            .collect()
    }
}

/// The place of a package in apt's cache: the bucket of its name in a hash table of the
/// default size (`APT::Cache-HashTableSize`), by the hash that apt 1.9 to 3.x use.
pub fn bucket_order(name: &str) -> u32 {
    const BUCKETS: u32 = 196_613;
    let hash = name.bytes().fold(5381u32, |hash, byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(byte.to_ascii_lowercase()))
    });
    hash % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_written_in_the_order_of_apts_cache() {
        let mark = |name: &str, auto| ExtendedState {
            name: name.into(),
            architecture: "amd64".into(),
            auto,
        };
        // As apt 2.6 wrote them on a bookworm system.
        let names = ["libkeyutils1", "libgomp1", "libext2fs2", "libffi8", "libgssapi-krb5-2"];
        let mut states: Vec<_> = names.iter().map(|name| mark(name, true)).collect();
        states.sort_by(|a, b| a.name.cmp(&b.name));
        states.push(mark("manual", false));
        let text = ExtendedState::write(&states);
        let read = ExtendedState::parse(text.as_bytes()).unwrap();
        let order: Vec<_> = read.iter().map(|state| state.name.as_str()).collect();
        assert_eq!(order, names);
        assert!(
            text.starts_with("Package: libkeyutils1\nArchitecture: amd64\nAuto-Installed: 1\n\n")
        );
    }
}
