//! Files of a session in a root that is no overlay.
//!
//! With an overlay they lie in a layer of their own below the upper: what the root had at their
//! place stays as it is, nothing of them is exported, and what somebody changes inside belongs to
//! the root from then on. Here they are put into the tree when a session begins and taken back when
//! it ends, to the same effect. What the root had waits beside the tree meanwhile. A record that is
//! written first says what is where, so that the next user of the tree takes back what a killed
//! helper could not.

use super::files::{
    DIRECTORY, checked, make_directory_at, open_at, read_bytes_at, replace_at, write_new_at,
};
use super::remove::remove_tree;
use crate::protocol::{Bytes, Doing, Failure, SessionFile, decode, encode};
use rustix::fs::{
    AtFlags, FileType, Mode, RenameFlags, Stat, Timespec, Timestamps, fstat, futimens, mkdirat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

/// Directory beside the tree. Whoever drops the changes of a buildroot removes it too.
const DESK: &str = "session";
const RECORD: &str = "record";
/// What the root had, by the number of the file.
const KEPT: &str = "kept";
/// What is not in the tree yet, or no longer, by the number of the file.
const LENT: &str = "lent";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    /// What may be in the tree.
    lent: Vec<Lent>,
    /// Directories that the tree lacked, parents first.
    made: Vec<String>,
    /// Paths that somebody inside has changed or deleted: they are the root's own now.
    theirs: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Lent {
    path: String,
    content: Bytes,
    stamp: Stamp,
    /// Whether the root had something at the path.
    kept: bool,
}

/// What a change of a file changes too.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
}

impl Stamp {
    fn of(stat: &Stat) -> Self {
        Self {
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
        }
    }
}

/// Puts `files` into `tree`, a directory of `home`.
pub fn lend(home: &OwnedFd, tree: &OwnedFd, files: &[SessionFile]) -> Result<(), Failure> {
    take_back(home, tree)?;
    let desk = make_directory_at(home, DESK)?;
    clear(&desk)?;
    let mut record = read_record(&desk)?;
    let (kept, lent) = (make_directory_at(&desk, KEPT)?, make_directory_at(&desk, LENT)?);
    for file in files {
        let path = checked(&file.path)?;
        let doing = || format!("cannot prepare /{path} of the root");
        if record.theirs.iter().any(|theirs| theirs == path) {
            continue;
        }
        let Some(missing) = missing_folders(tree, path).doing(doing)? else { continue };
        let name = record.lent.len().to_string();
        let new = write_new_at(&lent, &name, &file.content, file.mode)?;
        let stamp = Stamp::of(&fstat(&new).doing(doing)?);
        let kept = missing.is_empty()
            && open_folder(tree, path).and_then(|(at, name)| exists(&at, name)).doing(doing)?;
        for folder in missing {
            if !record.made.contains(&folder) {
                record.made.push(folder);
            }
        }
        let (path, content) = (path.to_owned(), file.content.clone());
        record.lent.push(Lent { path, content, stamp, kept });
    }
    write_record(&desk, &record)?;
    let times = Times::of(tree, &record);
    for path in &record.made {
        open_folder(tree, path)
            .and_then(|(at, name)| mkdirat(at, name, Mode::from(0o755)))
            .doing(|| format!("cannot make the directory /{path} in the root"))?;
    }
    for (number, file) in record.lent.iter().enumerate() {
        let doing = || format!("cannot write /{} in the root", file.path);
        let number = number.to_string();
        let (at, name) = open_folder(tree, &file.path).doing(doing)?;
        if file.kept {
            renameat_with(&at, name, &kept, &number, RenameFlags::NOREPLACE).doing(doing)?;
        }
        renameat_with(&lent, &number, &at, name, RenameFlags::NOREPLACE).doing(doing)?;
    }
    times.set()
}

/// Takes back what [`lend`] put into `tree`, unless it was changed, and puts back what was there
/// before. Nothing happens if there is nothing to take back; it may have been interrupted anywhere.
pub fn take_back(home: &OwnedFd, tree: &OwnedFd) -> Result<(), Failure> {
    let desk = match open_at(home, DESK, DIRECTORY) {
        Ok(desk) => desk,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(Failure::system("cannot open what a session left", error)),
    };
    let mut record = read_record(&desk)?;
    if record.lent.is_empty() {
        return Ok(());
    }
    let (kept, lent) = (make_directory_at(&desk, KEPT)?, make_directory_at(&desk, LENT)?);
    let times = Times::of(tree, &record);
    for (number, file) in record.lent.iter().enumerate() {
        let doing = || format!("cannot restore /{} of the root", file.path);
        let number = number.to_string();
        let folder = open_folder(tree, &file.path);
        if !exists(&lent, &number).doing(doing)? {
            match &folder {
                Ok((at, name)) if is_unchanged(at, name, file) => {
                    renameat_with(at, *name, &lent, &number, RenameFlags::NOREPLACE)
                        .doing(doing)?;
                }
                _ => {
                    record.theirs.push(file.path.clone());
                    continue;
                }
            }
        }
        if let (true, Ok((at, name))) = (file.kept, &folder) {
            match renameat_with(&kept, &number, at, *name, RenameFlags::NOREPLACE) {
                // Back already: the last attempt came that far.
                Ok(()) | Err(Errno::NOENT | Errno::EXIST) => {}
                Err(error) => return Err(Failure::system(doing(), error)),
            }
        }
    }
    for path in record.made.iter().rev() {
        // What somebody has put something into stays.
        if let Ok((at, name)) = open_folder(tree, path) {
            let _ = unlinkat(at, name, AtFlags::REMOVEDIR);
        }
    }
    times.set()?;
    let theirs = std::mem::take(&mut record.theirs);
    write_record(&desk, &Record { theirs, ..Record::default() })?;
    clear(&desk)
}

fn clear(desk: &OwnedFd) -> Result<(), Failure> {
    for name in [KEPT, LENT] {
        remove_tree(desk, name).doing(|| "cannot clean up behind a session".into())?;
    }
    Ok(())
}

fn read_record(desk: &OwnedFd) -> Result<Record, Failure> {
    match read_bytes_at(desk, RECORD)? {
        None => Ok(Record::default()),
        Some(bytes) => decode(&bytes).map_err(|_| {
            Failure::hostile("the record of what a session put into the root is damaged")
        }),
    }
}

fn write_record(desk: &OwnedFd, record: &Record) -> Result<(), Failure> {
    replace_at(desk, RECORD, &encode(record)?, 0o644)
}

/// The directory of a path in the tree, through no link, and the name there.
fn open_folder<'p>(tree: &OwnedFd, path: &'p str) -> Result<(OwnedFd, &'p str), Errno> {
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    Ok((open_at(tree, folder, DIRECTORY)?, name))
}

fn exists(at: &OwnedFd, name: &str) -> Result<bool, Errno> {
    match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Directories above `path` that the tree lacks, parents first; nothing if something else is in
/// the way: then the root hides the file, as an upper would.
fn missing_folders(tree: &OwnedFd, path: &str) -> Result<Option<Vec<String>>, Errno> {
    let mut missing = Vec::new();
    for (end, _) in path.match_indices('/') {
        match open_at(tree, &path[..end], DIRECTORY) {
            Ok(_) => {}
            Err(Errno::NOENT) => missing.push(path[..end].to_owned()),
            Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(missing))
}

fn is_unchanged(at: &OwnedFd, name: &str, file: &Lent) -> bool {
    let same = statat(at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode).is_file()
            && stat.st_nlink == 1
            && Stamp::of(&stat) == file.stamp
    });
    same && matches!(read_bytes_at(at, name), Ok(Some(content)) if content == file.content[..])
}

/// Times of the directories in which something is exchanged: that is no change of the root.
struct Times(Vec<(OwnedFd, Timestamps)>);

impl Times {
    fn of(tree: &OwnedFd, record: &Record) -> Self {
        let paths = record.lent.iter().map(|file| &file.path).chain(&record.made);
        let folders: BTreeSet<&str> =
            paths.map(|path| path.rsplit_once('/').map_or(".", |(folder, _)| folder)).collect();
        let open = |folder: &str| {
            let directory = open_at(tree, folder, DIRECTORY).ok()?;
            let stat = fstat(&directory).ok()?;
            let time = |tv_sec, nanos| Timespec { tv_sec, tv_nsec: nanos };
            let times = Timestamps {
                last_access: time(stat.st_atime as i64, stat.st_atime_nsec as _),
                last_modification: time(stat.st_mtime as i64, stat.st_mtime_nsec as _),
            };
            Some((directory, times))
        };
        Times(folders.into_iter().filter_map(open).collect())
    }

    fn set(&self) -> Result<(), Failure> {
        for (directory, times) in &self.0 {
            // One that was removed meanwhile takes its time along.
            futimens(directory, times)
                .doing(|| "cannot restore the time of a directory of the root".into())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::{Path, PathBuf};

    struct Root {
        folder: tempfile::TempDir,
        before: Vec<String>,
    }

    fn files() -> Vec<SessionFile> {
        let file = |path: &str, content: &str| SessionFile {
            path: path.into(),
            mode: 0o644,
            content: bytes(content),
        };
        vec![file("etc/hosts", "ours"), file("etc/new", "ours"), file("usr/sbin/policy", "ours")]
    }

    fn open(path: &Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    /// Everything below a directory: path, kind and mode, time, content.
    fn listing(top: &Path) -> Vec<String> {
        let mut all = Vec::new();
        let mut waiting = vec![top.to_owned()];
        while let Some(path) = waiting.pop() {
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                String::new()
            } else if meta.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else {
                fs::read_to_string(&path).unwrap()
            };
            let time = (meta.mtime(), meta.mtime_nsec());
            all.push(format!("{} {:o} {time:?} {content}", path.display(), meta.mode()));
        }
        all.sort();
        all
    }

    impl Root {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let tree = folder.path().join("tree");
            fs::create_dir_all(tree.join("etc")).unwrap();
            symlink("../run/hosts", tree.join("etc/hosts")).unwrap();
            fs::create_dir(tree.join("usr")).unwrap();
            let before = listing(&tree);
            Root { folder, before }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.folder.path().join("tree").join(path)
        }

        fn lend(&self) {
            lend(&open(self.folder.path()), &open(&self.at("")), &files()).unwrap();
        }

        fn take_back(&self) {
            take_back(&open(self.folder.path()), &open(&self.at(""))).unwrap();
        }

        fn assert_as_before(&self) {
            assert_eq!(listing(&self.folder.path().join("tree")), self.before);
        }
    }

    #[test]
    fn a_root_is_as_it_was_when_the_session_has_ended() {
        let root = Root::new();
        root.take_back();
        for _ in 0..2 {
            root.lend();
            for file in files() {
                assert_eq!(fs::read(root.at(&file.path)).unwrap(), b"ours", "{}", file.path);
            }
            root.take_back();
            root.assert_as_before();
            root.take_back();
            root.assert_as_before();
        }
        // A second session in front of which nobody tidied up.
        root.lend();
        root.lend();
        root.take_back();
        root.assert_as_before();
    }

    #[test]
    fn what_was_changed_inside_stays_changed() {
        let root = Root::new();
        root.lend();
        fs::remove_file(root.at("etc/hosts")).unwrap();
        fs::write(root.at("etc/new"), "changed").unwrap();
        fs::write(root.at("usr/sbin/other"), "x").unwrap();
        root.take_back();
        let check = || {
            assert!(fs::symlink_metadata(root.at("etc/hosts")).is_err());
            assert_eq!(fs::read(root.at("etc/new")).unwrap(), b"changed");
        };
        check();
        assert!(!root.at("usr/sbin/policy").exists() && root.at("usr/sbin/other").exists());
        root.lend();
        check();
        assert!(root.at("usr/sbin/policy").exists());
        root.take_back();
        check();
    }

    #[test]
    fn links_that_were_planted_inside_are_not_followed() {
        let root = Root::new();
        let outside = root.folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        root.lend();
        fs::rename(root.at("etc"), root.at("moved")).unwrap();
        symlink(&outside, root.at("etc")).unwrap();
        fs::write(outside.join("hosts"), "the host's").unwrap();
        root.take_back();
        root.lend();
        root.take_back();
        assert_eq!(fs::read(outside.join("hosts")).unwrap(), b"the host's");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn an_interrupted_return_is_taken_up_again() {
        // As if killed after each of the renames of a session's end.
        for steps in 0..4 {
            let root = Root::new();
            root.lend();
            let desk = root.folder.path().join("session");
            if steps > 0 {
                fs::rename(root.at("etc/hosts"), desk.join("lent/0")).unwrap();
            }
            if steps > 1 {
                fs::rename(desk.join("kept/0"), root.at("etc/hosts")).unwrap();
            }
            if steps > 2 {
                fs::rename(root.at("etc/new"), desk.join("lent/1")).unwrap();
            }
            root.take_back();
            assert_eq!(fs::read_link(root.at("etc/hosts")).unwrap().to_str(), Some("../run/hosts"));
            assert!(!root.at("etc/new").exists() && !root.at("usr/sbin").exists());
        }
    }
}
