//! The control file `triggers` (`deb-triggers(5)`) and what dpkg records of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One trigger that a package is interested in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interest {
    /// A name, or the absolute path of a file trigger.
    pub trigger: String,
    /// Activating packages do not wait for the triggered one.
    pub noawait: bool,
}

impl Interest {
    /// The `interest` lines of a control file; `activate` lines matter only to a running dpkg.
    pub fn parse(text: &[u8]) -> Vec<Self> {
        let text = String::from_utf8_lossy(text);
        let mut found = Vec::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let noawait = match words.next() {
                Some("interest" | "interest-await") => false,
                Some("interest-noawait") => true,
                _ => continue,
            };
            // The name becomes the name of a file: no slashes but in a file trigger.
            if let Some(trigger) = words.next()
                && (trigger.starts_with('/') || !trigger.contains('/') && !trigger.starts_with('.'))
            {
                found.push(Self { trigger: trigger.into(), noawait });
            }
        }
        found
    }
}

/// Whether dpkg takes a control file: it refuses a package for a line that it does not know.
pub(crate) fn is_sound(text: &[u8]) -> bool {
    let is_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [directive, name] = words[..] else { return words.is_empty() };
        let (verb, how) = directive.split_once('-').unwrap_or((directive, "await"));
        let is_path = name.starts_with('/') && !name.contains("//") && !name.ends_with('/');
        let is_name = !name.contains('/') && !name.starts_with('.');
        ["interest", "activate"].contains(&verb)
            && ["await", "noawait"].contains(&how)
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
            && (is_path || is_name)
    };
    let is_ended = text.is_empty() || text.ends_with(b"\n");
    is_ended
        && std::str::from_utf8(text)
            .is_ok_and(|text| text.lines().all(|line| line.starts_with('#') || is_line(line)))
}

/// The names that the `activate` lines of a control file activate, and whether the package waits
/// for whoever is interested.
pub(crate) fn activations(text: &[u8]) -> Vec<(String, bool)> {
    let text = String::from_utf8_lossy(text);
    let names = text.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let awaits = match words.next()? {
            "activate" | "activate-await" => true,
            "activate-noawait" => false,
            _ => return None,
        };
        Some((words.next()?.to_owned(), awaits))
    });
    names.collect()
}

/// Whether a package that brings these paths (absolute) activates the file trigger.
pub(crate) fn activates(trigger: &str, files: &[Vec<u8>]) -> bool {
    let trigger = trigger.trim_end_matches('/').as_bytes();
    files.iter().any(|path| {
        path.strip_prefix(trigger).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    })
}

/// The files of `/var/lib/dpkg/triggers` for these interests, by name. The second of each
/// pair is the package as dpkg names it (with the architecture for Multi-Arch: same).
pub(crate) fn files(interests: &[(Interest, String)]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (interest, package) in interests {
        let suffix = if interest.noawait { "/noawait" } else { "" };
        let (file, line) = if interest.trigger.starts_with('/') {
            ("File".into(), format!("{} {package}{suffix}\n", interest.trigger))
        } else {
            (interest.trigger.clone(), format!("{package}{suffix}\n"))
        };
        files.entry(file).or_insert_with(String::new).push_str(&line);
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dpkg_would_refuse_is_told_apart() {
        for good in ["", "\n# x y z\ninterest a\n activate-noawait  /b/c \n", "activate-await x\n"]
        {
            assert!(is_sound(good.as_bytes()), "{good:?}");
        }
        for bad in ["interest a", "intrest a\n", "interest\n", "interest a b\n", "activate ../x\n"]
        {
            assert!(!is_sound(bad.as_bytes()), "{bad:?}");
        }
        assert!(!is_sound(b"interest \xff\n") && !is_sound(b"interest-later x\n"));
    }

    #[test]
    fn interests_become_files() {
        let control =
            b"# a comment\ninterest ldconfig\nactivate-noawait other\ninterest-noawait /usr/share/x # y\ninterest ../../escape\n";
        let interests: Vec<_> =
            Interest::parse(control).into_iter().map(|i| (i, "libc-bin".into())).collect();
        let files = files(&interests);
        assert_eq!(files.len(), 2);
        assert_eq!(files["ldconfig"], "libc-bin\n");
        assert_eq!(files["File"], "/usr/share/x libc-bin/noawait\n");
    }
}
