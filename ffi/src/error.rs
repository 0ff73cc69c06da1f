//! Errors.

use crate::border;
use crate::result::Outcome;
use crate::text::{borrowed, c_string};
use debmock::build::BuildResult;
use std::ffi::{CString, c_char};

/// What failed, why, and what to do about it. Immutable: any number of threads may read it.
#[derive(Debug)]
pub struct Error {
    status: i32,
    exit_code: i32,
    message: CString,
    hint: Option<CString>,
    causes: Vec<CString>,
    build: Option<Outcome>,
}

impl Error {
    pub(crate) fn new(error: &debmock::Error) -> Self {
        Error {
            status: error.kind() as i32,
            exit_code: error.kind().exit_code().into(),
            message: c_string(error.to_string()),
            hint: error.hint().map(c_string),
            causes: error.chain().iter().map(c_string).collect(),
            build: error.attached::<BuildResult>().cloned().map(Outcome::build),
        }
    }
}

/// The status that the call returned: one of DEBMOCK_ERR_…; DEBMOCK_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_error_status(error: *const Error) -> i32 {
    border!(0; { error.as_ref().map_or(0, |error| error.status) })
}

/// The exit status that the command line gives for this error; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_error_exit_code(error: *const Error) -> i32 {
    border!(0; { error.as_ref().map_or(0, |error| error.exit_code) })
}

/// What failed with what, and all its causes, on one line. Belongs to the error. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_error_message(error: *const Error) -> *const c_char {
    border!(std::ptr::null(); { borrowed(error.as_ref().map(|error| &error.message)) })
}

/// What to do about it, or NULL if nobody knows. Belongs to the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_error_hint(error: *const Error) -> *const c_char {
    border!(std::ptr::null(); { borrowed(error.as_ref().and_then(|error| error.hint.as_ref())) })
}

/// The sentences of the message one by one: 0 is the outermost, each further one the cause of that
/// before; NULL behind the last. Belongs to the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_error_cause(error: *const Error, index: usize) -> *const c_char {
    border!(std::ptr::null(); {
        borrowed(error.as_ref().and_then(|error| error.causes.get(index)))
    })
}

/// What there is of a build that failed: its logs, the stages that it got through, the stage that
/// failed. NULL for errors of other calls. Belongs to the error: do not free it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_error_result(error: *const Error) -> *const Outcome {
    border!(std::ptr::null(); {
        let build = error.as_ref().and_then(|error| error.build.as_ref());
        build.map_or(std::ptr::null(), std::ptr::from_ref)
    })
}

/// Frees an error and sets the variable to NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_error_free(error: *mut *mut Error) {
    border!((); { border::free(error) })
}
