//! What the conversion to a merged /usr leaves behind when the package `usrmerge` does it in
//! the middle of a bootstrap (bookworm), for a tree that was merged from the beginning.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};

use super::plan::Error;
use crate::dpkgdb::info;
use crate::unpack::Tree;
use crate::unpack::path::split;

const SHELLS: &str = "etc/shells";

/// The conversion copies each file of `/bin` and `/lib` by itself, so that hard links with a
/// name there come apart. Gives `path` a file of its own.
pub(super) fn part_link(tree: &Tree<'_>, path: &[u8]) -> Result<(), Error> {
    let shown = String::from_utf8_lossy(path).into_owned();
    let copy = || -> io::Result<()> {
        let (parent, name) = split(path);
        let directory = tree.open_dir(parent)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = File::from(rustix::fs::openat(&directory, name, flags, Mode::empty())?);
        let stat = rustix::fs::fstat(&from)?;
        let temporary = [name, b".debmock-new"].concat();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let to = rustix::fs::openat(&directory, temporary.as_slice(), flags, mode)?;
        let to = File::from(to);
        io::copy(&mut &from, &mut &to)?;
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        rustix::fs::fchown(&to, Some(uid), Some(gid))?;
        rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&to, &times)?;
        rustix::fs::renameat(&directory, temporary.as_slice(), &directory, name)?;
        Ok(())
    };
    copy().map_err(|error| Error::tree("copy", &shown, error))
}

/// `update-shells` first finds the shells in `/bin`, and after the conversion adds each again
/// as one in `/usr/bin`. In a tree that is merged already it finds both at once.
pub(super) fn order_shells(root: BorrowedFd<'_>) -> Result<(), Error> {
    let tree = Tree::new(root);
    let directory = info::open_dir(root, "etc")?;
    let (_, name) = split(SHELLS.as_bytes());
    if rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
        return Ok(());
    }
    let text = info::read(root, SHELLS)?;
    let ordered = shells_in_order(&text);
    if ordered == text {
        return Ok(());
    }
    super::skeleton::put(&tree, SHELLS, 0o644, &ordered)
}

fn shells_in_order(text: &[u8]) -> Vec<u8> {
    let lines = || text.split_inclusive(|&b| b == b'\n');
    let merged = |line: &&[u8]| line.starts_with(b"/usr/");
    let first = lines().filter(|line| !merged(line));
    first.chain(lines().filter(merged)).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_of_the_unmerged_system_come_first() {
        let text = b"# header\n/bin/sh\n/usr/bin/sh\n/bin/bash\n/usr/bin/bash\n";
        let ordered = shells_in_order(text);
        assert_eq!(ordered, b"# header\n/bin/sh\n/bin/bash\n/usr/bin/sh\n/usr/bin/bash\n");
    }
}
