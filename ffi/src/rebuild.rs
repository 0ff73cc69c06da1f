//! Builds.

use crate::border;
use crate::buildroot::Buildroot;
use crate::error::Error;
use crate::operation::{Operation, Watch, Work, started, watched};
use crate::options::{self, Options};
use crate::result::Outcome;
use debmock::build::{BinNmu, BuildType, RebuildOptions as CoreOptions, ResultDir, SourceSpec};
use debmock::config::CleanupAfter;
use debmock::{ErrorKind, Result};
use std::ffi::{OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Builds packages for one architecture.
pub const DEBMOCK_BUILD_ANY: u64 = 1;
/// Builds packages for all architectures.
pub const DEBMOCK_BUILD_ALL: u64 = 2;
/// Builds the source package.
pub const DEBMOCK_BUILD_SOURCE: u64 = 4;

/// The tests of the package are not run.
pub const DEBMOCK_REBUILD_NOCHECK: u64 = 1;

/// The root is cleaned when the config says so.
pub const DEBMOCK_CLEANUP_BY_CONFIG: u64 = 0;
/// The root is cleaned after every build.
pub const DEBMOCK_CLEANUP_ALWAYS: u64 = 1;
/// The root is cleaned after a build that succeeded.
pub const DEBMOCK_CLEANUP_SUCCESS: u64 = 2;
/// The root is not cleaned.
pub const DEBMOCK_CLEANUP_NEVER: u64 = 3;

/// What to build, and how. Everything but source may be zero: then it is as the config says.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct RebuildOptions {
    /// sizeof(debmock_rebuild_options).
    pub size: usize,
    /// NAME or NAME=VERSION of the archive, a path or URI of a .dsc, or a directory with debian/
    /// in it (./NAME).
    pub source: *const c_char,
    /// The directory that results go to.
    pub resultdir: *const c_char,
    /// Without resultdir: results go to SOURCE_VERSION below this directory, which is "results" if
    /// it is NULL, too.
    pub results_below: *const c_char,
    /// Some of DEBMOCK_BUILD_…; 0 for packages of both kinds.
    pub build: u64,
    /// Some of DEBMOCK_REBUILD_….
    pub flags: u64,
    /// Build profiles, ended by NULL; NULL for those of the config. An empty list is none.
    pub profiles: *const *const c_char,
    /// Further build dependencies, ended by NULL.
    pub add_depends: *const *const c_char,
    /// .deb files, or directories of them, that may satisfy dependencies; ended by NULL.
    pub extra_packages: *const *const c_char,
    /// Lines of sources.list(5): further archives for this build; ended by NULL.
    pub extra_repositories: *const *const c_char,
    /// Parallel jobs; 0 for the config's.
    pub jobs: u64,
    /// The distribution that the .changes names; NULL for the changelog's.
    pub dist: *const c_char,
    /// One of DEBMOCK_CLEANUP_….
    pub cleanup_after: u64,
    /// Builds the same source under a higher version: +bNUMBER; 0 for no such thing.
    pub binnmu: u64,
    /// What the changelog says about that; NULL for "Rebuild.".
    pub binnmu_message: *const c_char,
    /// Who signs it, NAME <ADDRESS>; NULL for the maintainer of the source.
    pub binnmu_maintainer: *const c_char,
    /// Its time, seconds since 1970; 0 for a time that follows from the last entry.
    pub binnmu_timestamp: i64,
}

// SAFETY: integers and pointers.
unsafe impl Options for RebuildOptions {}

unsafe fn read(options: *const RebuildOptions) -> Result<CoreOptions> {
    // SAFETY: as for every entry point; this is the body of some.
    unsafe {
        border::handle(options, "options")?;
        let given = options::read(options, "options")?;
        let place = match border::optional_path(given.resultdir) {
            Some(folder) => ResultDir::Exactly(folder),
            None => {
                let below = border::optional_path(given.results_below);
                ResultDir::Below(below.unwrap_or_else(|| "results".into()))
            }
        };
        let source = border::text(given.source, "options.source")?;
        let mut options = CoreOptions::new(SourceSpec::parse(source)?, place);
        options.build_type = build_type(given.build)?;
        let flags = options::check_flags(given.flags, DEBMOCK_REBUILD_NOCHECK, "options.flags")?;
        options.nocheck = flags & DEBMOCK_REBUILD_NOCHECK != 0;
        if !given.profiles.is_null() {
            options.profiles = Some(border::texts(given.profiles, "options.profiles")?);
        }
        options.add_depends = border::texts(given.add_depends, "options.add_depends")?;
        options.extra_packages = border::words(given.extra_packages)
            .into_iter()
            .map(|path| PathBuf::from(OsStr::from_bytes(path)))
            .collect();
        options.extra_repositories =
            border::texts(given.extra_repositories, "options.extra_repositories")?;
        options.jobs = match given.jobs {
            0 => None,
            jobs => Some(usize::try_from(jobs).unwrap_or(usize::MAX)),
        };
        options.dist = border::optional_text(given.dist, "options.dist")?.map(str::to_owned);
        options.cleanup_after = cleanup(given.cleanup_after)?;
        options.binnmu = binnmu(&given)?;
        Ok(options)
    }
}

fn build_type(flags: u64) -> Result<BuildType> {
    let known = DEBMOCK_BUILD_ANY | DEBMOCK_BUILD_ALL | DEBMOCK_BUILD_SOURCE;
    let has = |flag| flags & flag != 0;
    Ok(match options::check_flags(flags, known, "options.build")? {
        0 => BuildType::default(),
        _ => BuildType {
            any: has(DEBMOCK_BUILD_ANY),
            all: has(DEBMOCK_BUILD_ALL),
            source: has(DEBMOCK_BUILD_SOURCE),
        },
    })
}

fn cleanup(when: u64) -> Result<Option<CleanupAfter>> {
    Ok(match when {
        DEBMOCK_CLEANUP_BY_CONFIG => None,
        DEBMOCK_CLEANUP_ALWAYS => Some(CleanupAfter::Always),
        DEBMOCK_CLEANUP_SUCCESS => Some(CleanupAfter::Success),
        DEBMOCK_CLEANUP_NEVER => Some(CleanupAfter::Never),
        other => {
            let message = format!("this version of debmock does not know cleanup_after {other}");
            return Err(debmock::Error::new(ErrorKind::Usage, message));
        }
    })
}

unsafe fn binnmu(given: &RebuildOptions) -> Result<Option<BinNmu>> {
    if given.binnmu == 0 {
        return Ok(None);
    }
    let number = u32::try_from(given.binnmu).map_err(|_| {
        let message = format!("options.binnmu is {}, which is too high", given.binnmu);
        debmock::Error::new(ErrorKind::Usage, message)
    })?;
    // SAFETY: as for every entry point; this is the body of some.
    let (message, maintainer) = unsafe {
        let message = border::optional_text(given.binnmu_message, "options.binnmu_message")?;
        (message, border::optional_text(given.binnmu_maintainer, "options.binnmu_maintainer")?)
    };
    Ok(Some(BinNmu {
        number,
        message: message.unwrap_or("Rebuild.").to_owned(),
        maintainer: maintainer.map(str::to_owned),
        timestamp: (given.binnmu_timestamp != 0).then_some(given.binnmu_timestamp),
    }))
}

unsafe fn rebuild(root: *const Buildroot, options: *const RebuildOptions) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let (root, options) =
        unsafe { (Arc::clone(&border::handle(root, "root")?.root), read(options)?) };
    Ok(Box::new(move |scope| root.rebuild(options, scope).map(Outcome::build)))
}

unsafe fn install_dependencies(
    root: *const Buildroot,
    options: *const RebuildOptions,
) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let (root, options) =
        unsafe { (Arc::clone(&border::handle(root, "root")?.root), read(options)?) };
    Ok(Box::new(move |scope| {
        root.install_dependencies(&options, scope).map(|plan| Outcome::plan(&plan))
    }))
}

/// Builds a source package. Unless a session is open already, the root begins without changes, and
/// they are dropped again afterwards, or kept, as options and config say. The result tells where
/// the packages are; logs and result.json are there after a failure, too, and the hint of the
/// error says where.
///
/// Fails with DEBMOCK_ERR_SOURCE, DEBMOCK_ERR_DEPENDENCY, DEBMOCK_ERR_BUILD if the package does not
/// build, DEBMOCK_ERR_TIMEOUT, DEBMOCK_ERR_RESULT_DIR, and as debmock_session_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_rebuild(
    root: *const Buildroot,
    options: *const RebuildOptions,
    watch: *const Watch,
    result: *mut *mut Outcome,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(rebuild(root, options)?, watch, result) })
}

/// Starts debmock_rebuild.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_rebuild_start(
    root: *const Buildroot,
    options: *const RebuildOptions,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(rebuild(root, options)?, operation) })
}

/// Installs what a build with these options needs; the result directory is not touched.
///
/// Fails as debmock_install, and with DEBMOCK_ERR_SOURCE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_install_dependencies(
    root: *const Buildroot,
    options: *const RebuildOptions,
    watch: *const Watch,
    result: *mut *mut Outcome,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(install_dependencies(root, options)?, watch, result) })
}

/// Starts debmock_install_dependencies.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_install_dependencies_start(
    root: *const Buildroot,
    options: *const RebuildOptions,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(install_dependencies(root, options)?, operation) })
}
