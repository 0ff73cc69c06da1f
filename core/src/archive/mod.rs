//! What the archive offers: Release files and their signatures, indexes, packages, sources.
//!
//! Everything that comes out of this room is covered by a chain that begins at a key which the
//! config trusts: key, signature, Release file, index, package or source. A link that does not
//! hold is an error, never a warning. Which packages are chosen is the solver's affair; where
//! `.deb` files lie, the store's.

pub mod access;
pub mod acquire;
pub mod architecture;
pub mod checksum;
pub mod date;
pub mod deb822;
pub mod decode;
pub mod fetch;
pub mod index;
mod parallel;
pub mod relation;
pub mod release;
pub mod signature;
pub mod source;
pub mod state;
mod table;
#[cfg(test)]
pub(crate) mod testing;
pub mod transport;
pub mod uri;
pub mod version;
pub mod writer;
