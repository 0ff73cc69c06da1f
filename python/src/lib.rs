//! Python bindings: empty shell.
use pyo3::prelude::*;

/// The native half of the package `debmock`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
