//! What the user wants: TOML in, [`Config`] out.

mod network;
mod source;

pub use network::{Credential, Network};
pub use source::{ArchiveSource, ByHash, Keyring};
