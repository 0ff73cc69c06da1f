//! The wish to stop blocking calls.

use crate::border;
use debmock::operation::CancelToken;

/// Stops blocking calls that were given it (debmock_watch). It may be used by any number of
/// threads and calls at once, and freed while calls use it.
#[derive(Debug)]
pub struct Cancel(pub(crate) CancelToken);

/// A token that nobody has used; NULL if there is no memory. Free it with debmock_cancel_free.
#[unsafe(no_mangle)]
pub extern "C" fn debmock_cancel_new() -> *mut Cancel {
    border!(std::ptr::null_mut(); { border::boxed(Cancel(CancelToken::new())) })
}

/// Stops every call that was given the token, now and later: each returns DEBMOCK_ERR_CANCELLED
/// within a second. Does not wait for them. May be called in a signal handler. Does nothing for
/// NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_cancel_request(cancel: *const Cancel) {
    border!((); {
        if let Some(cancel) = cancel.as_ref() {
            cancel.0.cancel();
        }
    })
}

/// Whether somebody has asked to stop; false for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_cancel_requested(cancel: *const Cancel) -> bool {
    border!(false; { cancel.as_ref().is_some_and(|cancel| cancel.0.is_cancelled()) })
}

/// Frees a token and sets the variable to NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_cancel_free(cancel: *mut *mut Cancel) {
    border!((); { border::free(cancel) })
}
