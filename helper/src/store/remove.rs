//! Deleting and measuring trees without following anything that is in them.

use super::trail::{OPEN, Trail, entries};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, chmodat, fchmod, openat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// A directory that is being emptied. It is read on where it was left, however often something
/// beneath it had to be emptied first.
struct Level {
    name: CString,
    directory: Dir,
    /// How many directories had been moved up when it was entered, and how often since.
    entered: (u64, u32),
}

/// A directory that is not empty after so many times will never be.
const ROUNDS: u32 = 100;

/// Deletes `name` below `parent` and everything beneath it. Missing parts are fine: somebody else
/// may be deleting the same tree. Depth costs neither stack nor descriptors: what is too deep is
/// moved up first.
pub fn remove_tree(parent: &OwnedFd, name: impl AsRef<[u8]>) -> Result<(), Errno> {
    remove_counted(parent, name.as_ref(), &mut || {})
}

/// As [`remove_tree`]; each file or directory that is looked at is told.
pub fn remove_counted(parent: &OwnedFd, name: &[u8], each: &mut dyn FnMut()) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    let mut moved = 0;
    let mut levels = Vec::new();
    levels.extend(enter(rustix::fd::AsFd::as_fd(parent), name)?);
    while let Some(level) = levels.last_mut() {
        let Some(entry) = level.directory.next() else {
            let Some(level) = levels.pop() else { break };
            let above = match levels.last() {
                Some(above) => above.directory.fd()?,
                None => rustix::fd::AsFd::as_fd(parent),
            };
            match unlink(above, &level.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                // Something came while it was read: what was moved up, for one.
                Err(Errno::NOTEMPTY | Errno::EXIST) if level.entered != (moved, ROUNDS) => {
                    let round = if level.entered.0 == moved { level.entered.1 + 1 } else { 0 };
                    let again = enter(above, level.name)?;
                    levels.extend(again.map(|level| Level { entered: (moved, round), ..level }));
                }
                Err(error) => return Err(error),
            }
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        each();
        let directory = level.directory.fd()?;
        if entry.file_type() != FileType::Directory {
            match unlink(directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR) => {}
                Err(error) => return Err(error),
            }
        }
        match unlink(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let name = name.to_owned();
        if levels.len() < DEEPEST {
            let Some(level) = levels.last() else { break };
            let deeper = enter(level.directory.fd()?, name)?;
            levels.extend(deeper);
        } else {
            flatten(&levels, &name, &mut moved)?;
        }
    }
    Ok(())
}

/// Directories that are open at once.
const DEEPEST: usize = 64;

/// Moves a directory that lies too deep to the top of the tree that is being deleted.
fn flatten(levels: &[Level], name: &CStr, moved: &mut u64) -> Result<(), Errno> {
    let (Some(top), Some(level)) = (levels.first(), levels.last()) else { return Ok(()) };
    let (top, at) = (top.directory.fd()?, level.directory.fd()?);
    loop {
        let new = format!(".debmock-deep.{moved}");
        *moved += 1;
        match renameat_with(at, name, top, &new, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Ok(()),
            // Its own `..` changes too.
            Err(Errno::ACCESS) => {
                *moved -= 1;
                drop(open_closed(at, name)?);
                fchmod(at, Mode::RWXU)?;
                fchmod(top, Mode::RWXU)?;
                return renameat_with(at, name, top, &new, RenameFlags::NOREPLACE);
            }
            other => return other,
        }
    }
}

/// Opens a directory to empty it; nothing if it is gone.
fn enter(at: BorrowedFd<'_>, name: CString) -> Result<Option<Level>, Errno> {
    let opened = match openat(at, &name, OPEN, Mode::empty()) {
        Err(Errno::ACCESS) => open_closed(at, &name),
        other => other,
    };
    match opened {
        Ok(opened) => Ok(Some(Level { name, directory: Dir::new(opened)?, entered: (0, 0) })),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a directory whose permissions forbid it, after a change of them.
fn open_closed(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    // The directory above may be the one that is closed.
    let flags = OPEN | OFlags::PATH;
    let found = match openat(at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            fchmod(at, Mode::RWXU)?;
            openat(at, name, flags, Mode::empty())?
        }
        other => other?,
    };
    // By the descriptor, which `fchmod` does not take: by its name somebody could have put a link
    // in its place.
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    chmodat(rustix::fs::CWD, path, Mode::RWXU, AtFlags::empty())?;
    openat(at, name, OPEN, Mode::empty())
}

/// Unlinks; a directory that its permissions protect is opened up first.
fn unlink(at: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<(), Errno> {
    match unlinkat(at, name, flags) {
        Err(Errno::ACCESS) => {
            fchmod(at, Mode::RWXU)?;
            unlinkat(at, name, flags)
        }
        other => other,
    }
}

/// Bytes on disk of everything beneath `directory`. A file with names in other trees, too, counts for
/// the share that the names beneath have of all: so trees that share files take, together, what is
/// on the disk. Directories that this process may not read count for themselves alone.
pub fn usage(directory: &OwnedFd) -> Result<u64, Errno> {
    let mut total = 0;
    let mut trail = Trail::new(directory)?;
    // What is still to be entered, for each directory on the way down.
    let mut waiting = vec![Vec::new()];
    let mut new = true;
    while let Some(names) = waiting.last_mut() {
        if std::mem::take(&mut new) {
            for entry in entries(trail.here())? {
                let (name, _) = entry?;
                let stat = match statat(trail.here(), &name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat,
                    Err(Errno::NOENT | Errno::ACCESS) => continue,
                    Err(error) => return Err(error),
                };
                let bytes = stat.st_blocks as u64 * 512;
                if FileType::from_raw_mode(stat.st_mode).is_dir() {
                    names.push(name);
                    total += bytes;
                } else {
                    total += bytes / (stat.st_nlink as u64).max(1);
                }
            }
        }
        let Some(name) = names.pop() else {
            waiting.pop();
            trail.up()?;
            continue;
        };
        match trail.down(&name) {
            Ok(()) => {
                waiting.push(Vec::new());
                new = true;
            }
            // Removed or replaced meanwhile, or closed.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    fn open(path: &Path) -> OwnedFd {
        openat(CWD, path, OPEN, Mode::empty()).unwrap()
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Nested directories, each with a file.
    fn nest(top: &Path, depth: usize) {
        let mut at = open(top);
        for _ in 0..depth {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            openat(&at, "f", flags, Mode::from(0o644)).unwrap();
            rustix::fs::mkdirat(&at, "d", Mode::from(0o755)).unwrap();
            at = openat(&at, "d", OPEN, Mode::empty()).unwrap();
        }
    }

    #[test]
    fn deep_trees_links_and_closed_directories_are_deleted_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        for (name, mode) in [("closed", 0o000), ("read", 0o400), ("write", 0o500)] {
            let closed = tree.join(name);
            std::fs::create_dir_all(closed.join("in/in")).unwrap();
            std::fs::write(closed.join("file"), "x").unwrap();
            symlink(&outside, closed.join("link")).unwrap();
            set_mode(&closed.join("in"), mode);
            set_mode(&closed, mode);
        }
        nest(&tree, 500);
        set_mode(&outside, 0o750);
        // As somebody to whom permissions apply, also where the tests run as root.
        let parent = open(folder.path());
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let none = rustix::thread::CapabilitySet::empty();
                let mut sets = rustix::thread::capabilities(None).unwrap();
                sets.effective = none;
                rustix::thread::set_capabilities(None, sets).unwrap();
                remove_tree(&parent, "tree").unwrap();
            });
        });
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
        assert_eq!(outside.metadata().unwrap().mode() & 0o777, 0o750);
    }

    #[test]
    fn trees_of_any_depth_and_width_are_measured_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        nest(&tree, 20_000);
        for number in 0..2000 {
            let wide = tree.join(format!("wide.{number}"));
            std::fs::create_dir(&wide).unwrap();
            std::fs::write(wide.join("file"), "x").unwrap();
        }
        // One descriptor for each level or for each directory would be more than there are.
        let top = open(&tree);
        let counted = usage(&top).unwrap();
        let file = std::fs::metadata(tree.join("wide.0/file")).unwrap().blocks() * 512;
        assert!(counted >= 2000 * file, "{counted}");
        remove_tree(&open(folder.path()), "tree").unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn a_file_of_many_names_is_measured_once_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a"), vec![1; 100_000]).unwrap();
        std::fs::create_dir(path("closed")).unwrap();
        let once = usage(&open(folder.path())).unwrap();
        for name in ["b", "c", "closed/d"] {
            std::fs::hard_link(path("a"), path(name)).unwrap();
        }
        set_mode(&path("closed"), 0o000);
        assert_eq!(usage(&open(folder.path())).unwrap(), once);
        assert_eq!(path("closed").metadata().unwrap().mode() & 0o777, 0);
        set_mode(&path("closed"), 0o700);
    }
}
