//! The helper: the only debmock process that enters namespaces and touches untrusted trees.
//!
//! As a library it is the protocol (with the host's end of it) and everything that the program
//! `debmock-helper` does. It has no network, no OpenPGP, no solver and no argument parser.

#![deny(unsafe_code)]

pub mod keeper;
pub mod protocol;
pub mod sandbox;
pub mod serve;
pub mod store;
#[expect(unsafe_code, reason = "the room of raw system calls")]
pub mod sys;
pub mod work;
