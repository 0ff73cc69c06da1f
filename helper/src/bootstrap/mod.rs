//! The first tree of a suite, made natively: what is done inside the sandbox.
//!
//! The stages, in their order:
//! - *skeleton*: directories and small files that have to be there before any package;
//! - *unpack*: all packages in parallel while they arrive, conffiles as `.dpkg-new`;
//! - *database*: dpkg's database says that everything is unpacked;
//! - *preinst*: the scripts of packages that have one run as `preinst install`;
//! - *configure*: the root's own dpkg configures everything in one pass;
//! - *tidy*: logs, caches and what else the time or the machine would leave a trace in.
//!
//! The result equals the tree that `mmdebstrap --variant=buildd` makes of the same packages
//! with the same `SOURCE_DATE_EPOCH`, except for what the caller gives ([`Plan::files`]).
//! Nothing here needs network, and no program of the host is run: programs of the root run
//! through [`RunInRoot`].
#![forbid(unsafe_code)]

mod configure;
mod plan;
mod skeleton;
mod tidy;
mod times;
mod usrmerge;

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;

pub(crate) use configure::{CONTROL_DIR, Programs};
pub use configure::{Command, Outcome, RunInRoot};
pub use plan::{Error, Plan, PlannedFile, PlannedPackage, Stage};

use crate::dpkgdb::{Database, Identity, Registry, Summary};
use crate::unpack::{Arrival, Progress, Tree, Unpacked, Unpacker, unpack_all};

/// What a [`Bootstrap`] tells its caller while it works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A stage begins.
    Stage(Stage),
    /// A package was unpacked.
    Unpacked(Progress),
}

/// Fills an empty directory with the packages of a plan.
#[derive(Debug)]
pub struct Bootstrap<'a> {
    root: BorrowedFd<'a>,
    plan: &'a Plan,
    threads: usize,
    cancel: &'a AtomicBool,
}

impl<'a> Bootstrap<'a> {
    /// Into the empty directory `root`, as uid 0 of the user namespace that owns it. Unpacks
    /// with `threads` threads; stops soon after `cancel` is set.
    pub fn new(
        root: BorrowedFd<'a>,
        plan: &'a Plan,
        threads: usize,
        cancel: &'a AtomicBool,
    ) -> Self {
        Self { root, plan, threads, cancel }
    }

    /// Everything up to the database, from the packages that come out of `arrivals`.
    ///
    /// # Errors
    /// A package is damaged, conflicts with another, or is not in the plan; the disk is full.
    pub fn unpack(
        &self,
        arrivals: &Receiver<Arrival>,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Staged<'a>, Error> {
        events(Event::Stage(Stage::Skeleton));
        skeleton::create(self.root, self.plan)?;
        events(Event::Stage(Stage::Unpack));
        let tree = Tree::new(self.root).with_merged_usr(self.plan.makes_merged_usr());
        let unpacker = Unpacker::with_tree(tree, self.cancel);
        let database = Database::create(self.root)?;
        let times = times::Times::default();
        let first = self.plan.has("base-files").then_some("base-files");
        let each = |unpacked: Unpacked| {
            times.note(&unpacked);
            let name = unpacked.control.identity.name.clone();
            database.add(unpacked).map_err(|error| plan::database_problem(&name, &error))
        };
        let mut report = |progress| events(Event::Unpacked(progress));
        unpack_all(&unpacker, arrivals, self.threads, first, self.cancel, &each, &mut report)?;
        events(Event::Stage(Stage::Database));
        let mut summaries = database.summaries();
        self.plan.check_complete(&summaries)?;
        let relations = plan::Relations::new(&summaries);
        let early = relations.early();
        let order = relations.order(&early);
        skeleton::write_extended_states(self.root, self.plan)?;
        for path in times.alias_links(&early) {
            usrmerge::part_link(unpacker.tree(), &path)?;
        }
        let place = |identity: &Identity| order.iter().position(|one| one == identity);
        times.apply(unpacker.tree(), |identity| {
            early.contains(&identity.name).then(|| place(identity)).flatten()
        })?;
        let registry = database.finish(unpacker.tree(), &unpacker.lost_paths(), &order)?;
        summaries.sort_by_key(|summary| place(&summary.identity));
        let epoch = self.plan.source_date_epoch;
        Ok(Staged { root: self.root, plan: self.plan, epoch, summaries, early, registry })
    }

    /// All stages. `runner` starts programs in the root.
    ///
    /// # Errors
    /// Those of [`Bootstrap::unpack`] and [`Staged::configure`].
    pub fn run(
        &self,
        arrivals: &Receiver<Arrival>,
        runner: &mut dyn RunInRoot,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<(), Error> {
        let mut staged = self.unpack(arrivals, events)?;
        staged.configure(runner, events)?;
        self.tidy(events)
    }

    /// The last stage.
    ///
    /// # Errors
    /// A file cannot be changed or removed.
    pub fn tidy(&self, events: &mut (dyn FnMut(Event) + Send)) -> Result<(), Error> {
        events(Event::Stage(Stage::Tidy));
        tidy::tidy(self.root)
    }
}

/// A tree in which everything is unpacked and nothing is configured.
#[derive(Debug)]
pub struct Staged<'a> {
    root: BorrowedFd<'a>,
    plan: &'a Plan,
    epoch: u64,
    /// In the order in which dpkg comes to know the packages.
    summaries: Vec<Summary>,
    /// Names of the essential packages and of what they need.
    early: BTreeSet<String>,
    registry: Registry<'a>,
}

impl Staged<'_> {
    /// Lets maintainer scripts see another `SOURCE_DATE_EPOCH` than the plan's: one that was not
    /// known before all packages had come.
    #[must_use]
    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }
}

#[cfg(test)]
mod oracle_tests;
