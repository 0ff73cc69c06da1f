//! What apt gets to see during one call, and what is taken away again afterwards.
//!
//! ```text
//! /run/debmock-apt/apt.conf        our settings; read last, so the root's own cannot undo them
//! /run/debmock-apt/sources.list    the archives whose index files are mounted
//! /run/debmock-apt/archives        package files of the store, read-only; when applying
//! /run/debmock-apt/NAME.deb        the package that carries dependencies; when resolving
//! /run/debmock-apt/cache           apt's cache of the index files, from the store or for it
//! /run/debmock-apt/order           an index of what was chosen, for the order of it
//! /var/lib/apt/lists               index files of the store, read-only, over the root's own
//! ```

use super::caches::{Cache, FILE};
use super::{Apt, DUMMY};
use crate::archive::state::sources_list;
use crate::buildroot::{Attached, Exit};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use crate::store::used::Use;
use debmock_helper::protocol::{Area, Place};
use std::collections::BTreeSet;

const FOLDER: &str = "/run/debmock-apt";

/// Our settings, `apt.conf(5)`.
///
/// - Without locks: the directories of index and package files cannot be written, and a session
///   is used by one operation at a time.
/// - `Dir::Log`: apt would write a protocol of each decision.
/// - `Pre-Install-Pkgs`: debconf would ask its questions ahead, of a user who is not there.
/// - Files of packages are not fetched, so there is no unprivileged user who must read them.
const SETTINGS: &str = r#"APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Get::Assume-Yes "true";
APT::Get::Show-User-Simulation-Note "false";
APT::Keep-Downloaded-Packages "true";
APT::Sandbox::User "root";
APT::Color "false";
Acquire::Languages "none";
Acquire::ForceHash "SHA256";
Debug::NoLocking "true";
Dir::Cache::Archives "/run/debmock-apt/archives/";
Dir::Etc::SourceList "/run/debmock-apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Log::Planner "";
Dir::Log::Solver "";
Dpkg::Use-Pty "false";
Dpkg::Progress-Fancy "false";
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
DPkg::Options:: "--force-confold";
DPkg::Options:: "--force-confdef";
quiet "1";
"#;

/// What our settings are, for keys.
pub(super) fn identity() -> Vec<u8> {
    SETTINGS.as_bytes().to_vec()
}

/// apt is ready to be called. Dropping it takes everything away again.
pub(super) struct Ready<'a> {
    apt: &'a Apt<'a>,
    cache: Option<Cache>,
    /// What is mounted.
    attached: Vec<Attached<'a>>,
    /// Nobody empties what is mounted.
    _used: Use,
}

/// Lays out what apt needs.
pub(super) fn prepare<'a>(apt: &'a Apt<'a>, scope: &Scope) -> Result<Ready<'a>> {
    scope.check()?;
    let session = apt.session;
    session.remove(FOLDER)?;
    let folder = format!("{FOLDER}/cache");
    let mut cache = Cache::of(apt);
    let mut attached = Vec::new();
    match cache.as_ref().map(Cache::place) {
        None => {}
        Some(None) => session.make_directory(&folder, 0o755, (0, 0))?,
        Some(Some(place)) => match session.attach(place, &folder) {
            Ok(mount) => attached.push(mount),
            // Somebody has removed it this moment.
            Err(_) => cache = None,
        },
    }
    let mut settings = SETTINGS.to_owned();
    if cache.is_some() {
        // One is enough: it would make the other of it and write that each time.
        let own = format!("Dir::Cache::srcpkgcache \"{folder}/{FILE}\";\n");
        settings += &(own + "Dir::Cache::pkgcache \"\";\n");
    }
    session.write_text(&format!("{FOLDER}/apt.conf"), settings.as_bytes(), 0o644)?;
    let sources = sources_list(apt.archive);
    session.write_text(&format!("{FOLDER}/sources.list"), sources.as_bytes(), 0o644)?;
    session.make_directory(&format!("{FOLDER}/archives/partial"), 0o755, (0, 0))?;
    let lists = &apt.archive.lists;
    let used = Use::shared(lists).doing(|| format!("cannot use {}", lists.display()))?;
    let place = Place { area: Area::Lists, path: apt.archive.digest.to_string() };
    attached.push(session.attach(place, "/var/lib/apt/lists")?);
    Ok(Ready { apt, cache, attached, _used: used })
}

impl<'a> Ready<'a> {
    /// Puts the package that carries dependencies where apt finds it; its path.
    pub(super) fn dummy(&self, deb: &[u8]) -> Result<String> {
        let path = format!("{FOLDER}/{DUMMY}.deb");
        self.apt.session.write_text(&path, deb, 0o644)?;
        Ok(path)
    }

    /// Puts an index of the chosen packages where apt finds it; the settings with which apt knows
    /// these and those that are installed, and no others.
    pub(super) fn chosen(&self, index: &[u8]) -> Result<Vec<String>> {
        let session = self.apt.session;
        // As apt calls the index of the archive below.
        session.write_text(&format!("{FOLDER}/order/_debmock_._Packages"), index, 0o644)?;
        let source = b"deb [trusted=yes] file:/debmock ./\n";
        session.write_text(&format!("{FOLDER}/order.list"), source, 0o644)?;
        let settings = [
            format!("-oDir::State::Lists={FOLDER}/order/"),
            format!("-oDir::Etc::SourceList={FOLDER}/order.list"),
            "-oDir::Cache::pkgcache=".to_owned(),
            "-oDir::Cache::srcpkgcache=".to_owned(),
        ];
        Ok(settings.into())
    }

    /// Keeps the cache that apt has made of the index files, if it is wanted.
    pub(super) fn keep_cache(&self) {
        if let Some(cache) = &self.cache {
            cache.keep(self.apt.session, &format!("{FOLDER}/cache/{FILE}"));
        }
    }

    /// Mounts a set of package files where apt looks for them.
    pub(super) fn archives(&self, place: Place) -> Result<Attached<'a>> {
        self.apt.session.attach(place, &format!("{FOLDER}/archives"))
    }

    /// Lists apt's settings, ours included.
    pub(super) fn apt_config(
        &self,
        scope: &Scope,
        sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Exit> {
        let config = format!("-c={FOLDER}/apt.conf");
        let run = self.apt.run(&["apt-config", &config, "dump"]);
        self.apt.session.run(&run, scope, sink).map_err(broken)
    }

    /// Tells apt that these packages are wanted for themselves.
    ///
    /// # Errors
    /// [`ErrorKind::Buildroot`](crate::ErrorKind::Buildroot) with what apt says.
    pub(super) fn mark_manual(&self, names: &BTreeSet<String>, scope: &Scope) -> Result<()> {
        let config = format!("-c={FOLDER}/apt.conf");
        let mut argv = vec!["apt-mark", &config, "manual"];
        argv.extend(names.iter().map(String::as_str));
        let run = self.apt.run(&argv);
        let (exit, said) = self.apt.session.output(&run, 1 << 16, scope).map_err(broken)?;
        if exit.status == Some(0) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        Err(Error::new(ErrorKind::Buildroot, format!("apt-mark failed in the root: {said}")))
    }

    /// Runs apt-get with our settings.
    pub(super) fn apt_get(
        &self,
        arguments: &[String],
        scope: &Scope,
        sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Exit> {
        let config = format!("-c={FOLDER}/apt.conf");
        let mut argv = vec!["apt-get", &config];
        argv.extend(arguments.iter().map(String::as_str));
        self.apt.session.run(&self.apt.run(&argv), scope, sink).map_err(broken)
    }
}

/// What to say of a program that cannot be run in a root: that lacks what every root has, or what
/// `packages.variant` left out.
pub(crate) fn broken(error: Error) -> Error {
    if error.kind() == ErrorKind::Exec { damaged(error) } else { error }
}

/// The same for whatever a root must have.
pub(super) fn damaged(error: Error) -> Error {
    error
        .context("the root is damaged, or lacks what this needs")
        .with_kind(ErrorKind::Buildroot)
        .or_hint(
            "`debmock clean` drops what was changed in it and begins anew; to install packages and \
             to build, it needs another `packages.variant` than \"essential\"",
        )
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        // What is mounted in the directory would keep it there.
        self.attached.clear();
        // A session that has ended has nothing left to take away.
        let _ = self.apt.session.remove(FOLDER);
    }
}
