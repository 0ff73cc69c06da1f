//! Sessions, and files in and out of them.

use crate::cancel::CancelToken;
use crate::config::usage;
use crate::error::raise;
use crate::handle::{Handle, release};
use crate::operation::{Operation, Outcome, run_here, start};
use crate::process::Process;
use crate::run::{RunOptions, Streams, run};
use debmock::operation::Scope;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

type Core = debmock::buildroot::Session;

/// A buildroot that is open.
#[pyclass(frozen, module = "debmock._native")]
pub struct Session(Handle<Core>);

impl Session {
    pub fn new(session: Arc<Core>) -> Self {
        Session(Handle::new(session, "the session"))
    }

    fn start(
        &self,
        py: Python<'_>,
        cancel: Option<&Bound<'_, CancelToken>>,
        work: impl FnOnce(&Core, &Scope) -> debmock::Result<Outcome> + Send + 'static,
    ) -> PyResult<Operation> {
        let session = self.0.get(py)?;
        start(py, cancel, move |scope| work(&session, scope))
    }
}

#[pymethods]
impl Session {
    /// Whether close was called.
    #[getter]
    fn closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Gives the session back; with its last user every process and every mount of it ends, which
    /// is waited for.
    fn close(&self) {
        if let Some(session) = self.0.take() {
            release(session);
        }
    }

    /// Starts to close.
    fn start_close(&self, py: Python<'_>) -> PyResult<Operation> {
        let session = self.0.take();
        start(py, None, move |_| {
            drop(session);
            Ok(Outcome::NONE)
        })
    }

    #[pyo3(signature = (options, input=None, capture=false, merge=false, most=None, cancel=None))]
    #[expect(clippy::too_many_arguments, reason = "each of them is one of the package's")]
    fn start_run(
        &self,
        py: Python<'_>,
        options: RunOptions,
        input: Option<Vec<u8>>,
        capture: bool,
        merge: bool,
        most: Option<usize>,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        let options = options.into_core()?;
        if options.argv.is_empty() {
            return Err(usage(py, "there is no program to run: argv is empty"));
        }
        let streams = Streams { input, capture, merge, most: most.unwrap_or(usize::MAX) };
        self.start(py, cancel, move |session, scope| run(session, &options, streams, scope))
    }

    /// As start_run and running the operation, in this thread: what it tells is delivered at the
    /// end.
    #[pyo3(signature = (options, input=None, capture=false, merge=false, most=None, cancel=None, on_event=None))]
    #[expect(clippy::too_many_arguments, reason = "each of them is one of the package's")]
    fn run<'py>(
        &self,
        py: Python<'py>,
        options: RunOptions,
        input: Option<Vec<u8>>,
        capture: bool,
        merge: bool,
        most: Option<usize>,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_event: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = options.into_core()?;
        if options.argv.is_empty() {
            return Err(usage(py, "there is no program to run: argv is empty"));
        }
        let streams = Streams { input, capture, merge, most: most.unwrap_or(usize::MAX) };
        let session = self.0.get(py)?;
        run_here(py, cancel, on_event, move |scope| run(&session, &options, streams, scope))
    }

    /// Starts a program with three descriptors as its streams, -1 for the null device; they are
    /// copied.
    fn spawn(
        &self,
        py: Python<'_>,
        options: RunOptions,
        stdin: i32,
        stdout: i32,
        stderr: i32,
    ) -> PyResult<Process> {
        let options = options.into_core()?;
        if options.argv.is_empty() {
            return Err(usage(py, "there is no program to run: argv is empty"));
        }
        Process::spawn(py, self.0.get(py)?, options, [stdin, stdout, stderr])
    }

    /// Starts a program on a terminal of the root's own.
    fn spawn_terminal(
        &self,
        py: Python<'_>,
        options: RunOptions,
        rows: u16,
        columns: u16,
    ) -> PyResult<Process> {
        Process::spawn_terminal(py, self.0.get(py)?, options.into_core()?, (rows, columns))
    }

    #[pyo3(signature = (host, inside, cancel=None))]
    fn start_copy_in(
        &self,
        py: Python<'_>,
        host: PathBuf,
        inside: String,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start(py, cancel, move |session, scope| {
            session.copy_in(&host, &inside, scope).map(|()| Outcome::NONE)
        })
    }

    #[pyo3(signature = (inside, host, cancel=None))]
    fn start_copy_out(
        &self,
        py: Python<'_>,
        inside: String,
        host: PathBuf,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start(py, cancel, move |session, scope| {
            session.copy_out(&inside, &host, scope).map(|()| Outcome::NONE)
        })
    }
}

/// The exception of a failure without an operation.
pub fn failed<T>(py: Python<'_>, result: debmock::Result<T>) -> PyResult<T> {
    result.map_err(|error| raise(py, &error))
}
