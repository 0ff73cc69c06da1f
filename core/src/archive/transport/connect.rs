//! TCP connections that notice at once that they are to stop.
//!
//! ureq's own connector blocks in `connect` and `read` for as long as its limits allow. This one
//! waits in short slices, and its limit is on silence, not on the length of a transfer.

use super::stop::Stop;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

/// How long a wait lasts before it looks again whether to stop.
const SLICE: Duration = Duration::from_millis(100);

/// What a connection must bring at least, or it counts as broken: a server that sends a byte now
/// and then would keep a transfer for days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Bytes in a second of waiting, on average.
    pub least: u32,
    /// How long it is looked at.
    pub over: Duration,
}

impl Pace {
    /// That of connections with this limit on silence: 1 kB/s over a minute, or over the longest
    /// silence if that is more.
    pub(super) fn of(silence: Duration) -> Self {
        Pace { least: 1000, over: silence.max(Duration::from_secs(60)) }
    }
}

/// What came since the pace was looked at last.
#[derive(Debug, Clone, Copy, Default)]
struct Came {
    bytes: u64,
    waited: Duration,
}

impl Came {
    /// Notes what a wait brought. Only waiting counts: the reader may be slow itself.
    fn note(&mut self, bytes: usize, waited: Duration, pace: Pace) -> io::Result<()> {
        self.bytes += bytes as u64;
        self.waited += waited;
        if self.waited < pace.over {
            return Ok(());
        }
        let enough = self.waited.as_secs_f64() * f64::from(pace.least);
        let Came { bytes, waited } = std::mem::take(self);
        #[expect(clippy::cast_precision_loss, reason = "it is a few kilobytes or much more")]
        if bytes as f64 >= enough {
            return Ok(());
        }
        let seconds = waited.as_secs();
        let why = format!("the server is too slow: {bytes} bytes in {seconds} seconds");
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    }
}

/// Connects to the first address that answers.
pub(super) struct CancellableTcp {
    pub stop: Stop,
    pub silence: Duration,
    pub pace: Pace,
    /// The other end is a proxy that is to get files itself (RFC 9112 section 3.2.2); with its
    /// login, if it has one, encoded for `Basic`.
    pub forwarded: Option<Option<String>>,
}

impl fmt::Debug for CancellableTcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancellableTcp")
    }
}

fn cancelled() -> io::Error {
    io::Error::other("the transfer was broken off")
}

impl CancellableTcp {
    fn connect_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => {}
            Err(rustix::io::Errno::INPROGRESS | rustix::io::Errno::INTR) => {
                let start = Instant::now();
                let slice = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
                loop {
                    if self.stop.is_set() {
                        return Err(cancelled());
                    }
                    match poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&slice)) {
                        Ok(0) if start.elapsed() > self.silence => {
                            return Err(io::ErrorKind::TimedOut.into());
                        }
                        Ok(0) | Err(rustix::io::Errno::INTR) => {}
                        Ok(_) => break,
                        Err(error) => return Err(error.into()),
                    }
                }
                sockopt::socket_error(&socket)??;
            }
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from(socket);
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SLICE))?;
        stream.set_write_timeout(Some(SLICE))?;
        Ok(stream)
    }
}

impl<In: Transport> Connector<In> for CancellableTcp {
    type Out = Either<In, Tcp>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let mut failure = io::Error::other("the host has no address");
        for address in &details.addrs {
            match self.connect_to(*address) {
                Ok(stream) => {
                    let (input, output) =
                        (details.config.input_buffer_size(), details.config.output_buffer_size());
                    let forwarding = self.forwarded.as_ref().map(|login| Forwarding {
                        origin: format!(
                            "http://{}",
                            details.uri.authority().map_or("", |authority| authority.as_str())
                        ),
                        login: login.clone(),
                    });
                    return Ok(Some(Either::B(Tcp {
                        forwarding,
                        stream,
                        buffers: LazyBuffers::new(input, output),
                        stop: self.stop.clone(),
                        silence: self.silence,
                        pace: self.pace,
                        came: Came::default(),
                    })));
                }
                Err(error) if self.stop.is_set() => return Err(ureq::Error::Io(error)),
                Err(error) => failure = error,
            }
        }
        Err(ureq::Error::Io(failure))
    }
}

/// A connection whose waits can be broken off.
pub(super) struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
    stop: Stop,
    silence: Duration,
    pace: Pace,
    came: Came,
    forwarding: Option<Forwarding>,
}

/// What turns a request to a server into one to a proxy.
struct Forwarding {
    /// Scheme and authority of the server.
    origin: String,
    login: Option<String>,
}

impl Forwarding {
    /// The request with the whole URI in its first line. ureq writes the head of a request at
    /// once, and a GET is nothing else.
    fn of(&self, head: &[u8]) -> Option<Vec<u8>> {
        let rest = head.strip_prefix(b"GET ").filter(|rest| rest.starts_with(b"/"))?;
        let end = rest.windows(2).position(|two| two == b"\r\n")? + 2;
        let mut request = format!("GET {}", self.origin).into_bytes();
        request.extend_from_slice(&rest[..end]);
        if let Some(login) = &self.login {
            request.extend_from_slice(format!("Proxy-Authorization: Basic {login}\r\n").as_bytes());
        }
        request.extend_from_slice(&rest[end..]);
        Some(request)
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tcp({:?})", self.stream.peer_addr().ok())
    }
}

impl Tcp {
    /// Repeats `act` while it only says that nothing has happened yet.
    fn patiently<T>(
        &mut self,
        mut act: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> Result<T, ureq::Error> {
        let start = Instant::now();
        loop {
            if self.stop.is_set() {
                return Err(ureq::Error::Io(cancelled()));
            }
            match act(self) {
                Ok(done) => return Ok(done),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        if start.elapsed() > self.silence {
                            let seconds = self.silence.as_secs();
                            return Err(ureq::Error::Io(io::Error::new(
                                io::ErrorKind::TimedOut,
                                format!("the connection was silent for {seconds} seconds"),
                            )));
                        }
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(ureq::Error::Io(error)),
                },
            }
        }
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        // A request begins: what is short is not slow.
        self.came = Came::default();
        let own = &self.buffers.output()[..amount];
        let other = self.forwarding.as_ref().and_then(|forwarding| forwarding.of(own));
        let mut sent = 0;
        while sent < other.as_ref().map_or(amount, Vec::len) {
            sent += self.patiently(|tcp| {
                let count = match &other {
                    Some(other) => tcp.stream.write(&other[sent..])?,
                    None => tcp.stream.write(&tcp.buffers.output()[sent..amount])?,
                };
                if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) }
            })?;
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let started = Instant::now();
        let count = self.patiently(|tcp| tcp.stream.read(tcp.buffers.input_append_buf()))?;
        self.came.note(count, started.elapsed(), self.pace).map_err(ureq::Error::Io)?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        // Nothing may have arrived between two requests: neither bytes nor the end.
        let silent = self.stream.set_nonblocking(true).is_ok()
            && matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        silent && self.stream.set_nonblocking(false).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_is_too_slow_and_a_slow_line_is_not() {
        let pace = Pace::of(Duration::from_secs(30));
        let second = Duration::from_secs(1);
        let until = |bytes| {
            let mut came = Came::default();
            (1..=600).find(|_| came.note(bytes, second, pace).is_err())
        };
        assert_eq!((until(1), until(999), until(1000)), (Some(60), Some(60), None));
        // One long silence, which is allowed, and then the file.
        let pace = Pace::of(Duration::from_secs(300));
        let mut came = Came::default();
        assert!(came.note(1, Duration::from_secs(200), pace).is_ok());
        assert!(came.note(1_000_000, Duration::from_secs(200), pace).is_ok());
    }
}
