//! Events from what dpkg prints.
//!
//! apt can report over a descriptor of its own, but the lines of dpkg say the same, in a form
//! that has not changed for twenty years.

use super::Plan;
use crate::event::{PackageAction, Unit, What};
use crate::operation::Scope;
use std::collections::HashMap;

/// Reads dpkg's lines while a plan is carried out.
pub(super) struct Progress<'a> {
    scope: &'a Scope,
    /// Architecture of each package that comes.
    architectures: HashMap<&'a str, &'a str>,
    done: u64,
    total: u64,
}

impl<'a> Progress<'a> {
    pub(super) fn new(plan: &'a Plan, scope: &'a Scope) -> Self {
        let architectures =
            plan.install.iter().map(|p| (p.name.as_str(), p.architecture.as_str())).collect();
        // Each package that comes is unpacked and configured.
        let total = (2 * plan.install.len() + plan.remove.len()) as u64;
        Progress { scope, architectures, done: 0, total }
    }

    pub(super) fn line(&mut self, line: &str) {
        let Some((action, name, version)) = read(line.trim_end()) else { return };
        let (name, own) = match name.split_once(':') {
            Some((name, architecture)) => (name, Some(architecture)),
            None => (name, None),
        };
        let known = self.architectures.get(name).copied();
        // Triggers are processed for packages that were there before.
        if known.is_none() && action != PackageAction::Removed {
            return;
        }
        let architecture = own.or(known).unwrap_or_default().to_owned();
        let (name, version) = (name.to_owned(), version.to_owned());
        self.scope.emit(What::Package { action, name, version, architecture });
        self.done = (self.done + 1).min(self.total);
        let (done, total) = (self.done, Some(self.total));
        self.scope.emit(What::Progress {
            stage: "apply".into(),
            done,
            total,
            unit: Unit::Packages,
        });
    }
}

/// `Unpacking NAME (VERSION) ...` and its relatives; upgrades say `(VERSION) over (OLD)`.
fn read(line: &str) -> Option<(PackageAction, &str, &str)> {
    let (action, rest) = [
        (PackageAction::Unpacked, "Unpacking "),
        (PackageAction::Configured, "Setting up "),
        (PackageAction::Removed, "Removing "),
    ]
    .into_iter()
    .find_map(|(action, start)| Some((action, line.strip_prefix(start)?)))?;
    let (name, rest) = rest.split_once(" (")?;
    let (version, end) = rest.split_once(')')?;
    (end.ends_with(" ...") && !name.contains(' ')).then_some((action, name, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_dpkg_are_read() {
        assert_eq!(
            read("Unpacking libc6:amd64 (2.36-9) over (2.36-8) ..."),
            Some((PackageAction::Unpacked, "libc6:amd64", "2.36-9"))
        );
        assert_eq!(
            read("Setting up man-db (2.11.2-2) ..."),
            Some((PackageAction::Configured, "man-db", "2.11.2-2"))
        );
        assert_eq!(read("Removing a (1) ..."), Some((PackageAction::Removed, "a", "1")));
        for line in ["Unpacking", "Setting up a", "Removing 'diversion of /a to /b' ...", ""] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
