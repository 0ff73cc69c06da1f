//! apt inside a root: install, remove, upgrade, build dependencies, any command line.
//!
//! Every operation has three steps. **Resolve**: the root's own apt decides which exact packages
//! come and go; it sees the index files of the store, mounted over `/var/lib/apt/lists`, and no
//! network. **Fetch**: the host process gets those packages into the store; what it gets is named
//! by its own verified index, never by what a program in the root printed. **Apply**: the files,
//! hashed once more, are mounted under apt's names, and apt installs exactly these, again without
//! network. Where packages only come and nothing stands in the way, the helper unpacks them in the
//! order that apt would have taken ([`Order`]), which is the same and much faster.
//!
//! What apt needs to know comes from a directory that exists only during a call
//! ([`setup`]). Nothing of it stays in the root but what apt and dpkg write about installed
//! packages, and, where nobody has made one for this root yet ([`caches`]), apt's two binary
//! caches in `/var/cache/apt`, which make later calls faster and are removed wherever a root
//! becomes a layer or is exported.

mod apply;
mod caches;
mod command;
mod depends;
mod failure;
mod installed;
mod memory;
mod native;
mod order;
mod plan;
mod progress;
mod setup;

pub(crate) use caches::is_cache;
pub use depends::{BuildDependencies, DUMMY, DependencyOptions};
pub use installed::{Installed, InstalledPackage};
pub(crate) use native::Taking;
pub use order::Order;
pub(crate) use plan::counted;
pub use plan::{Plan, Planned, Removal, Task};
pub(crate) use setup::broken;

use crate::archive::index::Packages;
use crate::archive::state::ArchiveState;
use crate::archive::transport::Transport;
use crate::buildroot::{Run, Session};
use crate::error::Result;
use crate::operation::Scope;
use crate::state::LogFile;
use crate::store::debs::Debs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What the operations of this room work with, besides an open session.
///
/// Threads that share a session take turns ([`Session::package_turn`]): whoever calls
/// [`Apt::resolve`] and [`Apt::apply`] by itself holds one around both.
pub struct Apt<'a> {
    session: &'a Session,
    archive: &'a ArchiveState,
    debs: &'a Debs,
    transport: &'a dyn Transport,
    parallel: usize,
    log: &'a LogFile,
    packages: OnceLock<Packages>,
    source_date_epoch: Option<u64>,
    plans: Option<PathBuf>,
    caches: Vec<PathBuf>,
}

impl<'a> Apt<'a> {
    /// apt of the root that `session` has open, with the packages of `archive`. `log` gets what
    /// apt and dpkg print.
    pub fn new(
        session: &'a Session,
        archive: &'a ArchiveState,
        debs: &'a Debs,
        transport: &'a dyn Transport,
        log: &'a LogFile,
    ) -> Self {
        let packages = OnceLock::new();
        Apt {
            session,
            archive,
            debs,
            transport,
            parallel: 8,
            log,
            packages,
            source_date_epoch: None,
            plans: None,
            caches: Vec::new(),
        }
    }

    /// Transfers at once; 8 unless set.
    #[must_use]
    pub fn parallel(mut self, transfers: usize) -> Self {
        self.parallel = transfers.max(1);
        self
    }

    /// Time for what maintainer scripts write (`SOURCE_DATE_EPOCH`), seconds since 1970.
    #[must_use]
    pub fn source_date_epoch(mut self, seconds: Option<u64>) -> Self {
        self.source_date_epoch = seconds;
        self
    }

    /// Remembers in this directory of the host what apt chose for a set of build dependencies, so
    /// that the same question about the same root and the same index files is asked once.
    #[must_use]
    pub fn remember_in(mut self, plans: Option<&Path>) -> Self {
        self.plans = plans.map(Path::to_owned);
        self
    }

    /// Lets apt use what it has made of the index files before, below one of these directories of
    /// the host: one for each layer that the root stands on, topmost first. What it makes of them
    /// now is kept in the first if [`Apt::remember_in`] says that nobody has changed the root.
    #[must_use]
    pub fn caches_in(mut self, caches: &[PathBuf]) -> Self {
        self.caches = caches.to_vec();
        self
    }

    /// The session.
    pub fn session(&self) -> &'a Session {
        self.session
    }

    /// The architecture of the root.
    pub fn architecture(&self) -> &'a str {
        &self.archive.architecture
    }

    /// The verified indexes, read when they are first needed.
    fn packages(&self) -> Result<&Packages> {
        if let Some(packages) = self.packages.get() {
            return Ok(packages);
        }
        let packages = Packages::load(self.archive)?;
        Ok(self.packages.get_or_init(|| packages))
    }

    /// A program of the root with the environment of package operations: no questions, no
    /// network, no flushing of each file to the disk (a root is synced as a whole or not at all).
    fn run(&self, argv: &[&str]) -> Run {
        let mut run = Run::new(argv)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
            .env("DEBCONF_NOWARNINGS", "yes")
            .env("DPKG_COLORS", "never");
        if let Some(seconds) = self.source_date_epoch {
            run = run.env("SOURCE_DATE_EPOCH", seconds.to_string());
        }
        run.suppress_sync = true;
        run
    }

    /// Installs `packages`: each as apt takes them, `name`, `name=version`, `name/suite`,
    /// `name:architecture`. They are marked as wanted by hand, what they need as automatic.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Dependency`] with apt's explanation, [`crate::ErrorKind::Package`] if
    /// dpkg fails, [`crate::ErrorKind::Usage`] if apt does not understand its command line, those
    /// of fetching.
    pub fn install(&self, packages: &[String], scope: &Scope) -> Result<Plan> {
        self.carry_out(&Task::Install(packages.to_vec()), scope)
    }

    /// Removes `packages`, their configuration files, and nothing else but what needs them.
    ///
    /// # Errors
    /// As [`Apt::install`].
    pub fn remove(&self, packages: &[String], scope: &Scope) -> Result<Plan> {
        self.carry_out(&Task::Remove(packages.to_vec()), scope)
    }

    /// Brings every package to the version that the archive offers (`dist-upgrade`).
    ///
    /// # Errors
    /// As [`Apt::install`].
    pub fn upgrade(&self, scope: &Scope) -> Result<Plan> {
        self.carry_out(&Task::Upgrade, scope)
    }

    /// Installs what a build needs and removes what it conflicts with.
    ///
    /// # Errors
    /// As [`Apt::install`].
    pub fn install_dependencies(
        &self,
        dependencies: &BuildDependencies,
        scope: &Scope,
    ) -> Result<Plan> {
        self.carry_out(&Task::Dependencies(dependencies.clone()), scope)
    }

    /// Resolves, fetches and applies.
    ///
    /// # Errors
    /// As [`Apt::install`].
    pub fn carry_out(&self, task: &Task, scope: &Scope) -> Result<Plan> {
        let _turn = self.session.package_turn(scope)?;
        let plan = scope.stage("resolve", task.words(), || self.resolve(task, scope))?;
        if plan.is_empty() && !plan.must_run() {
            return Ok(plan);
        }
        scope.stage("fetch", plan.counted(), || self.fetch(&plan, scope))?;
        scope.stage("apply", plan.counted(), || self.apply(&plan, scope))?;
        Ok(plan)
    }
}
