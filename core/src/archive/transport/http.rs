//! HTTP with the proxies, credentials and certificates of the config.

use super::connect::{CancellableTcp, Pace};
use super::names::Names;
use super::stop::Stop;
use super::{Answer, Failure, Request, Validators};
use crate::archive::uri::{self, Parts};
use crate::config::Network;
use crate::error::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use ureq::http::{HeaderMap, StatusCode, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::transport::{
    ConnectProxyConnector, Connector, RustlsConnector, SocksConnector,
};

/// Redirections that are followed at most.
const REDIRECTS: usize = 10;

type Outcome<T> = std::result::Result<T, Failure>;

pub(super) struct Http {
    network: Network,
    pace: Pace,
    stop: Stop,
    tls: TlsConfig,
    names: Names,
    /// One agent, with its pool of connections, for each proxy and for http apart: a proxy is
    /// asked for files of http itself, and for a tunnel to https. Many refuse tunnels to port 80.
    agents: Mutex<HashMap<(Option<String>, bool), ureq::Agent>>,
}

impl Http {
    pub(super) fn new(network: &Network, stop: Stop) -> Result<Self> {
        let mut tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .disable_verification(!network.verify_peer);
        if let Some(path) = &network.ca_info {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(authorities(path)?)));
        }
        let (network, tls) = (network.clone(), tls.build());
        let pace = Pace::of(network.timeout);
        let names = Names::new(stop.clone());
        Ok(Http { network, pace, stop, tls, names, agents: Mutex::default() })
    }

    /// The same with another least pace of connections.
    #[cfg(test)]
    pub(super) fn at_pace(self, pace: Pace) -> Self {
        Http { pace, ..self }
    }

    pub(super) fn open(&self, request: Request<'_>) -> Outcome<Answer> {
        let mut url = request.url.to_owned();
        for _ in 0..=REDIRECTS {
            let parts = uri::split(&url).map_err(Failure::lasting)?;
            let response = self.send(&url, &parts, request)?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED
            {
                return self.answer(&url, request, response);
            }
            let location = text(response.headers(), header::LOCATION).unwrap_or_default();
            let Some(target) = resolve(&url, &parts, &location) else {
                let why = format!("it is redirected to {location:?}, which is no place for files");
                return Err(Failure::lasting(failed(&url, &why)));
            };
            if parts.scheme == "https" && !target.starts_with("https://") {
                let error = failed(&url, "it is redirected from https to something less safe");
                return Err(Failure::lasting(error));
            }
            url = target;
        }
        let error = failed(request.url, &format!("it is redirected more than {REDIRECTS} times"));
        Err(Failure::lasting(error))
    }

    fn send(
        &self,
        url: &str,
        parts: &Parts<'_>,
        request: Request<'_>,
    ) -> Outcome<ureq::http::Response<ureq::Body>> {
        let agent = self.agent(parts).map_err(Failure::lasting)?;
        let mut call = agent.get(uri::redacted(url));
        if let Some(login) = self.login(parts) {
            call =
                call.header(header::AUTHORIZATION, format!("Basic {}", base64(login.as_bytes())));
        }
        if request.from > 0 {
            call = call.header(header::RANGE, format!("bytes={}-", request.from));
            // A weak ETag may not stand in If-Range.
            let strong =
                |known: &Validators| known.etag.clone().filter(|tag| !tag.starts_with("W/"));
            if let Some(known) = request.known
                && let Some(state) = strong(known).or_else(|| known.last_modified.clone())
            {
                call = call.header(header::IF_RANGE, state);
            }
        } else if let Some(known) = request.known {
            if let Some(etag) = &known.etag {
                call = call.header(header::IF_NONE_MATCH, etag);
            }
            if let Some(date) = &known.last_modified {
                call = call.header(header::IF_MODIFIED_SINCE, date);
            }
        }
        call.call().map_err(|error| {
            let passing = matches!(
                error,
                ureq::Error::Io(_)
                    | ureq::Error::ConnectionFailed
                    | ureq::Error::Timeout(_)
                    | ureq::Error::Protocol(_)
            );
            let passing = passing && !is_tls(&error);
            let proxy = self.proxy(parts).map(|proxy| uri::redacted(&proxy));
            // What is looked up and connected to.
            let host = match &proxy {
                Some(proxy) => {
                    let name = uri::split(proxy).map_or(proxy.as_str(), |parts| parts.host);
                    format!("{name} of the proxy {proxy}")
                }
                None => parts.host.to_owned(),
            };
            let need = if proxy.is_some() { "" } else { " and whether a proxy is needed" };
            let hint = match &error {
                ureq::Error::ConnectProxyFailed(_) => {
                    "check the proxy's URI, and the login in it if the proxy wants one".into()
                }
                ureq::Error::HostNotFound => {
                    format!("check the name {host} and the host's resolver")
                }
                error if is_tls(error) => {
                    "check the certificate of the server, the host's ca-certificates and the clock"
                        .into()
                }
                _ => format!("check that {host} can be reached from here{need}"),
            };
            let error = failed(url, "the request failed").with_source(error).with_hint(hint);
            Failure { error, passing, wait: None }
        })
    }

    fn answer(
        &self,
        url: &str,
        request: Request<'_>,
        response: ureq::http::Response<ureq::Body>,
    ) -> Outcome<Answer> {
        let status = response.status();
        let headers = response.headers();
        let length =
            text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let validators = Validators {
            etag: text(headers, header::ETAG),
            last_modified: text(headers, header::LAST_MODIFIED),
        };
        match status.as_u16() {
            200 => {
                let body = body(response);
                Ok(Answer::Body { from: 0, size: length, validators, body })
            }
            206 => {
                let range = text(headers, header::CONTENT_RANGE).as_deref().and_then(content_range);
                let Some((from, size)) = range else {
                    return Err(Failure::lasting(failed(
                        url,
                        "the answer has no usable Content-Range",
                    )));
                };
                let body = body(response);
                Ok(Answer::Body { from, size, validators, body })
            }
            // To anything but a conditional request it is no answer.
            304 if request.from == 0 && request.known.is_some_and(Validators::say_something) => {
                Ok(Answer::Unchanged)
            }
            // The part that is known is as long as the file, or longer: nothing is left to read.
            416 => {
                let size = text(headers, header::CONTENT_RANGE)
                    .and_then(|range| range.strip_prefix("bytes */")?.parse().ok());
                Ok(Answer::Body {
                    from: request.from,
                    size,
                    validators,
                    body: Box::new(io::empty()),
                })
            }
            404 | 410 => {
                Ok(Answer::Missing(format!("{} was answered with {status}", uri::redacted(url))))
            }
            code => {
                let hint = match code {
                    401 | 403 => "check the login in the archive's URI or in auth.conf",
                    407 => "the proxy wants a login: put it into the proxy's URI",
                    408 | 429 | 500..=599 => {
                        "the server is overloaded or broken: try again later or use another mirror"
                    }
                    _ => "check the archive's URI and the proxy",
                };
                let wait = text(headers, header::RETRY_AFTER).and_then(|wait| wait.parse().ok());
                Err(Failure {
                    error: failed(url, &format!("the server answered {status}")).with_hint(hint),
                    passing: matches!(code, 408 | 425 | 429 | 500 | 502 | 503 | 504),
                    wait: wait.map(Duration::from_secs),
                })
            }
        }
    }

    /// The proxy for a URI: the host's own entry, else the scheme's unless `no_proxy` has it.
    fn proxy(&self, parts: &Parts<'_>) -> Option<String> {
        let direct = |proxy: &String| proxy.is_empty() || proxy == "DIRECT";
        if let Some(proxy) = self.network.host_proxies.get(parts.host) {
            return Some(proxy.clone()).filter(|proxy| !direct(proxy));
        }
        let excluded = self.network.no_proxy.iter().map(|name| name.trim()).any(|name| {
            let suffix = name.trim_start_matches("*").trim_start_matches('.');
            !name.is_empty()
                && (name == "*"
                    || parts.host.eq_ignore_ascii_case(suffix)
                    || (parts.host.len() > suffix.len()
                        && parts
                            .host
                            .to_ascii_lowercase()
                            .ends_with(&format!(".{}", suffix.to_ascii_lowercase()))))
        });
        let proxy = if parts.scheme == "https" {
            &self.network.https_proxy
        } else {
            &self.network.http_proxy
        };
        proxy.clone().filter(|proxy| !excluded && !direct(proxy))
    }

    fn agent(&self, parts: &Parts<'_>) -> Result<ureq::Agent> {
        let proxy = self.proxy(parts);
        let key = (proxy, parts.scheme == "http");
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let bad = || {
            let shown = uri::redacted(key.0.as_deref().unwrap_or_default());
            Error::new(ErrorKind::Config, format!("the proxy {shown} cannot be used"))
        };
        let (mut forwarded, mut tunnel) = (None, None);
        match (&key.0, key.1) {
            (Some(proxy), true) if proxy.starts_with("http://") => {
                let parts = uri::split(proxy)?;
                let port = parts.port.unwrap_or(80);
                let at = format!("http://{}:{port}/", parts.host);
                let at: Uri = at.parse().map_err(|error| bad().with_source(error))?;
                forwarded = Some((at, parts.user.map(|user| base64(&uri::decode(user)))));
            }
            (Some(proxy), _) => {
                let proxy = ureq::Proxy::new(proxy).map_err(|error| bad().with_source(error))?;
                tunnel = Some(proxy);
            }
            (None, _) => {}
        }
        let parallel = self.network.parallel.max(1);
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(tunnel)
            .tls_config(self.tls.clone())
            .user_agent(concat!("debmock/", env!("CARGO_PKG_VERSION")))
            .accept("*/*")
            .accept_encoding("identity")
            .max_idle_connections(2 * parallel)
            .max_idle_connections_per_host(parallel)
            .input_buffer_size(128 * 1024)
            .build();
        let tcp = CancellableTcp {
            stop: self.stop.clone(),
            silence: self.network.timeout,
            pace: self.pace,
            forwarded: forwarded.as_ref().map(|(_, login)| login.clone()),
        };
        let connector =
            ().chain(SocksConnector::default())
                .chain(ConnectProxyConnector::default())
                .chain(tcp)
                .chain(RustlsConnector::default());
        let names = self.names.through(forwarded.map(|(proxy, _)| proxy));
        let agent = ureq::Agent::with_parts(config, connector, names);
        agents.insert(key, agent.clone());
        Ok(agent)
    }

    /// `user:password` for a URI: its own, else the first entry of `auth.conf` that fits.
    fn login(&self, parts: &Parts<'_>) -> Option<String> {
        if let Some(user) = parts.user {
            return Some(String::from_utf8_lossy(&uri::decode(user)).into_owned());
        }
        let entry =
            self.network.credentials.iter().find(|entry| machine_fits(&entry.machine, parts))?;
        Some(format!("{}:{}", entry.login, entry.password))
    }
}

/// `apt_auth.conf(5)`: without a scheme an entry is for https only; without a port for all; a
/// path is a prefix of the text.
fn machine_fits(machine: &str, parts: &Parts<'_>) -> bool {
    let (scheme, rest) = machine.split_once("://").unwrap_or(("https", machine));
    let slash = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    scheme == parts.scheme
        && host == parts.host
        && port.is_none_or(|port| parts.port.is_some_and(|own| own.to_string() == port))
        && parts.path.starts_with(path)
}

fn body(response: ureq::http::Response<ureq::Body>) -> Box<dyn io::Read + Send> {
    // The bound is the reader's affair: it knows how much the file may have.
    Box::new(response.into_body().into_with_config().limit(u64::MAX).reader())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// First byte and size of the whole, from `bytes 5-9/10`.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let from = range.split_once('-')?.0.trim().parse().ok()?;
    Some((from, size.trim().parse().ok()))
}

/// The target of a redirection, relative or absolute.
fn resolve(url: &str, parts: &Parts<'_>, target: &str) -> Option<String> {
    if target.starts_with("http://") || target.starts_with("https://") {
        return Some(target.to_owned());
    }
    if let Some(rest) = target.strip_prefix("//") {
        return Some(format!("{}://{rest}", parts.scheme));
    }
    if target.is_empty() || target.split('/').next().is_some_and(|first| first.contains(':')) {
        return None;
    }
    let root = &url[..url.len() - parts.path.len()];
    match target.starts_with('/') {
        true => Some(format!("{root}{target}")),
        false => {
            let folder = parts.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            Some(format!("{root}{folder}/{target}"))
        }
    }
}

fn is_tls(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => true,
        ureq::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        _ => false,
    }
}

fn failed(url: &str, why: &str) -> Error {
    Error::new(ErrorKind::Archive, format!("cannot fetch {}: {why}", uri::redacted(url)))
        .with_hint("check the archive's URI, or use another mirror")
}

fn authorities(path: &std::path::Path) -> Result<Vec<ureq::tls::Certificate<'static>>> {
    let bad = |why: String| {
        Error::new(
            ErrorKind::Config,
            format!("cannot use the certificate authorities in {}: {why}", path.display()),
        )
    };
    let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let Ok(ureq::tls::PemItem::Certificate(certificate)) = item {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(bad("there is no PEM certificate in it".into()));
    }
    Ok(certificates)
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let digit = (bits >> (18 - 6 * index)) & 63;
            text.push(if index > chunk.len() { '=' } else { char::from(DIGITS[digit as usize]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Credential;
    use crate::operation::CancelToken;

    fn http(network: Network) -> Http {
        Http::new(&network, Stop::new(CancelToken::new())).unwrap()
    }

    #[test]
    fn logins_go_to_https_unless_the_entry_says_otherwise() {
        let parts = |url| uri::split(url).unwrap();
        for (machine, url, fits) in [
            ("h", "https://h/x", true),
            ("h", "http://h/x", false),
            ("http://h", "http://h/x", true),
            ("http://h", "https://h/x", false),
            ("h:8080", "https://h:8080/x", true),
            ("h:443", "https://h/x", false),
            ("h/deb", "https://h/debian", true),
            ("h/deb/", "https://h/debian", false),
            ("h", "https://ha/x", false),
        ] {
            assert_eq!(machine_fits(machine, &parts(url)), fits, "{machine} {url}");
        }
        let credential =
            Credential { machine: "h".into(), login: "u".into(), password: "p".into() };
        let http = http(Network { credentials: vec![credential], ..Network::default() });
        assert_eq!(http.login(&parts("https://h/")).as_deref(), Some("u:p"));
        assert_eq!(http.login(&parts("http://a:b%40@h/")).as_deref(), Some("a:b@"));
    }

    #[test]
    fn the_host_rules_over_the_scheme_when_a_proxy_is_chosen() {
        let http = http(Network {
            http_proxy: Some("http://p:1".into()),
            https_proxy: Some("http://s:1".into()),
            host_proxies: [
                ("a".to_owned(), "DIRECT".to_owned()),
                ("b".to_owned(), "http://q:1".to_owned()),
            ]
            .into(),
            no_proxy: vec![".example.org".into(), "c".into()],
            ..Network::default()
        });
        for (url, proxy) in [
            ("http://a/", None),
            ("http://b/", Some("http://q:1")),
            ("http://c/", None),
            ("http://m.example.org/", None),
            ("http://x.c/", None),
            ("http://xc/", Some("http://p:1")),
            ("https://d/", Some("http://s:1")),
        ] {
            assert_eq!(http.proxy(&uri::split(url).unwrap()).as_deref(), proxy, "{url}");
        }
    }

    #[test]
    fn redirections_may_be_relative() {
        let url = "http://h:1/a/b";
        let to = |target| resolve(url, &uri::split(url).unwrap(), target);
        assert_eq!(to("/c").unwrap(), "http://h:1/c");
        assert_eq!(to("c").unwrap(), "http://h:1/a/c");
        assert_eq!(to("//x/c").unwrap(), "http://x/c");
        assert_eq!(to("file:///etc/passwd"), None);
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes */10"), None);
        assert_eq!(
            (base64(b"a:b"), base64(b"ab"), base64(b"")),
            ("YTpi".into(), "YWI=".into(), String::new())
        );
    }
}
