//! What an operation will do: found out by apt, checked against the verified index.

use super::depends::{BuildDependencies, DUMMY};
use super::memory::Memory;
use super::native::panicked;
use super::order::Order;
use super::setup::Ready;
use super::{Apt, Installed, failure, setup};
use crate::archive::uri;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use crate::solve::PackageEntry;
use serde::{Deserialize, Serialize};

/// What shall be done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// Install these and mark them as wanted by hand.
    Install(Vec<String>),
    /// Remove these with their configuration files.
    Remove(Vec<String>),
    /// Bring everything up to date.
    Upgrade,
    /// Install what a build needs; everything new is marked as automatically installed.
    Dependencies(BuildDependencies),
    /// Arguments of `apt-get`.
    Command(Vec<String>),
}

impl Task {
    /// What it is, for people.
    pub fn words(&self) -> String {
        match self {
            Task::Install(packages) => format!("install {}", packages.join(" ")),
            Task::Remove(packages) => format!("remove {}", packages.join(" ")),
            Task::Upgrade => "upgrade".into(),
            Task::Dependencies(dependencies) => {
                format!("build dependencies of {}", dependencies.source())
            }
            Task::Command(arguments) => format!("apt-get {}", arguments.join(" ")),
        }
    }

    /// What failed, when it cannot be resolved.
    fn impossible(&self) -> String {
        match self {
            Task::Install(packages) => format!("cannot install {}", packages.join(", ")),
            Task::Remove(packages) => format!("cannot remove {}", packages.join(", ")),
            Task::Upgrade => "cannot upgrade the root".into(),
            Task::Dependencies(dependencies) => {
                format!("the build dependencies of {} cannot be satisfied", dependencies.source())
            }
            Task::Command(arguments) => format!("`apt-get {}` fails", arguments.join(" ")),
        }
    }
}

/// A package that will be removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Removal {
    /// Name, with its architecture if that is not the root's.
    pub name: String,
    /// The installed version.
    pub version: String,
    /// Its configuration files, too.
    pub purge: bool,
}

/// A package that will be installed, upgraded or downgraded.
pub type Planned = PackageEntry;

/// The exact outcome of a [`Task`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What was asked for.
    pub task: Task,
    /// What comes, sorted by name. Size, hash and URI are those of the verified index.
    pub install: Vec<Planned>,
    /// What goes, sorted by name.
    pub remove: Vec<Removal>,
    /// What apt would have dpkg do, if packages only come: then it can be done without apt.
    pub order: Option<Order>,
}

impl Plan {
    /// Whether no package comes or goes.
    pub fn is_empty(&self) -> bool {
        self.install.is_empty() && self.remove.is_empty()
    }

    /// Whether apt has something to do even if no package changes: marks, or a command line of
    /// the user's.
    pub(super) fn must_run(&self) -> bool {
        matches!(self.task, Task::Install(_) | Task::Command(_))
    }

    /// Bytes of all package files.
    pub fn size(&self) -> u64 {
        self.install.iter().map(|package| package.size).sum()
    }

    /// How much it is, for people.
    pub fn counted(&self) -> String {
        match (self.install.len(), self.remove.len()) {
            (come, 0) => counted(come),
            (0, go) => format!("{} to remove", counted(go)),
            (come, go) => format!("{}, {go} to remove", counted(come)),
        }
    }
}

/// So many packages, for people.
pub(crate) fn counted(number: usize) -> String {
    match number {
        1 => "1 package".to_owned(),
        number => format!("{number} packages"),
    }
}

/// Arguments of `apt-get` for which apt may want package files.
const FETCHING: &[&str] = &[
    "install",
    "reinstall",
    "remove",
    "purge",
    "autoremove",
    "autopurge",
    "upgrade",
    "dist-upgrade",
    "full-upgrade",
    "satisfy",
    "dselect-upgrade",
];

/// Commands of `apt-get` that need the network themselves.
const NETWORKED: &[&str] = &["update", "source", "download", "changelog"];

impl Apt<'_> {
    /// Asks the root's apt what `task` means, without changing anything.
    ///
    /// # Errors
    /// [`ErrorKind::Dependency`] with apt's explanation if it cannot be done;
    /// [`ErrorKind::Package`] if apt fails for another reason; [`ErrorKind::Archive`] if apt
    /// names a package that the verified index does not have.
    pub fn resolve(&self, task: &Task, scope: &Scope) -> Result<Plan> {
        let mut plan =
            Plan { task: task.clone(), install: Vec::new(), remove: Vec::new(), order: None };
        if let Task::Command(arguments) = task {
            let command = command_word(arguments).unwrap_or_default();
            if command == "build-dep" {
                return Err(Error::new(
                    ErrorKind::Usage,
                    "`apt-get build-dep` finds no sources: only binary indexes are visible in a root",
                )
                .with_hint("use `debmock installdeps SOURCE`"));
            }
            if NETWORKED.contains(&command) {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("`apt-get {command}` needs a network, which roots do not have"),
                )
                .with_hint(match command {
                    "update" => "use `debmock update`, which refreshes the index files and upgrades the root",
                    _ => "use `apt-get` of the host, or `debmock chroot --enable-network`",
                }));
            }
            if !FETCHING.contains(&command) || is_simulation(arguments) {
                return Ok(plan);
            }
        }
        let memory = match task {
            Task::Dependencies(dependencies) => Memory::of(self, dependencies)?,
            _ => None,
        };
        if let Some(answer) = memory.as_ref().and_then(Memory::recall) {
            (plan.install, plan.remove) = (answer.install, answer.remove);
            plan.order = answer.order;
            self.tell(&plan, scope)?;
            return Ok(plan);
        }
        let ready = setup::prepare(self, scope)?;
        let (answer, settings) = std::thread::scope(|threads| {
            // What is needed as soon as apt has answered.
            let settings = threads.spawn(|| self.settings(&ready, task, scope));
            threads.spawn(|| self.packages().map(drop));
            let answer = self.ask(&ready, task, scope);
            (answer, settings.join().unwrap_or_else(|_| Err(panicked())))
        });
        let output = answer?;
        let (wanted, removals) = read(&output);
        for one in wanted.iter().filter(|one| one.name != DUMMY) {
            plan.install.push(self.verified(one)?);
        }
        plan.remove = self.versioned(removals)?;
        plan.install.sort();
        plan.remove.sort();
        let order = std::thread::scope(|threads| {
            threads.spawn(|| ready.keep_cache());
            self.order(&ready, &plan, settings?, scope)
        });
        plan.order = order?;
        if let Some(memory) = memory {
            memory.remember(&plan);
        }
        self.tell(&plan, scope)?;
        Ok(plan)
    }

    /// What the root's apt says about `task`, line by line.
    fn ask(&self, ready: &Ready<'_>, task: &Task, scope: &Scope) -> Result<Vec<String>> {
        // As settings: as options not every command takes them.
        let mut arguments: Vec<String> = ["Print-URIs", "Show-Upgraded", "Show-Versions"]
            .map(|name| format!("-oAPT::Get::{name}=true"))
            .into();
        arguments.extend(match task {
            Task::Dependencies(dependencies) => {
                self.log.line(scope, format!("Merged Build-Depends: {}", dependencies.merged()))?;
                let path = ready.dummy(&dependencies.dummy(self.architecture())?)?;
                vec!["install".to_owned(), path]
            }
            other => self.arguments(other),
        });
        let mut output = Vec::new();
        let exit = ready.apt_get(&arguments, scope, |line| {
            output.push(String::from_utf8_lossy(line).trim_end().to_owned());
            Ok(())
        })?;
        if exit.status != Some(0) {
            for line in &output {
                self.log.line(scope, line)?;
            }
            return Err(failure::of_resolving(&task.impossible(), &output));
        }
        Ok(output)
    }

    /// Adds the versions that apt did not name: it names none of what goes because something
    /// that comes conflicts with it.
    fn versioned(&self, mut removals: Vec<Removal>) -> Result<Vec<Removal>> {
        if removals.iter().any(|one| one.version.is_empty()) {
            let installed = Installed::read(self.session)?;
            for one in removals.iter_mut().filter(|one| one.version.is_empty()) {
                let (name, architecture) = one.name.split_once(':').unwrap_or((&one.name, ""));
                let same = installed.iter().find(|package| {
                    package.name == name
                        && (architecture.is_empty() || package.architecture == architecture)
                });
                one.version = same.map(|package| package.version.clone()).unwrap_or_default();
            }
        }
        Ok(removals)
    }

    /// Writes a plan to the log.
    fn tell(&self, plan: &Plan, scope: &Scope) -> Result<()> {
        for package in &plan.install {
            self.log.line(
                scope,
                format!("  + {} {} {}", package.name, package.version, package.architecture),
            )?;
        }
        for package in &plan.remove {
            self.log.line(scope, format!("  - {} {}", package.name, package.version))?;
        }
        Ok(())
    }

    /// The arguments with which apt-get carries out `task`.
    pub(super) fn arguments(&self, task: &Task) -> Vec<String> {
        let list = |first: &[&str], rest: &[String]| {
            first.iter().map(|word| (*word).to_owned()).chain(rest.iter().cloned()).collect()
        };
        match task {
            Task::Install(packages) => list(&["install", "--"], packages),
            Task::Remove(packages) => list(&["--purge", "remove", "--"], packages),
            Task::Upgrade => vec!["dist-upgrade".into()],
            Task::Dependencies(_) => Vec::new(),
            Task::Command(arguments) => arguments.clone(),
        }
    }

    /// The entry of the verified index for what apt named.
    fn verified(&self, wanted: &Wanted) -> Result<Planned> {
        let packages = self.packages()?;
        let mut found = None;
        for package in packages.versions(&wanted.name) {
            let same = package.version() == wanted.version
                && package.architecture() == wanted.architecture;
            if !same {
                continue;
            }
            let (size, sha256, uri) = package.file_in_archive()?;
            let same_place = uri::decode(&uri::redacted(&uri)) == uri::decode(&wanted.uri);
            let entry = PackageEntry {
                name: wanted.name.clone(),
                version: wanted.version.clone(),
                architecture: wanted.architecture.clone(),
                size,
                sha256,
                uri,
                essential: package.is_essential(),
                automatic: false,
                phase: 0,
            };
            // Two archives may have files of one version: then the place tells them apart.
            if same_place {
                return Ok(entry);
            }
            found = found.or(Some(entry));
        }
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::Archive,
                format!(
                    "apt wants {} {} for {}, which is in none of {}",
                    wanted.name,
                    wanted.version,
                    wanted.architecture,
                    packages.shown()
                ),
            )
            .with_hint("run `debmock update` to bring the index files up to date")
        })
    }
}

/// The command among arguments of `apt-get`: the first one that is no option.
pub(super) fn command_word(arguments: &[String]) -> Option<&str> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-o"
            | "--option"
            | "-c"
            | "--config-file"
            | "-t"
            | "--target-release"
            | "--default-release"
            | "-a"
            | "--host-architecture"
            | "-P"
            | "--build-profiles" => {
                rest.next();
            }
            option if option.starts_with('-') => {}
            word => return Some(word),
        }
    }
    None
}

/// Whether apt-get only tells what it would do: with one of the options of that meaning, alone or
/// in a row of letters (`-ys`), or the setting (`apt-get(8)`). What is asked that way is never
/// fetched.
pub(super) fn is_simulation(arguments: &[String]) -> bool {
    const LONG: &[&str] =
        &["--simulate", "--just-print", "--dry-run", "--recon", "--no-act", "--print-uris"];
    let options = arguments.iter().map(String::as_str).take_while(|word| *word != "--");
    let mut setting = false;
    for word in options {
        if std::mem::take(&mut setting) {
            if simulates(word) {
                return true;
            }
        } else if matches!(word, "-o" | "--option") {
            setting = true;
        } else if let Some(rest) = word.strip_prefix("--") {
            if LONG.contains(&word) || rest.strip_prefix("option=").is_some_and(simulates) {
                return true;
            }
        } else if let Some(letters) = word.strip_prefix('-') {
            // What follows these letters belongs to them.
            let own = letters.find(['o', 'c', 't', 'a', 'P']).unwrap_or(letters.len());
            if letters[..own].contains('s')
                || letters[own..].strip_prefix('o').is_some_and(simulates)
            {
                return true;
            }
        }
    }
    false
}

/// Whether a setting `NAME=VALUE` is one of those.
fn simulates(setting: &str) -> bool {
    let (name, value) = setting.trim_start_matches('=').split_once('=').unwrap_or((setting, ""));
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "apt::get::simulate" | "apt::get::print-uris")
        && ["1", "yes", "true", "with", "on", "enable"]
            .contains(&value.to_ascii_lowercase().as_str())
}

/// A package file that apt asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    version: String,
    architecture: String,
    uri: String,
}

/// Reads what `apt-get --print-uris` printed: the files, and what is to be removed, in some cases
/// without a version.
fn read(output: &[String]) -> (Vec<Wanted>, Vec<Removal>) {
    let mut wanted = Vec::new();
    let mut removals = Vec::new();
    let mut removing = false;
    for line in output {
        if let Some(item) = read_uri(line) {
            wanted.push(item);
            continue;
        }
        if let Some(entry) = line.strip_prefix("   ").filter(|_| removing) {
            let (name, version) = entry.split_once(" (").unwrap_or((entry, ""));
            if !name.is_empty() && !name.contains(' ') {
                let purge = name.ends_with('*');
                removals.push(Removal {
                    name: name.trim_end_matches('*').to_owned(),
                    version: version.trim_end_matches(')').to_owned(),
                    purge,
                });
            }
            continue;
        }
        removing = line.ends_with("packages will be REMOVED:");
    }
    (wanted, removals)
}

/// `'URI' FILE SIZE HASH`, where FILE is `name_version_architecture.deb` with `%xx` in it.
fn read_uri(line: &str) -> Option<Wanted> {
    let (uri, rest) = line.strip_prefix('\'')?.split_once("' ")?;
    let file = rest.split(' ').next()?;
    let stem = file.strip_suffix(".deb")?;
    let text = |part: &str| String::from_utf8_lossy(&uri::decode(part)).into_owned();
    let mut parts = stem.split('_').map(text);
    let (name, version, architecture) = (parts.next()?, parts.next()?, parts.next()?);
    match parts.next() {
        None => Some(Wanted { name, version, architecture, uri: uri.to_owned() }),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_removals_are_read() {
        let output: Vec<String> = "Reading package lists...\n\
            The following packages will be REMOVED:\n   foo (1:2.0-1)\n   libbar:i386* (3)\n   ed\n\
            The following NEW packages will be installed:\n   g++ (4:12.2.0-3)\n\
            0 upgraded, 1 newly installed, 3 to remove and 0 not upgraded.\n\
            'http://mirror.example.org/debian/pool/g/g%2b%2b_12.deb' g++_4%3a12.2.0-3_amd64.deb 1356 SHA256:00"
            .lines()
            .map(str::to_owned)
            .collect();
        let (wanted, removals) = read(&output);
        assert_eq!(wanted.len(), 1);
        assert_eq!((wanted[0].name.as_str(), wanted[0].version.as_str()), ("g++", "4:12.2.0-3"));
        let names: Vec<_> = removals.iter().map(|r| (r.name.as_str(), r.purge)).collect();
        assert_eq!(names, [("foo", false), ("libbar:i386", true), ("ed", false)]);
        let versions: Vec<_> = removals.iter().map(|r| r.version.as_str()).collect();
        assert_eq!(versions, ["1:2.0-1", "3", ""]);
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        for line in ["'x", "'http://x' a_b.deb 1", "'http://x' a_b_c_d.deb 1", "'u' a_b_c.dsc 1"] {
            assert_eq!(read_uri(line), None, "{line}");
        }
    }

    #[test]
    fn simulations_are_told_from_the_real_thing() {
        let simulated = |text: &str| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            is_simulation(&words)
        };
        for line in [
            "-s install x",
            "install x -s",
            "-ys install x",
            "-qq --dry-run upgrade",
            "-o APT::Get::Simulate=true install x",
            "-oapt::get::simulate=1 install x",
            "--print-uris install x",
        ] {
            assert!(simulated(line), "{line}");
        }
        for line in ["install x", "install -- -s", "-t sid install x", "-ttesting install s"] {
            assert!(!simulated(line), "{line}");
        }
        for line in ["-o APT::Get::Simulate=false install x", "-oA::s=1 install x", "-y install s"]
        {
            assert!(!simulated(line), "{line}");
        }
    }

    #[test]
    fn the_command_is_found_behind_options() {
        let find = |text: &str| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            command_word(&words).map(str::to_owned)
        };
        assert_eq!(find("-o A=b --yes install x").as_deref(), Some("install"));
        assert_eq!(find("-t sid update").as_deref(), Some("update"));
        assert_eq!(find("--version"), None);
    }
}
