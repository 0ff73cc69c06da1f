//! Package operations and builds on a buildroot: opens it, brings the indexes up to date, and lets
//! the rooms `apt` and `build` work in it.

use super::{Access, BaseOrigin, Buildroot, Session, Storage};
use crate::apt::{Apt, Plan};
use crate::archive::access::Archives;
use crate::archive::state::ArchiveState;
use crate::build::{self, BuildResult, Rebuild, RebuildOptions, Workshop};
use crate::config::CleanupAfter;
use crate::error::Result;
use crate::event::Log;
use crate::operation::Scope;
use crate::state::LogFile;
use std::path::PathBuf;
use std::sync::Arc;

impl Buildroot {
    /// Installs packages: `name`, `name=version`, `name/suite`, `name:architecture`.
    ///
    /// # Errors
    /// [`ErrorKind::Dependency`](crate::ErrorKind::Dependency) if they cannot be installed,
    /// [`ErrorKind::Package`](crate::ErrorKind::Package) if dpkg fails, those of fetching.
    pub fn install(&self, packages: &[String], scope: &Scope) -> Result<Plan> {
        self.with_apt(scope, |apt| apt.install(packages, scope))
    }

    /// Removes packages with their configuration files.
    ///
    /// # Errors
    /// As [`Buildroot::install`].
    pub fn remove(&self, packages: &[String], scope: &Scope) -> Result<Plan> {
        self.with_apt(scope, |apt| apt.remove(packages, scope))
    }

    /// Brings every package to the version that the archives offer.
    ///
    /// # Errors
    /// As [`Buildroot::install`].
    pub fn update(&self, scope: &Scope) -> Result<Plan> {
        self.with_apt(scope, |apt| apt.upgrade(scope))
    }

    /// Runs a command line of apt-get: what it downloads is fetched and verified by the host, what
    /// it does happens without network.
    ///
    /// # Errors
    /// As [`Buildroot::install`].
    pub fn apt_command(&self, arguments: &[String], scope: &Scope) -> Result<Plan> {
        self.with_apt(scope, |apt| apt.command(arguments, scope))
    }

    /// Installs what a source package needs to be built.
    ///
    /// # Errors
    /// As [`Buildroot::install`], and [`ErrorKind::Source`](crate::ErrorKind::Source) for a source
    /// that cannot be used.
    pub fn install_dependencies(&self, options: &RebuildOptions, scope: &Scope) -> Result<Plan> {
        let archives = self.archives(scope)?;
        let state = archives.state(scope)?;
        let session = self.session(Access::default(), scope)?;
        let log = LogFile::events_only(Log::Root);
        let workshop = self.workshop(&session, &archives, &state);
        build::install_dependencies(options, &workshop.as_workshop(), &log, scope)
    }

    /// Builds a source package in a root without changes: the session that is open, or a new one
    /// on a clean buildroot.
    ///
    /// # Errors
    /// [`ErrorKind::Build`](crate::ErrorKind::Build) if the package does not build; see
    /// [`Rebuild::run`] and [`Buildroot::init`] for others.
    pub fn rebuild(&self, options: RebuildOptions, scope: &Scope) -> Result<BuildResult> {
        let cleanup = options.cleanup_after.unwrap_or(self.config.build.cleanup_after);
        let joined = self.current().is_some();
        let rebuild = Rebuild::new(options)?;
        let prepared = (|| {
            if !joined {
                self.clean(scope)?;
            }
            let archives = self.archives(scope)?;
            let state = archives.state(scope)?;
            let session = self.session(Access::default(), scope)?;
            Ok((archives, state, session))
        })();
        let (archives, state, session) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err(rebuild.abandon(error)),
        };
        let workshop = self.workshop(&session, &archives, &state);
        let outcome = rebuild.run(&workshop.as_workshop(), scope);
        drop(workshop);
        drop(session);
        let reset = match cleanup {
            CleanupAfter::Always => true,
            CleanupAfter::Success => outcome.is_ok(),
            CleanupAfter::Never => false,
        };
        if reset && !joined {
            self.reset(scope)?;
        }
        outcome
    }

    /// Takes away what a build left; unlike [`Buildroot::clean`] the base stays the same.
    fn reset(&self, scope: &Scope) -> Result<()> {
        let _lock = self.lock(scope)?;
        match self.base()? {
            Some(base) if base.storage == Storage::Overlay => self.drop_changes(scope),
            Some(base) if base.origin == BaseOrigin::Import => {
                self.stand_on(&base.layer, base.origin, scope).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    fn archives(&self, scope: &Scope) -> Result<Archives<'_>> {
        Archives::open(&self.config, self.zone.places(), scope)
    }

    fn with_apt<T>(&self, scope: &Scope, work: impl FnOnce(&Apt<'_>) -> Result<T>) -> Result<T> {
        let archives = self.archives(scope)?;
        let state = archives.state(scope)?;
        let session = self.session(Access::default(), scope)?;
        let log = LogFile::events_only(Log::Root);
        let apt = Apt::new(&session, &state, archives.debs(), archives.transport(), &log)
            .parallel(self.config.network.parallel)
            .source_date_epoch(self.config.source_date_epoch);
        work(&apt)
    }

    fn workshop<'a>(
        &'a self,
        session: &'a Arc<Session>,
        archives: &'a Archives<'a>,
        state: &'a ArchiveState,
    ) -> Bench<'a> {
        let sources = self.zone.places().cache.join("sources/v1");
        Bench { root: self, session, archives, state, sources }
    }
}

/// What a [`Workshop`] borrows from.
struct Bench<'a> {
    root: &'a Buildroot,
    session: &'a Arc<Session>,
    archives: &'a Archives<'a>,
    state: &'a ArchiveState,
    sources: PathBuf,
}

impl Bench<'_> {
    fn as_workshop(&self) -> Workshop<'_> {
        let config = &self.root.config;
        Workshop {
            session: self.session,
            archive: self.state,
            lists: self.archives.lists(),
            debs: self.archives.debs(),
            sources: &self.sources,
            transport: self.archives.transport(),
            config: &config.build,
            suite: config.suite.as_str(),
            parallel: config.network.parallel,
        }
    }
}
