//! Maintainer scripts: `preinst` by us, everything else by the root's dpkg.

use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::plan::{Error, Relations, Stage};
use super::{Event, Staged};
use crate::dpkgdb::{Identity, Summary, info};
use crate::store::remove_tree;
use crate::unpack::{Control, ControlFile, Tree};

/// Where dpkg keeps the control files of the package that it is unpacking.
pub(crate) const CONTROL_DIR: &str = "var/lib/dpkg/tmp.ci";

/// Starts programs in the root that is being filled: without network, with `/proc` and a
/// minimal `/dev`, and with nothing in the environment but what the command says.
pub trait RunInRoot {
    /// Runs to the end. Output belongs to the implementation (a log, events).
    ///
    /// # Errors
    /// The program could not be started or waited for.
    fn run(&mut self, command: &Command) -> std::io::Result<Outcome>;
}

/// A program to run in the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Program (looked up in `PATH` unless absolute) and arguments. The working directory
    /// is `/`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

impl Staged<'_> {
    /// Runs `preinst` scripts and lets dpkg configure everything: first the essential packages
    /// and what they need, since the others take it for granted that these work and do not
    /// depend on them (Policy §3.8), then the others.
    ///
    /// # Errors
    /// A script or dpkg fails. The tree is of no use then.
    pub fn configure(
        &mut self,
        runner: &mut dyn RunInRoot,
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Error> {
        let early = self.early.len();
        events(Event::Stage(Stage::Preinst));
        self.preinsts(0..early, runner)?;
        events(Event::Stage(Stage::Configure));
        if early > 0 {
            // Only this breaks the circles among them.
            let names = self.info_names(&self.early);
            self.dpkg(&["--force-depends", "--configure"], &names, runner)?;
            if self.plan.makes_merged_usr() {
                super::usrmerge::order_shells(self.root)?;
            }
        }
        self.preinsts(early..self.summaries.len(), runner)?;
        let pre_depends = Relations::new(&self.summaries).pre_depends(&self.early);
        let names = self.info_names(&pre_depends);
        if !names.is_empty() {
            self.dpkg(&["--no-triggers", "--configure"], &names, runner)?;
        }
        self.dpkg(&["--configure", "--pending"], &[], runner)
    }

    /// `preinst install` of each package in the range that has one. dpkg then knows the
    /// packages before it, and at the end all of the range.
    fn preinsts(
        &mut self,
        range: std::ops::Range<usize>,
        runner: &mut dyn RunInRoot,
    ) -> Result<(), Error> {
        for at in range.clone() {
            if self.summaries[at].scripts.iter().any(|name| name == "preinst") {
                self.registry.reveal(at)?;
                self.programs().preinst(&self.summaries[at], runner)?;
            }
        }
        Ok(self.registry.reveal(range.end)?)
    }

    /// The packages as dpkg's command line takes them, in their order.
    fn info_names(&self, names: &BTreeSet<String>) -> Vec<&str> {
        let chosen = self.summaries.iter().filter(|one| names.contains(&one.identity.name));
        chosen.map(|summary| summary.info_name.as_str()).collect()
    }

    fn dpkg(
        &self,
        options: &[&str],
        packages: &[&str],
        runner: &mut dyn RunInRoot,
    ) -> Result<(), Error> {
        self.run(&[&["dpkg"], options, packages].concat(), runner)
    }

    fn run(&self, argv: &[&str], runner: &mut dyn RunInRoot) -> Result<(), Error> {
        self.programs().run(argv, &[], runner)
    }

    fn programs(&self) -> Programs<'_> {
        let epoch = self.epoch.to_string();
        let environment = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("LANG", "C.UTF-8"),
            ("LANGUAGE", "C.UTF-8"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
            ("SOURCE_DATE_EPOCH", &epoch),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let dpkg = self.summaries.iter().find(|summary| summary.identity.name == "dpkg");
        let version = dpkg.map_or("1.21.0", |summary| summary.identity.version.as_str());
        let environment = environment.into_iter().map(own).collect();
        Programs::new(self.root, environment, version)
    }
}

/// Writes a control file where dpkg has them while it unpacks; debconf looks there for the name of
/// the package.
fn write_control(directory: &OwnedFd, file: &ControlFile) -> Result<(), Error> {
    Ok(info::write(directory, CONTROL_DIR, &file.name, file.mode, Some(file.mtime), &file.data)?)
}

/// What dpkg may do by force, as far as it is asked for here, in its own order (`dpkg
/// --force-help`), and whether it does it anyway.
const FORCED: &[(&str, bool)] = &[
    ("security-mac", true),
    ("downgrade", true),
    ("unsafe-io", false),
    ("confold", false),
    ("confdef", false),
];

/// Runs dpkg and `preinst` scripts in a root, in one environment.
pub(crate) struct Programs<'a> {
    root: BorrowedFd<'a>,
    environment: Vec<(String, String)>,
    dpkg_version: String,
    /// `DPKG_FORCE` of scripts.
    forced: Option<String>,
}

impl<'a> Programs<'a> {
    /// In `root`, whose dpkg has this version.
    pub(crate) fn new(
        root: BorrowedFd<'a>,
        environment: Vec<(String, String)>,
        dpkg_version: &str,
    ) -> Self {
        // Without the revision: what dpkg exports to scripts.
        let end = dpkg_version.find(|c: char| c != '.' && !c.is_ascii_digit());
        let dpkg_version = dpkg_version[..end.unwrap_or(dpkg_version.len())].to_owned();
        Self { root, environment, dpkg_version, forced: None }
    }

    /// What dpkg does by force, named without `force-`: scripts are told, too.
    pub(crate) fn forcing(self, forced: &[&str]) -> Self {
        let all = FORCED.iter().filter(|(name, always)| *always || forced.contains(name));
        let names: Vec<&str> = all.map(|(name, _)| *name).collect();
        Self { forced: Some(names.join(",")), ..self }
    }

    /// `preinst install`, with the files and variables that dpkg gives it (`dpkg(1)`,
    /// ENVIRONMENT, "Internal environment").
    pub(crate) fn preinst(
        &self,
        summary: &Summary,
        runner: &mut dyn RunInRoot,
    ) -> Result<(), Error> {
        let fail = |error| Error::tree("fill", CONTROL_DIR, error);
        let directory = self.make_control_dir()?;
        let info_dir = info::open_dir(self.root, "var/lib/dpkg/info")?;
        let flags = rustix::fs::AtFlags::empty();
        for script in &summary.scripts {
            let from = format!("{}.{script}", summary.info_name);
            rustix::fs::linkat(&info_dir, from.as_str(), &directory, script.as_str(), flags)
                .map_err(fail)?;
        }
        write_control(&directory, &summary.control_file)?;
        self.run_preinst(&summary.identity, runner)
    }

    /// The same for a package of which nothing is in the tree yet.
    pub(crate) fn preinst_of(
        &self,
        control: &Control,
        runner: &mut dyn RunInRoot,
    ) -> Result<(), Error> {
        let directory = self.make_control_dir()?;
        for file in control.files.iter().chain([&control.control_file]) {
            write_control(&directory, file)?;
        }
        self.run_preinst(&control.identity, runner)
    }

    fn make_control_dir(&self) -> Result<OwnedFd, Error> {
        let fail = |error| Error::tree("fill", CONTROL_DIR, error);
        let (parent, name) = CONTROL_DIR.rsplit_once('/').unwrap_or(("", CONTROL_DIR));
        let parent = info::open_dir(self.root, parent)?;
        rustix::fs::mkdirat(&parent, name, 0o755.into()).map_err(fail)?;
        Tree::new(self.root).open_dir(CONTROL_DIR.as_bytes()).map_err(fail)
    }

    /// Runs the script that is in the control directory, and empties it.
    fn run_preinst(&self, identity: &Identity, runner: &mut dyn RunInRoot) -> Result<(), Error> {
        let env = [
            ("DPKG_MAINTSCRIPT_PACKAGE", identity.name.as_str()),
            ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1"),
            ("DPKG_MAINTSCRIPT_ARCH", identity.architecture.as_str()),
            ("DPKG_MAINTSCRIPT_NAME", "preinst"),
            ("DPKG_MAINTSCRIPT_DEBUG", "0"),
            ("DPKG_ADMINDIR", "/var/lib/dpkg"),
            ("DPKG_ROOT", ""),
            ("DPKG_RUNNING_VERSION", &self.dpkg_version),
        ];
        let forced = self.forced.as_deref().map(|forced| ("DPKG_FORCE", forced));
        let env: Vec<_> = env.into_iter().chain(forced).collect();
        let program = format!("/{CONTROL_DIR}/preinst");
        self.run(&[&program, "install"], &env, runner).map_err(|error| {
            let who = |command: String| format!("{command}” of the package “{}", identity.name);
            match error {
                Error::Program { command, how } => Error::Program { command: who(command), how },
                Error::Start { command, source } => Error::Start { command: who(command), source },
                other => other,
            }
        })?;
        let (parent, name) = CONTROL_DIR.rsplit_once('/').unwrap_or(("", CONTROL_DIR));
        remove_tree(&info::open_dir(self.root, parent)?, name)
            .map_err(|error| Error::tree("empty", CONTROL_DIR, error))
    }

    /// A program, with further variables.
    pub(crate) fn run(
        &self,
        argv: &[&str],
        extra: &[(&str, &str)],
        runner: &mut dyn RunInRoot,
    ) -> Result<(), Error> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let command = Command {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: self.environment.iter().cloned().chain(extra.iter().map(own)).collect(),
        };
        let shown = argv.join(" ");
        let how = match runner.run(&command) {
            Ok(Outcome::Exited(0)) => return Ok(()),
            Ok(Outcome::Exited(status)) => format!("ended with status {status}"),
            Ok(Outcome::Signalled(signal)) => format!("was killed by signal {signal}"),
            Err(source) => return Err(Error::Start { command: shown, source }),
        };
        Err(Error::Program { command: shown, how })
    }
}
