//! Programs inside that run while the caller does other things.

use crate::config::usage;
use crate::handle::{Handle, release};
use crate::operation::exited;
use crate::session::failed;
use crate::value;
use debmock::Result;
use debmock::buildroot::{Exit, Run, Session, Stdio};
use debmock::error::IoContext;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Signals are looked for this often, and others who wait get their turn.
const SLICE: Duration = Duration::from_millis(50);

struct Running {
    process: debmock::buildroot::Process,
    exit: Mutex<Option<Exit>>,
    /// Without it the program would end with the session.
    _session: Arc<Session>,
}

impl Running {
    fn wait(&self, limit: Duration) -> Result<Option<Exit>> {
        let mut known = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = self.process.wait(limit)?;
        }
        Ok(*known)
    }
}

/// A running program.
#[pyclass(frozen, module = "debmock._native")]
pub struct Process(Handle<Running>);

impl Process {
    pub fn spawn(
        py: Python<'_>,
        session: Arc<Session>,
        run: Run,
        streams: [i32; 3],
    ) -> PyResult<Self> {
        let streams = failed(py, Stdio::copies(streams.map(stream)))?;
        Self::new(py, session, run, streams)
    }

    pub fn spawn_terminal(
        py: Python<'_>,
        session: Arc<Session>,
        run: Run,
        (rows, columns): (u16, u16),
    ) -> PyResult<Self> {
        Self::new(py, session, run, Stdio::Terminal(rows, columns))
    }

    fn new(py: Python<'_>, session: Arc<Session>, run: Run, stdio: Stdio) -> PyResult<Self> {
        let running = py.detach(move || {
            let process = session.spawn(&run, stdio)?;
            Ok(Running { process, exit: Mutex::new(None), _session: session })
        });
        Ok(Process(Handle::new(Arc::new(failed(py, running)?), "the process")))
    }
}

/// A descriptor of the caller's; none for -1.
fn stream<'a>(number: i32) -> Option<BorrowedFd<'a>> {
    // SAFETY: it is borrowed during one call only; one that is not open is an error of the copy.
    (number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

#[pymethods]
impl Process {
    /// A descriptor that polls as readable when the program has ended. It belongs to the process:
    /// neither read nor close it.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        Ok(self.0.get(py)?.process.as_fd().as_raw_fd())
    }

    /// Our end of its terminal, which belongs to the process; None if it has no terminal.
    fn terminal(&self, py: Python<'_>) -> PyResult<Option<i32>> {
        Ok(self.0.get(py)?.process.terminal.as_ref().map(AsRawFd::as_raw_fd))
    }

    /// Tells the program that its terminal has another size.
    fn resize(&self, py: Python<'_>, rows: u16, columns: u16) -> PyResult<()> {
        let running = self.0.get(py)?;
        let Some(terminal) = &running.process.terminal else {
            return Err(usage(py, "the program has no terminal"));
        };
        let size =
            rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let resized = rustix::termios::tcsetwinsize(terminal, size);
        failed(py, resized.doing(|| "cannot change the size of the terminal".into()))
    }

    /// Sends a signal to the process group of the program.
    fn send_signal(&self, py: Python<'_>, number: i32) -> PyResult<()> {
        let running = self.0.get(py)?;
        if !(1..=64).contains(&number) {
            return Err(usage(py, format!("{number} is not the number of a signal")));
        }
        failed(py, py.detach(|| running.process.signal(number)))
    }

    /// How it ended, waiting for that at most that many seconds, or for ever; None if it has not
    /// ended by then.
    #[pyo3(signature = (timeout=None))]
    fn wait<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let limit = timeout.map(|timeout| value::seconds(timeout, "timeout")).transpose()?;
        let started = Instant::now();
        let running = self.0.get(py)?;
        loop {
            let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
            let slice = left.map_or(SLICE, |left| left.min(SLICE));
            if let Some(exit) = failed(py, py.detach(|| running.wait(slice)))? {
                return exited(py, &exit).map(Some);
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            py.check_signals()?;
        }
    }

    /// Whether close was called.
    #[getter]
    fn closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Kills a program that has not ended.
    fn close(&self) {
        if let Some(running) = self.0.take() {
            release(running);
        }
    }
}
