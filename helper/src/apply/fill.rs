//! Packages in a tree, as dpkg would have unpacked them one after the other.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use crate::dpkgdb::Objection;
use crate::unpack::{self, Arrival, Problem, Progress, Unpacked, Unpacker, unpack_all};

/// What becomes of a package that was unpacked, at some time of its own, or why it may not be.
pub(super) type Each<'a> = &'a (dyn Fn(Unpacked, u64) -> Result<Unpacked, Objection> + Sync);

/// All packages that come out of `arrivals` in the tree, none of them in dpkg's database.
pub(super) fn unpack_all_of(
    unpacker: &Unpacker<'_>,
    threads: usize,
    arrivals: &Receiver<Arrival>,
    cancel: &AtomicBool,
    each: Each<'_>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<Unpacked>, Objection> {
    let unpacked = Mutex::new(Vec::new());
    let objection = Mutex::new(None);
    let each = |one: Unpacked, built| match each(one, built) {
        Ok(one) => {
            unpacked.lock().unwrap_or_else(PoisonError::into_inner).push(one);
            Ok(())
        }
        Err(why) => {
            objection.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
            // Whoever sees it looks for the objection first.
            Err(unpack::Error::new("the package set", Problem::Cancelled))
        }
    };
    let done = unpack_all(unpacker, arrivals, threads, None, cancel, &each, progress);
    let unpacked = unpacked.into_inner().unwrap_or_else(PoisonError::into_inner);
    let objection = objection.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (objection, done) {
        (Some(why), _) => Err(why),
        (None, Err(error)) if is_declined(error.problem()) => {
            Err(Objection::Stands(error.to_string()))
        }
        (None, Err(error)) => Err(Objection::Failed(error.into())),
        (None, Ok(())) => Ok(unpacked),
    }
}

/// Whether dpkg may make something else of it, or say it better.
pub(crate) fn is_declined(problem: &Problem) -> bool {
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
