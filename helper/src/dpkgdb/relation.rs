//! Relationship fields (Debian Policy §7.1), as far as a fixed package set needs them.

use std::cmp::Ordering;

use super::stanza::{Identity, Stanza};
use super::version::compare;

/// One alternative of a relationship: a name, perhaps with a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alternative<'a> {
    pub name: &'a str,
    version: Option<(&'a str, &'a str)>,
}

impl Alternative<'_> {
    /// Whether it names a version.
    pub(crate) fn has_version(&self) -> bool {
        self.version.is_some()
    }
}

/// The clauses of a field, each with its alternatives.
pub(crate) fn alternatives(field: &str) -> impl Iterator<Item = Vec<Alternative<'_>>> {
    field
        .split(',')
        .filter(|clause| !clause.trim().is_empty())
        .map(|clause| clause.split('|').map(parse).collect())
}

fn parse(text: &str) -> Alternative<'_> {
    let text = text.trim();
    let name_end = text.find([' ', '\t', '\n', '(', '[']).unwrap_or(text.len());
    let name = &text[..name_end];
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    let version = text.find('(').and_then(|open| {
        let close = text[open..].find(')')? + open;
        let inside = text[open + 1..close].trim();
        let digits = inside.find(|c: char| !"<>=".contains(c))?;
        Some((&inside[..digits], inside[digits..].trim()))
    });
    Alternative { name, version }
}

/// Whether the package `identity` itself (not something that it provides) satisfies it.
pub(crate) fn satisfied(alternative: &Alternative<'_>, identity: &Identity) -> bool {
    if alternative.name != identity.name {
        return false;
    }
    let Some((operator, version)) = alternative.version else { return true };
    let order = compare(&identity.version, version);
    match operator {
        "<<" => order == Ordering::Less,
        "<=" | "<" => order != Ordering::Greater,
        "=" => order == Ordering::Equal,
        ">=" | ">" => order != Ordering::Less,
        ">>" => order == Ordering::Greater,
        _ => false,
    }
}

/// Whether a package with these control fields may overwrite files of `other` (Policy §7.6.1).
pub(crate) fn replaces(stanza: &Stanza, other: &Identity) -> bool {
    stanza
        .text("Replaces")
        .is_some_and(|field| alternatives(field).flatten().any(|one| satisfied(&one, other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, version: &str) -> Identity {
        Identity { name: name.into(), version: version.into(), architecture: "amd64".into() }
    }

    #[test]
    fn replaces_honours_versions() {
        let stanza =
            Stanza::parse_one(b"Package: a\nReplaces: b (<< 2.0~), c:any,\n d (>= 1)\n").unwrap();
        assert!(replaces(&stanza, &identity("b", "1.9")));
        assert!(!replaces(&stanza, &identity("b", "2.0")));
        assert!(replaces(&stanza, &identity("c", "5")));
        assert!(!replaces(&stanza, &identity("d", "0.9")));
        assert!(!replaces(&stanza, &identity("e", "1")));
    }

    #[test]
    fn alternatives_keep_their_order() {
        let clauses: Vec<_> = alternatives("a (>= 1) | b, c").collect();
        let names: Vec<Vec<_>> =
            clauses.iter().map(|clause| clause.iter().map(|one| one.name).collect()).collect();
        assert_eq!(names, [vec!["a", "b"], vec!["c"]]);
    }
}
