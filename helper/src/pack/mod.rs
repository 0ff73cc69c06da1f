//! A tree as one stream, and back.
//!
//! What this room promises: [`export`] writes the same bytes for the same tree, wherever and
//! whenever, in the form that `mmdebstrap` gives its archives (pax, sorted by name, numeric
//! owners, times clamped to `SOURCE_DATE_EPOCH`, extended attributes, the nodes of `/dev`
//! synthesised), and [`import`] takes such a stream, or anyone else's, with the care of
//! [`crate::unpack`].
#![forbid(unsafe_code)]

mod export;
mod frames;
mod header;
mod import;
mod unframe;
mod writers;

pub use export::{Devices, ExportOptions, Written, export};
pub use frames::{Codec, Frames, compress};
pub use import::{ImportOptions, Marks, Ownership, import};

/// How the name of a mark begins that hides what lies under the rest of the name in a layer below
/// (OCI image specification, “Whiteouts”).
const WHITEOUT: &[u8] = b".wh.";
/// Name of the mark in a directory that hides what layers below have in it.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Why a tree could not be archived.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something in the tree could not be read.
    #[error("cannot {doing} {path} of the root: {source}")]
    Read {
        /// The verb.
        doing: &'static str,
        /// Path in the root.
        path: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A file became shorter or longer while it was read.
    #[error("{path} of the root changed while it was archived; end what is running in it first")]
    Changed {
        /// Path in the root.
        path: String,
    },
    /// The archive could not be written.
    #[error("cannot write the archive: {0}")]
    Write(#[from] std::io::Error),
    /// A file has a name that means something else in a layer.
    #[error(
        "{path} of the root cannot be in a layer of an image: names that begin with .wh. mean \
         there that a file was deleted"
    )]
    Mark {
        /// Path in the root.
        path: String,
    },
    /// Directories in directories in directories.
    #[error("directories of the root are nested deeper than {levels} levels: {path}")]
    TooDeep {
        /// How deep they may be nested.
        levels: usize,
        /// Path in the root, shortened.
        path: String,
    },
}

#[cfg(test)]
mod tests;
