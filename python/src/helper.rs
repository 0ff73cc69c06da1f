//! Which helper belongs to this package: the one that the wheel carries.
//!
//! A wheel holds module and helper of one build. So the helper of the package goes before any that
//! is installed elsewhere on the machine, which would be refused if it is of another build; only
//! `DEBMOCK_HELPER` goes before it.

use debmock_helper::protocol::Program;
use pyo3::prelude::*;
use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the helper is in the package.
const PLACE: &str = "_libexec/debmock-helper";

/// The helper that lies in the package whose files are in `folder`.
///
/// `None` if `DEBMOCK_HELPER` is set, which the library looks up itself, or if the package carries
/// none, as in a tree that no wheel was made of: then the library looks in the usual places.
pub fn of_package(folder: &Path) -> Option<Program> {
    if env::var_os("DEBMOCK_HELPER").is_some_and(|path| !path.is_empty()) {
        return None;
    }
    let path = folder.join(PLACE);
    let program =
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    program.then_some(Program { path, arguments: Vec::new() })
}

/// The helper that a caller named, else that of the package which this module was loaded from; see
/// [`of_package`].
///
/// # Errors
/// What the import system says if the module is not in it.
pub fn program(py: Python<'_>, named: Option<PathBuf>) -> PyResult<Option<Program>> {
    if let Some(path) = named {
        return Ok(Some(Program { path, arguments: Vec::new() }));
    }
    let file: PathBuf = py.import("debmock._native")?.getattr("__file__")?.extract()?;
    Ok(file.parent().and_then(of_package))
}
