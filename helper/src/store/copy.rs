//! Copies of whole trees, for machines that cannot mount overlays: by reflink where the file
//! system can, else byte by byte. Owners, modes, times, extended attributes and hard links stay.

use super::trail::{OPEN, Trail, entries};
use crate::protocol::{Doing, Failure};
use crate::sparse;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, chownat, fchmod, fchown, fgetxattr,
    flistxattr, fsetxattr, futimens, ioctl_ficlone, linkat, mkdirat, mknodat, openat, readlinkat,
    statat, symlinkat, utimensat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

/// Copies the tree `source` to the new directory `name` of `parent`.
pub fn copy_tree(source: &OwnedFd, parent: &OwnedFd, name: &str) -> Result<(), Failure> {
    mkdirat(parent, name, Mode::from(0o700)).doing(|| format!("cannot make {name}"))?;
    let target =
        openat(parent, name, OPEN, Mode::empty()).doing(|| format!("cannot open {name}"))?;
    copy_content(source, target)
}

/// Copies what is in the directory `source`, and its attributes, to the empty directory `target`.
pub(super) fn copy_content(source: &OwnedFd, target: OwnedFd) -> Result<(), Failure> {
    let opening = || "cannot open what is to be copied".to_owned();
    let mut copy = Copy {
        from: Trail::new(source).doing(opening)?,
        to: Trail::new(&target).doing(opening)?,
        top: target,
        path: Vec::new(),
        links: HashMap::new(),
    };
    // What is still to be entered, for each directory on the way down.
    let mut waiting = vec![copy.directory()?];
    while let Some(names) = waiting.last_mut() {
        if let Some(name) = names.pop() {
            copy.enter(&name)?;
            waiting.push(copy.directory()?);
        } else {
            waiting.pop();
            copy.leave()?;
        }
    }
    Ok(())
}

struct Copy {
    from: Trail,
    to: Trail,
    /// The top of the new tree.
    top: OwnedFd,
    /// The current directory: each component with a slash before it.
    path: Vec<u8>,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl Copy {
    fn shown(&self, name: &[u8]) -> String {
        [&self.path, &b"/"[..], name].concat().escape_ascii().to_string()
    }

    /// Copies what is in the current directory, except for directories: their names.
    fn directory(&mut self) -> Result<Vec<CString>, Failure> {
        let mut directories = Vec::new();
        for entry in entries(self.from.here()).doing(|| self.reading())? {
            let (name, _) = entry.doing(|| self.reading())?;
            if self.entry(&name).doing(|| format!("cannot copy {}", self.shown(name.to_bytes())))? {
                directories.push(name);
            }
        }
        Ok(directories)
    }

    fn reading(&self) -> String {
        format!("cannot read the directory {}", self.shown(b""))
    }

    /// Copies one entry; true if it is a directory, which was only made.
    fn entry(&mut self, name: &CStr) -> Result<bool, Errno> {
        let (from, to) = (self.from.here(), self.to.here());
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_dir() {
            mkdirat(to, name, Mode::from(0o700))?;
            return Ok(true);
        }
        if stat.st_nlink > 1 {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&identity) {
                let (folder, first) = open_long(&self.top, first)?;
                linkat(&folder, first, to, name, AtFlags::empty())?;
                return Ok(false);
            }
            let path = [&self.path, &b"/"[..], name.to_bytes()].concat();
            self.links.insert(identity, path);
        }
        copy_entry(from, to, name, &stat, kind)?;
        Ok(false)
    }

    fn enter(&mut self, name: &CStr) -> Result<(), Failure> {
        let entered = self.from.down(name).and_then(|()| self.to.down(name));
        entered.doing(|| format!("cannot open the directory {}", self.shown(name.to_bytes())))?;
        self.path.push(b'/');
        self.path.extend_from_slice(name.to_bytes());
        Ok(())
    }

    /// Everything in the current directory is there: it gets its attributes, and the one above is
    /// the current one again.
    fn leave(&mut self) -> Result<(), Failure> {
        let copy = |trail: &Trail| rustix::io::fcntl_dupfd_cloexec(trail.here(), 3);
        // Upwards first: without its permissions there may be no way.
        let left = copy(&self.from)
            .and_then(|from| Ok((from, copy(&self.to)?)))
            .and_then(|left| self.from.up().map(|_| left))
            .and_then(|left| self.to.up().map(|_| left));
        left.and_then(|(from, to)| {
            copy_attributes(from.as_fd(), to.as_fd(), &rustix::fs::fstat(&from)?, true)
        })
        .doing(|| format!("cannot copy the attributes of {}", self.shown(b"")))?;
        let end = self.path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        self.path.truncate(end);
        Ok(())
    }
}

/// The directory of a path below `top` that may be longer than the kernel takes at once, and the
/// name there.
fn open_long<'p>(top: &OwnedFd, path: &'p [u8]) -> Result<(OwnedFd, &'p [u8]), Errno> {
    let end = path.iter().rposition(|&byte| byte == b'/').ok_or(Errno::INVAL)?;
    let (mut folder, name) = (without_slash(&path[..end]), &path[end + 1..]);
    let mut at = openat(top, ".", OPEN, Mode::empty())?;
    while !folder.is_empty() {
        let part = if folder.len() < LONGEST_PATH {
            folder.len()
        } else {
            folder[..LONGEST_PATH].iter().rposition(|&byte| byte == b'/').ok_or(Errno::INVAL)?
        };
        at = openat(&at, &folder[..part], OPEN, Mode::empty())?;
        folder = without_slash(&folder[part..]);
    }
    Ok((at, name))
}

/// Paths of fewer bytes are opened at once (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;

fn without_slash(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path)
}

pub(super) fn copy_entry(
    source: &OwnedFd,
    target: &OwnedFd,
    name: &CStr,
    stat: &rustix::fs::Stat,
    kind: FileType,
) -> Result<(), Errno> {
    let owner = rustix::process::Uid::from_raw(stat.st_uid);
    let group = rustix::process::Gid::from_raw(stat.st_gid);
    match kind {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let from = openat(source, name, flags, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let to = openat(target, name, flags, Mode::from(0o600))?;
            if ioctl_ficlone(&to, &from).is_err() {
                let (from, to) = (File::from(from), File::from(to));
                sparse::copy(&from, &to, stat.st_size as u64, || true).map_err(io)?;
                return copy_attributes(from.as_fd(), to.as_fd(), stat, true);
            }
            copy_attributes(from.as_fd(), to.as_fd(), stat, true)
        }
        FileType::Symlink => {
            symlinkat(&readlinkat(source, name, Vec::new())?, target, name)?;
            chownat(target, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
            utimensat(target, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
        }
        // FIFOs, sockets and whiteouts; real device nodes do not exist in the store.
        kind => {
            mknodat(target, name, kind, Mode::from_raw_mode(stat.st_mode), stat.st_rdev)?;
            chownat(target, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
            utimensat(target, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
        }
    }
}

/// Gives a file or directory the owner, mode, extended attributes and times of another one, whose
/// `stat` this is; marks of overlays only if `marks` says so.
///
/// # Errors
/// They cannot be read or set.
pub(crate) fn copy_attributes(
    from: std::os::fd::BorrowedFd<'_>,
    to: std::os::fd::BorrowedFd<'_>,
    stat: &rustix::fs::Stat,
    marks: bool,
) -> Result<(), Errno> {
    fchown(
        to,
        Some(rustix::process::Uid::from_raw(stat.st_uid)),
        Some(rustix::process::Gid::from_raw(stat.st_gid)),
    )?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    let mut names = vec![0u8; 4096];
    let length = match flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error),
    };
    let copied = |name: &&[u8]| !name.is_empty() && (marks || !name.starts_with(b"user.overlay."));
    for name in names[..length].split(|&byte| byte == 0).filter(copied) {
        let mut value = vec![0u8; 65536];
        let size = fgetxattr(from, name, &mut value[..])?;
        match fsetxattr(to, name, &value[..size], rustix::fs::XattrFlags::empty()) {
            // Attributes of the host's security module are not ours to copy.
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    futimens(to, &times(stat))
}

fn times(stat: &rustix::fs::Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn io(error: std::io::Error) -> Errno {
    Errno::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn names_of_any_bytes_and_trees_of_any_depth_are_copied() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        let odd = OsStr::from_bytes(b"\xff\xfe");
        fs::create_dir_all(tree.join(odd)).unwrap();
        let first = tree.join(odd).join(odd);
        fs::write(&first, "content").unwrap();
        fs::hard_link(&first, tree.join("other")).unwrap();
        let mut at: OwnedFd = fs::File::open(&tree).unwrap().into();
        for _ in 0..3000 {
            mkdirat(&at, "deep", Mode::from(0o755)).unwrap();
            at = openat(&at, "deep", OPEN, Mode::empty()).unwrap();
        }
        // Both names lie deeper than any path that the kernel takes.
        openat(&at, "one", OFlags::CREATE | OFlags::WRONLY, Mode::from(0o644)).unwrap();
        mkdirat(&at, "below", Mode::from(0o755)).unwrap();
        linkat(&at, "one", &at, "below/two", AtFlags::empty()).unwrap();
        let open = |path: &std::path::Path| OwnedFd::from(fs::File::open(path).unwrap());
        copy_tree(&open(&tree), &open(folder.path()), "copy").unwrap();
        let copy = folder.path().join("copy");
        assert_eq!(fs::read(copy.join(odd).join(odd)).unwrap(), b"content");
        let stat = fs::metadata(copy.join("other")).unwrap();
        assert_eq!(stat.nlink(), 2);
        assert_eq!(stat.ino(), fs::metadata(copy.join(odd).join(odd)).unwrap().ino());
        for name in ["tree", "copy"] {
            super::super::remove_tree(&open(folder.path()), name).unwrap();
        }
    }
}
