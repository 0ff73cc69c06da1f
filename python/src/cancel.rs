//! The wish to stop.

use pyo3::prelude::*;

/// Stops the calls that were given it, in any thread; one token may serve many of them.
#[pyclass(frozen, module = "debmock")]
pub struct CancelToken(pub debmock::operation::CancelToken);

#[pymethods]
impl CancelToken {
    #[new]
    fn new() -> Self {
        CancelToken(debmock::operation::CancelToken::new())
    }

    /// Stops every call that was given the token, now and later: each raises debmock.Cancelled
    /// within a second. Does not wait for them.
    fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether somebody has asked to stop.
    #[getter]
    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn __repr__(&self) -> String {
        format!(
            "<debmock.CancelToken cancelled={}>",
            if self.cancelled() { "True" } else { "False" }
        )
    }
}

/// The token of a call.
pub fn token(given: Option<&Bound<'_, CancelToken>>) -> debmock::operation::CancelToken {
    given.map_or_else(Default::default, |token| token.get().0.clone())
}
