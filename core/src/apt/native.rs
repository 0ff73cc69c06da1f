//! Packages into a root without apt: unpacked by the helper, configured by the root's dpkg.

use super::order::{Order, Step};
use super::progress::Progress;
use super::{Apt, Plan, Planned, failure};
use crate::archive::checksum::Sha256;
use crate::buildroot::output_pipe;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::event::PackageAction;
use crate::operation::Scope;
use crate::state::LogFile;
use crate::store::Zone;
use crate::store::debs::{Debs, gone};
use crate::store::known::{Known, Stock, in_memory};
use debmock_helper::protocol::{
    ApplyPlan, ApplyStep, Channel, Control, Job, Reply, encode, unexpected,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long taking back may last before nobody waits for it any more.
const LONGEST_END: Duration = Duration::from_secs(30);

/// What is known of a plan's packages, and what others are to know.
pub(crate) struct Taking<'a> {
    /// Where it is.
    pub zone: &'a Zone,
    /// What other layers have, by its place in the plan.
    pub known: &'a Known,
    /// For records of what lies in the root then; empty if apt did it.
    pub records: &'a File,
    /// Gets the files of packages that are known, if apt wants them after all.
    pub fetch: &'a dyn Fn(&[Planned]) -> Result<()>,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum End {
    /// Well.
    Done,
    /// dpkg has to do what is left of it, for this reason.
    Declined(String),
    /// The packages at these places of the plan are not known after all.
    Changed(Vec<u32>),
}

impl Apt<'_> {
    /// Carries out `plan` in this order.
    pub(super) fn apply_natively(
        &self,
        (plan, order): (&Plan, &Order),
        taking: Option<&Taking<'_>>,
        progress: &Mutex<Progress<'_>>,
        scope: &Scope,
    ) -> Result<End> {
        let stocks = match taking.map(|taking| taking.known.stocks(taking.zone)).transpose()? {
            None => Vec::new(),
            Some(Ok(stocks)) => stocks,
            Some(Err(gone)) => return Ok(End::Changed(gone)),
        };
        let known: BTreeSet<u32> =
            stocks.iter().flat_map(|stock| stock.packages).copied().collect();
        let new = (0..).zip(&plan.install).filter(|(place, _)| !known.contains(place));
        let new: Vec<&Planned> = new.map(|(_, package)| package).collect();
        let mut message = self.message(plan, order);
        message.stocks = stocks.len() as u32;
        let message = in_memory(&encode(&message)?)?;
        let (output, theirs) = output_pipe()?;
        let mut files = vec![message.as_fd(), theirs.as_fd()];
        files.extend(taking.map(|taking| taking.records.as_fd()));
        let channel = self.session.job(Job::Apply, &files)?;
        drop(theirs);
        let (ended, log) = (AtomicBool::new(false), self.log);
        let (brought, read) = std::thread::scope(|threads| {
            let reader = threads.spawn(|| read_log(output, log, progress, &ended, scope));
            let brought = bring(&channel, &stocks, (&new, self.debs), progress, scope);
            ended.store(true, Ordering::Relaxed);
            (brought, reader.join().unwrap_or_else(|_| Err(panicked())))
        });
        let end = brought.map_err(|error| match error.kind() {
            ErrorKind::Exec => failure::of_configuring(&plan.task.words(), self.log, &error),
            ErrorKind::Buildroot => error.with_kind(ErrorKind::Package),
            _ => error,
        })?;
        match end {
            // It was given nothing that could have changed.
            End::Changed(places) if taking.is_none() => {
                Err(unexpected(&Reply::Changed(places)).into())
            }
            end => read.map(|()| end),
        }
    }

    fn message(&self, plan: &Plan, order: &Order) -> ApplyPlan {
        let find = |name: &String| plan.install.iter().find(|one| one.name == *name);
        let identity =
            |one: &Planned| (one.name.clone(), one.version.clone(), one.architecture.clone());
        let step = |step: &Step| match step {
            Step::Unpack(names) => {
                ApplyStep::Unpack(names.iter().filter_map(find).map(identity).collect())
            }
            Step::Configure(names) => ApplyStep::Configure(names.clone()),
        };
        let automatic = plan.install.iter().filter(|one| !order.manual.contains(&one.name));
        // apt knows no package that has no architecture.
        let mark = |one: &Planned| (one.name.clone(), self.architecture().to_owned());
        let run = self.run(&["dpkg"]).env("PATH", order.path.as_str());
        let mut environment = run.environment;
        let login =
            [("HOME", "/root"), ("USER", "root"), ("LOGNAME", "root"), ("SHELL", "/bin/sh")];
        environment.extend(login.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let packages = plan.install.iter().map(|one| {
            let (name, version, architecture) = identity(one);
            (name, version, architecture, one.sha256.to_string())
        });
        ApplyPlan {
            packages: packages.collect(),
            stocks: 0,
            steps: order.steps.iter().map(step).collect(),
            automatic: automatic.map(mark).collect(),
            environment,
            options: order.options.clone(),
            threads: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        }
    }
}

pub(super) fn panicked() -> Error {
    Error::new(ErrorKind::Unexpected, "debmock panicked; this is a bug of debmock")
}

/// The file of a package, hashed once more.
pub(super) fn checked(debs: &Debs, package: &Planned) -> Result<File> {
    let path = debs.path(package.sha256);
    let doing = || format!("cannot read {}", path.display());
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(gone(Error::io(doing(), error)));
        }
        other => other.doing(doing)?,
    };
    let (found, _) = Sha256::of_reader(&mut file).doing(doing)?;
    if found == package.sha256 {
        file.seek(SeekFrom::Start(0)).doing(doing)?;
        return Ok(file);
    }
    // Away with it, so that the next run fetches it again.
    let _ = std::fs::remove_file(&path);
    let what = format!("{} of the store is damaged: it has the SHA-256 {found}", path.display());
    Err(Error::new(ErrorKind::Store, what).with_hint("it was removed; run the command again"))
}

/// Hands packages over to a job and follows it to its end.
fn bring(
    channel: &Channel,
    stocks: &[Stock<'_>],
    (packages, debs): (&[&Planned], &Debs),
    progress: &Mutex<Progress<'_>>,
    scope: &Scope,
) -> Result<End> {
    let (followed, sent) = std::thread::scope(|threads| {
        let sender = threads.spawn(|| {
            let sent = send(stocks, packages, debs, channel);
            if sent.is_err() {
                // The other side waits for packages; this tells it that none will come.
                let _ = channel.abandon();
            }
            sent
        });
        let followed = follow(channel, progress, scope);
        if followed.is_err() {
            let _ = channel.abandon();
        }
        (followed, sender.join().unwrap_or_else(|_| Err(panicked())))
    });
    // What became of a package is the reason for whatever else went wrong; that the helper does
    // not take it is none.
    match sent {
        Err(error) if error.kind() != ErrorKind::Helper => Err(error),
        _ => followed,
    }
}

/// Hands over what is known, then the other packages, the largest first: one that takes long should
/// not be the last.
fn send(stocks: &[Stock<'_>], packages: &[&Planned], debs: &Debs, channel: &Channel) -> Result<()> {
    for Stock { tree, records, packages } in stocks {
        let control = Control::Stock { packages: packages.to_vec() };
        channel.send(&control, &[tree.as_fd(), records.as_fd()])?;
    }
    let mut sorted: Vec<_> = packages.to_vec();
    sorted.sort_by_key(|package| std::cmp::Reverse(package.size));
    for package in sorted {
        let file = checked(debs, package)?;
        let Planned { name, version, architecture, .. } = package.clone();
        channel.send(&Control::Package { name, version, architecture }, &[file.as_fd()])?;
    }
    Ok(channel.control(&Control::End)?)
}

/// Turns what the helper tells into events, until it has ended.
fn follow(channel: &Channel, progress: &Mutex<Progress<'_>>, scope: &Scope) -> Result<End> {
    let mut cancelled: Option<(Error, Instant)> = None;
    loop {
        match &cancelled {
            None => {
                if let Err(error) = scope.check() {
                    // It takes back what dpkg does not know, and says when that is done.
                    let end = rustix::process::Signal::TERM.as_raw();
                    channel.control(&Control::Signal(end))?;
                    cancelled = Some((error, Instant::now()));
                }
            }
            Some((_, since)) if since.elapsed() > LONGEST_END => break,
            Some(_) => {}
        }
        let Some((reply, _)) = channel.receive(Duration::from_millis(100))? else { continue };
        let is_last = matches!(
            reply,
            Reply::Done | Reply::Declined(_) | Reply::Changed(_) | Reply::Failed(_)
        );
        if cancelled.is_some() && is_last {
            break;
        }
        match reply {
            Reply::Unpacked { name, .. } => {
                let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                progress.tell(PackageAction::Unpacked, &name);
            }
            Reply::Done => return Ok(End::Done),
            Reply::Declined(why) => return Ok(End::Declined(why)),
            Reply::Changed(places) => return Ok(End::Changed(places)),
            Reply::Failed(failure) => return Err(failure.into()),
            other => return Err(unexpected(&other).into()),
        }
    }
    Err(cancelled.map_or_else(panicked, |(error, _)| error))
}

/// What the root's programs print, until the job has ended: a daemon that a script started may
/// hold the other side for longer.
fn read_log(
    output: File,
    log: &LogFile,
    progress: &Mutex<Progress<'_>>,
    ended: &AtomicBool,
    scope: &Scope,
) -> Result<()> {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        if reader.buffer().is_empty() {
            let over = ended.load(Ordering::Relaxed);
            let wait = Timespec { tv_sec: 0, tv_nsec: if over { 0 } else { 50_000_000 } };
            let mut set = [PollFd::new(reader.get_ref(), PollFlags::IN)];
            match poll(&mut set, Some(&wait)) {
                Ok(0) if over => return Ok(()),
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                _ => {}
            }
        }
        line.clear();
        match reader.by_ref().take(1 << 16).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
        log.line(scope, &line)?;
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.line(&String::from_utf8_lossy(&line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_was_removed_meanwhile_is_told_as_such() {
        let cache = tempfile::tempdir().unwrap();
        let debs = Debs::open(cache.path()).unwrap();
        let file = cache.path().join("x.deb");
        std::fs::write(&file, "hello").unwrap();
        let (sha256, size, path) = debs.insert(&file).unwrap();
        let package = Planned {
            name: "x".into(),
            version: "1".into(),
            architecture: "all".into(),
            size,
            sha256,
            uri: String::new(),
            essential: false,
            automatic: false,
            phase: 0,
        };
        assert!(checked(&debs, &package).is_ok());
        std::fs::remove_file(path).unwrap();
        let error = checked(&debs, &package).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(error.hint().unwrap_or_default().contains("again"), "{error:?}");
    }
}
