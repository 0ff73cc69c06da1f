//! Configs.

use crate::cancel::CancelToken;
use crate::error::raise;
use crate::operation::{Operation, Outcome, start};
use crate::value;
use debmock::config::{Known, Loader};
use debmock::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use serde_json::json;
use std::path::PathBuf;

/// A loaded config; immutable.
#[pyclass(frozen, module = "debmock._native")]
pub struct Config(pub debmock::config::Config);

fn load(
    py: Python<'_>,
    overrides: &[String],
    load: impl Fn(&Loader) -> debmock::Result<debmock::config::Config> + Sync,
) -> PyResult<Config> {
    let config = py.detach(|| load(&Loader::new().options(overrides)));
    config.map(Config).map_err(|error| raise(py, &error))
}

#[pymethods]
impl Config {
    /// The config for this host.
    #[staticmethod]
    fn default(py: Python<'_>, overrides: Vec<String>) -> PyResult<Config> {
        load(py, &overrides, Loader::load_default)
    }

    /// A config by its name.
    #[staticmethod]
    fn load(py: Python<'_>, name: &str, overrides: Vec<String>) -> PyResult<Config> {
        load(py, &overrides, |loader| loader.load(name))
    }

    /// A config of a file.
    #[staticmethod]
    #[expect(clippy::needless_pass_by_value, reason = "that is how paths are taken from Python")]
    fn from_file(py: Python<'_>, path: PathBuf, overrides: Vec<String>) -> PyResult<Config> {
        load(py, &overrides, |loader| loader.load_file(&path))
    }

    /// A config of a text.
    #[staticmethod]
    fn from_toml(
        py: Python<'_>,
        text: &str,
        name: &str,
        overrides: Vec<String>,
    ) -> PyResult<Config> {
        load(py, &overrides, |loader| loader.load_str(name, text))
    }

    /// A config of a mapping.
    #[staticmethod]
    fn from_dict(
        py: Python<'_>,
        mapping: &Bound<'_, PyAny>,
        name: &str,
        overrides: Vec<String>,
    ) -> PyResult<Config> {
        let table = value::to_table(mapping)?;
        load(py, &overrides, |loader| loader.load_table(name, &table))
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// Its distribution.
    #[getter]
    fn distribution(&self) -> &str {
        self.0.distribution.name()
    }

    /// Its suite.
    #[getter]
    fn suite(&self) -> &str {
        self.0.suite.as_str()
    }

    /// Debian's name of its architecture.
    #[getter]
    fn architecture(&self) -> &str {
        self.0.architecture.as_str()
    }

    /// What the user should know about it, each with what to do about it.
    #[getter]
    fn warnings(&self) -> Vec<(&str, Option<&str>)> {
        let warnings = self.0.warnings.iter();
        warnings.map(|warning| (warning.message.as_str(), warning.hint.as_deref())).collect()
    }

    /// Every key: its name, its value, the value as TOML (None: not set), and where it comes from.
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for setting in self.0.explain() {
            let told = PyDict::new(py);
            told.set_item("key", &setting.key)?;
            let text = Some(&setting.value).filter(|text| !text.is_empty());
            told.set_item("toml", text)?;
            // Every value was printed as TOML by core.
            let parsed = text.and_then(|text| text.parse::<toml::Value>().ok());
            told.set_item("value", parsed.map(|v| value::of_toml(py, &v)).transpose()?)?;
            let origins: Vec<_> = setting.origins.iter().map(ToString::to_string).collect();
            told.set_item("origins", origins)?;
            list.append(told)?;
        }
        Ok(list)
    }
}

/// A value as TOML on one line, as overrides have it.
#[pyfunction]
pub fn toml_text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(value::to_toml(value)?.to_string())
}

/// Starts to find out which configs there are.
#[pyfunction]
#[pyo3(signature = (cancel=None))]
pub fn start_configs(
    py: Python<'_>,
    cancel: Option<&Bound<'_, CancelToken>>,
) -> PyResult<Operation> {
    start(py, cancel, |_| {
        let configs: Vec<_> = Loader::new().list()?.iter().map(Known::to_json).collect();
        Ok(Outcome::Value(json!(configs)))
    })
}

/// The error of an argument that makes no sense.
pub fn usage(py: Python<'_>, message: impl Into<String>) -> PyErr {
    raise(py, &Error::new(ErrorKind::Usage, message))
}
