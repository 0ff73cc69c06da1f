//! Process 1 of a session.
//!
//! It lays out the session's mounts, then waits: for requests from the host, for ends of its
//! children, for the end of the host or of the helper. It never starts a thread, never executes
//! another program (which would make it inspectable), and holds no descriptor of a host directory.
//! It ends what runs before that fills the disk.
//! When the host's socket closes, the host process dies (a forked child of it may still hold the
//! socket) or the helper dies, it ends, and with it the whole pid namespace.

use crate::apply;
use crate::door::{VISITORS, Visitor};
use crate::protocol::{
    Bytes, Command, Control, Doing, Exit, Failure, Job, Mode, Open, Reply, Run, decode, encode,
};
use crate::sandbox::command::{Around, Confinement, Launch, capabilities, launch};
use crate::sandbox::floor::Floor;
use crate::sandbox::spare::{Handed, Spare};
use crate::sandbox::{mounts, network};
use crate::sys::capability;
use crate::sys::process::{self, Fork, Usage};
use crate::sys::socket;
use crate::work;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// What the helper hands to a new keeper.
#[derive(Debug)]
pub struct Inherited {
    /// Where requests of the host come from.
    pub requests: OwnedFd,
    /// Where other processes come in.
    pub door: Option<OwnedFd>,
    /// Where messages of the helper come from.
    pub helper: OwnedFd,
    /// Readable when the host process has ended.
    pub host: OwnedFd,
    /// Where to tell that the session is open.
    pub replies: OwnedFd,
    /// What becomes `/`.
    pub tree: OwnedFd,
    /// Host mounts to bind, in the order of the request.
    pub binds: Vec<OwnedFd>,
    /// Locks that must be held as long as the session lives.
    pub locks: Vec<OwnedFd>,
    /// The session's number.
    pub number: u32,
    /// Whether the changes are in memory.
    pub in_memory: bool,
    /// What the helper has to warn of.
    pub warnings: Vec<String>,
    /// Isolation mode.
    pub mode: Mode,
    /// As in [`Open`].
    pub linux32: bool,
}

/// A message from the helper to its keeper, with a detached mount and a reply socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct AttachLate {
    /// Where, inside the root.
    pub target: Bytes,
}

struct Running {
    pid: i32,
    replies: OwnedFd,
    /// A command's end is told by the keeper; a job tells its own.
    is_command: bool,
    /// Whether it may fill the disk.
    writes: bool,
    /// It sees by itself that its caller is gone, and leaves things in order.
    tidies: bool,
    /// What a spare process was given and may not have read yet.
    handed: Option<Handed>,
    /// Whoever asked for it has sent it a signal.
    signalled: bool,
    /// Whose it is, if not the session's owner's.
    visitor: Option<u32>,
}

impl Running {
    /// The request of a command that has ended before it read that; not if it was to end.
    fn unread(&mut self) -> Option<Handed> {
        let signalled = self.signalled;
        self.handed.take_if(|handed| !handed.was_read() && !signalled)
    }

    fn kill(&self) {
        if self.is_command {
            signal_group(self.pid, libc::SIGKILL);
        }
        // A command may not lead its group yet.
        signal(self.pid, libc::SIGKILL);
    }
}

/// A process that was started for a request.
struct Started {
    pid: i32,
    is_command: bool,
    writes: bool,
    tidies: bool,
    handed: Option<Handed>,
}

struct Keeper {
    inherited: Inherited,
    network: OwnedFd,
    /// `/` of everything that is started here.
    root: OwnedFd,
    /// The tree alone, without what is mounted in it: `/` of the keeper itself.
    bare: OwnedFd,
    running: Vec<Running>,
    /// Whether its bounding set is that of programs.
    bounded: bool,
    /// What becomes the next program.
    spare: Option<Spare>,
    /// Whether one is to be forked as soon as there is nothing else to do.
    spare_due: bool,
    /// Other processes that have entered the session.
    visitors: Vec<Visitor>,
    /// How many there were.
    visits: u32,
    /// What must stay free on the disk while something runs that writes.
    floor: Option<Floor>,
    /// Mounts of the store, by the targets that the host named.
    attached: Vec<(Bytes, OwnedFd)>,
}

/// Lives as process 1. Never returns.
pub fn live(inherited: Inherited, open: &Open) -> ! {
    let descriptors: Vec<RawFd> = [
        &inherited.requests,
        &inherited.helper,
        &inherited.host,
        &inherited.replies,
        &inherited.tree,
    ]
    .into_iter()
    .chain(&inherited.door)
    .chain(&inherited.binds)
    .chain(&inherited.locks)
    .map(AsRawFd::as_raw_fd)
    .collect();
    process::keep_descriptors(&descriptors);
    let _ = process::die_with_parent();
    let replies = inherited.replies.try_clone();
    match set_up(inherited, open) {
        Ok(keeper) => keeper.serve(),
        Err(failure) => {
            if let Ok(replies) = replies {
                answer(&replies, &Reply::Failed(failure));
            }
            process::exit_now(1)
        }
    }
}

fn set_up(mut inherited: Inherited, open: &Open) -> Result<Keeper, Failure> {
    let mut warnings = std::mem::take(&mut inherited.warnings);
    if let Err(error) = rustix::system::sethostname(open.hostname.as_bytes()) {
        // Filters of containers know this call as the real root's only.
        let doing = format!("cannot set the host name {}", open.hostname);
        if !open.accept_weak {
            return Err(Failure::isolation(doing, error));
        }
        warnings.push(format!("{doing} ({error}): it is that of the surrounding container"));
    }
    let tree = inherited.tree.try_clone().doing(|| "cannot copy a descriptor".into())?;
    let root = mounts::attach_root(tree)?;
    let bare = mounts::bare_copy(&root)?;
    warnings.extend(mounts::mount_proc(&root, inherited.mode, open.accept_weak)?);
    let network = network::begin(&root)?;
    mounts::mount_dev(&root)?;
    let (network, weak_sys) = network.finish()?;
    if let Some(weak) = weak_sys {
        if !open.accept_weak {
            return Err(Failure::isolation(format!("cannot mount /sys: {weak}"), Errno::PERM));
        }
        warnings.push(weak);
    }
    for (source, bind) in inherited.binds.iter().zip(&open.binds) {
        mounts::mount_bind(&root, source, bind)?;
    }
    mounts::pivot(&root)?;
    mounts::enter(&bare)?;
    inherited.binds.clear();
    if apply::is_left(bare.as_fd())
        && let Err(failure) = work::recover(&bare)
    {
        warnings.push(format!("what an interrupted installation left stays: {failure}"));
    }
    let (in_memory, mode) = (inherited.in_memory, inherited.mode);
    let opened = Reply::Opened { session: inherited.number, in_memory, warnings };
    answer(&inherited.replies, &opened);
    let (running, attached) = (Vec::new(), Vec::new());
    let mut keeper = Keeper {
        inherited,
        network,
        root,
        bare,
        running,
        // Once for all programs. Where it is refused, each of them says so.
        bounded: capability::bound(capabilities(mode)).is_ok(),
        spare: None,
        spare_due: false,
        visitors: Vec::new(),
        visits: 0,
        floor: None,
        attached,
    };
    keeper.provide_spare();
    Ok(keeper)
}

fn answer(replies: &OwnedFd, reply: &Reply) {
    if let Ok(bytes) = encode(reply) {
        // Who no longer listens has cancelled.
        let _ = socket::send(replies.as_fd(), &bytes, &[]);
    }
}

impl Keeper {
    fn serve(mut self) -> ! {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        let signals = mask.thread_block().and_then(|()| {
            SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        });
        let Ok(signals) = signals else { process::exit_now(1) };
        loop {
            self.reap();
            let wait = self.watch_disk().map(|wait| rustix::event::Timespec {
                tv_sec: wait.as_secs() as i64,
                tv_nsec: i64::from(wait.subsec_nanos()),
            });
            let mut set = vec![
                PollFd::new(&self.inherited.host, PollFlags::IN),
                PollFd::new(&self.inherited.helper, PollFlags::IN),
                PollFd::new(&self.inherited.requests, PollFlags::IN),
                PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            ];
            // A job reads what its caller says by itself; only the caller's end matters here.
            set.extend(self.running.iter().map(|running| {
                let flags = if running.is_command { PollFlags::IN } else { PollFlags::empty() };
                PollFd::new(&running.replies, flags)
            }));
            let handed: Vec<usize> = (0..self.running.len())
                .filter(|index| self.running[*index].handed.is_some())
                .collect();
            set.extend(handed.iter().filter_map(|index| {
                let handed = self.running[*index].handed.as_ref();
                handed.map(|handed| PollFd::new(handed.link(), PollFlags::IN))
            }));
            let door = self.inherited.door.as_ref().filter(|_| self.visitors.len() < VISITORS);
            let comers = set.len();
            set.extend(door.map(|door| PollFd::new(door, PollFlags::IN)));
            let visitors = set.len();
            for visitor in &self.visitors {
                set.push(PollFd::new(&visitor.socket, PollFlags::IN));
                let host = visitor.host.as_ref();
                set.push(host.map_or(PollFd::new(&visitor.socket, PollFlags::empty()), |host| {
                    PollFd::new(host, PollFlags::IN)
                }));
            }
            // A spare process is forked when nobody waits for anything else: a program may have
            // ended by now, and whoever started it waits for the word.
            let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            let wait = if self.spare_due { Some(&at_once) } else { wait.as_ref() };
            match poll(&mut set, wait) {
                Ok(0) if self.spare_due => {
                    drop(set);
                    self.provide_spare();
                    continue;
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => process::exit_now(1),
            }
            let ready: Vec<bool> = set.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(set);
            // Before anything changes the order of what runs.
            let told = &ready[4 + self.running.len()..];
            for (index, _) in handed.iter().zip(told).filter(|(_, told)| **told) {
                let running = &mut self.running[*index];
                // One that ended without a word keeps its request for another one.
                if running.handed.as_ref().is_some_and(Handed::was_read) {
                    running.handed = None;
                }
            }
            let told = self.running.len();
            if ready[0] {
                process::exit_now(0);
            }
            if ready[3] {
                while let Ok(Some(_)) = signals.read_signal() {}
            }
            if ready[1] {
                self.hear_helper();
            }
            if ready[2] {
                self.hear_host();
            }
            for index in (0..told).rev() {
                if ready[4 + index] {
                    self.hear_caller(index);
                }
            }
            for index in (0..(ready.len() - visitors) / 2).rev() {
                let at = visitors + 2 * index;
                if ready[at + 1] {
                    self.dismiss(index);
                } else if ready[at] {
                    self.hear_visitor(index);
                }
            }
            if visitors > comers && ready[comers] {
                self.visits += 1;
                let door = self.inherited.door.as_ref();
                self.visitors.extend(door.and_then(|door| Visitor::admit(door, self.visits)));
            }
        }
    }

    fn reap(&mut self) {
        while let Some((pid, status, usage)) = process::reap() {
            if self.spare.as_ref().is_some_and(|spare| spare.pid() == pid) {
                self.spare = None;
            }
            let Some(index) = self.running.iter().position(|running| running.pid == pid) else {
                continue;
            };
            let mut running = self.running.swap_remove(index);
            if let Some(handed) = running.unread() {
                // Somebody killed it before it was a program, and may do so again with a spare one.
                self.spare = None;
                self.request(handed.message, handed.descriptors, running.visitor);
            } else if running.is_command {
                answer(&running.replies, &Reply::Exited(exit_of(status, usage)));
            }
        }
    }

    /// When to look at the disk again. What writes is ended where it leaves next to nothing.
    fn watch_disk(&mut self) -> Option<Duration> {
        if !self.running.iter().any(|running| running.writes) {
            self.floor = None;
            return None;
        }
        self.floor = self.floor.or_else(|| Floor::now(&self.bare));
        let next = self.floor?.look(&self.bare);
        if next.is_none() {
            for running in self.running.drain(..) {
                let doing = "what ran in the root was ended before it filled the disk of the store";
                let failure = Failure::system(doing, Errno::NOSPC);
                answer(&running.replies, &Reply::Failed(failure));
            }
            // Everything in this namespace but this process.
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
            self.floor = None;
        }
        next
    }

    fn hear_helper(&mut self) {
        match socket::receive(self.inherited.helper.as_fd()) {
            Ok(Some((bytes, mut descriptors))) if descriptors.len() == 2 => {
                let (Some(tree), Some(replies)) = (descriptors.pop(), descriptors.pop()) else {
                    return;
                };
                let outcome = decode::<AttachLate>(&bytes).and_then(|message| {
                    mounts::attach_late(
                        &self.root,
                        &tree,
                        &String::from_utf8_lossy(&message.target),
                    )?;
                    self.attached.push((message.target, tree));
                    Ok(())
                });
                answer(&replies, &outcome.map_or_else(Reply::Failed, |()| Reply::Done));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => process::exit_now(0),
        }
    }

    fn hear_host(&mut self) {
        match socket::receive(self.inherited.requests.as_fd()) {
            Ok(Some((message, descriptors))) => self.request(message, descriptors, None),
            Ok(None) | Err(_) => process::exit_now(0),
        }
    }

    fn hear_visitor(&mut self, index: usize) {
        let Some(visitor) = self.visitors.get_mut(index) else { return };
        match socket::receive(visitor.socket.as_fd()) {
            Ok(Some((message, descriptors))) if visitor.host.is_some() => {
                let number = visitor.number;
                self.request(message, descriptors, Some(number));
            }
            Ok(Some((message, descriptors))) => {
                if !visitor.greet(&message, descriptors) {
                    self.dismiss(index);
                }
            }
            Ok(None) | Err(_) => self.dismiss(index),
        }
    }

    /// A visitor has gone, and with it goes what it started.
    fn dismiss(&mut self, index: usize) {
        let visitor = self.visitors.swap_remove(index);
        self.running.retain(|running| {
            let stays = running.visitor != Some(visitor.number);
            if !stays {
                running.kill();
            }
            stays
        });
    }

    /// Carries out a request: its first descriptor is for replies.
    fn request(&mut self, message: Vec<u8>, descriptors: Vec<OwnedFd>, visitor: Option<u32>) {
        let Some(first) = descriptors.first() else { return };
        let Ok(replies) = first.try_clone() else {
            let failure = Failure::system("cannot copy a descriptor", Errno::MFILE);
            return answer(first, &Reply::Failed(failure));
        };
        let outcome = decode::<Command>(&message).and_then(|command| match command {
            Command::Run(run) => self.start(&run, message, descriptors).map(Some),
            Command::Job(job) => {
                let around = work::Surroundings { programs: self.programs(), bare: &self.bare };
                let (writes, tidies) = (job.writes(), matches!(*job, Job::Apply));
                let descriptors = descriptors.into_iter().skip(1).collect();
                let pid = work::start(&job, descriptors, &replies, &around)?;
                Ok(Some(Started { pid, is_command: false, writes, tidies, handed: None }))
            }
            // What a visitor names is not its own.
            Command::Detach { .. } if visitor.is_some() => {
                Err(Failure::request("nothing is mounted there"))
            }
            Command::Detach { target } => {
                let found = self.attached.iter().rposition(|(known, _)| *known == target);
                let found = found.ok_or_else(|| Failure::request("nothing is mounted there"))?;
                mounts::detach(&self.attached.remove(found).1)?;
                answer(&replies, &Reply::Done);
                Ok(None)
            }
        });
        match outcome {
            Ok(Some(Started { pid, is_command, writes, tidies, handed })) => {
                self.running.push(Running {
                    pid,
                    replies,
                    is_command,
                    writes,
                    tidies,
                    handed,
                    signalled: false,
                    visitor,
                });
                self.spare_due = true;
            }
            Ok(None) => {}
            Err(failure) => answer(&replies, &Reply::Failed(failure)),
        }
    }

    fn programs(&self) -> Around<'_> {
        Around {
            mode: self.inherited.mode,
            root: &self.root,
            network: &self.network,
            linux32: self.inherited.linux32,
            bounded: self.bounded,
        }
    }

    /// Forks a process that becomes the next program, unless there is one. Where none can be had,
    /// the next program says so.
    fn provide_spare(&mut self) {
        self.spare_due = false;
        if self.spare.is_none() {
            self.spare = Spare::fork(&self.programs()).ok();
        }
    }

    /// Starts a program: in the spare process, or in a new one if it has to be confined otherwise.
    fn start(
        &mut self,
        run: &Run,
        mut message: Vec<u8>,
        mut descriptors: Vec<OwnedFd>,
    ) -> Result<Started, Failure> {
        if run.terminal.is_none() && descriptors.len() != 4 {
            return Err(Failure::request("a command without a terminal needs three streams"));
        }
        let started =
            |pid, handed| Started { pid, is_command: true, writes: true, tidies: false, handed };
        let how = Confinement::of(run, self.inherited.linux32);
        if let Some(spare) = self.spare.take_if(|spare| spare.fits(how)) {
            let pid = spare.pid();
            match spare.hand(message, descriptors) {
                Ok(handed) => return Ok(started(pid, Some(handed))),
                Err(back) => (message, descriptors) = back,
            }
        }
        drop(message);
        match process::fork(0).doing(|| "cannot fork".into())? {
            Fork::Parent(child) => Ok(started(child.pid, None)),
            Fork::Child => {
                let replies = descriptors.remove(0);
                launch(&Launch { run, streams: &descriptors, replies: &replies }, &self.programs())
            }
        }
    }

    /// The host has something to say to a running command, or has given it up.
    fn hear_caller(&mut self, index: usize) {
        let Some(running) = self.running.get(index) else { return };
        let pid = running.pid;
        if !running.is_command {
            let running = self.running.swap_remove(index);
            if !running.tidies {
                running.kill();
            }
            return;
        }
        match socket::receive(running.replies.as_fd()) {
            Ok(Some((bytes, _))) => {
                if let Ok(Control::Signal(number)) = decode(&bytes) {
                    self.running[index].signalled = true;
                    signal_group(pid, number);
                }
            }
            Ok(None) | Err(_) => {
                self.running.swap_remove(index).kill();
            }
        }
    }
}

fn signal_group(pid: i32, number: i32) {
    if let (Some(pid), Some(signal)) = (rustix::process::Pid::from_raw(pid), named(number)) {
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

fn signal(pid: i32, number: i32) {
    if let (Some(pid), Some(signal)) = (rustix::process::Pid::from_raw(pid), named(number)) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn named(number: i32) -> Option<rustix::process::Signal> {
    rustix::process::Signal::from_named_raw(number)
}

fn exit_of(status: i32, usage: Usage) -> Exit {
    let (status, signal) = process::outcome(status);
    Exit { status, signal, usage }
}
