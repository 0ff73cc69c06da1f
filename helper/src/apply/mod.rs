//! New packages into a root that has packages: unpacked natively, configured by the root's dpkg.
//!
//! What this room promises:
//! - the result is what apt and dpkg make of the same packages, but for times and logs;
//! - a package that a layer has as it was unpacked is copied from there, by the same code and in the
//!   same wave as one that comes as a `.deb`;
//! - whatever is not plainly the same is declined ([`Outcome::Declined`]), and what was made for it
//!   is taken back: files are only ever made where nothing is;
//! - what a hostile package can do is what it can do in a bootstrap: its limits and its paths are
//!   those of the room `unpack`.
//!
//! Packages come to know dpkg in the order in which apt would have them unpacked, and what apt
//! would have configured in between is configured then. What a script could see of packages that by
//! dpkg would come after it is not there either: they come in waves, of which each is unpacked when
//! that script has run ([`wave`]). dpkg itself then finds out which triggers wait, and runs each once.
//!
//! What tells before anything has run is looked at first. A wave may be declined later, too, because
//! of what is in its packages, or of what scripts have made of the root. Then nothing of it is
//! there, and apt and dpkg go on from where it would have begun; a `preinst` that had to run before
//! its wave was unpacked runs a second time then, as it may (Policy 6.2).
#![forbid(unsafe_code)]

mod control;
mod fill;
mod journal;
mod script;
mod wave;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::Seek as _;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use fill::{Filling, agree, is_declined, keep_all};
pub use journal::{NAME as JOURNAL, PLACE as JOURNAL_PLACE, is_left, recover};
use wave::Wave;

use crate::bootstrap::{Error, Programs, RunInRoot, Taken};
use crate::dpkgdb::{
    Addition, Database, ExtendedState, Identity, Objection, Present, announce, mark,
};
use crate::unpack::{
    self, Arrival, Control, Known, Progress, Record, Records, Search, Tree, Unpacked, Unpacker,
    Way, inspect, looks_whole, take_all, unpack_all,
};

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
    /// Whether others shall find here what is unpacked.
    pub records: bool,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It went well.
    Done(T),
    /// dpkg has to do what is left of it, for this reason: all of it, unless a wave was finished.
    /// Of what is left nothing is in the tree.
    Declined(String),
}

/// Packages that are being brought into a root. Dropping it takes back what dpkg does not know by
/// then.
pub struct Installation<'a> {
    root: BorrowedFd<'a>,
    plan: &'a Plan,
    /// What is left, the next one first.
    waves: VecDeque<Wave>,
    files: HashMap<Identity, File>,
    /// What other layers have.
    known: HashMap<Identity, Known<'a>>,
    /// What was unpacked.
    recorded: Vec<(Identity, Record)>,
    /// Control files of packages whose `preinst` runs ahead.
    ahead: HashMap<Identity, Control>,
    /// The database, if nothing has run since it was read.
    present: Option<Present>,
    journal: Option<File>,
    /// What was unpacked of the wave.
    addition: Option<Addition<'a>>,
    programs: Programs<'a>,
    has_run: bool,
    /// Packages that are unpacked.
    done: usize,
    _lock: OwnedFd,
}

impl Drop for Installation<'_> {
    fn drop(&mut self) {
        // What stays is taken back when the root is opened next.
        let _ = recover(self.root);
    }
}

impl<'a> Installation<'a> {
    /// Looks at all packages of `plan`, which come out of `arrivals` or are `known`, and locks out
    /// whoever else works with dpkg. Nothing changes yet.
    ///
    /// # Errors
    /// dpkg's database cannot be read, or other packages come than planned; [`Error::Changed`] names
    /// packages that are not known after all.
    pub(crate) fn begin(
        root: BorrowedFd<'a>,
        plan: &'a Plan,
        known: Vec<Known<'a>>,
        arrivals: impl IntoIterator<Item = Arrival>,
    ) -> Result<Outcome<Self>, Error> {
        let Some(lock) = lock_frontend(root)? else {
            return Ok(Outcome::Declined("another process works with dpkg in this root".into()));
        };
        recover(root)?;
        outcome(read_controls(arrivals).and_then(|(files, mut controls)| {
            controls.extend(recorded_controls(&known)?);
            let mut begun = Self::look(root, plan, &controls, lock)?;
            let waves = wave::split(plan, acting(&controls), |identity| {
                controls.get(identity).is_some_and(|control| script::acts(&control.files))
            });
            let ahead = waves.iter().filter(|wave| wave.ahead);
            let ahead = ahead.filter_map(|wave| controls.get_key_value(wave.packages().next()?));
            begun.ahead = ahead.map(|(one, control)| (one.clone(), control.clone())).collect();
            begun.waves = waves.into();
            begun.files = files;
            begun.known = known.into_iter().map(|one| (one.identity.clone(), one)).collect();
            Ok(begun)
        }))
    }

    /// What is known of packages whose control files are `controls`, of no wave yet.
    fn look(
        root: BorrowedFd<'a>,
        plan: &'a Plan,
        controls: &Of<Control>,
        lock: OwnedFd,
    ) -> Result<Self, Objection> {
        check_complete(plan, controls.keys())?;
        let present = Present::read(root)?;
        for control in controls.values() {
            present.admit_name(&control.identity)?;
            control::check(control)?;
            script::check(control)?;
        }
        present.reconcile(&controls.values().collect::<Vec<_>>())?;
        let dpkg = present.version("dpkg").unwrap_or("1.21.0");
        let mut environment = plan.environment.clone();
        environment.push(("DPKG_FRONTEND_LOCKED".to_owned(), "true".to_owned()));
        let options = plan.options.iter().filter_map(|one| one.strip_prefix("--force-"));
        let forced: Vec<&str> =
            options.chain(present.forced().iter().map(String::as_str)).collect();
        let programs = Programs::new(root, environment, dpkg).forcing(&forced);
        Ok(Self {
            root,
            plan,
            waves: VecDeque::new(),
            files: HashMap::new(),
            known: HashMap::new(),
            recorded: Vec::new(),
            ahead: HashMap::new(),
            programs,
            present: Some(present),
            journal: None,
            addition: None,
            has_run: false,
            done: 0,
            _lock: lock,
        })
    }

    /// Begins the next wave, and runs what has to run before it is unpacked. `false` if there is
    /// none.
    ///
    /// # Errors
    /// A file cannot be made, or a script fails.
    pub fn advance(&mut self, runner: &mut dyn RunInRoot) -> Result<bool, Error> {
        let Some(wave) = self.waves.front() else { return Ok(false) };
        let first = wave.packages().next().filter(|_| wave.ahead);
        let control = first.and_then(|first| self.ahead.remove(first));
        let journal = journal::begin(self.root)?;
        if let Some(control) = control {
            journal::announce(&journal, Database::files_of(&control).into_iter())?;
            self.run()?;
            announce(self.root, &control)?;
            self.programs.preinst_of(&control, runner)?;
        }
        self.journal = Some(journal);
        Ok(true)
    }

    /// What is done once, before anything of a package runs.
    fn run(&mut self) -> Result<(), Error> {
        self.present = None;
        if !std::mem::replace(&mut self.has_run, true) {
            mark(self.root, &self.plan.automatic)?;
        }
        Ok(())
    }

    /// Unpacks the wave.
    ///
    /// # Errors
    /// A file cannot be made; [`Error::Changed`] names packages that are not known after all. Nothing
    /// of the wave is left in the tree then, unless that fails, too: then the next [`recover`] sees
    /// to it.
    pub fn unpack(
        &mut self,
        cancel: &AtomicBool,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Outcome<()>, Error> {
        match self.try_unpack(cancel, progress) {
            Ok(()) => Ok(Outcome::Done(())),
            Err(Objection::Stands(why)) => {
                recover(self.root)?;
                Ok(Outcome::Declined(why))
            }
            Err(Objection::Failed(error)) => {
                // The first failure counts; what stays is taken back when the root is opened next.
                let _ = recover(self.root);
                Err(error)
            }
        }
    }

    fn try_unpack(
        &mut self,
        cancel: &AtomicBool,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), Objection> {
        // Both are there: whoever calls this has begun the wave.
        let (Some(wave), Some(journal)) = (self.waves.front(), self.journal.take()) else {
            return Ok(());
        };
        let present = match self.present.take() {
            Some(present) => present,
            None => Present::read_amid(self.root, wave.packages().next().filter(|_| wave.ahead))?,
        };
        let (sender, arrivals) = channel();
        let mut known = Vec::new();
        for identity in wave.packages() {
            known.extend(self.known.remove(identity));
            if let Some(file) = self.files.remove(identity) {
                // The other end is in this function.
                let _ = sender.send(Arrival { file, identity: identity.clone() });
            }
        }
        drop(sender);
        let (before, mut count) = (self.done, 0);
        let mut progress = |one: Progress| {
            count += 1;
            progress(Progress { done: before + count, ..one });
        };
        let Plan { threads, records: is_recorded, .. } = *self.plan;
        let tree = Tree::new(self.root).with_journal(&journal);
        let unpacker = Unpacker::with_tree(tree, cancel).with_hashes(is_recorded);
        let records = Mutex::new(Vec::new());
        let filling = Filling::default();
        let each = |one: Unpacked, record: Option<Record>| {
            let record = record.map(|record| (one.control.identity.clone(), record));
            filling.add(present.admit(unpacker.tree(), &one).map(|()| one))?;
            records.lock().unwrap_or_else(PoisonError::into_inner).extend(record);
            Ok(())
        };
        let take = |one, record, _| each(one, is_recorded.then_some(record));
        let new = |mut one: Unpacked, built| {
            let record = is_recorded.then(|| Record::of(&mut one, built));
            each(one, record)
        };
        let known = (known, Way::Copy);
        let done =
            take_all(&unpacker, known, threads, None, &take, &mut progress).and_then(|changed| {
                if changed.is_empty() {
                    unpack_all(&unpacker, &arrivals, threads, None, cancel, &new, &mut progress)?;
                }
                Ok(changed)
            });
        let (unpacked, changed) = filling.end(done)?;
        if !changed.is_empty() {
            return Err(Objection::Failed(Error::Changed(changed)));
        }
        self.recorded.extend(records.into_inner().unwrap_or_else(PoisonError::into_inner));
        present.spare(&unpacked)?;
        agree(&unpacked)?;
        keep_all(&unpacker)?;
        self.done += count;
        self.note(&journal, &present, unpacked)
    }

    /// Writes what dpkg is to know of the wave, which is unpacked.
    fn note(
        &mut self,
        journal: &File,
        present: &Present,
        unpacked: Vec<Unpacked>,
    ) -> Result<(), Objection> {
        let Some(wave) = self.waves.front() else { return Ok(()) };
        let info = unpacked.iter().flat_map(|one| Database::files_of(&one.control));
        journal::announce(journal, info)?;
        let database = Database::create(self.root)?;
        for one in unpacked {
            database.add(one)?;
        }
        let order: Vec<Identity> = wave.packages().cloned().collect();
        self.addition = Some(database.join(&Tree::new(self.root), &order, present.interests())?);
        Ok(())
    }

    /// Runs the `preinst` scripts of the wave, and lets dpkg configure what comes before the next
    /// one.
    ///
    /// # Errors
    /// A script or dpkg fails: packages are then in the state in which dpkg left them, and nothing
    /// is there of those that dpkg does not know yet.
    pub fn configure(&mut self, runner: &mut dyn RunInRoot) -> Result<(), Error> {
        let (Some(wave), Some(mut addition)) = (self.waves.pop_front(), self.addition.take())
        else {
            return Ok(());
        };
        self.run()?;
        let all = wave.packages().count();
        let (mut known, mut ended) = (0, false);
        for step in &wave.steps {
            // Everything stays that is known.
            if known == all && !std::mem::replace(&mut ended, true) {
                journal::end(self.root)?;
            }
            match step {
                Step::Unpack(packages) => {
                    let next = known + packages.len();
                    let have_run = known + usize::from(wave.ahead && known == 0);
                    self.preinsts(&mut addition, have_run..next, runner)?;
                    known = next;
                }
                Step::Configure(names) => {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    self.dpkg(&["--no-triggers", "--configure"], &names, runner)?;
                }
            }
        }
        if ended { Ok(()) } else { journal::end(self.root) }
    }

    /// Lets dpkg configure everything, when there are no more waves. Gives the records of packages
    /// whose files look as they were unpacked: others are of no use.
    ///
    /// # Errors
    /// As [`Installation::configure`].
    pub(crate) fn finish(mut self, runner: &mut dyn RunInRoot) -> Result<Taken, Error> {
        self.dpkg(&["--configure", "--pending"], &[], runner)?;
        let (tree, taken) = (Tree::new(self.root), Taken::default());
        let mut search = Search::new(&tree);
        for (identity, mut record) in std::mem::take(&mut self.recorded) {
            if search.has_all(&mut record) {
                taken.record(&identity, &record)?;
            }
        }
        Ok(taken)
    }

    /// As dpkg unpacks: each script sees the packages before its own.
    fn preinsts(
        &self,
        addition: &mut Addition<'_>,
        range: std::ops::Range<usize>,
        runner: &mut dyn RunInRoot,
    ) -> Result<(), Error> {
        for at in range.clone() {
            let has = |name: &String| name == "preinst";
            let Some(summary) = addition.summary(at) else { continue };
            if !summary.scripts.iter().any(has) {
                continue;
            }
            addition.reveal(at)?;
            addition.announce(at)?;
            if let Some(summary) = addition.summary(at) {
                self.programs.preinst(summary, runner)?;
            }
        }
        Ok(addition.reveal(range.end)?)
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

/// What came of something to which there may be an objection.
fn outcome<T>(done: Result<T, Objection>) -> Result<Outcome<T>, Error> {
    match done {
        Ok(done) => Ok(Outcome::Done(done)),
        Err(Objection::Stands(why)) => Ok(Outcome::Declined(why)),
        Err(Objection::Failed(error)) => Err(error),
    }
}

/// Whether a package of this name runs something when it is configured.
fn acting(controls: &Of<Control>) -> impl Fn(&str) -> bool {
    let acting = controls.values().filter(|one| one.file("postinst").is_some());
    let names: HashSet<String> = acting.map(|one| one.identity.name.clone()).collect();
    move |name| names.contains(name)
}

/// By the name of each package.
type Of<T> = HashMap<Identity, T>;

/// What packages say about themselves, and their files.
fn read_controls(
    arrivals: impl IntoIterator<Item = Arrival>,
) -> Result<(Of<File>, Of<Control>), Objection> {
    let (mut files, mut controls) = (HashMap::new(), HashMap::new());
    let mut objection = None;
    // Whoever sends them hears of an objection when all have come.
    for arrival in arrivals {
        match read_control(arrival) {
            Ok((file, control)) => {
                files.insert(control.identity.clone(), file);
                controls.insert(control.identity.clone(), control);
            }
            Err(why) => {
                objection.get_or_insert(why);
            }
        }
    }
    objection.map_or(Ok((files, controls)), Err)
}

/// What known packages say about themselves, if their files look as they were unpacked.
fn recorded_controls(known: &[Known<'_>]) -> Result<Of<Control>, Objection> {
    let (mut controls, mut changed) = (HashMap::new(), Vec::new());
    for one in known {
        let record = one.records.bytes(one.number).and_then(|bytes| Records::decode(&bytes));
        // All at once, and before any script has run.
        let control = match record {
            Ok(record) => {
                let subject = format!("package {}", one.identity.name);
                let fail = |problem| unpack::Error::new(&subject, problem);
                let is_whole = looks_whole(&record, one.tree).map_err(fail)?;
                record.control().ok().filter(|_| is_whole)
            }
            Err(_) => None,
        };
        match control.filter(|control| control.identity == one.identity) {
            Some(control) => {
                controls.insert(one.identity.clone(), control);
            }
            None => changed.push(one.identity.clone()),
        }
    }
    match changed.is_empty() {
        true => Ok(controls),
        false => Err(Objection::Failed(Error::Changed(changed))),
    }
}

/// What a package says about itself, and its file for whoever unpacks it.
fn read_control(arrival: Arrival) -> Result<(File, Control), Objection> {
    let Arrival { mut file, identity } = arrival;
    let control = match inspect(&mut file, &format!("package {}", identity.name)) {
        Err(error) if is_declined(error.problem()) => {
            return Err(Objection::Stands(error.to_string()));
        }
        other => other?,
    };
    if control.identity != identity {
        let found = &control.identity;
        return Err(Objection::Stands(format!("package {identity} says that it is {found}")));
    }
    let doing = |error| Error::tree("read", &format!("package {identity}"), error);
    file.rewind().map_err(doing)?;
    Ok((file, control))
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

/// The packages in the order in which apt has them unpacked.
fn order(plan: &Plan) -> Vec<Identity> {
    let unpacked = plan.steps.iter().filter_map(|step| match step {
        Step::Unpack(packages) => Some(packages),
        Step::Configure(_) => None,
    });
    unpacked.flatten().cloned().collect()
}

fn check_complete<'p>(plan: &Plan, found: impl Iterator<Item = &'p Identity>) -> Result<(), Error> {
    let planned: BTreeSet<Identity> = order(plan).into_iter().collect();
    let found: BTreeSet<_> = found.cloned().collect();
    match planned.symmetric_difference(&found).next() {
        None => Ok(()),
        Some(one) => Err(Error::Plan(format!("the package {one} was not to come, or did not"))),
    }
}
