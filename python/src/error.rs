//! Errors as exceptions of the package.

use crate::value;
use debmock::ErrorKind;
use debmock::build::BuildResult;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::error::Error as StdError;

/// The exception of an error: the class that the table of kinds names, made by the package.
pub fn raise(py: Python<'_>, error: &debmock::Error) -> PyErr {
    exception(py, error).map_or_else(|failure| failure, PyErr::from_value)
}

fn exception<'py>(py: Python<'py>, error: &debmock::Error) -> PyResult<Bound<'py, PyAny>> {
    let told = PyDict::new(py);
    told.set_item("kind", error.kind() as u32)?;
    told.set_item("message", error.to_string())?;
    told.set_item("chain", error.chain())?;
    told.set_item("hint", error.hint())?;
    told.set_item("errno", errno(error))?;
    if let Some(result) = error.attached::<BuildResult>() {
        told.set_item("result", build(py, result)?)?;
    }
    py.import("debmock._error")?.getattr("from_native")?.call1((told,))
}

/// What came of a build: the members of `result.json`, and where that is.
pub fn build<'py>(py: Python<'py>, result: &BuildResult) -> PyResult<Bound<'py, PyAny>> {
    let members = serde_json::to_value(result).unwrap_or_default();
    let told = value::of_json(py, &members)?;
    told.set_item("resultdir", result.resultdir.as_os_str())?;
    Ok(told)
}

/// The number that the system gave, if it was the system that refused.
fn errno(error: &debmock::Error) -> Option<i32> {
    let mut next = StdError::source(error);
    while let Some(cause) = next {
        if let Some(number) = cause.downcast_ref::<std::io::Error>().and_then(|e| e.raw_os_error())
        {
            return Some(number);
        }
        next = cause.source();
    }
    None
}

/// Every kind of error: its number, its name, the class of its exceptions, and the exit status of
/// the command line.
#[pyfunction]
pub fn error_kinds() -> Vec<(u32, String, &'static str, u8)> {
    let name = |kind: ErrorKind| match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    };
    let row = |kind: &ErrorKind| (*kind as u32, name(*kind), kind.python_name(), kind.exit_code());
    ErrorKind::ALL.iter().map(row).collect()
}
