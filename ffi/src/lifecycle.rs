//! Making, emptying and removing buildroots; archives of them; what the store has.

use crate::border;
use crate::buildroot::Buildroot;
use crate::error::Error;
use crate::operation::{Operation, Watch, Work, started, watched};
use crate::options::{self, Options};
use crate::result::Outcome;
use debmock::buildroot::{Compression, ExportOptions as CoreOptions, Scrub};
use debmock::{ErrorKind, Result};
use std::ffi::c_char;
use std::sync::Arc;

/// debmock_scrub removes the buildroot.
pub const DEBMOCK_SCRUB_CHROOT: u64 = 1;
/// debmock_scrub removes layers that no buildroot stands on.
pub const DEBMOCK_SCRUB_LAYERS: u64 = 2;
/// debmock_scrub removes downloaded packages.
pub const DEBMOCK_SCRUB_DEBS: u64 = 4;
/// debmock_scrub removes downloaded indexes.
pub const DEBMOCK_SCRUB_LISTS: u64 = 8;
/// debmock_scrub removes all of these.
pub const DEBMOCK_SCRUB_ALL: u64 = 15;

/// As the ending of the file says: .tar, or .tar.zst.
pub const DEBMOCK_COMPRESSION_BY_NAME: u64 = 0;
/// Not compressed.
pub const DEBMOCK_COMPRESSION_NONE: u64 = 1;
/// Compressed with zstd.
pub const DEBMOCK_COMPRESSION_ZSTD: u64 = 2;

/// How to export. Everything may be zero.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ExportOptions {
    /// sizeof(debmock_export_options).
    pub size: usize,
    /// One of DEBMOCK_COMPRESSION_….
    pub compression: u64,
    /// The level of the compression, from 1 to 22; 0 for the usual one.
    pub level: i64,
    /// Later modification times become this one: seconds since 1970. 0 for SOURCE_DATE_EPOCH of
    /// the environment; if that is not set, times stay.
    pub source_date_epoch: u64,
}

// SAFETY: integers.
unsafe impl Options for ExportOptions {}

unsafe fn init(root: *const Buildroot) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let root = Arc::clone(&unsafe { border::handle(root, "root") }?.root);
    Ok(Box::new(move |scope| root.init(scope).map(|()| Outcome::none())))
}

unsafe fn clean(root: *const Buildroot) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let root = Arc::clone(&unsafe { border::handle(root, "root") }?.root);
    Ok(Box::new(move |scope| root.clean(scope).map(|()| Outcome::none())))
}

unsafe fn scrub(root: *const Buildroot, what: u64) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let root = Arc::clone(&unsafe { border::handle(root, "root") }?.root);
    let parts = parts(what)?;
    Ok(Box::new(move |scope| root.scrub(&parts, scope).map(|()| Outcome::none())))
}

fn parts(what: u64) -> Result<Vec<Scrub>> {
    options::check_flags(what, DEBMOCK_SCRUB_ALL, "what")?;
    if what == 0 {
        return Err(debmock::Error::new(ErrorKind::Usage, "nothing is to be scrubbed")
            .with_hint("pass one of DEBMOCK_SCRUB_…, or several of them"));
    }
    let all = [
        (DEBMOCK_SCRUB_CHROOT, Scrub::Chroot),
        (DEBMOCK_SCRUB_LAYERS, Scrub::Layers),
        (DEBMOCK_SCRUB_DEBS, Scrub::Debs),
        (DEBMOCK_SCRUB_LISTS, Scrub::Lists),
    ];
    Ok(all.iter().filter(|(flag, _)| what & flag != 0).map(|(_, part)| *part).collect())
}

unsafe fn export(
    root: *const Buildroot,
    file: *const c_char,
    options: *const ExportOptions,
) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let (root, file, given) = unsafe {
        let root = Arc::clone(&border::handle(root, "root")?.root);
        (root, border::path(file, "file")?, options::read(options, "options")?)
    };
    let mut options = match given.compression {
        DEBMOCK_COMPRESSION_BY_NAME => CoreOptions::for_file(&file)?,
        DEBMOCK_COMPRESSION_NONE => CoreOptions::for_file("x.tar".as_ref())?,
        DEBMOCK_COMPRESSION_ZSTD => CoreOptions::for_file("x.tar.zst".as_ref())?,
        other => {
            let message = format!("this version of debmock does not know compression {other}");
            return Err(debmock::Error::new(ErrorKind::Usage, message));
        }
    };
    if given.source_date_epoch != 0 {
        options.source_date_epoch = Some(given.source_date_epoch);
    }
    if given.level != 0 {
        match (options.compression, i32::try_from(given.level)) {
            (Compression::Zstd(_), Ok(level @ 1..=22)) => {
                options.compression = Compression::Zstd(level);
            }
            _ => {
                let message = format!("there is no level {} of that compression", given.level);
                return Err(debmock::Error::new(ErrorKind::Usage, message));
            }
        }
    }
    Ok(Box::new(move |scope| root.export(&file, &options, scope).map(|()| Outcome::none())))
}

unsafe fn import(root: *const Buildroot, file: *const c_char) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let (root, file) =
        unsafe { (Arc::clone(&border::handle(root, "root")?.root), border::path(file, "file")?) };
    Ok(Box::new(move |scope| root.import(&file, scope).map(|()| Outcome::none())))
}

unsafe fn list(root: *const Buildroot) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let root = Arc::clone(&unsafe { border::handle(root, "root") }?.root);
    Ok(Box::new(move |scope| root.list(scope).map(|listing| Outcome::list(&listing))))
}

/// Makes the buildroot unless it exists: resolves and makes its base layer. Waits for other
/// processes that use it, as long as the config says.
///
/// Fails with DEBMOCK_ERR_ARCHIVE, DEBMOCK_ERR_SIGNATURE, DEBMOCK_ERR_DEPENDENCY,
/// DEBMOCK_ERR_BOOTSTRAP, DEBMOCK_ERR_LOCKED, DEBMOCK_ERR_NO_SPACE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_init(
    root: *const Buildroot,
    watch: *const Watch,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(init(root)?, watch, std::ptr::null_mut()) })
}

/// Starts debmock_init.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_init_start(
    root: *const Buildroot,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(init(root)?, operation) })
}

/// Removes what was changed since the base, which is chosen anew at the next use unless it was
/// imported.
///
/// Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_clean(
    root: *const Buildroot,
    watch: *const Watch,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(clean(root)?, watch, std::ptr::null_mut()) })
}

/// Starts debmock_clean.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_clean_start(
    root: *const Buildroot,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(clean(root)?, operation) })
}

/// Removes parts of the store: what is one or several of DEBMOCK_SCRUB_…. Layers that a buildroot
/// stands on stay.
///
/// Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_scrub(
    root: *const Buildroot,
    what: u64,
    watch: *const Watch,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(scrub(root, what)?, watch, std::ptr::null_mut()) })
}

/// Starts debmock_scrub.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_scrub_start(
    root: *const Buildroot,
    what: u64,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(scrub(root, what)?, operation) })
}

/// Writes the root to a tar archive, which appears complete or not at all. The same root gives the
/// same bytes. options may be NULL.
///
/// Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open, with DEBMOCK_ERR_USAGE
/// for a name whose ending says no compression.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_export(
    root: *const Buildroot,
    file: *const c_char,
    options: *const ExportOptions,
    watch: *const Watch,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(export(root, file, options)?, watch, std::ptr::null_mut()) })
}

/// Starts debmock_export.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_export_start(
    root: *const Buildroot,
    file: *const c_char,
    options: *const ExportOptions,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(export(root, file, options)?, operation) })
}

/// Makes a tar archive, plain or packed with gzip, xz or zstd, the base of the buildroot and drops
/// its changes.
///
/// Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open, with
/// DEBMOCK_ERR_BUILDROOT for an archive that is damaged or tries to leave the root.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_import(
    root: *const Buildroot,
    file: *const c_char,
    watch: *const Watch,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(import(root, file)?, watch, std::ptr::null_mut()) })
}

/// Starts debmock_import.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_import_start(
    root: *const Buildroot,
    file: *const c_char,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(import(root, file)?, operation) })
}

/// What lies in the store that the buildroot belongs to: the JSON of the result has buildroots,
/// layers and downloads with their bytes on disk. Takes no lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_list(
    root: *const Buildroot,
    watch: *const Watch,
    result: *mut *mut Outcome,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(list(root)?, watch, result) })
}

/// Starts debmock_list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_list_start(
    root: *const Buildroot,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(list(root)?, operation) })
}
