//! What functions return, and which edition of the interface this is.

// The numbers are those of the library's table of error kinds; a test compares them.

/// The call succeeded.
pub const DEBMOCK_OK: i32 = 0;
/// Anything that no other status describes; also an error of debmock itself.
pub const DEBMOCK_ERR_UNEXPECTED: i32 = 1;
/// A configuration file, option or host configuration that cannot be used.
pub const DEBMOCK_ERR_CONFIG: i32 = 2;
/// A call with arguments that make no sense.
pub const DEBMOCK_ERR_USAGE: i32 = 3;
/// An archive that cannot be reached or whose data do not fit together.
pub const DEBMOCK_ERR_ARCHIVE: i32 = 4;
/// A signature that is missing, wrong, expired or from an unknown key.
pub const DEBMOCK_ERR_SIGNATURE: i32 = 5;
/// Dependencies that cannot be satisfied.
pub const DEBMOCK_ERR_DEPENDENCY: i32 = 6;
/// apt or dpkg failed inside a root.
pub const DEBMOCK_ERR_PACKAGE: i32 = 7;
/// The package did not build.
pub const DEBMOCK_ERR_BUILD: i32 = 8;
/// A time limit ran out.
pub const DEBMOCK_ERR_TIMEOUT: i32 = 9;
/// A buildroot that is missing, damaged or cannot be changed.
pub const DEBMOCK_ERR_BUILDROOT: i32 = 10;
/// Another process holds the buildroot and the time to wait ran out.
pub const DEBMOCK_ERR_LOCKED: i32 = 11;
/// A session of this process is open on the buildroot.
pub const DEBMOCK_ERR_BUSY: i32 = 12;
/// The result directory cannot be written.
pub const DEBMOCK_ERR_RESULT_DIR: i32 = 13;
/// This machine or user cannot have the isolation that was asked for.
pub const DEBMOCK_ERR_ISOLATION: i32 = 14;
/// The first layer could not be made.
pub const DEBMOCK_ERR_BOOTSTRAP: i32 = 15;
/// A source package that cannot be used: missing, damaged or hostile.
pub const DEBMOCK_ERR_SOURCE: i32 = 16;
/// The caller cancelled.
pub const DEBMOCK_ERR_CANCELLED: i32 = 17;
/// A handle was used in a forked child of the process that made it.
pub const DEBMOCK_ERR_FORKED: i32 = 18;
/// The operating system refused an operation on a file or descriptor.
pub const DEBMOCK_ERR_IO: i32 = 19;
/// The device is full.
pub const DEBMOCK_ERR_NO_SPACE: i32 = 20;
/// The store or its state is damaged or cannot be used.
pub const DEBMOCK_ERR_STORE: i32 = 21;
/// The helper program is missing, of another build, or broke the protocol.
pub const DEBMOCK_ERR_HELPER: i32 = 22;
/// A command inside the root could not be started.
pub const DEBMOCK_ERR_EXEC: i32 = 23;

/// The edition of the interface that this header describes: the first two parts of the version,
/// as major * 1000 + minor.
pub const DEBMOCK_ABI_VERSION: u32 = 1;

/// The edition of the interface that the loaded library has. A program works with a library whose
/// edition is not lower than DEBMOCK_ABI_VERSION was when it was compiled. Never fails.
#[unsafe(no_mangle)]
pub extern "C" fn debmock_abi_version() -> u32 {
    DEBMOCK_ABI_VERSION
}

#[cfg(test)]
mod tests {
    use debmock::ErrorKind;

    #[test]
    fn constants_are_those_of_the_table_of_kinds() {
        let source = include_str!("status.rs");
        for kind in ErrorKind::ALL {
            let line = format!("pub const {}: i32 = {};", kind.c_name(), *kind as u32);
            assert!(source.contains(&line), "missing or other: {line}");
        }
        assert_eq!(source.matches("pub const DEBMOCK_ERR_").count(), ErrorKind::ALL.len() + 1);
    }

    #[test]
    fn the_edition_is_that_of_the_version() {
        let mut parts = env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse::<u32>());
        let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else { panic!() };
        assert_eq!(super::debmock_abi_version(), major * 1000 + minor);
    }
}
