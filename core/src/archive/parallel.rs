//! The same work on many things at once.

use crate::error::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Runs `work` on all items, at most `parallel` at once. The first error wins; what has not
/// begun then does not begin. One that only says that the work was broken off gives way to the
/// reason for it.
pub(super) fn in_parallel<T: Sync, R: Send>(
    parallel: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let failure = Mutex::new(None);
    std::thread::scope(|threads| {
        let worker = || {
            while failure.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(index) else { break };
                match work(item) {
                    Ok(result) => {
                        results
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((index, result));
                    }
                    Err(error) => {
                        let mut first = failure.lock().unwrap_or_else(PoisonError::into_inner);
                        let broken_off = |error: &Error| error.kind() == ErrorKind::Cancelled;
                        if first
                            .as_ref()
                            .is_none_or(|first| broken_off(first) && !broken_off(&error))
                        {
                            *first = Some(error);
                        }
                    }
                }
            }
        };
        let count = parallel.max(1).min(items.len());
        for _ in 1..count {
            threads.spawn(worker);
        }
        worker();
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
