//! Raw system calls behind safe functions: with the C surface the only room that may say `unsafe`.
//!
//! Everything here is thin. What nix and rustix wrap well is used from there directly; here stands
//! only what neither has, or has as `unsafe`. Kernel floor: 5.12 (`mount_setattr(2)`; overlays in
//! user namespaces came with 5.11); newer features are probed by their callers.

pub mod capability;
pub mod file;
pub mod keyring;
pub mod lock;
pub mod mount;
pub mod network;
pub mod process;
pub mod seccomp;
pub mod socket;
pub mod terminal;

use rustix::io::Errno;

/// Turns the return value of a raw system call into a result.
fn check(value: libc::c_long) -> Result<libc::c_long, Errno> {
    if value < 0 {
        // SAFETY: __errno_location points to this thread's errno, always valid.
        return Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }));
    }
    Ok(value)
}
