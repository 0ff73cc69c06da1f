//! Packages of a buildroot and builds in it: what is asked of the archives, of apt inside and of
//! the build, put together.

use super::limit::PLANS;
use super::{Buildroot, Session};
use crate::apt::{Apt, Plan};
use crate::archive::access::Archives;
use crate::archive::acquire::Refresh;
use crate::archive::state::ArchiveState;
use crate::build::{self, BuildResult, Rebuild, RebuildOptions, Workshop};
use crate::config::CleanupAfter;
use crate::error::{ErrorKind, Result};
use crate::event::Log;
use crate::operation::Scope;
use crate::state::LogFile;
use rustix::fs::statvfs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

impl Buildroot {
    /// Installs packages, each as apt takes them: `name`, `name=version`, `name/suite`,
    /// `name:architecture`.
    ///
    /// # Errors
    /// Those of [`Apt::install`] and of [`Buildroot::session`].
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

    /// Brings every package to the version that the archive offers; the archive is asked anew,
    /// however old the indexes may be by the config.
    ///
    /// # Errors
    /// As [`Buildroot::install`].
    pub fn update(&self, scope: &Scope) -> Result<Plan> {
        let archives = Archives::open(&self.config, self.zone.places(), scope)?;
        let session = self.own_session(scope)?;
        let state = archives.state_with(&[], Refresh::Always, scope)?;
        self.apt_of(&archives, session, &state, scope, |apt| apt.upgrade(scope))
    }

    /// Runs `apt-get` with `arguments`; packages that it wants are fetched by this process.
    ///
    /// # Errors
    /// As [`Apt::command`].
    pub fn apt(&self, arguments: &[String], scope: &Scope) -> Result<Plan> {
        self.with_apt(scope, |apt| apt.command(arguments, scope))
    }

    /// Installs what a build with these options needs; the result directory is not touched.
    ///
    /// # Errors
    /// As [`Buildroot::install`], and [`crate::ErrorKind::Source`].
    pub fn install_dependencies(&self, options: &RebuildOptions, scope: &Scope) -> Result<Plan> {
        let archives = Archives::open(&self.config, self.zone.places(), scope)?;
        let joined = self.current(scope)?;
        let session = self.own_session(scope)?;
        let alone = joined.is_none() && self.is_unchanged()?;
        let state = self.state_for(options, &archives, scope)?;
        let mut shelves = self.shelves()?;
        if alone {
            shelves.plans = self.plans()?;
        }
        let log = LogFile::events_only(Log::Root);
        let plan = self.with_flat(session, scope, |session| {
            let mut workshop = self.workshop(&archives, session, &state, &shelves);
            if alone && self.takes_layers()? {
                workshop.furnisher = Some(self);
            }
            build::install_dependencies(options, &workshop, &log, scope)
        })?;
        self.keep_limits(scope);
        Ok(plan)
    }

    /// Builds a source package. Unless a session is open already, the root begins without
    /// changes; afterwards they are dropped again, or kept, as options and config say.
    ///
    /// # Errors
    /// Those of [`Rebuild::new`] and [`Rebuild::run`] and of [`Buildroot::session`].
    pub fn rebuild(&self, options: RebuildOptions, scope: &Scope) -> Result<BuildResult> {
        self.check_fork()?;
        let memory = match self.current(scope)? {
            Some(_) => 0,
            None => self.config.build.in_memory.unwrap_or(0),
        };
        let mut overflown = false;
        match self.rebuild_on(memory, options.clone(), &mut overflown, scope) {
            Err(_) if overflown => {
                let megabytes = memory >> 20;
                scope.warn(
                    format!(
                        "the build needs more than the {megabytes} MB of memory that it may use: \
                         it is repeated on the disk"
                    ),
                    Some("raise `build.in_memory`, or leave it out for such packages".into()),
                );
                self.rebuild_on(0, options, &mut overflown, scope)
            }
            other => other,
        }
    }

    /// Builds with that many bytes of memory for the changes of the root, or with 0 on the disk;
    /// `overflown` says whether they were too few.
    fn rebuild_on(
        &self,
        memory: u64,
        options: RebuildOptions,
        overflown: &mut bool,
        scope: &Scope,
    ) -> Result<BuildResult> {
        let joined = self.current(scope)?;
        let cleanup = options.cleanup_after.unwrap_or(self.config.build.cleanup_after);
        let rebuild = Rebuild::new(options)?;
        let prepared = rebuild.prepare(scope, &self.name, |scope| {
            let archives = Archives::open(&self.config, self.zone.places(), scope)?;
            let session = match &joined {
                Some(session) => {
                    self.refuse_if_entered(session)?;
                    session.clone()
                }
                None => self.fresh_session(memory, scope)?,
            };
            let state = self.state_for(rebuild.options(), &archives, scope)?;
            Ok((archives, session, state))
        });
        let (archives, session, state) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err(rebuild.abandon(error)),
        };
        let mut shelves = self.shelves()?;
        if joined.is_none() {
            shelves.plans = self.plans()?;
        }
        let mut workshop = self.workshop(&archives, &session, &state, &shelves);
        if joined.is_none() && self.takes_layers()? {
            workshop.furnisher = Some(self);
        }
        let result = rebuild.run(&workshop, scope);
        let locks = session.locks();
        // That of the dependencies is the one in which something was built.
        let built = self.keep_building(None).unwrap_or(session);
        let wanted = match cleanup {
            CleanupAfter::Always => true,
            CleanupAfter::Success => result.is_ok(),
            CleanupAfter::Never => false,
        };
        *overflown = built.is_in_memory()
            && matches!(&result, Err(error) if error.kind() == ErrorKind::NoSpace)
            && !self.is_disk_full();
        if built.is_in_memory()
            && !wanted
            && !*overflown
            && let Err(error) = built.settle(scope)
        {
            let hint = "build again without `build.in_memory` for a root that stays";
            scope.warn(format!("what the build left is gone: {error}"), Some(hint.into()));
        }
        drop(built);
        if wanted && joined.is_none() {
            // Nobody gets in between: whoever waits for the root finds it clean. The packages are
            // there: what is left of the root is no reason to fail.
            // Somebody who is opening a session waits for these locks.
            let cleaned = match self.open.now() {
                Some(_) => Err(self.is_open("clean")),
                None => locks.iter().try_for_each(|lock| self.start_over(lock, &Scope::quiet())),
            };
            if let Err(error) = cleaned {
                scope.warn(format!("the root keeps what the build left: {error}"), None);
            }
        }
        self.keep_limits(scope);
        result
    }

    /// Whether it is the disk that has no space left, of the store or of the current directory.
    fn is_disk_full(&self) -> bool {
        /// Bytes.
        const NEXT_TO_NOTHING: u64 = 64 << 20;
        let places = self.zone.places();
        [&*places.cache, &*places.state, Path::new(".")].into_iter().any(|path| {
            statvfs(path).is_ok_and(|disk| disk.f_bavail * disk.f_frsize < NEXT_TO_NOTHING)
        })
    }

    /// Keeps the session of a build in memory, or gives the one that was kept.
    pub(super) fn keep_building(&self, session: Option<Arc<Session>>) -> Option<Arc<Session>> {
        let mut kept = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut kept, session)
    }

    fn with_apt<T>(&self, scope: &Scope, work: impl FnMut(&Apt<'_>) -> Result<T>) -> Result<T> {
        let archives = Archives::open(&self.config, self.zone.places(), scope)?;
        let session = self.own_session(scope)?;
        let state = archives.state(scope)?;
        self.apt_of(&archives, session, &state, scope, work)
    }

    fn apt_of<T>(
        &self,
        archives: &Archives<'_>,
        session: Arc<Session>,
        state: &ArchiveState,
        scope: &Scope,
        mut work: impl FnMut(&Apt<'_>) -> Result<T>,
    ) -> Result<T> {
        let log = LogFile::events_only(Log::Root);
        let done = self.with_flat(session, scope, |session| {
            let apt = Apt::new(session, state, archives.debs(), archives.transport(), &log)
                .parallel(self.config.network.parallel)
                .source_date_epoch(self.config.source_date_epoch)
                .caches_in(&self.apt_caches()?);
            work(&apt)
        })?;
        self.keep_limits(scope);
        Ok(done)
    }

    /// What the archives offer for one build, extra packages and repositories included.
    fn state_for(
        &self,
        options: &RebuildOptions,
        archives: &Archives<'_>,
        scope: &Scope,
    ) -> Result<ArchiveState> {
        let cache = &self.zone.places().cache;
        let extra = build::extra_archives(options, &self.config, cache, archives.debs())?;
        archives.state_with(&extra, archives.refresh(), scope)
    }

    fn shelves(&self) -> Result<Shelves> {
        let cache = &self.zone.places().cache;
        let caches = self.apt_caches()?;
        Ok(Shelves { sources: cache.join("sources/v1"), plans: None, caches })
    }

    /// Where it is kept what apt chose in this root without changes. Another root may hold another
    /// apt, which is not asked to speak for this one: that of a snapshot is nobody else's.
    fn plans(&self) -> Result<Option<PathBuf>> {
        let whole = self.base()?.is_some_and(|base| base.has_only_layers());
        Ok(self.apt_caches()?.into_iter().next().filter(|_| whole))
    }

    /// Where it is kept what apt said and made of index files in roots on the layers of this one,
    /// on all of them, and on fewer and fewer.
    fn apt_caches(&self) -> Result<Vec<PathBuf>> {
        let folder = self.zone.places().cache.join(PLANS);
        let base = self.base()?;
        let layers = base.iter().flat_map(|base| base.layers());
        Ok(layers.map(|layer| folder.join(layer)).collect())
    }

    fn workshop<'a>(
        &'a self,
        archives: &'a Archives<'_>,
        session: &'a Session,
        state: &'a ArchiveState,
        shelves: &'a Shelves,
    ) -> Workshop<'a> {
        Workshop {
            session,
            archive: state,
            lists: archives.lists(),
            debs: archives.debs(),
            sources: &shelves.sources,
            plans: shelves.plans.as_deref(),
            caches: &shelves.caches,
            furnisher: None,
            transport: archives.transport(),
            config: &self.config.build,
            suite: self.config.suite.as_str(),
            parallel: self.config.network.parallel,
        }
    }
}

/// Where builds keep what later ones can use.
struct Shelves {
    /// Source packages of the archive.
    sources: PathBuf,
    /// What apt answered before, for a root without changes.
    plans: Option<PathBuf>,
    /// What apt made of index files, for roots on the same layers.
    caches: Vec<PathBuf>,
}
