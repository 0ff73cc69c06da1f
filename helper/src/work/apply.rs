//! Brings new packages into the root of a session.

use super::bootstrap::{Runner, explained, read_plan, receive};
use super::{Surroundings, Work};
use crate::apply::{Outcome, Plan, Step, unpack};
use crate::bootstrap::Error;
use crate::dpkgdb::{ExtendedState, Identity};
use crate::protocol::{ApplyPlan, ApplyStep, Doing, Failure, FailureKind, Reply};
use crate::unpack::Progress;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

pub fn run(work: &Work<'_>, mut descriptors: Vec<OwnedFd>) -> Result<Reply, Failure> {
    let (Some(log), Some(plan)) = (descriptors.pop(), descriptors.pop()) else {
        return Err(Failure::request("packages need a plan and a log"));
    };
    let plan = plan_of(read_plan(plan)?);
    let (sender, arrivals) = channel();
    let cancel = AtomicBool::new(false);
    let mut progress = |progress: Progress| {
        let Identity { name, version, architecture } = progress.package;
        let done = progress.done as u64;
        work.say(&Reply::Unpacked { name, version, architecture, done }, &[]);
    };
    let (enough, unpacking) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    // The thread that receives has ended before anything is forked.
    let unpacked = std::thread::scope(|threads| {
        let receiver = threads.spawn(|| {
            receive(work.replies, &enough, sender)
                .and_then(|_| listen(work.replies, &enough))
                .inspect_err(|_| cancel.store(true, Ordering::Relaxed))
        });
        let unpacked = unpack(work.root.as_fd(), &plan, &arrivals, &cancel, &mut progress);
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
    })?;
    let unconfigured = match unpacked {
        Outcome::Done(unconfigured) => unconfigured,
        Outcome::Declined(why) => return Ok(Reply::Declined(why)),
    };
    let around: &Surroundings<'_> = work.around;
    let mut runner = Runner { around, log, caller: Some(work.replies) };
    unconfigured.configure(&mut runner).map_err(failure)?;
    Ok(Reply::Done)
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
