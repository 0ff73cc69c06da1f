//! A buildroot as something that others can use: a tar archive, an image, a directory.

use super::aside::{self, Aside};
use super::{Base, Buildroot, Session, Storage};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use crate::store::Held;
use debmock_helper::apply::{JOURNAL, JOURNAL_PLACE};
use debmock_helper::pack::{self, Codec, Devices, ImportOptions, Ownership};
use debmock_helper::protocol::{Job, Pack, Place, Reply, Tree, bytes, unexpected};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// Name of the directory in which a tree or an image is gathered; its process follows.
pub(super) const BESIDE: &str = ".debmock-export.";

/// How an archive, or each layer of an image, is packed. Several threads do it; the bytes are the
/// same for any number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// With gzip of this level, 1 to 9: larger and slower, for readers that know nothing else.
    Gzip(u32),
    /// With zstd of this level, 1 to 22.
    Zstd(i32),
}

impl Compression {
    /// What packs so, with as many threads as there are processors.
    pub(super) fn codec(self) -> Option<(Codec, u32)> {
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        match self {
            Compression::None => None,
            Compression::Gzip(level) => Some((Codec::Gzip(level), threads)),
            Compression::Zstd(level) => Some((Codec::Zstd(level), threads)),
        }
    }
}

impl std::str::FromStr for Compression {
    type Err = Error;

    /// `none`, `gzip` or `zstd`; `gzip:9` and `zstd:19` are of that level.
    fn from_str(text: &str) -> Result<Self> {
        let (method, level) = match text.split_once(':') {
            Some((method, level)) => (method, Some(level.parse::<i32>().ok())),
            None => (text, None),
        };
        match (method, level) {
            ("none", None) => Ok(Compression::None),
            ("gzip", None) => Ok(Compression::Gzip(6)),
            ("zstd", None) => Ok(Compression::Zstd(3)),
            ("gzip", Some(Some(level @ 1..=9))) => Ok(Compression::Gzip(level as u32)),
            ("zstd", Some(Some(level @ 1..=22))) => Ok(Compression::Zstd(level)),
            _ => Err(Error::new(ErrorKind::Usage, format!("there is no compression {text:?}"))
                .with_hint("there are none, gzip and zstd, and levels such as gzip:9 and zstd:19")),
        }
    }
}

/// What an export makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// One tar archive of the whole root, with the nodes of `/dev`, as `mmdebstrap` writes it.
    Tar,
    /// A directory with an OCI image layout.
    Oci,
    /// A tar archive of an OCI image layout, which `podman load` takes.
    OciArchive,
    /// A directory with the tree itself, without device nodes. As root its files have their owners,
    /// set-ID bits and extended attributes; for users, who cannot give files away, everything is
    /// their own and has neither.
    Directory,
}

impl std::str::FromStr for Form {
    type Err = Error;

    /// `tar`, `oci`, `oci-archive` or `directory`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "tar" => Ok(Form::Tar),
            "oci" => Ok(Form::Oci),
            "oci-archive" => Ok(Form::OciArchive),
            "directory" => Ok(Form::Directory),
            _ => {
                Err(Error::new(ErrorKind::Usage, format!("there is no form {text:?} of an export"))
                    .with_hint("there are tar, oci, oci-archive and directory"))
            }
        }
    }
}

/// How to export.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// What is made.
    pub form: Form,
    /// Later modification times become this one, in seconds since 1970; without it, they stay.
    pub source_date_epoch: Option<u64>,
    /// How it is packed; a directory is not.
    pub compression: Compression,
    /// One layer in an image instead of one for each layer of the buildroot.
    pub flatten: bool,
}

impl ExportOptions {
    /// As the name of `file` and the environment's `SOURCE_DATE_EPOCH` say: `FILE.tar`,
    /// `FILE.tar.gz` and `FILE.tar.zst` are archives, `FILE.oci` and `FILE.oci.tar` images, and what
    /// ends in `/` is a directory.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an unknown ending or an epoch that is no number.
    pub fn for_file(file: &Path) -> Result<Self> {
        let name = file.as_os_str().to_string_lossy();
        let endings = [
            (".oci.tar", Form::OciArchive, Compression::Zstd(3)),
            (".oci", Form::Oci, Compression::Zstd(3)),
            (".tar", Form::Tar, Compression::None),
            (".tar.gz", Form::Tar, Compression::Gzip(6)),
            (".tar.zst", Form::Tar, Compression::Zstd(3)),
            ("/", Form::Directory, Compression::None),
        ];
        let Some((_, form, compression)) = endings.iter().find(|(end, ..)| name.ends_with(end))
        else {
            return Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "{name} says by its ending neither an archive, nor an image, nor a directory"
                ),
            )
            .with_hint(
                "name it FILE.tar, FILE.tar.gz or FILE.tar.zst for an archive, NAME.oci or \
                 FILE.oci.tar for an image, NAME/ for a directory, or say it with --format",
            ));
        };
        Ok(ExportOptions { compression: *compression, ..Self::of_form(*form)? })
    }

    /// For a form, whatever the name; the environment's `SOURCE_DATE_EPOCH` rules.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an epoch that is no number.
    pub fn of_form(form: Form) -> Result<Self> {
        let compression = match form {
            Form::Oci | Form::OciArchive => Compression::Zstd(3),
            Form::Tar | Form::Directory => Compression::None,
        };
        let source_date_epoch = environment_epoch()?;
        Ok(ExportOptions { form, source_date_epoch, compression, flatten: false })
    }

    /// What somebody asked for: the form and compression that are given, else what the name of
    /// `file` says. A name that says nothing is an archive, if it is said how that is packed.
    ///
    /// # Errors
    /// As [`ExportOptions::for_file`].
    pub fn choose(
        file: &Path,
        form: Option<Form>,
        compression: Option<Compression>,
    ) -> Result<Self> {
        let named = Self::for_file(file);
        let mut options = match (form, named) {
            (Some(form), Ok(named)) if named.form == form => named,
            (Some(form), _) => Self::of_form(form)?,
            (None, Ok(named)) => named,
            (None, Err(_)) if compression.is_some() => Self::of_form(Form::Tar)?,
            (None, Err(error)) => return Err(error),
        };
        options.compression = compression.unwrap_or(options.compression);
        Ok(options)
    }

    /// How the helper writes a tree.
    pub(super) fn pack(&self, devices: Devices) -> Pack {
        Pack {
            epoch: self.source_date_epoch.map_or(i64::MAX, |epoch| epoch as i64),
            devices,
            layer: matches!(self.form, Form::Oci | Form::OciArchive),
            compression: None,
        }
    }

    fn check(&self) -> Result<()> {
        let fine = match self.compression {
            Compression::None => true,
            Compression::Gzip(level) => (1..=9).contains(&level),
            Compression::Zstd(level) => (1..=22).contains(&level),
        };
        if !fine {
            let message = format!("there is no compression {:?}", self.compression);
            return Err(Error::new(ErrorKind::Usage, message)
                .with_hint("gzip has the levels 1 to 9, zstd 1 to 22"));
        }
        if self.form == Form::Directory && self.compression != Compression::None {
            let message = "a directory cannot be compressed";
            return Err(Error::new(ErrorKind::Usage, message)
                .with_hint("export to an archive, or leave the compression out"));
        }
        if self.flatten && !matches!(self.form, Form::Oci | Form::OciArchive) {
            let message = "only an image has layers that can be made one";
            return Err(Error::new(ErrorKind::Usage, message)
                .with_hint("leave --flatten out: archives and directories hold the whole root"));
        }
        Ok(())
    }
}

/// `SOURCE_DATE_EPOCH` of this process, if it is set.
fn environment_epoch() -> Result<Option<u64>> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(None),
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            Error::new(
                ErrorKind::Usage,
                format!("SOURCE_DATE_EPOCH is {text:?}, which is no number"),
            )
            .with_hint("give the seconds since 1970, as `date +%s` prints them, or unset it")
        }),
    }
}

/// A directory is not put in the place of something.
fn refuse_existing(target: &Path) -> Result<()> {
    let empty = || fs::read_dir(target).is_ok_and(|mut names| names.next().is_none());
    if target.symlink_metadata().is_err() || empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Usage, format!("{} exists", target.display()))
        .with_hint("remove it, or name another destination"))
}

impl Buildroot {
    /// Writes the root to `target`, which appears complete or not at all. The same root gives the
    /// same bytes.
    ///
    /// A file in the place of an archive is replaced; in the place of a directory there may be
    /// nothing but an empty one.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while a session of this value is open; [`ErrorKind::Usage`] for options
    /// that make no sense, and for a directory that exists.
    pub fn export(&self, target: &Path, options: &ExportOptions, scope: &Scope) -> Result<()> {
        options.check()?;
        self.refuse_if_open("export")?;
        if matches!(options.form, Form::Directory | Form::Oci) {
            refuse_existing(target)?;
        }
        let lock = self.lock(scope)?;
        let base = self.provide(&lock, scope)?;
        let lock = Arc::new(lock);
        self.take_back(&base, &lock, scope)?;
        scope.stage("export", target.display().to_string(), || match options.form {
            Form::Tar => self.export_tar(target, options, &base, lock, scope),
            Form::Directory => self.export_directory(target, options, &base, lock, scope),
            Form::Oci | Form::OciArchive => self.export_image(target, options, &base, lock, scope),
        })
    }

    /// Takes back what an installation left that was ended in the middle, as every session does
    /// that may change the root.
    fn take_back(&self, base: &Base, lock: &Arc<Held>, scope: &Scope) -> Result<()> {
        let tree = match base.storage {
            Storage::Overlay => "upper",
            Storage::Copy => "tree",
        };
        let is_left = || {
            // A tree in which that is no directory has no database of dpkg either.
            let names = self.zone.list(self.place(&format!("{tree}/{JOURNAL_PLACE}")));
            names.is_ok_and(|names| names.iter().any(|name| name == JOURNAL))
        };
        if is_left() {
            let locks = vec![Arc::clone(lock)];
            self.open_recorded(base, super::Opening::default(), locks, scope)?.end()?;
        }
        if !is_left() {
            return Ok(());
        }
        let message = format!("{} has files of an installation that was ended", self.name);
        Err(Error::new(ErrorKind::Buildroot, message)
            .with_hint("they cannot be taken back; `debmock clean` drops all changes"))
    }

    /// A session that sees the root without what sessions bring, and changes nothing.
    pub(super) fn open_still(
        &self,
        base: &Base,
        lock: Arc<Held>,
        scope: &Scope,
    ) -> Result<Session> {
        let tree = match base.storage {
            Storage::Overlay => {
                let mut lower = self.stack(base);
                if self.zone.list(Place::root(self.name.clone()))?.iter().any(|n| n == "upper") {
                    lower.insert(0, self.place("upper"));
                }
                Tree::Overlay { lower, upper: None }
            }
            Storage::Copy => Tree::Directory { place: self.place("tree"), writable: false },
        };
        self.open_tree(tree, super::Opening::default(), vec![lock], scope)
    }

    fn export_tar(
        &self,
        target: &Path,
        options: &ExportOptions,
        base: &Base,
        lock: Arc<Held>,
        scope: &Scope,
    ) -> Result<()> {
        let doing = || format!("cannot write {}", target.display());
        let aside = Aside::of(target).doing(doing)?;
        let session = self.open_still(base, lock, scope)?;
        let compression = options.compression.codec();
        let pack = Pack { compression, ..options.pack(Devices::Synthesised) };
        let job = Job::Export { path: bytes("/"), pack };
        written(crate::store::wait(&session.job(job, &[aside.file().as_fd()])?, scope)?)?;
        aside.place(0o644).doing(doing)
    }

    fn export_directory(
        &self,
        target: &Path,
        options: &ExportOptions,
        base: &Base,
        lock: Arc<Held>,
        scope: &Scope,
    ) -> Result<()> {
        let doing = || format!("cannot write {}", target.display());
        let ownership = match rustix::process::geteuid().is_root() {
            true => Ownership::Archive,
            false => {
                scope.warn(
                    format!(
                        "all files in {} are yours, without set-ID bits and extended attributes: \
                         only root can give them to others",
                        target.display()
                    ),
                    Some("an archive keeps owners: export to FILE.tar.zst".into()),
                );
                Ownership::Ours
            }
        };
        let beside = aside::directory(aside::folder(target), BESIDE).doing(doing)?;
        let directory = File::open(beside.path()).doing(doing)?;
        let session = self.open_still(base, lock, scope)?;
        let (reader, writer) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
        let writer = OwnedFd::from(writer);
        let job = Job::Export { path: bytes("/"), pack: options.pack(Devices::Empty) };
        std::thread::scope(|threads| {
            let unpacked = threads.spawn(|| {
                let options = ImportOptions { ownership, ..ImportOptions::default() };
                pack::import(directory.as_fd(), reader, "the root", options)
            });
            let channel = session.job(job, &[writer.as_fd()]);
            drop(writer);
            let exported = channel.and_then(|channel| crate::store::wait(&channel, scope));
            match unpacked.join() {
                // The end of one is mostly that of the other; who reads knows why.
                Ok(Err(error)) if !matches!(&exported, Err(e) if e.kind() == ErrorKind::Cancelled) => {
                    Err(Error::new(ErrorKind::Io, doing()).with_source(error))
                }
                _ => written(exported?).map(drop),
            }
        })?;
        beside.place(target).doing(doing)
    }
}

/// The newest modification time of what the helper wrote.
pub(super) fn written(reply: Reply) -> Result<u64> {
    match reply {
        Reply::Number(newest) => Ok(newest),
        other => Err(unexpected(&other).into()),
    }
}
