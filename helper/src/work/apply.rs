//! Brings new packages into the root of a session.

use super::bootstrap::{Runner, explained, read_plan, receive};
use super::{Surroundings, Work};
use crate::apply::{Installation, Outcome, Plan, Step};
use crate::bootstrap::Error;
use crate::dpkgdb::{ExtendedState, Identity};
use crate::protocol::{ApplyPlan, ApplyStep, Doing, Failure, FailureKind, Reply};
use crate::sys::process;
use crate::unpack::Progress;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

/// So many files the job wants to have open at once, if its limit allows.
const OPEN_FILES: u64 = 1 << 16;

pub fn run(work: &Work<'_>, mut descriptors: Vec<OwnedFd>) -> Result<Reply, Failure> {
    let (Some(log), Some(plan)) = (descriptors.pop(), descriptors.pop()) else {
        return Err(Failure::request("packages need a plan and a log"));
    };
    let plan = plan_of(read_plan(plan)?);
    // Each waiting package is an open file; what runs in the root gets limits of its own.
    process::suggest_limit(libc::RLIMIT_NOFILE, OPEN_FILES)
        .doing(|| "cannot limit files".into())?;
    let around: &Surroundings<'_> = work.around;
    let mut runner = Runner { around, log, caller: Some(work.replies) };
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

/// Receives all packages.
fn begin<'a>(work: &'a Work<'_>, plan: &'a Plan) -> Result<Outcome<Installation<'a>>, Failure> {
    let (sender, arrivals) = channel();
    let (enough, beginning) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    // The thread that receives has ended before anything is forked.
    std::thread::scope(|threads| {
        let receiver = threads.spawn(|| receive(work.replies, &enough, sender));
        let begun = Installation::begin(work.root.as_fd(), plan, arrivals);
        // A failure is told at once: the thread does not wait for the next package.
        drop(beginning);
        let received = receiver.join();
        match received {
            // That packages are missing then is no news.
            Ok(Err(failure)) => Err(failure),
            Ok(Ok(())) => begun.map_err(failure),
            Err(_) => Err(Failure::request("the thread that receives packages panicked")),
        }
    })
}

/// Unpacks what comes next, as long as the host wants it.
fn unpack(work: &Work<'_>, installation: &mut Installation<'_>) -> Result<Outcome<()>, Failure> {
    let cancel = AtomicBool::new(false);
    let mut progress = |progress: Progress| {
        let Identity { name, version, architecture } = progress.package;
        let done = progress.done as u64;
        work.say(&Reply::Unpacked { name, version, architecture, done }, &[]);
    };
    let (enough, unpacking) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    // The thread that listens has ended before anything is forked.
    std::thread::scope(|threads| {
        let listener = threads.spawn(|| {
            listen(work.replies, &enough).inspect_err(|_| cancel.store(true, Ordering::Relaxed))
        });
        let unpacked = installation.unpack(&cancel, &mut progress);
        drop(unpacking);
        let listened = listener.join();
        match unpacked {
            Err(error) => Err(failure(error)),
            Ok(Outcome::Declined(why)) => Ok(Outcome::Declined(why)),
            Ok(done) => match listened {
                Ok(listened) => listened.map(|()| done),
                Err(_) => Err(Failure::request("the thread that listens panicked")),
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
