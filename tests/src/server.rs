//! A web server on the loopback for tests: serves a directory over HTTP/1.1 with keep-alive,
//! ranges and conditional requests, breaks where it is told to, and writes down what it was asked.
//!
//! It is a proxy too: a request in absolute form (`GET http://host/path`) is answered from the
//! same directory whatever the host, so that a test can see that a client went through its proxy;
//! with [`Server::forward`] such requests, and `CONNECT`, go on to the real host.
//!
//! ```no_run
//! use debmock_tests::server::{Fault, Server, Times};
//! let server = Server::new(std::path::Path::new("/tmp/archive"));
//! server.fault("*.deb", Fault::CloseAfter(1000), Times::Next(1));
//! // … a client downloads server.url(), and resumes …
//! assert_eq!(server.requests()[1].range.as_deref(), Some("bytes=1000-"));
//! ```

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::UNIX_EPOCH;

use crate::archive::date_words;
use crate::deb::noise;

/// What the server does instead of answering properly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers with that status and a short page.
    Status(u16),
    /// Answers with that status and `Retry-After: SECONDS`.
    RetryAfter(u16, u32),
    /// Promises everything, sends that many bytes of the body, then closes.
    CloseAfter(u64),
    /// Sends that many bytes of the body, then nothing more until the client or the test ends.
    StallAfter(u64),
    /// Reads the request and says nothing at all.
    Silence,
    /// Closes without a word.
    Hangup,
    /// Noise of the right length.
    Garbage,
    /// Another body with status 200, such as the page of a captive portal.
    Body(Vec<u8>),
    /// The right body with the byte at that offset flipped.
    FlipByte(u64),
    /// Only that many bytes, with a `Content-Length` that agrees: a file that is short.
    Truncated(u64),
    /// The right body, and a `Content-Length` that says so much; then closes.
    WrongLength(u64),
    /// Noise instead of a status line.
    GarbageHead,
    /// Headers without end, up to that many bytes.
    EndlessHead(u64),
    /// A redirect (302) to that URL or path.
    Redirect(String),
    /// A redirect to itself.
    RedirectLoop,
    /// Answers a range with everything (200), as servers without ranges do.
    IgnoreRange,
    /// Answers a range with 206 and the bytes from the beginning, under a `Content-Range` that
    /// says so.
    WrongRange,
    /// Answers a conditional request with 304 though the file is another.
    FalseNotModified,
    /// Sends the right body in chunks, without a length.
    Chunked,
    /// Sends this many bytes of zeros, whatever was asked, without a length.
    Endless(u64),
}

/// How often a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// For the next requests that match, so many.
    Next(u32),
    /// For all.
    Always,
}

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, `CONNECT` …
    pub method: String,
    /// The target as it was sent: a path, or a whole URL to a proxy.
    pub target: String,
    /// The path, without query, not decoded.
    pub path: String,
    /// Whether it came as to a proxy.
    pub to_proxy: bool,
    /// Header `Range`.
    pub range: Option<String>,
    /// Header `If-Range`.
    pub if_range: Option<String>,
    /// Header `If-Modified-Since`.
    pub if_modified_since: Option<String>,
    /// Header `Authorization`.
    pub authorization: Option<String>,
    /// Header `Proxy-Authorization`.
    pub proxy_authorization: Option<String>,
    /// All headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// Number of the connection, from 0: tells whether it was kept alive.
    pub connection: usize,
    /// The status that was sent; 0 if none was.
    pub status: u16,
}

struct Rule {
    pattern: String,
    fault: Fault,
    times: Times,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    requests: Vec<Request>,
    streams: HashMap<usize, TcpStream>,
    connections: Vec<JoinHandle<()>>,
    password: Option<String>,
    proxy_password: Option<String>,
    forward: bool,
    served: u64,
}

struct Shared {
    root: PathBuf,
    address: SocketAddr,
    state: Mutex<State>,
    ended: AtomicBool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // a panic in another thread of the server does not make its state wrong
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running server. It stops, and its threads are joined, when it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves a directory on a free port of 127.0.0.1.
    pub fn new(root: &Path) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .unwrap_or_else(|e| panic!("cannot listen on 127.0.0.1: {e}"));
        let address = listener
            .local_addr()
            .unwrap_or_else(|e| panic!("a listening socket has no address: {e}"));
        let shared = Arc::new(Shared {
            root: root.to_path_buf(),
            address,
            state: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&own, &listener));
        Server { shared, acceptor: Some(acceptor) }
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Injects a fault for paths that match a pattern, in which `*` stands for any characters.
    /// Of several that match, the one that was given first and is not used up counts.
    pub fn fault(&self, pattern: &str, fault: Fault, times: Times) -> &Server {
        self.shared.state().rules.push(Rule { pattern: pattern.into(), fault, times });
        self
    }

    /// Forgets all faults.
    pub fn heal(&self) {
        self.shared.state().rules.clear();
    }

    /// Asks for Basic credentials of every request (401).
    pub fn require_basic(&self, user: &str, password: &str) -> &Server {
        self.shared.state().password = Some(basic(user, password));
        self
    }

    /// Asks for Basic credentials of every request to a proxy (407).
    pub fn require_proxy_basic(&self, user: &str, password: &str) -> &Server {
        self.shared.state().proxy_password = Some(basic(user, password));
        self
    }

    /// As a proxy, lets requests for other hosts go to them instead of answering itself.
    pub fn forward(&self) -> &Server {
        self.shared.state().forward = true;
        self
    }

    /// The requests so far, in the order in which they were read.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// The requests so far whose path matches a pattern.
    pub fn requests_for(&self, pattern: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|r| matches(pattern, &r.path)).collect()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.requests.clear();
        state.served = 0;
    }

    /// Bytes of bodies that were sent.
    pub fn bytes_served(&self) -> u64 {
        self.shared.state().served
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        {
            let state = self.shared.state();
            self.shared.ended.store(true, Ordering::SeqCst);
            for stream in state.streams.values() {
                // it may be closed already
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        // the acceptor sees the flag with its next connection
        let _ = TcpStream::connect(self.shared.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let connections = std::mem::take(&mut self.shared.state().connections);
        for connection in connections {
            let _ = connection.join();
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut number = 0;
    for stream in listener.incoming() {
        let mut state = shared.state();
        // asked with the lock held, so that no connection is added after the end
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(copy) = stream.try_clone() else { continue };
        // heads and bodies are written apart: without this each answer waits for an ACK
        let _ = stream.set_nodelay(true);
        state.streams.insert(number, copy);
        let own = Arc::clone(shared);
        state.connections.push(std::thread::spawn(move || {
            // a client that goes away is no error of the server
            let _ = serve(&own, &stream, number);
            let _ = stream.shutdown(Shutdown::Both);
            own.state().streams.remove(&number);
        }));
        number += 1;
    }
}

/// What comes after an answer.
enum Then {
    KeepAlive,
    Close,
}

fn serve(shared: &Shared, stream: &TcpStream, number: usize) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let Some(request) = read_request(&mut reader, number)? else { return Ok(()) };
        let keep =
            request.headers.get("connection").is_none_or(|v| !v.eq_ignore_ascii_case("close"));
        let index = {
            let mut state = shared.state();
            state.requests.push(request.clone());
            state.requests.len() - 1
        };
        let mut answer = Answer { shared, stream, index, head_only: request.method == "HEAD" };
        match answer.give(&request)? {
            Then::KeepAlive if keep => {}
            _ => return Ok(()),
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>, number: usize) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.take(65_536).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if reader.take(65_536).read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
    }
    let rest = target.strip_prefix("http://");
    let path = match rest {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let path = path.split('?').next().unwrap_or(path).to_string();
    let get = |name: &str| headers.get(name).cloned();
    Ok(Some(Request {
        method: method.into(),
        target: target.into(),
        path,
        to_proxy: rest.is_some() || method == "CONNECT",
        range: get("range"),
        if_range: get("if-range"),
        if_modified_since: get("if-modified-since"),
        authorization: get("authorization"),
        proxy_authorization: get("proxy-authorization"),
        connection: number,
        status: 0,
        headers,
    }))
}

struct Answer<'a> {
    shared: &'a Shared,
    stream: &'a TcpStream,
    index: usize,
    head_only: bool,
}

impl Answer<'_> {
    fn give(&mut self, request: &Request) -> io::Result<Then> {
        let (password, proxy_password, forward, fault) = {
            let mut state = self.shared.state();
            let fault = take_fault(&mut state.rules, &request.path);
            (state.password.clone(), state.proxy_password.clone(), state.forward, fault)
        };
        if request.to_proxy
            && proxy_password.is_some()
            && request.proxy_authorization != proxy_password
        {
            let ask = "Proxy-Authenticate: Basic realm=\"test\"\r\n";
            return self.page(407, ask, b"credentials for the proxy are needed\n");
        }
        if request.method == "CONNECT" {
            return if forward {
                self.tunnel(request)
            } else {
                self.page(405, "", b"no tunnels\n")
            };
        }
        if password.is_some() && request.authorization != password {
            let ask = "WWW-Authenticate: Basic realm=\"test\"\r\n";
            return self.page(401, ask, b"credentials are needed\n");
        }
        if request.to_proxy && forward && !self.is_own(&request.target) {
            return self.pass_on(request);
        }
        match fault {
            Some(fault) => self.fail(request, fault),
            None => self.file(request, None),
        }
    }

    fn is_own(&self, target: &str) -> bool {
        let own = format!("http://{}/", self.shared.address);
        target.starts_with(&own)
    }

    fn fail(&mut self, request: &Request, fault: Fault) -> io::Result<Then> {
        match fault {
            Fault::Status(status) => self.page(status, "", b"this was injected by a test\n"),
            Fault::RetryAfter(status, seconds) => {
                let header = format!("Retry-After: {seconds}\r\n");
                self.page(status, &header, b"come back later\n")
            }
            Fault::Silence => {
                self.wait();
                Ok(Then::Close)
            }
            Fault::Hangup => Ok(Then::Close),
            Fault::Body(bytes) => self.page(200, "Content-Type: text/html\r\n", &bytes),
            Fault::GarbageHead => {
                self.stream.write_all(&noise(4096))?;
                Ok(Then::Close)
            }
            Fault::EndlessHead(limit) => {
                self.stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
                let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
                for _ in 0..limit / 1000 {
                    self.stream.write_all(line.as_bytes())?;
                }
                Ok(Then::Close)
            }
            Fault::Redirect(to) => self.page(302, &format!("Location: {to}\r\n"), b"elsewhere\n"),
            Fault::RedirectLoop => {
                let to = format!("Location: {}\r\n", request.target);
                self.page(302, &to, b"round and round\n")
            }
            Fault::Endless(limit) => {
                self.head(200, "Connection: close\r\n")?;
                let block = [0_u8; 65_536];
                let mut left = limit;
                while left > 0 {
                    let now = left.min(block.len() as u64);
                    self.body(&block[..now as usize])?;
                    left -= now;
                }
                Ok(Then::Close)
            }
            other => self.file(request, Some(other)),
        }
    }

    /// Serves the file, with a fault that needs its content.
    fn file(&mut self, request: &Request, fault: Option<Fault>) -> io::Result<Then> {
        let path = decode(&request.path);
        // requests come from the code under test: below the root only
        if path.split('/').any(|part| part == "..") {
            return self.page(400, "", b"no dots\n");
        }
        let path = self.shared.root.join(path.trim_start_matches('/'));
        let read = || -> io::Result<(Vec<u8>, u64)> {
            let modified = fs::metadata(&path)?.modified()?;
            let modified = modified.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
            Ok((fs::read(&path)?, modified))
        };
        let Ok((mut bytes, modified)) = read() else {
            return self.page(404, "", b"there is no such file\n");
        };
        let modified = format!("{} GMT", date_words(modified));
        let validator = format!("Last-Modified: {modified}\r\nAccept-Ranges: bytes\r\n");
        let unchanged = request.if_modified_since.as_deref() == Some(modified.as_str());
        if unchanged
            || fault == Some(Fault::FalseNotModified) && request.if_modified_since.is_some()
        {
            self.head(304, &validator)?;
            return Ok(Then::KeepAlive);
        }
        match &fault {
            Some(Fault::Garbage) => bytes = noise(bytes.len()),
            Some(Fault::FlipByte(at)) => {
                if let Some(byte) = bytes.get_mut(*at as usize) {
                    *byte ^= 0x55;
                }
            }
            Some(Fault::Truncated(n)) => bytes.truncate(*n as usize),
            _ => {}
        }
        let total = bytes.len() as u64;
        let same = request.if_range.as_deref().is_none_or(|v| v == modified);
        let range = request.range.as_deref().filter(|_| same && fault != Some(Fault::IgnoreRange));
        let mut status = 200;
        let mut headers = validator;
        let mut start = 0;
        let mut end = total;
        match range.map(|r| parse_range(r, total)) {
            Some(Some((from, to))) => {
                status = 206;
                (start, end) = if fault == Some(Fault::WrongRange) { (0, to) } else { (from, to) };
                headers.push_str(&format!("Content-Range: bytes {start}-{}/{total}\r\n", end - 1));
            }
            Some(None) => {
                let header = format!("Content-Range: bytes */{total}\r\n");
                return self.page(416, &header, b"");
            }
            None => {}
        }
        let body = &bytes[start as usize..end as usize];
        if fault == Some(Fault::Chunked) {
            headers.push_str("Transfer-Encoding: chunked\r\n");
            self.head(status, &headers)?;
            if !self.head_only {
                for chunk in body.chunks(1000) {
                    self.stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                    self.body(chunk)?;
                    self.stream.write_all(b"\r\n")?;
                }
                self.stream.write_all(b"0\r\n\r\n")?;
            }
            return Ok(Then::KeepAlive);
        }
        let length = match fault {
            Some(Fault::WrongLength(length)) => length,
            _ => body.len() as u64,
        };
        headers.push_str(&format!("Content-Length: {length}\r\n"));
        self.head(status, &headers)?;
        if self.head_only {
            return Ok(Then::KeepAlive);
        }
        match fault {
            Some(Fault::CloseAfter(n)) => {
                self.body(&body[..body.len().min(n as usize)])?;
                Ok(Then::Close)
            }
            Some(Fault::StallAfter(n)) => {
                self.body(&body[..body.len().min(n as usize)])?;
                self.wait();
                Ok(Then::Close)
            }
            Some(Fault::WrongLength(_)) => {
                self.body(body)?;
                Ok(Then::Close)
            }
            _ => {
                self.body(body)?;
                Ok(Then::KeepAlive)
            }
        }
    }

    fn page(&mut self, status: u16, headers: &str, body: &[u8]) -> io::Result<Then> {
        self.head(status, &format!("{headers}Content-Length: {}\r\n", body.len()))?;
        if !self.head_only {
            self.body(body)?;
        }
        Ok(Then::KeepAlive)
    }

    fn head(&mut self, status: u16, headers: &str) -> io::Result<()> {
        self.shared.state().requests[self.index..]
            .iter_mut()
            .take(1)
            .for_each(|r| r.status = status);
        let reason = match status {
            200 => "OK",
            206 => "Partial Content",
            304 => "Not Modified",
            404 => "Not Found",
            _ => "Because",
        };
        let head = format!("HTTP/1.1 {status} {reason}\r\nServer: debmock-tests\r\n{headers}\r\n");
        (&mut &*self.stream).write_all(head.as_bytes())
    }

    fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&mut &*self.stream).write_all(bytes)?;
        self.shared.state().served += bytes.len() as u64;
        Ok(())
    }

    /// Waits until the test ends, or the client hangs up.
    fn wait(&self) {
        let mut byte = [0];
        // dropping the server shuts the socket down, which ends this read
        let _ = (&mut &*self.stream).read(&mut byte);
    }

    /// Sends the request on to its host and the answer back.
    fn pass_on(&mut self, request: &Request) -> io::Result<Then> {
        let rest = request.target.trim_start_matches("http://");
        let host = rest.split('/').next().unwrap_or(rest);
        let address = if host.contains(':') { host.to_string() } else { format!("{host}:80") };
        let mut upstream = match TcpStream::connect(&address) {
            Ok(upstream) => upstream,
            Err(_) => return self.page(502, "", b"the host cannot be reached\n"),
        };
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        let mut head = format!("{} {path} HTTP/1.1\r\n", request.method);
        for (name, value) in &request.headers {
            if !name.starts_with("proxy-") && name != "connection" {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str("Connection: close\r\n\r\n");
        upstream.write_all(head.as_bytes())?;
        io::copy(&mut upstream, &mut &*self.stream)?;
        Ok(Then::Close)
    }

    fn tunnel(&mut self, request: &Request) -> io::Result<Then> {
        let Ok(upstream) = TcpStream::connect(&request.target) else {
            return self.page(502, "", b"the host cannot be reached\n");
        };
        (&mut &*self.stream).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = io::copy(&mut &*self.stream, &mut &upstream);
                let _ = upstream.shutdown(Shutdown::Both);
            });
            let _ = io::copy(&mut &upstream, &mut &*self.stream);
            let _ = self.stream.shutdown(Shutdown::Both);
        });
        Ok(Then::Close)
    }
}

fn take_fault(rules: &mut [Rule], path: &str) -> Option<Fault> {
    for rule in rules.iter_mut().filter(|r| matches(&r.pattern, path)) {
        match &mut rule.times {
            Times::Always => return Some(rule.fault.clone()),
            Times::Next(0) => {}
            Times::Next(left) => {
                *left -= 1;
                return Some(rule.fault.clone());
            }
        }
    }
    None
}

/// Whether a path matches a pattern in which `*` stands for any characters, slashes too.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((head, rest)) => path.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len()).any(|at| tail.is_char_boundary(at) && matches(rest, &tail[at..]))
        }),
    }
}

/// The first byte and the one after the last of `bytes=A-B`, `bytes=A-` or `bytes=-N`; nothing if
/// it lies outside.
fn parse_range(range: &str, total: u64) -> Option<(u64, u64)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) => (from, total.min(to.saturating_add(1))),
        (Ok(from), Err(_)) => (from, total),
        (Err(_), Ok(last)) => (total.saturating_sub(last), total),
        _ => return None,
    };
    (from < to).then_some((from, to))
}

fn decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = path.get(at + 1..at + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[at], digits) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The value of an `Authorization` header (RFC 7617).
fn basic(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = format!("{user}:{password}");
    let mut out = String::from("Basic ");
    for chunk in text.as_bytes().chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { digit as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_ranges() {
        assert!(matches("*.deb", "/pool/a_1.deb") && !matches("*.deb", "/a.debx"));
        assert!(matches("/d*/In*e", "/dists/x/InRelease") && matches("*", ""));
        assert_eq!(parse_range("bytes=3-", 10), Some((3, 10)));
        assert_eq!(parse_range("bytes=3-4", 10), Some((3, 5)));
        assert_eq!(parse_range("bytes=10-", 10), None);
        assert_eq!(parse_range("bytes=-4", 10), Some((6, 10)));
        assert_eq!(decode("/a%3a1%zz"), "/a:1%zz");
        assert_eq!(basic("user", "pass"), "Basic dXNlcjpwYXNz");
        assert_eq!(basic("a", "bc"), "Basic YTpiYw==");
    }
}
