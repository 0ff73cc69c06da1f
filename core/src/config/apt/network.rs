//! Proxies, certificates, patience and logins: what apt and the environment say about reaching
//! archives (`apt-transport-http(1)`, `apt-transport-https(1)`).

use super::{AptConf, HostApt};
use crate::config::{Credential, Network, Origin, Warning};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Where each field of [`Network`] came from, by the last part of its key.
pub(crate) type Choices = BTreeMap<&'static str, Origin>;

/// The network as apt would use it with this configuration and environment.
pub(crate) fn network(
    host: &HostApt,
    environment: &BTreeMap<String, String>,
    warnings: &mut Vec<Warning>,
) -> (Network, Choices) {
    let mut reader = Reader { conf: &host.conf, environment, choices: Choices::new(), warnings };
    let mut network = Network { credentials: host.credentials.clone(), ..Network::default() };
    // https options default to those of http.
    let http = ["Acquire::http::Proxy"];
    let https = ["Acquire::https::Proxy", "Acquire::http::Proxy"];
    network.http_proxy = reader.proxy("http_proxy", &http, &["http_proxy"]);
    network.https_proxy = reader.proxy("https_proxy", &https, &["https_proxy", "http_proxy"]);
    for scope in https.iter().rev() {
        for (name, value) in host.conf.below(scope) {
            network.host_proxies.insert(name.to_ascii_lowercase(), value.to_owned());
            reader.note("host_proxies", scope);
        }
    }
    if let Some((name, list)) = reader.variable("no_proxy") {
        network.no_proxy = list
            .split([',', ' '])
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect();
        reader.choices.insert("no_proxy", Origin::host(format!("environment {name}")));
    }
    if let Some(retries) = reader.number("retries", &["Acquire::Retries"]) {
        network.retries = u32::try_from(retries.min(100)).unwrap_or(100);
    }
    let timeouts = ["Acquire::http::Timeout", "Acquire::https::Timeout"];
    if let Some(seconds) = reader.number("timeout", &timeouts).filter(|seconds| *seconds > 0) {
        network.timeout = Duration::from_secs(seconds.min(86400));
    }
    if let Some(path) = host.conf.get("Acquire::https::CAInfo") {
        network.ca_info = Some(PathBuf::from(path));
        reader.note("ca_info", "Acquire::https::CAInfo");
    }
    if let Some(verify) = host.conf.flag("Acquire::https::Verify-Peer") {
        network.verify_peer = verify;
        reader.note("verify_peer", "Acquire::https::Verify-Peer");
    }
    reader.warn_of_what_is_not_followed();
    let mut choices = reader.choices;
    if !network.credentials.is_empty() {
        choices.insert("credentials", Origin::host("apt's sources and auth.conf"));
    }
    for proxy in [&mut network.http_proxy, &mut network.https_proxy].into_iter().flatten() {
        if !proxy.contains("://") {
            // curl and wget take `proxy:3128` in the environment, and so apt's users do.
            *proxy = format!("http://{proxy}");
        }
    }
    (network, choices)
}

struct Reader<'a> {
    conf: &'a AptConf,
    environment: &'a BTreeMap<String, String>,
    choices: Choices,
    warnings: &'a mut Vec<Warning>,
}

impl Reader<'_> {
    fn note(&mut self, field: &'static str, option: &str) {
        let place = self.conf.place(option).unwrap_or_else(|| "apt's configuration".to_owned());
        self.choices.insert(field, Origin::host(place));
    }

    /// The first of these options that is set, else the first of these variables. `DIRECT` is
    /// no proxy, and keeps the environment out.
    fn proxy(
        &mut self,
        field: &'static str,
        options: &[&str],
        variables: &[&str],
    ) -> Option<String> {
        for option in options {
            if let Some(value) = self.conf.get(option) {
                let value = value.to_owned();
                self.note(field, option);
                return (value != "DIRECT").then_some(value);
            }
        }
        for variable in variables {
            if let Some((name, value)) = self.variable(variable) {
                self.choices.insert(field, Origin::host(format!("environment {name}")));
                return (value != "DIRECT").then_some(value);
            }
        }
        None
    }

    /// A variable in lower, else in upper case, that is not empty. In a CGI program the upper-case
    /// `HTTP_PROXY` is a header that the client chose.
    fn variable(&self, name: &str) -> Option<(String, String)> {
        let upper = name.to_ascii_uppercase();
        let cgi = self.environment.contains_key("REQUEST_METHOD");
        let names = [name.to_owned(), upper];
        names
            .into_iter()
            .filter(|name| !(cgi && name == "HTTP_PROXY"))
            .find_map(|name| Some((name.clone(), self.environment.get(&name)?.trim().to_owned())))
            .filter(|(_, value)| !value.is_empty())
    }

    fn number(&mut self, field: &'static str, options: &[&str]) -> Option<u64> {
        for option in options {
            let Some(text) = self.conf.get(option) else { continue };
            match text.parse() {
                Ok(number) => {
                    self.note(field, option);
                    return Some(number);
                }
                Err(_) => self.warnings.push(Warning::new(format!(
                    "{}: {option} is {text:?}, which is not a number; it is not used",
                    self.conf.place(option).unwrap_or_default()
                ))),
            }
        }
        None
    }

    fn warn_of_what_is_not_followed(&mut self) {
        let options = [
            ("Acquire::http::Proxy-Auto-Detect", "set `network.http_proxy` to the proxy"),
            ("Acquire::http::ProxyAutoDetect", "set `network.http_proxy` to the proxy"),
            ("Acquire::https::SSLCert", "client certificates are not supported"),
            (
                "Acquire::https::Verify-Host",
                "set `network.verify_peer` if certificates must not be checked",
            ),
        ];
        for (option, hint) in options {
            let harmless = option.ends_with("Verify-Host") && self.conf.flag(option) != Some(false);
            if self.conf.get(option).is_some() && !harmless {
                self.warnings.push(Warning {
                    message: format!(
                        "{}: {option} is not followed",
                        self.conf.place(option).unwrap_or_default()
                    ),
                    hint: Some(hint.to_owned()),
                });
            }
        }
    }
}

/// Takes the login out of a URI: the URI without it, and the login for that host alone.
pub(crate) fn without_login(uri: &str) -> Option<(String, Credential)> {
    let (scheme, rest) = uri.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (login, host) = authority.rsplit_once('@')?;
    let (login, password) = login.split_once(':').unwrap_or((login, ""));
    let credential = Credential {
        machine: format!("{scheme}://{host}{path}"),
        login: unquoted(login),
        password: unquoted(password),
    };
    Some((format!("{scheme}://{host}{path}"), credential))
}

/// Replaces `%40` and the like.
fn unquoted(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
