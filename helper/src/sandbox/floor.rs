//! What must stay free on the disk of a root while something works in it: a source that unpacks to
//! more than the disk holds takes the last byte from nobody else.

use rustix::fs::{StatVfs, fstatvfs};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Bytes that stay free, or this part of a small disk.
const RESERVE: u64 = 64 << 20;
const PART: u64 = 10;
/// Bytes that somebody may write in a millisecond.
const FASTEST: u64 = 2 << 20;

/// A limit for the free bytes of a disk.
#[derive(Debug, Clone, Copy)]
pub struct Floor(u64);

impl Floor {
    /// For work that begins now on the file system of `root`. On a disk that is nearly full
    /// already half of what is left may be used: whoever wants to make room must be able to work.
    pub fn now(root: &OwnedFd) -> Option<Floor> {
        fstatvfs(root).ok().and_then(|disk| Floor::of(&disk))
    }

    fn of(disk: &StatVfs) -> Option<Floor> {
        let (size, free) = bytes(disk);
        // File systems without a size have no end either.
        (size > 0).then(|| Floor(RESERVE.min(size / PART).min(free / 2)))
    }

    /// When to look again, at the latest; nothing once less is free.
    pub fn look(self, root: &OwnedFd) -> Option<Duration> {
        match fstatvfs(root) {
            Ok(disk) => self.check(&disk),
            Err(_) => Some(Duration::from_secs(1)),
        }
    }

    fn check(self, disk: &StatVfs) -> Option<Duration> {
        let (_, free) = bytes(disk);
        let left = free.checked_sub(self.0)?;
        Some(Duration::from_millis((left / FASTEST).clamp(2, 1000)))
    }
}

/// Size and free bytes.
fn bytes(disk: &StatVfs) -> (u64, u64) {
    let unit = disk.f_frsize;
    (disk.f_blocks.saturating_mul(unit), disk.f_bavail.saturating_mul(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(size: u64, free: u64) -> StatVfs {
        let root = OwnedFd::from(std::fs::File::open("/").unwrap());
        let mut disk = fstatvfs(&root).unwrap();
        (disk.f_frsize, disk.f_blocks, disk.f_bavail) = (1, size, free);
        disk
    }

    #[test]
    fn a_disk_is_looked_at_more_often_the_fuller_it_is() {
        let size = 1 << 40;
        let floor = Floor::of(&disk(size, 1 << 39)).unwrap();
        let look = |free| floor.check(&disk(size, free));
        assert_eq!(look(1 << 39), Some(Duration::from_secs(1)));
        assert_eq!(look(RESERVE + 100 * FASTEST), Some(Duration::from_millis(100)));
        assert_eq!(look(RESERVE), Some(Duration::from_millis(2)));
        assert_eq!(look(RESERVE - 1), None);
    }

    #[test]
    fn on_a_small_or_full_disk_there_is_room_to_work() {
        let least = |size, free| Floor::of(&disk(size, free)).unwrap().0;
        assert_eq!(least(200 << 20, 100 << 20), 20 << 20);
        assert_eq!(least(1 << 40, 10 << 20), 5 << 20);
        assert!(Floor::of(&disk(0, 0)).is_none());
    }
}
