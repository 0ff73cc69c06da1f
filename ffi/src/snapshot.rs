//! Snapshots of a buildroot.

use crate::border;
use crate::buildroot::Buildroot;
use crate::error::Error;
use crate::operation::{Operation, Watch, Work, started, watched};
use crate::result::Outcome;
use debmock::Result;
use std::ffi::c_char;
use std::sync::Arc;

type Root = debmock::buildroot::Buildroot;
type Named = fn(&Root, &str, &debmock::operation::Scope) -> Result<()>;

/// A call on the snapshot of this name.
unsafe fn named(root: *const Buildroot, name: *const c_char, call: Named) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of several.
    let (root, name) = unsafe {
        (Arc::clone(&border::handle(root, "root")?.root), border::text(name, "name")?.to_owned())
    };
    Ok(Box::new(move |scope| call(&root, &name, scope).map(|()| Outcome::none())))
}

unsafe fn list(root: *const Buildroot) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let root = Arc::clone(&unsafe { border::handle(root, "root") }?.root);
    Ok(Box::new(move |_| root.snapshots().map(|all| Outcome::snapshots(&all))))
}

/// Keeps the root as it is now under a name. Makes the buildroot if it does not exist.
///
/// Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open, with DEBMOCK_ERR_USAGE for
/// a name that is taken or cannot be one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_snapshot(
    root: *const Buildroot,
    name: *const c_char,
    watch: *const Watch,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(named(root, name, Root::snapshot)?, watch, std::ptr::null_mut()) })
}

/// Starts debmock_snapshot.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_snapshot_start(
    root: *const Buildroot,
    name: *const c_char,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(named(root, name, Root::snapshot)?, operation) })
}

/// Brings the root back to what it was when the snapshot was taken; what was changed since then is
/// dropped, unless another snapshot has it.
///
/// Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open, with DEBMOCK_ERR_USAGE if
/// there is no such snapshot, with DEBMOCK_ERR_BUILDROOT if a machine that went down may have damaged
/// it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_rollback(
    root: *const Buildroot,
    name: *const c_char,
    watch: *const Watch,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(named(root, name, Root::rollback)?, watch, std::ptr::null_mut()) })
}

/// Starts debmock_rollback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_rollback_start(
    root: *const Buildroot,
    name: *const c_char,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(named(root, name, Root::rollback)?, operation) })
}

/// Removes a snapshot. What the root or another snapshot stands on stays.
///
/// Fails as debmock_rollback does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_remove_snapshot(
    root: *const Buildroot,
    name: *const c_char,
    watch: *const Watch,
    error: *mut *mut Error,
) -> i32 {
    border!(error, {
        watched(named(root, name, Root::remove_snapshot)?, watch, std::ptr::null_mut())
    })
}

/// Starts debmock_remove_snapshot.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_remove_snapshot_start(
    root: *const Buildroot,
    name: *const c_char,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(named(root, name, Root::remove_snapshot)?, operation) })
}

/// The snapshots of the buildroot, oldest first: the JSON of the result has name and time of
/// creation (seconds since 1970) of each. Takes no lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_list_snapshots(
    root: *const Buildroot,
    watch: *const Watch,
    result: *mut *mut Outcome,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(list(root)?, watch, result) })
}

/// Starts debmock_list_snapshots.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_list_snapshots_start(
    root: *const Buildroot,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(list(root)?, operation) })
}
