//! Brings new packages into the root of a session.

use super::bootstrap::{Runner, explained, read_plan, receive, write_records};
use super::launcher::{Launcher, give_up};
use super::{Surroundings, Work};
use crate::apply::{Installation, Outcome, Plan, Step};
use crate::bootstrap::{Error, Taken};
use crate::dpkgdb::{ExtendedState, Identity};
use crate::protocol::{ApplyPlan, ApplyStep, Control, Doing, Failure, FailureKind, Reply, decode};
use crate::sys::{process, socket};
use crate::unpack::{Known, Progress, Records, Stock, Tree};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::PipeReader;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

/// So many files the job wants to have open at once, if its limit allows.
const OPEN_FILES: u64 = 1 << 16;

pub(super) fn run(work: &Work<'_>, mut descriptors: Vec<OwnedFd>) -> Result<Reply, Failure> {
    let records = if descriptors.len() > 2 { descriptors.pop() } else { None };
    let (Some(log), Some(plan)) = (descriptors.pop(), descriptors.pop()) else {
        return Err(Failure::request("packages need a plan and a log"));
    };
    let message: ApplyPlan = read_plan(plan)?;
    let launcher = Launcher::start(runner(work, log))?;
    // Each waiting package is an open file; what runs in the root gets limits of its own.
    process::suggest_limit(libc::RLIMIT_NOFILE, OPEN_FILES)
        .doing(|| "cannot limit files".into())?;
    // Before anything of a stranger comes.
    give_up().isolating(|| "cannot give up capabilities".into())?;
    let packages = packages_of(&message);
    let stocks = stocks(work, message.stocks)?;
    let trees: Vec<Tree<'_>> = stocks.iter().map(Stock::tree).collect();
    let (mut known, mut changed) = (Vec::new(), Vec::new());
    for (stock, tree) in stocks.iter().zip(&trees) {
        known.extend(stock.known(tree, |place| packages.get(place as usize), &mut changed));
    }
    if !changed.is_empty() {
        return Ok(Reply::Changed(changed));
    }
    let plan = plan_of(message, records.is_some());
    match bring(work, &plan, known, launcher) {
        Ok(Outcome::Done(taken)) => {
            if let Some(records) = records {
                let hashes: HashMap<&Identity, &String> =
                    packages.iter().map(|(identity, hash)| (identity, hash)).collect();
                write_records(records, &taken, |one| hashes.get(one).map(|&hash| hash.clone()))?;
            }
            Ok(Reply::Done)
        }
        Ok(Outcome::Declined(why)) => Ok(Reply::Declined(why)),
        Err(End::Changed(changed)) => {
            let places = (0..).zip(&packages).filter(|(_, (one, _))| changed.contains(one));
            Ok(Reply::Changed(places.map(|(place, _)| place).collect()))
        }
        Err(End::Failed(failure)) => Err(failure),
    }
}

/// Unpacks and configures. Gives the records of what others may take.
fn bring(
    work: &Work<'_>,
    plan: &Plan,
    known: Vec<Known<'_>>,
    mut runner: Launcher,
) -> Result<Outcome<Taken>, End> {
    let mut installation = match begin(work, plan, known)? {
        Outcome::Done(installation) => installation,
        Outcome::Declined(why) => return Ok(Outcome::Declined(why)),
    };
    while installation.advance(&mut runner)? {
        if let Outcome::Declined(why) = unpack(work, &mut installation)? {
            return Ok(Outcome::Declined(why));
        }
        installation.configure(&mut runner)?;
    }
    Ok(Outcome::Done(installation.finish(&mut runner)?))
}

/// Why it came to no end.
enum End {
    /// These are not known after all.
    Changed(Vec<Identity>),
    Failed(Failure),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::Changed(packages) => End::Changed(packages),
            other => End::Failed(failure(other)),
        }
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        End::Failed(failure)
    }
}

/// The packages of a plan, each with the SHA-256 of its `.deb`.
fn packages_of(plan: &ApplyPlan) -> Vec<(Identity, String)> {
    let packages = plan.packages.iter().map(|(name, version, architecture, hash)| {
        let identity = Identity {
            name: name.clone(),
            version: version.clone(),
            architecture: architecture.clone(),
        };
        (identity, hash.clone())
    });
    packages.collect()
}

fn runner<'a>(work: &'a Work<'_>, log: OwnedFd) -> Runner<'a> {
    let around: &Surroundings<'_> = work.around;
    Runner { around, log, caller: Some(work.replies) }
}

/// Receives which packages are known, and where.
fn stocks(work: &Work<'_>, count: u32) -> Result<Vec<Stock>, Failure> {
    let mut stocks = Vec::new();
    for _ in 0..count {
        let Ok(Some((bytes, mut descriptors))) = socket::receive(work.replies.as_fd()) else {
            return Err(Failure::request("the host is gone"));
        };
        let packages = match decode::<Control>(&bytes)? {
            Control::Stock { packages } => packages,
            Control::Signal(_) => return Err(Failure::request("the host has cancelled")),
            _ => return Err(Failure::request("a package came before what is known")),
        };
        let (Some(records), Some(tree)) = (descriptors.pop(), descriptors.pop()) else {
            return Err(Failure::request("what is known came without its tree"));
        };
        let records = Records::open(File::from(records))
            .doing(|| "cannot read what was unpacked earlier".into())?;
        stocks.push(Stock { tree, records, packages });
    }
    Ok(stocks)
}

/// Receives all packages.
fn begin<'a>(
    work: &'a Work<'_>,
    plan: &'a Plan,
    known: Vec<Known<'a>>,
) -> Result<Outcome<Installation<'a>>, End> {
    let (sender, arrivals) = channel();
    let hear = |enough: &PipeReader| receive(work.replies, enough, sender);
    let begin = || Installation::begin(work.root.as_fd(), plan, known, arrivals);
    let (begun, heard) = hearing(hear, begin)?;
    // That packages are missing if they did not all come is no news.
    heard?;
    Ok(begun?)
}

/// Unpacks what comes next, as long as the host wants it.
fn unpack(work: &Work<'_>, installation: &mut Installation<'_>) -> Result<Outcome<()>, End> {
    let cancel = AtomicBool::new(false);
    let hear = |enough: &PipeReader| {
        listen(work.replies, enough).inspect_err(|_| cancel.store(true, Ordering::Relaxed))
    };
    let mut progress = teller(work);
    let (unpacked, heard) = hearing(hear, || installation.unpack(&cancel, &mut progress))?;
    match unpacked? {
        Outcome::Done(()) => Ok(heard.map(Outcome::Done)?),
        declined => Ok(declined),
    }
}

/// Tells the host what was unpacked.
fn teller(work: &Work<'_>) -> impl FnMut(Progress) + Send {
    |progress: Progress| {
        let Identity { name, version, architecture } = progress.package;
        let done = progress.done as u64;
        work.say(&Reply::Unpacked { name, version, architecture, done }, &[]);
    }
}

/// Does `work` while a thread hears the host, until that ends or the pipe that it is given closes:
/// a failure is told at once, and does not wait for the next package.
fn hearing<T>(
    hear: impl FnOnce(&PipeReader) -> Result<(), Failure> + Send,
    work: impl FnOnce() -> T,
) -> Result<(T, Result<(), Failure>), Failure> {
    let (enough, working) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    std::thread::scope(|threads| {
        let thread = threads.spawn(|| hear(&enough));
        let done = work();
        drop(working);
        let heard = thread.join();
        let panicked = |_| Err(Failure::request("the thread that hears the host panicked"));
        Ok((done, heard.unwrap_or_else(panicked)))
    })
}

/// Waits until the other end of `enough` is closed.
///
/// # Errors
/// The host does not want it any more, or is gone.
fn listen(replies: &OwnedFd, enough: &std::io::PipeReader) -> Result<(), Failure> {
    loop {
        let mut set = [PollFd::new(enough, PollFlags::IN), PollFd::new(replies, PollFlags::IN)];
        match poll(&mut set, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::system("cannot wait for the host", error)),
        }
        if !set[0].revents().is_empty() {
            return Ok(());
        }
        if !set[1].revents().is_empty() {
            return Err(Failure::request("the host has cancelled"));
        }
    }
}

/// Programs that fail are told apart: what they printed says why.
fn failure(error: Error) -> Failure {
    match error {
        Error::Program { command, how } => {
            Failure::hostile(format!("“{command}” {how}")).of_kind(FailureKind::Exec)
        }
        other => explained(other),
    }
}

fn plan_of(message: ApplyPlan, records: bool) -> Plan {
    let identity = |(name, version, architecture)| Identity { name, version, architecture };
    let step = |step| match step {
        ApplyStep::Unpack(packages) => Step::Unpack(packages.into_iter().map(identity).collect()),
        ApplyStep::Configure(names) => Step::Configure(names),
    };
    let mark = |(name, architecture)| ExtendedState { name, architecture, auto: true };
    Plan {
        steps: message.steps.into_iter().map(step).collect(),
        automatic: message.automatic.into_iter().map(mark).collect(),
        environment: message.environment,
        options: message.options,
        threads: message.threads.max(1) as usize,
        records,
    }
}
