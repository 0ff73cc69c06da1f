//! A buildroot that is open: a keeper process holds its namespaces, commands run in it.

use super::{Stdio, output_pipe};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::event::Log;
use crate::operation::Scope;
use crate::store::{Held, Zone};
use debmock_helper::protocol::{
    Bind, Bytes, Channel, ClientError, Command, Control, Entry, Job, Keeper, Open, Place, Reply,
    Request, SessionFile, Tree, Visit, bytes, unexpected,
};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use debmock_helper::protocol::Exit;

/// How to open a session.
#[derive(Debug)]
pub struct SessionOptions {
    /// What becomes `/`.
    pub tree: Tree,
    /// Files of the session itself: hosts, resolver, policy.
    pub files: Vec<SessionFile>,
    /// Host name inside.
    pub hostname: String,
    /// Host paths that become visible.
    pub binds: Vec<Bind>,
    /// Accept a weaker `/proc` or `/sys` with a warning.
    pub accept_weak: bool,
    /// The root is of the 32-bit architecture of this 64-bit machine: `uname -m` says so to its
    /// programs.
    pub linux32: bool,
    /// The directory of the buildroot, if other processes of the same user may enter the session.
    pub home: Option<Place>,
    /// Bytes of memory for the changes, which end with the session unless they are moved to the
    /// disk; 0 for the disk. Where memory cannot hold them the disk does, with a warning.
    pub memory: u64,
}

/// An open buildroot. Dropping it ends every process and every mount of it; of one that another
/// process has open, only what was started with this value.
#[derive(Debug)]
pub struct Session {
    keeper: Keeper,
    whose: Whose,
    in_memory: bool,
    zone: Arc<Zone>,
    locks: Vec<Arc<Held>>,
    packages: Arc<Turns>,
}

/// Who works with the packages of a root, of the threads that share its session.
#[derive(Debug, Default)]
struct Turns {
    taken: Mutex<bool>,
    over: Condvar,
}

/// The right to work with the packages of a root. Dropping it lets the next thread have it.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Turns>);

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.over.notify_one();
    }
}

#[derive(Debug)]
enum Whose {
    /// This process's own, by the helper's number.
    Ours(u32),
    /// That of another process, as its lock names it.
    Theirs(String),
}

/// A program to run inside.
#[derive(Debug, Clone)]
pub struct Run {
    /// Program and arguments.
    pub argv: Vec<Bytes>,
    /// Names and values. Nothing else is set but, where they are missing here, `HOME`, `USER`,
    /// `LOGNAME` and `SHELL` as the root's `/etc/passwd` says for the user.
    pub environment: Vec<(String, String)>,
    /// Working directory inside.
    pub directory: String,
    /// User name or number of the root's own user database.
    pub user: String,
    /// The host's network instead of the empty one.
    pub network: bool,
    /// Make `fsync` and its relatives succeed without effect.
    pub suppress_sync: bool,
    /// End the program after this time.
    pub wall_limit: Option<Duration>,
    /// End the program when it printed nothing for this long (captured and logged runs only).
    pub silence_limit: Option<Duration>,
    /// 32-bit personality, also in a session without.
    pub linux32: bool,
}

impl Run {
    /// `argv` as root in `/`, without network, with a minimal environment.
    pub fn new<I: IntoIterator<Item = S>, S: AsRef<[u8]>>(argv: I) -> Self {
        let pairs = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("TERM", "dumb"),
            ("LANG", "C.UTF-8"),
            ("LC_ALL", "C.UTF-8"),
        ];
        Run {
            argv: argv.into_iter().map(bytes).collect(),
            environment: pairs.map(|(name, value)| (name.into(), value.into())).to_vec(),
            directory: "/".into(),
            user: "root".into(),
            network: false,
            suppress_sync: false,
            wall_limit: None,
            silence_limit: None,
            linux32: false,
        }
    }

    /// Sets one variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The program and its arguments, for messages.
    pub fn words(&self) -> String {
        let words: Vec<_> = self.argv.iter().map(|word| String::from_utf8_lossy(word)).collect();
        words.join(" ")
    }
}

impl Session {
    /// Waits until no other thread works with the packages of the root: what apt chose for one is
    /// not what is there when another has finished, and what is mounted for apt is mounted once.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`].
    pub(crate) fn package_turn(&self, scope: &Scope) -> Result<Turn> {
        let turns = &self.packages;
        let mut taken = turns.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            scope.check()?;
            let wait = Duration::from_millis(50);
            (taken, _) =
                turns.over.wait_timeout(taken, wait).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = true;
        Ok(Turn(Arc::clone(turns)))
    }

    /// Opens a session. `locks` are held as long as it lives.
    ///
    /// # Errors
    /// [`ErrorKind::Isolation`] if this machine or user cannot have it, [`ErrorKind::Buildroot`] for a
    /// tree that a machine which went down may have damaged, [`ErrorKind::Io`] if there is none.
    pub fn open(
        zone: &Arc<Zone>,
        options: SessionOptions,
        locks: Vec<Arc<Held>>,
        scope: &Scope,
    ) -> Result<Self> {
        let (keeper, theirs) = Keeper::pair()?;
        let open = Open {
            tree: options.tree,
            files: options.files,
            hostname: options.hostname,
            binds: options.binds,
            accept_weak: options.accept_weak,
            linux32: options.linux32,
            home: options.home,
            memory: options.memory,
        };
        let request = Request::Open(Box::new(open));
        let channel = zone.helper().request(&request, &[theirs.as_fd()])?;
        drop(theirs);
        let (reply, _) = channel.reply().map_err(|error| explain_weak(error.into()))?;
        match reply {
            Reply::Opened { session, in_memory, warnings } => {
                for warning in warnings {
                    scope.warn(warning, None);
                }
                let zone = Arc::clone(zone);
                let (whose, packages) = (Whose::Ours(session), Arc::default());
                Ok(Session { keeper, whose, in_memory, zone, locks, packages })
            }
            other => Err(unexpected(&other).into()),
        }
    }

    /// The session that `holder` has open on the buildroot in `home`, if that one lets others in.
    ///
    /// # Errors
    /// [`ErrorKind::Helper`] if that process is of another build.
    pub(super) fn enter(
        zone: &Arc<Zone>,
        home: Place,
        holder: &str,
        scope: &Scope,
    ) -> Result<Option<Self>> {
        let (reply, mut sockets) = zone.helper().request(&Request::Join { home }, &[])?.reply()?;
        let socket = match (reply, sockets.pop()) {
            (Reply::Missing, _) => return Ok(None),
            (Reply::Joined, Some(socket)) => socket,
            (other, _) => return Err(unexpected(&other).into()),
        };
        let mut visit = Visit::new(socket);
        let keeper = loop {
            scope.check()?;
            match visit.greeted(Duration::from_millis(100)) {
                Ok(Some(keeper)) => break keeper,
                // It is laying out its mounts.
                Ok(None) => {}
                // It has ended meanwhile, or begins to.
                Err(ClientError::Gone(_)) => return Ok(None),
                Err(ClientError::Stranger(theirs)) => {
                    let message = format!(
                        "the session is open in {holder}, which has debmock of build {theirs:?}; \
                         this one is of build {:?}",
                        debmock_helper::protocol::BUILD_ID
                    );
                    return Err(Error::new(ErrorKind::Helper, message).with_hint(
                        "use the same debmock for both, wait until the session has ended, or use \
                         --uniqueext for a buildroot of your own",
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        };
        let whose = Whose::Theirs(holder.to_owned());
        let zone = Arc::clone(zone);
        let (locks, packages) = (Vec::new(), Arc::default());
        let session = Session { keeper, whose, in_memory: false, zone, locks, packages };
        scope.line(Log::Root, format!("entered the session that {holder} has open"));
        Ok(Some(session))
    }

    /// Who has it open, if that is another process.
    pub fn holder(&self) -> Option<&str> {
        match &self.whose {
            Whose::Ours(_) => None,
            Whose::Theirs(holder) => Some(holder),
        }
    }

    /// The number of a session of this process's own.
    fn number(&self) -> Result<u32> {
        match &self.whose {
            Whose::Ours(number) => Ok(*number),
            Whose::Theirs(holder) => Err(Error::new(
                ErrorKind::Busy,
                format!("the session belongs to {holder}, which alone may change what it is"),
            )
            .with_hint("wait until that session has ended")),
        }
    }

    /// The zone that it belongs to.
    pub fn zone(&self) -> &Arc<Zone> {
        &self.zone
    }

    /// Its locks, for those who have something to do right after its end.
    pub(super) fn locks(&self) -> Vec<Arc<Held>> {
        self.locks.clone()
    }

    /// Ends every process and every mount of it, while somebody may still hold the value: whatever
    /// is asked of it afterwards fails.
    pub(crate) fn end(&self) -> Result<()> {
        let request = Request::End { session: self.number()? };
        Ok(self.zone.helper().request(&request, &[])?.done()?)
    }

    /// Whether what is changed in the root is in memory, and ends with the session.
    pub fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// As [`Session::end`], and what was changed in memory is on the disk afterwards.
    pub(super) fn settle(&self, scope: &Scope) -> Result<()> {
        let request = Request::Settle { session: self.number()? };
        let channel = self.zone.helper().request(&request, &[])?;
        crate::store::wait(&channel, scope).map(drop)
    }

    /// Starts a program.
    ///
    /// # Errors
    /// [`ErrorKind::Exec`] if it cannot be started, [`ErrorKind::Helper`] if the session has ended.
    pub fn spawn(&self, run: &Run, stdio: Stdio) -> Result<Process> {
        let (terminal, streams) = match stdio {
            Stdio::Terminal(rows, columns) => (Some((rows, columns)), Vec::new()),
            Stdio::Descriptors(streams) => (None, streams.into()),
        };
        let message = Command::Run(Box::new(debmock_helper::protocol::Run {
            argv: run.argv.clone(),
            environment: run.environment.iter().map(|(n, v)| bytes(format!("{n}={v}"))).collect(),
            directory: bytes(&run.directory),
            user: run.user.clone(),
            network: run.network,
            terminal,
            umask: 0o022,
            suppress_sync: run.suppress_sync,
            processes: None,
            memory: None,
            file_size: None,
            linux32: run.linux32,
        }));
        let borrowed: Vec<BorrowedFd<'_>> = streams.iter().map(AsFd::as_fd).collect();
        let channel = self.request(&message, &borrowed)?;
        drop(borrowed);
        drop(streams);
        let holder = self.holder().map(str::to_owned);
        if terminal.is_none() {
            // Its end tells, or a failure in its place.
            return Ok(Process { channel, terminal: None, holder });
        }
        match channel.reply().map_err(|error| explain_end(error, self.holder()))? {
            (Reply::Terminal, mut descriptors) => {
                Ok(Process { channel, terminal: descriptors.pop(), holder })
            }
            (other, _) => Err(unexpected(&other).into()),
        }
    }

    /// Runs a program whose output goes line by line to `sink`, both streams mixed as they come,
    /// and waits for its end.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] after a limit of `run`, [`ErrorKind::Cancelled`], those of
    /// [`Session::spawn`] and of `sink`; the program is killed then.
    pub fn run(
        &self,
        run: &Run,
        scope: &Scope,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Exit> {
        let (output, theirs) = output_pipe()?;
        let both = theirs.try_clone().doing(|| "cannot copy a descriptor".into())?;
        let null = File::open("/dev/null").doing(|| "cannot open /dev/null".into())?;
        let process = self.spawn(run, Stdio::Descriptors([null.into(), theirs, both]))?;
        let mut lines = Lines::new(output);
        let started = Instant::now();
        let mut heard = started;
        let exit = loop {
            scope.check()?;
            if run.wall_limit.is_some_and(|limit| started.elapsed() > limit) {
                scope.emit(crate::event::What::LimitHit { limit: "wall".into() });
                return Err(Error::new(
                    ErrorKind::Timeout,
                    format!(
                        "{} did not end within {:?}",
                        run.words(),
                        run.wall_limit.unwrap_or_default()
                    ),
                )
                .with_hint("give it more time if it needs that"));
            }
            if run.silence_limit.is_some_and(|limit| heard.elapsed() > limit) {
                scope.emit(crate::event::What::LimitHit { limit: "silence".into() });
                return Err(Error::new(
                    ErrorKind::Timeout,
                    format!(
                        "{} printed nothing for {:?}",
                        run.words(),
                        run.silence_limit.unwrap_or_default()
                    ),
                )
                .with_hint("give it more time if it works without words"));
            }
            let (printed, ended) = lines.poll(&process, Duration::from_millis(100))?;
            if printed {
                heard = Instant::now();
                lines.read(&mut sink)?;
            }
            if ended && let Some(exit) = process.poll_exit()? {
                break exit;
            }
        };
        lines.drain(&mut sink)?;
        lines.finish(&mut sink)?;
        Ok(exit)
    }

    /// Runs a program as [`Session::run`] and collects its output, of at most `most` bytes.
    ///
    /// # Errors
    /// Those of [`Session::run`]; [`ErrorKind::Unexpected`] if it prints more.
    pub fn output(&self, run: &Run, most: usize, scope: &Scope) -> Result<(Exit, Vec<u8>)> {
        let mut output = Vec::new();
        let exit = self.run(run, scope, |line| {
            if output.len() + line.len() > most {
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    format!("{} printed more than {most} bytes", run.words()),
                ));
            }
            output.extend_from_slice(line);
            Ok(())
        })?;
        Ok((exit, output))
    }

    pub(crate) fn job(&self, job: Job, descriptors: &[BorrowedFd<'_>]) -> Result<Channel> {
        self.request(&Command::Job(Box::new(job)), descriptors)
    }

    fn request(&self, command: &Command, descriptors: &[BorrowedFd<'_>]) -> Result<Channel> {
        let sent = self.keeper.request(command, descriptors);
        sent.map_err(|error| explain_end(error, self.holder()))
    }

    /// Carries out a job that answers with nothing but its end.
    pub(crate) fn work(
        &self,
        job: Job,
        descriptors: &[BorrowedFd<'_>],
        scope: &Scope,
    ) -> Result<()> {
        match crate::store::wait(&self.job(job, descriptors)?, scope)? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other).into()),
        }
    }

    /// Writes a file inside, in one step, with parents of mode 0755.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] and [`ErrorKind::NoSpace`]; the file is as before then.
    pub fn write_file(
        &self,
        path: &str,
        content: BorrowedFd<'_>,
        mode: u32,
        owner: (u32, u32),
    ) -> Result<()> {
        Ok(self.job(Job::WriteFile { path: bytes(path), mode, owner }, &[content])?.done()?)
    }

    /// Writes a small file inside.
    ///
    /// # Errors
    /// As [`Session::write_file`].
    pub fn write_text(&self, path: &str, text: &[u8], mode: u32) -> Result<()> {
        let doing = || format!("cannot prepare {path}");
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::memfd_create("debmock", flags).doing(doing)?);
        file.write_all(text).doing(doing)?;
        file.seek(SeekFrom::Start(0)).doing(doing)?;
        self.write_file(path, file.as_fd(), mode, (0, 0))
    }

    /// Opens a regular file inside for reading; its size in bytes comes along. A link in its place
    /// is refused.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if there is none, [`ErrorKind::Buildroot`] for what is no regular file.
    pub fn open_file(&self, path: &str) -> Result<(File, u64)> {
        self.open_regular(path, false)
    }

    /// As [`Session::open_file`]; with `follow` a link in its place leads on, as if the root were
    /// `/`, and never out of it.
    pub(super) fn open_regular(&self, path: &str, follow: bool) -> Result<(File, u64)> {
        let channel = self.job(Job::OpenFile { path: bytes(path), follow }, &[])?;
        match channel.reply()? {
            (Reply::File { size, .. }, mut descriptors) => match descriptors.pop() {
                Some(file) => Ok((File::from(file), size)),
                None => Err(Error::new(ErrorKind::Helper, "the helper sent no descriptor")),
            },
            (other, _) => Err(unexpected(&other).into()),
        }
    }

    /// Content of a file inside, of at most `most` bytes.
    ///
    /// # Errors
    /// As [`Session::open_file`]; [`ErrorKind::Buildroot`] for a larger one.
    pub fn read_file(&self, path: &str, most: u64) -> Result<Vec<u8>> {
        let (file, size) = self.open_file(path)?;
        if size > most {
            return Err(Error::new(
                ErrorKind::Buildroot,
                format!("{path} of the root has {size} bytes, more than {most}"),
            ));
        }
        let mut content = Vec::new();
        file.take(most).read_to_end(&mut content).doing(|| format!("cannot read {path}"))?;
        Ok(content)
    }

    /// What lies in a directory inside, sorted by name.
    pub fn list_directory(&self, path: &str) -> Result<Vec<Entry>> {
        let channel = self.job(Job::ListDirectory { path: bytes(path) }, &[])?;
        let mut all = Vec::new();
        loop {
            match channel.reply()?.0 {
                Reply::Entries(entries) => all.extend(entries),
                Reply::Done => return Ok(all),
                other => return Err(unexpected(&other).into()),
            }
        }
    }

    /// Makes a directory inside, with parents of mode 0755.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::NoSpace`].
    pub fn make_directory(&self, path: &str, mode: u32, owner: (u32, u32)) -> Result<()> {
        Ok(self.job(Job::MakeDirectory { path: bytes(path), mode, owner }, &[])?.done()?)
    }

    /// Deletes a file or tree inside; a missing one is fine.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] for what cannot be deleted.
    pub fn remove(&self, path: &str) -> Result<()> {
        Ok(self.job(Job::Remove { path: bytes(path) }, &[])?.done()?)
    }

    /// Mounts a directory of the store read-only inside, until the returned value is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if one of both is missing or cannot be mounted.
    pub fn attach(&self, source: Place, target: &str) -> Result<Attached<'_>> {
        let session = self.number()?;
        let request = Request::Attach { session, source, target: bytes(target) };
        self.zone.helper().request(&request, &[])?.done()?;
        Ok(Attached { session: self, target: target.to_owned() })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Whoever opens the buildroot next shall not have to wait for what is still ending. A
        // forked child only closes its descriptors; a helper that is gone has taken all along.
        // That of another process is not ours to end.
        let _ = self.end();
    }
}

/// A session of another process ends when that one likes.
fn explain_end(error: ClientError, holder: Option<&str>) -> Error {
    match (&error, holder) {
        (ClientError::Gone(_), Some(holder)) => Error::new(
            ErrorKind::Buildroot,
            format!("the session that was entered has ended with its owner, {holder}"),
        )
        .with_hint("run the command again: it opens a session of its own"),
        _ => error.into(),
    }
}

/// What a surrounding container forbids the config may do without.
fn explain_weak(error: Error) -> Error {
    let masked = ["cannot mount /proc", "cannot mount /sys", "cannot set the host name"];
    let refused = error.kind() == ErrorKind::Isolation
        && masked.iter().any(|words| error.message().starts_with(words));
    match refused {
        true => error.with_hint(
            "a surrounding container forbids it: start that with more rights, or set \
             isolation.accept_weak = true to go on with less isolation",
        ),
        false => error,
    }
}

/// A mount that [`Session::attach`] made.
#[must_use = "dropping it unmounts at once"]
#[derive(Debug)]
pub struct Attached<'a> {
    session: &'a Session,
    target: String,
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        // A session that has ended has no mounts.
        let command = Command::Detach { target: bytes(&self.target) };
        if let Ok(channel) = self.session.keeper.request(&command, &[]) {
            let _ = channel.done();
        }
    }
}

/// A running program. Dropping it kills the program's process group.
#[derive(Debug)]
pub struct Process {
    channel: Channel,
    /// Our end of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// Who has the session open, if that is another process.
    holder: Option<String>,
}

impl Process {
    /// How it ended, if it has.
    ///
    /// # Errors
    /// [`ErrorKind::Helper`] if nobody knows, as its session has ended.
    pub fn poll_exit(&self) -> Result<Option<Exit>> {
        self.wait(Duration::ZERO)
    }

    /// How it ended, if it does within `limit`.
    ///
    /// # Errors
    /// As [`Process::poll_exit`].
    pub fn wait(&self, limit: Duration) -> Result<Option<Exit>> {
        let received = self.channel.receive(limit);
        match received.map_err(|error| explain_end(error, self.holder.as_deref()))? {
            Some((Reply::Exited(exit), _)) => Ok(Some(exit)),
            Some((Reply::Failed(failure), _)) => Err(failure.into()),
            Some((other, _)) => Err(unexpected(&other).into()),
            None => Ok(None),
        }
    }

    /// Sends a signal to its process group.
    ///
    /// # Errors
    /// [`ErrorKind::Helper`] if it has ended already, with its session.
    pub fn signal(&self, number: i32) -> Result<()> {
        Ok(self.channel.control(&Control::Signal(number))?)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Cuts the output of a program into lines.
struct Lines {
    output: File,
    open: bool,
    rest: Vec<u8>,
}

/// A line that is longer is cut into pieces of this many bytes.
const LONGEST_LINE: usize = 64 * 1024;

impl Lines {
    fn new(output: File) -> Self {
        Lines { output, open: true, rest: Vec::new() }
    }

    /// Waits for output or the end of the process; which of them there is.
    fn poll(&self, process: &Process, wait: Duration) -> Result<(bool, bool)> {
        let mut set = vec![PollFd::new(process, PollFlags::IN)];
        if self.open {
            set.push(PollFd::new(&self.output, PollFlags::IN));
        }
        poll_for(&mut set, wait)?;
        let ready: Vec<bool> = set.iter().map(|fd| !fd.revents().is_empty()).collect();
        Ok((ready.get(1).copied().unwrap_or(false), ready[0]))
    }

    /// Reads what is in the pipe now. It belongs to the program that has ended; a background
    /// process that goes on writing does not hold us.
    fn drain(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left =
            rustix::io::ioctl_fionread(&self.output).doing(|| "cannot read output".into())?;
        while left > 0 && self.open {
            left = left.saturating_sub(self.read(sink)? as u64);
        }
        Ok(())
    }

    /// Reads once; how many bytes.
    fn read(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let mut buffer = [0; 32 * 1024];
        let count = self.output.read(&mut buffer).doing(|| "cannot read output".into())?;
        if count == 0 {
            self.open = false;
            return Ok(0);
        }
        self.rest.extend_from_slice(&buffer[..count]);
        let mut from = 0;
        while let Some(end) = self.rest[from..].iter().position(|&byte| byte == b'\n') {
            sink(&self.rest[from..=from + end])?;
            from += end + 1;
        }
        if self.rest.len() - from > LONGEST_LINE {
            sink(&self.rest[from..])?;
            from = self.rest.len();
        }
        self.rest.drain(..from);
        Ok(count)
    }

    fn finish(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            sink(&rest)?;
        }
        Ok(())
    }
}

fn poll_for(set: &mut [PollFd<'_>], wait: Duration) -> Result<()> {
    let wait = rustix::event::Timespec {
        tv_sec: wait.as_secs() as i64,
        tv_nsec: i64::from(wait.subsec_nanos()),
    };
    match poll(set, Some(&wait)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(Error::io("cannot wait for a program", error)),
    }
}
