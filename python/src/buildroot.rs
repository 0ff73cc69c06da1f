//! Buildroots.

use crate::cancel::CancelToken;
use crate::config::{Config, usage};
use crate::error::raise;
use crate::handle::{Handle, release};
use crate::helper;
use crate::operation::{Operation, Outcome, start};
use crate::rebuild::RebuildOptions;
use debmock::apt::Plan;
use debmock::buildroot::{
    Access, BuildrootOptions, Compression, ExportOptions, Form, Scrub, Snapshot,
};
use debmock::operation::Scope;
use debmock::store::Places;
use pyo3::prelude::*;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

type Core = debmock::buildroot::Buildroot;

/// A named, persistent, writable root, whether it has been made already or not.
#[pyclass(frozen, module = "debmock._native")]
pub struct Buildroot {
    root: Handle<Core>,
    name: String,
}

fn places(cache: Option<PathBuf>, state: Option<PathBuf>) -> debmock::Result<Option<Places>> {
    if cache.is_none() && state.is_none() {
        return Ok(None);
    }
    let own = |path: Option<PathBuf>, default: fn() -> debmock::Result<PathBuf>| match path {
        Some(path) => std::path::absolute(&path).map_err(|error| {
            debmock::Error::io(format!("cannot use {} as a store", path.display()), error)
        }),
        None => default(),
    };
    let cache = own(cache, debmock::config::cache_dir)?;
    let state = own(state, debmock::config::state_dir)?;
    Ok(Some(Places { cache, state }))
}

fn planned(plan: &Plan) -> Outcome {
    Outcome::Value(json!({"installed": plan.install, "removed": plan.remove}))
}

impl Buildroot {
    /// Starts something with the buildroot.
    fn start(
        &self,
        py: Python<'_>,
        cancel: Option<&Bound<'_, CancelToken>>,
        work: impl FnOnce(&Core, &Scope) -> debmock::Result<Outcome> + Send + 'static,
    ) -> PyResult<Operation> {
        let root = self.root.get(py)?;
        start(py, cancel, move |scope| work(&root, scope))
    }

    /// As [`Buildroot::start`], with a name.
    fn start_named(
        &self,
        py: Python<'_>,
        cancel: Option<&Bound<'_, CancelToken>>,
        name: String,
        work: fn(&Core, &str, &Scope) -> debmock::Result<()>,
    ) -> PyResult<Operation> {
        self.start(py, cancel, move |root, scope| work(root, &name, scope).map(|()| Outcome::NONE))
    }

    /// As [`Buildroot::start`], with a list of words, which must not be empty.
    fn start_with(
        &self,
        py: Python<'_>,
        cancel: Option<&Bound<'_, CancelToken>>,
        words: Vec<String>,
        work: fn(&Core, &[String], &Scope) -> debmock::Result<Plan>,
    ) -> PyResult<Operation> {
        if words.is_empty() {
            return Err(usage(py, "there is nothing to do: the list is empty"));
        }
        self.start(py, cancel, move |root, scope| Ok(planned(&work(root, &words, scope)?)))
    }
}

#[pymethods]
impl Buildroot {
    #[new]
    #[pyo3(signature = (config, uniqueext=None, helper=None, cache_dir=None, state_dir=None))]
    fn new(
        py: Python<'_>,
        config: &Bound<'_, Config>,
        uniqueext: Option<String>,
        helper: Option<PathBuf>,
        cache_dir: Option<PathBuf>,
        state_dir: Option<PathBuf>,
    ) -> PyResult<Self> {
        let config = config.get().0.clone();
        let helper = helper::program(py, helper)?;
        let made = py.detach(|| {
            let places = places(cache_dir, state_dir)?;
            Core::new(config, &BuildrootOptions { uniqueext, helper, places })
        });
        let root = Arc::new(made.map_err(|error| raise(py, &error))?);
        let name = root.name().to_owned();
        Ok(Buildroot { root: Handle::new(root, "the buildroot"), name })
    }

    /// The name of its config and its extension.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// Whether close was called.
    #[getter]
    fn closed(&self) -> bool {
        self.root.is_closed()
    }

    /// Ends its helper, unless operations or sessions still need that.
    fn close(&self) {
        if let Some(root) = self.root.take() {
            release(root);
        }
    }

    /// Whether it has been made.
    fn exists(&self, py: Python<'_>) -> PyResult<bool> {
        let root = self.root.get(py)?;
        py.detach(move || root.exists()).map_err(|error| raise(py, &error))
    }

    #[pyo3(signature = (cancel=None))]
    fn start_init(
        &self,
        py: Python<'_>,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start(py, cancel, |root, scope| root.init(scope).map(|()| Outcome::NONE))
    }

    #[pyo3(signature = (cancel=None))]
    fn start_clean(
        &self,
        py: Python<'_>,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start(py, cancel, |root, scope| root.clean(scope).map(|()| Outcome::NONE))
    }

    #[pyo3(signature = (what, cancel=None))]
    fn start_scrub(
        &self,
        py: Python<'_>,
        what: Vec<String>,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        let part = |name: &String| match name.as_str() {
            "all" => Ok(Scrub::All),
            "chroot" => Ok(Scrub::Chroot),
            "layers" => Ok(Scrub::Layers),
            "debs" => Ok(Scrub::Debs),
            "lists" => Ok(Scrub::Lists),
            other => Err(usage(py, format!("there is no part {other:?} to scrub"))),
        };
        let parts = what.iter().map(part).collect::<PyResult<Vec<_>>>()?;
        if parts.is_empty() {
            return Err(usage(py, "nothing is to be scrubbed"));
        }
        self.start(py, cancel, move |root, scope| root.scrub(&parts, scope).map(|()| Outcome::NONE))
    }

    #[pyo3(signature = (file, compression=None, level=None, source_date_epoch=None, form=None, flatten=false, cancel=None))]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the method in Python")]
    fn start_export(
        &self,
        py: Python<'_>,
        file: PathBuf,
        compression: Option<&str>,
        level: Option<i32>,
        source_date_epoch: Option<u64>,
        form: Option<&str>,
        flatten: bool,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        let fail = |error| raise(py, &error);
        let form: Option<Form> = form.map(str::parse).transpose().map_err(fail)?;
        let compression: Option<Compression> =
            compression.map(str::parse).transpose().map_err(fail)?;
        let mut options = ExportOptions::choose(&file, form, compression).map_err(fail)?;
        options.source_date_epoch = source_date_epoch.or(options.source_date_epoch);
        options.flatten = flatten;
        if let Some(level) = level {
            match (options.compression, level) {
                (Compression::Zstd(_), 1..=22) => options.compression = Compression::Zstd(level),
                (Compression::Gzip(_), 1..=9) => {
                    options.compression = Compression::Gzip(level as u32);
                }
                _ => {
                    return Err(usage(
                        py,
                        format!("there is no level {level} of that compression"),
                    ));
                }
            }
        }
        self.start(py, cancel, move |root, scope| {
            root.export(&file, &options, scope).map(|()| Outcome::NONE)
        })
    }

    #[pyo3(signature = (file, cancel=None))]
    fn start_import(
        &self,
        py: Python<'_>,
        file: PathBuf,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start(py, cancel, move |root, scope| root.import(&file, scope).map(|()| Outcome::NONE))
    }

    #[pyo3(signature = (file, cancel=None))]
    fn start_import_layers(
        &self,
        py: Python<'_>,
        file: PathBuf,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start(py, cancel, move |root, scope| {
            Ok(Outcome::Value(json!(root.import_layers(&file, scope)?)))
        })
    }

    #[pyo3(signature = (name, cancel=None))]
    fn start_snapshot(
        &self,
        py: Python<'_>,
        name: String,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start_named(py, cancel, name, Core::snapshot)
    }

    #[pyo3(signature = (name, cancel=None))]
    fn start_rollback(
        &self,
        py: Python<'_>,
        name: String,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start_named(py, cancel, name, Core::rollback)
    }

    #[pyo3(signature = (name, cancel=None))]
    fn start_remove_snapshot(
        &self,
        py: Python<'_>,
        name: String,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start_named(py, cancel, name, Core::remove_snapshot)
    }

    #[pyo3(signature = (cancel=None))]
    fn start_list_snapshots(
        &self,
        py: Python<'_>,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start(py, cancel, |root, _| {
            let all = root.snapshots()?;
            Ok(Outcome::Value(all.iter().map(Snapshot::to_json).collect()))
        })
    }

    #[pyo3(signature = (cancel=None))]
    fn start_list(
        &self,
        py: Python<'_>,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start(py, cancel, |root, scope| Ok(Outcome::Value(json!(root.list(scope)?))))
    }

    #[pyo3(signature = (packages, cancel=None))]
    fn start_install(
        &self,
        py: Python<'_>,
        packages: Vec<String>,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start_with(py, cancel, packages, Core::install)
    }

    #[pyo3(signature = (packages, cancel=None))]
    fn start_remove(
        &self,
        py: Python<'_>,
        packages: Vec<String>,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start_with(py, cancel, packages, Core::remove)
    }

    #[pyo3(signature = (cancel=None))]
    fn start_update(
        &self,
        py: Python<'_>,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start(py, cancel, |root, scope| Ok(planned(&root.update(scope)?)))
    }

    #[pyo3(signature = (arguments, cancel=None))]
    fn start_apt(
        &self,
        py: Python<'_>,
        arguments: Vec<String>,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start_with(py, cancel, arguments, Core::apt)
    }

    #[pyo3(signature = (options, cancel=None))]
    fn start_installdeps(
        &self,
        py: Python<'_>,
        options: RebuildOptions,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        let options = options.into_core().map_err(|error| raise(py, &error))?;
        self.start(py, cancel, move |root, scope| {
            Ok(planned(&root.install_dependencies(&options, scope)?))
        })
    }

    #[pyo3(signature = (options, cancel=None))]
    fn start_rebuild(
        &self,
        py: Python<'_>,
        options: RebuildOptions,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        let options = options.into_core().map_err(|error| raise(py, &error))?;
        self.start(py, cancel, move |root, scope| {
            root.rebuild(options, scope).map(|result| Outcome::Build(Box::new(result)))
        })
    }

    #[pyo3(signature = (network=false, cancel=None))]
    fn start_session(
        &self,
        py: Python<'_>,
        network: bool,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Operation> {
        self.start(py, cancel, move |root, scope| {
            root.session(Access { network }, scope).map(Outcome::Session)
        })
    }
}
