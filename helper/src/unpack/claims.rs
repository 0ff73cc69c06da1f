//! Who brought which path: what dpkg's file database decides when two packages ship the same.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::dpkgdb::{Identity, Stanza, replaces};

/// Locks that all paths share: with a handful of threads two of them rarely meet at one.
const TURNS: usize = 256;

/// The paths of all packages of one unpacking, shared by its threads.
#[derive(Debug)]
pub(crate) struct Claims {
    inner: Mutex<Inner>,
    turns: Vec<Mutex<()>>,
}

impl Default for Claims {
    fn default() -> Self {
        let turns = (0..TURNS).map(|_| Mutex::default()).collect();
        Self { inner: Mutex::default(), turns }
    }
}

/// The right to claim some paths and to make what is there, held by one thread at a time.
#[derive(Debug)]
pub(crate) struct Turn<'c> {
    _guards: Vec<MutexGuard<'c, ()>>,
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

    /// Waits until nobody else works at these paths. Whoever claims a path makes what is there
    /// before the turn ends: else a package that takes the path over could find nothing to replace
    /// and then meet what its first owner makes late.
    pub(crate) fn turn(&self, paths: &[&[u8]]) -> Turn<'_> {
        let number = |path: &&[u8]| {
            let mut hasher = DefaultHasher::new();
            path.hash(&mut hasher);
            (hasher.finish() % TURNS as u64) as usize
        };
        // In one order and each once: two threads never wait for each other.
        let numbers: BTreeSet<usize> = paths.iter().map(number).collect();
        let guards = numbers.into_iter().map(|number| {
            // What a panicked thread left half done is for nobody: the unpacking fails.
            self.turns[number].lock().unwrap_or_else(PoisonError::into_inner)
        });
        Turn { _guards: guards.collect() }
    }

    /// Asks for a path; its [`Claims::turn`] has to be held until what is there is made.
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
