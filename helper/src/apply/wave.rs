//! What is unpacked at once: whatever runs in between finds what by dpkg would be there, and no
//! more.

use super::{Plan, Step};
use crate::dpkgdb::Identity;

/// Packages that are unpacked in parallel, and what is configured before the next ones are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wave {
    /// In their order; those that configure between those that unpack run nothing of a package.
    pub steps: Vec<Step>,
    /// `preinst` of the first package runs before anything of the wave is unpacked.
    pub ahead: bool,
}

impl Wave {
    /// Its packages in their order.
    pub(super) fn packages(&self) -> impl Iterator<Item = &Identity> {
        let unpacked = self.steps.iter().map(|step| match step {
            Step::Unpack(packages) => packages.as_slice(),
            Step::Configure(_) => &[],
        });
        unpacked.flatten()
    }

    fn push(&mut self, package: &Identity) {
        match self.steps.last_mut() {
            Some(Step::Unpack(packages)) => packages.push(package.clone()),
            _ => self.steps.push(Step::Unpack(vec![package.clone()])),
        }
    }
}

/// The waves of `plan`. A new one begins where scripts have run: with what is unpacked after a step
/// that configures a package which `acts`, and with each package that `goes_ahead`.
pub(super) fn split(
    plan: &Plan,
    acts: impl Fn(&str) -> bool,
    goes_ahead: impl Fn(&Identity) -> bool,
) -> Vec<Wave> {
    let mut waves = vec![Wave::default()];
    let mut ended = false;
    for step in &plan.steps {
        match step {
            Step::Configure(names) => {
                ended |= names
                    .iter()
                    .any(|name| acts(name.split_once(':').map_or(name, |(name, _)| name)));
                if let Some(last) = waves.last_mut() {
                    last.steps.push(Step::Configure(names.clone()));
                }
            }
            Step::Unpack(packages) => {
                for package in packages {
                    let ahead = goes_ahead(package);
                    let is_used = waves.last().is_some_and(|last| !last.steps.is_empty());
                    if ended || ahead && is_used {
                        waves.push(Wave::default());
                        ended = false;
                    }
                    if let Some(last) = waves.last_mut() {
                        last.ahead |= ahead;
                        last.push(package);
                    }
                }
            }
        }
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str) -> Identity {
        Identity { name: name.into(), version: "1".into(), architecture: "all".into() }
    }

    fn unpack(names: &str) -> Step {
        Step::Unpack(names.split(' ').map(one).collect())
    }

    fn configure(name: &str) -> Step {
        Step::Configure(vec![name.into()])
    }

    /// Packages whose names begin with `p` have a `postinst`, those with `i` a `preinst` that looks.
    fn waves(steps: Vec<Step>) -> Vec<Wave> {
        let plan = Plan { steps, ..Plan::default() };
        split(&plan, |name| name.starts_with('p'), |package| package.name.starts_with('i'))
    }

    #[test]
    fn packages_whose_scripts_see_nothing_come_at_once() {
        let steps = vec![unpack("a p1"), configure("a"), unpack("p2 b")];
        assert_eq!(waves(steps.clone()), [Wave { steps, ahead: false }]);
    }

    #[test]
    fn a_wave_ends_where_a_script_runs() {
        let steps = vec![
            unpack("i1 a i2 p"),
            configure("a"),
            configure("p:amd64"),
            unpack("b"),
            configure("p"),
            unpack("i3"),
        ];
        let expected = [
            Wave { steps: vec![unpack("i1 a")], ahead: true },
            Wave { steps: vec![unpack("i2 p"), configure("a"), configure("p:amd64")], ahead: true },
            Wave { steps: vec![unpack("b"), configure("p")], ahead: false },
            Wave { steps: vec![unpack("i3")], ahead: true },
        ];
        assert_eq!(waves(steps), expected);
    }
}
