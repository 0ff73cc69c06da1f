//! The helper: the only debmock process that enters namespaces and touches untrusted trees.
//!
//! As a library it is the protocol (with the host's end of it) and everything that the program
//! `debmock-helper` does: sandboxes, unpacking, dpkg's database, the bootstrap of a first tree,
//! archives of trees. It has no network, no OpenPGP, no solver and no argument parser.

#![deny(unsafe_code)]

pub mod apply;
pub mod bootstrap;
pub mod door;
pub mod dpkgdb;
pub mod keeper;
pub mod pack;
pub mod protocol;
pub mod sandbox;
pub mod serve;
pub mod sparse;
pub mod store;
#[expect(unsafe_code, reason = "the room of raw system calls")]
pub mod sys;
pub mod unpack;
pub mod work;
