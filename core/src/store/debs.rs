//! The store of `.deb` files, by SHA-256.
//!
//! ```text
//! debs/v1/ab/SHA256.deb       complete and verified
//! debs/v1/partial/SHA256.N    being written, or left behind by a transfer that stopped
//! debs/v1/sets/NAME/          hard links under the names that apt gives to its archives; locked
//! ```
//!
//! A file appears under its hash only when it is complete and has that hash. Any number of
//! processes may write at once: each writes to a file of its own, and the same content wins.
//! Files are readable by everybody: users of a root's id range read them through a descriptor.

use crate::archive::checksum::{Hasher, Sha256};
use crate::archive::state::{link_or_copy, make_folder};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::store::used::{self, Use};
use debmock_helper::protocol::{Area, Place};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The store of `.deb` files.
#[derive(Debug, Clone)]
pub struct Debs {
    root: PathBuf,
    /// Says that somebody may be about to read what was found here, and in what lies beside it.
    _used: Arc<Vec<Use>>,
}

/// Names of copies of local files, while they are written.
const LOCAL: &str = "local";

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Debs {
    /// The store below a cache directory, made if need be.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::NoSpace`].
    pub fn open(cache: &Path) -> Result<Self> {
        let root = cache.join("debs/v1");
        let mut used = Vec::new();
        // Before the directories: somebody may be emptying the store.
        for store in [&root, &cache.join("sources/v1"), &cache.join("extra/v1")] {
            make_folder(store)?;
            used.push(
                Use::shared(store).doing(|| format!("cannot use the store {}", store.display()))?,
            );
        }
        for name in ["partial", "sets"] {
            make_folder(&root.join(name))?;
        }
        Ok(Debs { root, _used: Arc::new(used) })
    }

    /// Where the file of this hash is, or would be.
    pub fn path(&self, sha256: Sha256) -> PathBuf {
        let name = sha256.to_string();
        self.root.join(&name[..2]).join(format!("{name}.deb"))
    }

    /// The file of this hash, if it is there in the right size; it counts as used now.
    pub fn lookup(&self, sha256: Sha256, size: u64) -> Option<PathBuf> {
        let path = self.path(sha256);
        if !fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() == size) {
            return None;
        }
        used::note(&path);
        Some(path)
    }

    /// Whether the file of this hash still has that hash. One that has not is removed.
    pub fn is_sound(&self, sha256: Sha256) -> bool {
        let path = self.path(sha256);
        match Sha256::of_file(&path) {
            Ok((found, _)) if found == sha256 => true,
            Ok(_) => {
                let _ = fs::remove_file(&path);
                false
            }
            Err(_) => false,
        }
    }

    /// Copies a local `.deb` into the store.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::NoSpace`].
    pub fn insert(&self, file: &Path) -> Result<(Sha256, u64, PathBuf)> {
        let doing = || format!("cannot copy {} into the store", file.display());
        let mut input = File::open(file).doing(doing)?;
        let mut partial = self.create(LOCAL)?;
        if let Err(error) = io::copy(&mut input, &mut partial).doing(doing) {
            // Nobody takes it up: what it would become is not known.
            partial.discard();
            return Err(error);
        }
        let (sha256, size) = (partial.hasher.clone().finish(), partial.size);
        Ok((sha256, size, partial.publish(sha256, size)?))
    }

    /// A file that is to become that of this hash. It begins with what an interrupted transfer
    /// left behind, if there is anything.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::NoSpace`].
    pub fn partial(&self, sha256: Sha256, size: u64) -> Result<Partial> {
        use std::io::Read;
        let mut partial = self.create(&sha256.to_string())?;
        if let Some((mut input, old)) = self.abandoned(sha256) {
            let mut buffer = vec![0; 128 * 1024];
            while let Ok(count @ 1..) = input.read(&mut buffer) {
                if partial.size + count as u64 > size {
                    partial.restart()?;
                    break;
                }
                partial.write_all(&buffer[..count]).doing(|| self.writing())?;
            }
            let _ = fs::remove_file(&old);
        }
        Ok(partial)
    }

    /// The largest file that a transfer of this hash left behind, locked.
    fn abandoned(&self, sha256: Sha256) -> Option<(File, PathBuf)> {
        let prefix = format!("{sha256}.");
        let entries = fs::read_dir(self.root.join("partial")).ok()?.flatten();
        let left = entries.filter_map(|entry| {
            entry.file_name().to_str()?.strip_prefix(&prefix)?;
            let path = entry.path();
            let flags = OFlags::NOFOLLOW.bits().cast_signed();
            // Some file systems lock only what may be written.
            let options = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path);
            let file = options.ok()?;
            flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
            Some((file.metadata().ok()?.len(), path, file))
        });
        let largest = left.max_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        largest.filter(|(_, path, file)| is_at(file, path)).map(|(_, path, file)| (file, path))
    }

    /// A new file that is locked as long as it is being written. Whether somebody still writes to a
    /// file is told by the lock, which dies with its holder, not by a process id: processes that
    /// share the store need not see each other.
    fn create(&self, name: &str) -> Result<Partial> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path =
                self.root.join("partial").join(format!("{name}.{}.{number}", std::process::id()));
            let doing = || format!("cannot make {}", path.display());
            let made = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
            let file = match made {
                // Left behind, or of a process with the same number in another container.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other.doing(doing)?,
            };
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => {}
                Err(Errno::INTR) => {
                    let _ = fs::remove_file(&path);
                    continue;
                }
                // A file system without locks: nothing on it is ever taken for abandoned.
                Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS | Errno::INVAL) => {}
                Err(error) => return Err(Error::io(doing(), error)),
            }
            // Before it was locked, somebody may have taken it for abandoned.
            if is_at(&file, &path) {
                let debs = self.clone();
                return Ok(Partial {
                    debs,
                    file,
                    path,
                    hasher: Hasher::new(),
                    size: 0,
                    done: false,
                });
            }
        }
    }

    fn writing(&self) -> String {
        format!("cannot write to {}", self.root.display())
    }

    /// A directory of hard links to files of the store: `files` gives each link's name
    /// ([`archive_name`]) and the hash. There is also `partial/` and `lock`, so that it can stand
    /// for `/var/cache/apt/archives`. It has a name that no other process chooses, whatever its
    /// number and container.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if a file is not in the store; [`ErrorKind::Usage`] for the name of a
    /// link with a slash.
    pub fn link_set(&self, files: &[(String, Sha256)]) -> Result<LinkSet> {
        self.remove_abandoned();
        let (folder, lock) = self.make_set().doing(|| self.writing())?;
        for (link, sha256) in files {
            if link.contains('/') || link.starts_with('.') {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("{link:?} is not the name of a package file"),
                ));
            }
            link_or_copy(&self.path(*sha256), &folder.path().join(link)).map_err(|error| {
                let missing = error.kind() == io::ErrorKind::NotFound;
                let error = Error::io(format!("cannot link {link} ({sha256})"), error);
                if missing { gone(error) } else { error }
            })?;
        }
        let finish = || -> io::Result<()> {
            fs::create_dir(folder.path().join("partial"))?;
            fs::set_permissions(folder.path().join("partial"), Permissions::from_mode(0o755))?;
            fs::write(folder.path().join("lock"), "")?;
            fs::set_permissions(folder.path().join("lock"), Permissions::from_mode(0o644))?;
            fs::set_permissions(folder.path(), Permissions::from_mode(0o755))
        };
        finish().doing(|| format!("cannot make {}", folder.path().display()))?;
        Ok(LinkSet { folder, _lock: lock })
    }

    /// An empty set that is locked.
    fn make_set(&self) -> io::Result<(tempfile::TempDir, Use)> {
        loop {
            let folder = tempfile::Builder::new()
                .prefix("set-")
                .rand_bytes(16)
                .tempdir_in(self.root.join("sets"))?;
            match Use::alone(folder.path()) {
                Ok(lock) => return Ok((folder, lock)),
                // Before it was locked somebody took it for abandoned.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes what killed processes left and nobody takes up: sets, whose links keep the content of
    /// packages that were removed, and copies of local files.
    pub(crate) fn remove_abandoned(&self) {
        let entries = |name| fs::read_dir(self.root.join(name)).into_iter().flatten().flatten();
        let copies = entries("partial")
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(LOCAL)));
        for path in entries("sets").chain(copies).map(|entry| entry.path()) {
            // Nobody waits for it, and it is tried again.
            if let Ok(Some(_alone)) = used::unless_used(&path) {
                let _ = match path.is_dir() {
                    true => fs::remove_dir_all(&path),
                    false => fs::remove_file(&path),
                };
            }
        }
    }
}

/// A directory of links; dropping it removes it.
#[derive(Debug)]
pub struct LinkSet {
    folder: tempfile::TempDir,
    _lock: Use,
}

impl LinkSet {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its place for the helper.
    pub fn place(&self) -> Place {
        let name = self.path().file_name().unwrap_or_default().to_string_lossy();
        Place { area: Area::Debs, path: format!("sets/{name}") }
    }
}

/// What to say of a file that was found and is gone now.
pub(crate) fn gone(error: Error) -> Error {
    error.with_kind(ErrorKind::Store).with_hint(
        "another process removed it meanwhile: run the command again; raise `store.debs_max` if \
         that happens often",
    )
}

/// The name that apt gives to a package file in `/var/cache/apt/archives`: in the version the
/// epoch's colon is `%3a`.
pub fn archive_name(name: &str, version: &str, architecture: &str) -> String {
    format!("{name}_{}_{architecture}.deb", version.replace(':', "%3a"))
}

/// A file of the store that is being written. If it is dropped before [`Partial::publish`],
/// what it has is kept for the next try.
pub struct Partial {
    debs: Debs,
    file: File,
    path: PathBuf,
    hasher: Hasher,
    size: u64,
    done: bool,
}

impl Partial {
    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Throws away what was written.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn restart(&mut self) -> Result<()> {
        use std::io::{Seek, SeekFrom};
        let doing = || format!("cannot truncate {}", self.path.display());
        self.file.set_len(0).doing(doing)?;
        self.file.seek(SeekFrom::Start(0)).doing(doing)?;
        (self.hasher, self.size) = (Hasher::new(), 0);
        Ok(())
    }

    /// Hash of what was written so far.
    pub fn sha256(&self) -> Sha256 {
        self.hasher.clone().finish()
    }

    /// Gives the file its name, if it has this hash and size.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if it has not; it is removed then.
    pub fn publish(mut self, sha256: Sha256, size: u64) -> Result<PathBuf> {
        self.done = true;
        let got = (self.sha256(), self.size);
        if got != (sha256, size) {
            let _ = fs::remove_file(&self.path);
            return Err(Error::new(
                ErrorKind::Store,
                format!(
                    "a file of {} bytes with the SHA-256 {} is not the one of {size} bytes with {sha256}",
                    got.1, got.0
                ),
            ));
        }
        let path = self.debs.path(sha256);
        let doing = || format!("cannot write {}", path.display());
        make_folder(path.parent().unwrap_or(&self.debs.root))?;
        self.file.set_permissions(Permissions::from_mode(0o644)).doing(doing)?;
        match fs::rename(&self.path, &path) {
            Err(_) if self.debs.lookup(sha256, size).is_some() => {}
            other => other.doing(doing)?,
        }
        Ok(path)
    }

    /// Removes it: what it has is of no use.
    pub fn discard(mut self) {
        self.done = true;
        let _ = fs::remove_file(&self.path);
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether this file is the one that has this name.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(file), Ok(there)) => id(file) == id(there),
        _ => false,
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.done && self.size == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_transfer_left_behind_is_taken_up() {
        let cache = tempfile::tempdir().unwrap();
        let debs = Debs::open(cache.path()).unwrap();
        let hash = Sha256::of(b"hello");
        debs.partial(hash, 5).unwrap().write_all(b"hel").unwrap();
        assert!(debs.lookup(hash, 5).is_none());
        let mut partial = debs.partial(hash, 5).unwrap();
        assert_eq!(partial.size(), 3);
        // One that is in use is left alone.
        assert_eq!(debs.partial(hash, 5).unwrap().size(), 0);
        partial.write_all(b"lo").unwrap();
        let path = partial.publish(hash, 5).unwrap();
        assert_eq!(debs.lookup(hash, 5), Some(path.clone()));
        assert!(debs.lookup(hash, 6).is_none());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert!(names(&cache.path().join("debs/v1/partial")).is_empty());
    }

    #[test]
    fn one_that_was_killed_is_taken_up_too() {
        let cache = tempfile::tempdir().unwrap();
        let debs = Debs::open(cache.path()).unwrap();
        let hash = Sha256::of(b"hello");
        fs::write(cache.path().join(format!("debs/v1/partial/{hash}.999999999.0")), "he").unwrap();
        assert_eq!(debs.partial(hash, 5).unwrap().size(), 2);
        fs::write(cache.path().join(format!("debs/v1/partial/{hash}.999999999.0")), "too long")
            .unwrap();
        assert_eq!(debs.partial(hash, 5).unwrap().size(), 0);
    }

    #[test]
    fn one_whose_writer_cannot_be_seen_is_left_alone() {
        let hash = Sha256::of(b"hello");
        // In another container this may be the number of a process that runs, and of this one.
        for pid in [999_999_999, std::process::id()] {
            let cache = tempfile::tempdir().unwrap();
            let debs = Debs::open(cache.path()).unwrap();
            let next = NEXT.load(Ordering::Relaxed);
            let paths: Vec<PathBuf> = (next..next + 20)
                .map(|n| cache.path().join(format!("debs/v1/partial/{hash}.{pid}.{n}")))
                .collect();
            let files: Vec<File> = paths
                .iter()
                .map(|path| {
                    fs::write(path, "he").unwrap();
                    let file = OpenOptions::new().write(true).open(path).unwrap();
                    flock(&file, FlockOperation::LockExclusive).unwrap();
                    file
                })
                .collect();
            assert_eq!(debs.partial(hash, 5).unwrap().size(), 0, "{pid}");
            assert!(paths.iter().all(|path| fs::read(path).unwrap() == b"he"), "{pid}");
            drop(files);
            assert_eq!(debs.partial(hash, 5).unwrap().size(), 2, "{pid}");
        }
    }

    #[test]
    fn wrong_content_is_not_kept() {
        let cache = tempfile::tempdir().unwrap();
        let debs = Debs::open(cache.path()).unwrap();
        let hash = Sha256::of(b"hello");
        let mut partial = debs.partial(hash, 5).unwrap();
        partial.write_all(b"hallo").unwrap();
        assert_eq!(partial.publish(hash, 5).unwrap_err().kind(), ErrorKind::Store);
        assert!(names(&cache.path().join("debs/v1/partial")).is_empty());
    }

    #[test]
    fn sets_have_the_names_of_apt() {
        let cache = tempfile::tempdir().unwrap();
        let debs = Debs::open(cache.path()).unwrap();
        let file = cache.path().join("x.deb");
        fs::write(&file, "hello").unwrap();
        let (hash, ..) = debs.insert(&file).unwrap();
        let name = archive_name("a", "1:2.0-1", "amd64");
        assert_eq!(name, "a_1%3a2.0-1_amd64.deb");
        let set = debs.link_set(&[(name.clone(), hash)]).unwrap();
        assert_eq!(names(set.path()), [name.as_str(), "lock", "partial"]);
        // Another process may be the second with the same number.
        let other = debs.link_set(&[]).unwrap();
        assert_eq!(names(other.path()), ["lock", "partial"]);
        assert_eq!(names(set.path()), [name.as_str(), "lock", "partial"]);
        drop((set, other));
        assert!(debs.link_set(&[("../x".into(), hash)]).is_err());
        assert_eq!(
            debs.link_set(&[("x".into(), Sha256::of(b"no"))]).unwrap_err().kind(),
            ErrorKind::Store
        );
        assert!(names(&cache.path().join("debs/v1/sets")).is_empty());
    }

    #[test]
    fn what_killed_processes_left_takes_no_space() {
        let cache = tempfile::tempdir().unwrap();
        let debs = Debs::open(cache.path()).unwrap();
        let set = debs.link_set(&[]).unwrap();
        let folder = cache.path().join("debs/v1");
        fs::create_dir_all(folder.join("sets/7.0/partial")).unwrap();
        fs::write(folder.join("partial/local.7.0"), "x").unwrap();
        let hash = Sha256::of(b"hello");
        debs.partial(hash, 5).unwrap().write_all(b"hel").unwrap();
        let copy = debs.create(LOCAL).unwrap();
        debs.remove_abandoned();
        assert!(set.path().is_dir() && copy.path.is_file());
        assert_eq!(names(&folder.join("sets")).len(), 1);
        // The copy that is being made, and what a transfer goes on with.
        assert_eq!(names(&folder.join("partial")).len(), 2);
    }

    #[test]
    fn a_copy_that_cannot_be_made_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let debs = Debs::open(cache.path()).unwrap();
        // It can be opened, and not be read.
        assert!(debs.insert(cache.path()).is_err());
        assert!(names(&cache.path().join("debs/v1/partial")).is_empty());
    }

    #[test]
    fn what_was_found_counts_as_used() {
        let cache = tempfile::tempdir().unwrap();
        let debs = Debs::open(cache.path()).unwrap();
        let file = cache.path().join("x.deb");
        fs::write(&file, "hello").unwrap();
        let (hash, size, path) = debs.insert(&file).unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        let times = fs::FileTimes::new().set_accessed(old).set_modified(old);
        File::open(&path).unwrap().set_times(times).unwrap();
        debs.lookup(hash, size).unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert!(meta.accessed().unwrap() > old);
        assert_eq!(meta.modified().unwrap(), old);
    }

    #[test]
    fn many_writers_of_one_file_are_no_problem() {
        let cache = tempfile::tempdir().unwrap();
        let debs = Debs::open(cache.path()).unwrap();
        let hash = Sha256::of(b"hello");
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    let mut partial = debs.partial(hash, 5).unwrap();
                    if partial.size() == 0 {
                        partial.write_all(b"hello").unwrap();
                    }
                    partial.publish(hash, 5).unwrap();
                });
            }
        });
        assert!(debs.lookup(hash, 5).is_some());
    }
}
