//! The jobs of a bootstrap in a session, followed to their end.

use crate::archive::access::Archives;
use crate::archive::transport::Transport;
use crate::buildroot::{CROSSING, Session};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::event::{Log, PackageAction, Unit, What};
use crate::operation::Scope;
use crate::solve::PackageEntry;
use debmock_helper::protocol::{Channel, Control, Job, Reply, unexpected};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of the log that an error repeats.
const LAST_LINES: usize = 15;

/// Fetches `packages` and lets `job`, which unpacks, have each one as soon as it is there; when the
/// newest of them was built, in seconds since 1970.
pub(super) fn unpack(
    session: &Session,
    (job, files): (Job, &[BorrowedFd<'_>]),
    packages: &[PackageEntry],
    archives: &Archives<'_>,
    scope: &Scope,
) -> Result<u64> {
    let channel = session.job(job, files)?;
    std::thread::scope(|threads| {
        let sender = threads.spawn(|| send(packages, archives, &channel, scope));
        let followed = follow(packages.len(), &channel, scope);
        if followed.is_err() {
            // What still downloads is for nobody.
            archives.transport().interrupt();
            let _ = channel.abandon();
        }
        let sent = sender.join().unwrap_or_else(|_| Err(panicked()));
        let broken_off = |error: &Error| match error.kind() {
            ErrorKind::Helper => true,
            ErrorKind::Cancelled => scope.check().is_ok(),
            _ => false,
        };
        match (sent, followed) {
            // The helper's side saw only that packages stopped coming.
            (Err(error), _) if !broken_off(&error) => Err(error),
            (_, Err(error)) => Err(explain(error, &[])),
            (_, Ok(Reply::Composed { newest })) => Ok(newest),
            (_, Ok(other)) => Err(unexpected(&other).into()),
        }
    })
}

/// Lets the maintainer scripts run: `plan` and `left` are the files that
/// [`Job::Configure`] takes.
pub(super) fn configure(
    session: Session,
    epoch: u64,
    plan: &File,
    left: &File,
    scope: &Scope,
) -> Result<()> {
    let (log, theirs) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    let theirs = OwnedFd::from(theirs);
    let files = [plan.as_fd(), left.as_fd(), theirs.as_fd()];
    let channel = session.job(Job::Configure { epoch }, &files)?;
    drop(theirs);
    let last = Mutex::new(Vec::new());
    let followed = std::thread::scope(|threads| {
        let reader = threads.spawn(|| read_log(File::from(OwnedFd::from(log)), scope, &last));
        let followed = follow(0, &channel, scope);
        if followed.is_err() {
            let _ = channel.abandon();
        }
        // With it ends whatever still holds the log open.
        drop(session);
        let _ = reader.join();
        followed
    });
    let last = last.into_inner().unwrap_or_else(PoisonError::into_inner);
    followed.map(drop).map_err(|error| explain(error, &last))
}

fn panicked() -> Error {
    Error::new(ErrorKind::Unexpected, "debmock panicked; this is a bug of debmock")
}

/// Fetches the packages and hands each one over as soon as it is there.
fn send(
    packages: &[PackageEntry],
    archives: &Archives<'_>,
    channel: &Channel,
    scope: &Scope,
) -> Result<()> {
    let started = Instant::now();
    let total: u64 = packages.iter().map(|package| package.size).sum();
    scope.emit(What::StageStarted {
        stage: "fetch".into(),
        detail: format!("{} packages, {} MB", packages.len(), total / 1_000_000),
    });
    let fetched = archives.fetch(packages, scope, |package, path| {
        let doing = || format!("cannot open {}", path.display());
        let file = File::open(path).doing(doing)?;
        let PackageEntry { name, version, architecture, .. } = package.clone();
        Ok(channel.send(&Control::Package { name, version, architecture }, &[file.as_fd()])?)
    });
    scope.emit(What::StageFinished {
        stage: "fetch".into(),
        seconds: crate::event::seconds(started.elapsed()),
        success: fetched.is_ok(),
    });
    if fetched.is_err() {
        // The other side waits for packages; this tells it that none will come.
        let _ = channel.abandon();
    }
    fetched?;
    Ok(channel.control(&Control::End)?)
}

/// Turns what the helper tells of `total` packages into events, until it has ended: its last reply.
pub(super) fn follow(total: usize, channel: &Channel, scope: &Scope) -> Result<Reply> {
    let total = total as u64;
    let mut running: Option<(String, Instant)> = None;
    let finish = |running: &mut Option<(String, Instant)>, success: bool| {
        if let Some((stage, started)) = running.take() {
            let seconds = crate::event::seconds(started.elapsed());
            scope.emit(What::StageFinished { stage, seconds, success });
        }
    };
    loop {
        if let Err(error) = scope.check() {
            finish(&mut running, false);
            return Err(error);
        }
        let reply = match channel.receive(Duration::from_millis(100)) {
            Ok(Some((reply, _))) => reply,
            Ok(None) => continue,
            Err(error) => {
                finish(&mut running, false);
                return Err(error.into());
            }
        };
        match reply {
            Reply::Stage(stage) => {
                finish(&mut running, true);
                scope.emit(What::StageStarted { stage: stage.clone(), detail: String::new() });
                running = Some((stage, Instant::now()));
            }
            Reply::Unpacked { name, version, architecture, done } => {
                let action = PackageAction::Unpacked;
                scope.emit(What::Package { action, name, version, architecture });
                let (stage, unit) = ("unpack".into(), Unit::Packages);
                scope.emit(What::Progress { stage, done, total: Some(total), unit });
            }
            last @ (Reply::Done | Reply::Composed { .. } | Reply::Changed(_)) => {
                finish(&mut running, !matches!(last, Reply::Changed(_)));
                return Ok(last);
            }
            Reply::Failed(failure) => {
                finish(&mut running, false);
                return Err(failure.into());
            }
            other => return Err(unexpected(&other).into()),
        }
    }
}

/// What the root's programs print, line by line; the last lines are kept for an error.
fn read_log(log: File, scope: &Scope, last: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(log);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(1 << 16).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        scope.line(Log::Root, text.clone());
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == LAST_LINES {
            last.remove(0);
        }
        last.push(text);
    }
}

/// A package that cannot be unpacked or configured is a failure of the bootstrap; what the root's
/// programs said last goes along.
pub(super) fn explain(error: Error, last: &[String]) -> Error {
    if !matches!(error.kind(), ErrorKind::Buildroot | ErrorKind::Exec | ErrorKind::Io) {
        return error;
    }
    // Programs of the root say it in words only (LC_ALL is C.UTF-8 there).
    let full = |line: String| {
        line.contains("No space left on device") || line.contains("Disk quota exceeded")
    };
    if last.iter().cloned().chain(error.chain()).any(full) {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        return Error::io(error.to_string(), full);
    }
    if last.iter().any(|line| line.contains(CROSSING)) {
        let cause = std::io::Error::new(std::io::ErrorKind::CrossesDevices, last.join("\n"));
        return Error::new(ErrorKind::Bootstrap, error.to_string()).with_source(cause);
    }
    let error = error.with_kind(ErrorKind::Bootstrap);
    if last.is_empty() {
        error.or_hint("what the archive offers is damaged or does not fit together: take another mirror, suite or version, or leave the package out")
    } else {
        error.with_hint(format!("it said last:\n{}", last.join("\n")))
    }
}
