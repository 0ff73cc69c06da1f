//! Deleting and measuring trees without following anything that is in them.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fchmod, openat, statat, unlinkat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Deletes `name` below `parent` and everything beneath it. Missing parts are fine: somebody else
/// may be deleting the same tree. Depth costs neither stack nor descriptors: a directory is emptied
/// by moving what is too deep up.
pub fn remove_tree(parent: &OwnedFd, name: &str) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let mut stack: Vec<(OwnedFd, std::ffi::CString)> = Vec::new();
    let root = match open_directory(parent, name) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    let top = std::ffi::CString::new(name).map_err(|_| Errno::INVAL)?;
    stack.push((root, top));
    while let Some((directory, _)) = stack.last() {
        let mut deeper = None;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if entry.file_type() != FileType::Directory {
                match unlinkat(directory, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    Err(Errno::ISDIR) => {}
                    Err(error) => return Err(error),
                }
            }
            match unlinkat(directory, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    deeper = Some(name.to_owned());
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(name) = deeper {
            if stack.len() >= DEEPEST {
                flatten(&stack[0].0, directory, &name)?;
                continue;
            }
            match open_directory(directory, name.as_c_str()) {
                Ok(next) => stack.push((next, name)),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
            continue;
        }
        let Some((_, name)) = stack.pop() else { break };
        let above = stack.last().map_or(parent, |(directory, _)| directory);
        match unlinkat(above, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Directories that are open at once.
const DEEPEST: usize = 64;

/// Moves a directory that lies too deep to the top of the tree that is being deleted.
fn flatten(top: &OwnedFd, at: &OwnedFd, name: &std::ffi::CStr) -> Result<(), Errno> {
    for number in 0u32.. {
        let new = format!(".debmock-deep.{number}");
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(at, name, top, &new, flags) {
            Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Ok(()),
            other => return other,
        }
    }
    Ok(())
}

fn open_directory(at: &OwnedFd, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd, Errno> {
    match openat(at, name, OPEN, Mode::empty()) {
        // A directory without permissions, of an owner that this user namespace maps.
        Err(Errno::ACCESS) => {
            let path = openat(at, name, OPEN | OFlags::PATH, Mode::empty())?;
            fchmod(&path, Mode::from(0o700))?;
            openat(at, name, OPEN, Mode::empty())
        }
        other => other,
    }
}

/// Bytes on disk of everything beneath `directory`.
pub fn usage(directory: &OwnedFd) -> Result<u64, Errno> {
    let mut total = 0;
    let mut stack = vec![directory.try_clone().map_err(|_| Errno::MFILE)?];
    while let Some(directory) = stack.pop() {
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(stat) = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            total += stat.st_blocks as u64 * 512;
            if FileType::from_raw_mode(stat.st_mode).is_dir()
                && let Ok(next) = open_directory(&directory, name)
            {
                stack.push(next);
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn deep_trees_links_and_closed_directories_are_deleted_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        let closed = tree.join("closed");
        std::fs::create_dir_all(closed.join("in")).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
        let parent = rustix::fs::openat(CWD, &tree, OPEN, Mode::empty()).unwrap();
        let mut at = parent;
        for _ in 0..500 {
            rustix::fs::mkdirat(&at, "d", Mode::from(0o755)).unwrap();
            at = openat(&at, "d", OPEN, Mode::empty()).unwrap();
        }
        let parent = openat(CWD, folder.path(), OPEN, Mode::empty()).unwrap();
        remove_tree(&parent, "tree").unwrap();
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
    }
}
