//! What is unpacked before dpkg knows it, written down in the root: whoever is ended in the middle,
//! also by SIGKILL, leaves nothing that stays.
//!
//! The journal names each path after it was made, and the files of dpkg's database before. It goes
//! when dpkg knows everything. Where it is found, everything goes that it names and that belongs to
//! no package of the status.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::bootstrap::{CONTROL_DIR, Error};
use crate::dpkgdb::{self, info};
use crate::store::remove_tree;
use crate::unpack::Tree;
use crate::unpack::path::split;

/// The directory in the root where it is, whose writers are root of the tree anyway.
pub const PLACE: &str = "var/lib/dpkg";
/// Its name there.
pub const NAME: &str = "debmock-unpacking";
const PATH: &str = "var/lib/dpkg/debmock-unpacking";
/// What the name of a conffile has at its end until dpkg configures its package.
const CONFFILE: &[u8] = b".dpkg-new";

/// Begins a journal; there may be none.
///
/// # Errors
/// It cannot be written.
pub(super) fn begin(root: BorrowedFd<'_>) -> Result<File, Error> {
    // A dpkg that was killed leaves it, too.
    clear_control_dir(root)?;
    let (parent, name) = split(PATH.as_bytes());
    let fail = |error: Errno| Error::tree("begin the journal", PATH, error);
    let parent = Tree::new(root).open_dir(parent).map_err(fail)?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600)).map_err(fail)?;
    Ok(File::from(fd))
}

/// Names the files of a package in dpkg's database, before they are made.
///
/// # Errors
/// It cannot be written.
pub(super) fn announce(
    mut journal: &File,
    files: impl Iterator<Item = String>,
) -> Result<(), Error> {
    let lines: Vec<u8> =
        files.flat_map(|file| format!("f{}/{file}\0", info::INFO).into_bytes()).collect();
    journal.write_all(&lines).map_err(|error| Error::tree("write the journal", PATH, error))
}

/// Ends the journal: everything stays.
///
/// # Errors
/// It cannot be removed.
pub(super) fn end(root: BorrowedFd<'_>) -> Result<(), Error> {
    let (parent, name) = split(PATH.as_bytes());
    let removed = Tree::new(root)
        .open_dir(parent)
        .and_then(|parent| rustix::fs::unlinkat(&parent, name, AtFlags::empty()));
    removed.map_err(|error| Error::tree("end the journal", PATH, error))
}

/// Whether somebody was ended in the middle.
pub fn is_left(root: BorrowedFd<'_>) -> bool {
    let (parent, name) = split(PATH.as_bytes());
    Tree::new(root)
        .open_dir(parent)
        .is_ok_and(|parent| rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok())
}

/// Removes what somebody who was ended in the middle had unpacked, as far as dpkg does not know it.
/// dpkg must not run meanwhile.
///
/// # Errors
/// The journal or dpkg's database cannot be read, or something cannot be removed.
pub fn recover(root: BorrowedFd<'_>) -> Result<(), Error> {
    if !is_left(root) {
        return Ok(());
    }
    let text = info::read(root, PATH)?;
    // The last one may have been cut off.
    let made: Vec<&[u8]> = text.split_inclusive(|&byte| byte == 0).collect();
    let made = made.iter().filter_map(|line| match line {
        [b'd', path @ .., 0] => Some((path, true)),
        [b'f', path @ .., 0] => Some((path, false)),
        _ => None,
    });
    let made: Vec<(&[u8], bool)> = made.collect();
    let stems: HashSet<String> = made.iter().filter_map(|(path, _)| stem(path)).collect();
    let known = dpkgdb::settle(root, &stems)?;
    let mut kept: HashSet<Vec<u8>> = HashSet::new();
    for stem in &known {
        let list = info::read(root, &format!("{}/{stem}.list", info::INFO))?;
        let paths = list.split(|&byte| byte == b'\n');
        kept.extend(paths.filter_map(|path| path.get(1..)).map(<[u8]>::to_vec));
    }
    let stays = |path: &[u8]| match stem(path) {
        Some(stem) => known.contains(&stem),
        None => kept.contains(path.strip_suffix(CONFFILE).unwrap_or(path)),
    };
    let tree = Tree::new(root);
    // Directories after what is in them.
    for (path, directory) in made.iter().rev().filter(|(path, _)| !stays(path)) {
        remove(&tree, path, *directory)
            .map_err(|error| Error::tree("take back", &String::from_utf8_lossy(path), error))?;
    }
    clear_control_dir(root)?;
    end(root)
}

/// Removes what dpkg, or whoever does its work, has of a package whose script was interrupted.
///
/// # Errors
/// It cannot be removed.
fn clear_control_dir(root: BorrowedFd<'_>) -> Result<(), Error> {
    let (parent, name) = CONTROL_DIR.rsplit_once('/').unwrap_or(("", CONTROL_DIR));
    let fail = |error: Errno| Error::tree("empty", CONTROL_DIR, error);
    remove_tree(&info::open_dir(root, parent)?, name).map_err(fail)
}

/// The package that a file of `info` belongs to.
fn stem(path: &[u8]) -> Option<String> {
    let name = path.strip_prefix(info::INFO.as_bytes())?.strip_prefix(b"/")?;
    let end = name.iter().rposition(|&byte| byte == b'.')?;
    String::from_utf8(name[..end].to_vec()).ok()
}

fn remove(tree: &Tree<'_>, path: &[u8], directory: bool) -> Result<(), Errno> {
    let (parent, name) = split(path);
    let parent = match tree.open_dir(parent) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        other => other?,
    };
    let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match rustix::fs::unlinkat(&parent, name, flags) {
        // A script may have done anything meanwhile.
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) if directory => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) if !directory => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_journal_is_at_its_place() {
        assert_eq!(super::PATH, format!("{}/{}", super::PLACE, super::NAME));
    }
}
