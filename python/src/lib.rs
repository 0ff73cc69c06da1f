//! The native half of the Python package `debmock`: nothing but `core` behind Python's types.
//!
//! It is thin on purpose. Every long call exists once, as `start_…`, which gives an
//! [`operation::Operation`]; the package turns that into blocking methods, iterators and coroutines.
//! Values cross as the dictionaries of their JSON forms, errors through one function
//! ([`error::raise`]) that makes an exception of the package.
//!
//! Threads: every class is frozen and Sync. Python is left ([`pyo3::Python::detach`]) wherever
//! something is waited for, handles are dropped included ([`handle`]); no lock is held while Python
//! is waited for.

use pyo3::prelude::*;

mod buildroot;
mod cancel;
mod command;
mod config;
mod doctor;
mod error;
mod handle;
mod helper;
mod operation;
mod process;
mod rebuild;
mod run;
mod session;
mod value;

/// The native half of the package `debmock`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<buildroot::Buildroot>()?;
    module.add_class::<cancel::CancelToken>()?;
    module.add_class::<config::Config>()?;
    module.add_class::<operation::Operation>()?;
    module.add_class::<process::Process>()?;
    module.add_class::<session::Session>()?;
    module.add_function(wrap_pyfunction!(command::command_line, module)?)?;
    module.add_function(wrap_pyfunction!(config::start_configs, module)?)?;
    module.add_function(wrap_pyfunction!(config::toml_text, module)?)?;
    module.add_function(wrap_pyfunction!(doctor::start_doctor, module)?)?;
    module.add_function(wrap_pyfunction!(error::error_kinds, module)?)?;
    Ok(())
}
