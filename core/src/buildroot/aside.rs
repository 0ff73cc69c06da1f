//! Files and directories of the host that appear complete or not at all.
//!
//! A file is made without a name and gets it at the end, so that nothing of it is left if this
//! process is killed meanwhile; where the file system cannot do that, under a hidden name. A
//! directory always has a hidden name, which says whose it is: the next one removes those of
//! processes that are gone.

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::fs::{self, File, Permissions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::{NamedTempFile, TempPath};

/// How hidden names of files begin.
const PREFIX: &str = ".debmock-new.";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A file on its way. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Aside {
    file: File,
    /// Its hidden name, if it could not be made without one.
    named: Option<TempPath>,
    target: PathBuf,
}

impl Aside {
    /// An empty file on the file system of `target`, which it will become.
    pub(super) fn of(target: &Path) -> io::Result<Self> {
        let folder = folder(target);
        // EOPNOTSUPP or EISDIR where the file system knows no files without a name; every other
        // obstacle the attempt with a name meets as well.
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let (file, named) = match rustix::fs::open(folder, flags, Mode::from(0o600)) {
            Ok(file) => (File::from(file), None),
            Err(_) => {
                let (file, path) = hidden(folder)?.into_parts();
                (file, Some(path))
            }
        };
        Ok(Aside { file, named, target: target.to_owned() })
    }

    /// The file, for reading and writing.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its place, and these permission bits. What was there is replaced; a
    /// symbolic link is not followed.
    pub(super) fn place(mut self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode))?;
        if let Some(path) = self.named.take() {
            return path.persist(&self.target).map_err(|error| error.error);
        }
        match self.link(&self.target) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => return self.copy(mode),
        }
        // A link never replaces anything, a renamed file does.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}.{number}", std::process::id());
        let path = folder(&self.target).join(name);
        // Of a process that had the same number.
        let _ = fs::remove_file(&path);
        self.link(&path)?;
        TempPath::try_from_path(path)?.persist(&self.target).map_err(|error| error.error)
    }

    fn link(&self, path: &Path) -> io::Result<()> {
        // By the descriptor alone the capability CAP_DAC_READ_SEARCH would be needed (`open(2)`).
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Where a file without a name cannot get one, such as without `/proc`.
    fn copy(mut self, mode: u32) -> io::Result<()> {
        let mut new = hidden(folder(&self.target))?;
        self.file.seek(SeekFrom::Start(0))?;
        io::copy(&mut self.file, new.as_file_mut())?;
        new.as_file().set_permissions(Permissions::from_mode(mode))?;
        new.persist(&self.target).map(drop).map_err(|error| error.error)
    }
}

fn hidden(folder: &Path) -> io::Result<NamedTempFile> {
    NamedTempFile::with_prefix_in(format!("{PREFIX}{}.", std::process::id()), folder)
}

/// The directory that `target` is in.
pub(super) fn folder(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A directory on its way. Dropping it removes it, whatever the modes of what is in it.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Its path, as long as it has no other.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Gives it its place. One that is renamed within its parent need not be open for writing.
    pub(super) fn place(self, target: &Path) -> io::Result<()> {
        fs::rename(&self.0, target)?;
        // There is nothing to be removed any more.
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Deletes a tree, as far as that is possible.
fn remove(path: &Path) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    if let (Some(name), Ok(parent)) = (name, File::open(folder(path))) {
        // The next one with the same prefix tries again.
        let _ = debmock_helper::store::remove_tree(&parent.into(), &name);
    }
}

/// A directory of mode 0700 in `parent` that only this process uses; its name begins with
/// `prefix`, after which comes the number of the process. Those of processes that are gone are
/// removed.
pub(crate) fn directory(parent: &Path, prefix: &str) -> io::Result<Folder> {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(prefix).and_then(|rest| rest.split('.').next());
        if owner
            .is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
        {
            remove(&entry.path());
        }
    }
    let prefix = format!("{prefix}{}.", std::process::id());
    let made = Folder(tempfile::Builder::new().prefix(&prefix).tempdir_in(parent)?.keep());
    // Whatever the caller's umask has left of it.
    fs::set_permissions(made.path(), Permissions::from_mode(0o700))?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_appears_complete_and_replaces_what_was_there() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("file");
        for content in ["one", "two"] {
            let aside = Aside::of(&target).unwrap();
            aside.file().write_all(content.as_bytes()).unwrap();
            aside.place(0o640).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), content);
            assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o640);
            assert_eq!(names(home.path()), ["file"]);
        }
    }

    #[test]
    fn a_file_that_is_given_up_never_had_a_name() {
        let home = tempfile::tempdir().unwrap();
        let aside = Aside::of(&home.path().join("file")).unwrap();
        if aside.named.is_none() {
            assert!(names(home.path()).is_empty());
        }
        drop(aside);
        assert!(names(home.path()).is_empty());
    }

    #[test]
    fn a_file_with_a_hidden_name_takes_its_place_as_well() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("file");
        let (file, path) = hidden(home.path()).unwrap().into_parts();
        let aside = Aside { file, named: Some(path), target: target.clone() };
        aside.place(0o644).unwrap();
        assert_eq!(names(home.path()), ["file"]);
        let mut aside = Aside::of(&target).unwrap();
        aside.file.write_all(b"copied").unwrap();
        aside.copy(0o644).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "copied");
        assert_eq!(names(home.path()), ["file"]);
    }

    #[test]
    fn a_link_or_directory_in_its_place_is_not_entered() {
        let home = tempfile::tempdir().unwrap();
        let (link, folder) = (home.path().join("link"), home.path().join("folder"));
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        Aside::of(&link).unwrap().place(0o644).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
        assert!(!home.path().join("elsewhere").exists());
        fs::create_dir(&folder).unwrap();
        assert!(Aside::of(&folder).unwrap().place(0o644).is_err());
        assert_eq!(names(home.path()).len(), 2);
    }

    #[test]
    fn directories_of_processes_that_are_gone_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let (left, other) = (home.path().join(".x.999999999.a"), home.path().join(".x.mine"));
        fs::create_dir(&left).unwrap();
        fs::create_dir(&other).unwrap();
        fs::create_dir(left.join("closed")).unwrap();
        fs::set_permissions(left.join("closed"), Permissions::from_mode(0o000)).unwrap();
        let made = directory(home.path(), ".x.").unwrap();
        assert!(!left.exists() && other.exists() && made.path().exists());
        assert_eq!(fs::metadata(made.path()).unwrap().mode() & 0o777, 0o700);
        fs::create_dir(made.path().join("in")).unwrap();
        fs::set_permissions(made.path().join("in"), Permissions::from_mode(0o000)).unwrap();
        drop(made);
        assert_eq!(names(home.path()), [".x.mine"]);
    }
}
