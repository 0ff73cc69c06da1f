//! The command line, run in this process.

use crate::helper;
use debmock::operation::CancelToken;
use debmock_cli::{Host, Signals, Streams};
use pyo3::prelude::*;
use std::ffi::OsString;

/// Runs one command line of `debmock`, given without the name of the program; its exit status.
///
/// The standard streams are descriptors 0, 1 and 2. With `signals`, SIGINT, SIGTERM, SIGHUP and
/// SIGWINCH are blocked in the calling thread and handled here: only for a process that is nothing
/// but this command.
///
/// # Errors
/// OSError if a standard stream is closed or there is no descriptor left.
#[pyfunction]
#[pyo3(signature = (arguments, *, signals = false))]
pub fn command_line(py: Python<'_>, arguments: Vec<OsString>, signals: bool) -> PyResult<u8> {
    let host = Host {
        streams: Streams::of_process()?,
        helper: helper::program(py, None)?,
        cancel: CancelToken::new(),
        signals: if signals { Some(Signals::install()?) } else { None },
    };
    Ok(py.detach(|| debmock_cli::run(arguments, &host)))
}
