//! dpkg's database below `/var/lib/dpkg`, written as `dpkg --unpack` leaves it, and read back.
//!
//! What this room promises: once a [`Database`] is finished, the root's own dpkg takes the packages
//! for unpacked by itself: `status` with `install ok unpacked` and `newconffile`, the `info`
//! files under the names of format 1 (`PKG.list`, `PKG:ARCH.list` for Multi-Arch: same),
//! triggers that packages are interested in. dpkg rewrites `status` in its own order of
//! paragraphs and fields whenever it runs, so the order written here is not kept.
//!
//! The formats are described in `dpkg(1)` FILES, `deb-triggers(5)`, `deb-conffiles(5)` and in
//! `doc/spec/triggers.txt` of dpkg's source.
#![forbid(unsafe_code)]

mod addition;
mod extended;
pub(crate) mod info;
mod present;
mod registry;
mod relation;
mod stanza;
mod status;
mod triggers;
pub mod version;

pub(crate) use addition::{Addition, announce, mark, settle};
pub use extended::{ExtendedState, bucket_order, extended_states};
pub(crate) use info::Record;
pub use info::{Database, Summary};
pub(crate) use present::{Objection, Present};
pub(crate) use registry::Registry;
pub(crate) use relation::{alternatives, replaces, satisfied};
pub use stanza::{Identity, Stanza, StanzaError};
pub use status::{Installed, State, installed};
pub use triggers::Interest;
pub(crate) use triggers::is_sound as triggers_are_sound;

/// What went wrong with the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of it could not be read or written.
    #[error("cannot {doing} {path} of the root: {source}")]
    Io {
        /// The verb.
        doing: &'static str,
        /// Path in the root.
        path: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A file of it is not in the form that dpkg writes.
    #[error("{path} of the root is damaged: {what}; “dpkg --audit” in the root may say more")]
    Damaged {
        /// Path in the root.
        path: String,
        /// What is wrong where.
        what: String,
    },
}
