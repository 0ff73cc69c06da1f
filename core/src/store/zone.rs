//! The part of the store that belongs to one id map, reached through a helper.

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::event::{Unit, What};
use crate::operation::Scope;
use debmock_helper::protocol::{
    Area, Bytes, Channel, Enter, FailureKind, Helper, IdMap, Lock, Mode, Pack, Place, Program,
    Reply, Request, StoreCall, bytes, unexpected,
};
use debmock_helper::store::LOCKS;
use debmock_helper::unpack::hex;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Where things lie on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// What can be made again.
    pub cache: PathBuf,
    /// Buildroots.
    pub state: PathBuf,
}

/// Begins the names of layers' locks; those of buildroots have their names.
pub(crate) const LAYER_LOCK: &str = "layer.";

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
    name: String,
    /// Set once an overlay was mounted.
    overlays: OnceLock<()>,
}

/// Names that come in several messages, as many as they may be.
#[derive(Default)]
struct Names {
    names: Vec<String>,
    bytes: usize,
}

impl Names {
    /// Bytes of all names together, each counted with what it takes to hold it.
    const MOST: usize = 16 << 20;

    fn add(&mut self, names: Vec<String>, place: &Place) -> Result<()> {
        self.bytes += names.iter().map(|name| name.len() + size_of::<String>()).sum::<usize>();
        if self.bytes > Self::MOST {
            return Err(Error::new(
                ErrorKind::Store,
                format!("{} of the store has too many entries", place.path),
            )
            .with_hint("remove the store with `debmock scrub all`; it is made again"));
        }
        self.names.extend(names);
        Ok(())
    }
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
        for trees in [&layers, &roots] {
            guard(trees.parent().unwrap_or(trees))?;
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
        Ok(Zone {
            helper,
            places: places.clone(),
            mode: options.mode,
            name,
            overlays: OnceLock::new(),
        })
    }

    /// The directory of its buildroots.
    pub(crate) fn roots(&self) -> PathBuf {
        self.places.state.join("roots/v1").join(&self.name)
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
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::NoSpace`].
    pub fn make_directory(&self, place: Place) -> Result<()> {
        Ok(self.call(StoreCall::MakeDirectory(place))?.done()?)
    }

    /// Renames; fails if the new place is taken.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], also if the new place is taken; [`ErrorKind::NoSpace`].
    pub fn rename(&self, from: Place, to: Place) -> Result<()> {
        Ok(self.call(StoreCall::Rename { from, to })?.done()?)
    }

    /// Deletes a tree; its place is free at once.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] for what cannot be deleted, [`ErrorKind::Cancelled`].
    pub fn remove(&self, place: Place, scope: &Scope) -> Result<()> {
        let channel = self.call(StoreCall::Remove(place))?;
        wait(&channel, scope)?;
        Ok(())
    }

    /// Deletes a tree beside the work: its place is free when this returns. The deletion goes on
    /// after the end of this process; what is killed in the middle the next helper takes up. On a
    /// disk that is nearly full it is waited for.
    ///
    /// # Errors
    /// As [`Zone::remove`].
    pub fn discard(&self, place: Place, scope: &Scope) -> Result<()> {
        let channel = self.call(StoreCall::Discard(place))?;
        wait(&channel, scope)?;
        Ok(())
    }

    /// Deletes what was discarded and is not gone yet.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] for what cannot be deleted.
    pub fn empty_trash(&self, scope: &Scope) -> Result<()> {
        let channel = self.call(StoreCall::EmptyTrash)?;
        loop {
            match wait(&channel, scope)? {
                Reply::Number(done) => {
                    let (stage, unit) = ("delete".to_owned(), Unit::Files);
                    scope.emit(What::Progress { stage, done, total: None, unit });
                }
                Reply::Waiting { holder } => {
                    scope.emit(What::Waiting { what: "the trash of the store".into(), holder });
                }
                _ => return Ok(()),
            }
        }
    }

    /// Copies a tree, for machines that cannot mount overlays.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::NoSpace`], [`ErrorKind::Cancelled`]; what was copied by then stays.
    pub fn copy(&self, from: Place, to: Place, scope: &Scope) -> Result<()> {
        let channel = self.call(StoreCall::Copy { from, to })?;
        wait(&channel, scope)?;
        Ok(())
    }

    /// Makes the upper `to`, above `lower`, that shows the same as `upper` and whose directories can
    /// be renamed; `files` of a session lie between.
    ///
    /// # Errors
    /// As [`Zone::copy`].
    pub(crate) fn flatten(
        &self,
        lower: Vec<Place>,
        upper: Option<Place>,
        files: Vec<String>,
        to: Place,
        scope: &Scope,
    ) -> Result<()> {
        let channel = self.call(StoreCall::Flatten { lower, upper, files, to })?;
        wait(&channel, scope)?;
        Ok(())
    }

    /// Writes a tree as a tar stream to `output`; the last reply is the newest time in it.
    pub(crate) fn pack(&self, place: Place, pack: Pack, output: BorrowedFd<'_>) -> Result<Channel> {
        Ok(self.helper.request(&Request::Pack { place, pack }, &[output])?)
    }

    /// Bytes on disk below a place.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Cancelled`].
    pub fn usage(&self, place: Place, scope: &Scope) -> Result<u64> {
        match wait(&self.call(StoreCall::Usage(place))?, scope)? {
            Reply::Number(bytes) => Ok(bytes),
            other => Err(unexpected(&other).into()),
        }
    }

    /// Names in a directory, sorted; a missing one has none.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] for a directory with more names than anybody has buildroots or layers.
    pub fn list(&self, place: Place) -> Result<Vec<String>> {
        let channel = self.call(StoreCall::List(place.clone()))?;
        let mut all = Names::default();
        loop {
            match channel.reply()?.0 {
                Reply::Names(names) => all.add(names, &place)?,
                Reply::Done => return Ok(all.names),
                other => return Err(unexpected(&other).into()),
            }
        }
    }

    /// Content of a small file; `None` if it is missing.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; one too for a file that is larger than any of ours.
    pub fn read(&self, place: Place) -> Result<Option<Vec<u8>>> {
        match self.call(StoreCall::Read(place))?.reply()?.0 {
            Reply::Content(content) => Ok(Some(content.into_vec())),
            Reply::Missing => Ok(None),
            other => Err(unexpected(&other).into()),
        }
    }

    /// Replaces a small file in one step.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::NoSpace`]; the file is as before then.
    pub fn write(&self, place: Place, content: &[u8]) -> Result<()> {
        Ok(self.call(StoreCall::Write(place, Bytes::from(content.to_vec())))?.done()?)
    }

    /// Whether overlays can be mounted on this store; the error says why not.
    ///
    /// # Errors
    /// [`ErrorKind::Isolation`] with what the kernel refused.
    pub fn probe_overlay(&self) -> Result<()> {
        // Whoever could mount one can mount another.
        if self.overlays.get().is_none() {
            self.call(StoreCall::ProbeOverlay)?.done()?;
            let _ = self.overlays.set(());
        }
        Ok(())
    }

    /// Takes a lock. Waits for other processes, with an event that says who holds it, until `limit`
    /// has passed; a limit of zero does not wait.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] when `limit` has passed, [`ErrorKind::Cancelled`], [`ErrorKind::Io`] for a
    /// lock that cannot be made.
    pub fn lock(
        &self,
        name: &str,
        exclusive: bool,
        limit: Option<Duration>,
        scope: &Scope,
    ) -> Result<Held> {
        let taken = self.lock_unless(name, exclusive, limit, scope, |_| Ok(None::<Infallible>))?;
        match taken {
            Ok(held) => Ok(held),
            Err(never) => match never {},
        }
    }

    /// As [`Zone::lock`], unless `instead` has something better than to wait for whom it is told of.
    /// It is asked when somebody has the lock, and now and then as long as that is so.
    pub(crate) fn lock_unless<T>(
        &self,
        name: &str,
        exclusive: bool,
        limit: Option<Duration>,
        scope: &Scope,
        mut instead: impl FnMut(&str) -> Result<Option<T>>,
    ) -> Result<std::result::Result<Held, T>> {
        /// How often.
        const NOW_AND_THEN: Duration = Duration::from_millis(400);
        let holder = format!("process {} ({})", std::process::id(), program_name());
        // Whoever has the same layers has the same locks of them.
        let place = match name.starts_with(LAYER_LOCK) {
            true => Place::layer(format!("{LOCKS}/{name}")),
            false => Place::root(format!("{LOCKS}/{name}")),
        };
        let request =
            Lock { place, exclusive, now: limit.is_some_and(|limit| limit.is_zero()), holder };
        let channel = self.helper.request(&Request::Lock(request), &[])?;
        let started = Instant::now();
        let mut asked = started;
        let mut known_holder = String::new();
        loop {
            scope.check()?;
            match channel.receive(Duration::from_millis(100))? {
                Some((Reply::Done, _)) => return Ok(Ok(Held { _channel: channel })),
                Some((Reply::Failed(failure), _)) => {
                    let holder = failure.doing.rsplit_once(" is in use by ");
                    if failure.kind == FailureKind::Locked
                        && let Some(better) =
                            instead(holder.map_or("another process", |two| two.1))?
                    {
                        return Ok(Err(better));
                    }
                    return Err(locked(name, failure.into()));
                }
                Some((Reply::Waiting { holder }, _)) => {
                    if let Some(better) = instead(&holder)? {
                        return Ok(Err(better));
                    }
                    asked = Instant::now();
                    scope.emit(What::Waiting { what: name.to_owned(), holder: holder.clone() });
                    known_holder = holder;
                }
                Some((other, _)) => return Err(unexpected(&other).into()),
                None if !known_holder.is_empty() && asked.elapsed() > NOW_AND_THEN => {
                    if let Some(better) = instead(&known_holder)? {
                        return Ok(Err(better));
                    }
                    asked = Instant::now();
                }
                None => {}
            }
            if limit.is_some_and(|limit| started.elapsed() > limit) {
                let message = format!("{name} is still in use by {known_holder}");
                return Err(locked(name, Error::new(ErrorKind::Locked, message)));
            }
        }
    }
}

/// Says what to do about a lock that somebody else has. Other failures have other remedies: a full
/// disk does not become empty by waiting.
fn locked(name: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Locked if name.starts_with(LAYER_LOCK) => {
            error.with_hint("wait until the other process has made it, or raise `lock_timeout`")
        }
        ErrorKind::Locked => error.with_hint(
            "wait until it has finished, or use --uniqueext for a buildroot of your own",
        ),
        _ => error,
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
    hex(&digest[..8])
}

/// Makes a top directory for the caller alone. One that is there keeps its mode: somebody chose it.
fn make_private(path: &Path) -> Result<()> {
    let doing = || format!("cannot make the directory {}", path.display());
    if !path.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).doing(doing)?;
    }
    Ok(())
}

/// Closes a directory with trees below to everybody but its owner, whatever the mode of the top
/// directory: a build may leave a setuid program in a tree, which in [`Mode::Simple`] is root's own,
/// and no other user of the host may come to run it. The helper reaches trees through descriptors
/// that it opens first, so that the ids of the roots need no way through here.
fn guard(path: &Path) -> Result<()> {
    let doing = || format!("cannot close {} to other users", path.display());
    if fs::metadata(path).doing(doing)?.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).doing(doing).map_err(|error| {
        error.or_hint(
            "a build may leave setuid programs below: as its owner, run `chmod 700` on it, or choose other directories with DEBMOCK_CACHE_DIR and DEBMOCK_STATE_DIR",
        )
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_closed_to_other_users_whatever_the_mode_above() {
        let top = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
        make_private(top.path()).unwrap();
        assert_eq!(mode(top.path()), 0o755);
        let trees = top.path().join("roots/v1");
        make_readable(&trees).unwrap();
        // One that an earlier version left open, too.
        for _ in 0..2 {
            guard(&top.path().join("roots")).unwrap();
            assert_eq!(mode(&top.path().join("roots")), 0o700);
            fs::set_permissions(top.path().join("roots"), fs::Permissions::from_mode(0o711))
                .unwrap();
        }
        assert_eq!(mode(&trees), 0o755);
    }

    #[test]
    fn only_a_lock_that_somebody_has_asks_to_wait() {
        let hint = |name, kind| {
            let error = locked(name, Error::new(kind, "x"));
            error.hint().unwrap_or_default().to_owned()
        };
        assert!(hint("sid", ErrorKind::Locked).contains("--uniqueext"));
        assert!(hint("layer.base-1", ErrorKind::Locked).contains("`lock_timeout`"));
        for kind in [ErrorKind::Io, ErrorKind::NoSpace, ErrorKind::Helper, ErrorKind::Store] {
            assert!(!hint("sid", kind).contains("wait"), "{kind:?}");
        }
    }

    #[test]
    fn a_list_without_end_is_refused() {
        let mut names = Names::default();
        let place = Place::root(".");
        let message = || vec!["x".repeat(200); 500];
        let refused = (0..1000).find_map(|_| names.add(message(), &place).err()).unwrap();
        assert_eq!(refused.kind(), ErrorKind::Store);
        assert!(names.bytes < 2 * Names::MOST);
    }
}
