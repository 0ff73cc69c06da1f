//! The host's end: starts the helper, sends requests, receives replies.
//!
//! Nothing here changes the host process: the helper is started with [`std::process::Command`]
//! without a hook between fork and exec, with its socket as standard input; every descriptor is
//! close-on-exec; the only child that is ever waited for is the helper, by its process id.

use super::{BUILD_ID, Bytes, Command, Failure, MAGIC, Reply, Request, decode, encode};
use crate::sys::socket;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a program may take to say that it is a helper.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which program plays the helper.
#[derive(Debug, Clone)]
pub struct Program {
    /// A real file: some systems grant user namespaces by path.
    pub path: PathBuf,
    /// Arguments that make it play the helper.
    pub arguments: Vec<OsString>,
}

/// Why talking to the helper failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The program cannot be started.
    #[error("cannot start the helper {path}")]
    Start {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is of another build.
    #[error("the helper {path} is of build {theirs:?}, this library of build {BUILD_ID:?}")]
    Build {
        /// Its path.
        path: PathBuf,
        /// What it said.
        theirs: String,
    },
    /// Another process, whose session this one wants to enter, is of another build.
    #[error("the other process is of build {0:?}, this one of build {BUILD_ID:?}")]
    Stranger(String),
    /// It is gone.
    #[error("the helper ended without an answer{}", if .0.is_empty() { String::new() } else { format!("; it said: {}", .0) })]
    Gone(String),
    /// It sent what is no message.
    #[error("the helper broke the protocol: {0}")]
    Protocol(String),
    /// The socket failed.
    #[error("the connection to the helper failed")]
    Socket(#[source] std::io::Error),
    /// The handle is used in a forked child of the process that made it.
    #[error("this handle belongs to process {0}; a forked child cannot use it")]
    Forked(u32),
    /// It said no.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<Errno> for ClientError {
    fn from(error: Errno) -> Self {
        ClientError::Socket(error.into())
    }
}

/// A running helper. Dropping it ends the helper and all that it holds, and waits for that.
pub struct Helper {
    socket: Option<OwnedFd>,
    child: Mutex<Child>,
    words: File,
    owner: u32,
}

impl std::fmt::Debug for Helper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Helper(of process {})", self.owner)
    }
}

impl Helper {
    /// Starts `program` and compares build ids.
    pub fn start(program: &Program) -> Result<Self, ClientError> {
        let (ours, theirs) = socket::pair()?;
        let words = File::from(rustix::fs::memfd_create(
            "debmock-helper-words",
            rustix::fs::MemfdFlags::CLOEXEC,
        )?);
        let child = std::process::Command::new(&program.path)
            .args(&program.arguments)
            .arg0(program.path.as_os_str())
            // It and what it starts (`newuidmap`) need no variable; secrets of the host do not
            // belong into it, and the loader shall not take orders meant for the host.
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| is_ours(name)))
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::from(words.try_clone().map_err(ClientError::Socket)?))
            .spawn()
            .map_err(|source| ClientError::Start { path: program.path.clone(), source })?;
        let helper = Helper {
            socket: Some(ours),
            child: Mutex::new(child),
            words,
            owner: std::process::id(),
        };
        let hello = [MAGIC.as_slice(), BUILD_ID.as_bytes()].concat();
        // A program that is no helper may already be gone; what it left is in its words.
        let _ = socket::send(helper.socket()?, &hello, &[]);
        if !helper.answers_within(PATIENCE)? {
            if let Ok(mut child) = helper.child.lock() {
                let _ = child.kill();
            }
            let seconds = PATIENCE.as_secs();
            let message = format!("it says nothing for {seconds} seconds");
            return Err(ClientError::Protocol(message));
        }
        let Some((answer, _)) = socket::receive(helper.socket()?)? else {
            return Err(ClientError::Gone(helper.last_words()));
        };
        match answer.strip_prefix(MAGIC.as_slice()) {
            Some(id) if id == BUILD_ID.as_bytes() => Ok(helper),
            Some(id) => Err(ClientError::Build {
                path: program.path.clone(),
                theirs: String::from_utf8_lossy(&id[..id.len().min(100)]).into_owned(),
            }),
            None => Err(ClientError::Protocol("its first message is no greeting".into())),
        }
    }

    /// Whether there is something to read from it by then.
    fn answers_within(&self, patience: Duration) -> Result<bool, ClientError> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = rustix::event::Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            let socket = self.socket()?;
            match poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)], Some(&left)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn socket(&self) -> Result<BorrowedFd<'_>, ClientError> {
        if std::process::id() != self.owner {
            return Err(ClientError::Forked(self.owner));
        }
        self.socket.as_ref().map(AsFd::as_fd).ok_or(ClientError::Gone(String::new()))
    }

    /// Sends a request; its replies come over the channel.
    pub fn request(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Channel, ClientError> {
        send_with_channel(self.socket()?, &encode(request)?, descriptors)
    }

    /// What the helper wrote to its standard error: only on bugs and crashes.
    pub fn last_words(&self) -> String {
        let mut words = String::new();
        if let Ok(file) = &mut self.words.try_clone() {
            let _ = file.seek(SeekFrom::Start(0));
            let _ = file.take(4096).read_to_string(&mut words);
        }
        words.trim().to_owned()
    }

    /// Process id of the helper.
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner).id()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.socket.take());
        if std::process::id() == self.owner {
            // Fails with ECHILD where the host ignores SIGCHLD: then the kernel has reaped it.
            let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _ = child.wait();
        }
    }
}

/// Whether an environment variable is debmock's own, or asks for words about a crash.
fn is_ours(name: &std::ffi::OsStr) -> bool {
    name == "RUST_BACKTRACE" || name.as_encoded_bytes().starts_with(b"DEBMOCK_")
}

/// Sends `message` with a fresh reply socket in front of `descriptors`.
pub(crate) fn send_with_channel(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<Channel, ClientError> {
    let (ours, theirs) = socket::pair()?;
    let all: Vec<BorrowedFd<'_>> =
        std::iter::once(theirs.as_fd()).chain(descriptors.iter().copied()).collect();
    match socket::send(socket, message, &all) {
        Ok(()) => Ok(Channel { socket: ours, owner: std::process::id() }),
        Err(Errno::PIPE | Errno::CONNRESET) => Err(ClientError::Gone(String::new())),
        Err(error) => Err(error.into()),
    }
}

/// The replies to one request. Dropping it cancels the request.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    owner: u32,
}

impl Channel {
    /// The next reply and its descriptors; `None` if none came within `wait`.
    pub fn receive(&self, wait: Duration) -> Result<Option<(Reply, Vec<OwnedFd>)>, ClientError> {
        self.check_fork()?;
        if !self.readable(wait)? {
            return Ok(None);
        }
        match socket::receive(self.socket.as_fd())? {
            Some((bytes, descriptors)) => match decode(&bytes) {
                Ok(reply) => Ok(Some((reply, descriptors))),
                Err(failure) => Err(ClientError::Protocol(failure.doing)),
            },
            None => Err(ClientError::Gone(String::new())),
        }
    }

    /// Waits without a limit for the next reply that is no failure.
    pub fn reply(&self) -> Result<(Reply, Vec<OwnedFd>), ClientError> {
        loop {
            match self.receive(Duration::from_secs(3600))? {
                Some((Reply::Failed(failure), _)) => return Err(failure.into()),
                Some(reply) => return Ok(reply),
                None => {}
            }
        }
    }

    /// Waits for [`Reply::Done`].
    pub fn done(&self) -> Result<(), ClientError> {
        match self.reply()? {
            (Reply::Done, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Tells the running request something.
    pub fn control(&self, control: &super::Control) -> Result<(), ClientError> {
        self.send(control, &[])
    }

    /// Tells the running request something that descriptors belong to.
    pub fn send(
        &self,
        control: &super::Control,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ClientError> {
        self.check_fork()?;
        match socket::send(self.socket.as_fd(), &encode(control)?, descriptors) {
            Ok(()) => Ok(()),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(ClientError::Gone(String::new())),
            Err(error) => Err(error.into()),
        }
    }

    /// Cancels the request without giving up the channel: the other side sees its end.
    pub fn abandon(&self) -> Result<(), ClientError> {
        Ok(rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both)?)
    }

    /// A forked child would take away replies that the process that asked waits for.
    fn check_fork(&self) -> Result<(), ClientError> {
        if std::process::id() == self.owner { Ok(()) } else { Err(ClientError::Forked(self.owner)) }
    }

    fn readable(&self, wait: Duration) -> Result<bool, ClientError> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = rustix::event::Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            let mut set = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut set, Some(&left)) {
                Ok(count) => return Ok(count > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A reply that does not belong to the request.
pub fn unexpected(reply: &Reply) -> ClientError {
    let text = format!("an unexpected reply {reply:?}");
    ClientError::Protocol(text.chars().take(200).collect())
}

/// At the door of a session that another process has open, where nobody has greeted yet.
#[derive(Debug)]
pub struct Visit(Option<Channel>);

impl Visit {
    /// With the socket that came with [`Reply::Joined`].
    pub fn new(socket: OwnedFd) -> Self {
        Visit(Some(Channel { socket, owner: std::process::id() }))
    }

    /// The session, once its keeper has greeted; `None` if it has not within `wait`.
    pub fn greeted(&mut self, wait: Duration) -> Result<Option<Keeper>, ClientError> {
        let gone = || ClientError::Gone(String::new());
        let channel = self.0.as_ref().ok_or_else(gone)?;
        channel.check_fork()?;
        if !channel.readable(wait)? {
            return Ok(None);
        }
        let (greeting, _) = socket::receive(channel.socket.as_fd())?.ok_or_else(gone)?;
        match greeting.strip_prefix(MAGIC.as_slice()) {
            Some(id) if id == BUILD_ID.as_bytes() => Ok(self
                .0
                .take()
                .map(|channel| Keeper { socket: channel.socket, owner: channel.owner })),
            Some(id) => {
                let id = String::from_utf8_lossy(&id[..id.len().min(100)]).into_owned();
                Err(ClientError::Stranger(id))
            }
            None => Err(ClientError::Protocol("its first message is no greeting".into())),
        }
    }
}

/// An open session, as the host holds it: the socket of its keeper.
#[derive(Debug)]
pub struct Keeper {
    socket: OwnedFd,
    owner: u32,
}

impl Keeper {
    /// A fresh pair: the host's end, and the end that goes along with [`Request::Open`].
    pub fn pair() -> Result<(Self, OwnedFd), ClientError> {
        let (ours, theirs) = socket::pair()?;
        Ok((Keeper { socket: ours, owner: std::process::id() }, theirs))
    }

    /// Sends a request; its replies come over the channel.
    pub fn request(
        &self,
        command: &Command,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Channel, ClientError> {
        if std::process::id() != self.owner {
            return Err(ClientError::Forked(self.owner));
        }
        send_with_channel(self.socket.as_fd(), &encode(command)?, descriptors)
    }
}

/// Bytes of a text.
pub fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::from(text.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_sees_no_variable_of_the_hosts() {
        assert!(std::env::var_os("PATH").is_some());
        let script = "tr '\\0' '\\n' < /proc/$$/environ >&2";
        let program = Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), format!("PATH=/usr/bin:/bin; {script}").into()],
        };
        let error = Helper::start(&program).unwrap_err();
        let ClientError::Gone(words) = &error else { panic!("{error}") };
        let foreign = |line: &&str| {
            !line.is_empty() && !is_ours(line.split('=').next().unwrap_or_default().as_ref())
        };
        assert_eq!(words.lines().find(foreign), None);
        assert!(is_ours("DEBMOCK_HELPER".as_ref()) && !is_ours("LD_PRELOAD".as_ref()));
    }
}
