//! Files, beyond what nix and rustix have.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Begins to write to the disk what is in memory of a file, without waiting for the end,
/// `sync_file_range(2)`. What the kernel refuses it does some other time.
pub fn begin_writing(file: BorrowedFd<'_>) {
    // SAFETY: takes a descriptor and integers.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}
