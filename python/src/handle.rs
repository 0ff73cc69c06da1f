//! What an object of Python holds of `core`: shared, closed early or with the object, and always
//! dropped without holding up other threads of Python.

use crate::error::raise;
use debmock::{Error, ErrorKind};
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Drops a value while other threads of Python run: it may wait for processes and threads.
pub fn release<T: Send>(value: T) {
    // Without an interpreter (any more) there is nobody to hold up. A closure that is not run is
    // dropped, and the value with it.
    Python::try_attach(move |py| py.detach(move || drop(value)));
}

/// A share of `T` that can be given back.
pub struct Handle<T: Send + Sync> {
    shared: Mutex<Option<Arc<T>>>,
    /// For messages: "the session".
    what: &'static str,
    owner: u32,
}

impl<T: Send + Sync> Handle<T> {
    pub fn new(shared: Arc<T>, what: &'static str) -> Self {
        Handle { shared: Mutex::new(Some(shared)), what, owner: std::process::id() }
    }

    /// The value, for use without Python: the last share must not be dropped while attached.
    pub fn get(&self, py: Python<'_>) -> PyResult<Arc<T>> {
        // In a forked child somebody who is nowhere may hold the lock.
        if self.owner != std::process::id() {
            let message = format!("{} was made by process {}", self.what, self.owner);
            let error = Error::new(ErrorKind::Forked, message)
                .with_hint("make a buildroot of its own in the forked process");
            return Err(raise(py, &error));
        }
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        shared.ok_or_else(|| {
            raise(py, &Error::new(ErrorKind::Usage, format!("{} was closed", self.what)))
        })
    }

    /// Gives the share back, if that has not been done; the share.
    pub fn take(&self) -> Option<Arc<T>> {
        if self.owner != std::process::id() {
            return None;
        }
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether [`Handle::take`] was called.
    pub fn is_closed(&self) -> bool {
        self.owner == std::process::id()
            && self.shared.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl<T: Send + Sync> Drop for Handle<T> {
    fn drop(&mut self) {
        // Nobody else has this value, so that there is no lock to wait for, even after a fork.
        let shared = self.shared.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(shared) = shared {
            release(shared);
        }
    }
}
