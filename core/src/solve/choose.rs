//! The search.
//!
//! What is chosen is indexed by every name that it has, provides or refuses, and the goals that
//! are left form lists with common ends: a step costs what it looks at, a choice costs nothing to
//! remember, and the search goes back without recursion. An index that is made to keep it busy all
//! the same meets [`WORK`].

mod demands;
mod explain;

use self::demands::{Demands, Offer, hash, names_provided};
use super::{PackageEntry, PackageSet};
use crate::archive::index::{Package, PackageId, Packages};
use crate::archive::relation::Relation;
use crate::archive::version;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Choices that are taken back at most before the first conflict is reported. Debian's own sets
/// need a few dozen.
const BUDGET: u32 = 20_000;

/// Comparisons of a relation or a version with a package at most, which are some seconds of work.
/// Debian's own sets need some ten thousand; a hundred thousand packages can be chosen.
const WORK: u64 = 5_000_000;

/// Comparisons after which it is asked whether to stop.
const BREATH: u64 = 1 << 14;

/// Something that must hold: the group `group` of what `of` needs.
#[derive(Clone, Copy)]
struct Goal {
    of: PackageId,
    group: usize,
}

/// Goals that are left: one of the arena and those after it.
type Goals = Option<u32>;

struct Chosen {
    id: PackageId,
    phase: u32,
    explicit: bool,
    /// Who needed it.
    because: Option<PackageId>,
    /// How many needed each other until this one was needed.
    depth: u32,
}

/// A place to go back to.
struct Choice {
    of: PackageId,
    /// What can be taken, the best first, and how many were tried.
    options: Vec<PackageId>,
    tried: usize,
    /// The goals that are left beside this one.
    rest: Goals,
    arena: usize,
    chosen: usize,
    /// Why the first option failed.
    first: Option<DeadEnd>,
}

/// Why the search came to an end somewhere.
enum DeadEnd {
    Unsatisfied(Error),
    Fatal(Error),
}

pub(super) struct Solver<'a> {
    packages: &'a Packages,
    architecture: &'a str,
    scope: &'a Scope,
    chosen: Vec<Chosen>,
    by_name: HashMap<&'a str, usize>,
    /// Who of those that are chosen has a name or provides it.
    offered: HashMap<&'a str, Vec<PackageId>>,
    /// Who of those that are chosen refuses a name, and with which of its relations.
    refused: HashMap<String, Vec<(PackageId, usize)>>,
    arena: Vec<(Goal, Goals)>,
    demands: HashMap<PackageId, Rc<Demands<'a>>>,
    offers: HashMap<PackageId, Rc<Offer<'a>>>,
    candidates: RefCell<HashMap<String, Option<PackageId>>>,
    /// Hash of a provided name and the candidates that provide it, sorted. Made when it is first
    /// needed.
    provided: Option<Vec<(u64, PackageId)>>,
    steps: u32,
    work: Cell<u64>,
    /// The first dead end of this phase, for when the search gives up.
    first: Option<String>,
    phase: u32,
}

impl<'a> Solver<'a> {
    pub(super) fn new(packages: &'a Packages, architecture: &'a str, scope: &'a Scope) -> Self {
        Solver {
            packages,
            architecture,
            scope,
            chosen: Vec::new(),
            by_name: HashMap::new(),
            offered: HashMap::new(),
            refused: HashMap::new(),
            arena: Vec::new(),
            demands: HashMap::new(),
            offers: HashMap::new(),
            candidates: RefCell::new(HashMap::new()),
            provided: None,
            steps: 0,
            work: Cell::new(0),
            first: None,
            phase: 0,
        }
    }

    /// Comparisons so far.
    pub(super) fn work(&self) -> u64 {
        self.work.get()
    }

    /// Counts `count` comparisons.
    fn weigh(&self, count: usize) -> Result<(), DeadEnd> {
        let before = self.work.get();
        let work = before + count as u64;
        self.work.set(work);
        if work / BREATH != before / BREATH {
            self.scope.check().map_err(DeadEnd::Fatal)?;
        }
        if work <= WORK {
            return Ok(());
        }
        Err(DeadEnd::Fatal(
            Error::new(
                ErrorKind::Dependency,
                format!(
                    "the packages of {} are too entangled to choose from",
                    self.packages.shown()
                ),
            )
            .with_hint(
                "the archive is not made as it should be: tell who makes it, or take another one",
            ),
        ))
    }

    /// Names of the packages whose candidate is essential, in the order of the indexes.
    pub(super) fn essential(&self) -> Result<Vec<String>> {
        self.names_of(|package| package.is_essential()).map_err(DeadEnd::into_error)
    }

    /// Names of the packages whose candidate has priority `required` and is not essential.
    pub(super) fn required(&self) -> Result<Vec<String>> {
        self.names_of(|package| package.rank() == 1 && !package.is_essential())
            .map_err(DeadEnd::into_error)
    }

    fn names_of(&self, wanted: impl Fn(&Package<'_>) -> bool) -> Result<Vec<String>, DeadEnd> {
        let mut names: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        for package in self.packages.iter().filter(|package| wanted(package)) {
            // Suites that do not want to be taken by default add nothing.
            let candidate =
                self.candidate(package.name())?.filter(|candidate| candidate.pin() >= 500);
            if candidate.is_some_and(|candidate| wanted(&candidate)) && seen.insert(package.name())
            {
                names.push(package.name().to_owned());
            }
        }
        Ok(names)
    }

    /// Chooses `names` and what they need, on top of what is chosen already.
    pub(super) fn phase(&mut self, phase: u32, names: &[String]) -> Result<()> {
        (self.phase, self.steps, self.first) = (phase, 0, None);
        let mut agenda = Vec::new();
        // As apt does: first everything that was asked for, then what that needs, so that an
        // alternative that was asked for is preferred.
        for name in names {
            let id = self.named(name).map_err(DeadEnd::into_error)?;
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
        self.arena.clear();
        let mut goals = None;
        for id in agenda.iter().rev() {
            goals = self.push_goals(*id, goals).map_err(DeadEnd::into_error)?;
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
    fn candidate(&self, name: &str) -> Result<Option<Package<'a>>, DeadEnd> {
        let packages = self.packages;
        if let Some(known) = self.candidates.borrow().get(name) {
            return Ok(known.map(|id| packages.get(id)));
        }
        let mut best: Option<Package<'a>> = None;
        let found: Vec<PackageId> = packages.versions(name).map(|package| package.id()).collect();
        for package in found.into_iter().map(|id| packages.get(id)) {
            self.weigh(1)?;
            let better = best.is_none_or(|best| {
                package
                    .pin()
                    .cmp(&best.pin())
                    .then_with(|| version::compare(package.version(), best.version()))
                    .is_gt()
            });
            if better && self.fits(&package) {
                best = Some(package);
            }
        }
        self.candidates.borrow_mut().insert(name.to_owned(), best.map(|package| package.id()));
        Ok(best)
    }

    /// The package that `name` or `name=version` means.
    fn named(&mut self, wanted: &str) -> Result<PackageId, DeadEnd> {
        let (name, version) = match wanted.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (wanted, None),
        };
        let found = match version {
            None => match self.candidate(name)? {
                Some(package) => Some(package.id()),
                None => self.providers(&Relation::named(name))?.first().copied(),
            },
            Some(version) => {
                let same = |package: &Package<'_>| {
                    self.fits(package) && version::compare(package.version(), version).is_eq()
                };
                self.packages.versions(name).find(same).map(|package| package.id())
            }
        };
        found.ok_or_else(|| {
            let absence = self.absence(&Relation::named(name), version.is_some());
            DeadEnd::Fatal(
                Error::new(ErrorKind::Dependency, format!("{wanted} is asked for, {absence}"))
                    .with_hint("check the name, and `suite` and `archives` in the config"),
            )
        })
    }

    fn demands(&mut self, id: PackageId) -> Result<Rc<Demands<'a>>, DeadEnd> {
        if let Some(known) = self.demands.get(&id) {
            return Ok(known.clone());
        }
        let offer = self.offer(id);
        let demands = Demands::of(self.packages.get(id), offer).map_err(DeadEnd::Fatal)?;
        let demands = Rc::new(demands);
        self.demands.insert(id, demands.clone());
        Ok(demands)
    }

    fn offer(&mut self, id: PackageId) -> Rc<Offer<'a>> {
        let packages = self.packages;
        let offer = self.offers.entry(id);
        offer.or_insert_with(|| Rc::new(Offer::of(packages.get(id)))).clone()
    }

    /// The goals of a package, before those that are left.
    fn push_goals(&mut self, of: PackageId, mut goals: Goals) -> Result<Goals, DeadEnd> {
        for group in (0..self.demands(of)?.needs.len()).rev() {
            let place = u32::try_from(self.arena.len()).map_err(|_| self.too_large())?;
            self.arena.push((Goal { of, group }, goals));
            goals = Some(place);
        }
        Ok(goals)
    }

    fn too_large(&self) -> DeadEnd {
        let message = format!("the packages of {} need too much", self.packages.shown());
        DeadEnd::Fatal(Error::new(ErrorKind::Dependency, message))
    }

    /// Reaches all goals, or leaves everything as it was.
    fn search(&mut self, mut goals: Goals) -> Result<(), DeadEnd> {
        let start = self.chosen.len();
        let mut choices: Vec<Choice> = Vec::new();
        loop {
            let mut dead = match self.reach(goals, &mut choices) {
                Ok(()) => return Ok(()),
                Err(dead) => dead,
            };
            // Goes back to the last choice that has something else to offer, and tries that.
            goals = loop {
                let choice = match (dead, choices.last_mut()) {
                    (DeadEnd::Unsatisfied(error), Some(choice)) => {
                        choice.first.get_or_insert(DeadEnd::Unsatisfied(error));
                        choice
                    }
                    (dead, _) => {
                        self.undo(start);
                        return Err(dead);
                    }
                };
                let (arena, chosen) = (choice.arena, choice.chosen);
                let (of, rest) = (choice.of, choice.rest);
                let next = choice.options.get(choice.tried).copied();
                choice.tried += 1;
                self.arena.truncate(arena);
                self.undo(chosen);
                let Some(id) = next else {
                    let first = choices.pop().and_then(|choice| choice.first);
                    // An option failed, or there would be nothing to go back from.
                    dead = first.unwrap_or_else(|| self.gave_up());
                    continue;
                };
                self.steps += 1;
                if self.steps > BUDGET {
                    self.undo(start);
                    return Err(self.gave_up());
                }
                match self.take(id, of, rest) {
                    Ok(goals) => break goals,
                    Err(why) => dead = why,
                }
            };
        }
    }

    fn gave_up(&mut self) -> DeadEnd {
        let why = self.first.take().unwrap_or_else(|| "it is too tangled".to_owned());
        DeadEnd::Fatal(Error::new(ErrorKind::Dependency, why).with_hint(explain::UPDATE))
    }

    /// Chooses `id`; the goals that are left then.
    fn take(&mut self, id: PackageId, of: PackageId, rest: Goals) -> Result<Goals, DeadEnd> {
        self.select(id, false, Some(of))?;
        self.push_goals(id, rest)
    }

    /// Goes on until all goals are reached or one cannot be. Where there is a choice, the first
    /// option is taken and the others are noted.
    fn reach(&mut self, mut goals: Goals, choices: &mut Vec<Choice>) -> Result<(), DeadEnd> {
        while let Some(place) = goals {
            let (goal, rest) = self.arena[place as usize];
            let demands = self.demands(goal.of)?;
            let group = &demands.needs[goal.group];
            self.weigh(group.len())?;
            if self.is_satisfied(group)? {
                goals = rest;
                continue;
            }
            let mut options: Vec<PackageId> = Vec::new();
            let mut seen = HashSet::new();
            for relation in group {
                options.extend(self.providers(relation)?.into_iter().filter(|id| seen.insert(*id)));
            }
            // A name that is chosen already cannot be chosen in another version.
            let free = |id: &PackageId| !self.by_name.contains_key(self.packages.get(*id).name());
            let taken = options.iter().copied().find(|id| !free(id));
            options.retain(free);
            let id = match options[..] {
                [] => return Err(self.unsatisfied(goal, group, taken)),
                [only] => only,
                [first, ..] => {
                    choices.push(Choice {
                        of: goal.of,
                        options,
                        tried: 1,
                        rest,
                        arena: self.arena.len(),
                        chosen: self.chosen.len(),
                        first: None,
                    });
                    first
                }
            };
            goals = self.take(id, goal.of, rest)?;
        }
        Ok(())
    }

    fn undo(&mut self, mark: usize) {
        while self.chosen.len() > mark {
            let Some(chosen) = self.chosen.pop() else { return };
            let name = self.packages.get(chosen.id).name();
            self.by_name.remove(name);
            let Some(demands) = self.demands.get(&chosen.id) else { continue };
            // What was chosen last stands last everywhere.
            for name in &demands.offer.names {
                self.offered.get_mut(name).map(Vec::pop);
            }
            for relation in &demands.refuses {
                self.refused.get_mut(&relation.name).map(Vec::pop);
            }
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
        self.weigh(own.refuses.len() + own.offer.names.len())?;
        if let Some(error) = self.conflict(id, &own, because)? {
            self.first.get_or_insert_with(|| error.to_string());
            return Err(DeadEnd::Unsatisfied(error));
        }
        for name in &own.offer.names {
            self.offered.entry(name).or_default().push(id);
        }
        for (index, relation) in own.refuses.iter().enumerate() {
            // Most names are there already.
            match self.refused.get_mut(&relation.name) {
                Some(list) => list.push((id, index)),
                None => {
                    self.refused.insert(relation.name.clone(), vec![(id, index)]);
                }
            }
        }
        let depth = because
            .and_then(|of| self.by_name.get(self.packages.get(of).name()))
            .map_or(0, |at| self.chosen[*at].depth + 1);
        self.by_name.insert(package.name(), self.chosen.len());
        self.chosen.push(Chosen { id, phase: self.phase, explicit, because, depth });
        Ok(())
    }

    /// Why `id` cannot be there together with what is chosen.
    fn conflict(
        &self,
        id: PackageId,
        own: &Demands<'_>,
        because: Option<PackageId>,
    ) -> Result<Option<Error>, DeadEnd> {
        let package = self.packages.get(id);
        for relation in &own.refuses {
            for other in self.offered.get(relation.name.as_str()).into_iter().flatten() {
                self.weigh(1)?;
                if self.chosen_meets(relation, *other) {
                    let other = self.packages.get(*other);
                    return Ok(Some(self.refusal(&package, relation, &other, because)));
                }
            }
        }
        for name in &own.offer.names {
            for (other, index) in self.refused.get(*name).into_iter().flatten() {
                self.weigh(1)?;
                let Some(theirs) = self.demands.get(other) else { continue };
                let relation = &theirs.refuses[*index];
                if self.meets(relation, id, &own.offer) {
                    let other = self.packages.get(*other);
                    return Ok(Some(self.refusal(&other, relation, &package, because)));
                }
            }
        }
        Ok(None)
    }

    /// Whether `relation` speaks of the package `id`, by its name or one that it provides.
    fn meets(&self, relation: &Relation, id: PackageId, offer: &Offer<'_>) -> bool {
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
        offer.versions(&relation.name).iter().any(|version| match (&relation.version, version) {
            (None, _) => true,
            // A name without a version satisfies no relation with one.
            (Some(_), None) => false,
            (Some(_), Some(version)) => relation.admits(version),
        })
    }

    /// As [`Solver::meets`], for what is chosen.
    fn chosen_meets(&self, relation: &Relation, id: PackageId) -> bool {
        self.demands.get(&id).is_some_and(|demands| self.meets(relation, id, &demands.offer))
    }

    /// Whether what is chosen satisfies one of these.
    fn is_satisfied(&self, group: &[Relation]) -> Result<bool, DeadEnd> {
        for relation in group {
            for id in self.offered.get(relation.name.as_str()).into_iter().flatten() {
                self.weigh(1)?;
                if self.chosen_meets(relation, *id) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The candidates that satisfy `relation`, in the order in which apt prefers them.
    fn providers(&mut self, relation: &Relation) -> Result<Vec<PackageId>, DeadEnd> {
        let mut found: Vec<PackageId> = Vec::new();
        let real = self.candidate(&relation.name)?.map(|package| package.id());
        if self.provided.is_none() {
            self.provided = Some(self.index_provides()?);
        }
        let provided = self.provided.as_deref().unwrap_or_default();
        let key = hash(&relation.name);
        let start = provided.partition_point(|(hash, _)| *hash < key);
        let others = provided[start..].iter().take_while(|(hash, _)| *hash == key);
        let others: Vec<PackageId> =
            others.map(|(_, id)| *id).filter(|id| Some(*id) != real).collect();
        self.weigh(1 + others.len())?;
        for id in real.into_iter().chain(others) {
            let offer = self.offer(id);
            if self.meets(relation, id, &offer) {
                found.push(id);
            }
        }
        found.sort_by(|a, b| {
            self.prefer(&relation.name, &self.packages.get(*a), &self.packages.get(*b))
        });
        Ok(found)
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

    fn index_provides(&self) -> Result<Vec<(u64, PackageId)>, DeadEnd> {
        let mut index = Vec::new();
        for package in self.packages.iter().filter(|package| package.has_provides()) {
            let candidate = self.candidate(package.name())?.map(|candidate| candidate.id());
            if candidate != Some(package.id()) {
                continue;
            }
            index.extend(
                names_provided(package.provides()).map(|(name, _)| (hash(name), package.id())),
            );
        }
        index.sort_unstable();
        index.dedup();
        Ok(index)
    }
}

impl DeadEnd {
    fn into_error(self) -> Error {
        match self {
            DeadEnd::Unsatisfied(error) | DeadEnd::Fatal(error) => error,
        }
    }
}

#[cfg(test)]
mod tests;
