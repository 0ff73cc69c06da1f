//! Why transfers end before their end.

use crate::operation::CancelToken;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends transfers: because the operation is cancelled, or because what they are for has failed,
/// which must not look to the caller as if somebody had cancelled it. Clones share one state.
#[derive(Clone)]
pub(super) struct Stop {
    cancel: CancelToken,
    interrupted: Arc<AtomicBool>,
}

impl Stop {
    pub(super) fn new(cancel: CancelToken) -> Self {
        Stop { cancel, interrupted: Arc::default() }
    }

    /// Interrupts, for ever.
    pub(super) fn set(&self) {
        self.interrupted.store(true, Ordering::Release);
    }

    /// Whether it was cancelled or interrupted.
    pub(super) fn is_set(&self) -> bool {
        self.interrupted.load(Ordering::Acquire) || self.cancel.is_cancelled()
    }
}
