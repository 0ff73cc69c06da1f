//! The times of directories.
//!
//! A directory gets a new time whenever something in it is made or renamed. Where dpkg puts a
//! file, that is the time of the bootstrap, which archives of the tree clamp. A directory that
//! holds only directories keeps the time that its package gave it; and with several packages
//! the one that was unpacked last decides. That must not depend on the order in which threads
//! finished.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::plan::Error;
use crate::dpkgdb::Identity;
use crate::unpack::path::split;
use crate::unpack::place::Placer;
use crate::unpack::{Tree, Unpacked};

/// Collects what is known of directories while packages are unpacked.
#[derive(Debug, Default)]
pub(super) struct Times {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// For each directory who brings it, and with which time.
    brought: HashMap<Vec<u8>, Vec<(Identity, i64)>>,
    filled: HashSet<Vec<u8>>,
}

impl Times {
    pub(super) fn note(&self, unpacked: &Unpacked) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = &unpacked.control.identity;
        for (path, mtime) in &unpacked.directories {
            inner.brought.entry(path.clone()).or_default().push((identity.clone(), *mtime));
        }
        for path in &unpacked.filled {
            if !inner.filled.contains(path) {
                inner.filled.insert(path.clone());
            }
        }
    }

    /// Sets the times of directories that nothing was put into. `early` gives the place of a
    /// package of the first stage, `None` for later ones.
    pub(super) fn apply(
        &self,
        tree: &Tree<'_>,
        early: impl Fn(&Identity) -> Option<usize>,
    ) -> Result<(), Error> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut filled = inner.filled.clone();
        // A directory that comes only with a later package was made in its parent then.
        for (path, brought) in &inner.brought {
            if !path.is_empty() && brought.iter().all(|(identity, _)| early(identity).is_none()) {
                filled.insert(split(path).0.to_vec());
            }
        }
        let mut placer = Placer::new(tree);
        for (path, brought) in &inner.brought {
            if filled.contains(path) {
                continue;
            }
            let last_early = brought
                .iter()
                .filter_map(|(identity, mtime)| Some((early(identity)?, mtime)))
                .max_by_key(|(place, _)| *place);
            let mtime = match last_early {
                Some((_, mtime)) => *mtime,
                // Later packages leave a directory alone that is there: the first decides.
                None => brought.iter().map(|(_, mtime)| *mtime).min().unwrap_or(0),
            };
            placer.set_directory_time(path, (mtime, 0)).map_err(|problem| {
                let shown = String::from_utf8_lossy(path).into_owned();
                Error::tree("set the time of", &shown, std::io::Error::other(problem.to_string()))
            })?;
        }
        Ok(())
    }
}
