//! Text of ours that C may read.

use std::ffi::{CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A text that ends with NUL. NULs in it become U+FFFD.
pub fn c_string(text: impl AsRef<str>) -> CString {
    CString::new(text.as_ref().replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// A path that ends with NUL. The system has no paths with a NUL.
pub fn c_path(path: &Path) -> CString {
    CString::new(OsStr::as_bytes(path.as_os_str())).unwrap_or_default()
}

/// Borrowed for C; NULL for nothing.
pub fn borrowed(text: Option<&CString>) -> *const c_char {
    text.map_or(std::ptr::null(), |text| text.as_ptr())
}
