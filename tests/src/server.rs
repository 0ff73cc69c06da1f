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
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

mod answer;

use answer::{Answer, Then, basic, matches};

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
