//! apt's own cache of the index files, made once for each state of them.
//!
//! apt reads 50 MB of index files into a binary form before it answers anything
//! (`srcpkgcache.bin`), which takes it most of a second, and knows by names, sizes and times of the
//! files whether that still holds. So what it made in a root is taken out and lent to other roots,
//! read-only.
//!
//! apt believes what is in that file. So it is kept for each stack of layers apart, is taken only
//! from a root on these layers that nobody has changed, and is lent only to roots that stand on
//! these layers: it never carries anything from a root to one that does not hold it already.
//!
//! ```text
//! lists/v1/plans/LAYER/apt-KEY/srcpkgcache.bin
//! ```

use super::Apt;
use crate::archive::checksum::{Hasher, Sha256};
use crate::archive::state::{NEW, PLANS, sources_list};
use crate::buildroot::Session;
use debmock_helper::protocol::{Area, Place};
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How apt calls it.
pub(super) const FILE: &str = "srcpkgcache.bin";

/// How many are kept, of all layers: 40 MB each.
const MOST: usize = 8;
/// A file that is larger is none of apt's, bytes. apt itself stops far below.
const LARGEST: u64 = 512 * 1024 * 1024;
/// apt takes a cache for outdated that is older than its list of sources, which is written anew
/// each time: the year 2096.
const LATER: Duration = Duration::from_secs(4_000_000_000);

const PREFIX: &str = "apt-";

/// Whether a directory of the store holds a cache of apt.
pub(crate) fn is_cache(folder: &Path) -> bool {
    folder.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX))
}

/// Where apt's cache of the present index files is kept.
pub(super) struct Cache {
    folder: PathBuf,
    /// Below `lists/v1`.
    path: String,
    there: bool,
}

impl Cache {
    /// That for a call of apt: one that is there, or one that may be made in this root. If there
    /// is neither, apt does as it likes.
    pub(super) fn of(apt: &Apt<'_>) -> Option<Self> {
        let key = key(apt).ok()?;
        let of = |stack: &Path| {
            let layer = stack.file_name()?.to_str()?;
            let name = format!("{PREFIX}{key}");
            let path = format!("{PLANS}/{layer}/{name}");
            let folder = stack.join(name);
            let there = folder.join(FILE).is_file();
            Some(Cache { folder, path, there })
        };
        // What was made on fewer of the layers was made by an apt that is in this root, too.
        if let Some(cache) = apt.caches.iter().filter_map(|s| of(s)).find(|one| one.there) {
            // It was used now. Only its place among the others depends on it.
            let _ = File::open(&cache.folder).and_then(|f| f.set_modified(SystemTime::now()));
            return Some(cache);
        }
        apt.caches.first().filter(|_| apt.plans.is_some()).and_then(|stack| of(stack))
    }

    /// The directory with the cache, if it is there.
    pub(super) fn place(&self) -> Option<Place> {
        self.there.then(|| Place { area: Area::Lists, path: self.path.clone() })
    }

    /// Keeps what apt has written to `path` of a root that nobody has changed. That it cannot be
    /// kept only costs time.
    pub(super) fn keep(&self, session: &Session, path: &str) {
        if self.there {
            return;
        }
        let Ok((file, size)) = session.open_file(path) else { return };
        if size == 0 || size > LARGEST {
            return;
        }
        let Some(stack) = self.folder.parent() else { return };
        let write = || -> io::Result<()> {
            fs::create_dir_all(stack)?;
            let new = tempfile::Builder::new().prefix(NEW).tempdir_in(stack)?;
            let path = new.path().join(FILE);
            let mut kept = File::create_new(&path)?;
            if io::copy(&mut file.take(size), &mut kept)? != size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            kept.set_permissions(Permissions::from_mode(0o644))?;
            kept.set_modified(SystemTime::UNIX_EPOCH + LATER)?;
            fs::set_permissions(new.path(), Permissions::from_mode(0o755))?;
            // Whoever was faster has made the same.
            fs::rename(new.path(), &self.folder)?;
            let _ = new.keep();
            Ok(())
        };
        if write().is_ok()
            && let Some(all) = stack.parent()
        {
            prune(all, MOST);
        }
    }
}

/// Removes all caches below `all` but the `most` that were used last.
fn prune(all: &Path, most: usize) {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let mut caches: Vec<(SystemTime, PathBuf)> = entries(all)
        .flat_map(|stack| entries(&stack.path()))
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    caches.sort();
    for (_, path) in caches.iter().rev().skip(most) {
        // A root that has it mounted finds nothing there any more, and apt makes its own.
        let _ = fs::remove_dir_all(path);
    }
}

/// What apt compares: where the index files are from, their names, sizes and times. And what it
/// does not look at: their content, which may change within a second.
fn key(apt: &Apt<'_>) -> io::Result<Sha256> {
    let mut hasher = Hasher::new();
    hasher.update(apt.archive.digest.as_bytes());
    hasher.add_part(sources_list(apt.archive).as_bytes());
    let mut files = Vec::new();
    for entry in fs::read_dir(&apt.archive.lists)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_file() {
            files.push((entry.file_name(), meta.len(), meta.mtime()));
        }
    }
    files.sort();
    for (name, size, time) in files {
        hasher.update(format!("{}\0{size} {time}\n", name.to_string_lossy()).as_bytes());
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_used_last_stay() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, age: u64| {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).unwrap();
            let time = SystemTime::now() - Duration::from_secs(age);
            File::open(&path).unwrap().set_modified(time).unwrap();
            path
        };
        let old = make("base-1/apt-old", 30);
        let used = make("base-1/apt-used", 10);
        let new = make("base-2/apt-new", 1);
        let other = make("base-2/answers", 40);
        prune(folder.path(), 2);
        assert_eq!([old, used, new, other].map(|p| p.exists()), [false, true, true, true]);
    }
}
