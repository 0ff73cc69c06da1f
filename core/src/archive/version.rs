//! Versions of Debian packages and their order, as Policy section 5.6.12 and
//! `deb-version(7)` define them.

pub use debmock_helper::dpkgdb::version::compare;

use crate::error::{Error, ErrorKind, Result};
use debmock_helper::dpkgdb::version::{number, split};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// A valid version: `[epoch:]upstream[-revision]`. Equality and hash follow the order: `1.0`
/// equals `0:1.0-0`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

impl Version {
    /// Checks `text` as dpkg does.
    ///
    /// # Errors
    /// An empty version, an epoch that is no number below 2³¹, an empty upstream version or
    /// revision, an upstream version that does not begin with a digit, or a character that may
    /// not stand there.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Err(Error::new(ErrorKind::Archive, format!("{text:?} is not a Debian version: {why}")))
        };
        let text = text.trim_matches([' ', '\t', '\n']);
        let (epoch, upstream, revision) = split(text);
        if text.contains(':')
            && (epoch.is_empty()
                || epoch.len() > 10
                || !epoch.parse::<u32>().is_ok_and(|epoch| epoch <= i32::MAX as u32))
        {
            return bad("its epoch is not a number");
        }
        if upstream.is_empty() {
            return bad("the upstream version is empty");
        }
        if !upstream.starts_with(|c: char| c.is_ascii_digit()) {
            return bad("the upstream version does not start with a digit");
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".+~".contains(c);
        if !upstream.chars().all(|c| allowed(c) || c == '-' || c == ':') {
            return bad("the upstream version has a character that is not allowed");
        }
        if text.ends_with('-') || !revision.chars().all(allowed) {
            return bad("the revision is empty or has a character that is not allowed");
        }
        Ok(Version(text.to_owned()))
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The version without its epoch, as file names have it.
    pub fn without_epoch(&self) -> &str {
        self.0.split_once(':').map_or(&*self.0, |(_, rest)| rest)
    }

    /// The part between epoch and revision.
    pub fn upstream(&self) -> &str {
        split(&self.0).1
    }

    /// The part after the last hyphen; empty for a native package.
    pub fn revision(&self) -> &str {
        split(&self.0).2
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Version::parse(text)
    }
}

impl TryFrom<String> for Version {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Version::parse(&text)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.0
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Equal versions may differ in zeros that do not count: hash what does.
        let (epoch, upstream, revision) = split(&self.0);
        for part in [epoch, upstream, revision] {
            let mut rest = part.as_bytes();
            while let Some(first) = rest.first() {
                if first.is_ascii_digit() {
                    let digits;
                    (digits, rest) = number(rest);
                    state.write(digits);
                } else {
                    state.write_u8(*first);
                    rest = &rest[1..];
                }
            }
            state.write_u8(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn order_of_the_manual() {
        let sorted = ["~~", "~~a", "~", "", "a", "a+", "b"];
        for pair in sorted.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        for (a, b) in [("1.0", "0:1.0-0"), ("1.00", "1.0"), ("1.0-0", "1.0"), ("a0", "a")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
        assert_eq!(compare("1:1", "2"), Ordering::Greater);
        assert_eq!(compare("1.0~rc1-1", "1.0-1"), Ordering::Less);
        assert_eq!(compare("1-1-2", "1-1-10"), Ordering::Less);
    }

    #[test]
    fn bad_versions_are_refused() {
        for text in ["", "a", "-1", "1-", "1:", ":1", "a:1", "1 2", "1_2", "99999999999:1", "1/2"] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
        let version = Version::parse("2:1.0-rc1+dfsg-3~bpo1").unwrap();
        assert_eq!(version.without_epoch(), "1.0-rc1+dfsg-3~bpo1");
        assert_eq!((version.upstream(), version.revision()), ("1.0-rc1+dfsg", "3~bpo1"));
    }

    fn version() -> impl Strategy<Value = String> {
        ("(0:|1:|)", "[0-9][0-9a-c.+~]{0,6}", "(-[0-9a-c.+~]{1,4}|)")
            .prop_map(|(epoch, upstream, revision)| format!("{epoch}{upstream}{revision}"))
    }

    proptest! {
        #[test]
        fn order_is_antisymmetric_and_transitive(a in version(), b in version(), c in version()) {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
                prop_assert_ne!(compare(&a, &c), Ordering::Greater);
            }
        }

        #[test]
        fn equal_versions_have_equal_hashes(a in version()) {
            let hash = |text: &str| {
                let mut state = std::collections::hash_map::DefaultHasher::new();
                Version::parse(text).unwrap().hash(&mut state);
                state.finish()
            };
            let padded = format!("0{a}");
            prop_assert_eq!(compare(&a, &padded), Ordering::Equal);
            prop_assert_eq!(hash(&a), hash(&padded));
        }
    }

    /// Needs the host's dpkg.
    #[test]
    fn dpkg_agrees() {
        use proptest::strategy::ValueTree;
        use proptest::test_runner::TestRunner;
        let mut runner = TestRunner::deterministic();
        for _ in 0..300 {
            let a = version().new_tree(&mut runner).unwrap().current();
            let b = version().new_tree(&mut runner).unwrap().current();
            let operator = match compare(&a, &b) {
                Ordering::Less => "lt",
                Ordering::Equal => "eq",
                Ordering::Greater => "gt",
            };
            let status = Command::new("dpkg")
                .args(["--compare-versions", &a, operator, &b])
                .status()
                .expect("this test compares with dpkg, which must be installed");
            assert!(status.success(), "dpkg does not say that {a} {operator} {b}");
        }
    }
}
