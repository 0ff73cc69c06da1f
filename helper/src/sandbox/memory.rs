//! Changes of a root that live in memory, for builds whose root is thrown away.
//!
//! A file system in memory holds the upper directory of the overlay. Nobody sees it but through the
//! overlay; it ends with the session, unless its content is moved to the disk first. The overlay
//! keeps marks in `user.*` attributes, without which directories that were deleted come back with
//! what was in them; file systems in memory have them since Linux 6.6.

use super::mounts;
use crate::protocol::{Doing, Failure};
use crate::store;
use rustix::fs::{AtFlags, OFlags, RenameFlags, XattrFlags, fsetxattr, renameat_with, statat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Where the changes lie, in memory as on the disk.
const UPPER: &str = "upper";
/// Changes that are being moved.
const ASIDE: &str = "upper.new";

/// A file system in memory, attached nowhere.
#[derive(Debug)]
pub struct Memory(OwnedFd);

/// A file system in memory with its place in this mount namespace, which the kernel wants to see
/// when it makes an overlay. Dropping it takes the place away.
#[derive(Debug)]
pub struct Attached(OwnedFd);

impl Attached {
    /// One of at most that many bytes; nothing, and the reason, if it cannot hold an upper
    /// directory.
    pub fn new(bytes: u64) -> Result<Result<Self, String>, Failure> {
        let doing = || "cannot make a file system in memory".to_owned();
        let mount = match mounts::memory(bytes) {
            Ok(mount) => mount,
            Err(error) => return Ok(Err(format!("{}: {error}", doing()))),
        };
        let attached = Attached(mounts::attach_root(mount)?);
        let upper = attached.directory(UPPER)?;
        match fsetxattr(&upper, "user.overlay.probe", b"y", XattrFlags::empty()) {
            Ok(()) => {
                rustix::fs::fremovexattr(&upper, "user.overlay.probe").doing(doing)?;
                Ok(Ok(attached))
            }
            Err(Errno::OPNOTSUPP) => Ok(Err(
                "this kernel's file systems in memory have no user attributes (Linux 6.6 brings \
                 them)"
                    .into(),
            )),
            Err(error) => Err(Failure::system(doing(), error)),
        }
    }

    /// A directory at its top, made if it is missing.
    pub fn directory(&self, name: &str) -> Result<OwnedFd, Failure> {
        store::make_directory_at(&self.0, name)
    }

    /// Gives up its place.
    pub fn detach(self) -> Result<Memory, Failure> {
        let copy = self.0.try_clone().doing(|| "cannot copy a descriptor".into())?;
        drop(self);
        Ok(Memory(copy))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // It ends with this process at the latest.
        let _ = mounts::detach(&self.0);
    }
}

impl Memory {
    /// Moves the changes to the disk, to the buildroot in `home`, which has none. The session must
    /// have ended.
    pub fn settle(&self, home: &OwnedFd) -> Result<(), Failure> {
        let doing = || "cannot move the changes of the root from memory to the disk".to_owned();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let upper = rustix::fs::openat(&self.0, UPPER, flags, rustix::fs::Mode::empty());
        store::remove_tree(home, ASIDE).doing(doing)?;
        let moved = upper
            .doing(doing)
            .and_then(|upper| store::copy_tree(&upper, home, ASIDE))
            .and_then(|()| {
                if statat(home, UPPER, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                    // An empty one, from before.
                    rustix::fs::unlinkat(home, UPPER, AtFlags::REMOVEDIR).doing(doing)?;
                }
                renameat_with(home, ASIDE, home, UPPER, RenameFlags::NOREPLACE).doing(doing)
            });
        if moved.is_err() {
            let _ = store::remove_tree(home, ASIDE);
        }
        moved
    }
}
