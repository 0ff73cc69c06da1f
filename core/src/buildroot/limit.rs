//! The store within its limits: what was not used for the longest time goes first.

use super::Buildroot;
use super::remove::{DEBS, is_tree, remove};
use crate::apt;
use crate::error::{ErrorKind, Result};
use crate::operation::Scope;
use crate::store::debs::Debs;
use crate::store::layer;
use debmock_helper::protocol::Place;
use debmock_helper::store::{LOCKS, MAKING};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What was used within this time stays: another process may be about to use it again.
const RECENT: Duration = Duration::from_secs(600);

/// Where it is kept what apt answered, below the cache.
pub(super) const PLANS: &str = "lists/v1/plans";
/// Answers of apt take at most these bytes: those for archives as they were are of no use later.
const PLANS_MOST: u64 = 64 << 20;

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
        let cache = &self.zone.places().cache;
        let now = SystemTime::now();
        let debs = limits.debs_max.map_or(Ok(()), |most| {
            // Links of killed processes keep what is removed under another name.
            Debs::open(cache).map(|debs| debs.remove_abandoned())?;
            let folders = DEBS.iter().map(|name| cache.join(name));
            limit_files(&folders.collect::<Vec<_>>(), most, now, scope)
        });
        let plans = limit_units(folders_of_plans(cache), PLANS_MOST, now, scope);
        for error in [layers, debs, plans].into_iter().filter_map(Result::err) {
            if error.kind() != ErrorKind::Cancelled {
                scope.warn(format!("the store is not within its limits: {error}"), None);
            }
        }
    }

    fn limit_layers(&self, most: u64, scope: &Scope) -> Result<()> {
        let sizes = self.sizes_of_layers(scope)?;
        if sizes.values().sum::<u64>() <= most {
            return Ok(());
        }
        let (mut candidates, mut kept) = (Vec::new(), 0);
        let used = self.layers_in_use(scope)?;
        for (key, bytes) in &sizes {
            match used.contains(key) {
                true => kept += bytes,
                false => {
                    let (used, bytes) = (layer::last_use(&self.zone, key)?, *bytes);
                    candidates.push(Candidate { what: key.clone(), used, bytes });
                }
            }
        }
        // What a layer shares with others is theirs when it is gone: whoever comes next measures anew.
        for key in surplus(candidates, kept, most) {
            self.remove_layer(&key, scope)?;
        }
        Ok(())
    }

    /// Bytes on the disk by key. They are measured only if there are others than the last time:
    /// layers do not change.
    fn sizes_of_layers(&self, scope: &Scope) -> Result<BTreeMap<String, u64>> {
        let known = Place::layer(format!("{LOCKS}/sizes.json"));
        let text = self.zone.read(known.clone())?.unwrap_or_default();
        // One that makes no sense is as good as none.
        let before: BTreeMap<String, u64> = serde_json::from_slice(&text).unwrap_or_default();
        let mut keys = self.zone.list(Place::layer("."))?;
        keys.retain(|key| is_tree(key) && !key.starts_with(MAKING));
        if keys.len() == before.len() && keys.iter().all(|key| before.contains_key(key)) {
            return Ok(before);
        }
        let mut sizes = BTreeMap::new();
        for key in keys {
            let bytes = self.zone.usage(Place::layer(key.clone()), scope)?;
            sizes.insert(key, bytes);
        }
        if let Ok(text) = serde_json::to_vec(&sizes) {
            // That it cannot be kept only costs time.
            let _ = self.zone.write(known, &text);
        }
        Ok(sizes)
    }
}

/// Removes files below `folders`, and source packages as a whole, until the rest takes at most
/// `most` bytes.
fn limit_files(folders: &[PathBuf], most: u64, now: SystemTime, scope: &Scope) -> Result<()> {
    let mut units = Vec::new();
    for format in folders.iter().flat_map(|folder| entries(folder)) {
        // Packages lie two levels deep, in directories that begin their names; beside them lies
        // what is being written, and sets of links that somebody installs.
        let packages = folders.first().is_some_and(|debs| format.starts_with(debs));
        for entry in entries(&format) {
            let name = entry.file_name().unwrap_or_default();
            match packages {
                true if name == "partial" || name == "sets" => {}
                true => units.extend(entries(&entry)),
                false => units.push(entry),
            }
        }
    }
    limit_units(units, most, now, scope)
}

/// What apt answered before, one file for each answer.
fn folders_of_plans(cache: &Path) -> Vec<PathBuf> {
    let all = entries(&cache.join(PLANS)).into_iter().flat_map(|layer| entries(&layer));
    // apt's own caches, which are large, have a limit in number.
    all.filter(|path| !apt::is_cache(path)).collect()
}

/// Removes files and directories until the rest takes at most `most` bytes; what was used shortly
/// before `now` stays.
fn limit_units(units: Vec<PathBuf>, most: u64, now: SystemTime, scope: &Scope) -> Result<()> {
    let (mut candidates, mut kept) = (Vec::new(), 0);
    for unit in units {
        scope.check()?;
        let (used, bytes) = measure(&unit);
        match is_recent(used, now) {
            true => kept += bytes,
            false => candidates.push(Candidate { what: (unit, used), used, bytes }),
        }
    }
    for (path, used) in surplus(candidates, kept, most) {
        // Somebody may have come to use it while the others were looked at.
        if measure(&path).0 > used {
            continue;
        }
        remove(&path)?;
    }
    Ok(())
}

/// Whether what was used then, in seconds since 1970, may be about to be used again.
pub(super) fn is_recent(used: u64, now: SystemTime) -> bool {
    now.duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(used))
        .map_or(true, |age| age < RECENT)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// When it was used last, in seconds since 1970, and its bytes on disk. The store of packages notes
/// that they are used; where that cannot be noted, being read or linked counts.
pub(super) fn measure(path: &Path) -> (u64, u64) {
    let Ok(meta) = fs::symlink_metadata(path) else { return (0, 0) };
    let (changed, bytes) = (meta.ctime().max(0) as u64, meta.blocks() * 512);
    match meta.is_dir() {
        false => (changed.max(meta.atime().max(0) as u64), bytes),
        true => entries(path)
            .iter()
            .map(|path| measure(path))
            .fold((changed, bytes), |sum, one| (sum.0.max(one.0), sum.1 + one.1)),
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
        let file = |path: &str| {
            let path = cache.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, [0; 10_000]).unwrap();
            path
        };
        let kept = [file("debs/v1/sets/x/a.deb"), file("debs/v1/partial/b")];
        let all = [
            file("debs/v1/ab/ab.deb"),
            file("sources/v1/a_1/a.dsc"),
            file("sources/v1/a_1/a.tar.gz"),
        ];
        let limit = |most, now| limit_files(&folders, most, now, &Scope::quiet()).unwrap();
        let now = SystemTime::now();
        limit(1, now);
        assert!(kept.iter().chain(&all).all(|path| path.exists()), "they were just written");
        // A clock that went backwards makes nothing old.
        limit(1, now - 2 * RECENT);
        assert!(all.iter().all(|path| path.exists()));
        let later = now + 2 * RECENT;
        let bytes = measure(&all[0]).1 + measure(&cache.path().join("sources/v1/a_1")).1;
        limit(bytes, later);
        assert!(all.iter().all(|path| path.exists()), "they are within the limit");
        limit(1, later);
        assert!(kept.iter().all(|path| path.exists()), "somebody writes or installs them");
        assert!(!all.iter().any(|path| path.exists()));
        assert!(!cache.path().join("sources/v1/a_1").exists());
    }

    #[test]
    fn what_apt_answered_is_forgotten_in_the_end() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join(PLANS).join("layer");
        fs::create_dir_all(&folder).unwrap();
        for name in ["a.json", "b.json"] {
            fs::write(folder.join(name), [0; 10_000]).unwrap();
        }
        let later = SystemTime::now() + 2 * RECENT;
        limit_units(folders_of_plans(cache.path()), 12_288, later, &Scope::quiet()).unwrap();
        assert_eq!(entries(&folder).len(), 1);
    }
}
