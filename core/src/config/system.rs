//! Which distribution this host runs.

use super::apt::HostApt;
use super::architecture::Architecture;
use super::distribution::{Distribution, Release, Suite, codename};
use super::places::Places;
use std::path::Path;

/// The host's own system, as far as configs default to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct System {
    /// `None` unless it is Debian or Ubuntu and the suite is known.
    pub(crate) own: Option<(Distribution, Suite)>,
    pub(crate) architecture: Architecture,
}

impl System {
    /// Reads `os-release(5)`, and where that leaves the suite open, apt's sources and
    /// `/etc/debian_version`.
    pub(crate) fn of_host(places: &Places, apt: &HostApt) -> System {
        let os_release = read(&places.os_release);
        let version = read(&places.debian_version);
        let own = distribution(&os_release).and_then(|distribution| {
            let suite = suite(&distribution, &os_release, version.trim(), apt)?;
            Some((distribution, suite))
        });
        System { own, architecture: Architecture::host() }
    }
}

fn read(path: &Path) -> String {
    super::apt::read(path).unwrap_or_default()
}

/// A variable of `os-release(5)`, which is a shell script of assignments.
fn variable<'a>(os_release: &'a str, name: &str) -> Option<&'a str> {
    let line = os_release
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
    let value = line.trim();
    let inner = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value);
    (!inner.is_empty()).then_some(inner)
}

fn distribution(os_release: &str) -> Option<Distribution> {
    match variable(os_release, "ID")? {
        "debian" => Some(Distribution::Debian),
        "ubuntu" => Some(Distribution::Ubuntu),
        _ => None,
    }
}

/// testing and unstable share one `os-release` (its codename, if any, is testing's), so that
/// only apt's sources tell a sid host from a testing one.
fn suite(
    distribution: &Distribution,
    os_release: &str,
    version: &str,
    apt: &HostApt,
) -> Option<Suite> {
    let has = |suite: &str| apt.entries.iter().any(|entry| codename(&entry.suite) == suite);
    let before_release = version.strip_suffix("/sid");
    let named = variable(os_release, "VERSION_CODENAME").or(before_release);
    if *distribution == Distribution::Debian
        && before_release.is_some()
        && has("sid")
        && !named.is_some_and(has)
    {
        return "sid".parse().ok();
    }
    if let Some(named) = named {
        return named.parse().ok();
    }
    let known = apt.entries.iter().map(|entry| codename(&entry.suite)).find(|suite| {
        Release::find(suite).is_some_and(|release| release.distribution() == *distribution)
    });
    known?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::apt::Entry;
    use super::*;

    fn found(os_release: &str, version: &str, suites: &[&str]) -> Option<String> {
        let entries = suites
            .iter()
            .map(|suite| Entry { suite: (*suite).to_owned(), ..Entry::default() })
            .collect();
        let apt = HostApt { entries, ..HostApt::default() };
        let distribution = distribution(os_release)?;
        let suite = suite(&distribution, os_release, version, &apt)?;
        Some(format!("{distribution} {suite}"))
    }

    #[test]
    fn the_suite_is_found_on_every_sort_of_debian_and_ubuntu() {
        let expect = |text: &str| Some(text.to_owned());
        let bookworm = "ID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(found(bookworm, "12.11", &["bookworm"]), expect("debian bookworm"));
        assert_eq!(found(bookworm, "12.11", &["sid"]), expect("debian bookworm"));
        let forky = "ID=debian\nVERSION_CODENAME=forky\n";
        assert_eq!(found(forky, "forky/sid", &["testing"]), expect("debian forky"));
        assert_eq!(found(forky, "forky/sid", &["unstable"]), expect("debian sid"));
        assert_eq!(found(forky, "forky/sid", &["forky", "sid"]), expect("debian forky"));
        assert_eq!(found("ID=debian\n", "forky/sid", &[]), expect("debian forky"));
        assert_eq!(found("ID=debian\n", "", &["x", "unstable"]), expect("debian sid"));
        assert_eq!(found("ID=debian\n", "", &[]), None);
        let noble = "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME='noble'\n";
        assert_eq!(found(noble, "trixie/sid", &["noble"]), expect("ubuntu noble"));
    }

    #[test]
    fn other_systems_and_garbage_have_no_suite() {
        assert_eq!(found("ID=fedora\nVERSION_CODENAME=x\n", "", &[]), None);
        assert_eq!(found("ID=raspbian\nID_LIKE=debian\n", "12", &["bookworm"]), None);
        assert_eq!(found("ID=debian\nVERSION_CODENAME=\"../x\"\n", "", &[]), None);
        assert_eq!(found("", "", &[]), None);
        assert_eq!(variable("ID=\"\n", "ID"), Some("\""));
    }
}
