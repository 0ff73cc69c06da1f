//! Who uses files and directories of the caller's part of the store.
//!
//! flock(2) locks say so: they die with their holders, and containers that share a store see those of
//! each other. On a file system without such locks nobody knows.

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, Timespec, Timestamps, flock, open};
use rustix::fs::{UTIME_NOW, UTIME_OMIT, fstat, statat, utimensat};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// A file or directory that is in use as long as the value lives.
#[derive(Debug)]
pub(crate) struct Use {
    _lock: OwnedFd,
}

impl Use {
    /// Begins to use what others may use, too.
    pub(crate) fn shared(path: &Path) -> io::Result<Self> {
        take(path, FlockOperation::LockShared)
    }

    /// Begins to use it alone; waits until nobody else does.
    pub(crate) fn alone(path: &Path) -> io::Result<Self> {
        take(path, FlockOperation::LockExclusive)
    }
}

fn take(path: &Path, how: FlockOperation) -> io::Result<Use> {
    loop {
        let lock = opened(path)?;
        match flock(&lock, how) {
            Ok(())
            | Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS | Errno::INVAL | Errno::BADF) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        // Whoever found it unused before it was locked has removed it.
        let (ours, there) = (fstat(&lock)?, statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?);
        if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino) {
            return Ok(Use { _lock: lock });
        }
    }
}

fn opened(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open(path, flags, Mode::empty())
}

/// Begins to use it alone, unless somebody else uses it, this process included: `None` then.
///
/// # Errors
/// It is gone, or nobody knows.
pub(crate) fn unless_used(path: &Path) -> io::Result<Option<Use>> {
    let lock = opened(path)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Use { _lock: lock })),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Notes that a file was used now: mounts with `relatime` or `noatime` do not. That it cannot be
/// noted makes it go earlier and harms nobody else.
pub(crate) fn note(path: &Path) {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: time(UTIME_NOW), last_modification: time(UTIME_OMIT) };
    let _ = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn is_used(path: &Path) -> bool {
        matches!(unless_used(path), Ok(None))
    }

    #[test]
    fn what_is_in_use_is_told_from_what_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [folder.path(), &file] {
            assert!(!is_used(path));
            let uses = [Use::shared(path).unwrap(), Use::shared(path).unwrap()];
            assert!(is_used(path));
            drop(uses);
            let alone = Use::alone(path).unwrap();
            assert!(is_used(path));
            drop(alone);
            assert!(!is_used(path));
        }
        let missing = folder.path().join("missing");
        assert!(!is_used(&missing) && unless_used(&missing).is_err());
    }
}
