//! Removes what would tell time and machine, and leaves apt as after `apt-get clean` and an
//! update with no sources.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::plan::Error;
use crate::dpkgdb::info;
use crate::unpack::Tree;

/// Files that hold dates or names of the machine.
const TRACES: [&str; 11] = [
    "var/log/dpkg.log",
    "var/log/apt/history.log",
    "var/log/apt/term.log",
    "var/log/apt/eipp.log.xz",
    "var/log/alternatives.log",
    "var/log/bootstrap.log",
    "var/cache/ldconfig/aux-cache",
    "var/cache/apt/pkgcache.bin",
    "var/cache/apt/srcpkgcache.bin",
    "var/lib/dbus/machine-id",
    "etc/machine-id",
];

pub(super) fn tidy(root: BorrowedFd<'_>) -> Result<(), Error> {
    let tree = Tree::new(root);
    let had_machine_id = exists(&tree, "etc/machine-id")?;
    for path in TRACES {
        remove(&tree, path)?;
    }
    // machine-id(5): images have an empty file, which is filled at boot.
    if had_machine_id {
        put_empty(&tree, "etc", "machine-id", 0o644)?;
    }
    empty(&tree, "tmp", &[])?;
    // /var/lock is a link to /run/lock (Policy §9.1.4).
    empty(&tree, "run", &[b"lock"])?;
    apt_directories(&tree)
}

/// apt makes its download directories private to the user that its methods run as.
fn apt_directories(tree: &Tree<'_>) -> Result<(), Error> {
    let owner = user_id(tree, "_apt")?;
    for path in ["var/lib/apt/lists", "var/cache/apt/archives"] {
        put_empty(tree, path, "lock", 0o640)?;
        let partial = format!("{path}/partial");
        let fail = |error: Errno| Error::tree("set owner and mode of", &partial, error);
        let directory = info::open_dir(tree.root(), &partial)?;
        if let Some(owner) = owner {
            let group = Some(Gid::ROOT);
            let flags = AtFlags::EMPTY_PATH;
            rustix::fs::chownat(&directory, "", Some(Uid::from_raw(owner)), group, flags)
                .map_err(fail)?;
        }
        rustix::fs::chmodat(&directory, ".", Mode::RWXU, AtFlags::empty()).map_err(fail)?;
    }
    Ok(())
}

/// The uid of a user of the root, by its own `passwd`.
fn user_id(tree: &Tree<'_>, name: &str) -> Result<Option<u32>, Error> {
    let text = info::read(tree.root(), "etc/passwd")?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    }))
}

fn exists(tree: &Tree<'_>, path: &str) -> Result<bool, Error> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Ok(directory) = tree.open_dir(parent.as_bytes()) else { return Ok(false) };
    match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(Error::tree("look at", path, error)),
    }
}

fn remove(tree: &Tree<'_>, path: &str) -> Result<(), Error> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Ok(directory) = tree.open_dir(parent.as_bytes()) else { return Ok(()) };
    match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(Error::tree("remove", path, error)),
    }
}

fn put_empty(tree: &Tree<'_>, parent: &str, name: &str, mode: u32) -> Result<(), Error> {
    let directory = info::open_dir(tree.root(), parent)?;
    Ok(info::write(&directory, parent, name, mode, None, b"")?)
}

/// Removes everything in the directory but the names in `keep`; other file systems that are
/// mounted in it are left alone.
fn empty(tree: &Tree<'_>, path: &str, keep: &[&[u8]]) -> Result<(), Error> {
    let Ok(directory) = tree.open_dir(path.as_bytes()) else { return Ok(()) };
    let fail = |error: Errno| Error::tree("empty", path, error);
    let device = rustix::fs::fstat(&directory).map_err(fail)?.st_dev;
    empty_dir(&directory, keep, device, 0).map_err(fail)
}

fn empty_dir(directory: &OwnedFd, keep: &[&[u8]], device: u64, depth: u32) -> Result<(), Errno> {
    // Deeper than any sensible leftover; each level holds two descriptors.
    if depth > 100 {
        return Err(Errno::NAMETOOLONG);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(directory.as_fd(), ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&readable)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && !keep.contains(&name) {
            names.push(name.to_vec());
        }
    }
    for name in names {
        let name = name.as_slice();
        let stat = rustix::fs::statat(&readable, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if stat.st_dev != device {
            continue;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let inner = rustix::fs::openat(&readable, name, flags, Mode::empty())?;
            empty_dir(&inner, &[], device, depth + 1)?;
            match rustix::fs::unlinkat(&readable, name, AtFlags::REMOVEDIR) {
                // Something else is mounted further down.
                Err(Errno::NOTEMPTY | Errno::BUSY) => {}
                result => result?,
            }
        } else {
            rustix::fs::unlinkat(&readable, name, AtFlags::empty())?;
        }
    }
    Ok(())
}
