//! What this machine can do.

use crate::border;
use crate::buildroot::program;
use crate::config::Config;
use crate::error::Error;
use crate::operation::{Operation, Watch, Work, started, watched};
use crate::result::Outcome;
use debmock::Result;
use debmock::host::{ROOT_RANGE, diagnose};
use std::ffi::c_char;

unsafe fn doctor(config: *const Config, helper: *const c_char) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let (config, helper) = unsafe { (config.as_ref(), program(border::optional_path(helper))) };
    let range = config.map_or(ROOT_RANGE, |config| {
        let ids = config.config.isolation.root_ids;
        (ids.base, ids.count)
    });
    Ok(Box::new(move |_| Ok(Outcome::doctor(&diagnose(helper.as_ref(), range)))))
}

/// Tries every isolation mode. config says which ids root may use, helper where debmock-helper is;
/// both may be NULL. debmock_result_usable tells whether any mode works, the JSON of the result
/// which ones, why the others do not, and what to do about it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_doctor(
    config: *const Config,
    helper: *const c_char,
    watch: *const Watch,
    result: *mut *mut Outcome,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(doctor(config, helper)?, watch, result) })
}

/// Starts debmock_doctor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_doctor_start(
    config: *const Config,
    helper: *const c_char,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(doctor(config, helper)?, operation) })
}
