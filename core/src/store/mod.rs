//! What we already have: layers, buildroots, package files, lists, locks.
//!
//! Files that belong to the caller (lists, package files) are written by the host process; trees
//! that belong to the roots' ids live in *zones*, one for each id map, and are touched only by the
//! helper, through [`Zone`].

pub mod debs;
pub(crate) mod known;
pub mod layer;
pub(crate) mod used;
mod zone;

pub use zone::{Held, Places, Zone, ZoneOptions};
pub(crate) use zone::{LAYER_LOCK, wait};
