//! Maintainer scripts: `preinst` by us, everything else by the root's dpkg.

use super::plan::{Error, Stage};
use super::{Event, Staged};
use crate::dpkgdb::{Summary, info};
use crate::unpack::Tree;

/// Where dpkg keeps the control files of the package that it is unpacking.
const CONTROL_DIR: &str = "var/lib/dpkg/tmp.ci";

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program (looked up in `PATH` unless absolute) and arguments. The working directory
    /// is `/`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

impl Staged<'_> {
    /// Runs `preinst` scripts and lets dpkg configure everything.
    ///
    /// # Errors
    /// A script or dpkg fails. The tree is of no use then.
    pub fn configure(
        &self,
        runner: &mut dyn RunInRoot,
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Error> {
        events(Event::Stage(Stage::Preinst));
        let mut with_preinst: Vec<&Summary> = self
            .summaries
            .iter()
            .filter(|summary| summary.scripts.iter().any(|name| name == "preinst"))
            .collect();
        // base-passwd's makes /etc/passwd, which others look into.
        with_preinst.sort_by_key(|summary| {
            let name = summary.identity.name.as_str();
            (name != "base-passwd", !self.early.contains(name), name)
        });
        for summary in with_preinst {
            self.preinst(summary, runner)?;
        }
        events(Event::Stage(Stage::Configure));
        let first: Vec<&str> =
            ["base-passwd", "base-files"].into_iter().filter(|name| self.plan.has(name)).collect();
        if !first.is_empty() {
            let mut argv = vec!["dpkg", "--force-depends", "--configure"];
            argv.extend(first);
            self.run(&argv, &[], runner)?;
        }
        self.run(&["dpkg", "--configure", "--pending"], &[], runner)
    }

    /// `preinst install`, with the files and variables that dpkg gives it (`dpkg(1)`,
    /// ENVIRONMENT, "Internal environment").
    fn preinst(&self, summary: &Summary, runner: &mut dyn RunInRoot) -> Result<(), Error> {
        let fail = |error| Error::tree("fill", CONTROL_DIR, error);
        let tree = Tree::new(self.root);
        let (parent, name) = CONTROL_DIR.rsplit_once('/').unwrap_or(("", CONTROL_DIR));
        let parent = info::open_dir(self.root, parent)?;
        rustix::fs::mkdirat(&parent, name, 0o755.into()).map_err(fail)?;
        let directory = tree.open_dir(CONTROL_DIR.as_bytes()).map_err(fail)?;
        let info_dir = info::open_dir(self.root, "var/lib/dpkg/info")?;
        let flags = rustix::fs::AtFlags::empty();
        for script in &summary.scripts {
            let from = format!("{}.{script}", summary.info_name);
            rustix::fs::linkat(&info_dir, from.as_str(), &directory, script.as_str(), flags)
                .map_err(fail)?;
        }
        let identity = &summary.identity;
        let env = [
            ("DPKG_MAINTSCRIPT_PACKAGE", identity.name.as_str()),
            ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1"),
            ("DPKG_MAINTSCRIPT_ARCH", identity.architecture.as_str()),
            ("DPKG_MAINTSCRIPT_NAME", "preinst"),
            ("DPKG_MAINTSCRIPT_DEBUG", "0"),
            ("DPKG_ADMINDIR", "/var/lib/dpkg"),
            ("DPKG_ROOT", ""),
            ("DPKG_RUNNING_VERSION", self.dpkg_version()),
        ];
        let program = format!("/{CONTROL_DIR}/preinst");
        self.run(&[&program, "install"], &env, runner)?;
        for script in &summary.scripts {
            rustix::fs::unlinkat(&directory, script.as_str(), flags).map_err(fail)?;
        }
        rustix::fs::unlinkat(&parent, name, rustix::fs::AtFlags::REMOVEDIR).map_err(fail)
    }

    /// The version of the root's dpkg, without its revision: what dpkg exports to scripts.
    fn dpkg_version(&self) -> &str {
        let version = self
            .summaries
            .iter()
            .find(|summary| summary.identity.name == "dpkg")
            .map_or("1.21.0", |summary| summary.identity.version.as_str());
        let end = version.find(|c: char| c != '.' && !c.is_ascii_digit());
        &version[..end.unwrap_or(version.len())]
    }

    fn run(
        &self,
        argv: &[&str],
        extra: &[(&str, &str)],
        runner: &mut dyn RunInRoot,
    ) -> Result<(), Error> {
        let epoch = self.plan.source_date_epoch.to_string();
        let base = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("LANG", "C.UTF-8"),
            ("LANGUAGE", "C.UTF-8"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
            ("SOURCE_DATE_EPOCH", &epoch),
        ];
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let command = Command {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: base.iter().chain(extra).map(own).collect(),
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
