//! How one request is answered: the file, a part of it, a page, or the fault that was asked for.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::UNIX_EPOCH;

use super::{Fault, Request, Rule, Shared, Times};
use crate::archive::date_words;
use crate::deb::noise;

/// What comes after an answer.
pub(super) enum Then {
    KeepAlive,
    Close,
}

/// One request to be answered on its connection.
pub(super) struct Answer<'a> {
    pub(super) shared: &'a Shared,
    pub(super) stream: &'a TcpStream,
    /// Index of the request in the record.
    pub(super) index: usize,
    /// Whether it was `HEAD`.
    pub(super) head_only: bool,
}

impl Answer<'_> {
    /// Answers, and says whether the connection may serve another request.
    pub(super) fn give(&mut self, request: &Request) -> io::Result<Then> {
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
pub(super) fn matches(pattern: &str, path: &str) -> bool {
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
pub(super) fn basic(user: &str, password: &str) -> String {
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
