//! The typed config that every other room reads.

use super::{Architecture, ArchiveSource, Distribution, Loader, Network, Origin, Suite};
use crate::error::Result;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the user wants of a root and of builds in it. `docs/config.md` describes every key.
///
/// Values are checked: names are names, paths are absolute, ranges are ranges.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The name that it was loaded by, such as `debian-bookworm`.
    pub name: String,
    /// Who makes the archive.
    pub distribution: Distribution,
    /// The suite's codename.
    pub suite: Suite,
    /// The architecture of the root.
    pub architecture: Architecture,
    /// Where binary and source packages come from; never empty. Each serves sources as well,
    /// whether the host has a `deb-src` line for it or not.
    pub archives: Vec<ArchiveSource>,
    /// How archives are reached.
    pub network: Network,
    /// How old indexes may be.
    pub refresh: Refresh,
    /// What a new root contains.
    pub packages: Packages,
    /// How the first layer is made.
    pub bootstrap: Bootstrap,
    /// Time for files that bootstrap makes, in seconds since 1970; `None`: the newest file of the
    /// package set.
    pub source_date_epoch: Option<u64>,
    /// How roots are kept apart from the host.
    pub isolation: Isolation,
    /// What a session may use.
    pub limits: Limits,
    /// How packages are built.
    pub build: Build,
    /// How large the store may grow.
    pub store: StoreLimits,
    /// How long to wait for another user of the buildroot, or for another maker of the same layer;
    /// `None`: for ever.
    pub lock_timeout: Option<Duration>,
    /// What the user should know about this config and the host's configuration.
    pub warnings: Vec<Warning>,
    pub(super) settings: Vec<Setting>,
}

impl Config {
    /// Loads a config of this host by its name, with options `KEY=VALUE` over it. A name that
    /// contains `/` or ends in `.toml` is the path of a file.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for an unknown name, a file that cannot be
    /// read, an unknown key, a wrong value; [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an
    /// option that is none.
    pub fn load(name: &str, options: &[&str]) -> Result<Config> {
        Loader::new().options(options).load(name)
    }

    /// The config that is used when none is named: `default.toml` where somebody wrote one, else
    /// the host's own suite if it runs Debian or Ubuntu, else `debian-stable`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn default_for_host() -> Result<Config> {
        Loader::new().load_default()
    }

    /// Loads a config from a file anywhere; its name is the file's without `.toml`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_file(path: &Path) -> Result<Config> {
        Loader::new().load_file(path)
    }

    /// Makes a config of this name from a text.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_toml_str(name: &str, text: &str) -> Result<Config> {
        Loader::new().load_str(name, text)
    }

    /// Makes a config of this name from a table, such as a caller's dictionary.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_table(name: &str, table: &toml::Table) -> Result<Config> {
        Loader::new().load_table(name, table)
    }

    /// Every key with its value as TOML and where that came from, in the order of
    /// `docs/config.md`. Passwords are not in it.
    pub fn explain(&self) -> &[Setting] {
        &self.settings
    }

    /// Every key with its value and where that comes from, as JSON, which is the same in every
    /// language; members are only ever added. A key that is not set has the value `null`.
    pub fn to_json(&self) -> serde_json::Value {
        let setting = |setting: &Setting| {
            let origins: Vec<_> = setting.origins.iter().map(ToString::to_string).collect();
            let value = (!setting.value.is_empty()).then_some(&setting.value);
            serde_json::json!({"key": setting.key, "value": value, "origins": origins})
        };
        let settings: Vec<_> = self.explain().iter().map(setting).collect();
        let schema = crate::event::SCHEMA;
        serde_json::json!({"schema": schema, "config": self.name, "settings": settings})
    }
}

/// One key of a loaded config.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// Dotted key.
    pub key: String,
    /// The value as TOML on one line; empty where the key says nothing.
    pub value: String,
    /// Who said so; several for a list that was added to.
    pub origins: Vec<Origin>,
}

/// Something that the user should know and that stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Warning {
    pub(super) fn new(message: impl Into<String>) -> Warning {
        Warning { message: message.into(), hint: None }
    }
}

/// How old indexes may be before the archive is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refresh {
    /// It is asked each time.
    Always,
    /// It is asked when they are older.
    After(Duration),
    /// It is never asked while there are any.
    Never,
}

/// What a new root contains.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packages {
    /// The set that it begins with.
    pub variant: Variant,
    /// Further packages.
    pub include: Vec<String>,
}

impl Packages {
    /// The packages to install with the essential ones and all dependencies.
    pub fn wanted(&self) -> Vec<String> {
        let set: &[&str] = match self.variant {
            Variant::Essential => &[],
            Variant::Apt => &["apt"],
            Variant::Buildd => &["apt", "build-essential"],
        };
        let mut wanted: Vec<String> = set.iter().map(|name| (*name).to_owned()).collect();
        wanted.extend(self.include.iter().filter(|name| !set.contains(&name.as_str())).cloned());
        wanted
    }
}

/// The set that a new root begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Variant {
    /// Packages with `Essential: yes` and what they depend on.
    Essential,
    /// The same with apt.
    Apt,
    /// The same with apt and build-essential.
    Buildd,
}

/// How the first layer is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bootstrap {
    /// Unpacked in parallel, configured in one pass.
    Native,
    /// dpkg does everything. Does not work yet: it is refused when a root is to be made.
    Dpkg,
}

/// How roots are kept apart from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Isolation {
    /// The mode.
    pub mode: IsolationMode,
    /// Root's range of ids where `/etc/subuid` has no entry for root.
    pub root_ids: IdRange,
    /// Host name inside.
    pub hostname: String,
    /// What of the host is visible inside.
    pub binds: Vec<Bind>,
    /// Whether a weaker `/proc` or `/sys` is taken, with a warning, where a surrounding container
    /// allows no other.
    pub accept_weak: bool,
}

/// Which namespaces, and as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IsolationMode {
    /// As [`IsolationMode::Userns`]; real root is used only where it is asked for.
    Auto,
    /// A user namespace with a range of ids.
    Userns,
    /// Real root in the other namespaces.
    Simple,
}

/// A range of user and group ids of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first.
    pub base: u32,
    /// How many; `base + count` fits into 32 bits.
    pub count: u32,
}

/// A directory or file of the host that is visible inside.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bind {
    /// Absolute path on the host.
    pub host: PathBuf,
    /// Absolute path inside, without `..`.
    pub inside: PathBuf,
    /// Whether the root may only read it.
    pub read_only: bool,
}

/// What all processes of a session may use together; `None`: no limit.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Processors' worth of time; 1.5 is one and a half processors.
    pub cpus: Option<f64>,
    /// What may be written, in bytes.
    pub disk: Option<u64>,
    /// Whether a limit that this host cannot enforce is an error, not a warning.
    pub required: bool,
}

/// How packages are built.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Build {
    /// Directory inside the root that the source is unpacked in.
    pub path: PathBuf,
    /// User inside the root that builds.
    pub user: String,
    /// As configured; 0 for as many as there are processors. [`Build::parallel`] has the number.
    pub jobs: usize,
    /// Build profiles (`DEB_BUILD_PROFILES`).
    pub profiles: Vec<String>,
    /// Words of `DEB_BUILD_OPTIONS` besides `parallel`.
    pub options: Vec<String>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Longest silence; `None`: no limit.
    pub silence_timeout: Option<Duration>,
    /// Longest build; `None`: no limit.
    pub timeout: Option<Duration>,
    /// When the build directory and the dependencies are removed.
    pub cleanup_after: CleanupAfter,
    /// Bytes of memory for what a build changes in its root; `None`: it is on the disk.
    pub in_memory: Option<u64>,
}

impl Build {
    /// Parallel jobs: as configured, or as many as this process may use processors.
    pub fn parallel(&self) -> usize {
        match self.jobs {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            jobs => jobs,
        }
    }
}

/// When a build's directory and dependencies are removed from the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CleanupAfter {
    /// After every build.
    Always,
    /// After a build that succeeded.
    Success,
    /// Never.
    Never,
}

/// How large the store may grow before unused parts are removed, the least recently used first;
/// `None`: no limit. Kept by whatever adds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreLimits {
    /// All layers, in bytes.
    pub layers_max: Option<u64>,
    /// All downloaded packages and sources, in bytes.
    pub debs_max: Option<u64>,
}
