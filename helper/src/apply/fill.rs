//! Packages in a tree, as dpkg would have unpacked them one after the other.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::dpkgdb::Objection;
use crate::unpack::{self, Problem, Unpacked, Unpacker};

/// Packages in the tree, none of them in dpkg's database, while several threads unpack them.
#[derive(Default)]
pub(super) struct Filling {
    unpacked: Mutex<Vec<Unpacked>>,
    objection: Mutex<Option<Objection>>,
}

impl Filling {
    /// Adds a package, or hears why it may not be there.
    ///
    /// # Errors
    /// Ends the unpacking if it may not be there.
    pub(super) fn add(&self, one: Result<Unpacked, Objection>) -> Result<(), unpack::Error> {
        match one {
            Ok(one) => {
                self.unpacked.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                Ok(())
            }
            Err(why) => {
                let mut objection = self.objection.lock().unwrap_or_else(PoisonError::into_inner);
                objection.get_or_insert(why);
                // Whoever sees it looks for the objection first.
                Err(unpack::Error::new("the package set", Problem::Cancelled))
            }
        }
    }

    /// All packages, if the unpacking ended well.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn end<T>(
        self,
        done: Result<T, unpack::Error>,
    ) -> Result<(Vec<Unpacked>, T), Objection> {
        let objection = self.objection.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (objection, done) {
            (Some(why), _) => Err(why),
            (None, Err(error)) if is_declined(error.problem()) => {
                Err(Objection::Stands(error.to_string()))
            }
            (None, Err(error)) => Err(Objection::Failed(error.into())),
            (None, Ok(done)) => {
                Ok((self.unpacked.into_inner().unwrap_or_else(PoisonError::into_inner), done))
            }
        }
    }
}

/// Whether dpkg may make something else of it, or say it better.
pub(super) fn is_declined(problem: &Problem) -> bool {
    !matches!(problem, Problem::Io { .. } | Problem::Cancelled)
}

/// Packages may not want the same new directory for others: who makes it then depends on who is
/// first.
pub(super) fn agree(unpacked: &[Unpacked]) -> Result<(), Objection> {
    let all = || unpacked.iter().flat_map(|one| one.directories.iter().map(move |d| (one, d)));
    let made: HashMap<&[u8], _> = all()
        .filter(|(_, directory)| directory.made)
        .map(|(by, directory)| (directory.path.as_slice(), (by, directory.access)))
        .collect();
    for (by, directory) in all() {
        if let Some((maker, access)) = made.get(directory.path.as_slice())
            && *access != directory.access
        {
            let (one, two) = (&maker.control.identity.name, &by.control.identity.name);
            let path = unpack::escaped(&directory.path);
            return Err(Objection::Stands(format!("{one} and {two} differ about /{path}")));
        }
    }
    Ok(())
}

/// Of two packages that bring the same path, the order decides, and one that loses all its paths
/// disappears.
pub(super) fn keep_all(unpacker: &Unpacker<'_>) -> Result<(), Objection> {
    let Some((package, path)) = unpacker.lost_paths().into_iter().next() else { return Ok(()) };
    let path = unpack::escaped(&path);
    Err(Objection::Stands(format!("/{path} of {} is replaced by another package", package.name)))
}
