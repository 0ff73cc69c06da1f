//! The kit's web server, asked over a bare socket and by apt.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use debmock_tests::area::Area;
use debmock_tests::server::{Fault, Server, Times};

struct Reply {
    head: String,
    body: Vec<u8>,
}

/// One request on a connection of its own; reads until the server closes.
fn ask(server: &Server, request: &str) -> Reply {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(format!("{request}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut all = Vec::new();
    // a reset is an end as well
    let _ = stream.read_to_end(&mut all);
    let at = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(all.len());
    let body = all.get(at + 4..).unwrap_or_default().to_vec();
    Reply { head: String::from_utf8_lossy(&all[..at]).into_owned(), body }
}

fn get(server: &Server, path: &str) -> Reply {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: x"))
}

fn site() -> (Area, Server) {
    let area = Area::new();
    fs::write(area.work().join("file"), "0123456789").unwrap();
    fs::write(area.work().join("odd name:1"), "odd").unwrap();
    let server = Server::new(&area.work());
    (area, server)
}

#[test]
fn serves_files_ranges_and_conditions() {
    let (_area, server) = site();
    let whole = get(&server, "/file");
    assert!(whole.head.starts_with("HTTP/1.1 200 ") && whole.body == b"0123456789");
    assert_eq!(get(&server, "/odd%20name%3a1").body, b"odd");
    assert!(get(&server, "/none").head.starts_with("HTTP/1.1 404 "));
    assert!(get(&server, "/../file").head.starts_with("HTTP/1.1 400 "));
    let part = ask(&server, "GET /file HTTP/1.1\r\nRange: bytes=4-");
    assert!(part.head.contains("206") && part.head.contains("Content-Range: bytes 4-9/10"));
    assert_eq!(part.body, b"456789");
    let date = whole.head.lines().find_map(|l| l.strip_prefix("Last-Modified: ")).unwrap();
    let same = ask(&server, &format!("GET /file HTTP/1.1\r\nIf-Modified-Since: {date}"));
    assert!(same.head.starts_with("HTTP/1.1 304 ") && same.body.is_empty());
    let other = ask(&server, "GET /file HTTP/1.1\r\nRange: bytes=4-\r\nIf-Range: yesterday");
    assert!(other.head.starts_with("HTTP/1.1 200 ") && other.body.len() == 10);
    let head = ask(&server, "HEAD /file HTTP/1.1");
    assert!(head.head.contains("Content-Length: 10") && head.body.is_empty());
    assert_eq!(server.requests_for("/file").len(), 5);
    assert_eq!(server.requests_for("/file")[1].range.as_deref(), Some("bytes=4-"));
    assert_eq!(server.requests_for("/file")[2].status, 304);
}

#[test]
fn connections_are_kept_alive() {
    let (_area, server) = site();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"0123456789") {
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
    }
    let connections: Vec<_> = server.requests().iter().map(|r| r.connection).collect();
    assert_eq!(connections, [0, 0, 0]);
}

#[test]
fn faults_happen_as_often_as_told() {
    let (_area, server) = site();
    server.fault("/f*", Fault::Status(500), Times::Next(2));
    server.fault("/f*", Fault::RetryAfter(503, 7), Times::Next(1));
    assert!(get(&server, "/file").head.starts_with("HTTP/1.1 500 "));
    assert!(get(&server, "/file").head.starts_with("HTTP/1.1 500 "));
    assert!(get(&server, "/file").head.contains("Retry-After: 7"));
    assert!(get(&server, "/file").head.starts_with("HTTP/1.1 200 "));
}

#[test]
fn each_fault_does_what_its_name_says() {
    let (_area, server) = site();
    let with = |fault: Fault| {
        server.heal();
        server.fault("/file", fault, Times::Always);
        get(&server, "/file")
    };
    let cut = with(Fault::CloseAfter(3));
    assert!(cut.head.contains("Content-Length: 10") && cut.body == b"012");
    let garbage = with(Fault::Garbage);
    assert!(garbage.head.contains(" 200 ") && garbage.body.len() == 10);
    assert_ne!(garbage.body, b"0123456789");
    assert_eq!(with(Fault::Body(b"<html>".to_vec())).body, b"<html>");
    assert_eq!(with(Fault::FlipByte(1)).body[1], b'1' ^ 0x55);
    let short = with(Fault::Truncated(4));
    assert!(short.head.contains("Content-Length: 4") && short.body == b"0123");
    assert!(with(Fault::WrongLength(99)).head.contains("Content-Length: 99"));
    assert!(with(Fault::Redirect("/other".into())).head.contains("Location: /other"));
    assert!(with(Fault::RedirectLoop).head.contains("Location: /file"));
    assert_eq!(with(Fault::Chunked).body, b"a\r\n0123456789\r\n0\r\n\r\n");
    assert!(with(Fault::Hangup).head.is_empty());
    assert!(!with(Fault::GarbageHead).head.starts_with("HTTP"));
    assert_eq!(with(Fault::Endless(100_000)).body.len(), 100_000);
    server.heal();
    server.fault("/file", Fault::IgnoreRange, Times::Next(1));
    let whole = ask(&server, "GET /file HTTP/1.1\r\nRange: bytes=4-");
    assert!(whole.head.contains(" 200 ") && whole.body.len() == 10);
    server.fault("/file", Fault::WrongRange, Times::Next(1));
    let wrong = ask(&server, "GET /file HTTP/1.1\r\nRange: bytes=4-");
    assert!(wrong.head.contains("Content-Range: bytes 0-9/10"));
    server.fault("/file", Fault::FalseNotModified, Times::Next(1));
    let same = ask(&server, "GET /file HTTP/1.1\r\nIf-Modified-Since: yesterday");
    assert!(same.head.contains(" 304 "));
}

#[test]
fn dropping_the_server_ends_stalled_answers() {
    let (_area, server) = site();
    server.fault("/file", Fault::StallAfter(2), Times::Always);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"GET /file HTTP/1.1\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n01") {
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    // this returns only when the thread that stalls has ended
    drop(server);
    assert_eq!(stream.read_to_end(&mut seen).unwrap_or(0), 0);
}

#[test]
fn answers_as_a_proxy_for_any_host() {
    let (_area, server) = site();
    server.require_proxy_basic("user", "pass");
    let refused = get(&server, "http://mirror.example.org/file");
    assert!(refused.head.contains(" 407 ") && refused.head.contains("Proxy-Authenticate"));
    let request = "GET http://mirror.example.org/file HTTP/1.1\r\n\
                   Proxy-Authorization: Basic dXNlcjpwYXNz";
    assert_eq!(ask(&server, request).body, b"0123456789");
    let last = server.requests().pop().unwrap();
    assert!(last.to_proxy && last.path == "/file" && last.status == 200);
}

#[test]
fn a_forwarding_proxy_reaches_the_other_host() {
    let (_area, origin) = site();
    let empty = Area::new();
    let proxy = Server::new(empty.path());
    proxy.forward();
    assert_eq!(get(&proxy, &format!("{}/file", origin.url())).body, b"0123456789");
    assert_eq!(origin.requests().len(), 1);
    let address = origin.address();
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let ask = format!("CONNECT {address} HTTP/1.1\r\n\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    let mut greeting = [0; 39];
    stream.read_exact(&mut greeting).unwrap();
    assert!(greeting.starts_with(b"HTTP/1.1 200 "));
    stream.write_all(b"GET /file HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"0123456789"));
}

#[test]
fn basic_credentials_are_asked_for() {
    let (_area, server) = site();
    server.require_basic("user", "pass");
    assert!(get(&server, "/file").head.contains(" 401 "));
    let request = "GET /file HTTP/1.1\r\nAuthorization: Basic dXNlcjpwYXNz";
    assert_eq!(ask(&server, request).body, b"0123456789");
    assert_eq!(server.bytes_served(), 10 + "credentials are needed\n".len() as u64);
}
