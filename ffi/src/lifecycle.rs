//! Making, emptying and removing buildroots; archives of them; what the store has.

use crate::border;
use crate::buildroot::Buildroot;
use crate::error::Error;
use crate::operation::{Operation, Watch, Work, started, watched};
use crate::options::{self, Options};
use crate::result::Outcome;
use debmock::buildroot::{Compression, ExportOptions as CoreOptions, Form, Scrub};
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

/// As the ending of the file says: .tar, .tar.gz or .tar.zst; images are compressed with zstd.
pub const DEBMOCK_COMPRESSION_BY_NAME: u64 = 0;
/// Not compressed.
pub const DEBMOCK_COMPRESSION_NONE: u64 = 1;
/// Compressed with zstd.
pub const DEBMOCK_COMPRESSION_ZSTD: u64 = 2;

/// Compressed with gzip.
pub const DEBMOCK_COMPRESSION_GZIP: u64 = 3;

/// As the ending of the name says: .tar, .tar.gz and .tar.zst are archives, .oci and .oci.tar OCI
/// images, and what ends in a slash is a directory.
pub const DEBMOCK_FORM_BY_NAME: u64 = 0;
/// One tar archive of the whole root.
pub const DEBMOCK_FORM_TAR: u64 = 1;
/// A directory with an OCI image layout.
pub const DEBMOCK_FORM_OCI: u64 = 2;
/// A tar archive of an OCI image layout.
pub const DEBMOCK_FORM_OCI_ARCHIVE: u64 = 3;
/// A directory with the root itself; for users everything in it is their own.
pub const DEBMOCK_FORM_DIRECTORY: u64 = 4;

/// How to export. Everything may be zero.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ExportOptions {
    /// sizeof(debmock_export_options).
    pub size: usize,
    /// One of DEBMOCK_COMPRESSION_….
    pub compression: u64,
    /// The level of the compression, of zstd from 1 to 22, of gzip from 1 to 9; 0 for the usual one.
    pub level: i64,
    /// Later modification times become this one: seconds since 1970. 0 for SOURCE_DATE_EPOCH of
    /// the environment; if that is not set, times stay.
    pub source_date_epoch: u64,
    /// One of DEBMOCK_FORM_….
    pub form: u64,
    /// 1 for one layer in an image instead of one for each layer of the buildroot.
    pub flatten: u64,
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
    let unknown = |what: &str, number: u64| {
        let message = format!("this version of debmock does not know {what} {number}");
        debmock::Error::new(ErrorKind::Usage, message)
    };
    let form = match given.form {
        DEBMOCK_FORM_BY_NAME => None,
        DEBMOCK_FORM_TAR => Some(Form::Tar),
        DEBMOCK_FORM_OCI => Some(Form::Oci),
        DEBMOCK_FORM_OCI_ARCHIVE => Some(Form::OciArchive),
        DEBMOCK_FORM_DIRECTORY => Some(Form::Directory),
        other => return Err(unknown("form", other)),
    };
    let compression = match given.compression {
        DEBMOCK_COMPRESSION_BY_NAME => None,
        DEBMOCK_COMPRESSION_NONE => Some(Compression::None),
        DEBMOCK_COMPRESSION_ZSTD => Some("zstd".parse()?),
        DEBMOCK_COMPRESSION_GZIP => Some("gzip".parse()?),
        other => return Err(unknown("compression", other)),
    };
    let mut options = CoreOptions::choose(&file, form, compression)?;
    options.flatten = match given.flatten {
        0 => false,
        1 => true,
        other => return Err(unknown("flatten", other)),
    };
    if given.source_date_epoch != 0 {
        options.source_date_epoch = Some(given.source_date_epoch);
    }
    if given.level != 0 {
        match (options.compression, i32::try_from(given.level)) {
            (Compression::Zstd(_), Ok(level @ 1..=22)) => {
                options.compression = Compression::Zstd(level);
            }
            (Compression::Gzip(_), Ok(level @ 1..=9)) => {
                options.compression = Compression::Gzip(level as u32);
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

unsafe fn import_layers(root: *const Buildroot, file: *const c_char) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let (root, file) =
        unsafe { (Arc::clone(&border::handle(root, "root")?.root), border::path(file, "file")?) };
    Ok(Box::new(move |scope| root.import_layers(&file, scope).map(|keys| Outcome::layers(&keys))))
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

/// Writes the root to a tar archive, an OCI image or a directory, which appears complete or not at
/// all. The same root gives the same bytes. options may be NULL.
///
/// Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open, with DEBMOCK_ERR_USAGE
/// for a name whose ending does not say what is meant, and for a directory that exists.
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

/// Makes the base of the buildroot of a tar archive (plain, or packed with gzip, xz or zstd), an OCI
/// image layout (a directory or a tar archive of it) or a directory with a root in it, and drops its
/// changes.
///
/// Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open, with
/// DEBMOCK_ERR_BUILDROOT for an archive or image that is damaged, is for another architecture or
/// tries to leave the root.
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

/// Takes the layers of an image that debmock exported into the store, under the keys that it says
/// they have: whatever stands on such a layer finds it made. Layers that are there already stay,
/// and so does the buildroot. The JSON of the result has the keys, as `layers`.
///
/// A key says what went into a layer, but nothing proves that of a layer that somebody else made:
/// whoever gives layers away decides what is in the roots that stand on them.
///
/// Fails as debmock_import, and with DEBMOCK_ERR_BUILDROOT for an image without such layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_import_layers(
    root: *const Buildroot,
    file: *const c_char,
    watch: *const Watch,
    result: *mut *mut Outcome,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(import_layers(root, file)?, watch, result) })
}

/// Starts debmock_import_layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_import_layers_start(
    root: *const Buildroot,
    file: *const c_char,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(import_layers(root, file)?, operation) })
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
