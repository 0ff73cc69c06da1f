//! The search.

use super::{PackageEntry, PackageSet};
use crate::archive::index::{Package, PackageId, Packages};
use crate::archive::relation::Relation;
use crate::archive::version;
use crate::error::{Error, ErrorKind, Result};
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

/// Choices that are tried at most before the first conflict is reported. Debian's own sets need
/// a few dozen.
const BUDGET: u32 = 20_000;

/// One dependency field's worth of demands of a package, parsed once.
struct Demands {
    /// Groups of alternatives, `Pre-Depends` first.
    needs: Vec<Vec<Relation>>,
    /// `Conflicts` and `Breaks`.
    refuses: Vec<Relation>,
    /// Names that it provides, with the version that it provides them in.
    provides: Vec<(String, Option<String>)>,
}

/// Something that must hold: the group `group` of what `of` needs.
#[derive(Clone, Copy)]
struct Goal {
    of: PackageId,
    group: usize,
}

struct Chosen {
    id: PackageId,
    phase: u32,
    explicit: bool,
    /// Who needed it.
    because: Option<PackageId>,
}

/// Why the search came to an end somewhere.
enum DeadEnd {
    Unsatisfied(Error),
    Fatal(Error),
}

pub(super) struct Solver<'a> {
    packages: &'a Packages,
    architecture: &'a str,
    chosen: Vec<Chosen>,
    by_name: HashMap<&'a str, usize>,
    demands: HashMap<PackageId, Rc<Demands>>,
    /// Hash of a provided name and who provides it, sorted. Made when it is first needed.
    provided: OnceCell<Vec<(u64, PackageId)>>,
    steps: u32,
    /// The first dead end of this phase, for when the search gives up.
    first: Option<String>,
    phase: u32,
}

impl<'a> Solver<'a> {
    pub(super) fn new(packages: &'a Packages, architecture: &'a str) -> Self {
        Solver {
            packages,
            architecture,
            chosen: Vec::new(),
            by_name: HashMap::new(),
            demands: HashMap::new(),
            provided: OnceCell::new(),
            steps: 0,
            first: None,
            phase: 0,
        }
    }

    /// Names of the packages whose candidate is essential, in the order of the indexes.
    pub(super) fn essential(&self) -> Vec<String> {
        self.candidates(|package| package.is_essential())
    }

    /// Names of the packages whose candidate has priority `required` and is not essential.
    pub(super) fn required(&self) -> Vec<String> {
        self.candidates(|package| package.rank() == 1 && !package.is_essential())
    }

    fn candidates(&self, wanted: impl Fn(&Package<'_>) -> bool) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for package in self.packages.iter().filter(|package| wanted(package)) {
            // Suites that do not want to be taken by default add nothing.
            let candidate =
                self.candidate(package.name()).filter(|candidate| candidate.pin() >= 500);
            if candidate.is_some_and(|candidate| wanted(&candidate))
                && !names.iter().any(|name| name == package.name())
            {
                names.push(package.name().to_owned());
            }
        }
        names
    }

    /// Chooses `names` and what they need, on top of what is chosen already.
    pub(super) fn phase(&mut self, phase: u32, names: &[String]) -> Result<()> {
        (self.phase, self.steps, self.first) = (phase, 0, None);
        let mut agenda = Vec::new();
        // As apt does: first everything that was asked for, then what that needs, so that an
        // alternative that was asked for is preferred.
        for name in names {
            let id = self.named(name)?;
            match self.by_name.get(self.packages.get(id).name()) {
                Some(at) if self.chosen[*at].id == id => self.chosen[*at].explicit = true,
                Some(at) => {
                    let other = self.packages.get(self.chosen[*at].id).version();
                    let error =
                        format!("{name} is asked for, but version {other} is needed already");
                    return Err(Error::new(ErrorKind::Dependency, error));
                }
                None => {
                    self.select(id, true, None).map_err(DeadEnd::into_error)?;
                    agenda.push(id);
                }
            }
        }
        let mut goals = Vec::new();
        for id in agenda.iter().rev() {
            self.push_goals(*id, &mut goals).map_err(DeadEnd::into_error)?;
        }
        self.search(goals).map_err(DeadEnd::into_error)
    }

    pub(super) fn finish(self) -> Result<PackageSet> {
        let mut packages = Vec::with_capacity(self.chosen.len());
        for chosen in &self.chosen {
            let package = self.packages.get(chosen.id);
            let (size, sha256, uri) = package.file_in_archive()?;
            packages.push(PackageEntry {
                name: package.name().to_owned(),
                version: package.version().to_owned(),
                architecture: package.architecture().to_owned(),
                size,
                sha256,
                uri,
                essential: package.is_essential(),
                automatic: !chosen.explicit && chosen.phase > 0,
                phase: chosen.phase,
            });
        }
        packages.sort();
        Ok(PackageSet { architecture: self.architecture.to_owned(), packages })
    }

    fn fits(&self, package: &Package<'_>) -> bool {
        let architecture = package.architecture();
        architecture == "all" || architecture == self.architecture
    }

    /// The version that apt would install: the best pin, then the highest version, then the
    /// first archive.
    fn candidate(&self, name: &str) -> Option<Package<'a>> {
        let packages = self.packages;
        let mut best: Option<Package<'a>> = None;
        let mut found: Vec<PackageId> =
            packages.versions(name).map(|package| package.id()).collect();
        found.retain(|id| self.fits(&packages.get(*id)));
        for package in found.into_iter().map(|id| packages.get(id)) {
            let better = best.is_none_or(|best| {
                package
                    .pin()
                    .cmp(&best.pin())
                    .then_with(|| version::compare(package.version(), best.version()))
                    .is_gt()
            });
            if better {
                best = Some(package);
            }
        }
        best
    }

    /// The package that `name` or `name=version` means.
    fn named(&self, wanted: &str) -> Result<PackageId> {
        let (name, version) = match wanted.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (wanted, None),
        };
        let found = match version {
            None => self.candidate(name).map(|package| package.id()),
            Some(version) => {
                let same = |package: &Package<'_>| {
                    self.fits(package) && version::compare(package.version(), version).is_eq()
                };
                self.packages.versions(name).find(same).map(|package| package.id())
            }
        };
        found
            .or_else(|| {
                self.providers(&Relation::named(name))
                    .first()
                    .copied()
                    .filter(|_| version.is_none())
            })
            .ok_or_else(|| {
                let relation = Relation::named(name);
                Error::new(
                    ErrorKind::Dependency,
                    format!(
                        "{wanted} is asked for, {}",
                        self.absence(&relation, version.is_some())
                    ),
                )
                .with_hint("check the name, and `suite` and `archives` in the config")
            })
    }

    fn demands(&mut self, id: PackageId) -> Result<Rc<Demands>, DeadEnd> {
        if let Some(known) = self.demands.get(&id) {
            return Ok(known.clone());
        }
        let package = self.packages.get(id);
        let read = |field| package.relations(field).map_err(DeadEnd::Fatal);
        let mut needs = read("Pre-Depends")?.0;
        needs.extend(read("Depends")?.0);
        let mut refuses: Vec<Relation> = Vec::new();
        for field in ["Conflicts", "Breaks"] {
            refuses.extend(read(field)?.0.into_iter().flatten());
        }
        let demands = Rc::new(Demands { needs, refuses, provides: provides(&package) });
        self.demands.insert(id, demands.clone());
        Ok(demands)
    }

    fn push_goals(&mut self, of: PackageId, goals: &mut Vec<Goal>) -> Result<(), DeadEnd> {
        let count = self.demands(of)?.needs.len();
        // The last goal is taken first.
        goals.extend((0..count).rev().map(|group| Goal { of, group }));
        Ok(())
    }

    /// Reaches all goals, or leaves everything as it was.
    fn search(&mut self, mut goals: Vec<Goal>) -> Result<(), DeadEnd> {
        let start = self.chosen.len();
        let result = self.reach(&mut goals);
        if result.is_err() {
            self.undo(start);
        }
        result
    }

    fn reach(&mut self, goals: &mut Vec<Goal>) -> Result<(), DeadEnd> {
        while let Some(goal) = goals.pop() {
            let demands = self.demands(goal.of)?;
            let group = &demands.needs[goal.group];
            if group.iter().any(|relation| self.is_satisfied(relation)) {
                continue;
            }
            let mut options: Vec<PackageId> = Vec::new();
            for relation in group {
                for id in self.providers(relation) {
                    if !options.contains(&id) {
                        options.push(id);
                    }
                }
            }
            // A name that is chosen already cannot be chosen in another version.
            let free = |id: &PackageId| !self.by_name.contains_key(self.packages.get(*id).name());
            let taken: Vec<PackageId> = options.iter().copied().filter(|id| !free(id)).collect();
            options.retain(free);
            if options.is_empty() {
                return Err(self.unsatisfied(goal, group, taken.first().copied()));
            }
            if let [only] = options[..] {
                self.select(only, false, Some(goal.of))?;
                self.push_goals(only, goals)?;
                continue;
            }
            let mut first = None;
            for id in options {
                self.steps += 1;
                if self.steps > BUDGET {
                    break;
                }
                let mark = self.chosen.len();
                let attempt = self.select(id, false, Some(goal.of)).and_then(|()| {
                    let mut goals = goals.clone();
                    self.push_goals(id, &mut goals)?;
                    self.search(goals)
                });
                match attempt {
                    Ok(()) => return Ok(()),
                    Err(DeadEnd::Fatal(error)) => return Err(DeadEnd::Fatal(error)),
                    Err(dead) => {
                        self.undo(mark);
                        first.get_or_insert(dead);
                    }
                }
            }
            if self.steps > BUDGET {
                let why = self.first.take().unwrap_or_else(|| "it is too tangled".to_owned());
                return Err(DeadEnd::Fatal(Error::new(ErrorKind::Dependency, why).with_hint(
                    "the archives may be in the middle of an update, or one is missing in `archives` of the config",
                )));
            }
            // There was at least one option, so there is at least one dead end.
            return Err(first.unwrap_or_else(|| self.unsatisfied(goal, group, None)));
        }
        Ok(())
    }

    fn undo(&mut self, mark: usize) {
        for chosen in self.chosen.drain(mark..) {
            self.by_name.remove(self.packages.get(chosen.id).name());
        }
    }

    /// Adds a package, unless it and one that is chosen refuse each other.
    fn select(
        &mut self,
        id: PackageId,
        explicit: bool,
        because: Option<PackageId>,
    ) -> Result<(), DeadEnd> {
        let package = self.packages.get(id);
        let own = self.demands(id)?;
        for index in 0..self.chosen.len() {
            let other = self.chosen[index].id;
            let theirs = self.demands(other)?;
            let against = own.refuses.iter().find(|relation| self.meets(relation, other, &theirs));
            let from = theirs.refuses.iter().find(|relation| self.meets(relation, id, &own));
            let (refusing, relation, refused) = match (against, from) {
                (Some(relation), _) => (package, relation, self.packages.get(other)),
                (_, Some(relation)) => (self.packages.get(other), relation, package),
                _ => continue,
            };
            let error = Error::new(
                ErrorKind::Dependency,
                format!(
                    "{} {} conflicts with {relation}, which is {} {}{}",
                    refusing.name(),
                    refusing.version(),
                    refused.name(),
                    refused.version(),
                    because
                        .map(|of| format!(" (needed through {})", self.chain(of)))
                        .unwrap_or_default(),
                ),
            );
            self.first.get_or_insert_with(|| error.to_string());
            return Err(DeadEnd::Unsatisfied(error));
        }
        self.by_name.insert(package.name(), self.chosen.len());
        self.chosen.push(Chosen { id, phase: self.phase, explicit, because });
        Ok(())
    }

    /// Whether `relation` speaks of the package `id`, by its name or one that it provides.
    fn meets(&self, relation: &Relation, id: PackageId, demands: &Demands) -> bool {
        let package = self.packages.get(id);
        match relation.qualifier.as_deref() {
            None | Some("native") => {}
            // Only packages that offer it may be used across architectures.
            Some("any") if package.field("Multi-Arch") == "allowed" => {}
            Some(architecture) if architecture == self.architecture => {}
            Some(_) => return false,
        }
        if relation.name == package.name() && relation.admits(package.version()) {
            return true;
        }
        demands.provides.iter().any(|(name, version)| {
            *name == relation.name
                && match (&relation.version, version) {
                    (None, _) => true,
                    // A name without a version satisfies no relation with one.
                    (Some(_), None) => false,
                    (Some(_), Some(version)) => relation.admits(version),
                }
        })
    }

    fn is_satisfied(&mut self, relation: &Relation) -> bool {
        (0..self.chosen.len()).any(|index| {
            let id = self.chosen[index].id;
            // Cheap first: most relations name a real package.
            let demands = self.demands.get(&id).cloned();
            demands.is_some_and(|demands| self.meets(relation, id, &demands))
        })
    }

    /// The candidates that satisfy `relation`, in the order in which apt prefers them.
    fn providers(&self, relation: &Relation) -> Vec<PackageId> {
        let mut found: Vec<Package<'a>> = Vec::new();
        if let Some(real) = self.candidate(&relation.name)
            && self.satisfies(&real, relation)
        {
            found.push(real);
        }
        let provided = self.provided.get_or_init(|| self.index_provides());
        let key = hash(&relation.name);
        let start = provided.partition_point(|(hash, _)| *hash < key);
        for (_, id) in provided[start..].iter().take_while(|(hash, _)| *hash == key) {
            let package = self.packages.get(*id);
            let is_candidate =
                self.candidate(package.name()).is_some_and(|candidate| candidate.id() == *id);
            if is_candidate
                && self.satisfies(&package, relation)
                && !found.iter().any(|other| other.id() == *id)
            {
                found.push(package);
            }
        }
        found.sort_by(|a, b| self.prefer(&relation.name, a, b));
        found.into_iter().map(|package| package.id()).collect()
    }

    fn satisfies(&self, package: &Package<'_>, relation: &Relation) -> bool {
        let demands =
            Demands { needs: Vec::new(), refuses: Vec::new(), provides: provides(package) };
        self.meets(relation, package.id(), &demands)
    }

    /// apt's order among those that satisfy the same relation: the one that has the name,
    /// essential ones, protected ones, the architecture's own, the higher priority.
    fn prefer(&self, name: &str, a: &Package<'_>, b: &Package<'_>) -> Ordering {
        let key = |package: &Package<'_>| {
            (
                package.name() != name,
                !package.is_essential(),
                !package.is_important(),
                package.rank(),
            )
        };
        key(a).cmp(&key(b)).then_with(|| a.name().cmp(b.name()))
    }

    fn index_provides(&self) -> Vec<(u64, PackageId)> {
        let mut index = Vec::new();
        for package in
            self.packages.iter().filter(|package| package.has_provides() && self.fits(package))
        {
            index.extend(
                names_provided(package.field("Provides"))
                    .map(|(name, _)| (hash(name), package.id())),
            );
        }
        index.sort_unstable();
        index.dedup();
        index
    }

    /// `build-essential, which depends on g++`: how the search came to need `id`.
    fn chain(&self, id: PackageId) -> String {
        let mut names = vec![self.packages.get(id).name()];
        let mut next = id;
        while let Some(because) =
            self.by_name.get(self.packages.get(next).name()).and_then(|at| self.chosen[*at].because)
        {
            names.push(self.packages.get(because).name());
            next = because;
        }
        names.reverse();
        names.join(" → ")
    }

    fn unsatisfied(&mut self, goal: Goal, group: &[Relation], taken: Option<PackageId>) -> DeadEnd {
        let texts: Vec<String> = group.iter().map(Relation::to_string).collect();
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
        let error = format!("{} depends on {}, {why}", self.chain(goal.of), texts.join(" | "));
        self.first.get_or_insert_with(|| error.clone());
        DeadEnd::Unsatisfied(Error::new(ErrorKind::Dependency, error).with_hint(
            "the archives may be in the middle of an update, or one is missing in `archives` of the config",
        ))
    }

    /// Why nothing satisfies `relation`.
    fn absence(&self, relation: &Relation, versions: bool) -> String {
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
            false => format!("of which {archives} only has {}", found.join(", ")),
        }
    }
}

impl DeadEnd {
    fn into_error(self) -> Error {
        match self {
            DeadEnd::Unsatisfied(error) | DeadEnd::Fatal(error) => error,
        }
    }
}

/// What a package provides.
fn provides(package: &Package<'_>) -> Vec<(String, Option<String>)> {
    if !package.has_provides() {
        return Vec::new();
    }
    let names = names_provided(package.field("Provides"));
    names.map(|(name, version)| (name.to_owned(), version.map(str::to_owned))).collect()
}

/// Names and versions of a `Provides` field. Some have a thousand, so nothing is copied.
fn names_provided(field: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    field.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| {
        let end = item.find([' ', '(', ':', '\t', '\n']).unwrap_or(item.len());
        let version = item
            .split_once('(')
            .and_then(|(_, rest)| rest.trim_end_matches(')').trim_start().strip_prefix('='));
        (&item[..end], version.map(str::trim))
    })
}

/// FNV-1a: short names, no need for more.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
