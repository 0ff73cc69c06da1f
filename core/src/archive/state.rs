//! The store of index files: what was fetched and verified, by its hash, and directories of hard
//! links that apt takes for its `lists`.
//!
//! ```text
//! lists/v1/objects/SHA256         Release files and indexes, decoded
//! lists/v1/tables/SHA256          where things are in a large object (see `table`)
//! lists/v1/plans/LAYER/           what apt said and made of index files in roots on that layer
//! lists/v1/plans/none/            which base layer was chosen
//! lists/v1/seen/KEY.json          the newest Release file of a source and how the server names it
//! lists/v1/DIGEST/                one state: hard links under apt's names, `lock`, `partial/`, `auxfiles/`
//! ```
//!
//! Everything appears complete or not at all, so any number of processes may work here at once.
//! Files are readable by everybody: users of a root's id range read them through a descriptor.

use super::checksum::{Hasher, Hashing, Sha256};
use super::release::Release;
use super::transport::Validators;
use super::uri;
use crate::config::ArchiveSource;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::store::used::{self, Use};
use serde::{Deserialize, Serialize};
use std::fs::{self, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tempfile::NamedTempFile;

/// The directory of the store in which it is kept what was answered, by apt or in its place, one
/// directory for each stack of layers that the question was about.
pub(crate) const PLANS: &str = "plans";
/// Begins the names of what is not complete.
pub(crate) const NEW: &str = ".new-";

/// What the archives offered at one time, verified and on disk.
#[derive(Debug, Clone)]
pub struct ArchiveState {
    /// Names the content of [`ArchiveState::lists`].
    pub digest: Sha256,
    /// The directory that can be mounted over a root's `/var/lib/apt/lists`.
    pub lists: PathBuf,
    /// The architecture of the indexes.
    pub architecture: String,
    /// The suites, in the order of the config; those that were left out are absent.
    pub suites: Vec<SuiteState>,
}

/// One suite of an [`ArchiveState`].
#[derive(Debug, Clone)]
pub struct SuiteState {
    /// The config's source.
    pub source: ArchiveSource,
    /// Its verified Release file.
    pub release: Arc<Release>,
    /// Its indexes of binary packages.
    pub indexes: Vec<IndexFile>,
}

/// One index on disk, decoded and verified.
#[derive(Debug, Clone)]
pub struct IndexFile {
    /// Component; empty in a flat repository.
    pub component: String,
    /// Architecture; `all` where it stands apart, `source` for sources.
    pub architecture: String,
    /// The decoded file.
    pub path: PathBuf,
}

impl SuiteState {
    /// What messages call it: `bookworm` or `bookworm main`; a flat repository has no name, but
    /// a place.
    pub fn shown(&self) -> String {
        if self.source.suite.ends_with('/') {
            return uri::redacted(&suite_url(&self.source));
        }
        [self.source.suite.as_str()]
            .into_iter()
            .chain(self.source.components.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The directory `dists/SUITE/` of a source, or that of a flat repository; ends with a slash.
pub(super) fn suite_url(source: &ArchiveSource) -> String {
    let base = source.uri.trim_end_matches('/');
    match source.suite.as_str() {
        "/" => format!("{base}/"),
        flat if flat.ends_with('/') => format!("{base}/{flat}"),
        suite => format!("{base}/dists/{suite}/"),
    }
}

/// A `sources.list` in one-line style with which apt finds the files of `state`. User names and
/// passwords are left out.
pub fn sources_list(state: &ArchiveState) -> String {
    let mut text = String::new();
    for suite in &state.suites {
        let source = &suite.source;
        let mut options = Vec::new();
        if !source.architectures.is_empty() {
            options.push(format!("arch={}", source.architectures.join(",")));
        }
        if source.trusted {
            options.push("trusted=yes".to_owned());
        }
        if !source.check_valid_until {
            options.push("check-valid-until=no".to_owned());
        }
        let options = match options.is_empty() {
            true => String::new(),
            false => format!(" [{}]", options.join(" ")),
        };
        let components: String = source.components.iter().map(|name| format!(" {name}")).collect();
        text +=
            &format!("deb{options} {} {}{components}\n", uri::redacted(&source.uri), source.suite);
    }
    text
}

/// The newest Release file of a source that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Seen {
    pub signed: SignedFile,
    pub validators: Validators,
    /// `Date`, seconds since the epoch.
    pub date: Option<i64>,
    /// When the server was last asked, seconds since the epoch.
    pub asked: i64,
}

/// The objects that make up a Release file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SignedFile {
    Inline(Sha256),
    Detached { release: Sha256, signature: Sha256 },
    Unsigned(Sha256),
}

/// The store of index files.
#[derive(Debug, Clone)]
pub struct Lists {
    root: PathBuf,
    /// Says that somebody may be about to read what was found here.
    _used: Arc<Use>,
}

impl Lists {
    /// The store below a cache directory, made if need be.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::NoSpace`].
    pub fn open(cache: &Path) -> Result<Self> {
        let root = cache.join("lists/v1");
        make_folder(&root)?;
        remove_left(&root);
        // Before the directories: somebody may be emptying the store.
        let used =
            Use::shared(&root).doing(|| format!("cannot use the store {}", root.display()))?;
        for name in ["objects", "seen"] {
            make_folder(&root.join(name))?;
        }
        Ok(Lists { root, _used: Arc::new(used) })
    }

    /// Where the object of this hash is, or would be.
    pub(super) fn object(&self, sha256: Sha256) -> PathBuf {
        self.root.join("objects").join(sha256.to_string())
    }

    /// The object of this hash, if it is there in the right size; it counts as used now.
    pub(super) fn find(&self, sha256: Sha256, size: u64) -> Option<PathBuf> {
        let path = self.object(sha256);
        if !fs::metadata(&path).is_ok_and(|meta| meta.len() == size) {
            return None;
        }
        used::note(&path);
        Some(path)
    }

    pub(super) fn read(&self, sha256: Sha256) -> Result<Vec<u8>> {
        let path = self.object(sha256);
        let bytes = fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
        if Sha256::of(&bytes) != sha256 {
            return Err(Error::new(ErrorKind::Store, format!("{} is damaged", path.display()))
                .with_hint("run `debmock scrub lists` and then the command again"));
        }
        Ok(bytes)
    }

    /// Stores `bytes`, unless they are there. What is there and is something else is replaced.
    pub(super) fn put(&self, bytes: &[u8]) -> Result<Sha256> {
        let sha256 = Sha256::of(bytes);
        if fs::read(self.object(sha256)).is_ok_and(|kept| kept == bytes) {
            return Ok(sha256);
        }
        let mut object = self.create()?;
        object.write_all(bytes).doing(|| self.writing())?;
        Ok(self.keep(object)?.0)
    }

    /// An object that is being written.
    pub(super) fn create(&self) -> Result<NewObject> {
        let file = NamedTempFile::with_prefix_in(NEW, self.root.join("objects"))
            .doing(|| self.writing())?;
        Ok(NewObject(Hashing::new(BufWriter::with_capacity(256 * 1024, file))))
    }

    /// Ends writing: hash and size of what was written.
    pub(super) fn finish(&self, object: NewObject) -> Result<(NamedTempFile, Sha256, u64)> {
        let (writer, sha256, size) = object.0.finish();
        let file =
            writer.into_inner().map_err(io::IntoInnerError::into_error).doing(|| self.writing())?;
        Ok((file, sha256, size))
    }

    /// Gives a finished object its name.
    pub(super) fn keep(&self, object: NewObject) -> Result<(Sha256, PathBuf)> {
        let (file, sha256, _) = self.finish(object)?;
        self.keep_as(file, sha256).map(|path| (sha256, path))
    }

    pub(super) fn keep_as(&self, file: NamedTempFile, name: Sha256) -> Result<PathBuf> {
        let path = self.object(name);
        let time = UNIX_EPOCH + time_of(name);
        file.as_file().set_modified(time).doing(|| self.writing())?;
        publish(file, &path)?;
        Ok(path)
    }

    fn writing(&self) -> String {
        format!("cannot write to {}", self.root.display())
    }

    fn seen_path(&self, source: &ArchiveSource) -> PathBuf {
        let key = Sha256::of(format!("{}\n{}", source.uri, source.suite).as_bytes());
        self.root.join("seen").join(format!("{key}.json"))
    }

    /// What is known about a source. A record that is damaged or whose objects are gone counts
    /// as none.
    pub(super) fn seen(&self, source: &ArchiveSource) -> Option<Seen> {
        let seen: Seen = serde_json::from_slice(&fs::read(self.seen_path(source)).ok()?).ok()?;
        let there = |sha256| self.object(sha256).is_file();
        let complete = match seen.signed {
            SignedFile::Inline(file) | SignedFile::Unsigned(file) => there(file),
            SignedFile::Detached { release, signature } => there(release) && there(signature),
        };
        complete.then_some(seen)
    }

    pub(super) fn set_seen(&self, source: &ArchiveSource, seen: &Seen) -> Result<()> {
        let path = self.seen_path(source);
        let write = || -> io::Result<NamedTempFile> {
            let mut file = NamedTempFile::with_prefix_in(NEW, self.root.join("seen"))?;
            file.write_all(&serde_json::to_vec(seen)?)?;
            Ok(file)
        };
        publish(write().doing(|| format!("cannot write {}", path.display()))?, &path)
    }

    /// The directory with exactly these files: names as apt has them, and objects.
    pub(super) fn assemble(&self, files: &[(String, PathBuf)]) -> Result<(Sha256, PathBuf)> {
        let mut sorted: Vec<_> = files.iter().collect();
        sorted.sort();
        sorted.dedup();
        let mut hasher = Hasher::new();
        for (name, object) in &sorted {
            let object = object.file_name().unwrap_or_default().to_string_lossy();
            hasher.update(format!("{name}\0{object}\n").as_bytes());
        }
        let digest = hasher.finish();
        let path = self.root.join(digest.to_string());
        if path.is_dir() {
            return Ok((digest, path));
        }
        let build = || -> io::Result<tempfile::TempDir> {
            let folder = tempfile::Builder::new().prefix(NEW).tempdir_in(&self.root)?;
            for (name, object) in &sorted {
                link_or_copy(object, &folder.path().join(name))?;
            }
            // Without these apt refuses the directory.
            fs::write(folder.path().join("lock"), "")?;
            fs::set_permissions(folder.path().join("lock"), Permissions::from_mode(0o644))?;
            for name in ["partial", "auxfiles"] {
                fs::create_dir(folder.path().join(name))?;
                fs::set_permissions(folder.path().join(name), Permissions::from_mode(0o755))?;
            }
            fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
            Ok(folder)
        };
        let folder = build().doing(|| self.writing())?;
        match fs::rename(folder.path(), &path) {
            Ok(()) => drop(folder.keep()),
            // Another process made the same one.
            Err(_) if path.is_dir() => {}
            Err(error) => return Err(Error::io(format!("cannot make {}", path.display()), error)),
        }
        Ok((digest, path))
    }
}

/// Removes what processes that were killed have begun, unless somebody else is at work here, whose
/// it may be.
fn remove_left(root: &Path) {
    let Ok(Some(_alone)) = used::unless_used(root) else { return };
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries(&root.join(PLANS)).map(|plans| plans.path()).collect();
    folders.extend(["", "objects", "seen", "tables"].map(|name| root.join(name)));
    for entry in folders.iter().flat_map(|folder| entries(folder)) {
        if !entry.file_name().as_encoded_bytes().starts_with(NEW.as_bytes()) {
            continue;
        }
        // What cannot be removed takes space and harms nobody.
        let _ = match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => fs::remove_dir_all(entry.path()),
            false => fs::remove_file(entry.path()),
        };
    }
}

/// The time of an object since 1970: one of its own, in the years 2001 to 2017. apt believes its
/// caches as long as an index has the same size and second, so that what was published twice within
/// one would escape it, and what was fetched twice would be read twice.
fn time_of(object: Sha256) -> Duration {
    let [a, b, c, d, ..] = *object.as_bytes();
    Duration::from_secs(1_000_000_000 + u64::from(u32::from_be_bytes([a, b, c, d])) % 500_000_000)
}

/// A file that is being written to the store; gone if it is dropped.
pub(super) struct NewObject(Hashing<BufWriter<NamedTempFile>>);

impl NewObject {
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

impl Write for NewObject {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Gives a temporary file its name and mode 0644.
pub(crate) fn publish(file: NamedTempFile, path: &Path) -> Result<()> {
    let doing = || format!("cannot write {}", path.display());
    file.as_file().set_permissions(Permissions::from_mode(0o644)).doing(doing)?;
    file.persist(path).map_err(|error| error.error).doing(doing)?;
    Ok(())
}

/// Makes a directory of mode 0755 and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    let doing = || format!("cannot make the directory {}", path.display());
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).doing(doing)?;
    fs::set_permissions(path, Permissions::from_mode(0o755)).doing(doing)
}

/// A hard link, or a copy where the file system has none or the file too many.
pub(crate) fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    loop {
        let linked = fs::hard_link(from, to);
        return match linked.as_ref().map_err(io::Error::kind) {
            // It was replaced while the kernel looked: what it found had no name any more.
            Err(io::ErrorKind::NotFound)
                if from.exists() && to.parent().is_some_and(Path::exists) =>
            {
                continue;
            }
            Ok(()) | Err(io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => linked,
            Err(_) => {
                fs::copy(from, to)?;
                fs::set_permissions(to, Permissions::from_mode(0o644))
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_began_goes_and_what_the_living_begin_stays() {
        let cache = tempfile::tempdir().unwrap();
        let lists = Lists::open(cache.path()).unwrap();
        let mut at_work = lists.create().unwrap();
        at_work.write_all(b"text").unwrap();
        let left = |place: &str| lists.root.join(place).join(".new-dead");
        let places = ["", "seen", "tables", "plans/some"];
        for place in places {
            fs::create_dir_all(left(place)).unwrap();
            fs::write(left(place).join("file"), "").unwrap();
        }
        fs::write(left("objects"), "").unwrap();
        let sha256 = {
            let _second = Lists::open(cache.path()).unwrap();
            assert!(left("objects").exists() && places.iter().all(|place| left(place).exists()));
            lists.keep(at_work).unwrap().0
        };
        let left: Vec<_> = places.iter().chain(&["objects"]).map(|place| left(place)).collect();
        drop(lists);
        let lists = Lists::open(cache.path()).unwrap();
        assert!(left.iter().all(|path| !path.exists()));
        assert_eq!(lists.read(sha256).unwrap(), b"text");
    }
}
