//! Carries out a bootstrap in the session of an empty tree.

use super::archive::failed;
use super::{Surroundings, Work};
use crate::bootstrap::{
    Bootstrap, Command, Error, Event, Outcome, Plan, PlannedFile, PlannedPackage, RunInRoot, Stage,
    Staged, Taken,
};
use crate::dpkgdb::Identity;
use crate::protocol::{
    BootstrapPlan, Control, Doing, Failure, FailureKind, Reply, Run, SessionFile, bytes, decode,
};
use crate::sandbox::command::{Launch, launch};
use crate::store;
use crate::sys::process::{self, Fork};
use crate::sys::socket;
use crate::unpack::{Arrival, Records};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

/// A plan, and what is left to do after unpacking, are at most this long, in bytes.
const LONGEST_PLAN: u64 = 64 << 20;
const LONGEST_LEFT: u64 = 512 << 20;

/// Unpacks the packages that come. What is left to do, and what others may take from the tree, goes
/// to files.
pub(super) fn unpack(
    work: &Work<'_>,
    apart: bool,
    mut descriptors: Vec<OwnedFd>,
) -> Result<Reply, Failure> {
    let (Some(records), Some(left), Some(plan)) =
        (descriptors.pop(), descriptors.pop(), descriptors.pop())
    else {
        return Err(Failure::request("a bootstrap needs a plan and two files"));
    };
    let message: BootstrapPlan = read_plan(plan)?;
    let plan = plan_of(&message);
    let hashes = hashes_of(&message);
    let hash = |identity: &Identity| hashes.get(identity).map(|&hash| hash.to_owned());
    let (sender, arrivals) = channel();
    let cancel = AtomicBool::new(false);
    let bootstrap =
        Bootstrap::new(work.root.as_fd(), &plan, message.threads.max(1) as usize, &cancel);
    let mut events = |event| work.tell(event);
    let (enough, unpacking) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    std::thread::scope(|threads| {
        let receiver = threads.spawn(|| {
            receive(work.replies, &enough, sender)
                .inspect_err(|_| cancel.store(true, Ordering::Relaxed))
        });
        let unpacked = match apart {
            true => {
                // What nobody asked for never gets a name.
                let name = |identity: &Identity| hash(identity).unwrap_or_default();
                let taken = bootstrap.unpack_apart(&arrivals, &name, &mut events);
                taken.map_err(explained).and_then(|taken| {
                    write_records(records, &taken, hash)?;
                    Ok(taken.newest())
                })
            }
            false => {
                let staged = bootstrap.unpack(&arrivals, &mut events).map_err(explained);
                staged.and_then(|staged| {
                    write_left(left, &staged)?;
                    write_records(records, staged.records(), hash)?;
                    Ok(staged.records().newest())
                })
            }
        };
        // A failure is told at once: the thread does not wait for the next package.
        drop(unpacking);
        let newest = unpacked?;
        match receiver.join() {
            Ok(received) => received.map(|()| Reply::Composed { newest }),
            Err(_) => Err(Failure::request("the thread that receives packages panicked")),
        }
    })
}

/// Runs maintainer scripts in a tree that [`unpack`], or a composition, has filled.
pub(super) fn configure(
    work: &Work<'_>,
    epoch: u64,
    mut descriptors: Vec<OwnedFd>,
) -> Result<(), Failure> {
    let (Some(log), Some(left), Some(plan)) =
        (descriptors.pop(), descriptors.pop(), descriptors.pop())
    else {
        return Err(Failure::request("configuring needs a plan, what is left to do, and a log"));
    };
    let message: BootstrapPlan = read_plan(plan)?;
    let plan = plan_of(&message);
    let mut encoded = Vec::new();
    File::from(left)
        .take(LONGEST_LEFT)
        .read_to_end(&mut encoded)
        .doing(|| "cannot read what is left to do".into())?;
    let never = AtomicBool::new(false);
    let bootstrap = Bootstrap::new(work.root.as_fd(), &plan, 1, &never);
    let staged = bootstrap.resume(&encoded).map_err(explained)?;
    let mut events = |event| work.tell(event);
    store::write_files(work.root, &message.passing_files)?;
    let mut runner = Runner { around: work.around, log, caller: None };
    staged.with_epoch(epoch).configure(&mut runner, &mut events).map_err(explained)?;
    for file in &message.passing_files {
        let _ = rustix::fs::unlinkat(work.root, &file.path, AtFlags::empty());
    }
    bootstrap.tidy(&mut events).map_err(explained)
}

/// The SHA-256 of each package of a plan.
pub(crate) fn hashes_of(message: &BootstrapPlan) -> HashMap<Identity, &str> {
    let identities = message.packages.iter().map(|(name, version, architecture, _)| Identity {
        name: name.clone(),
        version: version.clone(),
        architecture: architecture.clone(),
    });
    // They become names in the store.
    let plain = |hash: &&String| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let hashes = identities.zip(&message.hashes).filter(|(_, hash)| plain(hash));
    hashes.map(|(identity, hash)| (identity, hash.as_str())).collect()
}

/// Writes what there is left to do for [`configure`].
pub(crate) fn write_left(file: OwnedFd, staged: &Staged<'_>) -> Result<(), Failure> {
    let encoded = staged.encode().map_err(explained)?;
    File::from(file).write_all(&encoded).doing(|| "cannot write what is left to do".into())
}

/// Writes the records of packages to a file.
pub(crate) fn write_records(
    file: OwnedFd,
    taken: &Taken,
    hash: impl Fn(&Identity) -> Option<String>,
) -> Result<(), Failure> {
    let file = BufWriter::new(File::from(file));
    Records::write(file, &taken.named(hash)).doing(|| "cannot record what was unpacked".into())
}

/// A plan from the file that came with a job.
pub(crate) fn read_plan<T: DeserializeOwned>(file: OwnedFd) -> Result<T, Failure> {
    let mut encoded = Vec::new();
    File::from(file)
        .take(LONGEST_PLAN)
        .read_to_end(&mut encoded)
        .doing(|| "cannot read the plan".into())?;
    decode(&encoded)
}

pub(crate) fn plan_of(message: &BootstrapPlan) -> Plan {
    let planned = |file: &SessionFile| PlannedFile {
        path: file.path.clone(),
        mode: file.mode,
        data: file.content.to_vec(),
    };
    Plan {
        architecture: message.architecture.clone(),
        packages: message
            .packages
            .iter()
            .map(|(name, version, architecture, auto)| PlannedPackage {
                identity: Identity {
                    name: name.clone(),
                    version: version.clone(),
                    architecture: architecture.clone(),
                },
                auto: *auto,
            })
            .collect(),
        files: message.files.iter().map(planned).collect(),
        ..Plan::default()
    }
}

/// Hands arriving packages on until the host says that there are no more, or until the other end
/// of `enough` is closed.
pub(super) fn receive(
    replies: &OwnedFd,
    enough: &std::io::PipeReader,
    sender: Sender<Arrival>,
) -> Result<(), Failure> {
    loop {
        let mut set = [PollFd::new(enough, PollFlags::IN), PollFd::new(replies, PollFlags::IN)];
        match poll(&mut set, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::system("cannot wait for packages", error)),
        }
        if !set[0].revents().is_empty() {
            return Ok(());
        }
        if set[1].revents().is_empty() {
            continue;
        }
        let message = socket::receive(replies.as_fd());
        let Ok(Some((bytes, mut descriptors))) = message else {
            return Err(Failure::request("the host is gone"));
        };
        match decode::<Control>(&bytes)? {
            Control::Package { name, version, architecture } => {
                let Some(file) = descriptors.pop() else {
                    return Err(Failure::request("a package came without its file"));
                };
                let identity = Identity { name, version, architecture };
                // Nobody takes it any more: the unpacking has failed and tells why.
                if sender.send(Arrival { file: File::from(file), identity }).is_err() {
                    return Ok(());
                }
            }
            Control::End => return Ok(()),
            Control::Signal(_) => return Err(Failure::request("the host has cancelled")),
            Control::Stock { .. } => {
                return Err(Failure::request("what is known comes before packages"));
            }
        }
    }
}

/// Damaged packages are told apart from a machine that fails.
pub(crate) fn explained(error: Error) -> Failure {
    let hostile = matches!(error, Error::Unpack(_) | Error::Plan(_) | Error::Program { .. });
    let failure = failed(error);
    if hostile && failure.errno == 0 { failure.of_kind(FailureKind::Hostile) } else { failure }
}

impl Work<'_> {
    fn tell(&self, event: Event) {
        self.say(&reply_of(event), &[]);
    }
}

/// An event as a message.
pub(crate) fn reply_of(event: Event) -> Reply {
    match event {
        Event::Stage(stage) => {
            let name = match stage {
                Stage::Skeleton => "skeleton",
                Stage::Unpack => "unpack",
                Stage::Database => "database",
                Stage::Preinst => "preinst",
                Stage::Configure => "configure",
                Stage::Tidy => "tidy",
            };
            Reply::Stage(name.into())
        }
        Event::Unpacked(progress) => {
            let Identity { name, version, architecture } = progress.package;
            Reply::Unpacked { name, version, architecture, done: progress.done as u64 }
        }
    }
}

/// Starts programs of the new root as the keeper starts commands.
pub(super) struct Runner<'a> {
    pub(super) around: &'a Surroundings<'a>,
    pub(super) log: OwnedFd,
    /// Who ends what runs by saying anything, or by going away; nobody where the keeper ends all.
    pub(super) caller: Option<&'a OwnedFd>,
}

impl Runner<'_> {
    /// Waits for the end of a program, or for whoever wants it to end.
    fn attend(&self, child: &process::Child) -> std::io::Result<()> {
        let Some(caller) = self.caller else { return Ok(()) };
        loop {
            let mut set =
                [PollFd::new(&child.pidfd, PollFlags::IN), PollFd::new(caller, PollFlags::IN)];
            match poll(&mut set, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !set[0].revents().is_empty() {
                return Ok(());
            }
            if !set[1].revents().is_empty() {
                if let Some(pid) = rustix::process::Pid::from_raw(child.pid) {
                    let kill = rustix::process::Signal::KILL;
                    // Its scripts are of its group: it was started as the leader of one.
                    let _ = rustix::process::kill_process_group(pid, kill);
                    let _ = rustix::process::kill_process(pid, kill);
                }
                return Ok(());
            }
        }
    }
}

impl RunInRoot for Runner<'_> {
    fn run(&mut self, command: &Command) -> std::io::Result<Outcome> {
        let run = Run {
            argv: command.argv.iter().map(bytes).collect(),
            environment: command.env.iter().map(|(n, v)| bytes(format!("{n}={v}"))).collect(),
            directory: bytes("/"),
            user: "root".into(),
            network: false,
            terminal: None,
            umask: 0o022,
            suppress_sync: true,
            processes: None,
            memory: None,
            file_size: None,
            linux32: false,
        };
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let streams = [null, self.log.try_clone()?, self.log.try_clone()?];
        let (ours, theirs) = socket::pair()?;
        match process::fork(0)? {
            Fork::Child => {
                let program = Launch { run: &run, streams: &streams, replies: &theirs };
                launch(&program, &self.around.programs)
            }
            Fork::Parent(child) => {
                drop(theirs);
                let mut failure = None;
                while let Some((bytes, _)) = socket::receive(ours.as_fd())? {
                    if let Ok(Reply::Failed(why)) = decode(&bytes) {
                        failure = Some(why);
                    }
                }
                self.attend(&child)?;
                let status = process::wait_for(child.pid)?;
                if let Some(failure) = failure {
                    return Err(std::io::Error::other(failure.to_string()));
                }
                Ok(match process::outcome(status) {
                    (Some(status), _) => Outcome::Exited(status),
                    (None, signal) => Outcome::Signalled(signal.unwrap_or(0)),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::encode;

    #[test]
    fn a_failure_does_not_wait_for_the_next_package() {
        let (_host, replies) = socket::pair().unwrap();
        let (enough, unpacking) = std::io::pipe().unwrap();
        let (sender, _arrivals) = channel();
        drop(unpacking);
        assert_eq!(receive(&replies, &enough, sender), Ok(()));
    }

    #[test]
    fn what_is_no_package_ends_the_bootstrap() {
        let package =
            Control::Package { name: "a".into(), version: "1".into(), architecture: "all".into() };
        for message in [b"\xff\xff".to_vec(), encode(&package).unwrap()] {
            let (host, replies) = socket::pair().unwrap();
            let (enough, _unpacking) = std::io::pipe().unwrap();
            let (sender, arrivals) = channel();
            socket::send(host.as_fd(), &message, &[]).unwrap();
            assert!(receive(&replies, &enough, sender).is_err());
            // Who takes the packages sees their end.
            assert!(arrivals.recv().is_err());
        }
    }
}
