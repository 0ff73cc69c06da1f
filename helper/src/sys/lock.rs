//! Open-file-description locks, `fcntl(2)`: they belong to the descriptor, are shared by forks of
//! it and die with its last copy.

use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How a lock is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Any number of holders.
    Shared,
    /// One holder.
    Exclusive,
}

/// Tries to take the lock of the whole file; false when somebody else has it.
pub fn try_take(file: BorrowedFd<'_>, sharing: Sharing) -> Result<bool, Errno> {
    match call(file, sharing, libc::F_OFD_SETLK) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits until the lock of the whole file is free and takes it.
pub fn take(file: BorrowedFd<'_>, sharing: Sharing) -> Result<(), Errno> {
    loop {
        match call(file, sharing, libc::F_OFD_SETLKW) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Gives the lock up for every copy of the descriptor: one that a forked process has not closed yet
/// must not hold it longer.
pub fn release(file: BorrowedFd<'_>) {
    // SAFETY: as in `call`.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_UNLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open and `lock` outlives the call, which cannot fail for a lock
    // that is held.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) };
}

/// Whether somebody else holds the lock of the whole file; takes nothing.
pub fn is_held(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    // SAFETY: as in `call`.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open and `lock` outlives the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    super::check(result.into())?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

fn call(file: BorrowedFd<'_>, sharing: Sharing, command: libc::c_int) -> Result<(), Errno> {
    let kind = match sharing {
        Sharing::Shared => libc::F_RDLCK,
        Sharing::Exclusive => libc::F_WRLCK,
    };
    // SAFETY: flock is plain data; zero is a valid value of each field (l_pid must be 0).
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open and `lock` outlives the call.
    super::check(unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) }.into())?;
    Ok(())
}
