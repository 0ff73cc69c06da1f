//! Packages of a buildroot.

use crate::border;
use crate::buildroot::Buildroot;
use crate::error::Error;
use crate::operation::{Operation, Watch, Work, started, watched};
use crate::result::Outcome;
use debmock::operation::Scope;
use debmock::{ErrorKind, Result};
use std::ffi::c_char;
use std::sync::Arc;

/// What is done with a list of words.
type Doing = fn(&debmock::buildroot::Buildroot, &[String], &Scope) -> Result<debmock::apt::Plan>;

unsafe fn listed(
    root: *const Buildroot,
    words: *const *const c_char,
    name: &str,
    doing: Doing,
) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of some.
    let (root, words) =
        unsafe { (Arc::clone(&border::handle(root, "root")?.root), border::texts(words, name)?) };
    if words.is_empty() {
        return Err(debmock::Error::new(ErrorKind::Usage, format!("{name} is empty"))
            .with_hint("pass strings, ended by NULL"));
    }
    Ok(Box::new(move |scope| doing(&root, &words, scope).map(|plan| Outcome::plan(&plan))))
}

unsafe fn install(root: *const Buildroot, packages: *const *const c_char) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    unsafe { listed(root, packages, "packages", debmock::buildroot::Buildroot::install) }
}

unsafe fn remove(root: *const Buildroot, packages: *const *const c_char) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    unsafe { listed(root, packages, "packages", debmock::buildroot::Buildroot::remove) }
}

unsafe fn apt(root: *const Buildroot, arguments: *const *const c_char) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    unsafe { listed(root, arguments, "arguments", debmock::buildroot::Buildroot::apt) }
}

unsafe fn update(root: *const Buildroot) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let root = Arc::clone(&unsafe { border::handle(root, "root") }?.root);
    Ok(Box::new(move |scope| root.update(scope).map(|plan| Outcome::plan(&plan))))
}

/// Installs packages, each as apt takes them: NAME, NAME=VERSION, NAME/SUITE, NAME:ARCHITECTURE;
/// NULL ends the list. The result tells what came and went. Joins a session that this buildroot has
/// open, as all of these do.
///
/// Fails with DEBMOCK_ERR_DEPENDENCY if they cannot be installed together, DEBMOCK_ERR_PACKAGE if
/// apt or dpkg fails, and as debmock_session_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_install(
    root: *const Buildroot,
    packages: *const *const c_char,
    watch: *const Watch,
    result: *mut *mut Outcome,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(install(root, packages)?, watch, result) })
}

/// Starts debmock_install.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_install_start(
    root: *const Buildroot,
    packages: *const *const c_char,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(install(root, packages)?, operation) })
}

/// Removes packages with their configuration files; NULL ends the list.
///
/// Fails as debmock_install.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_remove(
    root: *const Buildroot,
    packages: *const *const c_char,
    watch: *const Watch,
    result: *mut *mut Outcome,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(remove(root, packages)?, watch, result) })
}

/// Starts debmock_remove.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_remove_start(
    root: *const Buildroot,
    packages: *const *const c_char,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(remove(root, packages)?, operation) })
}

/// Brings every package to the version that the archive offers now.
///
/// Fails as debmock_install.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_update(
    root: *const Buildroot,
    watch: *const Watch,
    result: *mut *mut Outcome,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(update(root)?, watch, result) })
}

/// Starts debmock_update.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_update_start(
    root: *const Buildroot,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(update(root)?, operation) })
}

/// Runs apt-get with these arguments; NULL ends the list. Packages that it wants are fetched by
/// this process; inside it has no network. What it prints comes as lines of DEBMOCK_LOG_ROOT.
///
/// Fails as debmock_install.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_apt(
    root: *const Buildroot,
    arguments: *const *const c_char,
    watch: *const Watch,
    result: *mut *mut Outcome,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(apt(root, arguments)?, watch, result) })
}

/// Starts debmock_apt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_apt_start(
    root: *const Buildroot,
    arguments: *const *const c_char,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(apt(root, arguments)?, operation) })
}
