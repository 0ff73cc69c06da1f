//! A buildroot that is open: a keeper process holds its namespaces, commands run in it.

use super::Stdio;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use crate::store::{Held, Zone};
use debmock_helper::protocol::{
    Bind, Bytes, Channel, Command, Control, Entry, Job, Keeper, Open, Place, Reply, Request,
    SessionFile, Tree, bytes, unexpected,
};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
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
}

/// An open buildroot. Dropping it ends every process and every mount of it.
#[derive(Debug)]
pub struct Session {
    keeper: Keeper,
    number: u32,
    zone: Arc<Zone>,
    locks: Vec<Arc<Held>>,
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
    /// Opens a session. `locks` are held as long as it lives.
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
        };
        let request = Request::Open(Box::new(open));
        let channel = zone.helper().request(&request, &[theirs.as_fd()])?;
        drop(theirs);
        let (reply, _) = channel.reply().map_err(|error| explain_weak(error.into()))?;
        match reply {
            Reply::Opened { session, warnings } => {
                for warning in warnings {
                    scope.warn(warning, None);
                }
                let zone = Arc::clone(zone);
                Ok(Session { keeper, number: session, zone, locks })
            }
            other => Err(unexpected(&other).into()),
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
        let request = Request::End { session: self.number };
        Ok(self.zone.helper().request(&request, &[])?.done()?)
    }

    /// Starts a program.
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
        let channel = self.keeper.request(&message, &borrowed)?;
        drop(borrowed);
        drop(streams);
        let (reply, mut descriptors) = channel.reply()?;
        match reply {
            Reply::Started => Ok(Process { channel, terminal: descriptors.pop() }),
            other => Err(unexpected(&other).into()),
        }
    }

    /// Runs a program whose output goes line by line to `sink`, both streams mixed as they come,
    /// and waits for its end.
    pub fn run(
        &self,
        run: &Run,
        scope: &Scope,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Exit> {
        let (output, theirs) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
        let theirs = OwnedFd::from(theirs);
        // A pipe belongs to who made it, and opening `/dev/stdout` or `/dev/stderr` asks: without
        // this a build user could not write to its own output by these names.
        rustix::fs::fchmod(&theirs, rustix::fs::Mode::from(0o666))
            .doing(|| "cannot prepare a pipe".into())?;
        let both = theirs.try_clone().doing(|| "cannot copy a descriptor".into())?;
        let null = File::open("/dev/null").doing(|| "cannot open /dev/null".into())?;
        let process = self.spawn(run, Stdio::Descriptors([null.into(), theirs, both]))?;
        let mut lines = Lines::new(File::from(OwnedFd::from(output)));
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
                ));
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
                ));
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
        Ok(self.keeper.request(&Command::Job(Box::new(job)), descriptors)?)
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
    pub fn make_directory(&self, path: &str, mode: u32, owner: (u32, u32)) -> Result<()> {
        Ok(self.job(Job::MakeDirectory { path: bytes(path), mode, owner }, &[])?.done()?)
    }

    /// Deletes a file or tree inside; a missing one is fine.
    pub fn remove(&self, path: &str) -> Result<()> {
        Ok(self.job(Job::Remove { path: bytes(path) }, &[])?.done()?)
    }

    /// Mounts a directory of the store read-only inside, until the returned value is dropped.
    pub fn attach(&self, source: Place, target: &str) -> Result<Attached<'_>> {
        let request = Request::Attach { session: self.number, source, target: bytes(target) };
        self.zone.helper().request(&request, &[])?.done()?;
        Ok(Attached { session: self, target: target.to_owned() })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Whoever opens the buildroot next shall not have to wait for what is still ending. A
        // forked child only closes its descriptors; a helper that is gone has taken all along.
        let _ = self.end();
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
}

impl Process {
    /// How it ended, if it has.
    pub fn poll_exit(&self) -> Result<Option<Exit>> {
        self.wait(Duration::ZERO)
    }

    /// How it ended, if it does within `limit`.
    pub fn wait(&self, limit: Duration) -> Result<Option<Exit>> {
        match self.channel.receive(limit)? {
            Some((Reply::Exited(exit), _)) => Ok(Some(exit)),
            Some((Reply::Failed(failure), _)) => Err(failure.into()),
            Some((other, _)) => Err(unexpected(&other).into()),
            None => Ok(None),
        }
    }

    /// Sends a signal to its process group.
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
