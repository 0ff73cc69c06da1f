//! Command line of debmock.
