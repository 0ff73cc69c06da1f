//! Unpacks a whole package set with several threads, while it arrives.

use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::{Error, Problem};
use super::package::{Unpacked, Unpacker};
use super::record::{Record, Records};
use super::tree::Tree;
use crate::dpkgdb::Identity;

/// A package file that is complete, and whose hash its sender has checked.
#[derive(Debug)]
pub struct Arrival {
    /// The `.deb`, positioned at its start.
    pub file: File,
    /// What the index says it is.
    pub identity: Identity,
}

/// How far [`unpack_all`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The package that was just finished.
    pub package: Identity,
    /// Packages finished so far.
    pub done: usize,
    /// Bytes of content written for this package.
    pub bytes: u64,
}

/// Waiting work: the largest file first, because one large package at the end would keep one
/// thread busy and the others idle.
struct Waiting {
    size: u64,
    arrival: Arrival,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.size, &other.arrival.identity).cmp(&(other.size, &self.arrival.identity))
    }
}

#[derive(Default)]
struct Queue {
    waiting: BinaryHeap<Waiting>,
    /// No more will come.
    closed: bool,
    failure: Option<Error>,
    done: usize,
}

/// Unpacks every package that comes out of `arrivals`, until its senders are gone.
///
/// `first` names the package that has to be in the tree before any other is touched
/// (`base-files`, which may bring the links of a merged /usr); the others wait for it.
/// `each` takes what became of a package and when it was built (seconds since 1970), on the thread that unpacked it; `progress` is
/// called after it, one call at a time.
///
/// Returns after the last package, or soon after the first error or a cancellation.
///
/// # Errors
/// The first error of a package or of `each`. The tree is incomplete then.
pub fn unpack_all(
    unpacker: &Unpacker<'_>,
    arrivals: &Receiver<Arrival>,
    threads: usize,
    first: Option<&str>,
    cancel: &AtomicBool,
    each: &(dyn Fn(Unpacked, u64) -> Result<(), Error> + Sync),
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), Error> {
    let unpack = |file: File, identity: &Identity| unpacker.unpack_deb(file, identity, None);
    unpack_with(&unpack, arrivals, threads, first, cancel, each, progress)
}

/// As [`unpack_all`], each package into the directory of its own that `place` gives: none of them
/// sees what another one brings.
///
/// # Errors
/// Those of [`unpack_all`] and of `place`.
pub(crate) fn unpack_apart(
    place: &(dyn Fn(&Identity) -> Result<OwnedFd, Error> + Sync),
    arrivals: &Receiver<Arrival>,
    threads: usize,
    cancel: &AtomicBool,
    each: &(dyn Fn(Unpacked, u64) -> Result<(), Error> + Sync),
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), Error> {
    let unpack = |file: File, identity: &Identity| {
        let root = place(identity)?;
        Unpacker::new(root.as_fd(), cancel).unpack_deb(file, identity, None)
    };
    unpack_with(&unpack, arrivals, threads, None, cancel, each, progress)
}

/// A package that was unpacked earlier.
#[derive(Debug)]
pub(crate) struct Known<'k> {
    /// What the index says it is.
    pub identity: Identity,
    /// Where its record is, and the number of it.
    pub records: &'k Records,
    pub number: usize,
    /// Where its files are.
    pub tree: &'k Tree<'k>,
}

/// A layer from which packages are taken.
#[derive(Debug)]
pub(crate) struct Stock {
    /// Where its files are.
    pub tree: OwnedFd,
    pub records: Records,
    /// The places in the package set of what is taken from it.
    pub packages: Vec<u32>,
}

impl Stock {
    /// Its tree.
    pub(crate) fn tree(&self) -> Tree<'_> {
        Tree::new(self.tree.as_fd())
    }

    /// Its packages in its `tree`, of which `package` tells what each is and the SHA-256 of its
    /// `.deb`; the places of those that have no record go to `changed`.
    pub(crate) fn known<'k, 'p>(
        &'k self,
        tree: &'k Tree<'k>,
        package: impl Fn(u32) -> Option<&'p (Identity, String)>,
        changed: &mut Vec<u32>,
    ) -> Vec<Known<'k>> {
        let numbers: HashMap<&str, usize> = self.records.names().zip(0..).collect();
        let find = |place: u32| {
            let (identity, hash) = package(place)?;
            let (identity, number) = (identity.clone(), *numbers.get(hash.as_str())?);
            Some(Known { identity, records: &self.records, number, tree })
        };
        let known = self.packages.iter().filter_map(|&place| {
            let found = find(place);
            if found.is_none() {
                changed.push(place);
            }
            found
        });
        known.collect()
    }
}

/// How files come from another tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They get another name: nobody may change them any more.
    Link,
    /// They are copied.
    Copy,
}

/// Makes known packages, with several threads; the one called `first` before all others. `each`
/// takes what became of a package, its record, and that record as bytes.
///
/// Returns those that were not as they were recorded. The tree is of no use then, nor after an
/// error.
///
/// # Errors
/// The first error of a package or of `each`.
pub(crate) fn take_all(
    unpacker: &Unpacker<'_>,
    (mut packages, way): (Vec<Known<'_>>, Way),
    threads: usize,
    first: Option<&str>,
    each: &(dyn Fn(Unpacked, Record, Vec<u8>) -> Result<(), Error> + Sync),
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<Identity>, Error> {
    let changed = Mutex::new(Vec::new());
    let report = Mutex::new((0, progress));
    let take = |known: &Known<'_>| -> Result<(), Error> {
        let identity = &known.identity;
        let unpacked = known
            .records
            .bytes(known.number)
            .and_then(|bytes| Ok((Records::decode(&bytes)?, bytes)));
        let taken = match unpacked {
            Ok((mut record, bytes)) => unpacker
                .take(&mut record, known.tree, way)
                .map(|unpacked| (unpacked, record, bytes)),
            Err(error) => {
                let problem = Problem::Changed(format!("its record cannot be read ({error})"));
                Err(Error::new(&identity.name, problem))
            }
        };
        let (unpacked, record, bytes) = match taken {
            Ok(taken) if taken.0.control.identity == *identity => taken,
            Err(error) if !matches!(error.problem(), Problem::Changed(_)) => return Err(error),
            _ => {
                changed.lock().unwrap_or_else(PoisonError::into_inner).push(identity.clone());
                return Ok(());
            }
        };
        let size = unpacked.bytes;
        each(unpacked, record, bytes)?;
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        report.0 += 1;
        let done = report.0;
        (report.1)(Progress { package: identity.clone(), done, bytes: size });
        Ok(())
    };
    if let Some(at) = packages.iter().position(|known| Some(&*known.identity.name) == first) {
        take(&packages.swap_remove(at))?;
    }
    let failure = Mutex::new(None);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(known) = packages.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = take(known) {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                // The others find nothing left to do.
                next.store(packages.len(), Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            scope.spawn(work);
        }
        work();
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(changed.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// When a package was built: the time of its first member (`deb(5)`), which dpkg-deb takes from
/// `SOURCE_DATE_EPOCH`, the date of the newest changelog entry. Zero if it has none.
fn built(file: &File) -> u64 {
    let mut field = [0; 12];
    let field = file.read_exact_at(&mut field, 24).ok().and(std::str::from_utf8(&field).ok());
    field.and_then(|field| field.trim().parse().ok()).unwrap_or(0)
}

fn unpack_with(
    unpack: &(dyn Fn(File, &Identity) -> Result<Unpacked, Error> + Sync),
    arrivals: &Receiver<Arrival>,
    threads: usize,
    first: Option<&str>,
    cancel: &AtomicBool,
    each: &(dyn Fn(Unpacked, u64) -> Result<(), Error> + Sync),
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), Error> {
    let queue = Mutex::new(Queue::default());
    let changed = Condvar::new();
    let progress = Mutex::new(progress);
    let done = AtomicUsize::new(0);
    let finish = |identity: &Identity, unpacked: Unpacked, built: u64| -> Result<(), Error> {
        let bytes = unpacked.bytes;
        each(unpacked, built)?;
        let mut report = progress.lock().unwrap_or_else(PoisonError::into_inner);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        (*report)(Progress { package: identity.clone(), done, bytes });
        Ok(())
    };
    let unpack = |arrival: Arrival| -> Result<(), Error> {
        let Arrival { file, identity } = arrival;
        let built = built(&file);
        let unpacked = unpack(file, &identity)?;
        finish(&identity, unpacked, built)
    };
    std::thread::scope(|scope| {
        let mut started = 0;
        let mut held: Vec<Arrival> = Vec::new();
        let mut first = first;
        loop {
            if cancel.load(Ordering::Relaxed) {
                fail(&queue, Error::new("the package set", Problem::Cancelled));
            }
            if lock(&queue).failure.is_some() {
                break;
            }
            // The wait is bounded only so that a cancellation is seen.
            let arrival = match arrivals.recv_timeout(Duration::from_millis(50)) {
                Ok(arrival) => arrival,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Some(name) = first {
                if arrival.identity.name != name {
                    held.push(arrival);
                    continue;
                }
                first = None;
                if let Err(error) = unpack(arrival) {
                    fail(&queue, error);
                    break;
                }
                let held = std::mem::take(&mut held);
                lock(&queue).waiting.extend(held.into_iter().map(waiting));
            } else {
                lock(&queue).waiting.push(waiting(arrival));
            }
            changed.notify_all();
            while started < threads.max(1) {
                started += 1;
                scope.spawn(|| work(&queue, &changed, &unpack));
            }
        }
        let mut state = lock(&queue);
        if let (Some(name), None, false) = (first, &state.failure, held.is_empty()) {
            let problem = Problem::malformed(format!("{name} is not in the package set"));
            state.failure = Some(Error::new("the package set", problem));
        }
        state.closed = true;
        drop(state);
        changed.notify_all();
    });
    match queue.into_inner().unwrap_or_else(PoisonError::into_inner).failure {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn work(
    queue: &Mutex<Queue>,
    changed: &Condvar,
    unpack: &(dyn Fn(Arrival) -> Result<(), Error> + Sync),
) {
    let mut state = lock(queue);
    loop {
        if state.failure.is_some() {
            return;
        }
        if let Some(next) = state.waiting.pop() {
            drop(state);
            let result = unpack(next.arrival);
            if let Err(error) = result {
                fail(queue, error);
                changed.notify_all();
            }
            state = lock(queue);
            state.done += 1;
        } else if state.closed {
            return;
        } else {
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn waiting(arrival: Arrival) -> Waiting {
    let size = arrival.file.metadata().map(|data| data.len()).unwrap_or(0);
    Waiting { size, arrival }
}

/// Keeps the first failure: later ones are mostly its consequences.
fn fail(queue: &Mutex<Queue>, error: Error) {
    lock(queue).failure.get_or_insert(error);
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
