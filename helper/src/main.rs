//! The program `debmock-helper`.
fn main() {}
