//! Programs inside, run to their end.

use crate::operation::Outcome;
use crate::value;
use debmock::buildroot::{Exit, Process, Run, Session, Stdio, output_pipe};
use debmock::error::IoContext;
use debmock::event::{Log, What};
use debmock::operation::Scope;
use debmock::{Error, ErrorKind, Result};
use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The login shell that a root has, the better one first.
const SHELL: &str = "command -v bash >/dev/null && exec bash -l; exec sh -l";

/// A program, as the package passes it: a dictionary with all of these keys.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct RunOptions {
    argv: Option<Vec<Vec<u8>>>,
    env: Vec<(String, String)>,
    clear_env: bool,
    cwd: String,
    user: String,
    network: bool,
    suppress_sync: bool,
    linux32: bool,
    timeout: Option<f64>,
    silence_timeout: Option<f64>,
}

impl RunOptions {
    /// The program as `core` has it.
    pub fn into_core(self) -> PyResult<Run> {
        let mut run = match self.argv {
            Some(argv) => Run::new(argv),
            None => Run::new(["/bin/sh", "-c", SHELL]),
        };
        if self.clear_env {
            run.environment.clear();
        }
        for (name, value) in self.env {
            run = run.env(&name, value);
        }
        run.directory = self.cwd;
        run.user = self.user;
        run.network = self.network;
        run.suppress_sync = self.suppress_sync;
        run.linux32 = self.linux32;
        let seconds =
            |limit: Option<f64>, name| limit.map(|limit| value::seconds(limit, name)).transpose();
        run.wall_limit = seconds(self.timeout, "timeout")?;
        run.silence_limit = seconds(self.silence_timeout, "silence_timeout")?;
        Ok(run)
    }
}

/// What happens to the streams of a program.
#[derive(Debug)]
pub struct Streams {
    /// What it reads.
    pub input: Option<Vec<u8>>,
    /// What it prints is kept, not told.
    pub capture: bool,
    /// Both streams are one.
    pub merge: bool,
    /// It must not print more bytes than this, if they are kept.
    pub most: usize,
}

/// Runs a program to its end. What it prints is kept, or becomes lines of the log of commands.
///
/// # Errors
/// [`ErrorKind::Timeout`] after a limit of the run, and those of starting a program.
pub fn run(session: &Session, run: &Run, streams: Streams, scope: &Scope) -> Result<Outcome> {
    if streams.input.is_none() && (!streams.capture || streams.merge) {
        return mixed(session, run, &streams, scope);
    }
    let (output, theirs) = output_pipe()?;
    let (errors, to_errors) = match streams.merge || !streams.capture {
        true => (None, theirs.try_clone().doing(|| "cannot copy a descriptor".into())?),
        false => output_pipe().map(|(ours, theirs)| (Some(ours), theirs))?,
    };
    let input = input(streams.input.as_deref())?;
    let process = session.spawn(run, Stdio::Descriptors([input, theirs, to_errors]))?;
    let mut all: Vec<Stream> =
        [Some(output), errors].into_iter().flatten().map(Stream::new).collect();
    let exit = follow(&process, run, &streams, &mut all, scope)?;
    for stream in &mut all {
        stream.drain()?;
        if !streams.capture {
            stream.tell(true, scope);
        }
    }
    check_size(run, &streams, &all)?;
    let mut kept = all.into_iter().map(|stream| stream.bytes);
    let output = kept.next().filter(|_| streams.capture);
    Ok(Outcome::Exit(exit, [output, kept.next()]))
}

/// Both streams as they come, which core does.
fn mixed(session: &Session, run: &Run, streams: &Streams, scope: &Scope) -> Result<Outcome> {
    if streams.capture {
        let (exit, output) = session.output(run, streams.most, scope)?;
        return Ok(Outcome::Exit(exit, [Some(output), None]));
    }
    let exit = session.run(run, scope, |line| {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\n', '\r']).to_owned();
        scope.emit(What::LogLine { log: Log::Command, text });
        Ok(())
    })?;
    Ok(Outcome::Exit(exit, [None, None]))
}

/// What the program reads: a file in memory, which nobody has to write to while it runs.
fn input(given: Option<&[u8]>) -> Result<OwnedFd> {
    let Some(given) = given else {
        return Ok(File::open("/dev/null").doing(|| "cannot open /dev/null".into())?.into());
    };
    let doing = || "cannot make a file in memory".to_owned();
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("debmock", flags).doing(doing)?);
    file.write_all(given).doing(doing)?;
    file.seek(SeekFrom::Start(0)).doing(doing)?;
    Ok(file.into())
}

/// Reads what the program prints until it has ended.
fn follow(
    process: &Process,
    run: &Run,
    streams: &Streams,
    all: &mut [Stream],
    scope: &Scope,
) -> Result<Exit> {
    let started = Instant::now();
    let mut heard = started;
    loop {
        scope.check()?;
        let late = |limit: Option<Duration>, since: Instant| {
            limit.filter(|limit| since.elapsed() > *limit)
        };
        if let Some(limit) = late(run.wall_limit, started) {
            return Err(timeout(scope, "wall", &format!("did not end within {limit:?}"), run));
        }
        if let Some(limit) = late(run.silence_limit, heard) {
            return Err(timeout(scope, "silence", &format!("printed nothing for {limit:?}"), run));
        }
        let ready = wait(process, all)?;
        for (stream, ready) in all.iter_mut().zip(&ready[1..]) {
            if *ready {
                stream.read()?;
                heard = Instant::now();
                if !streams.capture {
                    stream.tell(false, scope);
                }
            }
        }
        check_size(run, streams, all)?;
        if ready[0]
            && let Some(exit) = process.poll_exit()?
        {
            return Ok(exit);
        }
    }
}

fn timeout(scope: &Scope, limit: &str, what: &str, run: &Run) -> Error {
    scope.emit(What::LimitHit { limit: limit.into() });
    Error::new(ErrorKind::Timeout, format!("{} {what}", run.words()))
}

fn check_size(run: &Run, streams: &Streams, all: &[Stream]) -> Result<()> {
    let size: usize = all.iter().map(|stream| stream.bytes.len()).sum();
    if size <= streams.most {
        return Ok(());
    }
    let message = format!("{} printed more than {} bytes", run.words(), streams.most);
    Err(Error::new(ErrorKind::Unexpected, message)
        .with_hint("allow more with max_output, or let its output go to events"))
}

/// Waits a tenth of a second for the end of the program or output; which of them there is.
fn wait(process: &Process, all: &[Stream]) -> Result<Vec<bool>> {
    let open = || all.iter().enumerate().filter(|(_, stream)| stream.open);
    let mut set = vec![PollFd::new(process, PollFlags::IN)];
    // A stream that has ended is ready for ever, whatever one asks for: it is left out.
    set.extend(open().map(|(_, stream)| PollFd::new(&stream.file, PollFlags::IN)));
    let tenth = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    match poll(&mut set, Some(&tenth)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(Error::io("cannot wait for a program", error)),
    }
    let mut ready = vec![false; all.len() + 1];
    let places = std::iter::once(0).chain(open().map(|(number, _)| number + 1));
    for (place, one) in places.zip(&set) {
        ready[place] = !one.revents().is_empty();
    }
    Ok(ready)
}

/// One stream of a program, and what came out of it.
struct Stream {
    file: File,
    open: bool,
    bytes: Vec<u8>,
}

impl Stream {
    fn new(file: File) -> Self {
        Stream { file, open: true, bytes: Vec::new() }
    }

    /// Reads once; how many bytes.
    fn read(&mut self) -> Result<usize> {
        let mut buffer = [0; 64 * 1024];
        let count = self.file.read(&mut buffer).doing(|| "cannot read output".into())?;
        self.open = count != 0;
        self.bytes.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// Reads what is there now: a program in the background that goes on writing does not hold us.
    fn drain(&mut self) -> Result<()> {
        let mut left =
            rustix::io::ioctl_fionread(&self.file).doing(|| "cannot read output".into())?;
        while left > 0 && self.open {
            left = left.saturating_sub(self.read()? as u64);
        }
        Ok(())
    }

    /// Tells whole lines, or all that is left, as events.
    fn tell(&mut self, all: bool, scope: &Scope) {
        /// A line that is longer is cut.
        const LONGEST: usize = 64 * 1024;
        let end = match self.bytes.iter().rposition(|byte| *byte == b'\n') {
            _ if all || self.bytes.len() > LONGEST => self.bytes.len(),
            Some(end) => end + 1,
            None => return,
        };
        for line in self.bytes[..end].split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            let text = text.trim_end_matches(['\n', '\r']).to_owned();
            scope.emit(What::LogLine { log: Log::Command, text });
        }
        self.bytes.drain(..end);
    }
}
