//! C ABI of debmock: empty shell.
