//! The part of the store that belongs to one id map, reached through a helper.

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::event::What;
use crate::operation::Scope;
use debmock_helper::protocol::{
    Area, Bytes, Channel, Enter, Helper, IdMap, Lock, Mode, Place, Program, Reply, Request,
    StoreCall, bytes, unexpected,
};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where things lie on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// What can be made again.
    pub cache: PathBuf,
    /// Buildroots.
    pub state: PathBuf,
}

/// How to open a zone.
#[derive(Debug, Clone)]
pub struct ZoneOptions {
    /// Where the store lies.
    pub places: Places,
    /// Isolation mode.
    pub mode: Mode,
    /// Ids of the roots; ignored in [`Mode::Simple`].
    pub ids: IdMap,
    /// The helper.
    pub program: Program,
    /// Host paths that sessions may bind.
    pub binds: Vec<PathBuf>,
}

/// A helper that has taken on the identity of the roots, and what it can do with the store.
#[derive(Debug)]
pub struct Zone {
    helper: Helper,
    places: Places,
    mode: Mode,
}

/// A lock; dropping it releases it.
#[must_use = "a lock that is dropped at once protects nothing"]
#[derive(Debug)]
pub struct Held {
    _channel: Channel,
}

impl Zone {
    /// Starts a helper and lets it enter the zone, whose directories are made if they are missing.
    pub fn open(options: &ZoneOptions) -> Result<Self> {
        let name = zone_name(options.mode, options.ids);
        let places = &options.places;
        let layers = places.cache.join("layers/v1");
        let roots = places.state.join("roots/v1");
        let (lists, debs) = (places.cache.join("lists/v1"), places.cache.join("debs/v1"));
        let variables = "set DEBMOCK_CACHE_DIR and DEBMOCK_STATE_DIR to directories that this user may write to";
        for top in [&places.cache, &places.state] {
            make_private(top).map_err(|error| error.or_hint(variables))?;
        }
        for folder in [&layers, &roots, &lists, &debs] {
            make_readable(folder).map_err(|error| error.or_hint(variables))?;
        }
        let areas = [
            (Area::Layers, layers.join(&name)),
            (Area::Roots, roots.join(&name)),
            (Area::Lists, lists),
            (Area::Debs, debs),
        ];
        let encode = |path: &Path| bytes(path.as_os_str().as_bytes());
        let enter = Enter {
            mode: options.mode,
            ids: options.ids,
            areas: areas.iter().map(|(area, path)| (*area, encode(path))).collect(),
            binds: options.binds.iter().map(|path| encode(path)).collect(),
        };
        // Whatever is wrong with the program itself shows at the first words.
        let unfit = |error: Error| match error.kind() {
            ErrorKind::Helper => {
                let path = options.program.path.display();
                error
                    .or_hint("install library and helper of the same build, or set DEBMOCK_HELPER")
                    .context(format!("cannot work with the helper {path}"))
            }
            _ => error,
        };
        let helper = Helper::start(&options.program).map_err(|error| unfit(error.into()))?;
        helper
            .request(&Request::Enter(enter), &[])
            .and_then(|channel| channel.done())
            .map_err(|error| unfit(error.into()))?;
        Ok(Zone { helper, places: places.clone(), mode: options.mode })
    }

    /// Where the store lies.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Isolation mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The helper, for requests that open sessions.
    pub(crate) fn helper(&self) -> &Helper {
        &self.helper
    }

    fn call(&self, call: StoreCall) -> Result<Channel> {
        Ok(self.helper.request(&Request::Store(call), &[])?)
    }

    /// Makes a directory and its parents.
    pub fn make_directory(&self, place: Place) -> Result<()> {
        Ok(self.call(StoreCall::MakeDirectory(place))?.done()?)
    }

    /// Renames; fails if the new place is taken.
    pub fn rename(&self, from: Place, to: Place) -> Result<()> {
        Ok(self.call(StoreCall::Rename { from, to })?.done()?)
    }

    /// Deletes a tree; its place is free at once.
    pub fn remove(&self, place: Place, scope: &Scope) -> Result<()> {
        let channel = self.call(StoreCall::Remove(place))?;
        wait(&channel, scope)?;
        Ok(())
    }

    /// Copies a tree, for machines that cannot mount overlays.
    pub fn copy(&self, from: Place, to: Place, scope: &Scope) -> Result<()> {
        let channel = self.call(StoreCall::Copy { from, to })?;
        wait(&channel, scope)?;
        Ok(())
    }

    /// Bytes on disk below a place.
    pub fn usage(&self, place: Place, scope: &Scope) -> Result<u64> {
        match wait(&self.call(StoreCall::Usage(place))?, scope)? {
            Reply::Number(bytes) => Ok(bytes),
            other => Err(unexpected(&other).into()),
        }
    }

    /// Names in a directory, sorted; a missing one has none.
    pub fn list(&self, place: Place) -> Result<Vec<String>> {
        let channel = self.call(StoreCall::List(place))?;
        let mut all = Vec::new();
        loop {
            match channel.reply()?.0 {
                Reply::Names(names) => all.extend(names),
                Reply::Done => return Ok(all),
                other => return Err(unexpected(&other).into()),
            }
        }
    }

    /// Content of a small file; `None` if it is missing.
    pub fn read(&self, place: Place) -> Result<Option<Vec<u8>>> {
        match self.call(StoreCall::Read(place))?.reply()?.0 {
            Reply::Content(content) => Ok(Some(content.into_vec())),
            Reply::Missing => Ok(None),
            other => Err(unexpected(&other).into()),
        }
    }

    /// Replaces a small file in one step.
    pub fn write(&self, place: Place, content: &[u8]) -> Result<()> {
        Ok(self.call(StoreCall::Write(place, Bytes::from(content.to_vec())))?.done()?)
    }

    /// Whether overlays can be mounted on this store; the error says why not.
    pub fn probe_overlay(&self) -> Result<()> {
        Ok(self.call(StoreCall::ProbeOverlay)?.done()?)
    }

    /// Takes a lock. Waits for other processes, with an event that says who holds it, until `limit`
    /// has passed; a limit of zero does not wait.
    pub fn lock(
        &self,
        name: &str,
        exclusive: bool,
        limit: Option<Duration>,
        scope: &Scope,
    ) -> Result<Held> {
        let holder = format!("process {} ({})", std::process::id(), program_name());
        let request = Lock {
            place: Place::root(format!("locks/{name}")),
            exclusive,
            now: limit.is_some_and(|limit| limit.is_zero()),
            holder,
        };
        let channel = self.helper.request(&Request::Lock(request), &[])?;
        let started = Instant::now();
        let mut known_holder = String::new();
        loop {
            scope.check()?;
            match channel.receive(Duration::from_millis(100))? {
                Some((Reply::Done, _)) => return Ok(Held { _channel: channel }),
                Some((Reply::Failed(failure), _)) => {
                    return Err(Error::from(failure)
                        .with_hint("wait until it has finished, or use --uniqueext for a buildroot of your own"));
                }
                Some((Reply::Waiting { holder }, _)) => {
                    scope.emit(What::Waiting { what: name.to_owned(), holder: holder.clone() });
                    known_holder = holder;
                }
                Some((other, _)) => return Err(unexpected(&other).into()),
                None => {}
            }
            if limit.is_some_and(|limit| started.elapsed() > limit) {
                return Err(Error::new(
                    ErrorKind::Locked,
                    format!("{name} is still in use by {known_holder}"),
                )
                .with_hint(
                    "wait until it has finished, or use --uniqueext for a buildroot of your own",
                ));
            }
        }
    }
}

/// Waits for the last reply of a request that may take long; cancelling drops it.
pub(crate) fn wait(channel: &Channel, scope: &Scope) -> Result<Reply> {
    loop {
        scope.check()?;
        match channel.receive(Duration::from_millis(100))? {
            Some((Reply::Failed(failure), _)) => return Err(failure.into()),
            Some((reply, _)) => return Ok(reply),
            None => {}
        }
    }
}

fn program_name() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().map_or_else(|| "unknown".into(), |name| name.to_string_lossy().into_owned())
}

/// Names the id map, so that a layer is never mounted under another one.
fn zone_name(mode: Mode, ids: IdMap) -> String {
    let text = match mode {
        Mode::Simple => "simple".to_owned(),
        Mode::Userns => format!("userns {} {} {}", ids.uid, ids.gid, ids.count),
    };
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The top directories are the caller's alone: trees below hold setuid programs of sub-ids.
fn make_private(path: &Path) -> Result<()> {
    let doing = || format!("cannot make the directory {}", path.display());
    if !path.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).doing(doing)?;
    }
    Ok(())
}

/// Directories below are readable through a descriptor by the roots' ids.
fn make_readable(path: &Path) -> Result<()> {
    let doing = || format!("cannot make the directory {}", path.display());
    if !path.is_dir() {
        fs::create_dir_all(path).doing(doing)?;
        for folder in [Some(path), path.parent()].into_iter().flatten() {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).doing(doing)?;
        }
    }
    Ok(())
}
