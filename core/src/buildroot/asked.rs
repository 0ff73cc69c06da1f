//! What a config asked for when a base was made, and whether it still asks for the same.
//!
//! A root goes on with the packages that it was made of. If the config moves to another suite,
//! `install` would put packages of the one on a root of the other; so that is noticed, and
//! nothing else is: newer indexes of the same archives are what `update` is for.

use crate::archive::uri::redacted;
use crate::config::{ArchiveSource, Config, Variant};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a config asked for when a base was made; kept beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Asked {
    /// Codename of the suite.
    pub suite: String,
    /// Debian name of the architecture.
    pub architecture: String,
    /// What the packages of the base were to be; nothing for an imported one, which has what its
    /// archive has.
    pub content: Option<Content>,
}

/// What the packages of a base were to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Content {
    /// `packages.variant`.
    pub variant: String,
    /// `packages.include`.
    pub include: BTreeSet<String>,
    /// Archives as `URI SUITE COMPONENT…`, without user names and passwords.
    pub archives: BTreeSet<String>,
}

impl Asked {
    /// What `config` asks of a base that is made from packages.
    pub(super) fn of(config: &Config) -> Self {
        let variant = match config.packages.variant {
            Variant::Essential => "essential",
            Variant::Apt => "apt",
            Variant::Buildd => "buildd",
        };
        let content = Content {
            variant: variant.into(),
            include: config.packages.include.iter().cloned().collect(),
            archives: config.archives.iter().map(line).collect(),
        };
        Asked { content: Some(content), ..Asked::of_import(config) }
    }

    /// What `config` says of a base that is imported.
    pub(super) fn of_import(config: &Config) -> Self {
        Asked {
            suite: config.suite.to_string(),
            architecture: config.architecture.to_string(),
            content: None,
        }
    }

    /// What differs in what is asked for `now`, in words; empty if nothing does. `self` is what
    /// was asked for when the base was made.
    pub(super) fn differences(&self, now: &Asked) -> Vec<String> {
        let word = |what: &str, then: &str, now: &str| {
            (then != now).then(|| format!("{what} {then} instead of {now}"))
        };
        let suite = word("suite", &self.suite, &now.suite);
        let moved = suite.is_some();
        let mut all: Vec<String> = suite.into_iter().collect();
        all.extend(word("architecture", &self.architecture, &now.architecture));
        if let (Some(then), Some(now)) = (&self.content, &now.content) {
            all.extend(word("packages.variant", &then.variant, &now.variant));
            all.extend(lists("packages.include", &then.include, &now.include));
            // That another suite has other archives goes without saying.
            if !moved {
                all.extend(lists("archives", &then.archives, &now.archives));
            }
        }
        all
    }
}

/// An archive as it is compared and shown.
fn line(source: &ArchiveSource) -> String {
    let uri = redacted(&source.uri);
    let words = [uri.trim_end_matches('/'), &source.suite];
    let components = source.components.iter().map(String::as_str);
    words.into_iter().chain(components).collect::<Vec<_>>().join(" ")
}

/// Entries that a message names at most.
const SHOWN: usize = 3;

/// `archives without X, with Y`, which is how the root differs from what is asked for now.
fn lists(what: &str, then: &BTreeSet<String>, now: &BTreeSet<String>) -> Option<String> {
    let shown = |word: &str, of: &BTreeSet<String>, but: &BTreeSet<String>| {
        let only: Vec<&str> = of.difference(but).map(String::as_str).collect();
        let more = match only.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = only[..only.len().min(SHOWN)].join(", ");
        (!only.is_empty()).then(|| format!("{word} {named}{more}"))
    };
    let parts: Vec<String> =
        [shown("with", then, now), shown("without", now, then)].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("{what} {}", parts.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Asked {
        let archive = "[[archives]]\nuri = \"http://u:p@mirror.example.org/x/\"\nsuites = \"s\"\n\
                       components = [\"main\"]\ntrusted = true\n";
        let text = format!("use_host_apt = false\ndistribution = \"x\"\n{text}{archive}");
        let nowhere = crate::config::Places::below(std::path::Path::new("/nonexistent"));
        let config = crate::config::Loader::at(nowhere).load_str("x", &text).unwrap();
        Asked::of(&config)
    }

    #[test]
    fn what_differs_is_named_and_nothing_else() {
        let then = asked("suite = \"a\"\narchitecture = \"amd64\"\n");
        assert_eq!(then.differences(&then), Vec::<String>::new());
        let other = asked("suite = \"b\"\narchitecture = \"arm64\"\n");
        assert_eq!(
            then.differences(&other),
            ["suite a instead of b", "architecture amd64 instead of arm64"]
        );
        let more = asked("suite = \"a\"\narchitecture = \"amd64\"\npackages.include = [\"vim\"]\n");
        assert_eq!(then.differences(&more), ["packages.include without vim"]);
        assert_eq!(more.differences(&then), ["packages.include with vim"]);
    }

    #[test]
    fn archives_are_shown_without_passwords_and_not_all_of_them() {
        let then = asked("suite = \"a\"\narchitecture = \"amd64\"\n");
        let mut now = then.clone();
        let archives = &mut now.content.as_mut().unwrap().archives;
        archives.clear();
        archives.extend((0..5).map(|n| format!("http://{n} s main")));
        assert_eq!(
            then.differences(&now),
            ["archives with http://mirror.example.org/x s main and without \
              http://0 s main, http://1 s main, http://2 s main and 2 more"]
        );
    }

    #[test]
    fn of_an_import_only_suite_and_architecture_are_known() {
        let now = asked("suite = \"a\"\narchitecture = \"amd64\"\n");
        let import = Asked { content: None, ..now.clone() };
        assert!(import.differences(&now).is_empty());
        let moved = Asked { suite: "b".into(), ..import };
        assert_eq!(moved.differences(&now), ["suite b instead of a"]);
    }
}
