//! A buildroot as an archive, and an archive as the base of a buildroot.

use super::aside::Aside;
use super::{BaseOrigin, Buildroot, Storage};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use crate::store::layer::{self, LayerKey};
use debmock_helper::protocol::{Job, Place, Tree, bytes};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// With zstd of this level.
    Zstd(i32),
}

/// How to export.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Later modification times become this one, in seconds since 1970; without it, they stay.
    pub source_date_epoch: Option<u64>,
    /// How the archive is packed.
    pub compression: Compression,
}

impl ExportOptions {
    /// As the name of `file` and the environment's `SOURCE_DATE_EPOCH` say.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an unknown ending or an epoch that is no number.
    pub fn for_file(file: &Path) -> Result<Self> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let compression = if name.ends_with(".tar") {
            Compression::None
        } else if name.ends_with(".tar.zst") {
            Compression::Zstd(3)
        } else {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("{name} ends neither in .tar nor in .tar.zst"),
            )
            .with_hint("name the archive FILE.tar or FILE.tar.zst"));
        };
        Ok(ExportOptions { source_date_epoch: environment_epoch()?, compression })
    }
}

/// `SOURCE_DATE_EPOCH` of this process, if it is set.
pub(crate) fn environment_epoch() -> Result<Option<u64>> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(None),
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            Error::new(
                ErrorKind::Usage,
                format!("SOURCE_DATE_EPOCH is {text:?}, which is no number"),
            )
        }),
    }
}

/// Reads a file to its end and gives the key of a layer that is made of it. What is read goes to
/// `to` as long as that takes it: who unpacks an archive need not read what comes after its end.
fn read_through(
    archive: &mut File,
    mut to: Option<impl Write>,
    scope: &Scope,
    doing: impl Fn() -> String,
) -> Result<LayerKey> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        scope.check()?;
        let read = match archive.read(&mut buffer).doing(&doing)? {
            0 => break,
            count => &buffer[..count],
        };
        hash.update(read);
        if to.as_mut().is_some_and(|to| to.write_all(read).is_err()) {
            to = None;
        }
    }
    Ok(LayerKey::of("import", &[hash.finalize().as_slice()]))
}

/// Opens an archive, which is read twice: a device may have no end, a pipe only one reading.
fn open_archive(file: &Path) -> Result<File> {
    let doing = || format!("cannot read {}", file.display());
    let flags = rustix::fs::OFlags::RDONLY
        | rustix::fs::OFlags::NONBLOCK
        | rustix::fs::OFlags::NOCTTY
        | rustix::fs::OFlags::CLOEXEC;
    // Opening a pipe would wait for whoever writes to it.
    let opened = rustix::fs::open(file, flags, rustix::fs::Mode::empty()).doing(doing)?;
    let archive = File::from(opened);
    if !archive.metadata().doing(doing)?.is_file() {
        let message = format!("{} is no regular file", file.display());
        return Err(Error::new(ErrorKind::Usage, message)
            .with_hint("write the archive to a file first, and name that file"));
    }
    Ok(archive)
}

impl Buildroot {
    /// Writes the root to `file`, which appears complete or not at all. The same root gives the
    /// same bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while a session of this value is open.
    pub fn export(&self, file: &Path, options: &ExportOptions, scope: &Scope) -> Result<()> {
        self.refuse_if_open("export")?;
        let lock = self.lock(scope)?;
        let base = self.provide(&lock, scope)?;
        let doing = || format!("cannot write {}", file.display());
        let aside = Aside::of(file).doing(doing)?;
        scope.stage("export", file.display().to_string(), || {
            let tree = match base.storage {
                // Without the session's layer, and without a change to anything.
                Storage::Overlay => {
                    let mut lower = self.stack(&base);
                    if self.zone.list(Place::root(self.name.clone()))?.iter().any(|n| n == "upper")
                    {
                        lower.insert(0, self.place("upper"));
                    }
                    Tree::Overlay { lower, upper: None }
                }
                Storage::Copy => Tree::Directory { place: self.place("tree"), writable: false },
            };
            let session =
                self.open_tree(tree, super::Opening::default(), vec![Arc::new(lock)], scope)?;
            let compression = match options.compression {
                Compression::None => None,
                Compression::Zstd(level) => Some((
                    level,
                    std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
                )),
            };
            let job = Job::Export {
                epoch: options.source_date_epoch.map_or(i64::MAX, |epoch| epoch as i64),
                path: bytes("/"),
                root: true,
                compression,
            };
            session.work(job, &[aside.file().as_fd()], scope)
        })?;
        aside.place(0o644).doing(doing)
    }

    /// Makes a tar archive (plain, or packed with gzip, xz or zstd) the base of the buildroot and
    /// drops its changes.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while a session of this value is open; [`ErrorKind::Buildroot`] for an
    /// archive that is damaged or tries to leave the root; [`ErrorKind::Usage`] for a device, pipe
    /// or directory in its place.
    pub fn import(&self, file: &Path, scope: &Scope) -> Result<()> {
        self.refuse_if_open("import into")?;
        let doing = || format!("cannot read {}", file.display());
        let mut archive = open_archive(file)?;
        let key = scope.stage("hash", file.display().to_string(), || {
            read_through(&mut archive, None::<std::io::Sink>, scope, doing)
        })?;
        let _lock = self.lock(scope)?;
        let limit = self.config.lock_timeout;
        let layer = layer::provide(&self.zone, &key, limit, scope, |home| {
            let tree = layer::below(home, "root");
            self.zone.make_directory(tree.clone())?;
            scope.stage("import", file.display().to_string(), || {
                // The same open file: another one may have its name by now.
                archive.seek(SeekFrom::Start(0)).doing(doing)?;
                self.unpack(&mut archive, file, &key, &tree, scope)
            })
        })?;
        self.stand_on(layer.key(), BaseOrigin::Import, scope)?;
        Ok(())
    }

    /// Unpacks an archive, which must still be the one of this key, into a tree that is being made.
    fn unpack(
        &self,
        archive: &mut File,
        file: &Path,
        key: &LayerKey,
        place: &Place,
        scope: &Scope,
    ) -> Result<()> {
        let doing = || format!("cannot read {}", file.display());
        let tree = Tree::Directory { place: place.clone(), writable: true };
        let session = self.open_bare(tree, scope)?;
        let (reader, writer) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
        let reader = OwnedFd::from(reader);
        let name = file.display().to_string();
        let job = Job::Import { path: bytes("/"), name, ours: false };
        std::thread::scope(|threads| {
            let fed = threads.spawn(|| read_through(archive, Some(writer), scope, doing));
            let imported = session.work(job, &[reader.as_fd()], scope);
            // Nobody reads any more, whatever the end was.
            drop(reader);
            drop(session);
            match fed.join() {
                Ok(Ok(found)) if found == *key => imported,
                Ok(Ok(_)) => Err(Error::new(
                    ErrorKind::Buildroot,
                    format!("{} was changed while it was imported", file.display()),
                )
                .with_hint("run the command again when nobody writes to it")),
                // An archive that cannot be read looks like one that is cut off.
                Ok(Err(error)) => Err(error),
                Err(_) => Err(Error::new(
                    ErrorKind::Unexpected,
                    "debmock panicked; this is a bug of debmock",
                )),
            }
        })
    }

    /// A session on a tree that is being made: nothing is written into it, nothing bound.
    fn open_bare(&self, tree: Tree, scope: &Scope) -> Result<super::Session> {
        let options = super::SessionOptions {
            tree,
            files: Vec::new(),
            hostname: self.config.isolation.hostname.clone(),
            binds: Vec::new(),
            accept_weak: true,
            linux32: false,
            home: None,
            memory: 0,
        };
        super::Session::open(&self.zone, options, Vec::new(), scope)
    }
}
