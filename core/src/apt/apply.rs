//! Fetching and installing what was planned.

use super::native::{End, Taking, checked};
use super::plan::is_simulation;
use super::progress::Progress;
use super::{Apt, Installed, Plan, Planned, Task, failure, setup};
use crate::archive::fetch::fetch;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use crate::store::debs::{LinkSet, archive_name};
use std::sync::{Mutex, PoisonError};

const NO_MODES: &[u8] = b" - SetupAPTPartialDirectory (30: Read-only file system)";

impl Apt<'_> {
    /// Gets the files of `plan` that the store does not have.
    ///
    /// # Errors
    /// Those of [`fetch`].
    pub fn fetch(&self, plan: &Plan, scope: &Scope) -> Result<()> {
        fetch(&plan.install, self.debs, self.transport, self.parallel, scope, |_, _| Ok(()))
    }

    /// Carries out `plan`, whose files the store has.
    ///
    /// # Errors
    /// [`ErrorKind::Package`] with dpkg's last words if a package cannot be installed;
    /// [`ErrorKind::Store`] if a file of the store is damaged.
    pub fn apply(&self, plan: &Plan, scope: &Scope) -> Result<()> {
        self.apply_taking(plan, None, scope).map(drop)
    }

    /// As [`Apt::apply`], where the store need not have the files of what is known. The places in
    /// the plan of what is not known after all; what was made is of no use then.
    ///
    /// # Errors
    /// Those of [`Apt::apply`], and of [`Taking::fetch`] if apt has to do it.
    pub(crate) fn apply_taking(
        &self,
        plan: &Plan,
        taking: Option<&Taking<'_>>,
        scope: &Scope,
    ) -> Result<Option<Vec<u32>>> {
        let progress = Mutex::new(Progress::new(plan, scope));
        // Packages that were asked for, if others of the plan are in the root by now: apt would take
        // what was asked for as done then.
        let mut begun = None;
        let mut wanted = plan.install.clone();
        if let Some(order) = &plan.order {
            self.log.line(scope, "Unpacking without apt and dpkg, configuring with dpkg")?;
            match self.apply_natively((plan, order), taking, &progress, scope)? {
                End::Done => return self.confirm(plan).map(|()| None),
                End::Changed(places) => return Ok(Some(places)),
                End::Declined(why) => {
                    self.log.line(scope, format!("Left to apt and dpkg: {why}"))?;
                }
            }
            if let Some(taking) = taking {
                // What waves have brought by now is done.
                let installed = Installed::read(self.session)?;
                wanted.retain(|one| !installed.has(&one.name, &one.version, &one.architecture));
                (taking.fetch)(&wanted)?;
            }
            let names = plan.install.iter().map(|one| one.name.as_str()).collect();
            begun = Installed::knows_any(self.session, &names)?.then_some(&order.manual);
        }
        let mut progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
        let set = self.link(&wanted)?;
        let arguments = match &plan.task {
            Task::Dependencies(_) => self.exactly(plan),
            _ if begun.is_some() => self.exactly(plan),
            other => self.arguments(other),
        };
        let ready = setup::prepare(self, scope)?;
        let archives = ready.archives(set.place())?;
        // With this a simulation would complain about files that nobody has fetched for it.
        let offline = (!is_simulation(&arguments)).then(|| "--no-download".to_owned());
        let arguments_offline: Vec<_> = offline.into_iter().chain(arguments.clone()).collect();
        self.log.line(scope, format!("$ apt-get {}", arguments.join(" ")))?;
        let exit = ready.apt_get(&arguments_offline, scope, |line| {
            // apt would like to change modes in directories of the store.
            if line.windows(NO_MODES.len()).any(|part| part == NO_MODES) {
                return Ok(());
            }
            self.log.line(scope, line)?;
            progress.line(&String::from_utf8_lossy(line));
            Ok(())
        })?;
        drop(archives);
        if exit.status != Some(0) {
            return Err(failure::of_applying(&plan.task.words(), self.log, &exit));
        }
        if let Some(manual) = begun.filter(|manual| !manual.is_empty()) {
            ready.mark_manual(manual, scope)?;
        }
        drop(ready);
        match &plan.task {
            Task::Command(_) => Ok(None),
            _ => self.confirm(plan).map(|()| None),
        }
    }

    /// Arguments that install and remove exactly what the plan says. What is new is marked as
    /// automatically installed: the package that asked for it exists only while apt resolves.
    pub(super) fn exactly(&self, plan: &Plan) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["--mark-auto", "--allow-downgrades", "--purge", "install", "--"]
                .map(str::to_owned)
                .into();
        arguments.extend(plan.install.iter().map(|package| {
            let own = ["all", self.architecture()].contains(&package.architecture.as_str());
            let architecture = match own {
                true => String::new(),
                false => format!(":{}", package.architecture),
            };
            format!("{}{architecture}={}", package.name, package.version)
        }));
        arguments.extend(plan.remove.iter().map(|package| format!("{}-", package.name)));
        arguments
    }

    /// Hashes the files once more and links them under apt's names.
    fn link(&self, packages: &[Planned]) -> Result<LinkSet> {
        let mut files = Vec::new();
        for package in packages {
            checked(self.debs, package)?;
            let name = archive_name(&package.name, &package.version, &package.architecture);
            files.push((name, package.sha256));
        }
        self.debs.link_set(&files)
    }

    /// Checks that dpkg's database says what the plan said.
    pub(super) fn confirm(&self, plan: &Plan) -> Result<()> {
        let installed = Installed::read(self.session)?;
        let missing = plan
            .install
            .iter()
            .find(|package| !installed.has(&package.name, &package.version, &package.architecture));
        match missing {
            None => Ok(()),
            Some(package) => Err(Error::new(
                ErrorKind::Package,
                format!(
                    "installing succeeded, but {} {} is not installed",
                    package.name, package.version
                ),
            )
            .with_hint(
                "the archive's file may hold another package than its index says: use another \
                 mirror; otherwise this is a bug of debmock",
            )),
        }
    }
}
