//! What we already have: layers, buildroots, package files, lists, locks.
//!
//! Files that belong to the caller (lists, package files) are written by the host process; trees
//! that belong to the roots' ids live in *zones*, one for each id map, and are touched only by the
//! helper, through [`Zone`].

pub mod debs;
pub mod layer;
mod zone;

pub(crate) use zone::wait;
pub use zone::{Held, Places, Zone, ZoneOptions};
