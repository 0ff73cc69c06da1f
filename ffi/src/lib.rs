//! The C surface of debmock: nothing but `core` behind C's types.
//!
//! Every function is one call into the library. `border` is the only way in: it turns C's pointers
//! into Rust's values, refuses those that cannot be right, turns errors into handles, and lets no
//! panic across. What callers are promised, and what they promise, is said once, at the head of
//! `include/debmock.h`, which is generated from these files (`ffi/tests/header.rs`).
//!
//! Long calls exist once, as a piece of work (`operation::Work`): the blocking form watches it, the
//! `_start` form hands out its handle.

#[macro_use]
mod border;

mod buildroot;
mod cancel;
mod config;
mod doctor;
mod error;
mod event;
mod lifecycle;
mod operation;
mod options;
mod packages;
mod process;
mod rebuild;
mod result;
mod run;
mod session;
mod snapshot;
mod status;
mod text;

pub use status::*;
