//! From `.deb` files and tar streams to a tree.
//!
//! What this room promises:
//! - nothing in an archive can name, read or change a file outside the root: paths are
//!   resolved with the root as `/` ([`Tree`]), files are made with `O_EXCL | O_NOFOLLOW`,
//!   absolute names and `..` are errors;
//! - owner, mode, times, extended attributes and hard links arrive as dpkg would set them;
//!   links of a merged /usr are followed, as by `tar --keep-directory-symlink`;
//! - memory and disk are bounded whatever the headers claim ([`Limits`]); damaged, truncated
//!   and foreign archives are errors that name package, member and path ([`Error`]);
//! - packages are unpacked in parallel ([`unpack_all`]); the result does not depend on the
//!   order in which they come;
//! - a package that was unpacked once is taken from there, checked, by a link or a copy, and not
//!   decoded again ([`Records`]).
//!
//! What dpkg's database says about the packages is for its neighbour [`crate::dpkgdb`]. There
//! are no `fsync`s: a tree that was not completed is thrown away by its owner.
#![forbid(unsafe_code)]

mod all;
mod ar;
mod claims;
pub(crate) mod codec;
mod deb;
mod error;
mod kept;
mod package;
pub(crate) mod path;
pub(crate) mod place;
mod record;
pub(crate) mod tarstream;
mod tree;

pub use all::{Arrival, Progress, unpack_all};
pub(crate) use all::{Known, Stock, Way, take_all, unpack_apart};
pub use codec::{Compression, Decoder, Sums};
pub use deb::{Conffile, Control, ControlFile, inspect};
pub use error::{Error, Problem};
pub(crate) use error::{is_lack, shown as escaped};
pub(crate) use kept::{Search, looks_whole};
pub use package::{Unpacked, Unpacker, hex};
pub use place::Limits;
pub(crate) use record::Record;
pub use record::Records;
pub use tree::Tree;
pub(crate) use tree::set_mode;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod hostile_tests;
