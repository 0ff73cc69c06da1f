//! What a package needs, refuses and provides.

use crate::archive::index::Package;
use crate::archive::relation::Relation;
use crate::error::Result;
use std::collections::HashMap;
use std::rc::Rc;

/// What a package needs and refuses, parsed once.
pub(super) struct Demands<'a> {
    /// Groups of alternatives, `Pre-Depends` first.
    pub(super) needs: Vec<Vec<Relation>>,
    /// `Conflicts` and `Breaks`.
    pub(super) refuses: Vec<Relation>,
    /// What it offers.
    pub(super) offer: Rc<Offer<'a>>,
}

impl<'a> Demands<'a> {
    /// Those of `package`.
    pub(super) fn of(package: Package<'a>, offer: Rc<Offer<'a>>) -> Result<Self> {
        let mut needs = package.relations("Pre-Depends")?.0;
        needs.extend(package.relations("Depends")?.0);
        let mut refuses: Vec<Relation> = Vec::new();
        for field in ["Conflicts", "Breaks"] {
            refuses.extend(package.relations(field)?.0.into_iter().flatten());
        }
        Ok(Demands { needs, refuses, offer })
    }
}

/// The names that a package can be meant by.
pub(super) struct Offer<'a> {
    /// Each name once, its own first.
    pub(super) names: Vec<&'a str>,
    /// The names that it provides, with the versions that it provides them in.
    provided: HashMap<&'a str, Vec<Option<&'a str>>>,
}

impl<'a> Offer<'a> {
    /// That of `package`.
    pub(super) fn of(package: Package<'a>) -> Self {
        let mut names = vec![package.name()];
        let mut provided: HashMap<_, Vec<_>> = HashMap::new();
        if package.has_provides() {
            for (name, version) in names_provided(package.provides()) {
                let versions = provided.entry(name).or_default();
                if versions.is_empty() && name != package.name() {
                    names.push(name);
                }
                versions.push(version);
            }
        }
        Offer { names, provided }
    }

    /// The versions in which `name` is provided.
    pub(super) fn versions(&self, name: &str) -> &[Option<&'a str>] {
        self.provided.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Names and versions of a `Provides` field. Some have a thousand, so nothing is copied.
pub(super) fn names_provided(field: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    field.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| {
        let end = item.find([' ', '(', ':', '\t', '\n']).unwrap_or(item.len());
        let version = item
            .split_once('(')
            .and_then(|(_, rest)| rest.trim_end_matches(')').trim_start().strip_prefix('='));
        (&item[..end], version.map(str::trim))
    })
}

/// FNV-1a: short names, no need for more.
pub(super) fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
