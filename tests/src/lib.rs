//! What the end-to-end tests of debmock share: packages, sources and signed archives made from
//! nothing, a web server with faults, what this machine can do, and stored outputs of other tools.
//!
//! Nothing here is part of the product. A test kit fails by panicking, so its functions return
//! values, not results; each panic says what it was doing to what.
//!
//! Test programs are in `tests/tests/`, and their names say what they need:
//!
//! | name | needs |
//! |---|---|
//! | `local_*.rs` | nothing but this crate: archives are generated |
//! | `real_*.rs` | the Debian mirror of this machine |
//! | `oracle_*.rs` | the mirror, and another tool to compare with |
//! | `all_*.rs` | the mirror and much time; only `tests/run oracle-all` runs them |

pub mod apt;
pub mod archive;
pub mod area;
pub mod compression;
pub mod copies;
pub mod deb;
pub mod drive;
pub mod dsc;
pub mod install;
pub mod key;
pub mod kill;
pub mod machine;
pub mod manifest;
pub mod oracle;
pub mod package;
pub mod prefix;
pub mod rig;
pub mod root;
pub mod server;
pub mod tarball;
pub mod tiny;
pub mod tls;
pub mod toolchain;
pub mod user;
