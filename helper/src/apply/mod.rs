//! New packages into a root that has packages: unpacked natively, configured by the root's dpkg.
//!
//! What this room promises:
//! - the result is what apt and dpkg make of the same packages, but for times and logs;
//! - whatever is not plainly the same is declined ([`Outcome::Declined`]), before anything of
//!   a package has run, and with the tree as it was: files are only ever made where nothing is,
//!   and what was made is taken back;
//! - what a hostile package can do is what it can do in a bootstrap: its limits and its paths are
//!   those of the room `unpack`.
//!
//! Packages come to know dpkg in the order in which apt would have them unpacked, and what apt
//! would have configured in between is configured then. dpkg itself then finds out which triggers
//! wait, and runs each once.
#![forbid(unsafe_code)]

mod journal;
mod script;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

pub use journal::{is_left, recover};
use script::Coming;

use crate::bootstrap::{Error, Programs, RunInRoot, Taken};
use crate::dpkgdb::{Addition, Database, ExtendedState, Identity, Objection, Present, mark};
use crate::unpack::{self, Arrival, Problem, Progress, Tree, Unpacked, Unpacker, unpack_all};

/// What apt locks while it works.
const FRONTEND: &str = "var/lib/dpkg/lock-frontend";

/// One thing that apt has dpkg do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Unpack these, in this order.
    Unpack(Vec<Identity>),
    /// Configure these, named as on dpkg's command line, before anything else is unpacked.
    Configure(Vec<String>),
}

/// What is to be done.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In their order. At the end everything is configured.
    pub steps: Vec<Step>,
    /// Packages that apt may remove when nothing needs them.
    pub automatic: Vec<ExtendedState>,
    /// Environment of dpkg and of maintainer scripts.
    pub environment: Vec<(String, String)>,
    /// Options of dpkg.
    pub options: Vec<String>,
    /// Threads that unpack.
    pub threads: usize,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It went well.
    Done(T),
    /// dpkg has to do all of it, for this reason. Nothing was changed.
    Declined(String),
}

/// Unpacks the packages of `plan` that come out of `arrivals` into `root`.
///
/// # Errors
/// A file cannot be made. Nothing of the packages is left in the tree then, unless that fails,
/// too: then the next [`recover`] sees to it.
pub fn unpack<'a>(
    root: BorrowedFd<'a>,
    plan: &'a Plan,
    arrivals: &Receiver<Arrival>,
    cancel: &AtomicBool,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Outcome<Unconfigured<'a>>, Error> {
    begin(root, plan, |journal, present| {
        let tree = Tree::new(root).with_journal(journal);
        let unpacker = Unpacker::with_tree(tree, cancel);
        let admit = |one: &Unpacked| present.admit(unpacker.tree(), one);
        let each = |_: &mut Unpacked, _| Ok(());
        let unpacked = all_of(&unpacker, plan.threads, arrivals, cancel, &admit, &each, progress)?;
        Ok((unpacked, unpacker.lost_paths()))
    })
}

/// Unpacks the packages that come out of `arrivals` into `root`, an overlay whose upper is to be a
/// tree of its own that others take files from: no script may run in it. [`install`] does the
/// rest where that tree is a lower one. Gives their records, too.
///
/// # Errors
/// As [`unpack`]; the upper is of no use then, nor if it was declined.
pub(crate) fn lay(
    root: BorrowedFd<'_>,
    threads: usize,
    arrivals: &Receiver<Arrival>,
    cancel: &AtomicBool,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Outcome<(Vec<Unpacked>, Taken)>, Error> {
    let unpacker = Unpacker::with_tree(Tree::new(root).only_new(), cancel);
    let records = Taken::default();
    let each = |one: &mut Unpacked, built| {
        records.keep(one, built)?;
        one.entries = Vec::new();
        Ok(())
    };
    let unpacked = all_of(&unpacker, threads, arrivals, cancel, &|_| Ok(()), &each, progress)
        .and_then(|unpacked| keep_all(unpacker.lost_paths()).map(|()| unpacked));
    match unpacked {
        Ok(unpacked) => Ok(Outcome::Done((unpacked, records))),
        Err(Objection::Stands(why)) => Ok(Outcome::Declined(why)),
        Err(Objection::Failed(error)) => Err(error),
    }
}

/// Brings packages into dpkg's database that [`lay`] has unpacked, or that were taken from elsewhere,
/// in a tree that `root` shows.
///
/// # Errors
/// As [`unpack`].
pub(crate) fn install<'a>(
    root: BorrowedFd<'a>,
    plan: &'a Plan,
    unpacked: Vec<Unpacked>,
) -> Result<Outcome<Unconfigured<'a>>, Error> {
    begin(root, plan, |_, present| {
        let tree = Tree::new(root);
        unpacked.iter().try_for_each(|one| present.admit(&tree, one))?;
        Ok((unpacked, Vec::new()))
    })
}

/// What was unpacked, and what it lost to packages that replace it.
type Laid = (Vec<Unpacked>, Vec<(Identity, Vec<u8>)>);

/// Everything between the lock and the first script; `unpack` gets the packages into the tree.
fn begin<'a>(
    root: BorrowedFd<'a>,
    plan: &'a Plan,
    unpack: impl FnOnce(&File, &Present) -> Result<Laid, Objection>,
) -> Result<Outcome<Unconfigured<'a>>, Error> {
    let Some(lock) = lock_frontend(root)? else {
        return Ok(Outcome::Declined("another process works with dpkg in this root".into()));
    };
    let journal = journal::begin(root)?;
    let work = || {
        let present = Present::read(root)?;
        let (unpacked, lost) = unpack(&journal, &present)?;
        check_complete(plan, &unpacked)?;
        present.reconcile(&unpacked)?;
        agree(&unpacked)?;
        check_scripts(plan, &present, &unpacked)?;
        keep_all(lost)?;
        let info = unpacked.iter().flat_map(Database::files_of);
        journal::announce(&journal, info)?;
        let database = Database::create(root)?;
        for one in unpacked {
            database.add(one)?;
        }
        let addition = database.join(&Tree::new(root), &order(plan), present.interests())?;
        let dpkg = present.version("dpkg").unwrap_or("1.21.0");
        let mut environment = plan.environment.clone();
        environment.push(("DPKG_FRONTEND_LOCKED".to_owned(), "true".to_owned()));
        let programs = Programs::new(root, environment, dpkg);
        Ok((addition, programs))
    };
    match work() {
        Ok((addition, programs)) => {
            Ok(Outcome::Done(Unconfigured { root, plan, addition, programs, _lock: lock }))
        }
        Err(Objection::Stands(why)) => {
            recover(root)?;
            Ok(Outcome::Declined(why))
        }
        Err(Objection::Failed(error)) => {
            // The first failure counts; what stays is taken back when the root is opened next.
            let _ = recover(root);
            Err(error)
        }
    }
}

/// Locks out whoever works with dpkg, as apt does for the whole of its work (`dpkg(1)`,
/// `DPKG_FRONTEND_LOCKED`). Nothing if somebody does.
fn lock_frontend(root: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Error> {
    let fail = |error: Errno| Error::tree("lock", FRONTEND, error);
    let (parent, name) = unpack::path::split(FRONTEND.as_bytes());
    let parent = Tree::new(root).open_dir(parent).map_err(fail)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o640)).map_err(fail)?;
    match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(None),
        Err(error) => Err(fail(error)),
    }
}

/// All packages in the tree, none of them in dpkg's database. `admit` judges each one, `each` takes
/// what it wants of it and is told when it was built.
fn all_of(
    unpacker: &Unpacker<'_>,
    threads: usize,
    arrivals: &Receiver<Arrival>,
    cancel: &AtomicBool,
    admit: &(dyn Fn(&Unpacked) -> Result<(), Objection> + Sync),
    each: &(dyn Fn(&mut Unpacked, u64) -> Result<(), unpack::Error> + Sync),
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<Unpacked>, Objection> {
    let unpacked = Mutex::new(Vec::new());
    let objection = Mutex::new(None);
    let each = |mut one: Unpacked, built| {
        if let Err(why) = admit(&one) {
            objection.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
            // Whoever sees it looks for the objection first.
            return Err(unpack::Error::new("the package set", Problem::Cancelled));
        }
        each(&mut one, built)?;
        unpacked.lock().unwrap_or_else(PoisonError::into_inner).push(one);
        Ok(())
    };
    let done = unpack_all(unpacker, arrivals, threads, None, cancel, &each, progress);
    let unpacked = unpacked.into_inner().unwrap_or_else(PoisonError::into_inner);
    let objection = objection.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (objection, done) {
        (Some(why), _) => Err(why),
        (None, Err(error)) if is_declined(error.problem()) => {
            Err(Objection::Stands(error.to_string()))
        }
        (None, Err(error)) => Err(Objection::Failed(error.into())),
        (None, Ok(())) => Ok(unpacked),
    }
}

/// Scripts that run before something of these packages would be unpacked find it there already:
/// they may not care. That is told by what they name, so that a path that a script puts together
/// escapes.
fn check_scripts(plan: &Plan, present: &Present, unpacked: &[Unpacked]) -> Result<(), Objection> {
    let places: HashMap<Identity, usize> =
        order(plan).into_iter().enumerate().map(|(place, identity)| (identity, place)).collect();
    let mut all: Vec<&Unpacked> = unpacked.iter().collect();
    all.sort_by_key(|one| places.get(&one.control.identity));
    let mut coming = Coming::default();
    for (place, one) in all.iter().enumerate() {
        if !present.knows_owners(one) {
            coming.strangers.push(place);
        }
        let kept = one.directories.iter().filter(|directory| !directory.made);
        let kept: HashSet<&[u8]> = kept.map(|directory| directory.path.as_slice()).collect();
        for path in &one.files {
            let bare = path.get(1..).unwrap_or_default();
            if bare != b"." && !kept.contains(bare) {
                coming.made.insert(path, place);
            }
        }
    }
    let comes = |from: usize| move |place: &usize| *place >= from;
    let mut known = 0;
    for step in &plan.steps {
        match step {
            Step::Unpack(packages) => {
                for (place, one) in all.iter().enumerate().skip(known).take(packages.len()) {
                    script::check(&one.control, "preinst", &coming, comes(place))?;
                }
                known += packages.len();
            }
            Step::Configure(_) if known == all.len() => {}
            Step::Configure(names) => {
                let named = |one: &&&Unpacked| {
                    names.iter().any(|name| {
                        name.split(':').next() == Some(one.control.identity.name.as_str())
                    })
                };
                for one in all.iter().filter(named) {
                    script::check(&one.control, "postinst", &coming, comes(known))?;
                    if one.files.iter().any(|path| path.starts_with(b"/etc/dpkg/")) {
                        let name = &one.control.identity.name;
                        let why = format!("{name} configures dpkg before the others come");
                        return Err(Objection::Stands(why));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Whether dpkg may make something else of it, or say it better.
pub(crate) fn is_declined(problem: &Problem) -> bool {
    !matches!(problem, Problem::Io { .. } | Problem::Cancelled)
}

/// The packages in the order in which apt has them unpacked.
fn order(plan: &Plan) -> Vec<Identity> {
    let unpacked = plan.steps.iter().filter_map(|step| match step {
        Step::Unpack(packages) => Some(packages),
        Step::Configure(_) => None,
    });
    unpacked.flatten().cloned().collect()
}

fn check_complete(plan: &Plan, unpacked: &[Unpacked]) -> Result<(), Error> {
    let planned: BTreeSet<Identity> = order(plan).into_iter().collect();
    let found: BTreeSet<_> = unpacked.iter().map(|one| one.control.identity.clone()).collect();
    match planned.symmetric_difference(&found).next() {
        None => Ok(()),
        Some(one) => Err(Error::Plan(format!("the package {one} was not to come, or did not"))),
    }
}

/// Packages may not want the same new directory for others: who makes it then depends on who is
/// first.
fn agree(unpacked: &[Unpacked]) -> Result<(), Objection> {
    let all = || unpacked.iter().flat_map(|one| one.directories.iter().map(move |d| (one, d)));
    let made: HashMap<&[u8], _> = all()
        .filter(|(_, directory)| directory.made)
        .map(|(by, directory)| (directory.path.as_slice(), (by, directory.access)))
        .collect();
    for (by, directory) in all() {
        if let Some((maker, access)) = made.get(directory.path.as_slice())
            && *access != directory.access
        {
            let (one, two) = (&maker.control.identity.name, &by.control.identity.name);
            let path = unpack::escaped(&directory.path);
            return Err(Objection::Stands(format!("{one} and {two} differ about /{path}")));
        }
    }
    Ok(())
}

/// Of two packages that bring the same path, the order decides, and one that loses all its paths
/// disappears.
fn keep_all(lost: Vec<(Identity, Vec<u8>)>) -> Result<(), Objection> {
    let Some((package, path)) = lost.into_iter().next() else { return Ok(()) };
    let path = unpack::escaped(&path);
    Err(Objection::Stands(format!("/{path} of {} is replaced by another package", package.name)))
}

/// Packages whose files are in the tree, and of which dpkg knows nothing yet. Dropping it takes
/// back what dpkg does not know by then.
pub struct Unconfigured<'a> {
    root: BorrowedFd<'a>,
    plan: &'a Plan,
    addition: Addition<'a>,
    programs: Programs<'a>,
    _lock: OwnedFd,
}

impl Drop for Unconfigured<'_> {
    fn drop(&mut self) {
        // What stays is taken back when the root is opened next.
        let _ = recover(self.root);
    }
}

impl Unconfigured<'_> {
    /// Runs `preinst` scripts, and lets dpkg configure what was unpacked.
    ///
    /// # Errors
    /// A script or dpkg fails: packages are then in the state in which dpkg left them, and nothing
    /// is there of those that dpkg does not know yet.
    pub fn configure(mut self, runner: &mut dyn RunInRoot) -> Result<(), Error> {
        mark(self.root, &self.plan.automatic)?;
        let mut known = 0;
        for step in &self.plan.steps {
            match step {
                Step::Unpack(packages) => {
                    let next = known + packages.len();
                    self.preinsts(known..next, runner)?;
                    known = next;
                }
                Step::Configure(names) => {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    self.dpkg(&["--no-triggers", "--configure"], &names, runner)?;
                }
            }
        }
        journal::end(self.root)?;
        self.dpkg(&["--configure", "--pending"], &[], runner)
    }

    /// As dpkg unpacks: each script sees the packages before its own.
    fn preinsts(
        &mut self,
        range: std::ops::Range<usize>,
        runner: &mut dyn RunInRoot,
    ) -> Result<(), Error> {
        for at in range.clone() {
            let has = |name: &String| name == "preinst";
            if !self.addition.summary(at).is_some_and(|one| one.scripts.iter().any(has)) {
                continue;
            }
            self.addition.reveal(at)?;
            self.addition.announce(at)?;
            if let Some(summary) = self.addition.summary(at) {
                self.programs.preinst(summary, runner)?;
            }
        }
        Ok(self.addition.reveal(range.end)?)
    }

    fn dpkg(
        &self,
        action: &[&str],
        packages: &[&str],
        runner: &mut dyn RunInRoot,
    ) -> Result<(), Error> {
        let options: Vec<&str> = self.plan.options.iter().map(String::as_str).collect();
        let argv = [&["dpkg"], &options[..], action, packages].concat();
        self.programs.run(&argv, &[], runner)
    }
}
