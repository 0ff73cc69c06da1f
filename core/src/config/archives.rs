//! The default archives of a config: the host's own where it has them, well-known ones elsewhere.
//!
//! For the host's own suite every entry of the host's that belongs to it is taken: the suite,
//! `-updates` and `-security`, never `-backports` and `-proposed-updates`, because the
//! distribution's own builders use neither. For another suite the host's mirror is asked for that
//! suite. Third-party repositories of the host that look like the distribution's are told apart
//! later, by the Origin of their verified Release file.

use super::apt::{Entry, HostApt, SignedBy, plain_uri, shown};
use super::distribution::{Distribution, Release, Suite, codename};
use super::system::System;
use super::{Architecture, ArchiveSource, ByHash, Keyring, Origin, Warning};
use std::time::Duration;

/// What the default archives depend on.
pub(crate) struct Request<'a> {
    pub(crate) distribution: &'a Distribution,
    pub(crate) suite: &'a Suite,
    pub(crate) architecture: &'a Architecture,
    pub(crate) components: &'a [String],
    /// Replace the URIs.
    pub(crate) mirror: Option<(&'a str, Origin)>,
    pub(crate) security_mirror: Option<(&'a str, Origin)>,
    /// Replaces the keyrings.
    pub(crate) keyring: Option<&'a Keyring>,
    /// Replace the host's settings.
    pub(crate) check_valid_until: Option<bool>,
    pub(crate) check_date: Option<bool>,
    /// Empty where the host's apt must not be used.
    pub(crate) host: &'a HostApt,
    pub(crate) system: &'a System,
}

/// What stands beside a suite under a name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pocket {
    Release,
    Updates,
    Security,
}

impl Pocket {
    /// Suite and pocket of what a source names; `stable-updates` is `trixie` and `Updates`.
    fn of(name: &str) -> (&str, Option<Pocket>) {
        if let Some(suite) = name.strip_suffix("-updates").filter(|s| !s.ends_with("-proposed")) {
            (codename(suite), Some(Pocket::Updates))
        } else if let Some(suite) = name.strip_suffix("-security") {
            (codename(suite), Some(Pocket::Security))
        } else if name.contains("-proposed") || name.contains("-backports") {
            (name, None)
        } else {
            (codename(name), Some(Pocket::Release))
        }
    }

    fn name(self, suite: &Suite) -> String {
        match self {
            Pocket::Release => suite.to_string(),
            Pocket::Updates => format!("{suite}-updates"),
            Pocket::Security => format!("{suite}-security"),
        }
    }
}

/// The default archives, each with where it came from; empty for a distribution that has none.
pub(crate) fn default_archives(
    request: &Request<'_>,
    warnings: &mut Vec<Warning>,
) -> Vec<(ArchiveSource, Origin)> {
    if request.mirror.is_none()
        && request.security_mirror.is_none()
        && request.system.own.as_ref()
            == Some(&(request.distribution.clone(), request.suite.clone()))
    {
        let own = own(request);
        if !own.is_empty() {
            return own;
        }
    }
    mapped(request, warnings)
}

/// The host's own entries for its own suite; empty without one for the suite itself.
fn own(request: &Request<'_>) -> Vec<(ArchiveSource, Origin)> {
    let mut found: Vec<(ArchiveSource, Origin)> = Vec::new();
    let mut released = false;
    for entry in &request.host.entries {
        let (suite, Some(pocket)) = Pocket::of(&entry.suite) else { continue };
        if suite != request.suite.as_str() || !serves(entry, request) || restricted(entry, request)
        {
            continue;
        }
        released |= pocket == Pocket::Release;
        let uri = entry.uri.clone();
        let (source, origin) = request.of_entry(entry, uri, pocket, own_keyring(entry, request));
        // `deb` and `deb-src` lines are often twins.
        match found.iter_mut().find(|(s, _)| s.uri == source.uri && s.suite == source.suite) {
            Some((twin, _)) => {
                for component in source.components {
                    if !twin.components.contains(&component) {
                        twin.components.push(component);
                    }
                }
            }
            None => found.push((source, origin)),
        }
    }
    if released { found } else { Vec::new() }
}

/// Another suite, architecture or mirror than the host's own: each pocket from the host's best
/// entry for such a pocket, or from the well-known archive.
fn mapped(request: &Request<'_>, warnings: &mut Vec<Warning>) -> Vec<(ArchiveSource, Origin)> {
    let release = Release::find(request.suite.as_str());
    let pockets: &[Pocket] = if release.is_some_and(|release| release.pockets) {
        &[Pocket::Release, Pocket::Updates, Pocket::Security]
    } else {
        &[Pocket::Release]
    };
    let mut found = Vec::new();
    for pocket in pockets {
        let (given, sort) = match pocket {
            Pocket::Security => (&request.security_mirror, Pocket::Security),
            _ => (&request.mirror, Pocket::Release),
        };
        if let Some((uri, origin)) = given {
            let uri = plain_uri(uri);
            let keyring = request.keyring.cloned().unwrap_or_else(|| default_keyring(request));
            found.push((request.source(uri, *pocket, keyring), origin.clone()));
        } else if let Some(entry) = best(request, sort) {
            let keyring = mapped_keyring(entry, request);
            found.push(request.of_entry(entry, entry.uri.clone(), *pocket, keyring));
        } else if let Some(uri) = primary(request, sort) {
            let keyring = request
                .keyring
                .cloned()
                .unwrap_or_else(|| Keyring::BuiltIn(request.distribution.name().to_owned()));
            found.push((request.source(uri, *pocket, keyring), Origin::default_value()));
        }
    }
    let own = request
        .system
        .own
        .as_ref()
        .is_some_and(|(d, s)| d == request.distribution && s == request.suite);
    if own && request.mirror.is_none() && !request.host.entries.is_empty() {
        warnings.push(Warning {
            message: format!(
                "no source of the host's apt serves {} {} for {}; other archives are used",
                request.distribution, request.suite, request.architecture
            ),
            hint: Some(
                "`debmock config show` prints them; `mirror` or `archives` replace them".into(),
            ),
        });
    }
    found
}

/// The host's entry whose archive most likely has such a pocket of every suite.
fn best<'a>(request: &Request<'a>, sort: Pocket) -> Option<&'a Entry> {
    let entries = &request.host.entries;
    let score = |entry: &Entry| {
        let (suite, pocket) = Pocket::of(&entry.suite);
        let release = Release::find(suite)?;
        let same = release.distribution() == *request.distribution;
        if !same || pocket != Some(sort) || !serves(entry, request) || wrong_half(entry, request) {
            return None;
        }
        let sibling = |other: &Entry| {
            other.uri == entry.uri && Pocket::of(&other.suite) == (suite, Some(Pocket::Updates))
        };
        let (last, host) = (last_part(&entry.uri), host_name(&entry.uri));
        let mut score = 0;
        score += 4 * i32::from(suite == request.suite.as_str());
        score += 2 * i32::from(entries.iter().any(sibling));
        score +=
            i32::from(matches!(last, "debian" | "debian-security" | "ubuntu" | "ubuntu-ports"));
        score += i32::from(host.ends_with(".debian.org") || host.ends_with(".ubuntu.com"));
        // Such a restriction mostly keeps foreign architectures out, it rarely means that the
        // mirror lacks them.
        score -= 16 * i32::from(restricted(entry, request));
        Some(score)
    };
    let scored = entries.iter().filter_map(|entry| Some((score(entry)?, entry)));
    // Of equals the first, as apt prefers what stands first.
    scored
        .fold(None, |best: Option<(i32, &Entry)>, next| match best {
            Some(best) if best.0 >= next.0 => Some(best),
            _ => Some(next),
        })
        .map(|(_, entry)| entry)
}

/// Whether an entry is of any use: no flat repository, and one component at least in common.
fn serves(entry: &Entry, request: &Request<'_>) -> bool {
    !entry.suite.ends_with('/')
        && entry.components.iter().any(|component| request.components.contains(component))
}

/// Whether the entry says that it is for other architectures only.
fn restricted(entry: &Entry, request: &Request<'_>) -> bool {
    let has = |names: &[String]| names.iter().any(|name| name == request.architecture.as_str());
    let named = &entry.options.architectures;
    has(&entry.options.without) || (!named.is_empty() && !has(named))
}

/// Ubuntu's archive has two halves on different hosts: amd64 and i386, and all others.
fn wrong_half(entry: &Entry, request: &Request<'_>) -> bool {
    let half = |architecture: &str| matches!(architecture, "amd64" | "i386");
    let named = entry.options.architectures.iter().any(|a| a == request.architecture.as_str());
    *request.distribution == Distribution::Ubuntu
        && !named
        && half(request.architecture.as_str()) != half(request.system.architecture.as_str())
}

fn last_part(uri: &str) -> &str {
    uri.rsplit('/').next().unwrap_or(uri)
}

fn host_name(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or("");
    host.split(':').next().unwrap_or("")
}

/// The archive that everybody knows.
fn primary(request: &Request<'_>, sort: Pocket) -> Option<String> {
    let uri = match (request.distribution, sort) {
        (Distribution::Debian, Pocket::Security) => "http://security.debian.org/debian-security",
        (Distribution::Debian, _) => "http://ftp.debian.org/debian",
        (Distribution::Ubuntu, _) => match request.architecture.as_str() {
            "amd64" | "i386" => "http://archive.ubuntu.com/ubuntu",
            _ => "http://ports.ubuntu.com/ubuntu-ports",
        },
        (Distribution::Other(_), _) => return None,
    };
    Some(uri.to_owned())
}

fn own_keyring(entry: &Entry, request: &Request<'_>) -> Keyring {
    if let Some(keyring) = request.keyring {
        return keyring.clone();
    }
    keyring(&entry.options.signed_by, request.host).unwrap_or_else(|| carried(entry, request))
}

/// The keys that the library carries, of which an entry's fingerprints choose as among any others.
fn carried(entry: &Entry, request: &Request<'_>) -> Keyring {
    Keyring::BuiltIn(request.distribution.name().to_owned())
        .only(&entry.options.signed_by.fingerprints)
}

/// The host's keyring may be older than the suite, so that the keys that the library carries
/// count as well.
fn mapped_keyring(entry: &Entry, request: &Request<'_>) -> Keyring {
    let carried = carried(entry, request);
    match own_keyring(entry, request) {
        keyring if request.keyring.is_some() || keyring == carried => keyring,
        keyring => Keyring::Any(vec![keyring, carried]),
    }
}

/// The keys for an archive about whose keys nobody said anything.
fn default_keyring(request: &Request<'_>) -> Keyring {
    unnamed_keyring(request.distribution, request.host)
        .unwrap_or_else(|| Keyring::BuiltIn(request.distribution.name().to_owned()))
}

/// What the host's apt trusts and what the library carries for the distribution; `None` if there
/// is neither.
pub(crate) fn unnamed_keyring(distribution: &Distribution, host: &HostApt) -> Option<Keyring> {
    let mut keyrings: Vec<Keyring> = keyring(&SignedBy::default(), host).into_iter().collect();
    if super::builtin_keys(distribution.name()).is_some() {
        keyrings.push(Keyring::BuiltIn(distribution.name().to_owned()));
    }
    match keyrings.len() {
        0 | 1 => keyrings.pop(),
        _ => Some(Keyring::Any(keyrings)),
    }
}

/// What `Signed-By` means: its keys, or the keyrings that apt trusts by default. `None` if there
/// are none.
pub(crate) fn keyring(signed_by: &SignedBy, host: &HostApt) -> Option<Keyring> {
    if let Some(inline) = &signed_by.inline {
        return Some(Keyring::Inline(inline.clone()));
    }
    let files = if signed_by.files.is_empty() { &host.trusted } else { &signed_by.files };
    (!files.is_empty()).then(|| Keyring::Files {
        files: files.clone(),
        fingerprints: signed_by.fingerprints.clone(),
    })
}

impl Request<'_> {
    fn of_entry(
        &self,
        entry: &Entry,
        uri: String,
        pocket: Pocket,
        keyring: Keyring,
    ) -> (ArchiveSource, Origin) {
        let options = &entry.options;
        let mut source = self.source(uri, pocket, keyring);
        source.components.retain(|component| entry.components.contains(component));
        source.trusted = options.trusted == Some(true);
        source.check_date = self.check_date.or(options.check_date).unwrap_or(source.check_date);
        source.check_valid_until = source.check_date
            && self.check_valid_until.or(options.check_valid_until).unwrap_or_else(|| {
                self.host.conf.flag("Acquire::Check-Valid-Until") != Some(false)
            });
        source.valid_until_max = options.valid_until_max.or(source.valid_until_max);
        source.by_hash = options.by_hash.unwrap_or(source.by_hash);
        (source, Origin::host(entry.place.clone()))
    }

    /// A source with what `apt.conf(5)` says about all sources.
    fn source(&self, uri: String, pocket: Pocket, keyring: Keyring) -> ArchiveSource {
        let conf = &self.host.conf;
        let check_date = self.check_date.or(conf.flag("Acquire::Check-Date")).unwrap_or(true);
        let check_valid_until = check_date
            && self.check_valid_until.or(conf.flag("Acquire::Check-Valid-Until")).unwrap_or(true);
        let label = match (self.distribution, pocket) {
            (Distribution::Debian, Pocket::Security) => "Debian-Security",
            (Distribution::Debian, _) => "Debian",
            _ => "Ubuntu",
        };
        let oldest = conf
            .get(&format!("Acquire::Max-ValidTime::{label}"))
            .or(conf.get("Acquire::Max-ValidTime"))
            .and_then(|seconds| seconds.parse().ok())
            .filter(|seconds| *seconds > 0);
        ArchiveSource {
            uri: shown(&uri),
            suite: pocket.name(self.suite),
            components: self.components.to_vec(),
            architectures: Vec::new(),
            keyring,
            trusted: false,
            check_valid_until,
            check_date,
            valid_until_max: oldest.map(Duration::from_secs),
            by_hash: match conf.get("Acquire::By-Hash") {
                Some("force") => ByHash::Force,
                _ if conf.flag("Acquire::By-Hash") == Some(false) => ByHash::No,
                _ => ByHash::Auto,
            },
            origin: self.distribution.origin().map(str::to_owned),
            presumed: pocket == Pocket::Release,
        }
    }
}

#[cfg(test)]
mod tests;
