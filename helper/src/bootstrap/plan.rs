//! What is to be done, as data.

use std::collections::{BTreeSet, HashMap};

use crate::dpkgdb::{self, Identity, Summary, alternatives, satisfied};
use crate::unpack;

/// The package set and everything else that decides what the tree will be.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The native architecture.
    pub architecture: String,
    /// Further architectures, in the order of `dpkg --add-architecture`.
    pub foreign_architectures: Vec<String>,
    /// Every package, in any order.
    pub packages: Vec<PlannedPackage>,
    /// `SOURCE_DATE_EPOCH` for maintainer scripts, in seconds since 1970.
    pub source_date_epoch: u64,
    /// Files that no package brings: the list of sources, `hostname`, and the like. They are
    /// written before the packages come.
    pub files: Vec<PlannedFile>,
}

/// One package of a [`Plan`].
#[derive(Clone, Debug)]
pub struct PlannedPackage {
    /// Exactly which.
    pub identity: Identity,
    /// Only a dependency of what was asked for: apt may remove it when nothing needs it.
    pub auto: bool,
}

/// One file of a [`Plan`].
#[derive(Clone, Debug)]
pub struct PlannedFile {
    /// Path in the root, without a leading slash.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub data: Vec<u8>,
}

/// The stages of a bootstrap, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Directories and files before the first package.
    Skeleton,
    /// Packages into the tree.
    Unpack,
    /// dpkg's database.
    Database,
    /// `preinst install`.
    Preinst,
    /// `dpkg --configure`.
    Configure,
    /// Removing traces of time and machine.
    Tidy,
}

/// Why a bootstrap failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A package could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] unpack::Error),
    /// dpkg's database could not be written.
    #[error(transparent)]
    Database(#[from] dpkgdb::Error),
    /// A program in the root failed; its output was given to whoever ran it.
    #[error("“{command}” in the new root {how}")]
    Program {
        /// The command line.
        command: String,
        /// “ended with status 1”, “was killed by signal 9”.
        how: String,
    },
    /// A program in the root could not be started.
    #[error("cannot start “{command}” in the new root: {source}")]
    Start {
        /// The command line.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the tree could not be made, changed or removed.
    #[error("cannot {doing} /{path} in the new root: {source}")]
    Tree {
        /// The verb.
        doing: &'static str,
        /// Path in the root, without a leading slash.
        path: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Packages that were unpacked earlier are gone, or not as they were.
    #[error("{} of the store are not as they were unpacked", .0.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", "))]
    Changed(Vec<Identity>),
    /// The packages are not those of the plan.
    #[error("{0}")]
    Plan(String),
}

impl Error {
    pub(crate) fn tree(doing: &'static str, path: &str, source: impl Into<std::io::Error>) -> Self {
        Self::Tree { doing, path: path.into(), source: source.into() }
    }
}

/// A failure of the database while a package is added, in the room of the unpacker.
pub(super) fn database_problem(package: &str, error: &dpkgdb::Error) -> unpack::Error {
    let cause = std::error::Error::source(error);
    let number = cause
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .and_then(std::io::Error::raw_os_error);
    // The number tells a full disk apart.
    let source = match number {
        Some(number) => std::io::Error::from_raw_os_error(number),
        None => std::io::Error::other(error.to_string()),
    };
    let doing = "record it in dpkg's database".into();
    unpack::Error::new(format!("package {package}"), unpack::Problem::Io { doing, source })
}

impl Plan {
    pub(super) fn has(&self, name: &str) -> bool {
        self.packages.iter().any(|package| package.identity.name == name)
    }

    /// Whether a package of the set turns the tree into one with a merged /usr when it is
    /// configured (bookworm), while others still bring files in `/bin` and `/lib`.
    pub(super) fn makes_merged_usr(&self) -> bool {
        self.has("usrmerge") || self.has("usr-is-merged")
    }

    /// Every planned package is there, and no other.
    pub(super) fn check_complete(&self, summaries: &[Summary]) -> Result<(), Error> {
        let planned: BTreeSet<&Identity> = self.packages.iter().map(|one| &one.identity).collect();
        let found: BTreeSet<&Identity> = summaries.iter().map(|one| &one.identity).collect();
        if let Some(missing) = planned.difference(&found).next() {
            return Err(Error::Plan(format!("the package {missing} never arrived")));
        }
        if let Some(extra) = found.difference(&planned).next() {
            return Err(Error::Plan(format!("the package {extra} is not in the package set")));
        }
        Ok(())
    }
}

/// A fixed package set, with what satisfies what.
pub(super) struct Relations<'a> {
    by_name: HashMap<&'a str, &'a Summary>,
    providers: HashMap<&'a str, Vec<&'a Summary>>,
    summaries: &'a [Summary],
}

impl<'a> Relations<'a> {
    pub(super) fn new(summaries: &'a [Summary]) -> Self {
        let mut providers: HashMap<&str, Vec<&Summary>> = HashMap::new();
        for summary in summaries {
            for clause in alternatives(summary.stanza.text("Provides").unwrap_or_default()) {
                for provided in clause {
                    providers.entry(provided.name).or_default().push(summary);
                }
            }
        }
        let by_name = summaries.iter().map(|one| (one.identity.name.as_str(), one)).collect();
        Self { by_name, providers, summaries }
    }

    /// The essential packages and all that they depend on: the first stage of a bootstrap with
    /// apt.
    pub(super) fn early(&self) -> BTreeSet<String> {
        let essential = |one: &&Summary| one.stanza.text("Essential") == Some("yes");
        let mut found = BTreeSet::new();
        self.close(self.summaries.iter().filter(essential).collect(), &mut found);
        found
    }

    /// What has to be configured before later packages are even unpacked: their Pre-Depends,
    /// and what these depend on.
    pub(super) fn pre_depends(&self, early: &BTreeSet<String>) -> BTreeSet<String> {
        let later = self.summaries.iter().filter(|one| !early.contains(&one.identity.name));
        let mut found = early.clone();
        for summary in later {
            let needed = self.needed(summary, &["Pre-Depends"], &found);
            self.close(needed, &mut found);
        }
        found.difference(early).cloned().collect()
    }

    /// The order in which apt has dpkg unpack the packages, early ones first: what a package
    /// needs comes before it, in the order of its fields; of a circle, the package through which
    /// it was entered comes first. Starts with the packages that have Pre-Depends, by name.
    pub(super) fn order(&self, early: &BTreeSet<String>) -> Vec<Identity> {
        let mut walk = Walk::default();
        let essential = |one: &&Summary| one.stanza.text("Essential") == Some("yes");
        let first: Vec<_> = self.summaries.iter().filter(essential).collect();
        let rest: Vec<_> = self.summaries.iter().collect();
        for stage in [first, rest] {
            let (with, without): (Vec<_>, Vec<_>) =
                stage.into_iter().partition(|one| one.stanza.get("Pre-Depends").is_some());
            for summary in with.into_iter().chain(without) {
                self.visit(summary, early, &mut walk);
            }
        }
        let is_early = |identity: &Identity| early.contains(&identity.name);
        // Early ones are closed under dependencies, so this moves nothing but strays.
        let (mut order, later): (Vec<_>, Vec<_>) = walk.order.into_iter().partition(is_early);
        order.extend(later);
        order
    }

    /// Without recursion: the depth of dependencies is the package set's to choose.
    fn visit(&self, start: &'a Summary, early: &BTreeSet<String>, walk: &mut Walk<'a>) {
        let mut stack = Vec::new();
        let enter = |summary: &'a Summary, walk: &mut Walk<'a>| {
            walk.state.insert(&summary.identity.name, Visit::Open).is_none().then(|| {
                let mut needed = self.needed(summary, &["Pre-Depends", "Depends"], early);
                needed.reverse();
                (summary, needed, None)
            })
        };
        if walk.state.contains_key(start.identity.name.as_str()) {
            return;
        }
        stack.extend(enter(start, walk));
        while let Some((summary, todo, behind)) = stack.last_mut() {
            let name = summary.identity.name.as_str();
            if let Some(next) = todo.pop() {
                match walk.state.get(next.identity.name.as_str()) {
                    None => {
                        let entered = enter(next, walk);
                        stack.extend(entered);
                    }
                    // A circle: this package comes right after the one that it leads back to.
                    Some(Visit::Open) if next.identity.name != name => {
                        behind.get_or_insert(next.identity.name.as_str());
                    }
                    Some(_) => {}
                }
                continue;
            }
            let (summary, behind) = (*summary, *behind);
            stack.pop();
            match behind {
                Some(first) => walk.waiting.entry(first).or_default().push(summary),
                None => walk.emit(summary),
            }
        }
    }

    fn close(&self, mut todo: Vec<&'a Summary>, found: &mut BTreeSet<String>) {
        while let Some(summary) = todo.pop() {
            if found.insert(summary.identity.name.clone()) {
                todo.extend(self.needed(summary, &["Pre-Depends", "Depends"], found));
            }
        }
    }

    /// In a fixed set each clause is satisfied by its first alternative that is in it.
    fn needed(
        &self,
        summary: &Summary,
        fields: &[&str],
        found: &BTreeSet<String>,
    ) -> Vec<&'a Summary> {
        let mut needed = Vec::new();
        for field in fields {
            for clause in alternatives(summary.stanza.text(field).unwrap_or_default()) {
                let real = clause.iter().find_map(|one| {
                    self.by_name.get(one.name).filter(|real| satisfied(one, &real.identity))
                });
                let chosen = real.copied().or_else(|| {
                    clause.iter().find_map(|one| {
                        let all = self.providers.get(one.name)?;
                        // One that is wanted anyway satisfies it without another.
                        let wanted = all.iter().find(|one| found.contains(&one.identity.name));
                        wanted.or(all.first()).copied()
                    })
                });
                needed.extend(chosen);
            }
        }
        needed
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    Open,
    Done,
}

/// The state of a walk through dependencies.
#[derive(Default)]
struct Walk<'a> {
    state: HashMap<&'a str, Visit>,
    /// Packages that come after the one of this name.
    waiting: HashMap<&'a str, Vec<&'a Summary>>,
    order: Vec<Identity>,
}

impl<'a> Walk<'a> {
    fn emit(&mut self, summary: &'a Summary) {
        let mut todo = vec![summary];
        while let Some(summary) = todo.pop() {
            self.state.insert(&summary.identity.name, Visit::Done);
            self.order.push(summary.identity.clone());
            let mut waiting =
                self.waiting.remove(summary.identity.name.as_str()).unwrap_or_default();
            waiting.reverse();
            todo.extend(waiting);
        }
    }
}
