//! Python bindings of debmock: the native half of the package `debmock`.

#![forbid(unsafe_code)]

mod command;
mod helper;

use pyo3::prelude::*;

/// The native half of the package `debmock`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(command::command_line, module)?)
}
