//! Removing: changes of a buildroot, buildroots, and what of the store nobody uses.

use super::base::damaged;
use super::limit::{is_recent, measure};
use super::snapshot::SNAPSHOTS;
use super::{Base, BaseOrigin, Buildroot, Snapshot, Storage};
use crate::archive::state::NEW;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use crate::store::{Held, LAYER_LOCK, used};
use debmock_helper::protocol::Place;
use debmock_helper::store::{LOCKS, MAKING, TRASH};
use std::fs;
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What `scrub` removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scrub {
    /// Everything below.
    All,
    /// The buildroot.
    Chroot,
    /// Layers that no buildroot stands on.
    Layers,
    /// Downloaded packages and sources, and archives made of further packages for a build.
    Debs,
    /// Downloaded indexes.
    Lists,
}

/// Directories of the cache that hold packages and sources: of archives, and those that somebody
/// gave to a build.
pub(super) const DEBS: &[&str] = &["debs", "sources", "extra"];
/// Directories of the cache that hold indexes.
pub(super) const LISTS: &[&str] = &["lists"];

impl Buildroot {
    /// Removes what was changed since the base, which is chosen anew at the next use unless it was
    /// imported. What is removed is deleted beside further work, also after the end of this
    /// process.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while a session of this value is open.
    pub fn clean(&self, scope: &Scope) -> Result<()> {
        self.refuse_if_open("clean")?;
        let lock = self.lock(scope)?;
        self.start_over(&lock, scope)
    }

    /// What [`Buildroot::clean`] does, for those who hold the lock.
    pub(super) fn start_over(&self, lock: &Held, scope: &Scope) -> Result<()> {
        self.finish(scope)?;
        match self.base()? {
            Some(base) if base.origin == BaseOrigin::Import => {
                if base.storage == Storage::Copy {
                    self.stand_on(&base.layer, base.origin, scope)?;
                } else {
                    let base = Base { above: Vec::new(), ..base };
                    self.stand_without_changes(Some(&base), scope)?;
                    self.remove_unused(&self.snapshots()?, scope)?;
                }
            }
            _ => self.forget_all_but_snapshots(lock, scope)?,
        }
        Ok(())
    }

    /// Removes parts of the store, and what was removed earlier and is not deleted yet; waits for
    /// that. Layers that a buildroot stands on stay, and so does, with a warning, what others may be
    /// about to use of packages and indexes: while they work, what was used in the last ten minutes.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while a session of this value is open.
    pub fn scrub(&self, what: &[Scrub], scope: &Scope) -> Result<()> {
        self.refuse_if_open("scrub")?;
        let wanted = |part| what.contains(&part) || what.contains(&Scrub::All);
        if wanted(Scrub::Chroot) {
            let _lock = self.lock(scope)?;
            self.zone.discard(Place::root(self.name.clone()), scope)?;
            self.tell_uses(None, scope)?;
        }
        if wanted(Scrub::Layers) {
            self.scrub_layers(scope)?;
        }
        // Whoever scrubs wants the space. No lock is held any more.
        self.zone.empty_trash(scope)?;
        let cache = &self.zone.places().cache;
        let parts = [(Scrub::Debs, DEBS), (Scrub::Lists, LISTS)];
        let folders = parts.iter().filter(|(part, _)| wanted(*part)).flat_map(|(_, names)| *names);
        for folder in folders {
            // The directory of the format itself is held open by helpers: it stays.
            for version in entries(&cache.join(folder))? {
                scrub_files(&version, scope)?;
            }
        }
        Ok(())
    }

    fn scrub_layers(&self, scope: &Scope) -> Result<()> {
        for layer in self.zone.list(Place::layer("."))? {
            if !is_tree(&layer) {
                continue;
            }
            self.remove_layer(&layer, scope)?;
        }
        Ok(())
    }

    /// Removes a layer, or what somebody began to make of one, unless it is in use.
    pub(super) fn remove_layer(&self, layer: &str, scope: &Scope) -> Result<()> {
        // Whoever makes it holds its lock until a buildroot stands on it, so that only now it is
        // certain who does.
        let key = layer.strip_prefix(MAKING).unwrap_or(layer);
        match self.zone.lock(&format!("{LAYER_LOCK}{key}"), true, Some(Duration::ZERO), scope) {
            Ok(_lock) if self.layers_in_use(scope)?.iter().any(|used| used == layer) => Ok(()),
            Ok(_lock) => self.zone.discard(Place::layer(layer), scope),
            Err(error) if error.kind() == ErrorKind::Locked => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The layers that a buildroot or a snapshot stands on, also one of another state directory.
    ///
    /// # Errors
    /// [`ErrorKind::Buildroot`] if the record of one cannot be understood: what it stands on must
    /// not be taken for unused.
    pub(super) fn layers_in_use(&self, scope: &Scope) -> Result<Vec<String>> {
        let mut used = self.layers_of_others(scope)?;
        for name in self.zone.list(Place::root("."))? {
            if !is_tree(&name) {
                continue;
            }
            let record = Place::root(format!("{name}/base.json"));
            if let Some(text) = self.zone.read(record)? {
                let base: Base =
                    serde_json::from_slice(&text).map_err(|error| damaged(&name, error))?;
                used.extend(base.layers().map(str::to_owned));
            }
            let record = Place::root(format!("{name}/{SNAPSHOTS}/list.json"));
            if let Some(text) = self.zone.read(record)? {
                let snapshots: Vec<Snapshot> =
                    serde_json::from_slice(&text).map_err(|error| damaged(&name, error))?;
                used.extend(snapshots.iter().flat_map(Snapshot::layers).map(str::to_owned));
            }
        }
        Ok(used)
    }
}

/// Whether a name in an area of the store is that of a layer or a buildroot; beside those there
/// are the locks and what is being deleted.
pub(super) fn is_tree(name: &str) -> bool {
    name != LOCKS && name != TRASH && !name.starts_with('.')
}

/// Directories of a format that hold others' units; packages lie in those of two digits.
const SHELVES: &[&str] = &["partial", "sets", "objects", "seen", "tables", "plans"];

/// Removes what is in the directory of a format, but not what others use.
fn scrub_files(format: &Path, scope: &Scope) -> Result<()> {
    // Held to the end: whoever comes meanwhile waits, and finds the directories that it needs.
    let alone = used::unless_used(format);
    if let Ok(None) = alone {
        if scrub_beside_others(format, SystemTime::now())? {
            scope.warn(
                format!("what others may be about to use below {} stays", format.display()),
                Some("run it again when nothing else is at work".into()),
            );
        }
        return Ok(());
    }
    // Where nobody knows, nobody is taken for there.
    entries(format)?.iter().try_for_each(|path| remove(path))
}

/// Removes what nobody uses and nobody has used shortly before `now`: files, and directories as a
/// whole, of which others may have seen that they are there. Shelves stay: somebody may be about to
/// put something there. Whether anything was spared.
fn scrub_beside_others(format: &Path, now: SystemTime) -> Result<bool> {
    let mut units = Vec::new();
    for path in entries(format)? {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let is_shelf = SHELVES.iter().any(|shelf| shelf.as_bytes() == name) || name.len() == 2;
        match (is_shelf, name == b"plans") {
            (false, _) => units.push(path),
            (true, false) => units.extend(entries(&path)?),
            (true, true) => {
                for stack in entries(&path)? {
                    units.extend(entries(&stack)?);
                }
            }
        }
    }
    let mut spared = false;
    for unit in units {
        // Held until it is gone: whoever is about to use it notices.
        let alone = used::unless_used(&unit);
        match matches!(alone, Ok(None)) || is_recent(measure(&unit).0, now) {
            true => spared = true,
            false => remove(&unit)?,
        }
    }
    Ok(spared)
}

/// What is in a directory of the caller's; nothing if it is gone, or is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let doing = || format!("cannot read {}", folder.display());
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).doing(doing)).collect(),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(Error::io(doing(), error)),
    }
}

/// Removes a file or a directory, unless somebody was faster. At no time is there a part of a
/// directory in its place: who finds one takes it for all of it.
pub(super) fn remove(path: &Path) -> Result<()> {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|data| data.is_dir());
    let removed = match (is_folder, path.parent()) {
        (true, Some(parent)) => {
            let aside = tempfile::Builder::new().prefix(NEW).tempdir_in(parent);
            aside.and_then(|aside| {
                fs::rename(path, aside.path().join("unit"))?;
                aside.close()
            })
        }
        _ => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != NotFound => {
            Err(Error::io(format!("cannot remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::debs::Debs;
    use std::io::Write;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_others_use_is_not_scrubbed() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("debs/v1");
        let debs = Debs::open(cache.path()).unwrap();
        let file = cache.path().join("x.deb");
        fs::write(&file, "hello").unwrap();
        let (hash, _, path) = debs.insert(&file).unwrap();
        let set = debs.link_set(&[("x.deb".into(), hash)]).unwrap();
        let mut partial = debs.partial(hash, 100).unwrap();
        partial.write_all(b"hel").unwrap();
        scrub_files(&folder, &Scope::quiet()).unwrap();
        assert!(path.is_file() && set.path().join("x.deb").is_file());
        assert_eq!(names(&folder.join("partial")).len(), 1);
        // Sets stay whatever their age, other files only while they may be about to be used.
        let later = SystemTime::now() + Duration::from_secs(3600);
        assert!(scrub_beside_others(&folder, later).unwrap());
        assert!(!path.exists() && set.path().join("x.deb").is_file());
        // What is to hold the next package stays.
        partial.discard();
        assert!(scrub_beside_others(&folder, later).unwrap());
        debs.partial(hash, 100).unwrap().discard();
        debs.insert(&file).unwrap();
        drop((set, debs));
        scrub_files(&folder, &Scope::quiet()).unwrap();
        assert!(names(&folder).is_empty());
    }
}
