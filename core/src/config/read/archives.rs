//! Archives and keyrings that the config itself names.

use super::Values;
use crate::config::apt::{self, HostApt, SignedBy};
use crate::config::archives::{self, Request};
use crate::config::check::{check_uri, is_component, is_suite, words};
use crate::config::tree::Node;
use crate::config::{Architecture, ArchiveSource, ByHash, Keyring, Network, Origin};
use crate::error::Result;

impl Values<'_> {
    pub(super) fn archives(
        &self,
        key: &str,
        request: &Request<'_>,
        network: &mut Network,
    ) -> Result<Vec<(ArchiveSource, Origin)>> {
        let mut archives = Vec::new();
        for (entry, origin) in self.tables(key) {
            let lacks = |name: &str| origin.error(format!("an entry of `archives` lacks `{name}`"));
            let (uri, at) = entry.text_at("uri").ok_or_else(|| lacks("uri"))?;
            check_uri(uri, "archives.uri", at)?;
            let uri = match apt::without_login(uri) {
                Some((uri, credential)) => {
                    network.credentials.insert(0, credential);
                    uri
                }
                None => uri.to_owned(),
            };
            let suites = entry.list("suites", "the name of a suite", is_suite)?;
            if suites.is_empty() {
                return Err(lacks("suites"));
            }
            let trusted = entry.flag("trusted").unwrap_or(false);
            let keyring = match (entry.node("signed_by"), request.keyring) {
                (Some(node), _) => Some(read_keyring(node, request.host)?),
                (None, Some(keyring)) => Some(keyring.clone()),
                (None, None) => archives::unnamed_keyring(request.distribution, request.host),
            };
            let keyring = match keyring {
                Some(keyring) => keyring,
                None if trusted => Keyring::Files { files: Vec::new(), fingerprints: Vec::new() },
                None => {
                    return Err(lacks("signed_by").with_hint(
                        "name the keys that sign it, or set `trusted = true` to take it unsigned",
                    ));
                }
            };
            let check_date = entry
                .flag("check_date")
                .or(request.check_date)
                .or(request.host.conf.flag("Acquire::Check-Date"))
                .unwrap_or(true);
            let check_valid_until = entry
                .flag("check_valid_until")
                .or(request.check_valid_until)
                .or(request.host.conf.flag("Acquire::Check-Valid-Until"))
                .unwrap_or(true);
            for suite in suites {
                let flat = suite.ends_with('/');
                let components = match entry.list("components", "a component", is_component)? {
                    list if flat && !list.is_empty() => {
                        return Err(origin.error(format!("the flat suite {suite:?} has no components (`archives.components` has {})", list.join(" "))));
                    }
                    _ if flat => Vec::new(),
                    list if list.is_empty() => request.components.to_vec(),
                    list => list,
                };
                archives.push((
                    ArchiveSource {
                        uri: apt::plain_uri(&uri),
                        suite,
                        components,
                        architectures: entry.list("architectures", "an architecture", |name| {
                            name.parse::<Architecture>().is_ok()
                        })?,
                        keyring: keyring.clone(),
                        trusted,
                        check_valid_until: check_valid_until && check_date,
                        check_date,
                        valid_until_max: entry.duration("valid_until_max"),
                        by_hash: match entry.text("by_hash") {
                            "no" => ByHash::No,
                            "force" => ByHash::Force,
                            _ => ByHash::Auto,
                        },
                        origin: entry.text_at("origin").map(|(text, _)| text.to_owned()),
                        presumed: false,
                    },
                    origin.clone(),
                ));
            }
        }
        Ok(archives)
    }
}

/// Reads `keyring` or `signed_by`.
pub(super) fn read_keyring(node: &Node, host: &HostApt) -> Result<Keyring> {
    let words = words(node);
    let mut keyrings = Vec::new();
    let mut rest = Vec::new();
    for word in words {
        match word.strip_prefix("builtin:") {
            Some(name) if crate::config::builtin_keys(name).is_some() => {
                keyrings.push(Keyring::BuiltIn(name.to_owned()));
            }
            Some(name) => {
                return Err(node.origin.error(format!(
                    "the library carries no keys of {name:?}, only of debian and ubuntu"
                )));
            }
            None if word.contains("BEGIN PGP") => {
                let inline = SignedBy::parse(word).ok().and_then(|signed_by| signed_by.inline);
                let inline =
                    inline.ok_or_else(|| node.origin.error("this is no armored public key"))?;
                keyrings.push(Keyring::Inline(inline));
            }
            None => rest.push(word),
        }
    }
    if !rest.is_empty() {
        let signed_by = SignedBy::parse(&rest.join(" ")).map_err(|word| {
            node.origin.error(format!(
                "{word:?} is no absolute path of a key file, no fingerprint of 40 digits, no armored key, and not builtin:debian"
            ))
        })?;
        if signed_by.files.is_empty() && !keyrings.is_empty() {
            // Beside keys that are given here, fingerprints choose among these.
            let all = match keyrings.len() {
                1 => keyrings.swap_remove(0),
                _ => Keyring::Any(keyrings),
            };
            return Ok(all.only(&signed_by.fingerprints));
        }
        let keyring = archives::keyring(&signed_by, host).ok_or_else(|| {
            node.origin.error("fingerprints alone choose among the keys that the host's apt trusts, and it trusts none")
                .with_hint("add the path of the key file")
        })?;
        keyrings.push(keyring);
    }
    match keyrings.len() {
        0 => Err(node.origin.error("a keyring without keys would accept nothing")),
        1 => Ok(keyrings.swap_remove(0)),
        _ => Ok(Keyring::Any(keyrings)),
    }
}
