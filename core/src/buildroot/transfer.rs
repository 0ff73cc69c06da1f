//! Files in and out of a session.
//!
//! What crosses the border loses its owner, its set-ID bits and its extended attributes: inside it
//! belongs to root, outside to the caller. No symbolic link is followed out of the root, and none
//! that comes out of it is followed on the host.

use super::Session;
use super::aside::{self, Aside};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use debmock_helper::pack::{self, Devices, ImportOptions, Marks, Ownership};
use debmock_helper::protocol::{Job, Pack, bytes};
use debmock_helper::sparse;
use debmock_helper::work;
use rustix::fs::FileType;
use std::fs::{self, File};
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Name of the directory where a tree that comes out is gathered; its process follows.
const BESIDE: &str = ".debmock-copy.";

impl Session {
    /// Copies a file or a directory of the host to `inside`; below it, if that is a directory.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the source cannot be read; errors of the root's file system.
    pub fn copy_in(&self, host: &Path, inside: &str, scope: &Scope) -> Result<()> {
        self.copy_in_without(host, inside, &[], scope)
    }

    /// As [`Session::copy_in`], without what is at these paths below a directory.
    ///
    /// # Errors
    /// As [`Session::copy_in`].
    pub fn copy_in_without(
        &self,
        host: &Path,
        inside: &str,
        exclude: &[&str],
        scope: &Scope,
    ) -> Result<()> {
        let doing = || format!("cannot read {}", host.display());
        let meta = fs::metadata(host).doing(doing)?;
        let target = self.target_inside(host, inside)?;
        if meta.is_file() {
            let file = File::open(host).doing(doing)?;
            let mode = meta.permissions().mode() & 0o777;
            return self.put_file(&target, file.as_fd(), mode, (0, 0), scope);
        }
        if !meta.is_dir() {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("{} is neither a file nor a directory", host.display()),
            )
            .with_hint("files and directories can be copied in"));
        }
        let tree = File::open(host).doing(doing)?;
        self.make_directory(&target, 0o755, (0, 0))?;
        let (reader, writer) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
        let reader = OwnedFd::from(reader);
        let name = host.display().to_string();
        let (ownership, marks) = (Ownership::Ours, Marks::Files);
        let job = Job::Import { path: bytes(&target), name, ownership, marks, digest: None };
        std::thread::scope(|threads| {
            let packed = threads.spawn(|| {
                let options = pack::ExportOptions { exclude, ..pack::ExportOptions::default() };
                pack::export(tree.as_fd(), writer, options)
            });
            let imported = self.work(job, &[reader.as_fd()], scope);
            drop(reader);
            match packed.join() {
                Ok(Err(error)) if imported.is_ok() => {
                    Err(Error::new(ErrorKind::Io, doing()).with_source(error))
                }
                _ => imported,
            }
        })
    }

    /// Copies a file or a directory of the root to `host`; below it, if that is a directory. It
    /// appears complete or not at all and belongs to the caller. A symbolic link stands for what
    /// it leads to inside the root; links in a directory stay links.
    ///
    /// # Errors
    /// [`ErrorKind::Buildroot`] if it is neither, or a link that leads to nothing in the root;
    /// [`ErrorKind::Usage`] if a directory is to replace something.
    pub fn copy_out(&self, inside: &str, host: &Path, scope: &Scope) -> Result<()> {
        let name = inside.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let target = if host.is_dir() && !name.is_empty() && name != ".." {
            host.join(name)
        } else {
            host.to_owned()
        };
        let doing = || format!("cannot write {}", target.display());
        let kind = match self.kind_of(inside)? {
            Some(FileType::Symlink) => Some(self.kind_behind(inside)?),
            other => other,
        };
        match kind {
            Some(kind) if kind.is_dir() => {}
            Some(kind) if kind.is_file() => {
                let (file, size) = self.open_regular(inside, true)?;
                let mode = file.metadata().doing(doing)?.permissions().mode() & 0o777;
                let aside = Aside::of(&target).doing(doing)?;
                let go_on = || scope.check().is_ok();
                if !sparse::copy(&file, aside.file(), size, go_on).doing(doing)? {
                    scope.check()?;
                }
                return aside.place(mode).doing(doing);
            }
            Some(_) => {
                return Err(Error::new(
                    ErrorKind::Buildroot,
                    format!("{inside} of the root is neither a file nor a directory"),
                ));
            }
            None => {
                return Err(Error::new(ErrorKind::Buildroot, format!("the root has no {inside}")));
            }
        }
        if target.symlink_metadata().is_ok() {
            return Err(Error::new(ErrorKind::Usage, format!("{} exists", target.display()))
                .with_hint("remove it, or name another destination"));
        }
        let beside = aside::directory(aside::folder(&target), BESIDE).doing(doing)?;
        self.unpack_outside(inside, beside.path(), scope)?;
        beside.place(&target).doing(doing)
    }

    /// As [`Session::write_file`], with an end when the scope says so.
    pub(crate) fn put_file(
        &self,
        path: &str,
        content: BorrowedFd<'_>,
        mode: u32,
        owner: (u32, u32),
        scope: &Scope,
    ) -> Result<()> {
        let job = Job::WriteFile { path: bytes(path), mode, owner };
        let written = self.work(job, &[content], scope);
        if matches!(&written, Err(error) if error.kind() == ErrorKind::Cancelled) {
            // Whoever wrote was killed in the middle.
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let _ = self.remove(&format!("{folder}/{}", work::aside(name)));
        }
        written
    }

    fn unpack_outside(&self, inside: &str, tree: &Path, scope: &Scope) -> Result<()> {
        let directory = File::open(tree).doing(|| format!("cannot open {}", tree.display()))?;
        let (reader, writer) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
        let writer = OwnedFd::from(writer);
        let (epoch, devices) = (i64::MAX, Devices::AsFound);
        let pack = Pack { epoch, devices, layer: false, compression: None };
        let job = Job::Export { path: bytes(inside), pack };
        std::thread::scope(|threads| {
            let unpacked = threads.spawn(|| {
                let options =
                    ImportOptions { ownership: Ownership::Ours, ..ImportOptions::default() };
                pack::import(directory.as_fd(), reader, inside, options)
            });
            let channel = self.job(job, &[writer.as_fd()]);
            drop(writer);
            let exported = channel.and_then(|channel| crate::store::wait(&channel, scope));
            match unpacked.join() {
                Ok(Err(error)) if exported.is_ok() => Err(Error::new(
                    ErrorKind::Buildroot,
                    format!("cannot copy {inside} out of the root"),
                )
                .with_source(error)),
                _ => exported.map(|_| ()),
            }
        })
    }

    /// Where a copy of `host` goes: below `inside` if that is a directory.
    fn target_inside(&self, host: &Path, inside: &str) -> Result<String> {
        let directory = inside.ends_with('/')
            || inside.is_empty()
            || self.kind_of(inside)?.is_some_and(FileType::is_dir);
        if !directory {
            return Ok(inside.to_owned());
        }
        let name = host.canonicalize().doing(|| format!("cannot read {}", host.display()))?;
        let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(format!("{}/{name}", inside.trim_end_matches('/')))
    }

    /// What lies at a path of the root, symbolic links not followed; nothing if it is missing.
    fn kind_of(&self, inside: &str) -> Result<Option<FileType>> {
        let path = inside.trim_end_matches('/');
        let Some((folder, name)) =
            path.rsplit_once('/').or((!path.is_empty()).then_some(("", path)))
        else {
            return Ok(Some(FileType::Directory));
        };
        match self.list_directory(folder) {
            Ok(entries) => Ok(entries
                .iter()
                .find(|entry| entry.name == name.as_bytes())
                .map(|entry| FileType::from_raw_mode(entry.mode))),
            Err(error) if refusal(&error) == Some(NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a symbolic link of the root leads to, as if the root were `/`. Whether something that
    /// is no directory is a file, shows when it is opened.
    fn kind_behind(&self, inside: &str) -> Result<FileType> {
        match self.list_directory(inside) {
            Ok(_) => Ok(FileType::Directory),
            Err(error) if refusal(&error) == Some(NotADirectory) => Ok(FileType::RegularFile),
            Err(error) if refusal(&error) == Some(NotFound) => Err(Error::new(
                ErrorKind::Buildroot,
                format!("{inside} of the root is a link that leads to nothing in the root"),
            )),
            Err(error) => Err(error),
        }
    }
}

/// What the system said, if it was the system that refused.
fn refusal(error: &Error) -> Option<std::io::ErrorKind> {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        next = cause.source();
    }
    None
}
