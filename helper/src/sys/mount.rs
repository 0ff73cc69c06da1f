//! The parts of the mount API that rustix lacks.

use super::check;
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Attributes of a mount, `mount_setattr(2)` (Linux 5.12).
pub const RDONLY: u64 = 0x1;
/// Setuid programs have no effect.
pub const NOSUID: u64 = 0x2;
/// Device nodes have no effect.
pub const NODEV: u64 = 0x4;
/// Nothing can be executed.
pub const NOEXEC: u64 = 0x8;

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets `attributes` on the mount that `mount` is the root of, and below it if `recursive`.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: u64,
    recursive: bool,
) -> Result<(), Errno> {
    change_attributes(mount, attributes, 0, recursive)
}

/// As [`set_attributes`], and clears those in `cleared`.
pub fn change_attributes(
    mount: BorrowedFd<'_>,
    attributes: u64,
    cleared: u64,
    recursive: bool,
) -> Result<(), Errno> {
    let attr = MountAttr { attr_set: attributes, attr_clr: cleared, propagation: 0, userns_fd: 0 };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is an empty C string, the structure has the size that is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}
