//! Options of builds.

use debmock::build::{BinNmu, BuildType, ResultDir, SourceSpec};
use debmock::config::CleanupAfter;
use debmock::{Error, ErrorKind, Result};
use pyo3::prelude::*;
use std::path::PathBuf;

/// The options of a build, as the package passes them: a dictionary with all of these keys.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct RebuildOptions {
    source: String,
    resultdir: PathBuf,
    own_directory: bool,
    any: bool,
    all: bool,
    source_package: bool,
    nocheck: bool,
    profiles: Option<Vec<String>>,
    jobs: Option<usize>,
    add_depends: Vec<String>,
    extra_packages: Vec<PathBuf>,
    extra_repositories: Vec<String>,
    dist: Option<String>,
    cleanup_after: Option<String>,
    binnmu: Option<u32>,
    binnmu_message: String,
    binnmu_maintainer: Option<String>,
    binnmu_timestamp: Option<i64>,
}

impl RebuildOptions {
    /// The options as `core` has them.
    pub fn into_core(self) -> Result<debmock::build::RebuildOptions> {
        let source = SourceSpec::parse(&self.source)?;
        let place = match self.own_directory {
            true => ResultDir::Below(self.resultdir),
            false => ResultDir::Exactly(self.resultdir),
        };
        let cleanup_after = match self.cleanup_after.as_deref() {
            None => None,
            Some("always") => Some(CleanupAfter::Always),
            Some("success") => Some(CleanupAfter::Success),
            Some("never") => Some(CleanupAfter::Never),
            Some(other) => {
                let message = format!("cleanup_after cannot be {other:?}");
                return Err(Error::new(ErrorKind::Usage, message));
            }
        };
        let binnmu = self.binnmu.map(|number| BinNmu {
            number,
            message: self.binnmu_message,
            maintainer: self.binnmu_maintainer,
            timestamp: self.binnmu_timestamp,
        });
        Ok(debmock::build::RebuildOptions {
            build_type: BuildType { any: self.any, all: self.all, source: self.source_package },
            nocheck: self.nocheck,
            profiles: self.profiles,
            jobs: self.jobs,
            add_depends: self.add_depends,
            extra_packages: self.extra_packages,
            extra_repositories: self.extra_repositories,
            dist: self.dist,
            cleanup_after,
            binnmu,
            ..debmock::build::RebuildOptions::new(source, place)
        })
    }
}
