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
mod taken;
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
pub(crate) use taken::Taken;

use rustix::fs::{Mode, OFlags};

use crate::dpkgdb::{self, Database, Identity, Registry, Summary};
use crate::unpack::{
    self, Arrival, Known, Progress, Record, Tree, Unpacked, Unpacker, Way, take_all, unpack_all,
    unpack_apart,
};

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
        let (unpacker, database, times) = self.begin(events)?;
        let records = Taken::default();
        let each = |mut unpacked: Unpacked, built: u64| {
            records.keep(&mut unpacked, built)?;
            times.note(&unpacked);
            let name = unpacked.control.identity.name.clone();
            database.add(unpacked).map_err(|error| plan::database_problem(&name, &error))
        };
        let mut report = |progress| events(Event::Unpacked(progress));
        let first = self.first();
        unpack_all(&unpacker, arrivals, self.threads, first, self.cancel, &each, &mut report)?;
        self.stage(&unpacker, database, &times, records, events)
    }

    /// As [`Bootstrap::unpack`], of packages that were unpacked earlier.
    ///
    /// # Errors
    /// As [`Bootstrap::unpack`]; [`Error::Changed`] names packages that have to be unpacked anew.
    /// The tree is of no use then.
    pub(crate) fn compose(
        &self,
        packages: Vec<Known<'_>>,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Staged<'a>, Error> {
        let (unpacker, database, times) = self.begin(events)?;
        let records = Taken::default();
        let each = |unpacked: Unpacked, record: Record, bytes: Vec<u8>| {
            records.add(unpacked.control.identity.clone(), bytes, record.built);
            times.note(&unpacked);
            let name = unpacked.control.identity.name.clone();
            database.add(unpacked).map_err(|error| plan::database_problem(&name, &error))
        };
        let mut report = |progress| events(Event::Unpacked(progress));
        let first = self.first();
        let changed =
            take_all(&unpacker, (packages, Way::Link), self.threads, first, &each, &mut report)?;
        if !changed.is_empty() {
            return Err(Error::Changed(changed));
        }
        self.stage(&unpacker, database, &times, records, events)
    }

    /// Unpacks the packages that come out of `arrivals`, each into the directory of `root` that
    /// `name` gives, for [`Bootstrap::compose`].
    ///
    /// # Errors
    /// As [`Bootstrap::unpack`].
    pub(crate) fn unpack_apart(
        &self,
        arrivals: &Receiver<Arrival>,
        name: &(dyn Fn(&Identity) -> String + Sync),
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Taken, Error> {
        events(Event::Stage(Stage::Unpack));
        let records = Taken::default();
        let each = |mut unpacked: Unpacked, built: u64| records.keep(&mut unpacked, built);
        let place = |identity: &Identity| {
            let name = name(identity);
            let made = rustix::fs::mkdirat(self.root, name.as_str(), 0o755.into()).and_then(|()| {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(self.root, name.as_str(), flags, Mode::empty())
            });
            made.map_err(|error| {
                let problem = unpack::Problem::io("make a directory for it", error);
                unpack::Error::new(format!("package {}", identity.name), problem)
            })
        };
        let mut report = |_| {};
        unpack_apart(&place, arrivals, self.threads, self.cancel, &each, &mut report)?;
        Ok(records)
    }

    /// Everything before the first package.
    fn begin(
        &self,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<(Unpacker<'a>, Database<'a>, times::Times), Error> {
        events(Event::Stage(Stage::Skeleton));
        skeleton::create(self.root, self.plan)?;
        events(Event::Stage(Stage::Unpack));
        let tree = Tree::new(self.root).with_merged_usr(self.plan.makes_merged_usr());
        let unpacker = Unpacker::with_tree(tree, self.cancel);
        Ok((unpacker, Database::create(self.root)?, times::Times::default()))
    }

    /// The package that may bring the links of a merged /usr.
    fn first(&self) -> Option<&'static str> {
        self.plan.has("base-files").then_some("base-files")
    }

    /// Everything between the last package and the first script.
    fn stage(
        &self,
        unpacker: &Unpacker<'a>,
        database: Database<'a>,
        times: &times::Times,
        records: Taken,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Staged<'a>, Error> {
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
        let lost = unpacker.lost_paths();
        let registry = database.finish(unpacker.tree(), &lost, &order)?;
        summaries.sort_by_key(|summary| place(&summary.identity));
        let epoch = self.plan.source_date_epoch;
        // What another package has replaced is not there to be taken again.
        let records = records.without(&lost.into_iter().map(|(identity, _)| identity).collect());
        let plan = self.plan;
        Ok(Staged { root: self.root, plan, epoch, summaries, early, registry, records })
    }

    /// What [`Staged::encode`] wrote of the same plan, in a tree in which everything is as it was
    /// then.
    ///
    /// # Errors
    /// It is damaged.
    pub fn resume(&self, encoded: &[u8]) -> Result<Staged<'a>, Error> {
        let damaged = |_| Error::Plan("what was unpacked is recorded wrongly".into());
        let (early, packages): (BTreeSet<String>, Vec<dpkgdb::Record>) =
            postcard::from_bytes(encoded).map_err(damaged)?;
        let summaries = packages.iter().map(|package| package.summary.clone()).collect();
        Ok(Staged {
            root: self.root,
            plan: self.plan,
            epoch: self.plan.source_date_epoch,
            summaries,
            early,
            registry: Registry::resume(self.root, packages),
            records: Taken::default(),
        })
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
    records: Taken,
}

impl Staged<'_> {
    /// For [`Bootstrap::resume`].
    ///
    /// # Errors
    /// Something cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let all = (&self.early, self.registry.packages());
        postcard::to_stdvec(&all).map_err(|error| Error::Plan(error.to_string()))
    }

    /// The records of what was unpacked.
    pub(crate) fn records(&self) -> &Taken {
        &self.records
    }

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
