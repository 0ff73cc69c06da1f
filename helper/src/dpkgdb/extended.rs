//! apt's `extended_states`: which packages were installed only as dependencies.

use super::Stanza;

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
