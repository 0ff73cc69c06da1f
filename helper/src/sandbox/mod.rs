//! Namespaces, id maps, mounts, devices, network, and the start of programs.
//!
//! `identity` turns the helper into uid 0 of a user namespace; `tree` makes the mount that becomes
//! `/`, `memory` what holds its changes where they are to be thrown away; `mounts` lays out a session's mount namespace around it; `network` makes the empty network
//! namespace; `command` starts programs, `spare` before they are known; `floor` says when they have filled the disk.

pub mod command;
pub mod floor;
pub mod identity;
pub mod memory;
pub mod mounts;
pub mod network;
pub mod spare;
pub mod tree;
pub mod user;
