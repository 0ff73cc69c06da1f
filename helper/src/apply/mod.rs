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

use std::collections::{BTreeSet, HashMap};
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use crate::bootstrap::{Error, Programs, RunInRoot};
use crate::dpkgdb::{Addition, Database, ExtendedState, Identity, Objection, Present, mark};
use crate::unpack::{self, Arrival, Problem, Progress, Tree, Unpacked, Unpacker, unpack_all};

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
/// A package is larger than it may be or names something outside the root, a file cannot be
/// made. Nothing of the packages is left in the tree then, unless that fails, too.
pub fn unpack<'a>(
    root: BorrowedFd<'a>,
    plan: &'a Plan,
    arrivals: &Receiver<Arrival>,
    cancel: &AtomicBool,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Outcome<Unconfigured<'a>>, Error> {
    let present = match Present::read(root) {
        Ok(present) => present,
        Err(Objection::Stands(why)) => return Ok(Outcome::Declined(why)),
        Err(Objection::Failed(error)) => return Err(error.into()),
    };
    let unpacker = Unpacker::with_tree(Tree::new(root).with_record(), cancel);
    let unpacked = Mutex::new(Vec::new());
    let objection = Mutex::new(None);
    let each = |one: Unpacked, _| {
        if let Err(why) = present.admit(unpacker.tree(), &one) {
            objection.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
            // Whoever sees it looks for the objection first.
            return Err(unpack::Error::new("the package set", Problem::Cancelled));
        }
        unpacked.lock().unwrap_or_else(PoisonError::into_inner).push(one);
        Ok(())
    };
    let done = unpack_all(&unpacker, arrivals, plan.threads, None, cancel, &each, progress);
    let unpacked = unpacked.into_inner().unwrap_or_else(PoisonError::into_inner);
    let objection = objection.into_inner().unwrap_or_else(PoisonError::into_inner);
    let result = match (objection, done) {
        (Some(why), _) => Err(why),
        (None, Err(error)) => match declined(error.problem()) {
            true => Err(Objection::Stands(error.to_string())),
            false => return take_back(&unpacker).and(Err(error.into())),
        },
        (None, Ok(())) => {
            if let Err(error) = check_complete(plan, &unpacked) {
                return take_back(&unpacker).and(Err(error));
            }
            present
                .reconcile(&unpacked)
                .and_then(|()| agree(&unpacked))
                .and_then(|()| keep_all(&unpacker))
        }
    };
    match result {
        Ok(()) => {}
        Err(why) => {
            take_back(&unpacker)?;
            return match why {
                Objection::Stands(why) => Ok(Outcome::Declined(why)),
                Objection::Failed(error) => Err(error.into()),
            };
        }
    }
    let database = Database::create(root)?;
    for one in unpacked {
        database.add(one)?;
    }
    let order = order(plan);
    let addition = database.join(unpacker.tree(), &order, present.interests())?;
    let dpkg = present.version("dpkg").unwrap_or("1.21.0");
    let programs = Programs::new(root, plan.environment.clone(), dpkg);
    Ok(Outcome::Done(Unconfigured { root, plan, addition, programs }))
}

/// Whether dpkg may make something else of it, or say it better.
fn declined(problem: &Problem) -> bool {
    !matches!(
        problem,
        Problem::Io { .. } | Problem::TooLarge(_) | Problem::Escape(_) | Problem::Cancelled
    )
}

fn take_back(unpacker: &Unpacker<'_>) -> Result<(), Error> {
    unpacker.tree().take_back().map_err(|error| Error::Tree {
        doing: "take back what was unpacked in",
        path: String::new(),
        source: error.into(),
    })
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
fn keep_all(unpacker: &Unpacker<'_>) -> Result<(), Objection> {
    let Some((package, path)) = unpacker.lost_paths().into_iter().next() else { return Ok(()) };
    let path = unpack::escaped(&path);
    Err(Objection::Stands(format!("/{path} of {} is replaced by another package", package.name)))
}

/// Packages whose files are in the tree, and of which dpkg knows nothing yet.
pub struct Unconfigured<'a> {
    root: BorrowedFd<'a>,
    plan: &'a Plan,
    addition: Addition<'a>,
    programs: Programs<'a>,
}

impl Unconfigured<'_> {
    /// Runs `preinst` scripts, and lets dpkg configure what was unpacked.
    ///
    /// # Errors
    /// A script or dpkg fails: packages are then in the state in which dpkg left them.
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
            if let Some(summary) = self.addition.summary(at)
                && let Err(error) = self.programs.preinst(summary, runner)
            {
                // apt would refuse to do anything while it is there.
                self.addition.withdraw(at)?;
                return Err(error);
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
        self.programs.run(&[&["dpkg"], &options[..], action, packages].concat(), &[], runner)
    }
}
