//! Started operations, and blocking calls as the watching of one.

use crate::border;
use crate::cancel::Cancel;
use crate::event::Event;
use crate::options::{self, Options};
use crate::result::Outcome;
use debmock::Result;
use debmock::operation::{CancelToken, Next, Scope};
use std::ffi::c_void;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Is called with each event, in the thread that made the blocking call. The event lives until it
/// returns. It may call any function of debmock; it must not throw, jump or end the thread.
pub type EventCallback = Option<unsafe extern "C" fn(event: *const Event, user_data: *mut c_void)>;

/// Who watches a blocking call, and who may stop it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Watch {
    /// sizeof(debmock_watch).
    pub size: usize,
    /// Called with each event; may be NULL.
    pub on_event: EventCallback,
    /// Passed on to it.
    pub user_data: *mut c_void,
    /// Stops the call when it is requested; may be NULL.
    pub cancel: *const Cancel,
}

// SAFETY: a size, pointers and a nullable function.
unsafe impl Options for Watch {}

/// What a long call does.
pub type Work = Box<dyn FnOnce(&Scope) -> Result<Outcome> + Send>;

/// A started long call. It owns a thread and all that the call uses: the buildroot or session that
/// it works on may be freed meanwhile. Any number of threads may use it; the last one frees it.
///
/// In a forked child every call on it fails with DEBMOCK_ERR_FORKED, and freeing it only closes its
/// descriptor.
#[derive(Debug)]
pub struct Operation(debmock::operation::Operation<Outcome>);

/// Carries `work` out: events go to the watcher, the result to where the caller wants it.
pub unsafe fn watched(work: Work, watch: *const Watch, result: *mut *mut Outcome) -> Result<()> {
    // SAFETY: as for every entry point; this is the body of many.
    unsafe {
        let slot = border::wanted(result);
        let watch = options::read(watch, "watch")?;
        let cancel = match watch.cancel.as_ref() {
            Some(cancel) => cancel.0.clone(),
            None => CancelToken::new(),
        };
        let operation = debmock::operation::Operation::start(&cancel, work)?;
        let outcome = operation.watch(|event| {
            if let Some(on_event) = watch.on_event {
                on_event(&Event::new(event.clone()), watch.user_data);
            }
        })?;
        if let Some(slot) = slot {
            *slot = border::boxed(outcome);
        }
        Ok(())
    }
}

/// Starts `work`.
pub unsafe fn started(work: Work, operation: *mut *mut Operation) -> Result<()> {
    // SAFETY: as for every entry point; this is the body of many.
    let slot = unsafe { border::out(operation, std::ptr::null_mut(), "operation") }?;
    let operation = debmock::operation::Operation::start(&CancelToken::new(), work)?;
    *slot = border::boxed(Operation(operation));
    Ok(())
}

/// Its id, unique in this process; its events carry it. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_operation_id(operation: *const Operation) -> u64 {
    border!(0; { operation.as_ref().map_or(0, |operation| operation.0.id()) })
}

/// A descriptor that poll(2) finds readable while an event waits, and for ever once the work has
/// ended. It belongs to the operation: neither read nor close it. It is close-on-exec. -1 for NULL
/// and in a forked child.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_operation_fd(operation: *const Operation) -> i32 {
    border!(-1; {
        let descriptor = operation.as_ref().and_then(|operation| operation.0.descriptor().ok());
        descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd())
    })
}

/// The next event, waiting for it at most timeout_ms milliseconds, or for ever if that is negative.
/// The event is NULL if there was none in that time or if there will be none any more, which
/// debmock_operation_finished tells apart. Free it with debmock_event_free.
///
/// A caller that does not read events stops nothing: progress is joined, lines of logs that have
/// no room are counted, and nothing else is lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_operation_next_event(
    operation: *const Operation,
    timeout_ms: i32,
    event: *mut *mut Event,
    error: *mut *mut crate::error::Error,
) -> i32 {
    border!(error, {
        let slot = border::out(event, std::ptr::null_mut(), "event")?;
        let operation = border::handle(operation, "operation")?;
        let wait = u64::try_from(timeout_ms).map_or(Duration::MAX, Duration::from_millis);
        if let Next::Event(event) = operation.0.next_event(wait)? {
            *slot = border::boxed(Event::new(event));
        }
        Ok(())
    })
}

/// Whether the work has ended and every event was read: debmock_operation_wait will not wait.
/// False for NULL and in a forked child.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_operation_finished(operation: *const Operation) -> bool {
    border!(false; {
        operation.as_ref().is_some_and(|operation| operation.0.is_finished().unwrap_or(false))
    })
}

/// Asks the work to stop; does not wait for that. debmock_operation_wait then gives
/// DEBMOCK_ERR_CANCELLED within a second, unless the work ended before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_operation_cancel(
    operation: *const Operation,
    error: *mut *mut crate::error::Error,
) -> i32 {
    border!(error, { border::handle(operation, "operation")?.0.cancel() })
}

/// Waits for the end of the work and of its thread; status and error are those of the work. The
/// result goes where result points, which may be NULL; free it with debmock_result_free. Events
/// that nobody has read can be read afterwards.
///
/// Fails with DEBMOCK_ERR_USAGE if it was called before: a result is given once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_operation_wait(
    operation: *const Operation,
    result: *mut *mut Outcome,
    error: *mut *mut crate::error::Error,
) -> i32 {
    border!(error, {
        let slot = border::wanted(result);
        let outcome = border::handle(operation, "operation")?.0.wait()?;
        if let Some(slot) = slot {
            *slot = border::boxed(outcome);
        }
        Ok(())
    })
}

/// Cancels an operation that has not ended, waits for its thread, frees it and sets the variable
/// to NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_operation_free(operation: *mut *mut Operation) {
    border!((); { border::free(operation) })
}
