//! What this machine can do.

use crate::cancel::CancelToken;
use crate::config::Config;
use crate::helper;
use crate::operation::{Operation, Outcome, start};
use debmock::host::{ROOT_RANGE, diagnose};
use pyo3::prelude::*;
use std::path::PathBuf;

/// Starts to try every isolation mode.
#[pyfunction]
#[pyo3(signature = (config=None, helper=None, cancel=None))]
pub fn start_doctor(
    py: Python<'_>,
    config: Option<&Bound<'_, Config>>,
    helper: Option<PathBuf>,
    cancel: Option<&Bound<'_, CancelToken>>,
) -> PyResult<Operation> {
    let range = config.map_or(ROOT_RANGE, |config| {
        let ids = config.get().0.isolation.root_ids;
        (ids.base, ids.count)
    });
    let helper = helper::program(py, helper)?;
    start(py, cancel, move |_| Ok(Outcome::Value(diagnose(helper.as_ref(), range).to_json())))
}
