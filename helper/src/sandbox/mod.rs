//! Namespaces, id maps, mounts, devices, network, and the start of programs.
//!
//! `identity` turns the helper into uid 0 of a user namespace; `tree` makes the mount that becomes
//! `/`; `mounts` lays out a session's mount namespace around it; `network` makes the empty network
//! namespace; `command` starts programs.

pub mod command;
pub mod identity;
pub mod mounts;
pub mod network;
pub mod tree;
pub mod user;
