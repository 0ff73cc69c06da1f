//! Values between Rust and Python: those of JSON, and those of TOML.

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PySequence, PyString};
use serde_json::Value;
use std::time::Duration;

/// Deeper dictionaries than this are mistakes, such as one that contains itself.
const DEEPEST: usize = 32;

/// A JSON value as Python has it.
pub fn of_json<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(value) => value.into_bound_py_any(py),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into_bound_py_any(py),
            (None, Some(number)) => number.into_bound_py_any(py),
            (None, None) => number.as_f64().into_bound_py_any(py),
        },
        Value::String(text) => text.into_bound_py_any(py),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(of_json(py, item)?)?;
            }
            Ok(list.into_any())
        }
        Value::Object(members) => {
            let dictionary = PyDict::new(py);
            for (key, value) in members {
                dictionary.set_item(key, of_json(py, value)?)?;
            }
            Ok(dictionary.into_any())
        }
    }
}

/// A TOML value as Python has it. Dates become text: no key of a config is one.
pub fn of_toml<'py>(py: Python<'py>, value: &toml::Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        toml::Value::String(text) => text.into_bound_py_any(py),
        toml::Value::Integer(number) => number.into_bound_py_any(py),
        toml::Value::Float(number) => number.into_bound_py_any(py),
        toml::Value::Boolean(value) => value.into_bound_py_any(py),
        toml::Value::Datetime(date) => date.to_string().into_bound_py_any(py),
        toml::Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(of_toml(py, item)?)?;
            }
            Ok(list.into_any())
        }
        toml::Value::Table(table) => {
            let dictionary = PyDict::new(py);
            for (key, value) in table {
                dictionary.set_item(key, of_toml(py, value)?)?;
            }
            Ok(dictionary.into_any())
        }
    }
}

/// A value of a caller's dictionary as TOML has it: text, paths, numbers, durations, sequences and
/// mappings.
pub fn to_toml(value: &Bound<'_, PyAny>) -> PyResult<toml::Value> {
    convert(value, DEEPEST)
}

/// A caller's dictionary as a table.
pub fn to_table(mapping: &Bound<'_, PyAny>) -> PyResult<toml::Table> {
    match to_toml(mapping)? {
        toml::Value::Table(table) => Ok(table),
        _ => Err(PyTypeError::new_err("a config is made of a mapping")),
    }
}

fn convert(value: &Bound<'_, PyAny>, left: usize) -> PyResult<toml::Value> {
    if left == 0 {
        return Err(PyValueError::new_err("the dictionary of a config is too deep"));
    }
    // An enum of texts is a text, and True is no number.
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(toml::Value::String(text.extract()?));
    }
    if value.is_instance_of::<PyBool>() {
        return Ok(toml::Value::Boolean(value.extract()?));
    }
    if value.is_instance_of::<PyInt>() {
        return Ok(toml::Value::Integer(value.extract()?));
    }
    if value.is_instance_of::<PyFloat>() {
        return Ok(toml::Value::Float(value.extract()?));
    }
    if let Ok(mapping) = value.cast::<PyMapping>() {
        let mut table = toml::Table::new();
        for item in mapping.items()?.iter() {
            let (key, value): (String, Bound<'_, PyAny>) = item.extract()?;
            table.insert(key, convert(&value, left - 1)?);
        }
        return Ok(toml::Value::Table(table));
    }
    if let Ok(sequence) = value.cast::<PySequence>() {
        let items = sequence.try_iter()?.map(|item| convert(&item?, left - 1));
        return Ok(toml::Value::Array(items.collect::<PyResult<_>>()?));
    }
    if value.hasattr("__fspath__")? {
        return Ok(toml::Value::String(value.call_method0("__fspath__")?.extract()?));
    }
    if value.hasattr("total_seconds")? {
        let seconds: f64 = value.call_method0("total_seconds")?.extract()?;
        if seconds < 0.0 || seconds.fract() != 0.0 || seconds > 1e15 {
            return Err(PyValueError::new_err(format!(
                "durations of a config are whole seconds, and {seconds} is not"
            )));
        }
        return Ok(toml::Value::Integer(seconds as i64));
    }
    let name = value.get_type().name()?;
    Err(PyTypeError::new_err(format!("a config has no values of type {name}")))
}

/// Seconds as a duration.
pub fn seconds(value: f64, name: &str) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|_| {
        PyValueError::new_err(format!("{name} is {value}, which is no number of seconds"))
    })
}
