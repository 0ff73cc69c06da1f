//! Unpacks a whole package set with several threads, while it arrives.

use std::collections::BinaryHeap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::{Error, Problem};
use super::package::{Unpacked, Unpacker};
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
/// `each` takes what became of a package, on the thread that unpacked it; `progress` is
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
    each: &(dyn Fn(Unpacked) -> Result<(), Error> + Sync),
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), Error> {
    let queue = Mutex::new(Queue::default());
    let changed = Condvar::new();
    let progress = Mutex::new(progress);
    let done = AtomicUsize::new(0);
    let finish = |identity: &Identity, unpacked: Unpacked| -> Result<(), Error> {
        let bytes = unpacked.bytes;
        each(unpacked)?;
        let mut report = progress.lock().unwrap_or_else(PoisonError::into_inner);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        (*report)(Progress { package: identity.clone(), done, bytes });
        Ok(())
    };
    let unpack = |arrival: Arrival| -> Result<(), Error> {
        let Arrival { file, identity } = arrival;
        let unpacked = unpacker.unpack_deb(file, &identity, None)?;
        finish(&identity, unpacked)
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
