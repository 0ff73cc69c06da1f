//! A buildroot as an OCI image: its layers become the image's.

use super::aside::{self, Aside};
use super::export::{BESIDE, written};
use super::snapshot::SNAPSHOTS;
use super::{Base, Buildroot, Compression, ExportOptions, Form, Lower, Opening, Session, Storage};
use crate::error::{IoContext, Result};
use crate::image::{Digest, NewLayer, Platform, Writer, reference};
use crate::operation::Scope;
use crate::store::Held;
use debmock_helper::pack::{self, Devices};
use debmock_helper::protocol::{Area, Channel, Job, Place, Tree, bytes};
use debmock_helper::store::BELOW;
use sha2::{Digest as _, Sha256};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

impl Buildroot {
    pub(super) fn export_image(
        &self,
        target: &Path,
        options: &ExportOptions,
        base: &Base,
        lock: Arc<Held>,
        scope: &Scope,
    ) -> Result<()> {
        let doing = || format!("cannot write {}", target.display());
        let beside = aside::directory(aside::folder(target), BESIDE).doing(doing)?;
        let mut writer = Writer::new(beside.path())?;
        let mut newest = 0;
        // A copied root has its layers no more.
        if options.flatten || base.storage == Storage::Copy {
            let session = self.open_still(base, lock, scope)?;
            let job = Job::Export { path: bytes("/"), pack: options.pack(Devices::Empty) };
            let start = |output: BorrowedFd<'_>| session.job(job, &[output]);
            newest = add(&mut writer, ("root", None), options, start, scope)?;
        } else {
            for (what, key, place) in self.parts(base)? {
                // With other times it is another layer.
                let key = key.filter(|_| options.source_date_epoch.is_none());
                let pack = options.pack(Devices::Empty);
                let whole = self.open_twofold(&place, scope)?;
                let start = |output: BorrowedFd<'_>| match &whole {
                    Some(session) => session.job(Job::Export { path: bytes("/"), pack }, &[output]),
                    None => self.zone.pack(place, pack, output),
                };
                newest = newest.max(add(&mut writer, (what, key), options, start, scope)?);
            }
        }
        let created = options.source_date_epoch.unwrap_or(newest);
        let platform = Platform::of(&self.config.architecture);
        writer.finish(&reference(&self.config.name), &platform, created)?;
        if options.form == Form::OciArchive {
            let aside = Aside::of(target).doing(doing)?;
            Writer::archive(beside.path(), aside.file()).doing(doing)?;
            return aside.place(0o644).doing(doing);
        }
        open_to_all(beside.path()).doing(doing)?;
        beside.place(target).doing(doing)
    }

    /// A session that sees a layer which is in two parts as one tree, and nothing else.
    fn open_twofold(&self, place: &Place, scope: &Scope) -> Result<Option<Session>> {
        let Some((home, _)) = place.path.rsplit_once('/').filter(|_| place.area == Area::Layers)
        else {
            return Ok(None);
        };
        if !self.zone.list(Place::layer(home))?.iter().any(|name| name == BELOW) {
            return Ok(None);
        }
        let tree = Tree::Overlay { lower: vec![place.clone()], upper: None };
        self.open_tree(tree, Opening::default(), Vec::new(), scope).map(Some)
    }

    /// The trees of the buildroot, what they are, and the keys of those that others may share; the
    /// lowest first.
    fn parts(&self, base: &Base) -> Result<Vec<(&'static str, Option<String>, Place)>> {
        let layer =
            |what, key: &String| (what, Some(key.clone()), Place::layer(format!("{key}/root")));
        let mut parts = vec![layer("base", &base.layer)];
        parts.extend(base.above.iter().rev().map(|lower| match lower {
            Lower::Layer(key) => layer("packages", key),
            Lower::Snapshot(id) => {
                ("snapshot", None, self.place(&format!("{SNAPSHOTS}/{id}/root")))
            }
        }));
        if !self.is_unchanged()? {
            parts.push(("changes", None, self.place("upper")));
        }
        Ok(parts)
    }
}

/// Adds the tar stream that `start` makes the helper write; the newest time in it.
fn add(
    writer: &mut Writer,
    (what, key): (&str, Option<String>),
    options: &ExportOptions,
    start: impl FnOnce(BorrowedFd<'_>) -> Result<Channel>,
    scope: &Scope,
) -> Result<u64> {
    let (mut stream, theirs) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    let _ = rustix::pipe::fcntl_setpipe_size(&theirs, 1 << 20);
    let theirs = OwnedFd::from(theirs);
    let channel = start(theirs.as_fd())?;
    drop(theirs);
    let doing = || "cannot write a layer of the image".to_owned();
    let (digest, size, diff_id) = writer.add(|blob| {
        match options.compression.codec() {
            None => pour(&mut stream, blob, scope),
            Some((codec, threads)) => {
                pack::compress(codec, threads, blob, |frames| pour(&mut stream, frames, scope))
            }
        }
        .doing(doing)
    })?;
    scope.check()?;
    // Whatever ended the stream early is told here.
    let newest = written(crate::store::wait(&channel, scope)?)?;
    writer.push(NewLayer {
        digest,
        size,
        diff_id,
        suffix: match options.compression {
            Compression::None => "",
            Compression::Gzip(_) => "+gzip",
            Compression::Zstd(_) => "+zstd",
        },
        created_by: format!("debmock: {what}"),
        key,
    });
    Ok(newest)
}

/// Copies a stream to its end; its SHA-256.
fn pour(
    from: &mut impl Read,
    to: &mut (impl Write + ?Sized),
    scope: &Scope,
) -> std::io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        scope.check().map_err(std::io::Error::other)?;
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(Digest(hash.finalize().into()));
        }
        hash.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
    }
}

/// Gives a layout that was made aside the modes that others expect, whatever the umask.
fn open_to_all(top: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    let blobs = top.join("blobs/sha256");
    for found in std::fs::read_dir(&blobs)? {
        mode(&found?.path(), 0o644)?;
    }
    for file in ["oci-layout", "index.json"] {
        mode(&top.join(file), 0o644)?;
    }
    [blobs.as_path(), &top.join("blobs"), top].into_iter().try_for_each(|path| mode(path, 0o755))
}
