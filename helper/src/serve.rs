//! The helper process: the host's partner outside of every session.
//!
//! It greets, takes on the roots' identity, then serves requests: locks, the store, sessions. It
//! stays single-threaded; what lasts long is done by a forked process. When its socket closes or
//! the host process dies, it ends every session and everything that it started, but for what
//! empties the trash.

use crate::door;
use crate::keeper::{self, AttachLate, Inherited};
use crate::protocol::{
    Area, BUILD_ID, Doing, Failure, FailureKind, Lock, MAGIC, Open, Place, Reply, Request,
    StoreCall, Tree, decode, encode,
};
use crate::sandbox::identity::{self, Entered};
use crate::sandbox::memory::Memory;
use crate::sandbox::mounts;
use crate::sandbox::tree::{self, Mounted};
use crate::store::{self, Replaced};
use crate::sys::lock::{self, Sharing};
use crate::sys::mount::{NODEV, NOEXEC, NOSUID, RDONLY};
use crate::sys::process::{self, Child, Fork};
use crate::sys::socket;
use crate::work;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Lives as the helper; the exit status of the process.
pub fn run() -> i32 {
    let _ = process::close_from(3);
    process::reset_signals();
    process::reset_memory_score();
    // A leader already has what this would give.
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::from(0o022));
    let Ok(requests) = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3) else { return 1 };
    let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
    else {
        return 1;
    };
    let _ = process::replace_descriptor(null.as_fd(), 0);
    if !greet(&requests) {
        complain("debmock-helper is started by the debmock library, not by hand");
        return 64;
    }
    let host = match host_process(&requests) {
        Ok(host) => host,
        Err(error) => {
            complain(&format!("cannot watch the host process: {error}"));
            return 1;
        }
    };
    let mut helper = Helper {
        requests,
        host,
        entered: None,
        workers: Vec::new(),
        held: Vec::new(),
        sessions: Vec::new(),
        number: 0,
        tidy_at: None,
        tidier: None,
        rest_at: None,
        replaced: Vec::new(),
    };
    helper.serve();
    helper.end();
    0
}

/// The directory of a path of the store.
fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(folder, _)| folder)
}

fn complain(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// Answers the host's first message; false if it is none.
fn greet(requests: &OwnedFd) -> bool {
    let Ok(Some((hello, _))) = socket::receive(requests.as_fd()) else { return false };
    let Some(theirs) = hello.strip_prefix(MAGIC.as_slice()) else { return false };
    let ours = [MAGIC.as_slice(), BUILD_ID.as_bytes()].concat();
    socket::send(requests.as_fd(), &ours, &[]).is_ok() && theirs == BUILD_ID.as_bytes()
}

/// A descriptor of the process that made the socket. It must be our parent: a number that was
/// reused in between would watch a stranger.
fn host_process(requests: &OwnedFd) -> Result<OwnedFd, Errno> {
    let peer = rustix::net::sockopt::socket_peercred(requests)?;
    let host = pidfd_open(peer.pid, PidfdFlags::empty())?;
    if rustix::process::getppid() != Some(peer.pid) {
        return Err(Errno::SRCH);
    }
    Ok(host)
}

/// A forked process that does one long thing.
struct Worker {
    child: Child,
    replies: OwnedFd,
    /// A lock that the worker waits for; ours when it succeeds.
    lock: Option<OwnedFd>,
}

/// A lock that is held until its reply socket closes.
struct Held {
    lock: OwnedFd,
    replies: OwnedFd,
}

struct Session {
    number: u32,
    child: Child,
    link: OwnedFd,
    tree: Tree,
    /// The directory of the buildroot, if the session has a door.
    home: Option<OwnedFd>,
    /// What holds the changes, if that is not the disk.
    memory: Option<Memory>,
}

impl Session {
    /// Waits for the end of the keeper, with which everything in it has ended, and cleans up.
    fn finish(&self, entered: Option<&Entered>) -> Result<(), Failure> {
        let _ = process::wait_for(self.child.pid);
        if let Some(home) = &self.home {
            door::take_away(home);
        }
        entered.map_or(Ok(()), |entered| tree::leave(entered, &self.tree))
    }
}

struct Helper {
    requests: OwnedFd,
    host: OwnedFd,
    entered: Option<Entered>,
    workers: Vec<Worker>,
    held: Vec<Held>,
    sessions: Vec<Session>,
    number: u32,
    /// When to look for what killed processes left; once in a helper's life.
    tidy_at: Option<Instant>,
    tidier: Option<Child>,
    /// When to do what nobody shall wait for, unless another request comes before.
    rest_at: Option<Instant>,
    /// Small files that were replaced, and are to be deleted.
    replaced: Vec<Replaced>,
}

/// How long no request has come when the trash is emptied: those of one command come together, and
/// a process that empties it takes processor time from it.
const PAUSE: Duration = Duration::from_millis(20);
/// As many replaced files are kept open.
const REPLACED: usize = 64;

/// A helper that lives longer than this looks for what killed processes left. Short commands
/// never pay for it.
const REST: Duration = Duration::from_secs(1);

impl Helper {
    fn serve(&mut self) {
        loop {
            let mut set = vec![
                PollFd::new(&self.host, PollFlags::IN),
                PollFd::new(&self.requests, PollFlags::IN),
            ];
            set.extend(self.sessions.iter().map(|s| PollFd::new(&s.child.pidfd, PollFlags::IN)));
            set.extend(self.held.iter().map(|h| PollFd::new(&h.replies, PollFlags::IN)));
            for worker in &self.workers {
                set.push(PollFd::new(&worker.child.pidfd, PollFlags::IN));
                set.push(PollFd::new(&worker.replies, PollFlags::IN));
            }
            if let Some(tidier) = &self.tidier {
                set.push(PollFd::new(&tidier.pidfd, PollFlags::IN));
            }
            let next = self.tidy_at.into_iter().chain(self.rest_at).min();
            let left = next.map(|at| at.saturating_duration_since(Instant::now()));
            let left = left.map(|left| rustix::event::Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            });
            match poll(&mut set, left.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            let mut ready =
                set.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
            drop(set);
            let mut next = || ready.next().unwrap_or(false);
            if next() {
                return;
            }
            let request = next();
            let entered = self.entered.as_ref();
            self.sessions.retain(|session| {
                let ended = next();
                if ended {
                    // Who opens the root next tries again, and is told what is wrong.
                    let _ = session.finish(entered);
                }
                !ended
            });
            self.held.retain(|held| {
                let released = next();
                if released {
                    lock::release(held.lock.as_fd());
                }
                !released
            });
            let held = &mut self.held;
            self.workers.retain_mut(|worker| {
                let (ended, told) = (next(), next());
                if !ended && told {
                    // The caller gave up; what a worker leaves half done lies in the trash.
                    let _ = pidfd_send_signal(&worker.child.pidfd, rustix::process::Signal::KILL);
                }
                if ended || told {
                    let status = process::wait_for(worker.child.pid);
                    if let (Some(lock), Ok(0), false) = (worker.lock.take(), status, told)
                        && let Ok(replies) = worker.replies.try_clone()
                    {
                        held.push(Held { lock, replies });
                    }
                    return false;
                }
                true
            });
            if next()
                && let Some(tidier) = self.tidier.take()
            {
                let _ = process::wait_for(tidier.pid);
            }
            if self.tidy_at.is_some_and(|at| at <= Instant::now()) {
                self.tidy();
            }
            if request {
                match socket::receive(self.requests.as_fd()) {
                    Ok(Some((bytes, descriptors))) => self.request(&bytes, descriptors),
                    Ok(None) | Err(_) => return,
                }
                if self.rest_at.is_some() {
                    self.rest_at = Some(Instant::now() + PAUSE);
                }
            } else if self.rest_at.is_some_and(|at| at <= Instant::now()) {
                self.rest();
            }
        }
    }

    fn request(&mut self, bytes: &[u8], mut descriptors: Vec<OwnedFd>) {
        if descriptors.is_empty() {
            return;
        }
        let replies = descriptors.remove(0);
        let outcome = decode::<Request>(bytes)
            .and_then(|request| self.carry_out(request, descriptors, &replies));
        match outcome {
            Ok(true) => answer(&replies, &Reply::Done),
            Ok(false) => {}
            Err(failure) => answer(&replies, &Reply::Failed(failure)),
        }
    }

    /// Carries out a request; true if its answer is plain [`Reply::Done`].
    fn carry_out(
        &mut self,
        request: Request,
        mut descriptors: Vec<OwnedFd>,
        replies: &OwnedFd,
    ) -> Result<bool, Failure> {
        match request {
            Request::Enter(enter) => {
                if self.entered.is_some() {
                    return Err(Failure::request("the helper has an identity already"));
                }
                let entered = identity::enter(&enter)?;
                let rest = if store::is_short(&entered) { Duration::ZERO } else { REST };
                self.tidy_at = Some(Instant::now() + rest);
                self.rest_at = Some(Instant::now());
                self.entered = Some(entered);
                Ok(true)
            }
            Request::Lock(lock) => self.lock(&lock, replies),
            Request::Store(StoreCall::Discard(place)) => {
                let entered = self.entered()?;
                if store::is_short(entered) {
                    // Whoever works needs the space.
                    return self.carry_out(
                        Request::Store(StoreCall::Remove(place)),
                        descriptors,
                        replies,
                    );
                }
                store::serve(entered, &StoreCall::Discard(place), |_| {})?;
                self.rest_at = Some(Instant::now());
                Ok(true)
            }
            Request::Store(StoreCall::Write(place, content)) => {
                let replaced = store::write(self.entered()?, &place, &content)?;
                if self.replaced.len() < REPLACED {
                    self.replaced.extend(replaced);
                }
                self.rest_at = Some(Instant::now());
                Ok(true)
            }
            Request::Store(call) => {
                if store::is_long(&call) {
                    return self.work(replies, None, move |helper, replies| {
                        store::serve(helper.entered()?, &call, |reply| answer(replies, &reply))
                    });
                }
                let last = store::serve(self.entered()?, &call, |reply| answer(replies, &reply))?;
                answer(replies, &last);
                Ok(false)
            }
            Request::Open(open) => {
                let Some(keeper) = descriptors.pop() else {
                    return Err(Failure::request("a session needs a socket"));
                };
                self.open(&open, keeper, replies)?;
                Ok(false)
            }
            Request::End { session } => {
                if let Some(index) = self.sessions.iter().position(|one| one.number == session) {
                    let ended = self.sessions.swap_remove(index);
                    let _ = pidfd_send_signal(&ended.child.pidfd, rustix::process::Signal::KILL);
                    ended.finish(self.entered.as_ref())?;
                }
                Ok(true)
            }
            Request::Settle { session } => {
                let index = self.sessions.iter().position(|one| one.number == session);
                let gone = || Failure::request("the session has ended");
                let ended = self.sessions.swap_remove(index.ok_or_else(gone)?);
                let _ = pidfd_send_signal(&ended.child.pidfd, rustix::process::Signal::KILL);
                ended.finish(self.entered.as_ref())?;
                let Tree::Overlay { upper: Some(home), .. } = ended.tree else { return Ok(true) };
                let home = store::open_directory(self.entered()?, &home)?;
                let Some(memory) = ended.memory else { return Ok(true) };
                self.work(replies, None, move |_, _| memory.settle(&home).map(|()| Reply::Done))
            }
            Request::Join { home } => {
                let visitor = match store::open_directory(self.entered()?, &home) {
                    Ok(home) => door::knock(&home, self.host.as_fd())
                        .doing(|| "cannot enter the session of another process".into())?,
                    // It is being made.
                    Err(failure) if failure.errno == Errno::NOENT.raw_os_error() => None,
                    Err(failure) => return Err(failure),
                };
                let (reply, sockets) = match &visitor {
                    Some(visitor) => (Reply::Joined, vec![visitor.as_fd()]),
                    None => (Reply::Missing, Vec::new()),
                };
                let _ = socket::send(replies.as_fd(), &encode(&reply)?, &sockets);
                Ok(false)
            }
            Request::Pack { place, pack } => {
                let Some(output) = descriptors.pop() else {
                    return Err(Failure::request("a tree needs somewhere to be written to"));
                };
                self.work(replies, None, move |helper, _| {
                    let entered = helper.entered()?;
                    let home = Place { area: place.area, path: above(&place.path).into() };
                    let home = store::open_directory(entered, &home)?;
                    store::check_boot(&home, &place.path)?;
                    let tree = store::open_directory(entered, &place)?;
                    work::pack(tree.as_fd(), pack, output)
                })
            }
            Request::Known { pristine } => {
                let wanted = one(descriptors)?;
                self.work(replies, None, move |helper, replies| {
                    let tell = |reply| answer(replies, &reply);
                    store::known(helper.entered()?, pristine, wanted, tell)
                })
            }
            Request::Stock(layer) => {
                let Some((tree, records)) = store::stock(self.entered()?, &layer)? else {
                    answer(replies, &Reply::Missing);
                    return Ok(false);
                };
                let files = [tree.as_fd(), records.as_fd()];
                socket::send(replies.as_fd(), &encode(&Reply::Stock)?, &files)
                    .doing(|| "cannot answer".into())?;
                Ok(false)
            }
            Request::Compose { home } => self.work(replies, None, move |helper, replies| {
                let tell = |reply| answer(replies, &reply);
                store::compose(helper.entered()?, &home, descriptors, tell)
            }),
            Request::Keep(place) => {
                let content = one(descriptors)?;
                store::keep(self.entered()?, &place, content)?;
                Ok(true)
            }
            Request::Attach { session, source, target } => {
                self.attach(session, &source, target, replies)?;
                Ok(false)
            }
        }
    }

    fn entered(&self) -> Result<&Entered, Failure> {
        self.entered.as_ref().ok_or_else(|| Failure::request("the helper has no identity yet"))
    }

    /// Starts a process that works and answers.
    fn work(
        &mut self,
        replies: &OwnedFd,
        lock: Option<OwnedFd>,
        work: impl FnOnce(&Helper, &OwnedFd) -> Result<Reply, Failure>,
    ) -> Result<bool, Failure> {
        let ours = replies.try_clone().doing(|| "cannot copy a descriptor".into())?;
        let parent = std::process::id();
        match process::fork(0).doing(|| "cannot fork".into())? {
            Fork::Parent(child) => {
                self.workers.push(Worker { child, replies: ours, lock });
                Ok(false)
            }
            Fork::Child => {
                process::die_with(parent);
                self.forget();
                let outcome = work(self, replies);
                let status = i32::from(outcome.is_err());
                answer(replies, &outcome.unwrap_or_else(Reply::Failed));
                process::exit_now(status)
            }
        }
    }

    /// In a forked process: gives up what belongs to the helper. A copy of a lock would hold it
    /// after its owner has released it.
    fn forget(&mut self) {
        self.held.clear();
        self.sessions.clear();
        self.workers.clear();
        self.replaced.clear();
        self.tidier = None;
    }

    /// Does what nobody shall wait for.
    fn rest(&mut self) {
        self.rest_at = None;
        let replaced = std::mem::take(&mut self.replaced);
        if let Some(entered) = &self.entered
            && (!replaced.is_empty() || store::has_trash(entered))
        {
            sweep(entered, replaced);
        }
    }

    /// Starts a process that cleans up behind killed ones. It is never waited for, but killed when
    /// the helper ends.
    fn tidy(&mut self) {
        self.tidy_at = None;
        let parent = std::process::id();
        match process::fork(0) {
            Ok(Fork::Parent(child)) => self.tidier = Some(child),
            Ok(Fork::Child) => {
                process::die_with(parent);
                self.forget();
                if let Some(entered) = &self.entered {
                    if !store::is_short(entered) {
                        process::be_idle();
                    }
                    store::tidy(entered);
                }
                process::exit_now(0)
            }
            // Another helper will do it.
            Err(_) => {}
        }
    }

    fn lock(&mut self, request: &Lock, replies: &OwnedFd) -> Result<bool, Failure> {
        let file = open_lock(self.entered()?, &request.place)?;
        let doing = || format!("cannot lock {}", request.place.path);
        let sharing = if request.exclusive { Sharing::Exclusive } else { Sharing::Shared };
        if lock::try_take(file.as_fd(), sharing).doing(doing)? {
            write_holder(&file, &request.holder);
            let replies = replies.try_clone().doing(doing)?;
            self.held.push(Held { lock: file, replies });
            return Ok(true);
        }
        let holder = holder_of(&file);
        if request.now {
            return Err(Failure {
                kind: FailureKind::Locked,
                doing: format!("{} is in use by {holder}", request.place.path),
                errno: 0,
            });
        }
        answer(replies, &Reply::Waiting { holder });
        // The lock belongs to the open file description, which a forked process shares.
        let waiting = file.try_clone().doing(doing)?;
        let request_text = (request.place.path.clone(), sharing, request.holder.clone());
        self.work(replies, Some(file), move |_, _| {
            let (path, sharing, holder) = request_text;
            lock::take(waiting.as_fd(), sharing).doing(|| format!("cannot lock {path}"))?;
            write_holder(&waiting, &holder);
            Ok(Reply::Done)
        })
    }

    fn open(&mut self, open: &Open, requests: OwnedFd, replies: &OwnedFd) -> Result<(), Failure> {
        let entered = self.entered()?;
        let copy = |descriptor: &OwnedFd| {
            descriptor.try_clone().doing(|| "cannot copy a descriptor".into())
        };
        let binds = open
            .binds
            .iter()
            .map(|bind| {
                let source = entered.binds.get(bind.number as usize);
                let source = source.ok_or_else(|| Failure::request("an unknown bind"))?;
                // A copy, since a mount can be attached once only.
                let flags = rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE
                    | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | rustix::mount::OpenTreeFlags::AT_EMPTY_PATH
                    | rustix::mount::OpenTreeFlags::AT_RECURSIVE;
                rustix::mount::open_tree(source, "", flags)
                    .isolating(|| "cannot copy a bind".into())
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (link, helper) = socket::pair().doing(|| "cannot make a socket".into())?;
        let Mounted { tree, memory, warning } = tree::mount(entered, open)?;
        // After the mount, which makes the directory. Where no door can be made nobody else enters.
        let home = open.home.as_ref().and_then(|home| store::open_directory(entered, home).ok());
        let door = home.as_ref().and_then(|home| door::make(home).ok());
        let inherited = Inherited {
            door,
            requests,
            helper,
            host: copy(&self.host)?,
            replies: copy(replies)?,
            tree,
            binds,
            locks: self.held.iter().map(|held| copy(&held.lock)).collect::<Result<_, _>>()?,
            number: self.number,
            in_memory: memory.is_some(),
            warnings: warning.into_iter().collect(),
            mode: entered.mode,
            linux32: open.linux32,
        };
        match process::fork(process::SESSION_NAMESPACES)
            .isolating(|| "cannot make the namespaces of a session".into())?
        {
            Fork::Child => keeper::live(inherited, open),
            Fork::Parent(child) => {
                self.sessions.push(Session {
                    number: self.number,
                    child,
                    link,
                    tree: open.tree.clone(),
                    home,
                    memory,
                });
                self.number += 1;
                Ok(())
            }
        }
    }

    /// Hands a detached, read-only mount of a store directory to the keeper of a session.
    fn attach(
        &self,
        session: u32,
        source: &Place,
        target: crate::protocol::Bytes,
        replies: &OwnedFd,
    ) -> Result<(), Failure> {
        let session = self.sessions.iter().find(|known| known.number == session);
        let session = session.ok_or_else(|| Failure::request("the session has ended"))?;
        let directory = store::open_directory(self.entered()?, source)?;
        let tree = tree::bind(&directory, RDONLY | NOSUID | NODEV | NOEXEC)
            .isolating(|| format!("cannot mount {}", source.path))?;
        let message = encode(&AttachLate { target })?;
        socket::send(session.link.as_fd(), &message, &[replies.as_fd(), tree.as_fd()])
            .doing(|| "the session has ended".into())
    }

    /// Ends all that this process started, and waits until it has ended.
    fn end(&mut self) {
        let others = self.workers.iter().map(|worker| &worker.child).chain(&self.tidier);
        let others: Vec<_> = others.collect();
        let sessions = self.sessions.iter().map(|session| &session.child);
        for child in sessions.chain(others.iter().copied()) {
            let _ = pidfd_send_signal(&child.pidfd, rustix::process::Signal::KILL);
        }
        for session in &self.sessions {
            let _ = session.finish(self.entered.as_ref());
        }
        for child in others {
            let _ = process::wait_for(child.pid);
        }
        if self.rest_at.is_some() {
            self.rest();
        }
    }
}

/// Starts a process that empties the trash and ends by itself. It outlives the helper: what was
/// removed is gone soon, and nobody waits for it. It has nothing of the caller's: no descriptor,
/// no directory, no mount but that of the store, no terminal. Before that it deletes
/// `replaced`.
fn sweep(entered: &Entered, replaced: Vec<Replaced>) {
    let child = match process::fork(0) {
        Ok(Fork::Parent(child)) => child,
        Ok(Fork::Child) => {
            // Its parent shall not be one that never waits for it.
            if let Ok(Fork::Child) = process::fork(0) {
                detach(entered, &replaced);
                drop(replaced);
                if store::has_trash(entered) {
                    leave_mounts(entered);
                    store::sweep(entered);
                }
            }
            process::exit_now(0)
        }
        // The next helper does it.
        Err(_) => return,
    };
    let _ = process::wait_for(child.pid);
}

/// Gives up, in a forked process, all descriptors but the areas of the store and `replaced`.
fn detach(entered: &Entered, replaced: &[Replaced]) {
    let _ = rustix::process::setsid();
    let mut kept: Vec<_> = entered.areas.iter().map(|(_, area)| area.as_raw_fd()).collect();
    kept.extend(replaced.iter().map(Replaced::descriptor));
    process::keep_descriptors(&kept);
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        for number in 0..3 {
            let _ = process::replace_descriptor(null.as_fd(), number);
        }
    }
    let _ = rustix::process::chdir("/");
    process::be_modest();
}

/// Gives up, in a forked process, all mounts but that of the store.
fn leave_mounts(entered: &Entered) {
    // Disks of the host that are unmounted meanwhile shall not stay in use here.
    let store = entered.area(Area::Roots).and_then(mounts::bare_copy);
    if let (Ok(store), Ok(())) = (store, process::unshare(libc::CLONE_NEWNS)) {
        let _ = mounts::attach_root(store).and_then(|store| mounts::pivot(&store));
    }
    let _ = rustix::process::chdir("/");
}

fn answer(replies: &OwnedFd, reply: &Reply) {
    if let Ok(bytes) = encode(reply) {
        let _ = socket::send(replies.as_fd(), &bytes, &[]);
    }
}

fn open_lock(entered: &Entered, place: &Place) -> Result<OwnedFd, Failure> {
    let doing = || format!("cannot open the lock {}", place.path);
    let (folder, name) = place.path.rsplit_once('/').unwrap_or(("", &place.path));
    let folder = if folder.is_empty() {
        entered.area(place.area)?.try_clone().doing(doing)?
    } else {
        store::make_path(entered, &Place { area: place.area, path: folder.into() })?
    };
    if name.is_empty() || name == "." || name == ".." {
        return Err(Failure::request(doing()));
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&folder, name, flags, Mode::from(0o644)).doing(doing)
}

/// Bytes of a lock file: always as many, since cutting a file short waits for the disk.
const HOLDER: usize = 200;

fn one(mut descriptors: Vec<OwnedFd>) -> Result<OwnedFd, Failure> {
    match (descriptors.pop(), descriptors.is_empty()) {
        (Some(descriptor), true) => Ok(descriptor),
        _ => Err(Failure::request("the request needs one descriptor")),
    }
}

fn write_holder(file: &OwnedFd, holder: &str) {
    let mut record = [b' '; HOLDER];
    let text = &holder.as_bytes()[..holder.floor_char_boundary(HOLDER)];
    record[..text.len()].copy_from_slice(text);
    // Only for people: nothing depends on it.
    let _ = rustix::io::pwrite(file, &record, 0);
}

fn holder_of(file: &OwnedFd) -> String {
    let mut holder = String::new();
    if let Ok(copy) = file.try_clone() {
        let mut file = File::from(copy);
        let _ = file.seek(SeekFrom::Start(0));
        let _ = file.take(HOLDER as u64).read_to_string(&mut holder);
    }
    let holder = holder.trim();
    if holder.is_empty() { "another process".into() } else { holder.into() }
}
