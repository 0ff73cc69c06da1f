//! Buildroots: named, persistent, writable roots; their lifecycle, sessions, files in and out.
//!
//! A buildroot is a base layer and one upper directory above it; between them lies a small layer
//! with the session's own files (hosts, resolver, policy), which is never exported. Whoever opens
//! one holds its lock, which dies with its holder. Where overlays cannot be mounted the buildroot
//! is a copy of its base.

pub(crate) mod aside;
mod asked;
mod base;
mod export;
mod files;
mod flatten;
mod furnish;
mod image;
mod import;
mod limit;
mod list;
mod opened;
mod packages;
mod remove;
mod session;
mod snapshot;
mod stdio;
mod transfer;
mod uses;

pub use asked::{Asked, Content};
pub use base::{Base, BaseOrigin, Lower, Storage};
pub use export::{Compression, ExportOptions, Form};
pub(crate) use files::{POLICY as POLICY_FILE, policy};
pub(crate) use flatten::{CROSSING, announce, is_of_layers};
pub(crate) use import::open_regular;
pub use list::{ListedBuildroot, ListedLayer, Listing};
pub use remove::Scrub;
pub use session::{Attached, Exit, Process, Run, Session, SessionOptions};
pub use snapshot::Snapshot;
pub use stdio::{Stdio, output_pipe};

use crate::config::{Config, IsolationMode};
use crate::error::{Error, ErrorKind, Result};
use crate::host;
use crate::operation::Scope;
use crate::store::{Held, Places, Zone, ZoneOptions, layer};
use debmock_helper::protocol::{Bind, IdMap, Mode, Place, Program, Tree, bytes};
use opened::{Entry, Opened};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};

/// Who holds a session that only one call has: that call.
const ITS_OWN: usize = 1;

/// What is not in the config.
#[derive(Debug, Clone, Default)]
pub struct BuildrootOptions {
    /// Tells several buildroots of one config apart.
    pub uniqueext: Option<String>,
    /// The helper; found by itself if not given.
    pub helper: Option<Program>,
    /// Where the store lies; the caller's own places if not given.
    pub places: Option<Places>,
}

/// How to open a session.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    /// The host's resolver configuration is visible; a command gets the host's network only if it
    /// asks for it too ([`Run::network`]).
    pub network: bool,
}

/// How a session of the whole root is opened.
#[derive(Debug, Clone, Copy, Default)]
struct Opening {
    access: Access,
    /// Whether other processes may enter it.
    door: bool,
    /// Bytes of memory for what is changed; 0 for the disk.
    memory: u64,
}

/// A named, persistent, writable root.
#[derive(Debug)]
pub struct Buildroot {
    config: Config,
    name: String,
    zone: Arc<Zone>,
    open: Opened<Session>,
    /// The session of a build in memory, until it is known what becomes of its root.
    building: Mutex<Option<Arc<Session>>>,
    owner: u32,
}

impl Buildroot {
    /// The buildroot of `config`, whether it exists already or not. Starts a helper, which lives
    /// as long as the value.
    ///
    /// # Errors
    /// [`ErrorKind::Isolation`] if this machine or user cannot have the isolation mode,
    /// [`ErrorKind::Helper`] if there is no helper, [`ErrorKind::Usage`] for a bad `uniqueext`.
    pub fn new(config: Config, options: &BuildrootOptions) -> Result<Self> {
        let mut name = config.name.clone();
        let reserved = [debmock_helper::store::TRASH, debmock_helper::store::LOCKS];
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+~".contains(c);
        if let Some(ext) = &options.uniqueext {
            // A script whose variable is empty means another root than the one without a name.
            if !ext.chars().all(plain) || !ext.contains(|c: char| c.is_ascii_alphanumeric()) {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("{ext:?} cannot tell a buildroot of {name} from others (--uniqueext)"),
                )
                .with_hint("use letters, digits, and - _ . + ~, at least one letter or digit"));
            }
            name = format!("{name}-{ext}");
        }
        if !name.chars().all(plain)
            || name.starts_with('.')
            || name.len() > 200
            || reserved.contains(&name.as_str())
        {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("{name:?} cannot be the name of a buildroot"),
            )
            .with_hint(
                "use letters, digits, and - _ . + ~, and neither `trash` nor `locks` alone",
            ));
        }
        let zone = Arc::new(open_zone(&config, options)?);
        let owner = std::process::id();
        let building = Mutex::new(None);
        Ok(Buildroot { config, name, zone, open: Opened::new(), building, owner })
    }

    /// Its config.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its name: that of the config and the extension.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part of the store that it lives in.
    pub fn zone(&self) -> &Arc<Zone> {
        &self.zone
    }

    fn place(&self, below: &str) -> Place {
        Place::root(format!("{}/{below}", self.name))
    }

    /// Makes the buildroot unless it exists: resolves and makes its base layer.
    ///
    /// # Errors
    /// [`ErrorKind::Buildroot`] if it exists, was changed, and was made of something else than the
    /// config asks for now; [`ErrorKind::Locked`], and those of the archives and of bootstrap.
    pub fn init(&self, scope: &Scope) -> Result<()> {
        self.check_fork()?;
        if self.current(scope)?.is_some() {
            return Ok(());
        }
        let lock = self.lock(scope)?;
        self.provide(&lock, scope)?;
        self.keep_limits(scope);
        Ok(())
    }

    /// Whether it has been made.
    pub fn exists(&self) -> Result<bool> {
        Ok(self.base()?.is_some())
    }

    /// An open session: the one that this value has already, that of another process of the same
    /// user, which it enters, or a new one. Makes the buildroot if it does not exist. Waits for
    /// other processes that use it otherwise, and for other threads that open it.
    ///
    /// A session that is entered ends with its owner ([`Session::holder`]). It has the resolver
    /// configuration that its owner asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] when the config's time to wait has run out, [`ErrorKind::Busy`] if the
    /// one that is open lacks what `access` asks for, and those of [`Buildroot::init`].
    pub fn session(&self, access: Access, scope: &Scope) -> Result<Arc<Session>> {
        self.check_fork()?;
        let turn = match self.open.enter(&self.name, scope)? {
            Entry::Open(session, resolver) => {
                return match access.network && !resolver {
                    true => Err(self.lacks_network()),
                    false => Ok(session),
                };
            }
            Entry::Turn(turn) => turn,
        };
        let limit = self.config.lock_timeout;
        let home = || Place::root(self.name.clone());
        let enter = |holder: &str| Session::enter(&self.zone, home(), holder, scope);
        let session = match self.zone.lock_unless(&self.name, true, limit, scope, enter)? {
            Ok(lock) => {
                self.open_root(&Arc::new(lock), Opening { access, door: true, memory: 0 }, scope)?
            }
            Err(session) => {
                warn_of_names(&session, access, scope);
                session
            }
        };
        let session = Arc::new(session);
        turn.end(&session, access.network);
        Ok(session)
    }

    fn lacks_network(&self) -> Error {
        let what = format!("a session without network is open on the buildroot {}", self.name);
        Error::new(ErrorKind::Busy, what)
            .with_hint("close it first, or open the first session with the network already")
    }

    /// As [`Buildroot::session`], for work that needs the root for itself: no other process's
    /// session, and no other process in this one if it is a new one.
    fn own_session(&self, scope: &Scope) -> Result<Arc<Session>> {
        self.check_fork()?;
        let turn = match self.open.enter(&self.name, scope)? {
            Entry::Open(session, _) => {
                self.refuse_if_entered(&session)?;
                return Ok(session);
            }
            Entry::Turn(turn) => turn,
        };
        let lock = Arc::new(self.lock(scope)?);
        let session = Arc::new(self.open_root(&lock, Opening::default(), scope)?);
        turn.end(&session, false);
        Ok(session)
    }

    /// Fails for a session of another process.
    fn refuse_if_entered(&self, session: &Session) -> Result<()> {
        let Some(holder) = session.holder() else { return Ok(()) };
        let message = format!(
            "the session that is open on the buildroot {} belongs to {holder}: packages are \
             changed and built by that one alone",
            self.name
        );
        Err(Error::new(ErrorKind::Busy, message)
            .with_hint("close the session, and this waits until the other one has ended"))
    }

    /// As [`Buildroot::own_session`], on a root without changes; new ones are in memory, of that
    /// many bytes, or with 0 on the disk. Nobody gets in between.
    fn fresh_session(&self, memory: u64, scope: &Scope) -> Result<Arc<Session>> {
        let turn = self.open.turn(&self.name, scope)?;
        let lock = self.lock(scope)?;
        self.start_over(&lock, scope)?;
        let opening = Opening { memory, ..Opening::default() };
        let session = Arc::new(self.open_root(&Arc::new(lock), opening, scope)?);
        turn.end(&session, false);
        Ok(session)
    }

    fn open_root(&self, lock: &Arc<Held>, opening: Opening, scope: &Scope) -> Result<Session> {
        let base = self.provide(lock, scope)?;
        self.open_recorded(&base, opening, vec![Arc::clone(lock)], scope)
    }

    /// Opens the root, which stands on `base`.
    fn open_recorded(
        &self,
        base: &Base,
        opening: Opening,
        locks: Vec<Arc<Held>>,
        scope: &Scope,
    ) -> Result<Session> {
        base.layers().for_each(|key| layer::note_use(&self.zone, key));
        let tree = match base.storage {
            Storage::Overlay => Tree::Overlay {
                lower: self.stack(base),
                upper: Some(Place::root(self.name.clone())),
            },
            Storage::Copy => Tree::Directory { place: self.place("tree"), writable: true },
        };
        self.open_tree(tree, opening, locks, scope)
            .map_err(|error| self.explain_missing(error, base))
    }

    /// Tells a layer that is gone, such as after somebody emptied the cache, from other
    /// failures.
    fn explain_missing(&self, error: Error, base: &Base) -> Error {
        let gone = |key: &&str| {
            let record = Place::layer(format!("{key}/layer.json"));
            matches!(self.zone.read(record), Ok(None))
        };
        let Some(layer) = base.layers().find(gone).filter(|_| base.storage == Storage::Overlay)
        else {
            return error;
        };
        Error::new(
            ErrorKind::Buildroot,
            format!("the layer {layer} of the buildroot {} is gone from the store", self.name),
        )
        .with_source(error)
        .with_hint(
            "drop what was changed in it with `debmock clean`; its layers are made again then",
        )
    }

    /// A session in which a layer is made that others share: nothing is in it that its key does
    /// not name, no directory of the host and no host name of a config.
    fn open_for_layer(&self, tree: Tree, scope: &Scope) -> Result<Session> {
        self.check_limits(scope)?;
        let options = SessionOptions {
            tree,
            files: files::session_files(crate::bootstrap::HOSTNAME, false)?,
            hostname: crate::bootstrap::HOSTNAME.to_owned(),
            binds: Vec::new(),
            accept_weak: self.config.isolation.accept_weak,
            linux32: self.config.architecture.is_32_bit_here(),
            home: None,
            memory: 0,
        };
        Session::open(&self.zone, options, Vec::new(), scope)
    }

    fn open_tree(
        &self,
        tree: Tree,
        opening: Opening,
        locks: Vec<Arc<Held>>,
        scope: &Scope,
    ) -> Result<Session> {
        self.check_limits(scope)?;
        let isolation = &self.config.isolation;
        let binds = isolation.binds.iter().zip(0..).map(|(bind, number)| Bind {
            number,
            target: bytes(bind.inside.as_os_str().as_bytes()),
            writable: !bind.read_only,
        });
        let options = SessionOptions {
            tree,
            files: files::session_files(&isolation.hostname, opening.access.network)?,
            hostname: isolation.hostname.clone(),
            binds: binds.collect(),
            accept_weak: isolation.accept_weak,
            linux32: self.config.architecture.is_32_bit_here(),
            home: opening.door.then(|| Place::root(self.name.clone())),
            memory: opening.memory,
        };
        Session::open(&self.zone, options, locks, scope)
    }

    /// Limits of a session are not enforced yet: a config that has some is told so.
    fn check_limits(&self, scope: &Scope) -> Result<()> {
        let limits = &self.config.limits;
        let set = [
            ("limits.memory", limits.memory.is_some()),
            ("limits.processes", limits.processes.is_some()),
            ("limits.cpus", limits.cpus.is_some()),
            ("limits.disk", limits.disk.is_some()),
        ];
        let Some((key, _)) = set.iter().find(|(_, set)| *set) else { return Ok(()) };
        let message = format!("this version of debmock cannot enforce {key}");
        if limits.required {
            return Err(Error::new(ErrorKind::Isolation, message).with_hint(
                "remove the limit, or set limits.required = false to go on without it",
            ));
        }
        scope.warn(message, None);
        Ok(())
    }

    /// The lock of the whole buildroot.
    fn lock(&self, scope: &Scope) -> Result<Held> {
        self.check_fork()?;
        self.zone.lock(&self.name, true, self.config.lock_timeout, scope)
    }

    /// The session that this value has open; waits for another thread that opens one.
    fn current(&self, scope: &Scope) -> Result<Option<Arc<Session>>> {
        self.open.current(&self.name, scope)
    }

    /// Fails at once if this value has a session open, or another thread is opening one.
    fn refuse_if_open(&self, doing: &str) -> Result<()> {
        self.check_fork()?;
        match self.open.is_busy() {
            false => Ok(()),
            true => Err(self.is_open(doing)),
        }
    }

    fn is_open(&self, doing: &str) -> Error {
        Error::new(
            ErrorKind::Busy,
            format!("cannot {doing} the buildroot {} while a session is open on it", self.name),
        )
        .with_hint("close the session first")
    }

    fn check_fork(&self) -> Result<()> {
        if self.owner == std::process::id() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Forked,
            format!("the buildroot {} was opened by process {}", self.name, self.owner),
        )
        .with_hint("open a buildroot of its own in the forked process"))
    }
}

/// A session has the resolver configuration that its owner asked for.
fn warn_of_names(session: &Session, access: Access, scope: &Scope) {
    const MOST: u64 = 64 * 1024;
    let resolves = || match session.read_file("/etc/resolv.conf", MOST) {
        Ok(text) => String::from_utf8_lossy(&text).contains("nameserver"),
        Err(_) => false,
    };
    if access.network && !resolves() {
        scope.warn(
            "the session that was entered was opened without network: names of hosts are not \
             resolved in it",
            Some("open it with network, as the first one to do so".into()),
        );
    }
}

fn open_zone(config: &Config, options: &BuildrootOptions) -> Result<Zone> {
    let (mode, ids) = match config.isolation.mode {
        IsolationMode::Simple => (Mode::Simple, IdMap { uid: 0, gid: 0, count: u32::MAX }),
        IsolationMode::Auto | IsolationMode::Userns => {
            let range = (config.isolation.root_ids.base, config.isolation.root_ids.count);
            (Mode::Userns, host::choose_range(range)?.ids())
        }
    };
    let places = match &options.places {
        Some(places) => places.clone(),
        None => Places { cache: crate::config::cache_dir()?, state: crate::config::state_dir()? },
    };
    let zone = ZoneOptions {
        places,
        mode,
        ids,
        program: host::find_helper(options.helper.as_ref())?,
        binds: config.isolation.binds.iter().map(|bind| bind.host.clone()).collect(),
    };
    Zone::open(&zone).map_err(host::explain)
}
