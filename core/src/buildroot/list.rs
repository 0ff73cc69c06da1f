//! What lies in the store.

use super::remove::{DEBS, LISTS, is_tree};
use super::snapshot::SNAPSHOTS;
use super::{Base, Buildroot, Snapshot};
use crate::error::{IoContext, Result};
use crate::operation::Scope;
use debmock_helper::protocol::Place;
use serde::Serialize;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What lies in the store, as far as the same id map can see it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Listing {
    /// Buildroots, by name.
    pub buildroots: Vec<ListedBuildroot>,
    /// Layers, by key.
    pub layers: Vec<ListedLayer>,
    /// Bytes on disk of packages and sources.
    pub debs: u64,
    /// Bytes on disk of downloaded indexes.
    pub lists: u64,
}

/// A buildroot in a [`Listing`].
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ListedBuildroot {
    /// Its name.
    pub name: String,
    /// What it stands on; nothing if its record is missing or damaged.
    pub base: Option<Base>,
    /// Bytes on disk, without its base.
    pub bytes: u64,
}

/// A layer in a [`Listing`].
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ListedLayer {
    /// Its key.
    pub key: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// The buildroots that stand on it, or have a snapshot that does.
    pub used_by: Vec<String>,
}

impl Buildroot {
    /// What lies in the store that this buildroot belongs to. Takes no lock: what is being made or
    /// removed meanwhile may be missing or have no base.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if something cannot be read.
    pub fn list(&self, scope: &Scope) -> Result<Listing> {
        let zone = &self.zone;
        let names = |place| -> Result<Vec<String>> {
            let mut names = zone.list(place)?;
            names.retain(|name| is_tree(name));
            names.sort_unstable();
            Ok(names)
        };
        let (mut buildroots, mut taken) = (Vec::new(), Vec::new());
        for name in names(Place::root("."))? {
            let record = zone.read(Place::root(format!("{name}/base.json"))).ok().flatten();
            let base = record.and_then(|text| serde_json::from_slice::<Base>(&text).ok());
            let record = Place::root(format!("{name}/{SNAPSHOTS}/list.json"));
            let snapshots = zone.read(record).ok().flatten();
            let snapshots: Vec<Snapshot> =
                snapshots.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
            let layers = base.iter().flat_map(Base::layers);
            let layers = layers.chain(snapshots.iter().flat_map(Snapshot::layers));
            taken.push(layers.map(str::to_owned).collect::<Vec<_>>());
            let bytes = zone.usage(Place::root(name.clone()), scope)?;
            buildroots.push(ListedBuildroot { name, base, bytes });
        }
        let mut layers = Vec::new();
        for key in names(Place::layer("."))? {
            let bytes = zone.usage(Place::layer(key.clone()), scope)?;
            let roots = buildroots.iter().zip(&taken);
            let used_by = roots
                .filter(|(_, layers)| layers.contains(&key))
                .map(|(root, _)| root.name.clone())
                .collect();
            layers.push(ListedLayer { key, bytes, used_by });
        }
        let cache = &zone.places().cache;
        Ok(Listing {
            buildroots,
            layers,
            debs: usage(DEBS.iter().map(|name| cache.join(name)).collect(), scope)?,
            lists: usage(LISTS.iter().map(|name| cache.join(name)).collect(), scope)?,
        })
    }
}

/// Bytes on disk below directories of the caller's. Names of one file count once.
fn usage(mut open: Vec<PathBuf>, scope: &Scope) -> Result<u64> {
    let mut seen = std::collections::HashSet::new();
    let mut total = 0;
    while let Some(folder) = open.pop() {
        scope.check()?;
        let doing = || format!("cannot list {}", folder.display());
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(crate::Error::io(doing(), error)),
        };
        for entry in entries {
            let entry = entry.doing(doing)?;
            // Downloads come and go.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                open.push(entry.path());
            } else if seen.insert(meta.ino()) {
                total += meta.blocks() * 512;
            }
        }
    }
    Ok(total)
}
