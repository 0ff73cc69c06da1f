//! Brings new packages into the root of a session.

use super::bootstrap::{Runner, explained, read_plan, receive, write_records};
use super::{Surroundings, Work};
use crate::apply::{self, Installation, Outcome, Plan, Step};
use crate::bootstrap::Error;
use crate::dpkgdb::{ExtendedState, Identity};
use crate::protocol::{
    ApplyPlan, ApplyStep, Doing, Failure, FailureKind, Reply, TakePlan, decode, encode,
};
use crate::sys::process;
use crate::unpack::{Progress, Unpacked};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

/// So many files the job wants to have open at once, if its limit allows.
const OPEN_FILES: u64 = 1 << 16;
/// What is left to do of packages is at most this long, in bytes.
const LONGEST_LEFT: u64 = 512 << 20;

pub(super) fn run(work: &Work<'_>, mut descriptors: Vec<OwnedFd>) -> Result<Reply, Failure> {
    let (Some(log), Some(plan)) = (descriptors.pop(), descriptors.pop()) else {
        return Err(Failure::request("packages need a plan and a log"));
    };
    let plan = plan_of(read_plan(plan)?);
    // Each waiting package is an open file; what runs in the root gets limits of its own.
    process::suggest_limit(libc::RLIMIT_NOFILE, OPEN_FILES)
        .doing(|| "cannot limit files".into())?;
    let mut runner = runner(work, log);
    let mut installation = match begin(work, &plan)? {
        Outcome::Done(installation) => installation,
        Outcome::Declined(why) => return Ok(Reply::Declined(why)),
    };
    while installation.advance(&mut runner).map_err(failure)? {
        if let Outcome::Declined(why) = unpack(work, &mut installation)? {
            return Ok(Reply::Declined(why));
        }
        installation.configure(&mut runner).map_err(failure)?;
    }
    installation.finish(&mut runner).map_err(failure)?;
    Ok(Reply::Done)
}

/// Unpacks packages and writes what is left to do for [`install`].
pub(super) fn lay(work: &Work<'_>, mut descriptors: Vec<OwnedFd>) -> Result<Reply, Failure> {
    let (Some(records), Some(left), Some(plan)) =
        (descriptors.pop(), descriptors.pop(), descriptors.pop())
    else {
        return Err(Failure::request("packages need a plan and two files"));
    };
    let plan: TakePlan = read_plan(plan)?;
    let threads = plan.threads.max(1) as usize;
    let (sender, arrivals) = channel();
    let cancel = AtomicBool::new(false);
    let hear = |enough: &PipeReader| {
        receive(work.replies, enough, sender)
            .and_then(|()| listen(work.replies, enough))
            .inspect_err(|_| cancel.store(true, Ordering::Relaxed))
    };
    let mut progress = teller(work);
    let lay = || apply::lay(work.root.as_fd(), threads, &arrivals, &cancel, &mut progress);
    let (laid, heard) = hearing(hear, lay)?;
    let (unpacked, taken) = match laid.map_err(failure)? {
        Outcome::Done(laid) => laid,
        Outcome::Declined(why) => return Ok(Reply::Declined(why)),
    };
    heard?;
    let hashes: HashMap<Identity, String> = packages_of(&plan).into_iter().collect();
    leave(left, &unpacked)?;
    write_records(records, &taken, |one| hashes.get(one).cloned())?;
    Ok(Reply::Done)
}

/// Brings packages into dpkg's database that are in a lower tree, and configures them.
pub(super) fn install(work: &Work<'_>, descriptors: Vec<OwnedFd>) -> Result<Reply, Failure> {
    let mut descriptors = descriptors.into_iter();
    let (Some(plan), Some(log)) = (descriptors.next(), descriptors.next()) else {
        return Err(Failure::request("packages need a plan and a log"));
    };
    let plan = plan_of(read_plan(plan)?);
    let mut unpacked = Vec::new();
    for left in descriptors {
        let mut encoded = Vec::new();
        let doing = || "cannot read what is left to do".to_owned();
        File::from(left).take(LONGEST_LEFT).read_to_end(&mut encoded).doing(doing)?;
        if !encoded.is_empty() {
            unpacked.extend(decode::<Vec<Unpacked>>(&encoded)?);
        }
    }
    let adopted = Installation::adopt(work.root.as_fd(), &plan, unpacked).map_err(failure)?;
    let mut installation = match adopted {
        Outcome::Done(installation) => installation,
        Outcome::Declined(why) => return Ok(Reply::Declined(why)),
    };
    let mut runner = runner(work, log);
    installation.configure(&mut runner).map_err(failure)?;
    installation.finish(&mut runner).map_err(failure)?;
    Ok(Reply::Done)
}

fn runner<'a>(work: &'a Work<'_>, log: OwnedFd) -> Runner<'a> {
    let around: &Surroundings<'_> = work.around;
    Runner { around, log, caller: Some(work.replies) }
}

/// Writes what is left to do of packages that are in a tree.
pub(crate) fn leave(file: OwnedFd, unpacked: &Vec<Unpacked>) -> Result<(), Failure> {
    File::from(file)
        .write_all(&encode(unpacked)?)
        .doing(|| "cannot write what is left to do".into())
}

/// The packages of a plan, each with the SHA-256 of its `.deb`, which becomes a name in the store.
pub(crate) fn packages_of(plan: &TakePlan) -> Vec<(Identity, String)> {
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

/// Receives all packages.
fn begin<'a>(work: &'a Work<'_>, plan: &'a Plan) -> Result<Outcome<Installation<'a>>, Failure> {
    let (sender, arrivals) = channel();
    let hear = |enough: &PipeReader| receive(work.replies, enough, sender);
    let begin = || Installation::begin(work.root.as_fd(), plan, arrivals);
    let (begun, heard) = hearing(hear, begin)?;
    // That packages are missing if they did not all come is no news.
    heard.and_then(|()| begun.map_err(failure))
}

/// Unpacks what comes next, as long as the host wants it.
fn unpack(work: &Work<'_>, installation: &mut Installation<'_>) -> Result<Outcome<()>, Failure> {
    let cancel = AtomicBool::new(false);
    let hear = |enough: &PipeReader| {
        listen(work.replies, enough).inspect_err(|_| cancel.store(true, Ordering::Relaxed))
    };
    let mut progress = teller(work);
    let (unpacked, heard) = hearing(hear, || installation.unpack(&cancel, &mut progress))?;
    match unpacked.map_err(failure)? {
        Outcome::Done(()) => heard.map(Outcome::Done),
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
    // The thread has ended before anything is forked.
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

fn plan_of(message: ApplyPlan) -> Plan {
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
    }
}
