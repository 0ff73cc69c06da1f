//! What came of a build: the value that callers get, and `result.json`.

use super::{BuildType, RebuildOptions, Source, SourceFile, Workshop};
use crate::apt::{Installed, InstalledPackage, Removal};
use crate::archive::checksum::Sha256;
use crate::buildroot::Exit;
use crate::error::{Error, ErrorKind};
use crate::event::seconds;
use crate::solve::PackageEntry;
use crate::state::{StageTime, Stages};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// Version of the JSON form; fields are only ever added.
const SCHEMA: u32 = 1;

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Packages were built.
    Successful,
    /// It failed: [`BuildResult::failed_stage`] says where.
    Failed,
    /// The caller cancelled it.
    Cancelled,
}

/// A file by name and content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileHash {
    /// Name, without a folder.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: Sha256,
}

/// Why a build failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its kind.
    pub kind: ErrorKind,
    /// Its sentences.
    pub message: String,
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstalledName {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture.
    pub architecture: String,
}

/// What came of a build.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct BuildResult {
    /// Version of the JSON form.
    pub schema: u32,
    /// How it ended.
    pub status: Status,
    /// The stage that failed.
    pub failed_stage: Option<String>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// Exit status of `dpkg-buildpackage`; `None` if it was not run or ended by a signal.
    pub exit_code: Option<i32>,
    /// The signal that ended `dpkg-buildpackage`.
    pub signal: Option<i32>,
    /// Source package; empty as long as it is unknown.
    pub name: String,
    /// Version of the packages; empty as long as it is unknown.
    pub version: String,
    /// Architecture that was built on and for.
    pub architecture: String,
    /// Suite of the root.
    pub suite: String,
    /// Which packages were built.
    pub build_type: BuildType,
    /// Build profiles.
    pub profiles: Vec<String>,
    /// Value of `DEB_BUILD_OPTIONS`.
    pub build_options: String,
    /// When it began, seconds since 1970.
    pub started: f64,
    /// How long it took.
    pub seconds: f64,
    /// The stages that ended, in the order of their ends.
    pub stages: Vec<StageTime>,
    /// Processor time of the build itself, seconds.
    pub processor_seconds: f64,
    /// Peak memory of the largest process of the build, KiB.
    pub peak_memory_kib: u64,
    /// What the build directory needed on disk at the end, KiB.
    pub disk_kib: u64,
    /// Files of the source package.
    pub inputs: Vec<FileHash>,
    /// Digest of the index files.
    pub archive: Option<Sha256>,
    /// Packages that were installed for this build.
    pub dependencies: Vec<PackageEntry>,
    /// Packages that were removed for this build.
    pub removed: Vec<Removal>,
    /// Everything that was installed while it was built.
    pub installed: Vec<InstalledName>,
    /// Files of the result, the `.changes` among them.
    pub outputs: Vec<FileHash>,
    /// Name of the `.changes`.
    pub changes: Option<String>,
    /// Name of the `.buildinfo`.
    pub buildinfo: Option<String>,
    /// Names of the logs.
    pub logs: Vec<String>,
    /// Where all these files are.
    #[serde(skip)]
    pub resultdir: PathBuf,
}

impl BuildResult {
    pub(super) fn new(started: SystemTime) -> Self {
        let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        BuildResult {
            schema: SCHEMA,
            status: Status::Successful,
            failed_stage: None,
            error: None,
            exit_code: None,
            signal: None,
            name: String::new(),
            version: String::new(),
            architecture: String::new(),
            suite: String::new(),
            build_type: BuildType::default(),
            profiles: Vec::new(),
            build_options: String::new(),
            started: seconds(since),
            seconds: 0.0,
            stages: Vec::new(),
            processor_seconds: 0.0,
            peak_memory_kib: 0,
            disk_kib: 0,
            inputs: Vec::new(),
            archive: None,
            dependencies: Vec::new(),
            removed: Vec::new(),
            installed: Vec::new(),
            outputs: Vec::new(),
            changes: None,
            buildinfo: None,
            logs: Vec::new(),
            resultdir: PathBuf::new(),
        }
    }

    /// The packages that were built, as paths.
    pub fn packages(&self) -> Vec<PathBuf> {
        let is_package = |name: &&str| {
            [".deb", ".udeb", ".ddeb"].iter().any(|extension| name.ends_with(extension))
        };
        let names = self.outputs.iter().map(|file| file.name.as_str());
        names.filter(is_package).map(|name| self.resultdir.join(name)).collect()
    }

    /// The path of a file of the result.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.resultdir.join(name)
    }

    /// How long the stage `name` took in all, seconds.
    pub fn stage_seconds(&self, name: &str) -> f64 {
        self.stages.iter().filter(|stage| stage.name == name).map(|stage| stage.seconds).sum()
    }

    pub(super) fn describe(
        &mut self,
        source: &Source,
        workshop: &Workshop<'_>,
        options: &RebuildOptions,
    ) {
        self.name = source.name.clone();
        self.version = match &options.binnmu {
            Some(binnmu) => format!("{}+b{}", source.version, binnmu.number),
            None => source.version.to_string(),
        };
        self.architecture = workshop.archive.architecture.clone();
        self.suite = workshop.suite.to_owned();
        self.build_type = options.build_type;
        self.profiles = options.profiles(workshop.config);
        self.build_options = options.build_options(workshop.config);
        self.archive = Some(workshop.archive.digest);
        let hash = |file: &SourceFile| FileHash {
            name: file.name.clone(),
            size: file.size,
            sha256: file.sha256,
        };
        self.inputs = source.files.iter().map(hash).collect();
    }

    pub(super) fn installed(&mut self, installed: &Installed) {
        let name = |package: &InstalledPackage| InstalledName {
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
        };
        self.installed = installed.iter().map(name).collect();
    }

    pub(super) fn used(&mut self, exit: &Exit) {
        (self.exit_code, self.signal) = (exit.status, exit.signal);
        self.processor_seconds = exit.usage.user_seconds + exit.usage.system_seconds;
        self.peak_memory_kib = exit.usage.peak_kib;
    }

    pub(super) fn fail(&mut self, error: &Error, stages: &Stages) {
        self.status = match error.kind() {
            ErrorKind::Cancelled => Status::Cancelled,
            _ => Status::Failed,
        };
        self.failed_stage = stages.failed();
        self.error = Some(Failure { kind: error.kind(), message: error.to_string() });
        self.outputs.clear();
        (self.changes, self.buildinfo) = (None, None);
    }

    pub(super) fn finish(&mut self, started: Instant, stages: &Stages) {
        self.seconds = seconds(started.elapsed());
        self.stages = stages.times();
    }
}
