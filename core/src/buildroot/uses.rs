//! Which layers buildroots stand on, told where everybody sees it who has the same layers: several
//! state directories may share one cache.
//!
//! ```text
//! cache/layers/v1/ZONE/locks/uses/ID.json    one for each buildroot, of whatever state directory
//! ```

use super::{Base, Buildroot};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use debmock_helper::protocol::Place;
use debmock_helper::store::LOCKS;
use debmock_helper::unpack::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What names a directory of buildroots: machines and containers may call theirs the same.
const ID: &str = ".id";
const DAY: u64 = 86_400;
/// Whoever has not used a buildroot that cannot be seen for so long does not come back, seconds.
const LONGEST: u64 = 30 * DAY;

/// The layers that one buildroot stands on.
#[derive(Debug, Serialize, Deserialize)]
struct Uses {
    /// Of the directory of the buildroots that it is one of.
    id: String,
    /// Where that was, as bytes.
    roots: Vec<u8>,
    name: String,
    layers: BTreeSet<String>,
    /// When it was told, in seconds since 1970.
    told: u64,
}

impl Uses {
    fn file_name(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(&self.id);
        hash.update(b"\0");
        hash.update(&self.name);
        format!("{}.json", hex(&hash.finalize()[..16]))
    }

    /// Whether `other` tells the same, and not much later.
    fn is_as(&self, other: &Self) -> bool {
        let content = |one: &Self| (one.id.clone(), one.roots.clone(), one.layers.clone());
        content(self) == content(other) && other.told.saturating_sub(self.told) < DAY
    }

    /// Whether the buildroot is gone: the directory that it was in is there without it. Where it
    /// cannot be seen, since a disk is not mounted or a container is not here, it stays as long as
    /// [`LONGEST`] after its last use.
    fn is_stale(&self) -> bool {
        let roots = PathBuf::from(OsString::from_vec(self.roots.clone()));
        let home = roots.join(&self.name);
        if !home.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return false;
        }
        let id = std::fs::read_to_string(roots.join(LOCKS).join(ID)).ok();
        id.as_deref() == Some(&*self.id) || self.told.saturating_add(LONGEST) < now()
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn folder() -> Place {
    Place::layer(format!("{LOCKS}/uses"))
}

fn file(name: &str) -> Place {
    Place::layer(format!("{LOCKS}/uses/{name}"))
}

/// The same for all who mean the same directory.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

impl Buildroot {
    /// Tells which layers this buildroot and its snapshots stand on, and those that it is about to
    /// stand on.
    ///
    /// # Errors
    /// [`ErrorKind::Buildroot`](crate::ErrorKind::Buildroot) if a record of the buildroot is
    /// damaged, those of the file system.
    pub(super) fn tell_uses(&self, about: Option<&Base>, scope: &Scope) -> Result<()> {
        let (base, snapshots) = (self.base()?, self.snapshots()?);
        let layers = base.iter().chain(about).flat_map(Base::layers);
        let layers = layers.chain(snapshots.iter().flat_map(super::Snapshot::layers));
        let layers = layers.map(str::to_owned).collect();
        let roots = canonical(&self.zone.roots()).into_os_string().into_vec();
        let (id, told) = (self.id_of_roots(scope)?, now());
        let uses = Uses { id, roots, name: self.name.clone(), layers, told };
        let place = file(&uses.file_name());
        let before = self.zone.read(place.clone())?;
        if uses.layers.is_empty() {
            return match before {
                Some(_) => self.zone.discard(place, scope),
                None => Ok(()),
            };
        }
        let before = before.and_then(|text| serde_json::from_slice::<Uses>(&text).ok());
        if before.is_some_and(|before| before.is_as(&uses)) {
            return Ok(());
        }
        self.zone.make_directory(folder())?;
        let text = serde_json::to_vec(&uses)
            .map_err(|error| super::base::unwritable(&self.name, error))?;
        self.zone.write(place, &text)
    }

    /// What names the directory of the buildroots.
    fn id_of_roots(&self, scope: &Scope) -> Result<String> {
        const RANDOM: &str = "/proc/sys/kernel/random/uuid";
        let place = Place::root(format!("{LOCKS}/{ID}"));
        loop {
            if let Some(id) = self.zone.read(place.clone())? {
                return Ok(String::from_utf8_lossy(&id).into_owned());
            }
            let random = std::fs::read_to_string(RANDOM);
            let new = random.doing(|| format!("cannot read {RANDOM}"))?;
            let aside = Place::root(format!("{LOCKS}/{ID}.{}", new.trim()));
            self.zone.make_directory(Place::root(LOCKS))?;
            self.zone.write(aside.clone(), new.trim().as_bytes())?;
            // Another process may have given it one meanwhile.
            if let Err(error) = self.zone.rename(aside.clone(), place.clone()) {
                self.zone.discard(aside, scope)?;
                if self.zone.read(place.clone())?.is_none() {
                    return Err(error);
                }
            }
        }
    }

    /// The layers that buildroots of other state directories stand on. What is told of buildroots
    /// that are gone is removed.
    pub(super) fn layers_of_others(&self, scope: &Scope) -> Result<Vec<String>> {
        let ours = self.id_of_roots(scope)?;
        let mut layers = Vec::new();
        for name in self.zone.list(folder())? {
            // One that is being written; whoever was killed meanwhile leaves it.
            if name.starts_with('.') {
                continue;
            }
            let Some(text) = self.zone.read(file(&name))? else { continue };
            let uses: Uses = serde_json::from_slice(&text).map_err(|error| {
                let what = format!("what is told of a buildroot in {LOCKS}/uses/{name} is damaged");
                Error::new(ErrorKind::Store, format!("{what}: {error}")).with_hint(
                    "layers are not removed as long as it is there: open that buildroot again, or \
                     remove the file, which lies in `layers/v1` of the cache",
                )
            })?;
            if uses.id == ours {
                continue;
            }
            match uses.is_stale() {
                true => self.zone.discard(file(&name), scope)?,
                false => layers.extend(uses.layers),
            }
        }
        Ok(layers)
    }
}
