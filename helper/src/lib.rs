//! What runs inside namespaces on behalf of debmock: unpacking, dpkg's database, bootstrap,
//! archives of trees.

pub mod bootstrap;
pub mod dpkgdb;
pub mod pack;
pub mod unpack;
