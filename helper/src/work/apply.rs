//! Brings new packages into the root of a session.

use super::bootstrap::{Runner, explained, read_plan, receive, write_records};
use super::{Surroundings, Work};
use crate::apply::{self, Outcome, Plan, Step, Unconfigured, unpack};
use crate::bootstrap::Error;
use crate::dpkgdb::{ExtendedState, Identity};
use crate::protocol::{
    ApplyPlan, ApplyStep, Doing, Failure, FailureKind, Reply, TakePlan, decode, encode,
};
use crate::unpack::{Arrival, Progress, Unpacked};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

/// What is left to do of packages is at most this long, in bytes.
const LONGEST_LEFT: u64 = 512 << 20;

pub(super) fn run(work: &Work<'_>, mut descriptors: Vec<OwnedFd>) -> Result<Reply, Failure> {
    let (Some(log), Some(plan)) = (descriptors.pop(), descriptors.pop()) else {
        return Err(Failure::request("packages need a plan and a log"));
    };
    let plan = plan_of(read_plan(plan)?);
    let unpacked = unpacking(work, |arrivals, cancel, progress| {
        unpack(work.root.as_fd(), &plan, arrivals, cancel, progress)
    })?;
    configure(work, unpacked, log)
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
    let laid = unpacking(work, |arrivals, cancel, progress| {
        apply::lay(work.root.as_fd(), threads, arrivals, cancel, progress)
    })?;
    let (unpacked, taken) = match laid {
        Outcome::Done(laid) => laid,
        Outcome::Declined(why) => return Ok(Reply::Declined(why)),
    };
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
    let done = apply::install(work.root.as_fd(), &plan, unpacked).map_err(failure)?;
    configure(work, done, log)
}

fn configure(
    work: &Work<'_>,
    unpacked: Outcome<Unconfigured<'_>>,
    log: OwnedFd,
) -> Result<Reply, Failure> {
    let unconfigured = match unpacked {
        Outcome::Done(unconfigured) => unconfigured,
        Outcome::Declined(why) => return Ok(Reply::Declined(why)),
    };
    let around: &Surroundings<'_> = work.around;
    let mut runner = Runner { around, log, caller: Some(work.replies) };
    unconfigured.configure(&mut runner).map_err(failure)?;
    Ok(Reply::Done)
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

/// Lets `unpack` have the packages that come, and stop when the host wants it no more.
fn unpacking<T>(
    work: &Work<'_>,
    unpack: impl FnOnce(
        &Receiver<Arrival>,
        &AtomicBool,
        &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Outcome<T>, Error>,
) -> Result<Outcome<T>, Failure> {
    let (sender, arrivals) = channel();
    let cancel = AtomicBool::new(false);
    let mut progress = |progress: Progress| {
        let Identity { name, version, architecture } = progress.package;
        let done = progress.done as u64;
        work.say(&Reply::Unpacked { name, version, architecture, done }, &[]);
    };
    let (enough, unpacking) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    // The thread that receives has ended before anything is forked.
    std::thread::scope(|threads| {
        let receiver = threads.spawn(|| {
            receive(work.replies, &enough, sender)
                .and_then(|_| listen(work.replies, &enough))
                .inspect_err(|_| cancel.store(true, Ordering::Relaxed))
        });
        let unpacked = unpack(&arrivals, &cancel, &mut progress);
        // A failure is told at once: the thread does not wait for the next package.
        drop(unpacking);
        let received = receiver.join();
        match unpacked {
            Err(error) => Err(failure(error)),
            Ok(Outcome::Declined(why)) => Ok(Outcome::Declined(why)),
            Ok(done) => match received {
                Ok(received) => received.map(|()| done),
                Err(_) => Err(Failure::request("the thread that receives packages panicked")),
            },
        }
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
