//! The program `debmock`.
fn main() {}
