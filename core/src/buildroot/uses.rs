//! Which layers buildroots stand on, told where everybody sees it who has the same layers: several
//! state directories may share one cache.
//!
//! ```text
//! cache/layers/v1/ZONE/locks/uses/ID.json    one for each buildroot, of whatever state directory
//! ```

use super::{Base, Buildroot};
use crate::error::Result;
use crate::operation::Scope;
use debmock_helper::protocol::Place;
use debmock_helper::store::LOCKS;
use debmock_helper::unpack::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The layers that one buildroot stands on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Uses {
    /// Directory of the buildroots that it is one of, as bytes.
    roots: Vec<u8>,
    name: String,
    layers: BTreeSet<String>,
}

impl Uses {
    fn file_name(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(&self.roots);
        hash.update(b"\0");
        hash.update(&self.name);
        format!("{}.json", hex(&hash.finalize()[..16]))
    }

    /// Whether the buildroot is gone, such as with the directory that it was in. Where that cannot
    /// be seen it is there.
    fn is_stale(&self) -> bool {
        let home = PathBuf::from(OsString::from_vec(self.roots.clone())).join(&self.name);
        home.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }
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
        let uses = Uses { roots, name: self.name.clone(), layers };
        let place = file(&uses.file_name());
        let told = self.zone.read(place.clone())?;
        if uses.layers.is_empty() {
            return match told {
                Some(_) => self.zone.discard(place, scope),
                None => Ok(()),
            };
        }
        if told
            .is_some_and(|told| serde_json::from_slice(&told).is_ok_and(|told: Uses| told == uses))
        {
            return Ok(());
        }
        self.zone.make_directory(folder())?;
        let text = serde_json::to_vec(&uses)
            .map_err(|error| super::base::unwritable(&self.name, error))?;
        self.zone.write(place, &text)
    }

    /// The layers that buildroots of other state directories stand on. What is told of buildroots
    /// that are gone is removed.
    pub(super) fn layers_of_others(&self, scope: &Scope) -> Result<Vec<String>> {
        let ours = canonical(&self.zone.roots());
        let mut layers = Vec::new();
        for name in self.zone.list(folder())? {
            let Some(text) = self.zone.read(file(&name))? else { continue };
            // What nobody can read speaks for nobody.
            let Ok(uses) = serde_json::from_slice::<Uses>(&text) else { continue };
            if uses.roots == ours.as_os_str().as_bytes() {
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
