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

/// Connects to the first address that answers.
pub(super) struct CancellableTcp {
    pub stop: Stop,
    pub silence: Duration,
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
        let count = self.patiently(|tcp| tcp.stream.read(tcp.buffers.input_append_buf()))?;
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
