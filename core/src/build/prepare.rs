//! The build directory: made, filled, unpacked.

use super::failure::of_full_disk;
use super::tree::NOT_SOURCE;
use super::user::{BuildUser, must};
use super::{RebuildOptions, Source, Workshop, binnmu};
use crate::apt::{Plan, broken};
use crate::archive::version::Version;
use crate::buildroot::{Exit, Run, Session};
use crate::config;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use crate::state::LogFile;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsFd;

/// A build in its directory.
pub(super) struct Build<'a> {
    pub(super) workshop: &'a Workshop<'a>,
    pub(super) options: &'a RebuildOptions,
    /// The version of the packages.
    pub(super) version: Version,
    /// Where source files and results lie.
    pub(super) folder: String,
    /// Where the source is unpacked.
    pub(super) tree: String,
}

/// The build directory of a config.
pub(super) fn folder(config: &config::Build) -> String {
    config.path.to_string_lossy().trim_end_matches('/').to_owned()
}

/// What has to be known before packages are installed: in a root for builds nobody reads
/// manuals, and their database takes longer than the rest.
pub(super) fn before_packages(
    session: &Session,
    plan: &Plan,
    log: &LogFile,
    scope: &Scope,
) -> Result<()> {
    if plan.install.iter().all(|package| package.name != "man-db") {
        return Ok(());
    }
    let script = "echo man-db man-db/auto-update boolean false | debconf-set-selections";
    must(session, &["sh", "-c", script], log, scope)
}

/// The version of the packages that come out.
pub(super) fn build_version(options: &RebuildOptions, source: &Source) -> Result<Version> {
    match &options.binnmu {
        Some(binnmu) => binnmu::version(&source.version, binnmu.number),
        None => Ok(source.version.clone()),
    }
}

/// The source cannot be used; the end of the log says why.
fn unusable(what: String, log: &LogFile) -> Error {
    let error = Error::new(ErrorKind::Source, what).with_source(log.tail(3).join("; "));
    of_full_disk(error, log)
}

impl<'a> Build<'a> {
    pub(super) fn new(
        workshop: &'a Workshop<'a>,
        options: &'a RebuildOptions,
        source: &Source,
    ) -> Result<Self> {
        let version = build_version(options, source)?;
        let folder = folder(workshop.config);
        let tree = format!("{folder}/{}-{}", source.name, version.upstream());
        Ok(Build { workshop, options, version, folder, tree })
    }

    /// Makes the build directory and puts the source there: the files of a source package, or an
    /// unpacked source.
    pub(super) fn lay_out(
        &self,
        source: &Source,
        user: &BuildUser,
        log: &LogFile,
        scope: &Scope,
    ) -> Result<()> {
        let session = self.workshop.session;
        session.remove(&self.folder)?;
        session.make_directory(&self.folder, 0o2770, user.owner())?;
        for file in &source.files {
            let content =
                File::open(&file.path).doing(|| format!("cannot open {}", file.path.display()))?;
            let path = format!("{}/{}", self.folder, file.name);
            session.put_file(&path, content.as_fd(), 0o644, user.owner(), scope)?;
        }
        let Some(directory) = &source.directory else { return Ok(()) };
        session.copy_in_without(directory, &self.tree, NOT_SOURCE, scope)?;
        let name = &self.workshop.config.user;
        let owner = format!("{name}:{name}");
        must(session, &["chown", "-R", "-h", &owner, &self.tree], log, scope)
    }

    /// Makes a source package of an unpacked source, and describes it. The unpacked source is
    /// removed: what is built is what the package has.
    pub(super) fn pack(&self, source: &mut Source, log: &LogFile, scope: &Scope) -> Result<()> {
        let session = self.workshop.session;
        let mut argv = vec!["dpkg-buildpackage", "--sanitize-env", "-us", "-uc", "-S"];
        let profiles = format!("-P{}", self.options.profiles(self.workshop.config).join(","));
        if profiles != "-P" {
            argv.push(&profiles);
        }
        // The other formats leave out what version control keeps without being asked.
        if !source.format.starts_with("3.0") {
            argv.extend(["-i", "-I"]);
        }
        let exit = self.logged(&argv, &self.tree, log, scope)?;
        let stem = format!("{}_{}", source.name, source.version.without_epoch());
        if exit.status != Some(0) {
            return Err(unusable(format!("no source package can be made of {}", self.tree), log));
        }
        for name in ["source.changes", "source.buildinfo"] {
            session.remove(&format!("{}/{stem}_{name}", self.folder))?;
        }
        session.remove(&self.tree)?;
        let dsc = format!("{stem}.dsc");
        let text = session.read_file(&format!("{}/{dsc}", self.folder), 4 * 1024 * 1024)?;
        source.describe(&dsc, &text)
    }

    /// Unpacks the source package in the build directory.
    pub(super) fn unpack(&self, source: &Source, log: &LogFile, scope: &Scope) -> Result<()> {
        let Some(dsc) = source.dsc() else { return Ok(()) };
        let argv = ["dpkg-source", "-x", dsc, &self.tree];
        match self.logged(&argv, &self.folder, log, scope)?.status {
            Some(0) => Ok(()),
            _ => Err(unusable(format!("{dsc} cannot be unpacked"), log)),
        }
    }

    /// Gives the unpacked source the modes that builds find.
    pub(super) fn set_modes(&self, log: &LogFile, scope: &Scope) -> Result<()> {
        // The set-group-id bit of the build directory is not the source's affair; only the build
        // user may write; and what `debian/files` names would be taken for results. The build user
        // does it: root does not walk through what somebody else made.
        let script =
            "chmod -R g-s,go+rX \"$1\" && chmod -R go-w \"$2\" && rm -f \"$1/debian/files\"";
        let run = self.as_user(&["sh", "-c", script, "sh", &self.tree, &self.folder], "/");
        let exit =
            self.workshop.session.run(&run, scope, |line| log.line(scope, line)).map_err(broken)?;
        match exit.status {
            Some(0) => Ok(()),
            _ => Err(unusable(format!("the modes of {} cannot be set", self.tree), log)),
        }
    }

    /// Runs a program as the build user; its command line and what it prints go to `log`.
    fn logged(&self, argv: &[&str], directory: &str, log: &LogFile, scope: &Scope) -> Result<Exit> {
        let run = self.as_user(argv, directory);
        log.line(scope, format!("Command: {}", run.words()))?;
        self.workshop.session.run(&run, scope, |line| log.line(scope, line)).map_err(broken)
    }

    /// The changelog must be of the version that is to be built; a binNMU gets its entry.
    pub(super) fn check_changelog(&self, source: &Source, user: &BuildUser) -> Result<()> {
        let session = self.workshop.session;
        let path = format!("{}/debian/changelog", self.tree);
        let bytes = session.read_file(&path, 64 * 1024 * 1024).map_err(|error| {
            error.with_kind(ErrorKind::Source).context("the source has no usable debian/changelog")
        })?;
        let text = String::from_utf8_lossy(&bytes);
        // Anything else is an unusual format, of which dpkg may know more.
        if let Some((name, version)) = title(&text)
            && (name, version) != (source.name.as_str(), source.version.as_str())
        {
            return Err(Error::new(
                ErrorKind::Source,
                format!(
                    "debian/changelog is of {name} {version}, not of {} {}",
                    source.name, source.version
                ),
            )
            .with_hint("the source package is damaged: get it again from where it was made"));
        }
        let Some(binnmu) = &self.options.binnmu else { return Ok(()) };
        let about = binnmu::About {
            name: &source.name,
            version: &self.version,
            distribution: self.options.dist.as_deref().unwrap_or(self.workshop.suite),
            architecture: &self.workshop.archive.architecture,
            maintainer: source.control.get("Maintainer").unwrap_or("debmock <debmock@localhost>"),
        };
        let entry = binnmu::entry(binnmu, &about, &text)?;
        let changed = in_memory(&[entry.as_bytes(), &bytes].concat())?;
        session.write_file(&path, changed.as_fd(), 0o644, user.owner())
    }

    /// Whether the source is built without root's rights, as dpkg sees it.
    pub(super) fn is_rootless(&self, scope: &Scope) -> Result<bool> {
        let run = self.as_user(&["dpkg-buildtree", "is-rootless"], &self.tree);
        let exit = self.workshop.session.run(&run, scope, |_| Ok(()))?;
        Ok(exit.status == Some(0))
    }

    /// A program run as the build user, in the environment of builds.
    pub(super) fn as_user(&self, argv: &[&str], directory: &str) -> Run {
        let name = &self.workshop.config.user;
        let pairs = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games"),
            ("LC_ALL", "C.UTF-8"),
            ("HOME", "/sbuild-nonexistent"),
            ("SHELL", "/bin/sh"),
            ("USER", name),
            ("LOGNAME", name),
        ];
        let mut run = Run::new(argv);
        run.environment = pairs.map(|(name, value)| (name.into(), value.into())).to_vec();
        run.user = name.clone();
        run.directory = directory.to_owned();
        run
    }
}

/// Name and version of the topmost changelog entry (Policy section 4.4).
pub(super) fn title(changelog: &str) -> Option<(&str, &str)> {
    let line = changelog.lines().find(|line| !line.trim().is_empty())?;
    let (name, rest) = line.split_once(" (")?;
    let (version, _) = rest.split_once(')')?;
    Some((name.trim(), version.trim()))
}

/// A file in memory with this content.
fn in_memory(content: &[u8]) -> Result<File> {
    let doing = || "cannot make a file in memory".to_owned();
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("debmock", flags).doing(doing)?);
    file.write_all(content).doing(doing)?;
    file.seek(SeekFrom::Start(0)).doing(doing)?;
    Ok(file)
}
