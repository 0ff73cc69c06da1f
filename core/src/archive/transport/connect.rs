//! TCP connections that notice at once that the operation was cancelled.
//!
//! ureq's own connector blocks in `connect` and `read` for as long as its limits allow. This one
//! waits in short slices, and its limit is on silence, not on the length of a transfer.

use crate::operation::CancelToken;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

/// How long a wait lasts before the token is looked at again.
const SLICE: Duration = Duration::from_millis(100);

/// Connects to the first address that answers.
pub(super) struct CancellableTcp {
    pub cancel: CancelToken,
    pub silence: Duration,
}

impl fmt::Debug for CancellableTcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancellableTcp")
    }
}

fn cancelled() -> io::Error {
    io::Error::other("the operation was cancelled")
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
                    if self.cancel.is_cancelled() {
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
                    return Ok(Some(Either::B(Tcp {
                        stream,
                        buffers: LazyBuffers::new(input, output),
                        cancel: self.cancel.clone(),
                        silence: self.silence,
                    })));
                }
                Err(error) if self.cancel.is_cancelled() => return Err(ureq::Error::Io(error)),
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
    cancel: CancelToken,
    silence: Duration,
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
            if self.cancel.is_cancelled() {
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
        let mut sent = 0;
        while sent < amount {
            sent += self.patiently(|tcp| {
                let count = tcp.stream.write(&tcp.buffers.output()[sent..amount])?;
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
