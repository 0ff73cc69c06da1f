//! Distributions, their suites, and the names that move from suite to suite.

use super::architecture;
use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;

/// Who makes the archive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Distribution {
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
    /// Any other, by the lower-case name that `ID` of `os-release(5)` would give it. Its archives
    /// must be written into the config.
    Other(String),
}

impl Distribution {
    /// The lower-case name: `debian`.
    pub fn name(&self) -> &str {
        match self {
            Distribution::Debian => "debian",
            Distribution::Ubuntu => "ubuntu",
            Distribution::Other(name) => name,
        }
    }

    /// What `Origin` of its Release files says; `None` where that is not known.
    pub fn origin(&self) -> Option<&'static str> {
        match self {
            Distribution::Debian => Some("Debian"),
            Distribution::Ubuntu => Some("Ubuntu"),
            Distribution::Other(_) => None,
        }
    }

    /// The components that its packages build from unless the config says otherwise: those that
    /// the distribution's own builders use for packages of `main`.
    pub(crate) fn components(&self) -> &'static [&'static str] {
        match self {
            Distribution::Ubuntu => &["main", "universe"],
            _ => &["main"],
        }
    }

    /// The distribution that has a suite of this codename.
    pub(crate) fn of_suite(suite: &str) -> Option<Distribution> {
        RELEASES.iter().find(|r| r.codename == suite).map(|r| r.distribution())
    }
}

impl FromStr for Distribution {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "debian" => Ok(Distribution::Debian),
            "ubuntu" => Ok(Distribution::Ubuntu),
            _ if !text.is_empty()
                && text.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b)
                }) =>
            {
                Ok(Distribution::Other(text.to_owned()))
            }
            _ => Err(Error::new(
                ErrorKind::Config,
                format!("{text:?} is not the name of a distribution"),
            )
            .with_hint("names are lower case, such as debian or ubuntu")),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The codename of a suite: `trixie`, never `stable` nor `trixie-updates`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Suite(String);

impl Suite {
    /// The codename.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Suite {
    type Err = Error;

    /// Takes a codename; a name that moves (`stable`) becomes the codename that it means.
    fn from_str(text: &str) -> Result<Self> {
        let good = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
        if !good {
            return Err(Error::new(
                ErrorKind::Config,
                format!("{text:?} is not the name of a suite"),
            )
            .with_hint("a suite is named by letters, digits and . _ + -, such as trixie"));
        }
        Ok(Suite(codename(text).to_owned()))
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One release that has a built-in config.
pub(crate) struct Release {
    pub(crate) codename: &'static str,
    ubuntu: bool,
    /// Whether `-updates` and `-security` exist beside the suite. sid has neither: what is fixed
    /// there is fixed by the next upload.
    pub(crate) pockets: bool,
}

impl Release {
    pub(crate) fn distribution(&self) -> Distribution {
        if self.ubuntu { Distribution::Ubuntu } else { Distribution::Debian }
    }

    /// The name of its built-in config.
    pub(crate) fn config(&self) -> String {
        format!("{}-{}", self.distribution(), self.codename)
    }

    pub(crate) fn find(codename: &str) -> Option<&'static Release> {
        RELEASES.iter().find(|release| release.codename == codename)
    }
}

const fn debian(codename: &'static str, pockets: bool) -> Release {
    Release { codename, ubuntu: false, pockets }
}

const fn ubuntu(codename: &'static str) -> Release {
    Release { codename, ubuntu: true, pockets: true }
}

/// Oldest first in each distribution.
pub(crate) const RELEASES: &[Release] = &[
    debian("bullseye", true),
    debian("bookworm", true),
    debian("trixie", true),
    debian("forky", true),
    debian("sid", false),
    ubuntu("jammy"),
    ubuntu("noble"),
    ubuntu("plucky"),
    ubuntu("questing"),
    ubuntu("resolute"),
    ubuntu("stonking"),
];

/// Debian's names that move with each release, and what they mean while trixie is stable.
pub(crate) const ALIASES: &[(&str, &str)] = &[
    ("oldoldstable", "bullseye"),
    ("oldstable", "bookworm"),
    ("stable", "trixie"),
    ("testing", "forky"),
    ("unstable", "sid"),
];

/// The codename that a name means; a codename means itself.
pub(crate) fn codename(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, codename)| codename)
}

/// The text of a built-in config; `None` for a name that is not built in.
///
/// `debian-stable` extends `debian-trixie`, and `NAME-arm64` extends `NAME`, so that a file that
/// changes `debian-trixie` changes them too.
pub(crate) fn builtin(name: &str) -> Option<String> {
    if let Some(release) = RELEASES.iter().find(|release| release.config() == name) {
        return Some(format!(
            "distribution = \"{}\"\nsuite = \"{}\"\n",
            release.distribution(),
            release.codename
        ));
    }
    if let Some((_, codename)) =
        ALIASES.iter().find(|(alias, _)| name.strip_prefix("debian-") == Some(alias))
    {
        return Some(format!("extends = \"debian-{codename}\"\n"));
    }
    let (parent, architecture) = split_architecture(name)?;
    builtin(parent).map(|_| of_architecture(parent, architecture))
}

/// The text of `PARENT-ARCHITECTURE`.
pub(crate) fn of_architecture(parent: &str, architecture: &str) -> String {
    format!("extends = \"{parent}\"\narchitecture = \"{architecture}\"\n")
}

/// `foo-arm64` as `foo` and `arm64`.
pub(crate) fn split_architecture(name: &str) -> Option<(&str, &str)> {
    let (parent, last) = name.rsplit_once('-')?;
    architecture::KNOWN.contains(&last).then_some((parent, last))
}

/// Names of the built-in configs, without those that end in an architecture.
pub(crate) fn builtin_names() -> Vec<String> {
    let aliases = ALIASES.iter().map(|(alias, _)| format!("debian-{alias}"));
    RELEASES.iter().map(Release::config).chain(aliases).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_name_has_a_text_with_and_without_architecture() {
        for name in builtin_names() {
            assert!(builtin(&name).is_some(), "{name}");
            for architecture in architecture::KNOWN {
                assert!(builtin(&format!("{name}-{architecture}")).is_some(), "{name}");
            }
            assert!(builtin(&format!("{name}-vax")).is_none());
            assert!(builtin(&format!("{name}-amd64-amd64")).is_some_and(|t| t.contains("amd64")));
        }
    }

    #[test]
    fn names_that_move_become_codenames() {
        assert_eq!("testing".parse::<Suite>().unwrap().as_str(), "forky");
        assert_eq!("noble".parse::<Suite>().unwrap().as_str(), "noble");
        for bad in ["", "../x", "a b", "a/b", "-x", "x\n"] {
            assert!(bad.parse::<Suite>().is_err(), "{bad:?}");
        }
    }
}
