//! Which packages the first layer consists of.
//!
//! The answer must be what apt would choose, because mmdebstrap, whose trees ours equal, asks apt:
//! the highest version of the best pin, alternatives from left to right, what is chosen already
//! before anything new, real packages before those that provide a name, essential ones and higher
//! priorities before others. Where apt's greedy search would end in a conflict, this one goes back
//! and tries the next alternative.

mod choose;

use crate::archive::checksum::Sha256;
use crate::archive::index::Packages;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use serde::{Deserialize, Serialize};

/// Counts up when the same request to the same indexes gives another set: answers are remembered.
pub(crate) const CHOICE: &[u8] = b"1";

/// What is asked for. Phases follow each other: what one phase chose is installed when the next
/// one begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// First phase: all packages with `Essential: yes`.
    pub essential: bool,
    /// Second phase: all packages with `Priority: required`.
    pub required: bool,
    /// Second phase, too: these packages, as `name` or `name=version`.
    pub packages: Vec<String>,
}

impl Request {
    /// The set in which Debian builds packages: the essential packages, then the required ones,
    /// apt, build-essential and `include`. This is mmdebstrap's variant `buildd`.
    pub fn buildd(include: &[String]) -> Self {
        let base = ["build-essential", "apt"].map(str::to_owned);
        let packages = base.iter().chain(include).cloned().collect();
        Request { essential: true, required: true, packages }
    }
}

/// One package of a [`PackageSet`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackageEntry {
    /// Binary package name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture, or `all`.
    pub architecture: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file, from the signed index.
    pub sha256: Sha256,
    /// Where the file is.
    pub uri: String,
    /// `Essential: yes`.
    pub essential: bool,
    /// Chosen only because another one needs it, after the first phase: apt would mark it as
    /// automatically installed. Packages of the first phase are never marked: mmdebstrap
    /// installs them with dpkg.
    pub automatic: bool,
    /// The phase that chose it, from 0.
    pub phase: u32,
}

/// An exact list of packages, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSet {
    /// The architecture of all that are not `all`.
    pub architecture: String,
    /// The packages.
    pub packages: Vec<PackageEntry>,
}

impl PackageSet {
    /// The package `name`.
    pub fn get(&self, name: &str) -> Option<&PackageEntry> {
        let found = self.packages.binary_search_by(|entry| entry.name.as_str().cmp(name));
        found.ok().map(|index| &self.packages[index])
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.packages.iter().map(|entry| entry.size).sum()
    }
}

/// Chooses the packages for `request` on `architecture`.
///
/// # Errors
/// [`ErrorKind::Dependency`] with the chain of dependencies that cannot be satisfied, or if the
/// index is made so that looking for a set would take too long; [`ErrorKind::Archive`] for an
/// index entry that makes no sense; [`ErrorKind::Cancelled`].
pub fn solve(
    packages: &Packages,
    architecture: &str,
    request: &Request,
    scope: &Scope,
) -> Result<PackageSet> {
    solve_counting(packages, architecture, request, scope).map(|(set, _)| set)
}

/// As [`solve`], with how many comparisons that took.
fn solve_counting(
    packages: &Packages,
    architecture: &str,
    request: &Request,
    scope: &Scope,
) -> Result<(PackageSet, u64)> {
    let mut solver = choose::Solver::new(packages, architecture, scope);
    if request.essential {
        let essential = solver.essential()?;
        if essential.is_empty() {
            return Err(Error::new(
                ErrorKind::Dependency,
                format!("there is no essential package for {architecture} in {}", packages.shown()),
            )
            .with_hint("check `suite`, `architecture` and `archives` in the config"));
        }
        solver.phase(0, &essential)?;
    }
    let mut second = request.packages.clone();
    if request.required {
        second.extend(solver.required()?);
    }
    solver.phase(1, &second)?;
    let work = solver.work();
    Ok((solver.finish()?, work))
}
