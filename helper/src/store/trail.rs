//! A way down into a tree and back up, however deep it is, with a bounded number of descriptors.

use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

/// How a directory is opened for a look at what is in it.
pub const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Directories above the current one that stay open.
const KEPT: usize = 32;

/// The current directory and those above it.
pub struct Trail {
    here: OwnedFd,
    /// Device and inode of every directory above, topmost first.
    above: Vec<(u64, u64)>,
    /// The nearest of them, nearest last.
    open: VecDeque<OwnedFd>,
}

impl Trail {
    /// Begins at `top`.
    pub fn new(top: &OwnedFd) -> Result<Self, Errno> {
        let here = openat(top, ".", OPEN, Mode::empty())?;
        Ok(Self { here, above: Vec::new(), open: VecDeque::new() })
    }

    /// The current directory.
    pub fn here(&self) -> &OwnedFd {
        &self.here
    }

    /// Enters a directory of the current one; a link is refused.
    pub fn down(&mut self, name: &CStr) -> Result<(), Errno> {
        let stat = fstat(&self.here)?;
        let below = openat(&self.here, name, OPEN, Mode::empty())?;
        self.above.push((stat.st_dev, stat.st_ino));
        if self.open.len() == KEPT {
            self.open.pop_front();
        }
        self.open.push_back(std::mem::replace(&mut self.here, below));
        Ok(())
    }

    /// Goes back to the directory above; false at the top. Fails with `ESTALE` if somebody has
    /// moved the current one elsewhere meanwhile.
    pub fn up(&mut self) -> Result<bool, Errno> {
        let Some(wanted) = self.above.pop() else { return Ok(false) };
        self.here = match self.open.pop_back() {
            Some(open) => open,
            None => {
                let parent = openat(&self.here, "..", OPEN, Mode::empty())?;
                let stat = fstat(&parent)?;
                if (stat.st_dev, stat.st_ino) != wanted {
                    return Err(Errno::STALE);
                }
                parent
            }
        };
        Ok(true)
    }
}

/// Names in a directory and whether each may be a directory, without `.` and `..`.
pub fn entries(
    directory: &OwnedFd,
) -> Result<impl Iterator<Item = Result<(CString, FileType), Errno>> + use<>, Errno> {
    Ok(Dir::read_from(directory)?.filter_map(|entry| match entry {
        Ok(entry) if entry.file_name() == c"." || entry.file_name() == c".." => None,
        Ok(entry) => Some(Ok((entry.file_name().to_owned(), entry.file_type()))),
        Err(error) => Some(Err(error)),
    }))
}
