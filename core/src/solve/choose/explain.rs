//! Why a package set cannot be chosen, in a sentence that a person reads to its end.

use super::{DeadEnd, Goal, Solver};
use crate::archive::index::{Package, PackageId};
use crate::archive::relation::Relation;
use crate::error::{Error, ErrorKind};
use std::fmt::Display;

/// What is mostly behind it.
pub(super) const UPDATE: &str =
    "the archives may be in the middle of an update, or one is missing in `archives` of the config";

/// Members of a list that are named.
const MEMBERS: usize = 5;

/// Characters of a relation that are shown.
const LETTERS: usize = 120;

/// Joins the first members of a list, and says how many more there are.
fn listed<T: Display>(members: &[T], between: &str) -> String {
    let shown: Vec<String> = members.iter().take(MEMBERS).map(shortened).collect();
    let text = shown.join(between);
    match members.len().saturating_sub(MEMBERS) {
        0 => text,
        more => format!("{text}{between}{more} more"),
    }
}

fn shortened(text: impl Display) -> String {
    let text = text.to_string();
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl<'a> Solver<'a> {
    pub(super) fn refusal(
        &self,
        refusing: &Package<'_>,
        relation: &Relation,
        refused: &Package<'_>,
        because: Option<PackageId>,
    ) -> Error {
        let through = because.map(|of| format!(" (needed through {})", self.chain(of)));
        Error::new(
            ErrorKind::Dependency,
            format!(
                "{} {} conflicts with {}, which is {} {}{}",
                refusing.name(),
                refusing.version(),
                shortened(relation),
                refused.name(),
                refused.version(),
                through.unwrap_or_default(),
            ),
        )
    }

    /// `build-essential → g++ → g++-14`: how the search came to need `id`. Of a long way only the
    /// end.
    fn chain(&self, id: PackageId) -> String {
        let mut names = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next {
            let name = self.packages.get(id).name();
            let chosen = self.by_name.get(name).map(|at| &self.chosen[*at]);
            let depth = chosen.map_or(0, |chosen| chosen.depth);
            if names.len() > MEMBERS && depth > 0 {
                names.push(format!("{} others", depth + 1));
                break;
            }
            names.push(name.to_owned());
            next = chosen.and_then(|chosen| chosen.because);
        }
        names.reverse();
        names.join(" → ")
    }

    pub(super) fn unsatisfied(
        &mut self,
        goal: Goal,
        group: &[Relation],
        taken: Option<PackageId>,
    ) -> DeadEnd {
        let why = match (taken, group) {
            (Some(id), _) => {
                let name = self.packages.get(id).name();
                let chosen = self
                    .by_name
                    .get(name)
                    .map(|at| self.packages.get(self.chosen[*at].id).version());
                format!("but {name} {} is needed already", chosen.unwrap_or_default())
            }
            (None, [only]) => self.absence(only, true),
            (None, _) => format!("none of which is in {}", self.packages.shown()),
        };
        let error = format!("{} depends on {}, {why}", self.chain(goal.of), listed(group, " | "));
        self.first.get_or_insert_with(|| error.clone());
        DeadEnd::Unsatisfied(Error::new(ErrorKind::Dependency, error).with_hint(UPDATE))
    }

    /// Why nothing satisfies `relation`.
    pub(super) fn absence(&self, relation: &Relation, versions: bool) -> String {
        let found: Vec<&str> = self
            .packages
            .versions(&relation.name)
            .filter(|package| self.fits(package))
            .map(|package| package.id())
            .map(|id| self.packages.get(id).version())
            .collect();
        let archives = self.packages.shown();
        match found.is_empty() || !versions {
            true => format!("which is not in {archives}"),
            false => format!("of which {archives} only has {}", listed(&found, ", ")),
        }
    }
}
