//! In which order apt would have dpkg unpack the packages of a plan.
//!
//! Asked of apt itself, right after it chose them: a simulation of what would be carried out. It is
//! given an index of these packages and no others, for with each package that it simulates it goes
//! through all that it knows. With the order known, apt has no more part in installing them.

use super::Apt;
use super::plan::{Plan, Task};
use super::setup::Ready;
use crate::error::Result;
use crate::operation::Scope;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What apt would have done with dpkg, of a [`Plan`] in which packages only come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub(super) steps: Vec<Step>,
    /// Packages that were asked for by name; all others are automatic.
    pub(super) manual: BTreeSet<String>,
    /// `DPkg::Options`.
    pub(super) options: Vec<String>,
    /// `DPkg::Path`: `PATH` of dpkg.
    pub(super) path: String,
}

/// Names of packages, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// They are unpacked.
    Unpack(Vec<String>),
    /// They are configured before others are unpacked.
    Configure(Vec<String>),
}

/// Options of dpkg that say nothing about unpacking new packages.
const HARMLESS: &[&str] =
    &["--force-confold", "--force-confdef", "--force-unsafe-io", "--no-debsig", "--no-pager"];

/// Settings under which apt does something else besides, or in another way; in lower case.
const UNUSUAL: &[&str] = &[
    "dpkg::pre-invoke",
    "dpkg::post-invoke",
    "dpkg::pre-install-pkgs",
    "dpkg::chroot-directory",
    "dpkg::run-directory",
    "dpkg::configurepending",
    "dpkg::triggerspending",
    "dpkg::notriggers",
    "packagemanager",
    "apt::immediate-configure",
    "apt::force-loopbreak",
];

impl Apt<'_> {
    /// The order for `plan`; nothing if apt has to carry it out itself. `settings` are those of
    /// [`Apt::settings`].
    pub(super) fn order(
        &self,
        ready: &Ready<'_>,
        plan: &Plan,
        settings: Option<Settings>,
        scope: &Scope,
    ) -> Result<Option<Order>> {
        let own = ["all", self.architecture()];
        let simple = plan.remove.is_empty()
            && !plan.install.is_empty()
            && plan.install.iter().all(|one| own.contains(&one.architecture.as_str()));
        let Some(settings) = settings.filter(|_| simple) else { return Ok(None) };
        let mut manual = BTreeSet::new();
        if let Task::Install(wanted) = &plan.task {
            for word in wanted {
                let name = word.split(['=', '/', ':']).next().unwrap_or_default();
                if plan.install.iter().all(|one| one.name != name) {
                    return Ok(None);
                }
                manual.insert(name.to_owned());
            }
        }
        let Some(index) = self.index_of(plan, &settings)? else { return Ok(None) };
        let mut arguments = ready.chosen(&index)?;
        arguments.push("-s".to_owned());
        arguments.extend(self.exactly(plan));
        let mut output = Vec::new();
        let exit = ready.apt_get(&arguments, scope, |line| {
            output.push(String::from_utf8_lossy(line).trim_end().to_owned());
            Ok(())
        })?;
        let Some(steps) = read(&output).filter(|_| exit.status == Some(0)) else {
            return Ok(None);
        };
        let planned: BTreeSet<_> = plan.install.iter().map(|one| one.name.as_str()).collect();
        let unpacked = steps.iter().flat_map(|step| match step {
            Step::Unpack(names) => names.as_slice(),
            Step::Configure(_) => &[],
        });
        let unpacked: Vec<_> = unpacked.map(String::as_str).collect();
        let each_once = unpacked.len() == planned.len()
            && plan.install.len() == planned.len()
            && unpacked.into_iter().collect::<BTreeSet<_>>() == planned;
        let Settings { options, path, .. } = settings;
        Ok(each_once.then_some(Order { steps, manual, options, path }))
    }

    /// The paragraphs of the packages of `plan`; nothing if one of them is marked in another way
    /// than others.
    fn index_of(&self, plan: &Plan, settings: &Settings) -> Result<Option<Vec<u8>>> {
        let packages = self.packages()?;
        let mut index = Vec::new();
        for one in &plan.install {
            let mut found = packages.versions(&one.name).filter(|package| {
                package.version() == one.version
                    && package.architecture() == one.architecture
                    && package.file_in_archive().is_ok_and(|(_, sha256, _)| sha256 == one.sha256)
            });
            let Some(package) = found.next() else { return Ok(None) };
            let section = package.field("Section");
            let section = section.rsplit('/').next().unwrap_or(section);
            if settings.special.iter().any(|known| known.rsplit('/').next() == Some(section)) {
                return Ok(None);
            }
            index.extend_from_slice(package.paragraph().text().trim_ascii_end());
            index.extend_from_slice(b"\n\n");
        }
        Ok(Some(index))
    }

    /// What decides how dpkg is called for `task`; nothing if the root's apt is told to do more
    /// than to call dpkg, or if something else than installing is asked for.
    pub(super) fn settings(
        &self,
        ready: &Ready<'_>,
        task: &Task,
        scope: &Scope,
    ) -> Result<Option<Settings>> {
        if !matches!(task, Task::Dependencies(_) | Task::Install(_)) {
            return Ok(None);
        }
        let mut dump: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let exit = ready.apt_config(scope, |line| {
            let line = String::from_utf8_lossy(line);
            if let Some((name, value)) = line.trim_end().split_once(' ') {
                let value = value.trim_end_matches(';').trim_matches('"').to_owned();
                let name = name.trim_end_matches(':').to_lowercase();
                dump.entry(name).or_default().push(value);
            }
            Ok(())
        })?;
        let values = |name: &str| {
            let all = dump.get(name).map(Vec::as_slice).unwrap_or_default();
            all.iter().filter(|value| !value.is_empty()).cloned().collect::<Vec<_>>()
        };
        let unusual = dump.iter().any(|(name, values)| {
            UNUSUAL.iter().any(|one| name.starts_with(one)) && values.iter().any(|v| !v.is_empty())
        });
        let options = values("dpkg::options");
        let plain = exit.status == Some(0)
            && !unusual
            && options.iter().all(|one| HARMLESS.contains(&one.as_str()))
            && values("dir::bin::dpkg").iter().all(|path| path == "/usr/bin/dpkg");
        if !plain {
            return Ok(None);
        }
        let special = match task {
            Task::Install(_) => {
                [values("apt::never-markauto-sections"), values("apt::move-autobit-sections")]
                    .concat()
            }
            // Whatever comes is automatic.
            _ => Vec::new(),
        };
        let path = values("dpkg::path").pop();
        let path = path.unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        Ok(Some(Settings { options, path, special }))
    }
}

/// Settings of apt that decide how packages are installed.
pub(super) struct Settings {
    /// `DPkg::Options`.
    options: Vec<String>,
    /// `DPkg::Path`.
    path: String,
    /// Sections whose packages have dependencies that are marked in another way.
    special: Vec<String>,
}

/// Reads `Inst NAME (VERSION …)` and `Conf NAME (…)`; nothing if a package is removed or upgraded.
/// What is configured last is configured in any case.
fn read(output: &[String]) -> Option<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for line in output {
        let mut words = line.split(' ');
        let action = words.next().unwrap_or_default();
        if !["Inst", "Conf", "Remv", "Purg"].contains(&action) {
            continue;
        }
        let name = words.next().filter(|name| !name.contains(':'))?.to_owned();
        if !words.next()?.starts_with('(') {
            return None;
        }
        match (action, steps.last_mut()) {
            ("Inst", Some(Step::Unpack(names))) | ("Conf", Some(Step::Configure(names))) => {
                names.push(name);
            }
            ("Inst", _) => steps.push(Step::Unpack(vec![name])),
            ("Conf", _) => steps.push(Step::Configure(vec![name])),
            _ => return None,
        }
    }
    steps.pop_if(|step| matches!(step, Step::Configure(_)));
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Vec<Step>> {
        read(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_simulation_gives_the_order_and_what_is_configured_in_between() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let steps = of("Reading package lists...\nInst a (1 x [amd64])\nInst b (2 x [all]) []\n\
            Conf a (1 x [amd64])\nInst c (1 x [amd64])\nConf b (2 x [all])\nConf c (1 x [amd64])");
        let expected = vec![
            Step::Unpack(names(&["a", "b"])),
            Step::Configure(names(&["a"])),
            Step::Unpack(names(&["c"])),
        ];
        assert_eq!(steps, Some(expected));
    }

    #[test]
    fn upgrades_removals_and_other_architectures_are_for_apt() {
        for line in ["Inst a [1] (2 x [amd64])", "Remv a [1]", "Inst a:i386 (1 x [i386])"] {
            assert_eq!(of(&format!("Inst b (1 x [all])\n{line}")), None, "{line}");
        }
    }
}
