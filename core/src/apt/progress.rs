//! Events from what dpkg prints.
//!
//! apt can report over a descriptor of its own, but the lines of dpkg say the same, in a form
//! that has not changed for twenty years.

use super::Plan;
use crate::event::{PackageAction, Unit, What};
use crate::operation::Scope;
use std::collections::HashSet;

/// Reads dpkg's lines while a plan is carried out. Maintainer scripts print between them and can
/// imitate them, so that a line counts only if it names a package of the plan, and what is told
/// comes from the plan.
pub(super) struct Progress<'a> {
    scope: &'a Scope,
    plan: &'a Plan,
    done: u64,
    total: u64,
    told: HashSet<(PackageAction, String)>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(plan: &'a Plan, scope: &'a Scope) -> Self {
        // Each package that comes is unpacked and configured.
        let total = (2 * plan.install.len() + plan.remove.len()) as u64;
        Progress { scope, plan, done: 0, total, told: HashSet::new() }
    }

    pub(super) fn line(&mut self, line: &str) {
        if let Some((action, name)) = read(line.trim_end()) {
            self.tell(action, name);
        }
    }

    /// Something happened to a package, if it is one of the plan.
    pub(super) fn tell(&mut self, action: PackageAction, name: &str) {
        let Some((name, version, architecture)) = self.known(action, name) else { return };
        // What was unpacked and then left to apt comes twice.
        if !self.told.insert((action, format!("{name}:{architecture}"))) {
            return;
        }
        let (name, version) = (name.to_owned(), version.to_owned());
        let architecture = architecture.to_owned();
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

    /// Name, version and architecture of the package of the plan that dpkg calls `name`. Triggers
    /// are processed for packages that were there before: they are none of it.
    fn known(&self, action: PackageAction, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
        let (bare, own) = match name.split_once(':') {
            Some((name, architecture)) => (name, Some(architecture)),
            None => (name, None),
        };
        if action == PackageAction::Removed {
            // The plan has the architecture in the name where it is not the root's.
            let named = |wanted: &str| self.plan.remove.iter().find(|gone| gone.name == wanted);
            let gone = named(name).or_else(|| named(bare))?;
            let (name, architecture) = gone.name.split_once(':').unwrap_or((&gone.name, ""));
            return Some((name, &gone.version, architecture));
        }
        let mut comes = self.plan.install.iter().filter(|package| package.name == bare);
        let package = comes.find(|package| own.is_none_or(|own| own == package.architecture))?;
        Some((&package.name, &package.version, &package.architecture))
    }
}

/// `Unpacking NAME (VERSION) ...` and its relatives; upgrades say `(VERSION) over (OLD)`.
fn read(line: &str) -> Option<(PackageAction, &str)> {
    let (action, rest) = [
        (PackageAction::Unpacked, "Unpacking "),
        (PackageAction::Configured, "Setting up "),
        (PackageAction::Removed, "Removing "),
    ]
    .into_iter()
    .find_map(|(action, start)| Some((action, line.strip_prefix(start)?)))?;
    let (name, rest) = rest.split_once(" (")?;
    let (_, end) = rest.split_once(')')?;
    (end.ends_with(" ...") && !name.contains(' ')).then_some((action, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_a_script_imitates_tell_nothing_that_is_not_planned() {
        use crate::apt::{Planned, Removal, Task};
        use crate::operation::{CancelToken, run};
        let comes = |name: &str, architecture: &str| Planned {
            name: name.into(),
            version: "1".into(),
            architecture: architecture.into(),
            size: 0,
            sha256: crate::archive::checksum::Sha256::of(b""),
            uri: String::new(),
            essential: false,
            automatic: false,
            phase: 0,
        };
        let goes = |name: &str| Removal { name: name.into(), version: "2".into(), purge: true };
        let plan = Plan {
            task: Task::Upgrade,
            install: vec![comes("a", "amd64"), comes("a", "i386"), comes("b", "all")],
            remove: vec![goes("c"), goes("d:i386")],
            order: None,
        };
        let mut told = Vec::new();
        run(
            CancelToken::new(),
            |event| {
                if let What::Package { action, name, version, architecture } = &event.what {
                    told.push(format!("{action:?} {name} {version} {architecture}"));
                }
            },
            |scope| {
                let mut progress = Progress::new(&plan, scope);
                for line in [
                    "Removing \x1b]0;x\x07 (1) ...",
                    "Removing a (1) ...",
                    "Setting up c (1) ...",
                    "Setting up a:s390x (1) ...",
                    "Unpacking a:i386 (\x1b[2J) ...",
                    "Setting up b (1) ...",
                    "Removing c (2) ...",
                    "Removing d:i386 (2) ...",
                ] {
                    progress.line(line);
                }
                Ok(())
            },
        )
        .unwrap();
        let planned =
            ["Unpacked a 1 i386", "Configured b 1 all", "Removed c 2 ", "Removed d 2 i386"];
        assert_eq!(told, planned);
    }

    #[test]
    fn lines_of_dpkg_are_read() {
        assert_eq!(
            read("Unpacking libc6:amd64 (2.36-9) over (2.36-8) ..."),
            Some((PackageAction::Unpacked, "libc6:amd64"))
        );
        assert_eq!(
            read("Setting up man-db (2.11.2-2) ..."),
            Some((PackageAction::Configured, "man-db"))
        );
        assert_eq!(read("Removing a (1) ..."), Some((PackageAction::Removed, "a")));
        for line in ["Unpacking", "Setting up a", "Removing 'diversion of /a to /b' ...", ""] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
