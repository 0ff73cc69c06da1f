//! The store within its limits: what was not used for the longest time goes first.

use super::Buildroot;
use super::remove::{DEBS, is_tree};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use crate::store::layer;
use debmock_helper::protocol::Place;
use debmock_helper::store::MAKING;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What was used within this time stays: another process may be about to use it again.
const RECENT: Duration = Duration::from_secs(600);

/// Something that can be removed.
struct Candidate<T> {
    what: T,
    /// Seconds since 1970.
    used: u64,
    bytes: u64,
}

/// Those that have to go for the rest to take at most `most` bytes; `kept` bytes cannot go.
fn surplus<T>(mut all: Vec<Candidate<T>>, kept: u64, most: u64) -> Vec<T> {
    all.sort_by_key(|one| one.used);
    let mut total = kept + all.iter().map(|one| one.bytes).sum::<u64>();
    let mut gone = Vec::new();
    for one in all {
        if total <= most {
            break;
        }
        total -= one.bytes;
        gone.push(one.what);
    }
    gone
}

impl Buildroot {
    /// Removes what the config's limits of the store leave no room for. That it cannot be done is a
    /// warning: what somebody asked for is done by then.
    pub(super) fn keep_limits(&self, scope: &Scope) {
        let limits = &self.config.store;
        let layers = limits.layers_max.map_or(Ok(()), |most| self.limit_layers(most, scope));
        let debs = limits.debs_max.map_or(Ok(()), |most| {
            let folders = DEBS.iter().map(|name| self.zone.places().cache.join(name));
            limit_files(&folders.collect::<Vec<_>>(), most, scope)
        });
        for error in [layers, debs].into_iter().filter_map(Result::err) {
            if error.kind() != ErrorKind::Cancelled {
                scope.warn(format!("the store is not within its limits: {error}"), None);
            }
        }
    }

    fn limit_layers(&self, most: u64, scope: &Scope) -> Result<()> {
        let (mut candidates, mut kept) = (Vec::new(), 0);
        let used = self.layers_in_use()?;
        for key in self.zone.list(Place::layer("."))? {
            if !is_tree(&key) || key.starts_with(MAKING) {
                continue;
            }
            let bytes = self.zone.usage(Place::layer(key.clone()), scope)?;
            match used.contains(&key) {
                true => kept += bytes,
                false => {
                    let used = layer::last_use(&self.zone, &key)?;
                    candidates.push(Candidate { what: key, used, bytes });
                }
            }
        }
        // What a layer shares with others is theirs when it is gone: whoever comes next measures anew.
        for key in surplus(candidates, kept, most) {
            self.remove_layer(&key, scope)?;
        }
        Ok(())
    }
}

/// Removes files below `folders`, and source packages as a whole, until the rest takes at most
/// `most` bytes.
fn limit_files(folders: &[PathBuf], most: u64, scope: &Scope) -> Result<()> {
    let now = SystemTime::now();
    let (mut candidates, mut kept) = (Vec::new(), 0);
    for format in folders.iter().flat_map(|folder| entries(folder)) {
        // Packages lie two levels deep, in directories that begin their names; beside them lies
        // what is being written, and sets of links that somebody installs.
        let packages = folders.first().is_some_and(|debs| format.starts_with(debs));
        for entry in entries(&format) {
            let name = entry.file_name().unwrap_or_default();
            let units = match packages {
                true if name == "partial" || name == "sets" => continue,
                true => entries(&entry),
                false => vec![entry],
            };
            for unit in units {
                scope.check()?;
                let (used, bytes) = measure(&unit);
                let recent = now
                    .duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(used))
                    .is_ok_and(|age| age < RECENT);
                match recent {
                    true => kept += bytes,
                    false => candidates.push(Candidate { what: unit, used, bytes }),
                }
            }
        }
    }
    for path in surplus(candidates, kept, most) {
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format!("cannot remove {}", path.display()), error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// When it was used last, in seconds since 1970, and its bytes on disk. A link, which is how packages
/// come into roots, changes the inode.
fn measure(path: &Path) -> (u64, u64) {
    let Ok(meta) = fs::symlink_metadata(path) else { return (0, 0) };
    let own = (meta.ctime().max(meta.atime()).max(0) as u64, meta.blocks() * 512);
    match meta.is_dir() {
        false => own,
        true => entries(path)
            .iter()
            .map(|path| measure(path))
            .fold((0, own.1), |sum, one| (sum.0.max(one.0), sum.1 + one.1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first_and_no_more_than_needed() {
        let all = |bytes: [u64; 3]| {
            let names = ["old", "new", "middle"].into_iter().zip([1, 3, 2]).zip(bytes);
            names.map(|((what, used), bytes)| Candidate { what, used, bytes }).collect()
        };
        assert!(surplus(all([1, 1, 1]), 1, 4).is_empty());
        assert_eq!(surplus(all([1, 1, 1]), 1, 3), ["old"]);
        assert_eq!(surplus(all([1, 5, 1]), 0, 5), ["old", "middle"]);
        assert_eq!(surplus(all([1, 1, 1]), 9, 5), ["old", "middle", "new"]);
    }

    #[test]
    fn files_in_use_stay_and_sources_go_as_a_whole() {
        let cache = tempfile::tempdir().unwrap();
        let folders = [cache.path().join("debs"), cache.path().join("sources")];
        let old = |path: &str| {
            let path = cache.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, [0; 10_000]).unwrap();
            path
        };
        let kept = [old("debs/v1/sets/x/a.deb"), old("debs/v1/partial/b")];
        let recent = [old("debs/v1/ab/ab.deb"), old("sources/v1/a_1/a.dsc")];
        limit_files(&folders, 1, &Scope::quiet()).unwrap();
        assert!(kept.iter().chain(&recent).all(|path| path.exists()), "they were just written");
        let (used, bytes) = measure(&cache.path().join("sources/v1/a_1"));
        assert!(bytes >= 10_000 && used > 0);
    }
}
