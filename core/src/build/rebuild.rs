//! One rebuild, from its options to its results.

use super::prepare::{self, Build, build_version};
use super::record::BuildResult;
use super::results::Results;
use super::{Furnisher, RebuildOptions, Source, collect, failure, furnisher, source, user};
use crate::apt::{Apt, BuildDependencies, DependencyOptions, Installed, Plan, Task};
use crate::archive::state::{ArchiveState, Lists};
use crate::archive::transport::Transport;
use crate::buildroot::Session;
use crate::config::{self, CleanupAfter};
use crate::error::{Error, IoContext, Result};
use crate::event::Log;
use crate::operation::Scope;
use crate::state::{LogFile, Stages};
use crate::store::debs::Debs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// What a build works with.
#[derive(Clone, Copy)]
pub struct Workshop<'a> {
    /// The root, open.
    pub session: &'a Session,
    /// What the archives offer, extra repositories and packages included.
    pub archive: &'a ArchiveState,
    /// The store of index files that `archive` lies in.
    pub lists: &'a Lists,
    /// The store of packages.
    pub debs: &'a Debs,
    /// Where source packages of the archive are kept for later builds.
    pub sources: &'a Path,
    /// Where it is remembered what apt chose. Only for a root that nobody has changed: apt itself
    /// may be changed in others.
    pub plans: Option<&'a Path>,
    /// Where it is kept what apt made of index files before, in roots on layers of this one,
    /// topmost first.
    pub caches: &'a [PathBuf],
    /// Who can open the root anew with packages in it; only for a root that nobody has changed and
    /// that this build alone has open.
    pub furnisher: Option<&'a dyn Furnisher>,
    /// The host's network.
    pub transport: &'a dyn Transport,
    /// How packages are built.
    pub config: &'a config::Build,
    /// The config's suite, which binNMU entries name.
    pub suite: &'a str,
    /// Transfers at once.
    pub parallel: usize,
}

/// A rebuild that has begun.
pub struct Rebuild {
    options: RebuildOptions,
    results: Results,
    build_log: LogFile,
    root_log: Arc<LogFile>,
    stages: Stages,
    record: BuildResult,
    started: Instant,
}

impl Rebuild {
    /// Checks the options and the result directory, and opens the logs.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Usage`] for options that make no sense,
    /// [`crate::ErrorKind::ResultDir`] if results cannot be written there.
    pub fn new(options: RebuildOptions) -> Result<Self> {
        options.check()?;
        let options = options.settled();
        let results = Results::open(&options.resultdir, &options.source.label())?;
        let build_log = LogFile::create(&results.aside("build.log"), Log::Build)?;
        let root_log = Arc::new(LogFile::create(&results.aside("root.log"), Log::Root)?);
        let stages = Stages::create(&results.aside("state.log"))?;
        let record = BuildResult::new(SystemTime::now());
        let started = Instant::now();
        Ok(Rebuild { options, results, build_log, root_log, stages, record, started })
    }

    /// Runs what comes before [`Rebuild::run`] as a stage of this build; what happens to the root
    /// goes to its log.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn prepare<T>(
        &self,
        scope: &Scope,
        name: &str,
        work: impl FnOnce(&Scope) -> Result<T>,
    ) -> Result<T> {
        let scope = self.root_log.listen(scope);
        self.stages.stage(&scope, "prepare", name, || work(&scope))
    }

    /// The options.
    pub fn options(&self) -> &RebuildOptions {
        &self.options
    }

    /// Ends a rebuild that failed before [`Rebuild::run`]; gives the error back, with the place of
    /// the logs if there are any.
    pub fn abandon(mut self, error: Error) -> Error {
        self.failed(error)
    }

    /// Builds.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Source`] for a source that cannot be used,
    /// [`crate::ErrorKind::Dependency`], [`crate::ErrorKind::Build`] if the package does not
    /// build, [`crate::ErrorKind::Timeout`], [`crate::ErrorKind::Package`], those of fetching. The
    /// [`BuildResult`] is attached to each ([`Error::attached`]).
    pub fn run(mut self, workshop: &Workshop<'_>, scope: &Scope) -> Result<BuildResult> {
        let outcome = self.build(workshop, scope);
        self.clean(workshop.session, workshop.config, outcome.is_ok());
        match outcome {
            Ok(files) => {
                self.record.finish(self.started, &self.stages);
                self.results.publish(&mut self.record, &files)?;
                Ok(self.record)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&mut self, error: Error) -> Error {
        self.record.fail(&error, &self.stages);
        self.record.finish(self.started, &self.stages);
        // Without a place the logs are gone, but the failure of the build itself is what matters.
        let published = self.results.publish(&mut self.record, &[]);
        let error = error.with_attached(self.record.clone());
        let Ok(folder) = published else { return error };
        let log = match self.stages.failed().as_deref() {
            Some("pack" | "unpack" | "build" | "collect") => "build.log",
            _ => "root.log",
        };
        let place = format!("the whole log is {}", folder.join(log).display());
        match error.hint().filter(|hint| !hint.starts_with("the whole log is")) {
            Some(hint) => {
                let hint = format!("{hint}; {place}");
                error.with_hint(hint)
            }
            None => error.with_hint(place),
        }
    }

    /// Removes the build directory if that is wanted. What was installed is the affair of the
    /// buildroot.
    fn clean(&self, session: &Session, config: &config::Build, success: bool) {
        let wanted = match self.options.cleanup_after.unwrap_or(config.cleanup_after) {
            CleanupAfter::Always => true,
            CleanupAfter::Success => success,
            CleanupAfter::Never => false,
        };
        if wanted {
            // What is left the next build removes.
            let _ = session.remove(&prepare::folder(config));
        }
    }

    fn build(&mut self, workshop: &Workshop<'_>, scope: &Scope) -> Result<Vec<PathBuf>> {
        let what = self.options.source.to_string();
        let scratch = self.results.scratch()?;
        let mut source = self.stages.stage(scope, "source", what, || {
            source::get(&self.options.source, workshop, scratch, scope)
        })?;
        self.record.describe(&source, workshop, &self.options);
        self.results.name(&self.record.name, &self.record.version);
        source.check_architecture(&workshop.archive.architecture, &self.options.build_type)?;
        let options = self.options.clone();
        let version = build_version(&options, &source)?;
        let title = format!("{} {version}", source.name);
        let source_name = source.name.clone();

        let dependencies = self.dependencies(&source, workshop)?;
        let furnished = self.install(dependencies, workshop, scope)?;
        // What comes from the source has had its hands in the root from now on.
        let session = furnished.as_deref().unwrap_or(workshop.session);
        let workshop = &Workshop { session, plans: None, furnisher: None, ..*workshop };
        let build = Build::new(workshop, &options, &source)?;
        let user = self.stages.stage(scope, "lay-out", &title, || {
            let user = user::provide(workshop, &self.root_log, scope)?;
            build.lay_out(&source, &user, &self.build_log, scope)?;
            Ok(user)
        })?;
        // Where fakeroot is not always needed, dpkg can tell from the unpacked source.
        let fakeroot = |rebuild: &mut Self| -> Result<()> {
            if asks_for_fakeroot(&Installed::read(workshop.session)?) || build.is_rootless(scope)? {
                return Ok(());
            }
            let fakeroot = BuildDependencies::just(&source_name, "fakeroot")?;
            rebuild.install(fakeroot, workshop, scope).map(|_| ())
        };
        if source.directory.is_some() {
            fakeroot(self)?;
            self.stages
                .stage(scope, "pack", &title, || build.pack(&mut source, &self.build_log, scope))?;
            self.record.describe(&source, workshop, &self.options);
            source.check_architecture(&workshop.archive.architecture, &self.options.build_type)?;
        }
        self.stages.stage(scope, "unpack", &title, || {
            build.unpack(&source, &self.build_log, scope)?;
            build.check_changelog(&source, &user)?;
            build.set_modes(&self.build_log, scope)
        })?;
        fakeroot(self)?;
        let installed = Installed::read(workshop.session)?;
        self.record.installed(&installed);
        let listing = self.results.aside("installed_pkgs.log");
        std::fs::write(&listing, installed.listing(&workshop.archive.architecture))
            .doing(|| format!("cannot write {}", listing.display()))?;

        self.stages.stage(scope, "build", &title, || {
            let exit = build.run(&installed, &self.build_log, scope)?;
            self.record.used(&exit);
            self.record.disk_kib = build.disk_kib(scope);
            failure::of_build(&exit, &title, &self.build_log)
        })?;
        self.stages.stage(scope, "collect", &title, || {
            collect::collect(&build, &source, &self.results, &mut self.record, scope)
        })
    }

    fn install(
        &mut self,
        dependencies: BuildDependencies,
        workshop: &Workshop<'_>,
        scope: &Scope,
    ) -> Result<Option<Arc<Session>>> {
        let Workshop { session, archive, debs, transport, .. } = *workshop;
        let apt = Apt::new(session, archive, debs, transport, &self.root_log)
            .parallel(workshop.parallel)
            .remember_in(workshop.plans)
            .caches_in(workshop.caches);
        let task = Task::Dependencies(dependencies);
        let _turn = session.package_turn(scope)?;
        let plan =
            self.stages.stage(scope, "resolve", task.words(), || apt.resolve(&task, scope))?;
        let furnished = furnisher::furnish(&plan, workshop, &self.root_log, &self.stages, scope)?;
        let Plan { install, remove, .. } = plan;
        self.record.dependencies.extend(install);
        self.record.removed.extend(remove);
        Ok(furnished)
    }

    fn dependencies(&self, source: &Source, workshop: &Workshop<'_>) -> Result<BuildDependencies> {
        let options = DependencyOptions {
            architecture: workshop.archive.architecture.clone(),
            profiles: self.options.profiles(workshop.config),
            any: self.options.build_type.any,
            all: self.options.build_type.all,
            add: self.options.add_depends.clone(),
            fakeroot: asks_for_fakeroot(&Installed::read(workshop.session)?),
        };
        BuildDependencies::of(&source.control, &options)
    }
}

/// Whether every build needs `fakeroot`. From dpkg 1.22.13 on sources are built without root's
/// rights unless they say otherwise, which `dpkg-buildtree` can tell.
pub(super) fn asks_for_fakeroot(installed: &Installed) -> bool {
    installed.is_before("dpkg", "1.22.13")
}
