//! A command inside, connected to the streams of the user.
//!
//! A descriptor of the host's terminal never goes inside: whoever holds one can type into the
//! user's shell. With a terminal on both sides the command gets one of the root's own; otherwise
//! each stream that is a file or a pipe is handed over, and everything else is relayed.

use crate::signals::{Came, Signals};
use crate::streams::Streams;
use crate::terminal::{self, Raw};
use debmock::buildroot::{Exit, Process, Run, Session, Stdio};
use debmock::error::IoContext;
use debmock::operation::CancelToken;
use debmock::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a command may take to end after a signal that asks it to.
const GRACE: Duration = Duration::from_millis(700);

/// What a command is connected to, beside the streams.
pub struct Relay<'a> {
    /// The user's streams.
    pub streams: &'a Streams,
    /// Signals to pass on.
    pub signals: Option<&'a Signals>,
    /// Ends the command.
    pub cancel: &'a CancelToken,
}

/// How a command ended.
pub enum End {
    /// By itself.
    Exit(Exit),
    /// It did not end although a signal asked it to; by the number of the signal.
    Killed(i32),
}

impl Relay<'_> {
    /// Whether the command should have a terminal.
    pub fn has_terminal(&self) -> bool {
        rustix::termios::isatty(&self.streams.input)
            && rustix::termios::isatty(&self.streams.output)
    }

    /// Runs a command to its end.
    pub fn run(&self, session: &Session, run: &Run) -> Result<End> {
        if self.has_terminal() {
            self.on_terminal(session, run)
        } else {
            self.on_pipes(session, run)
        }
    }

    fn on_terminal(&self, session: &Session, run: &Run) -> Result<End> {
        let (rows, columns) = terminal::size(&self.streams.output);
        let mut process = session.spawn(run, Stdio::Terminal(rows, columns))?;
        let master = process
            .terminal
            .take()
            .ok_or_else(|| Error::new(ErrorKind::Helper, "the helper sent no terminal"))?;
        let copy = |file: &dyn AsFd| file.as_fd().try_clone_to_owned();
        let doing = || "cannot copy a descriptor".to_owned();
        let mut inward =
            Inward::new(copy(&self.streams.input).doing(doing)?, copy(&master).doing(doing)?)?;
        // The end of our terminal is not the end of the command's.
        inward.keep_open = true;
        let mut outward = vec![Outward {
            from: Some(copy(&master).doing(doing)?.into()),
            to: copy(&self.streams.output).doing(doing)?.into(),
        }];
        let _raw = Raw::enter(&self.streams.input)
            .doing(|| "cannot set the terminal to raw mode".into())?;
        self.relay(&process, Some(inward), &mut outward, Some(&master))
    }

    fn on_pipes(&self, session: &Session, run: &Run) -> Result<End> {
        let doing = || "cannot make a pipe".to_owned();
        let mut outward = Vec::new();
        let mut inward = None;
        let input = if is_harmless(self.streams.input.as_fd()) {
            self.streams.input.as_fd().try_clone_to_owned().doing(doing)?
        } else {
            let (theirs, ours) = std::io::pipe().doing(doing)?;
            let from = self.streams.input.as_fd().try_clone_to_owned().doing(doing)?;
            inward = Some(Inward::new(from, ours.into())?);
            theirs.into()
        };
        let mut away = |stream: &File| {
            let copy = stream.as_fd().try_clone_to_owned().doing(doing)?;
            if is_harmless(stream.as_fd()) {
                return Ok::<OwnedFd, Error>(copy);
            }
            let (ours, theirs) = std::io::pipe().doing(doing)?;
            outward.push(Outward { from: Some(OwnedFd::from(ours).into()), to: copy.into() });
            Ok(theirs.into())
        };
        let streams = [input, away(&self.streams.output)?, away(&self.streams.error)?];
        let process = session.spawn(run, Stdio::Descriptors(streams))?;
        self.relay(&process, inward, &mut outward, None)
    }

    /// Moves bytes until the command has ended.
    fn relay(
        &self,
        process: &Process,
        mut inward: Option<Inward>,
        outward: &mut [Outward],
        master: Option<&OwnedFd>,
    ) -> Result<End> {
        let mut asked: Option<(i32, Instant)> = None;
        loop {
            let mut set = vec![PollFd::new(process, PollFlags::IN)];
            // A place that never has anything keeps the others where they are.
            let none = process.as_fd();
            set.push(match self.signals {
                Some(signals) => PollFd::new(signals, PollFlags::IN),
                None => PollFd::from_borrowed_fd(none, PollFlags::empty()),
            });
            let (inward_fd, inward_flags) = match &inward {
                Some(inward) => inward.interest(),
                None => (none, PollFlags::empty()),
            };
            set.push(PollFd::from_borrowed_fd(inward_fd, inward_flags));
            for stream in outward.iter() {
                match &stream.from {
                    Some(from) => set.push(PollFd::new(from, PollFlags::IN)),
                    None => set.push(PollFd::from_borrowed_fd(none, PollFlags::empty())),
                }
            }
            let wait = match asked {
                // Without signals of our own, somebody else may cancel.
                None if self.signals.is_some() => None,
                _ => Some(Timespec { tv_sec: 0, tv_nsec: 100_000_000 }),
            };
            match poll(&mut set, wait.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io("cannot wait for the command", error)),
            }
            let ready: Vec<bool> = set.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(set);
            if self.cancel.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "the command was cancelled"));
            }
            for (stream, ready) in outward.iter_mut().zip(&ready[3..]) {
                if *ready && stream.from.is_some() {
                    stream.pump()?;
                }
            }
            if ready[0]
                && let Some(exit) = process.poll_exit()?
            {
                for stream in outward.iter_mut() {
                    stream.drain()?;
                }
                return Ok(End::Exit(exit));
            }
            if ready[2]
                && let Some(stream) = &mut inward
                && !stream.pump()
            {
                inward = None;
            }
            while let Some(came) = self.signals.and_then(Signals::next) {
                match (came, asked) {
                    (Came::Resized, _) => {
                        if let Some(master) = master {
                            resize(master, &self.streams.output);
                        }
                    }
                    (Came::End(number), None) => {
                        process.signal(number)?;
                        asked = Some((number, Instant::now()));
                    }
                    (Came::End(number), Some(_)) => return Ok(End::Killed(number)),
                }
            }
            if let Some((number, since)) = asked
                && since.elapsed() > GRACE
            {
                return Ok(End::Killed(number));
            }
        }
    }
}

/// Whether a descriptor may go inside: a file, a pipe, or the null device. A directory would be a
/// way out of the root, a terminal one into the user's shell, a socket one to whoever listens.
fn is_harmless(descriptor: BorrowedFd<'_>) -> bool {
    let Ok(stat) = fstat(descriptor) else { return false };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::Fifo => true,
        FileType::CharacterDevice => stat.st_rdev == rustix::fs::makedev(1, 3),
        _ => false,
    }
}

fn resize(master: &OwnedFd, terminal: &File) {
    if let Ok(size) = rustix::termios::tcgetwinsize(terminal) {
        // The program inside learns it from the kernel, by a signal.
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
}

/// From the user to the command. Never blocks on the command, which may not read.
struct Inward {
    from: File,
    to: File,
    pending: Vec<u8>,
    ended: bool,
    /// Do not tell the command when the user's stream ends.
    keep_open: bool,
}

impl Inward {
    fn new(from: OwnedFd, to: OwnedFd) -> Result<Self> {
        let doing = || "cannot prepare a stream".to_owned();
        let flags = fcntl_getfl(&to).doing(doing)?;
        fcntl_setfl(&to, flags | OFlags::NONBLOCK).doing(doing)?;
        Ok(Inward {
            from: from.into(),
            to: to.into(),
            pending: Vec::new(),
            ended: false,
            keep_open: false,
        })
    }

    fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        if !self.pending.is_empty() {
            (self.to.as_fd(), PollFlags::OUT)
        } else if self.ended {
            (self.to.as_fd(), PollFlags::empty())
        } else {
            (self.from.as_fd(), PollFlags::IN)
        }
    }

    /// Moves what there is; false when there will be nothing more.
    fn pump(&mut self) -> bool {
        if self.pending.is_empty() && !self.ended {
            let mut buffer = [0; 16 * 1024];
            match self.from.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if is_passing(&error) => {}
                // A terminal that was hung up.
                Err(_) => self.ended = true,
            }
        }
        if !self.pending.is_empty() {
            match self.to.write(&self.pending) {
                Ok(count) => {
                    self.pending.drain(..count);
                }
                Err(error) if is_passing(&error) => {}
                // Nobody reads any more.
                Err(_) => return false,
            }
        }
        !(self.pending.is_empty() && self.ended && !self.keep_open)
    }
}

/// From the command to the user.
struct Outward {
    from: Option<File>,
    to: File,
}

impl Outward {
    /// Reads once and writes it; how many bytes. Closes when either side has ended.
    fn pump(&mut self) -> Result<usize> {
        let Some(from) = &mut self.from else { return Ok(0) };
        let mut buffer = [0; 64 * 1024];
        match from.read(&mut buffer) {
            Ok(0) => self.from = None,
            Ok(count) => match write_all(&mut self.to, &buffer[..count]) {
                Ok(()) => return Ok(count),
                // The command learns it as it would without us.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => self.from = None,
                Err(error) => {
                    // A full disk is that of whoever reads it, not ours.
                    let message = "cannot pass on the output of the command";
                    return Err(Error::new(ErrorKind::Io, message).with_source(error));
                }
            },
            Err(error) if is_passing(&error) => {}
            // How a terminal without anybody on the other side reads.
            Err(_) => self.from = None,
        }
        Ok(0)
    }

    /// Moves what is there now. A background process that goes on writing does not hold us.
    fn drain(&mut self) -> Result<()> {
        let Some(from) = &self.from else { return Ok(()) };
        // A terminal without anybody on the other side has nothing to say.
        let mut left = rustix::io::ioctl_fionread(from).unwrap_or(0);
        while left > 0 && self.from.is_some() {
            left = left.saturating_sub(self.pump()? as u64);
        }
        Ok(())
    }
}

/// As `write_all`, for descriptors that somebody else may have made non-blocking.
fn write_all(to: &mut File, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(&*to, PollFlags::OUT)], None);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted)
}

/// Exit status for the end of a command, as a shell gives it.
pub fn status(end: &End) -> u8 {
    let signal = |number: i32| 128_u8.wrapping_add(number as u8);
    match end {
        End::Killed(number) => signal(*number),
        End::Exit(exit) => match (exit.status, exit.signal) {
            (_, Some(number)) => signal(number),
            (Some(status), None) => status as u8,
            (None, None) => 125,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn directories_sockets_and_terminals_stay_outside() {
        let directory = File::open("/").unwrap();
        let (socket, _other) = UnixStream::pair().unwrap();
        let terminal = nix::pty::openpty(None, None).unwrap();
        assert!(!is_harmless(directory.as_fd()));
        assert!(!is_harmless(socket.as_fd()));
        assert!(!is_harmless(terminal.slave.as_fd()));
    }

    #[test]
    fn files_pipes_and_null_go_inside() {
        let (pipe, _other) = std::io::pipe().unwrap();
        let null = File::open("/dev/null").unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        assert!(
            is_harmless(pipe.as_fd()) && is_harmless(null.as_fd()) && is_harmless(file.as_fd())
        );
    }
}
