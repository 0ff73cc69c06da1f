//! URIs of archives: their parts, the names that apt gives to files that came from them, and
//! forms that are fit to be shown.

use crate::error::{Error, ErrorKind, Result};

/// The parts of a URI that matter here. No part is percent-decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Before the first colon.
    pub scheme: &'a str,
    /// `user` or `user:password`.
    pub user: Option<&'a str>,
    /// Host name or address; empty for `file:` and `copy:`.
    pub host: &'a str,
    /// The port, where one stands in the URI.
    pub port: Option<u16>,
    /// From the first slash after the host.
    pub path: &'a str,
}

/// Takes `uri` apart.
///
/// # Errors
/// [`ErrorKind::Config`] if there is no scheme, or no host where the scheme needs one.
pub fn split(uri: &str) -> Result<Parts<'_>> {
    let bad = |why: &str| {
        Error::new(ErrorKind::Config, format!("the URI {} is not usable: {why}", redacted(uri)))
    };
    let (scheme, rest) = uri.split_once(':').ok_or_else(|| bad("it has no scheme"))?;
    let Some(rest) = rest.strip_prefix("//") else {
        return match scheme {
            "http" | "https" => Err(bad("it has no host")),
            _ => Ok(Parts { scheme, user: None, host: "", port: None, path: rest }),
        };
    };
    let slash = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let (host, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => {
            (name, Some(port.parse().map_err(|_| bad("its port is not a number"))?))
        }
        _ => (host, None),
    };
    if host.is_empty() && matches!(scheme, "http" | "https") {
        return Err(bad("it has no host"));
    }
    Ok(Parts { scheme, user, host, port, path })
}

/// `uri` without user name and password.
pub fn redacted(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let slash = rest.find('/').unwrap_or(rest.len());
    match rest[..slash].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => uri.to_owned(),
    }
}

/// The name under which apt keeps what it got from `uri` in its `lists` directory: host and
/// path, `/` as `_`, other characters that do not belong into a name as `%xx`.
pub fn list_name(uri: &str) -> String {
    let bare = redacted(uri);
    let rest = bare.split_once(':').map_or(&*bare, |(_, rest)| rest);
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let mut name = String::with_capacity(rest.len());
    for byte in rest.bytes() {
        match byte {
            b'/' => name.push('_'),
            0..=0x20 | 0x7f.. | b'%' => name.push_str(&format!("%{byte:02x}")),
            _ if br#"\|{}[]<>"^~_=!@#$%^&*"#.contains(&byte) => {
                name.push_str(&format!("%{byte:02x}"));
            }
            _ => name.push(char::from(byte)),
        }
    }
    name
}

/// `%xx` undone.
pub fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let value = hex.and_then(|hex| {
            let digit = |c: u8| (c as char).to_digit(16);
            Some((digit(hex[0])? * 16 + digit(hex[1])?) as u8)
        });
        decoded.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    decoded
}

/// A path of an index as it stands in a URI: with `%xx` for what apt writes so. `+` is among it,
/// because some object stores take it for a blank.
pub fn encode(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'+' | b'~' | b'%' | 0..=0x20 | 0x7f.. => text.push_str(&format!("%{byte:02x}")),
            _ => text.push(char::from(byte)),
        }
    }
    text
}

/// `path` below `base`, with exactly one slash between them.
pub fn join(base: &str, path: &str) -> String {
    format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let parts = split("http://u:p@mirror.example.org:8080/debian").unwrap();
        assert_eq!(
            (parts.user, parts.host, parts.port, parts.path),
            (Some("u:p"), "mirror.example.org", Some(8080), "/debian")
        );
        assert_eq!(split("https://[::1]/x").unwrap().host, "[::1]");
        assert_eq!(split("file:///srv/x").unwrap().path, "/srv/x");
        assert_eq!(split("copy:/srv/x").unwrap().path, "/srv/x");
        for bad in ["mirror", "http:/x", "http://:80/", "https://h:x/"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_in_lists_are_those_of_apt() {
        for (uri, name) in [
            (
                "http://u:p@mirror.example.org/debian/dists/sid/InRelease",
                "mirror.example.org_debian_dists_sid_InRelease",
            ),
            ("http://localhost:8080/a_b/~x+y", "localhost:8080_a%5fb_%7ex+y"),
            ("file:///srv/x/./Packages", "_srv_x_._Packages"),
            ("copy:/srv/x/./Packages", "_srv_x_._Packages"),
        ] {
            assert_eq!(list_name(uri), name);
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(redacted("https://u:p@h/x@y"), "https://h/x@y");
        assert_eq!(decode("/a%20b%zz%"), b"/a b%zz%");
        assert_eq!(encode("pool/g++_1~2%_é.deb"), "pool/g%2b%2b_1%7e2%25_%c3%a9.deb");
        assert_eq!(decode(&encode("é+~ %")), "é+~ %".as_bytes());
    }
}
