//! Buildroots.

use crate::border;
use crate::config::Config;
use crate::error::Error;
use crate::options::{self, Options};
use crate::text::{borrowed, c_string};
use debmock::buildroot::BuildrootOptions as CoreOptions;
use debmock::{ErrorKind, Result, store};
use debmock_helper::protocol::Program;
use std::ffi::{CString, c_char};
use std::path::PathBuf;
use std::sync::Arc;

/// A named, persistent, writable root, whether it has been made already or not. Any number of
/// threads may use it. Sessions, operations and results that came of it live on without it.
///
/// It holds a helper process. In a forked child every call on it fails with DEBMOCK_ERR_FORKED,
/// and freeing it only closes descriptors.
#[derive(Debug)]
pub struct Buildroot {
    pub(crate) root: Arc<debmock::buildroot::Buildroot>,
    name: CString,
}

/// What is not in the config. Everything may be zero.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct BuildrootOptions {
    /// sizeof(debmock_buildroot_options).
    pub size: usize,
    /// Tells several buildroots of one config apart.
    pub uniqueext: *const c_char,
    /// The program debmock-helper; found by itself if NULL.
    pub helper: *const c_char,
    /// Where to keep what can be made again; the user's own place if NULL.
    pub cache_dir: *const c_char,
    /// Where to keep buildroots; the user's own place if NULL.
    pub state_dir: *const c_char,
}

// SAFETY: a size and pointers.
unsafe impl Options for BuildrootOptions {}

/// The helper at a path.
pub fn program(path: Option<PathBuf>) -> Option<Program> {
    path.map(|path| Program { path, arguments: Vec::new() })
}

fn places(cache: Option<PathBuf>, state: Option<PathBuf>) -> Result<Option<store::Places>> {
    if cache.is_none() && state.is_none() {
        return Ok(None);
    }
    let own = |path: Option<PathBuf>, default: fn() -> Result<PathBuf>| match path {
        Some(path) if path.is_absolute() => Ok(path),
        Some(path) => Err(debmock::Error::new(
            ErrorKind::Usage,
            format!("the place of a store must be absolute, and {} is not", path.display()),
        )),
        None => default(),
    };
    let cache = own(cache, debmock::config::cache_dir)?;
    let state = own(state, debmock::config::state_dir)?;
    Ok(Some(store::Places { cache, state }))
}

/// The buildroot of a config; options may be NULL. Starts a helper process, which lives as long as
/// the buildroot and all that came of it. The config may be freed. Free the buildroot with
/// debmock_buildroot_free.
///
/// Fails with DEBMOCK_ERR_ISOLATION if this machine or user cannot have the isolation mode,
/// DEBMOCK_ERR_HELPER if there is no helper, DEBMOCK_ERR_USAGE for names that cannot be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_buildroot_new(
    config: *const Config,
    options: *const BuildrootOptions,
    root: *mut *mut Buildroot,
    error: *mut *mut Error,
) -> i32 {
    border!(error, {
        let slot = border::out(root, std::ptr::null_mut(), "root")?;
        let config = border::handle(config, "config")?;
        let options = options::read(options, "options")?;
        let cache = border::optional_path(options.cache_dir);
        let state = border::optional_path(options.state_dir);
        let options = CoreOptions {
            uniqueext: border::optional_text(options.uniqueext, "uniqueext")?.map(str::to_owned),
            helper: program(border::optional_path(options.helper)),
            places: places(cache, state)?,
        };
        let root = debmock::buildroot::Buildroot::new(config.config.clone(), &options)?;
        *slot = border::boxed(Buildroot { name: c_string(root.name()), root: Arc::new(root) });
        Ok(())
    })
}

/// Its name: that of the config and the extension. Belongs to the buildroot. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_buildroot_name(root: *const Buildroot) -> *const c_char {
    border!(std::ptr::null(); { borrowed(root.as_ref().map(|root| &root.name)) })
}

/// Whether it has been made already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_buildroot_exists(
    root: *const Buildroot,
    exists: *mut bool,
    error: *mut *mut Error,
) -> i32 {
    border!(error, {
        let slot = border::out(exists, false, "exists")?;
        *slot = border::handle(root, "root")?.root.exists()?;
        Ok(())
    })
}

/// Frees the handle and sets the variable to NULL; what is on disk stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_buildroot_free(root: *mut *mut Buildroot) {
    border!((); { border::free(root) })
}
