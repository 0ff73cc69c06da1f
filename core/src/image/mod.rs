//! OCI images on disk: the image layout, as a directory or as a tar archive of it.
//!
//! What this room promises: what it writes is the same bytes for the same layers, and loads
//! wherever images do; of what it reads every digest and every size is checked before it counts,
//! nothing but SHA-256 is taken for a digest (so that no digest is ever a path), and no document
//! of any size is read into memory. Layers themselves are never unpacked here: that is the
//! helper's business.
//!
//! The types follow the image specification 1.1 (`image-layout.md`, `image-index.md`, `manifest.md`,
//! `config.md`, `descriptor.md`). They are a page of serde; the crate `oci-spec` brings twenty
//! crates of macros and regular expressions for the same, and takes any algorithm as a digest.

mod platform;
mod read;
mod types;
mod write;

pub(crate) use platform::Platform;
pub(crate) use read::{Layer, Layout};
pub(crate) use types::Digest;
pub(crate) use write::{NewLayer, Writer, reference};

/// Documents of an image that are longer, in bytes, are refused.
const LONGEST: u64 = 4 << 20;
/// An image with more layers is refused: other tools take 127.
const MOST_LAYERS: usize = 256;
/// Indexes may lead to indexes, and each of them to the same one a thousand times.
const MOST_INDEXES: usize = 32;
