//! debmock creates, caches, snapshots and enters isolated Debian and Ubuntu build environments
//! and builds packages in them.
//!
//! The library never forks without exec and never changes the host process: everything that
//! needs a namespace happens in the program `debmock-helper`, which it starts and talks to.
//! `docs/architecture.md` describes the rooms.

#![forbid(unsafe_code)]

pub mod apt;
pub mod archive;
pub mod bootstrap;
pub mod build;
pub mod buildroot;
pub mod config;
pub mod error;
pub mod event;
pub mod host;
mod image;
pub mod operation;
pub mod solve;
pub mod state;
pub mod store;

pub use error::{Error, ErrorKind, Result};
