//! Who brought which path: what dpkg's file database decides when two packages ship the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::dpkgdb::{Identity, Stanza, replaces};

/// The paths of all packages of one unpacking, shared by its threads.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    packages: Vec<(Identity, Stanza)>,
    paths: HashMap<Vec<u8>, u32>,
    /// Paths that their first owner lost to a package that replaces it.
    lost: Vec<(u32, Vec<u8>)>,
}

/// A package's number in one [`Claims`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claimant(u32);

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Claim {
    /// Nobody had the path.
    Granted,
    /// Another package had it, and this one replaces it: overwrite.
    TakenOver,
    /// Another package has it that replaces this one: leave it alone.
    Yielded,
    /// Another package has it, and that is an error.
    Conflict(String),
}

impl Claims {
    pub(crate) fn register(&self, identity: &Identity, stanza: &Stanza) -> Claimant {
        let mut inner = self.lock();
        inner.packages.push((identity.clone(), stanza.clone()));
        Claimant(inner.packages.len() as u32 - 1)
    }

    pub(crate) fn claim(&self, path: &[u8], claimant: Claimant) -> Claim {
        let mut inner = self.lock();
        let Inner { packages, paths, lost } = &mut *inner;
        let mut occupied = match paths.entry(path.to_vec()) {
            Entry::Vacant(vacant) => {
                vacant.insert(claimant.0);
                return Claim::Granted;
            }
            Entry::Occupied(occupied) => occupied,
        };
        let owner = *occupied.get();
        if owner == claimant.0 {
            return Claim::Conflict("itself (the path is twice in its archive)".into());
        }
        let (new, new_stanza) = &packages[claimant.0 as usize];
        let (old, old_stanza) = &packages[owner as usize];
        if replaces(new_stanza, old) {
            occupied.insert(claimant.0);
            lost.push((owner, path.to_vec()));
            Claim::TakenOver
        } else if replaces(old_stanza, new) {
            lost.push((claimant.0, path.to_vec()));
            Claim::Yielded
        } else {
            Claim::Conflict(old.name.clone())
        }
    }

    /// Whether the path belongs to the claimant.
    pub(crate) fn owns(&self, path: &[u8], claimant: Claimant) -> bool {
        self.lock().paths.get(path) == Some(&claimant.0)
    }

    /// Which package lost which paths: they are not in its list of files.
    pub(crate) fn lost(&self) -> Vec<(Identity, Vec<u8>)> {
        let inner = self.lock();
        inner
            .lost
            .iter()
            .map(|(owner, path)| (inner.packages[*owner as usize].0.clone(), path.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A thread that panicked leaves at most one claim too many.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
