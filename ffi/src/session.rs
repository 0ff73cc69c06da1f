//! Sessions, and files in and out of them.

use crate::border;
use crate::buildroot::Buildroot;
use crate::error::Error;
use crate::operation::{Operation, Watch, Work, started, watched};
use crate::options::{self, Options};
use crate::result::Outcome;
use debmock::Result;
use debmock::buildroot::Access;
use std::ffi::c_char;
use std::sync::Arc;

/// The session sees the host's resolver configuration, so that programs can be given the network.
pub const DEBMOCK_SESSION_NETWORK: u64 = 1;

/// A buildroot that is open: namespaces that commands run in. Any number of threads may use it.
/// With its last handle every process and every mount of it ends.
///
/// In a forked child every call on it fails with DEBMOCK_ERR_FORKED, and freeing it only closes
/// descriptors.
#[derive(Debug)]
pub struct Session(pub(crate) Arc<debmock::buildroot::Session>);

impl Session {
    pub(crate) fn new(session: Arc<debmock::buildroot::Session>) -> Self {
        Session(session)
    }
}

/// How to open a session. Everything may be zero.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct SessionOptions {
    /// sizeof(debmock_session_options).
    pub size: usize,
    /// Some of DEBMOCK_SESSION_….
    pub flags: u64,
}

// SAFETY: integers.
unsafe impl Options for SessionOptions {}

unsafe fn open(root: *const Buildroot, options: *const SessionOptions) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let (root, options) = unsafe {
        (Arc::clone(&border::handle(root, "root")?.root), options::read(options, "options")?)
    };
    let flags = options::check_flags(options.flags, DEBMOCK_SESSION_NETWORK, "options.flags")?;
    let access = Access { network: flags & DEBMOCK_SESSION_NETWORK != 0 };
    Ok(Box::new(move |scope| root.session(access, scope).map(Outcome::session)))
}

unsafe fn copy_in(
    session: *const Session,
    host: *const c_char,
    inside: *const c_char,
) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let (session, host, inside) = unsafe {
        let session = Arc::clone(&border::handle(session, "session")?.0);
        (session, border::path(host, "host")?, border::text(inside, "inside")?.to_owned())
    };
    Ok(Box::new(move |scope| session.copy_in(&host, &inside, scope).map(|()| Outcome::none())))
}

unsafe fn copy_out(
    session: *const Session,
    inside: *const c_char,
    host: *const c_char,
) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let (session, inside, host) = unsafe {
        let session = Arc::clone(&border::handle(session, "session")?.0);
        (session, border::text(inside, "inside")?.to_owned(), border::path(host, "host")?)
    };
    Ok(Box::new(move |scope| session.copy_out(&inside, &host, scope).map(|()| Outcome::none())))
}

/// Opens the buildroot, which is made if it does not exist: the session that it has open already,
/// or a new one. Waits for other processes that use it, as long as the config says. options may be
/// NULL. Free the session with debmock_session_free.
///
/// Fails with DEBMOCK_ERR_LOCKED when the time to wait has run out, with DEBMOCK_ERR_BUSY if the
/// session that is open lacks the network that options ask for, and as debmock_init.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_session_open(
    root: *const Buildroot,
    options: *const SessionOptions,
    watch: *const Watch,
    session: *mut *mut Session,
    error: *mut *mut Error,
) -> i32 {
    border!(error, {
        let slot = border::out(session, std::ptr::null_mut(), "session")?;
        let mut result = std::ptr::null_mut();
        watched(open(root, options)?, watch, &raw mut result)?;
        if !result.is_null()
            && let Some(session) = Box::from_raw(result).into_session()
        {
            *slot = border::boxed(Session(session));
        }
        Ok(())
    })
}

/// Starts debmock_session_open; debmock_result_session gives the session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_session_open_start(
    root: *const Buildroot,
    options: *const SessionOptions,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(open(root, options)?, operation) })
}

/// Copies a file or a directory of the host to a path inside; below it, if that is a directory.
/// Inside it belongs to root.
///
/// Fails with DEBMOCK_ERR_IO if it cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_session_copy_in(
    session: *const Session,
    host: *const c_char,
    inside: *const c_char,
    watch: *const Watch,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(copy_in(session, host, inside)?, watch, std::ptr::null_mut()) })
}

/// Starts debmock_session_copy_in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_session_copy_in_start(
    session: *const Session,
    host: *const c_char,
    inside: *const c_char,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(copy_in(session, host, inside)?, operation) })
}

/// Copies a file or a directory of the root to a path of the host; below it, if that is a directory.
/// It appears complete or not at all and belongs to the caller. No symbolic link is followed out of
/// the root.
///
/// Fails with DEBMOCK_ERR_BUILDROOT if it is neither a file nor a directory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_session_copy_out(
    session: *const Session,
    inside: *const c_char,
    host: *const c_char,
    watch: *const Watch,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(copy_out(session, inside, host)?, watch, std::ptr::null_mut()) })
}

/// Starts debmock_session_copy_out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_session_copy_out_start(
    session: *const Session,
    inside: *const c_char,
    host: *const c_char,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(copy_out(session, inside, host)?, operation) })
}

/// Frees the handle and sets the variable to NULL. The session ends with its last handle: waits
/// until its processes have ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_session_free(session: *mut *mut Session) {
    border!((); { border::free(session) })
}
