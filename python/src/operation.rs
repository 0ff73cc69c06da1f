//! Started long calls.

use crate::cancel::{CancelToken, token};
use crate::error::{build, raise};
use crate::handle::release;
use crate::session::Session;
use crate::value;
use debmock::build::BuildResult;
use debmock::buildroot::Exit;
use debmock::event::Event;
use debmock::operation::{Next, Scope};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde_json::Value;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Signals are looked for this often.
const SLICE: Duration = Duration::from_millis(50);

/// What came of a long call.
pub enum Outcome {
    /// Something that JSON can say.
    Value(Value),
    /// A build.
    Build(Box<BuildResult>),
    /// How a program ended, and what it printed where that was asked for.
    Exit(Exit, [Option<Vec<u8>>; 2]),
    /// A session.
    Session(Arc<debmock::buildroot::Session>),
}

impl Outcome {
    /// The success of a call that has nothing else to tell.
    pub const NONE: Outcome = Outcome::Value(Value::Null);

    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Outcome::Value(value) => value::of_json(py, &value),
            Outcome::Build(result) => build(py, &result),
            Outcome::Exit(exit, [output, errors]) => {
                let told = exited(py, &exit)?;
                told.set_item("stdout", output.map(|bytes| PyBytes::new(py, &bytes)))?;
                told.set_item("stderr", errors.map(|bytes| PyBytes::new(py, &bytes)))?;
                Ok(told.into_any())
            }
            Outcome::Session(session) => Session::new(session).into_bound_py_any(py),
        }
    }
}

/// How a program ended.
pub fn exited<'py>(py: Python<'py>, exit: &Exit) -> PyResult<Bound<'py, PyDict>> {
    let told = PyDict::new(py);
    told.set_item("status", exit.status)?;
    told.set_item("signal", exit.signal)?;
    told.set_item("user_seconds", exit.usage.user_seconds)?;
    told.set_item("system_seconds", exit.usage.system_seconds)?;
    told.set_item("peak_memory_kib", exit.usage.peak_kib)?;
    Ok(told)
}

/// A started long call: it owns a thread, and all that the call uses.
#[pyclass(frozen, module = "debmock._native")]
pub struct Operation(Option<debmock::operation::Operation<Outcome>>);

impl Drop for Operation {
    fn drop(&mut self) {
        release(self.0.take());
    }
}

/// Starts `work` under a token of the caller's.
pub fn start(
    py: Python<'_>,
    cancel: Option<&Bound<'_, CancelToken>>,
    work: impl FnOnce(&Scope) -> debmock::Result<Outcome> + Send + 'static,
) -> PyResult<Operation> {
    match debmock::operation::Operation::start(&token(cancel), work) {
        Ok(operation) => Ok(Operation(Some(operation))),
        Err(error) => Err(raise(py, &error)),
    }
}

/// Carries `work` out in this thread, without the interpreter, and delivers its events at the end.
/// What a signal handler raises stops it and is raised then.
pub fn run_here<'py>(
    py: Python<'py>,
    cancel: Option<&Bound<'_, CancelToken>>,
    on_event: Option<&Bound<'py, PyAny>>,
    work: impl FnOnce(&Scope) -> debmock::Result<Outcome> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let raised = Arc::new(Mutex::new(None));
    let (ours, looked) = (Arc::clone(&raised), Mutex::new(Instant::now()));
    let stop = move || {
        let (Ok(mut raised), Ok(mut looked)) = (ours.lock(), looked.lock()) else { return true };
        if raised.is_none() && looked.elapsed() >= SLICE {
            *looked = Instant::now();
            *raised = Python::attach(|py| py.check_signals()).err();
        }
        raised.is_some()
    };
    let mut events = Vec::new();
    let cancel = token(cancel);
    let keeps = on_event.is_some();
    let outcome = py.detach(|| {
        let keep = |event: &Event| {
            if keeps {
                events.push(event.clone());
            }
        };
        debmock::operation::run_here(cancel, stop, keep, work)
    });
    let stopped = raised.lock().ok().and_then(|mut raised| raised.take());
    if let Some(stopped) = stopped {
        return Err(stopped);
    }
    for event in &events {
        if let Some(on_event) = on_event {
            on_event.call1((told(py, event)?,))?;
        }
    }
    match outcome {
        Ok(outcome) => outcome.into_python(py),
        Err(error) => Err(raise(py, &error)),
    }
}

fn told<'py>(py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyAny>> {
    value::of_json(py, &serde_json::to_value(event).unwrap_or_default())
}

impl Operation {
    fn operation(&self) -> &debmock::operation::Operation<Outcome> {
        // It is taken when this is dropped, and not before.
        self.0.as_ref().unwrap_or_else(|| unreachable!())
    }

    fn next(&self, py: Python<'_>, wait: Duration) -> PyResult<Next> {
        let operation = self.operation();
        py.detach(|| operation.next_event(wait)).map_err(|error| raise(py, &error))
    }
}

#[pymethods]
impl Operation {
    /// Unique in this process; the events of the operation carry it.
    #[getter]
    fn id(&self) -> u64 {
        self.operation().id()
    }

    /// A descriptor that polls as readable while an event waits, and for ever once the work has
    /// ended. It belongs to the operation: neither read nor close it.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let descriptor = self.operation().descriptor().map_err(|error| raise(py, &error))?;
        Ok(descriptor.as_raw_fd())
    }

    /// The next event, waiting for it at most that many seconds, or for ever; None if there was
    /// none, or will be none any more.
    #[pyo3(signature = (timeout=None))]
    fn next_event<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let limit = timeout.map(|timeout| value::seconds(timeout, "timeout")).transpose()?;
        let started = Instant::now();
        loop {
            let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
            let next = self.next(py, left.map_or(SLICE, |left| left.min(SLICE)))?;
            match next {
                Next::Event(event) => return told(py, &event).map(Some),
                Next::End => return Ok(None),
                Next::Nothing if left.is_some_and(|left| left.is_zero()) => return Ok(None),
                Next::Nothing => py.check_signals()?,
            }
        }
    }

    /// Whether the work has ended and every event was read.
    #[getter]
    fn finished(&self, py: Python<'_>) -> PyResult<bool> {
        self.operation().is_finished().map_err(|error| raise(py, &error))
    }

    /// Asks the work to stop; does not wait for that.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        self.operation().cancel().map_err(|error| raise(py, &error))
    }

    /// Calls on_event with each event, in this thread, until the work has ended; what came of it.
    /// If that or a signal handler raises, the work is cancelled and waited for first.
    #[pyo3(signature = (on_event=None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        on_event: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        loop {
            let step = match (self.next(py, SLICE)?, on_event) {
                (Next::End, _) => return self.wait(py),
                (Next::Event(event), Some(on_event)) => {
                    told(py, &event).and_then(|event| on_event.call1((event,))).map(drop)
                }
                _ => Ok(()),
            };
            if let Err(raised) = step.and_then(|()| py.check_signals()) {
                let operation = self.operation();
                // Whatever came of the work, what was raised matters more.
                py.detach(|| drop((operation.cancel(), operation.wait())));
                return Err(raised);
            }
        }
    }

    /// Waits for the end of the work without looking at events or signals; what came of it.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let operation = self.operation();
        match py.detach(|| operation.wait()) {
            Ok(outcome) => outcome.into_python(py),
            Err(error) => Err(raise(py, &error)),
        }
    }
}
