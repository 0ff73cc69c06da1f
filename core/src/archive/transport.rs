//! Getting bytes from where archives are: `http`, `https`, `file`, `copy`.
//!
//! [`Transport`] is one request; [`Download`] is a stream that survives what may pass: it tries
//! again with growing pauses and goes on where it stopped. No stream is without an upper bound.

mod connect;
mod http;
mod names;
mod stop;

use super::uri;
use crate::config::Network;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{CancelToken, Scope};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use stop::Stop;

/// What a server says about the state of a file, for conditional requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`, as the server wrote it.
    pub last_modified: Option<String>,
}

impl Validators {
    /// Whether a request with these is a conditional one.
    pub(super) fn say_something(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }
}

/// What is asked of a [`Transport`].
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Where the file is.
    pub url: &'a str,
    /// First byte that is wanted.
    pub from: u64,
    /// The state that is known: with `from` 0 the file is wanted only if it has another, else
    /// the rest is wanted only if it has the same.
    pub known: Option<&'a Validators>,
}

/// What a [`Transport`] answers.
pub enum Answer {
    /// The file; `from` is the position of the first byte, which may be less than was asked for.
    Body {
        /// Position of the first byte in the file.
        from: u64,
        /// Size of the whole file, where the server tells.
        size: Option<u64>,
        /// The state of the file.
        validators: Validators,
        /// The bytes.
        body: Box<dyn Read + Send>,
    },
    /// The file is as it was known.
    Unchanged,
    /// There is no such file; the sentence says how the server put it.
    Missing(String),
}

/// Why a request failed.
#[derive(Debug)]
pub struct Failure {
    /// The error for the caller.
    pub error: Error,
    /// Whether it may pass: a connection that broke, an overloaded server.
    pub passing: bool,
    /// How long the server asks to wait.
    pub wait: Option<Duration>,
}

impl Failure {
    pub(crate) fn lasting(error: Error) -> Self {
        Failure { error, passing: false, wait: None }
    }

    pub(crate) fn passing(error: Error) -> Self {
        Failure { error, passing: true, wait: None }
    }
}

/// One way to get files. Implementations are used by many threads at once.
pub trait Transport: Send + Sync {
    /// Starts one transfer. No retries: that is the affair of [`Download`].
    fn open(&self, request: Request<'_>) -> std::result::Result<Answer, Failure>;

    /// How often a [`Download`] tries again without having moved on.
    fn retries(&self) -> u32 {
        3
    }

    /// Breaks off every transfer, now and from now on: the work that they are for has failed.
    /// What they end with has [`ErrorKind::Cancelled`].
    fn interrupt(&self) {}

    /// Whether [`Transport::interrupt`] was called.
    fn is_interrupted(&self) -> bool {
        false
    }

    /// The first pause between two tries; each further one is twice as long, 8 s at most.
    fn pause(&self) -> Duration {
        Duration::from_millis(400)
    }
}

/// The host's network and files, as the config says.
///
/// It belongs to one operation: cancelling or interrupting it breaks off every transfer within a
/// fifth of a second. Connections are kept for reuse until it is dropped.
pub struct HostTransport {
    http: http::Http,
    stop: Stop,
    retries: u32,
}

impl HostTransport {
    /// Proxies, credentials, certificates and patience of `network`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the file of certificate authorities cannot be used.
    pub fn new(network: &Network, cancel: CancelToken) -> Result<Self> {
        let stop = Stop::new(cancel);
        let http = http::Http::new(network, stop.clone())?;
        Ok(HostTransport { http, stop, retries: network.retries })
    }
}

impl Transport for HostTransport {
    fn open(&self, request: Request<'_>) -> std::result::Result<Answer, Failure> {
        let parts = uri::split(request.url).map_err(Failure::lasting)?;
        match parts.scheme {
            "http" | "https" => self.http.open(request),
            "file" | "copy" => open_file(&parts, request),
            other => Err(Failure::lasting(
                Error::new(
                    ErrorKind::Config,
                    format!(
                        "cannot fetch {}: the scheme {other} is not supported",
                        uri::redacted(request.url)
                    ),
                )
                .with_hint("use an archive at http, https, file or copy"),
            )),
        }
    }

    fn retries(&self) -> u32 {
        self.retries
    }

    fn interrupt(&self) {
        self.stop.set();
    }

    fn is_interrupted(&self) -> bool {
        self.stop.is_set()
    }
}

fn open_file(parts: &uri::Parts<'_>, request: Request<'_>) -> std::result::Result<Answer, Failure> {
    use std::os::unix::ffi::OsStringExt;
    let path = PathBuf::from(std::ffi::OsString::from_vec(uri::decode(parts.path)));
    let failed = |error: io::Error| {
        Failure::lasting(
            Error::io(format!("cannot read {}", path.display()), error)
                .with_kind(ErrorKind::Archive),
        )
    };
    let metadata = match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata,
        // What is no regular file might block for ever.
        Ok(_) => return Ok(Answer::Missing(format!("{} is not a regular file", path.display()))),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Answer::Missing(format!("{} does not exist", path.display())));
        }
        Err(error) => return Err(failed(error)),
    };
    let mut file = std::fs::File::open(&path).map_err(failed)?;
    file.seek(SeekFrom::Start(request.from)).map_err(failed)?;
    Ok(Answer::Body {
        from: request.from,
        size: Some(metadata.len()),
        validators: Validators::default(),
        body: Box::new(file),
    })
}

/// How large a file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Exactly this many bytes, as a signed file says.
    Exactly(u64),
    /// At most this many.
    AtMost(u64),
}

/// What [`Download::start`] finds.
pub enum Started<'a> {
    /// A stream of the wanted bytes.
    Stream(Download<'a>),
    /// The file is as it was known.
    Unchanged,
    /// There is no such file; the sentence says how the server put it.
    Missing(String),
}

/// The bytes of one file, from a given position to its end.
///
/// A failure that may pass does not reach the reader: the transfer goes on where it stopped.
/// Other failures come as an [`io::Error`] that carries an [`Error`]; [`into_error`] takes it
/// out again.
pub struct Download<'a> {
    transport: &'a dyn Transport,
    scope: &'a Scope,
    url: String,
    size: Size,
    /// What the server says that the whole has.
    told: Option<u64>,
    validators: Validators,
    at: u64,
    tries: u32,
    /// Position at which the count of tries began.
    tried_at: u64,
    body: Option<Box<dyn Read + Send>>,
}

/// What to do about a server that breaks the protocol.
const BROKEN_MIRROR: &str =
    "the mirror or a proxy on the way to it does not work as it should: use another one";

/// Bytes after which an interrupted transfer counts as having moved on.
const PROGRESS: u64 = 256 * 1024;

impl<'a> Download<'a> {
    /// Starts to transfer `url` from byte `from` on. With `known`, only if the file has changed.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it failed more often than the transport's retries, or for good.
    pub fn start(
        transport: &'a dyn Transport,
        scope: &'a Scope,
        url: &str,
        from: u64,
        size: Size,
        known: Option<&Validators>,
    ) -> Result<Started<'a>> {
        let mut download = Download {
            transport,
            scope,
            url: url.to_owned(),
            size,
            told: None,
            validators: Validators::default(),
            at: from,
            tries: 0,
            tried_at: from,
            body: None,
        };
        Ok(match download.open(known.filter(|_| from == 0))? {
            None => Started::Stream(download),
            Some(Answer::Missing(how)) => Started::Missing(how),
            Some(_) => Started::Unchanged,
        })
    }

    /// The state of the file as the server told it.
    pub fn validators(&self) -> &Validators {
        &self.validators
    }

    fn shown(&self) -> String {
        uri::redacted(&self.url)
    }

    /// Fails if nobody wants the rest any more.
    fn check(&self) -> Result<()> {
        self.scope.check()?;
        match self.transport.is_interrupted() {
            true => {
                let why = format!("{} is not wanted any more", self.shown());
                Err(Error::new(ErrorKind::Cancelled, why))
            }
            false => Ok(()),
        }
    }

    /// Opens the file at the present position, with retries. An answer without a body is given
    /// back.
    fn open(&mut self, known: Option<&Validators>) -> Result<Option<Answer>> {
        loop {
            self.check()?;
            let own = Some(&self.validators).filter(|_| self.at > 0);
            let request = Request { url: &self.url, from: self.at, known: known.or(own) };
            let failure = match self.transport.open(request) {
                Ok(Answer::Body { from, size, validators, body }) => {
                    if let Some(wrong) = self.wrong_size(size) {
                        return Err(wrong);
                    }
                    self.told = size;
                    match self.skip(from, body) {
                        Ok(body) => {
                            self.body = Some(body);
                            self.validators = validators;
                            return Ok(None);
                        }
                        Err(failure) => failure,
                    }
                }
                Ok(other) => return Ok(Some(other)),
                Err(failure) => failure,
            };
            self.pause(failure)?;
        }
    }

    /// The error if the server tells a size that cannot be right.
    fn wrong_size(&self, told: Option<u64>) -> Option<Error> {
        let told = told?;
        let why = match self.size {
            Size::Exactly(size) if told != size => {
                format!(
                    "{} has {told} bytes instead of the {size} that the signed index names",
                    self.shown()
                )
            }
            Size::AtMost(limit) if told > limit => {
                format!("{} has {told} bytes; more than {limit} are not accepted", self.shown())
            }
            _ => return None,
        };
        Some(
            Error::new(ErrorKind::Archive, why)
                .with_hint("the mirror may be in the middle of an update or damaged: try again later or use another one"),
        )
    }

    /// Reads over what comes before the wanted position.
    fn skip(
        &self,
        from: u64,
        mut body: Box<dyn Read + Send>,
    ) -> std::result::Result<Box<dyn Read + Send>, Failure> {
        let mut left = self.at.saturating_sub(from);
        if from > self.at {
            let error =
                format!("{} was answered from byte {from} on instead of {}", self.shown(), self.at);
            let error = Error::new(ErrorKind::Archive, error).with_hint(BROKEN_MIRROR);
            return Err(Failure::lasting(error));
        }
        let mut buffer = [0; 16 * 1024];
        while left > 0 {
            self.check().map_err(Failure::lasting)?;
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match body.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(Failure::passing(self.stopped(self.at - left))),
                Ok(count) => left -= count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Failure::passing(self.stopped(self.at - left).with_source(error)));
                }
            }
        }
        Ok(body)
    }

    fn stopped(&self, at: u64) -> Error {
        let whole = match (self.size, self.told) {
            (Size::Exactly(size), _) | (_, Some(size)) => format!(" of {size}"),
            _ => String::new(),
        };
        Error::new(ErrorKind::Archive, format!("{} stopped after {at}{whole} bytes", self.shown()))
            .with_hint("run the command again: it goes on where it stopped; if that does not help, use another mirror")
    }

    /// Waits before the next try, or gives up.
    fn pause(&mut self, failure: Failure) -> Result<()> {
        self.body = None;
        self.check()?;
        if !failure.passing {
            return Err(failure.error);
        }
        if self.at >= self.tried_at + PROGRESS {
            self.tries = 0;
            self.tried_at = self.at;
        }
        if self.tries >= self.transport.retries() {
            let tries = self.tries + 1;
            return Err(if tries > 1 {
                failure.error.context(format!("gave up after {tries} tries"))
            } else {
                failure.error
            });
        }
        let pause = self.transport.pause() * 2_u32.pow(self.tries.min(8));
        let pause = failure.wait.unwrap_or(pause).min(Duration::from_secs(8));
        self.tries += 1;
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.check()?;
            std::thread::sleep(Duration::from_millis(50).min(pause));
        }
        Ok(())
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let limit = match self.size {
            Size::Exactly(size) | Size::AtMost(size) => size,
        };
        loop {
            self.check()?;
            let Some(body) = &mut self.body else {
                match self.open(None)? {
                    None => continue,
                    Some(Answer::Missing(how)) => {
                        return Err(self
                            .stopped(self.at)
                            .with_source(Error::new(ErrorKind::Archive, how)));
                    }
                    Some(_) => return Err(self.stopped(self.at)),
                }
            };
            // One byte more than the limit, to notice what is too long.
            let room = usize::try_from(limit.saturating_sub(self.at).saturating_add(1))
                .unwrap_or(usize::MAX);
            let wanted = buffer.len().min(room);
            match body.read(&mut buffer[..wanted]) {
                Ok(0) => {
                    let complete = match (self.size, self.told) {
                        (Size::Exactly(size), _) | (Size::AtMost(_), Some(size)) => self.at >= size,
                        (Size::AtMost(_), None) => true,
                    };
                    if complete {
                        return Ok(0);
                    }
                    self.pause(Failure::passing(self.stopped(self.at)))?;
                }
                Ok(count) => {
                    self.at += count as u64;
                    if self.at > limit {
                        let error = format!(
                            "{} is longer than the {limit} bytes that it may have",
                            self.shown()
                        );
                        return Err(Error::new(ErrorKind::Archive, error).with_hint(BROKEN_MIRROR));
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let stopped = self.stopped(self.at).with_source(error);
                    self.pause(Failure::passing(stopped))?;
                }
            }
        }
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.read_some(buffer).map_err(io::Error::other)
    }
}

/// The [`Error`] that a [`Download`] put into an [`io::Error`]; any other becomes one about
/// `doing`.
pub fn into_error(error: io::Error, doing: impl FnOnce() -> String) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::io(doing(), error),
    }
}

/// What [`read_small`] finds.
pub enum Small {
    /// The file and its state.
    Bytes(Vec<u8>, Validators),
    /// The file is as it was known.
    Unchanged,
    /// There is no such file.
    Missing(String),
}

/// Reads a file of at most `limit` bytes into memory.
///
/// # Errors
/// As [`Download`].
pub fn read_small(
    transport: &dyn Transport,
    scope: &Scope,
    url: &str,
    limit: u64,
    known: Option<&Validators>,
) -> Result<Small> {
    match Download::start(transport, scope, url, 0, Size::AtMost(limit), known)? {
        Started::Unchanged => Ok(Small::Unchanged),
        Started::Missing(how) => Ok(Small::Missing(how)),
        Started::Stream(mut stream) => {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).map_err(|error| {
                into_error(error, || format!("cannot read {}", uri::redacted(url)))
            })?;
            Ok(Small::Bytes(bytes, stream.validators.clone()))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
