//! A small HTTP server that misbehaves on demand, and what downloads make of it.

use super::*;
use crate::archive::checksum::Sha256;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What the server does with a path.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Says that nothing has changed, whatever was asked.
    Unchanged,
    /// Says so to every conditional request; else sends this.
    Stale(Vec<u8>),
    /// Serves it, with ranges.
    File(Vec<u8>),
    /// Serves it whole, whatever was asked.
    NoRanges(Vec<u8>),
    /// Stops after so many bytes of each answer.
    Stops(Vec<u8>, usize),
    /// Answers the status so many times, then serves the file.
    Fails(u16, u32, Vec<u8>),
    /// Sends bytes that are no HTTP.
    Garbage,
    /// Sends the reader elsewhere.
    Redirect(String),
    /// Accepts and says nothing.
    Silent,
    /// Sends a byte of the file now and then.
    Drips,
}

/// Serves on loopback until it is dropped.
pub(crate) struct Server {
    port: u16,
    state: Arc<State>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    paths: Mutex<HashMap<String, Behaviour>>,
    requests: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if shared.stop.load(Ordering::Acquire) {
                    break;
                }
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Server { port, state, thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn set(&self, path: &str, behaviour: Behaviour) {
        self.state.paths.lock().unwrap().insert(path.to_owned(), behaviour);
    }

    pub(crate) fn remove(&self, path: &str) {
        self.state.paths.lock().unwrap().remove(path);
    }

    /// Takes the requests that came since the last call: `path` or `path from N`.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut path, mut from, mut etag) = (String::new(), 0, None);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            }
            let lower = line.to_ascii_lowercase();
            if let Some(range) = lower.strip_prefix("range: bytes=") {
                from = range.trim().trim_end_matches('-').parse().unwrap();
            }
            if lower.starts_with("if-none-match: ") {
                etag = Some(line["if-none-match: ".len()..].trim().to_owned());
            }
            line.clear();
        }
        if path.is_empty() {
            return;
        }
        let note = if from > 0 { format!("{path} from {from}") } else { path.clone() };
        state.requests.lock().unwrap().push(note);
        let mut paths = state.paths.lock().unwrap();
        let behaviour = paths.get(&path).cloned();
        if let Some(Behaviour::Fails(_, times, body)) = paths.get_mut(&path) {
            *times -= 1;
            if *times == 0 {
                let body = body.clone();
                paths.insert(path.clone(), Behaviour::File(body));
            }
        }
        drop(paths);
        let done = match behaviour {
            None => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            Some(Behaviour::File(body)) => {
                let tag = format!("\"{}\"", Sha256::of(&body));
                if etag.as_ref() == Some(&tag) {
                    write!(stream, "HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n\r\n")
                } else if from > 0 && from >= body.len() {
                    write!(
                        stream,
                        "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n\r\n",
                        body.len()
                    )
                } else {
                    let head = head(from, body.len());
                    write!(
                        stream,
                        "{head}ETag: {tag}\r\nContent-Length: {}\r\n\r\n",
                        body.len() - from
                    )
                    .and_then(|()| stream.write_all(&body[from..]))
                }
            }
            Some(Behaviour::Unchanged) => write!(stream, "HTTP/1.1 304 Not Modified\r\n\r\n"),
            Some(Behaviour::Stale(_)) if etag.is_some() => {
                write!(stream, "HTTP/1.1 304 Not Modified\r\n\r\n")
            }
            Some(Behaviour::Stale(body) | Behaviour::NoRanges(body)) => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())
                    .and_then(|()| stream.write_all(&body))
            }
            Some(Behaviour::Stops(body, after)) => {
                let rest = &body[from..];
                let head = head(from, body.len());
                let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n", rest.len())
                    .and_then(|()| stream.write_all(&rest[..after.min(rest.len())]));
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
            Some(Behaviour::Fails(status, ..)) => {
                write!(stream, "HTTP/1.1 {status} Sorry\r\nContent-Length: 5\r\n\r\nsorry")
            }
            Some(Behaviour::Garbage) => {
                let _ = stream.write_all(b"\x00\x01garbage\r\n\r\n");
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
            Some(Behaviour::Redirect(to)) => {
                write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
            }
            Some(Behaviour::Drips) => {
                let begun = write!(stream, "{}Content-Length: 300000\r\n\r\n", head(0, 300_000));
                while begun.is_ok() && !state.stop.load(Ordering::Acquire) {
                    if stream.write_all(b"x").is_err() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                return;
            }
            Some(Behaviour::Silent) => {
                while !state.stop.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                return;
            }
        };
        if done.is_err() {
            return;
        }
    }
}

/// How an answer begins that has the bytes from `from` on, of so many.
fn head(from: usize, size: usize) -> String {
    match from {
        0 => "HTTP/1.1 200 OK\r\n".to_owned(),
        _ => {
            let last = size - 1;
            format!("HTTP/1.1 206 Partial\r\nContent-Range: bytes {from}-{last}/{size}\r\n")
        }
    }
}

/// The host's transport with pauses that tests can bear.
pub(crate) struct Hasty(pub HostTransport);

impl Hasty {
    pub(crate) fn new() -> Self {
        Hasty(HostTransport::new(&Network::default(), CancelToken::new()).unwrap())
    }
}

impl Transport for Hasty {
    fn open(&self, request: Request<'_>) -> std::result::Result<Answer, Failure> {
        self.0.open(request)
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(1)
    }
}

fn body() -> Vec<u8> {
    (0..300_000_u32).map(|index| (index * 7 % 251) as u8).collect()
}

fn get(url: &str, size: Size) -> Result<Vec<u8>> {
    let (transport, scope) = (Hasty::new(), Scope::quiet());
    match Download::start(&transport, &scope, url, 0, size, None)? {
        Started::Stream(mut stream) => {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).map_err(|error| into_error(error, String::new))?;
            Ok(bytes)
        }
        Started::Missing(how) => Err(Error::new(ErrorKind::Archive, how)),
        Started::Unchanged => panic!("nothing was known"),
    }
}

#[test]
fn a_transfer_that_stops_goes_on_where_it_stopped() {
    let server = Server::start();
    server.set("/x", Behaviour::Stops(body(), 100_000));
    assert_eq!(get(&server.url("/x"), Size::Exactly(300_000)).unwrap(), body());
    assert_eq!(server.requests(), ["/x", "/x from 100000", "/x from 200000"]);
}

#[test]
fn a_server_that_stops_for_good_is_named_with_the_bytes() {
    let server = Server::start();
    server.set("/x", Behaviour::Stops(body(), 0));
    let error = get(&server.url("/x"), Size::Exactly(300_000)).unwrap_err();
    assert!(error.to_string().contains("gave up after 4 tries"), "{error}");
    assert!(error.to_string().contains("stopped after 0 of 300000 bytes"), "{error}");
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_server_that_drips_counts_as_one_that_stops() {
    let server = Server::start();
    server.set("/x", Behaviour::Drips);
    let mut transport = Hasty::new();
    let pace = connect::Pace { least: 1000, over: Duration::from_millis(200) };
    transport.0.http = transport.0.http.at_pace(pace);
    let url = server.url("/x");
    let Err(error) = read_small(&transport, &Scope::quiet(), &url, 400_000, None) else {
        panic!("the file never ends")
    };
    assert!(error.to_string().contains("too slow"), "{error}");
    assert!(error.to_string().contains("gave up after 4 tries"), "{error}");
}

#[test]
fn a_proxy_that_has_no_address_is_what_the_hint_names() {
    let network = Network {
        http_proxy: Some("http://u:secret@proxy.invalid:3128".into()),
        ..Network::default()
    };
    let transport = HostTransport::new(&network, CancelToken::new()).unwrap();
    let request = Request { url: "http://mirror.example.org/x", from: 0, known: None };
    let Err(failure) = transport.open(request) else { panic!("there is no such proxy") };
    let hint = failure.error.hint().unwrap();
    assert!(hint.contains("proxy.invalid") && !hint.contains("mirror"), "{hint}");
    assert!(!hint.contains("secret"), "{hint}");
}

#[test]
fn a_server_without_ranges_is_read_again_from_the_start() {
    let server = Server::start();
    server.set("/x", Behaviour::NoRanges(body()));
    let (transport, scope) = (Hasty::new(), Scope::quiet());
    let url = server.url("/x");
    let Started::Stream(mut stream) =
        Download::start(&transport, &scope, &url, 299_990, Size::Exactly(300_000), None).unwrap()
    else {
        panic!("the file is there")
    };
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, &body()[299_990..]);
}

#[test]
fn errors_that_pass_are_waited_out_and_others_are_not() {
    let server = Server::start();
    for status in [500, 503, 429] {
        server.set("/x", Behaviour::Fails(status, 3, body()));
        assert_eq!(get(&server.url("/x"), Size::AtMost(400_000)).unwrap(), body());
    }
    server.requests();
    server.set("/x", Behaviour::Fails(403, 3, body()));
    let error = get(&server.url("/x"), Size::AtMost(400_000)).unwrap_err();
    assert!(error.to_string().contains("403") && error.hint().is_some(), "{error:?}");
    assert_eq!(server.requests().len(), 1);
    let error = get(&server.url("/none"), Size::AtMost(1)).unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
}

#[test]
fn garbage_and_nobody_there_are_errors_with_the_url() {
    let server = Server::start();
    server.set("/x", Behaviour::Garbage);
    let error = get(&server.url("/x"), Size::AtMost(9)).unwrap_err();
    assert!(error.to_string().contains("/x"), "{error}");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = get(&format!("http://127.0.0.1:{port}/y"), Size::AtMost(9)).unwrap_err();
    assert!(error.to_string().contains("refused") && error.hint().is_some(), "{error:?}");
}

#[test]
fn a_file_of_another_size_is_refused() {
    let server = Server::start();
    for behaviour in [Behaviour::File(body()), Behaviour::NoRanges(body())] {
        server.set("/x", behaviour);
        for size in [Size::Exactly(299_999), Size::Exactly(300_001), Size::AtMost(1000)] {
            let error = get(&server.url("/x"), size).unwrap_err();
            assert!(error.to_string().contains("300000 bytes"), "{error}");
        }
    }
}

#[test]
fn redirections_are_followed_but_not_for_ever() {
    let server = Server::start();
    server.set("/x", Behaviour::File(body()));
    server.set("/a", Behaviour::Redirect("b".into()));
    server.set("/b", Behaviour::Redirect(server.url("/x")));
    server.set("/c", Behaviour::Redirect("/c".into()));
    assert_eq!(get(&server.url("/a"), Size::AtMost(400_000)).unwrap(), body());
    let error = get(&server.url("/c"), Size::AtMost(400_000)).unwrap_err();
    assert!(error.to_string().contains("more than 10 times"), "{error}");
}

#[test]
fn what_is_known_is_not_sent_again() {
    let server = Server::start();
    server.set("/x", Behaviour::File(body()));
    let (transport, scope) = (Hasty::new(), Scope::quiet());
    let url = server.url("/x");
    let Small::Bytes(_, state) = read_small(&transport, &scope, &url, 400_000, None).unwrap()
    else {
        panic!("the file is there")
    };
    let again = read_small(&transport, &scope, &url, 400_000, Some(&state)).unwrap();
    assert!(matches!(again, Small::Unchanged));
}

#[test]
fn cancelling_ends_a_silent_transfer() {
    let server = Server::start();
    server.set("/x", Behaviour::Silent);
    let cancel = CancelToken::new();
    let url = server.url("/x");
    let error = crate::operation::run(
        cancel.clone(),
        |_| (),
        |scope| {
            let transport = HostTransport::new(&Network::default(), cancel.clone())?;
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    while server.requests().is_empty() {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    cancel.cancel();
                });
                read_small(&transport, scope, &url, 9, None).map(|_| ())
            })
        },
    )
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn local_files_are_read_and_others_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a b"), "hello").unwrap();
    for scheme in ["file:", "copy:", "file://"] {
        let url = format!("{scheme}{}/a%20b", folder.path().display());
        assert_eq!(get(&url, Size::AtMost(9)).unwrap(), b"hello");
    }
    assert!(get(&format!("file:{}", folder.path().display()), Size::AtMost(9)).is_err());
    assert!(get("ftp://x/y", Size::AtMost(9)).unwrap_err().to_string().contains("ftp"));
}
