//! The times of directories.
//!
//! A directory gets a new time whenever something in it is made or renamed. Where dpkg puts a
//! file, that is the time of the bootstrap, which archives of the tree clamp. A directory that
//! holds only directories keeps the time that its package gave it; and with several packages
//! the one that was unpacked last decides. That must not depend on the order in which threads
//! finished.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::plan::Error;
use super::skeleton;
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
    brought: HashMap<Vec<u8>, Vec<Brought>>,
    filled: HashSet<Vec<u8>>,
    symlinks: Vec<(Identity, Vec<u8>, bool)>,
    /// Package and path of hard links that a conversion to a merged /usr takes apart.
    alias_links: Vec<(Identity, Vec<u8>)>,
}

/// A package brings a directory.
#[derive(Clone, Debug)]
struct Brought {
    by: Identity,
    mtime: i64,
    aliased: bool,
}

impl Times {
    pub(super) fn note(&self, unpacked: &Unpacked) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let by = &unpacked.control.identity;
        for directory in &unpacked.directories {
            let brought =
                Brought { by: by.clone(), mtime: directory.mtime, aliased: directory.aliased };
            inner.brought.entry(directory.path.clone()).or_default().push(brought);
        }
        for path in &unpacked.filled {
            if !inner.filled.contains(path) {
                inner.filled.insert(path.clone());
            }
        }
        let symlinks = unpacked.symlinks.iter();
        inner.symlinks.extend(symlinks.map(|(path, late)| (by.clone(), path.clone(), *late)));
        let links = unpacked.alias_links.iter().map(|path| (by.clone(), path.clone()));
        inner.alias_links.extend(links);
    }

    /// The hard links of early packages that a conversion to a merged /usr takes apart.
    pub(super) fn alias_links(&self, early: &BTreeSet<String>) -> Vec<Vec<u8>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let of_early = inner.alias_links.iter().filter(|(by, _)| early.contains(&by.name));
        of_early.map(|(_, path)| path.clone()).collect()
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
        for (by, path, late) in &inner.symlinks {
            // In the first stage tar makes the link before dpkg comes to it, and dpkg leaves
            // one alone that leads to a directory.
            if *late || early(by).is_none() || tree.open_dir(path).is_err() {
                filled.insert(split(path).0.to_vec());
            }
        }
        for (path, brought) in &inner.brought {
            let (parent, name) = split(path);
            if name.is_empty() || skeleton::is_part(path) {
                continue;
            }
            let mut of_early = brought.iter().filter(|one| early(&one.by).is_some()).peekable();
            // A directory that comes only with a later package was made in its parent then.
            // One that came only below /lib was moved into its parent, if that was below /usr.
            let moved_into = |parent: &[u8]| {
                inner.brought.get(parent).is_some_and(|brought| {
                    brought.iter().any(|one| !one.aliased && early(&one.by).is_some())
                })
            };
            if of_early.peek().is_none() || of_early.all(|one| one.aliased) && moved_into(parent) {
                filled.insert(parent.to_vec());
            }
        }
        let mut placer = Placer::new(tree);
        for (path, brought) in &inner.brought {
            if filled.contains(path) {
                continue;
            }
            let before = skeleton::is_part(path);
            if before && brought.iter().all(|one| early(&one.by).is_none()) {
                continue;
            }
            let last_early = brought
                .iter()
                .filter_map(|one| Some(((!one.aliased, early(&one.by)?), one.mtime)))
                .max_by_key(|(place, _)| *place);
            let mtime = match last_early {
                Some((_, mtime)) => mtime,
                // Later packages leave a directory alone that is there: the first decides.
                None => brought.iter().map(|one| one.mtime).min().unwrap_or(0),
            };
            placer.finish_directory(path, (mtime, 0), None).map_err(|problem| {
                let shown = String::from_utf8_lossy(path).into_owned();
                Error::tree("set the time of", &shown, std::io::Error::other(problem.to_string()))
            })?;
        }
        Ok(())
    }
}
