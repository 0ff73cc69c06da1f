//! Dependency fields (Policy section 7.1, `deb-control(5)`, build profiles of
//! `deb-src-control(5)`).
//!
//! A field is a list of groups that must all hold; a group is a list of alternatives of which
//! one must hold.

use super::architecture;
use super::version::{self, Version};
use crate::error::{Error, ErrorKind, Result};
use std::cmp::Ordering;
use std::fmt;

/// How the version of a package must compare with the version that a relation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

impl Operator {
    /// Whether a version that compares like this with the named one is meant.
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierOrEqual => order != Ordering::Greater,
            Operator::Equal => order == Ordering::Equal,
            Operator::LaterOrEqual => order != Ordering::Less,
            Operator::Later => order == Ordering::Greater,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Operator::Earlier => "<<",
            Operator::EarlierOrEqual => "<=",
            Operator::Equal => "=",
            Operator::LaterOrEqual => ">=",
            Operator::Later => ">>",
        }
    }
}

/// One term of a restriction: a name, perhaps negated with `!`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    /// Whether `!` stands before it.
    pub negated: bool,
    /// Architecture, wildcard or profile.
    pub name: String,
}

/// One alternative: a package and what is demanded of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Relation {
    /// Package name; may be virtual.
    pub name: String,
    /// What follows the colon: `any`, `native` or an architecture.
    pub qualifier: Option<String>,
    /// The version constraint.
    pub version: Option<(Operator, Version)>,
    /// `[…]`: the architectures that it concerns; empty: all.
    pub architectures: Vec<Term>,
    /// `<…> <…>`: it concerns a build if all terms of one list hold; empty: every build.
    pub profiles: Vec<Vec<Term>>,
}

impl Relation {
    /// The package `name` in any version.
    pub fn named(name: impl Into<String>) -> Self {
        Relation {
            name: name.into(),
            qualifier: None,
            version: None,
            architectures: Vec::new(),
            profiles: Vec::new(),
        }
    }

    /// Whether `version` satisfies the constraint, if there is one.
    pub fn admits(&self, version: &str) -> bool {
        self.version.as_ref().is_none_or(|(operator, wanted)| {
            operator.holds(version::compare(version, wanted.as_str()))
        })
    }

    /// Whether it concerns a build for `architecture`.
    pub fn concerns_architecture(&self, architecture: &str) -> bool {
        // dpkg: a list is either all negated or not at all; the first match decides.
        let mut seen_negated = false;
        for term in &self.architectures {
            let matches = architecture::matches(&term.name, architecture);
            if matches {
                return !term.negated;
            }
            seen_negated |= term.negated;
        }
        self.architectures.is_empty() || seen_negated
    }

    /// Whether it concerns a build with exactly these `profiles` active.
    pub fn concerns_profiles(&self, profiles: &[String]) -> bool {
        let holds = |term: &Term| profiles.contains(&term.name) != term.negated;
        self.profiles.is_empty() || self.profiles.iter().any(|list| list.iter().all(holds))
    }
}

/// A whole dependency field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relations(pub Vec<Vec<Relation>>);

impl Relations {
    /// Reads the value of a dependency field. Empty groups (a comma too many) are passed over,
    /// as dpkg does.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] with the alternative that is not understood.
    pub fn parse(text: &str) -> Result<Self> {
        let mut groups = Vec::new();
        for group in text.split(',') {
            if group.trim().is_empty() {
                continue;
            }
            groups.push(group.split('|').map(parse_relation).collect::<Result<Vec<_>>>()?);
        }
        Ok(Relations(groups))
    }

    /// Drops what does not concern a build for `architecture` with `profiles`, and the
    /// restrictions of what does. A group of which nothing remains is dropped.
    pub fn reduce(&self, architecture: &str, profiles: &[String]) -> Self {
        let concerned = |relation: &&Relation| {
            relation.concerns_architecture(architecture) && relation.concerns_profiles(profiles)
        };
        let bare = |relation: &Relation| Relation {
            architectures: Vec::new(),
            profiles: Vec::new(),
            ..relation.clone()
        };
        let groups =
            self.0.iter().map(|group| group.iter().filter(concerned).map(bare).collect::<Vec<_>>());
        Relations(groups.filter(|group| !group.is_empty()).collect())
    }

    /// Keeps of each group the first alternative and those right after it that name the same
    /// package: together they are one demand (`foo (<< 1) | foo (>> 2)`). This is what Debian's
    /// build daemons do.
    pub fn first_alternatives(&self) -> Self {
        let groups = self.0.iter().map(|group| {
            let same = |relation: &&Relation| relation.name == group[0].name;
            group.iter().take_while(same).cloned().collect::<Vec<_>>()
        });
        Relations(groups.filter(|group| !group.is_empty()).collect())
    }

    /// Whether it demands nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn parse_relation(text: &str) -> Result<Relation> {
    let text = text.trim();
    let bad = |why: &str| {
        let shown: String = text.chars().take(120).collect();
        Error::new(ErrorKind::Archive, format!("the dependency {shown:?} is not understood: {why}"))
    };
    let end = text.find(|c: char| c.is_whitespace() || "([<".contains(c)).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let (name, qualifier) = match name.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (name, None),
    };
    let plain = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-._".contains(&c))
    };
    if !plain(name) || !qualifier.is_none_or(plain) {
        return Err(bad("there is no package name"));
    }
    let mut relation =
        Relation { qualifier: qualifier.map(str::to_owned), ..Relation::named(name) };
    rest = rest.trim_start();
    if let Some(inner) = rest.strip_prefix('(') {
        let (constraint, after) = inner.split_once(')').ok_or_else(|| bad("a `)` is missing"))?;
        let constraint = constraint.trim();
        let end = constraint.find(|c| !"<>=".contains(c)).unwrap_or(constraint.len());
        let operator = match &constraint[..end] {
            "<<" => Operator::Earlier,
            // Before 1996 `<` and `>` meant `<=` and `>=`, and dpkg still takes them so.
            "<=" | "<" => Operator::EarlierOrEqual,
            "=" | "" => Operator::Equal,
            ">=" | ">" => Operator::LaterOrEqual,
            ">>" => Operator::Later,
            _ => return Err(bad("the operator is unknown")),
        };
        let version = Version::parse(constraint[end..].trim())
            .map_err(|error| bad("bad version").with_source(error))?;
        relation.version = Some((operator, version));
        rest = after.trim_start();
    }
    if let Some(inner) = rest.strip_prefix('[') {
        let (list, after) = inner.split_once(']').ok_or_else(|| bad("a `]` is missing"))?;
        relation.architectures = terms(list);
        if relation.architectures.is_empty() {
            return Err(bad("a list of architectures is empty"));
        }
        rest = after.trim_start();
    }
    while let Some(inner) = rest.strip_prefix('<') {
        let (list, after) = inner.split_once('>').ok_or_else(|| bad("a `>` is missing"))?;
        relation.profiles.push(terms(list));
        rest = after.trim_start();
    }
    if rest.is_empty() { Ok(relation) } else { Err(bad("something follows it")) }
}

fn terms(list: &str) -> Vec<Term> {
    let term = |word: &str| match word.strip_prefix('!') {
        Some(name) => Term { negated: true, name: name.to_owned() },
        None => Term { negated: false, name: word.to_owned() },
    };
    list.split_whitespace().map(term).collect()
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(qualifier) = &self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some((operator, version)) = &self.version {
            write!(f, " ({} {version})", operator.as_str())?;
        }
        let list = |terms: &[Term]| {
            let words = terms
                .iter()
                .map(|term| format!("{}{}", if term.negated { "!" } else { "" }, term.name));
            words.collect::<Vec<_>>().join(" ")
        };
        if !self.architectures.is_empty() {
            write!(f, " [{}]", list(&self.architectures))?;
        }
        self.profiles.iter().try_for_each(|profiles| write!(f, " <{}>", list(profiles)))
    }
}

impl fmt::Display for Relations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            for (index, relation) in group.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { " | " })?;
                write!(f, "{relation}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn every_part_is_read_and_written() {
        let text =
            "a:any (>= 1:2~) [!linux-any !hurd-i386] <!nocheck cross> <stage1> | b, c:native (= 1)";
        let relations = Relations::parse(text).unwrap();
        assert_eq!(relations.to_string(), text);
        assert_eq!(
            Relations::parse("a(>=1)[amd64]<x>,,b ,").unwrap().to_string(),
            "a (>= 1) [amd64] <x>, b"
        );
        for bad in
            ["a (>= 1", "a b", "(>= 1)", "a (>> )", "a (=> 1)", "a | ", "a []", "a:b:c", "/x"]
        {
            assert!(Relations::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn restrictions_are_applied() {
        let profiles =
            |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let relations = Relations::parse(
            "a [linux-any], b [!amd64], c <!nocheck>, d <stage1 cross> <nodoc>, e [i386] | f, g [any-i386]",
        )
        .unwrap();
        assert_eq!(relations.reduce("amd64", &[]).to_string(), "a, c, f");
        assert_eq!(
            relations.reduce("i386", &profiles(&["nocheck", "nodoc"])).to_string(),
            "a, b, d, e | f, g"
        );
        assert_eq!(
            relations.reduce("amd64", &profiles(&["stage1", "cross"])).to_string(),
            "a, c, d, f"
        );
    }

    #[test]
    fn only_the_first_alternative_and_the_same_package_after_it_remain() {
        let relations = Relations::parse("a | b, c (<< 1) | c (>> 2) | d | c").unwrap();
        assert_eq!(relations.first_alternatives().to_string(), "a, c (<< 1) | c (>> 2)");
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC{0,60}") {
            let _ = Relations::parse(&text).map(|relations| relations.reduce("amd64", &[]).first_alternatives());
        }
    }

    /// Needs the host's libdpkg-perl.
    #[test]
    fn dpkg_reduces_in_the_same_way() {
        let relation = (
            "[ab](:any|:native|)",
            "( \\((>=|<<|=) [0-9]\\)|)",
            "( \\[(!(linux-any|i386)( !hurd-any|)|(any-amd64|i386|amd64)( armhf|))\\]|)",
            "( <!?(p|q)( !?q|)>){0,2}",
        )
            .prop_map(|(name, version, architecture, profile)| {
                format!("{name}{version}{architecture}{profile}")
            });
        let field = proptest::collection::vec(proptest::collection::vec(relation, 1..3), 1..4)
            .prop_map(|groups| {
                groups.iter().map(|group| group.join(" | ")).collect::<Vec<_>>().join(", ")
            });
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let fields: Vec<String> = (0..300)
            .map(|_| proptest::strategy::ValueTree::current(&field.new_tree(&mut runner).unwrap()))
            .collect();
        let script = "use Dpkg::Deps; while (<STDIN>) { chomp; my $d = deps_parse($_, build_dep => 1, \
            reduce_restrictions => 1, host_arch => 'amd64', build_arch => 'amd64', \
            build_profiles => ['p']); print \"$d\\n\"; }";
        let mut perl = Command::new("perl")
            .args(["-e", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test compares with libdpkg-perl, which must be installed");
        perl.stdin.take().unwrap().write_all((fields.join("\n") + "\n").as_bytes()).unwrap();
        let output = perl.wait_with_output().unwrap();
        let theirs = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && theirs.lines().count() == fields.len());
        for (field, theirs) in fields.iter().zip(theirs.lines()) {
            let ours = Relations::parse(field).unwrap().reduce("amd64", &["p".to_owned()]);
            assert_eq!(ours.to_string(), theirs, "{field}");
        }
    }
}
