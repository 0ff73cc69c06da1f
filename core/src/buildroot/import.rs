//! What others made as the base of a buildroot: a tar archive, an image, a directory.

use super::{BaseOrigin, Buildroot, Session, SessionOptions};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::image::{Layer, Layout, Platform};
use crate::operation::Scope;
use crate::store::layer::{self, LayerKey};
use debmock_helper::pack::{self, ExportOptions, Marks, Ownership};
use debmock_helper::protocol::{Job, Place, Tree, bytes};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What is imported.
enum Source {
    Archive(File),
    Directory(File),
    Image(Layout),
}

/// Opens a regular file of the host: a device may have no end, and opening a pipe would wait for
/// whoever writes to it.
pub(crate) fn open_regular(file: &Path) -> Result<File> {
    let doing = || format!("cannot read {}", file.display());
    let flags = rustix::fs::OFlags::RDONLY
        | rustix::fs::OFlags::NONBLOCK
        | rustix::fs::OFlags::NOCTTY
        | rustix::fs::OFlags::CLOEXEC;
    let opened = rustix::fs::open(file, flags, rustix::fs::Mode::empty()).doing(doing)?;
    let archive = File::from(opened);
    if !archive.metadata().doing(doing)?.is_file() {
        let message = format!("{} is neither a regular file nor a directory", file.display());
        return Err(Error::new(ErrorKind::Usage, message)
            .with_hint("write the archive to a file first, and name that file"));
    }
    Ok(archive)
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        let doing = || format!("cannot read {}", path.display());
        if path.is_dir() {
            return Ok(match Layout::in_directory(path) {
                Some(layout) => Source::Image(layout),
                None => Source::Directory(File::open(path).doing(doing)?),
            });
        }
        let archive = open_regular(path)?;
        Ok(match Layout::in_archive(path, &archive)? {
            Some(layout) => Source::Image(layout),
            None => Source::Archive(archive),
        })
    }
}

/// The key of the layer of an archive with this SHA-256.
fn key_of_archive(digest: &[u8; 32]) -> LayerKey {
    LayerKey::of("import", &[digest])
}

/// Hashes what goes by, and writes it on as long as somebody takes it: who unpacks an archive need
/// not read what comes after its end.
pub(super) struct Tee<'a, W> {
    pub hash: Sha256,
    pub to: Option<W>,
    pub scope: &'a Scope,
}

impl<'a, W> Tee<'a, W> {
    pub(super) fn new(to: Option<W>, scope: &'a Scope) -> Self {
        Tee { hash: Sha256::new(), to, scope }
    }
}

impl<W: Write> Write for Tee<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.scope.check().map_err(io::Error::other)?;
        self.hash.update(bytes);
        if self.to.as_mut().is_some_and(|to| to.write_all(bytes).is_err()) {
            self.to = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads everything and gives its SHA-256.
pub(super) fn pour(
    from: &mut impl Read,
    to: Option<impl Write>,
    scope: &Scope,
    doing: impl Fn() -> String,
) -> Result<[u8; 32]> {
    let mut tee = Tee::new(to, scope);
    let mut buffer = vec![0; 1 << 20];
    loop {
        scope.check()?;
        let count = from.read(&mut buffer).doing(&doing)?;
        if count == 0 {
            return Ok(tee.hash.finalize().into());
        }
        tee.write_all(&buffer[..count]).doing(&doing)?;
    }
}

/// A directory of the caller's as a stream, the same for the same content, and its SHA-256.
/// Files that a user cannot give to others are root's in it.
fn gather(
    tree: &File,
    to: Option<impl Write>,
    scope: &Scope,
    doing: impl Fn() -> String,
) -> Result<[u8; 32]> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let options = ExportOptions {
        mine: (!uid.is_root()).then_some((uid.as_raw(), gid.as_raw())),
        ..ExportOptions::default()
    };
    let mut tee = Tee::new(to, scope);
    let packed = pack::export(tree.as_fd(), &mut tee, options);
    scope.check()?;
    packed.map_err(|error| Error::new(ErrorKind::Io, doing()).with_source(error))?;
    Ok(tee.hash.finalize().into())
}

impl Buildroot {
    /// Makes something the base of the buildroot and drops its changes: a tar archive (plain, or
    /// packed with gzip, xz or zstd), an OCI image layout (a directory or a tar archive of it; the
    /// image of the config's architecture is taken), or a directory with a root in it.
    ///
    /// Device nodes are left out, sandboxes have their own. Of a directory that is not root's,
    /// the caller's files become root's; what belongs to others keeps its number.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while a session of this value is open; [`ErrorKind::Buildroot`] for an
    /// archive or image that is damaged, is for another architecture or tries to leave the root;
    /// [`ErrorKind::Usage`] for a device or pipe in its place.
    pub fn import(&self, path: &Path, scope: &Scope) -> Result<()> {
        self.refuse_if_open("import into")?;
        let doing = || format!("cannot read {}", path.display());
        let mut source = Source::open(path)?;
        if let Source::Image(layout) = &source {
            return self.import_image(layout, path, scope);
        }
        if let Source::Archive(file) = &mut source
            && self.import_unread(file, path, scope)?
        {
            return Ok(());
        }
        let nobody = || None::<io::Sink>;
        let digest = scope.stage("hash", path.display().to_string(), || match &mut source {
            Source::Archive(file) => pour(file, nobody(), scope, doing),
            Source::Directory(tree) => gather(tree, nobody(), scope, doing),
            Source::Image(_) => Ok([0; 32]),
        })?;
        let key = match source {
            Source::Directory(_) => LayerKey::of("import", &[b"directory", &digest]),
            _ => key_of_archive(&digest),
        };
        let size = match &source {
            Source::Archive(file) => Some(file.metadata().doing(doing)?.len()),
            _ => None,
        };
        self.import_as(&key, size, scope, |tree| {
            scope.stage("import", path.display().to_string(), || {
                let session = self.open_bare(tree, scope)?;
                let feed = |writer: io::PipeWriter| match &mut source {
                    Source::Archive(file) => {
                        // The same open file: another one may have its name by now.
                        file.seek(SeekFrom::Start(0)).doing(doing)?;
                        pour(file, Some(writer), scope, doing)
                    }
                    Source::Directory(tree) => gather(tree, Some(writer), scope, doing),
                    Source::Image(_) => Ok(digest),
                };
                let name = path.display().to_string();
                let unpack = Unpack { name, marks: Marks::Files, digest: None };
                unpack.run(&session, scope, feed, |found| {
                    if found == digest {
                        return Ok(());
                    }
                    Err(Error::new(
                        ErrorKind::Buildroot,
                        format!("{} was changed while it was imported", path.display()),
                    )
                    .with_hint("run the command again when nobody writes to it"))
                })
            })
        })
    }

    /// Imports an archive that no layer can be of yet, hashing what is unpacked while it goes by.
    /// Whether that is so.
    fn import_unread(&self, file: &mut File, path: &Path, scope: &Scope) -> Result<bool> {
        let doing = || format!("cannot read {}", path.display());
        let size = file.metadata().doing(doing)?.len();
        if layer::has_size(&self.zone, size)? {
            return Ok(false);
        }
        let _lock = self.lock(scope)?;
        self.finish(scope)?;
        let limit = self.config.lock_timeout;
        let layer = layer::provide_unread(&self.zone, size, limit, scope, |home| {
            let place: Place = layer::below(home, "root");
            self.zone.make_directory(place.clone())?;
            scope.stage("import", path.display().to_string(), || {
                let session = self.open_bare(Tree::Directory { place, writable: true }, scope)?;
                let mut digest = [0; 32];
                file.seek(SeekFrom::Start(0)).doing(doing)?;
                let feed = |writer| pour(file, Some(writer), scope, doing);
                let name = path.display().to_string();
                let unpack = Unpack { name, marks: Marks::Files, digest: None };
                unpack.run(&session, scope, feed, |found| {
                    digest = found;
                    Ok(())
                })?;
                Ok(key_of_archive(&digest))
            })
        })?;
        let Some(layer) = layer else { return Ok(false) };
        self.stand_on(layer.key(), BaseOrigin::Import, scope)?;
        self.keep_limits(scope);
        Ok(true)
    }

    /// Takes the layers of an image that debmock exported into the store, under the keys that it
    /// says they have: whatever stands on such a layer finds it made. Layers that are there already
    /// stay. The buildroot itself is not changed. Gives the keys.
    ///
    /// A key says what went into a layer, but nothing proves that of a layer that somebody else
    /// made: whoever gives layers away decides what is in the roots that stand on them.
    ///
    /// # Errors
    /// As [`Buildroot::import`]; [`ErrorKind::Buildroot`] also for an image without such layers.
    pub fn import_layers(&self, path: &Path, scope: &Scope) -> Result<Vec<String>> {
        self.check_fork()?;
        let none = || {
            let message = format!("{} is no image with layers of debmock", path.display());
            Error::new(ErrorKind::Buildroot, message).with_hint(
                "layers come from `debmock export` to NAME.oci or FILE.oci.tar, without --flatten \
                 and without SOURCE_DATE_EPOCH",
            )
        };
        let Source::Image(layout) = Source::open(path)? else { return Err(none()) };
        let image = layout.image(&Platform::of(&self.config.architecture))?;
        let mut keys = Vec::new();
        for layer in &image.layers {
            let Some(key) = layer.key.as_deref().and_then(LayerKey::parse) else { continue };
            let limit = self.config.lock_timeout;
            layer::provide(&self.zone, &key, limit, scope, |home| {
                let place: Place = layer::below(home, "root");
                self.zone.make_directory(place.clone())?;
                let session = self.open_bare(Tree::Directory { place, writable: true }, scope)?;
                unpack_layer(&session, &layout, layer, Marks::Kept, path, scope)
            })?;
            keys.push(key.as_str().to_owned());
        }
        self.keep_limits(scope);
        if keys.is_empty() { Err(none()) } else { Ok(keys) }
    }

    fn import_image(&self, layout: &Layout, path: &Path, scope: &Scope) -> Result<()> {
        let image = layout.image(&Platform::of(&self.config.architecture))?;
        let key = LayerKey::of("import", &[b"image", &image.digest.0]);
        self.import_as(&key, None, scope, |tree| {
            let session = self.open_bare(tree, scope)?;
            image.layers.iter().try_for_each(|layer| {
                unpack_layer(&session, layout, layer, Marks::Applied, path, scope)
            })
        })
    }

    /// Puts the buildroot on the layer of this key, which `make` makes if nobody has made it yet, of
    /// an archive of `size` bytes.
    fn import_as(
        &self,
        key: &LayerKey,
        size: Option<u64>,
        scope: &Scope,
        make: impl FnOnce(Tree) -> Result<()>,
    ) -> Result<()> {
        let _lock = self.lock(scope)?;
        self.finish(scope)?;
        let limit = self.config.lock_timeout;
        let layer = layer::provide(&self.zone, key, limit, scope, |home| {
            let place: Place = layer::below(home, "root");
            self.zone.make_directory(place.clone())?;
            make(Tree::Directory { place, writable: true })?;
            size.map_or(Ok(()), |size| layer::note_size(&self.zone, home, size))
        })?;
        self.stand_on(layer.key(), BaseOrigin::Import, scope)?;
        self.keep_limits(scope);
        Ok(())
    }

    /// A session on a tree that is being made: nothing is written into it, nothing bound.
    fn open_bare(&self, tree: Tree, scope: &Scope) -> Result<Session> {
        let options = SessionOptions {
            tree,
            files: Vec::new(),
            hostname: self.config.isolation.hostname.clone(),
            binds: Vec::new(),
            accept_weak: true,
            linux32: false,
            home: None,
            memory: 0,
        };
        Session::open(&self.zone, options, Vec::new(), scope)
    }
}

/// Unpacks a layer of an image and checks that it is the one.
fn unpack_layer(
    session: &Session,
    layout: &Layout,
    layer: &Layer,
    marks: Marks,
    path: &Path,
    scope: &Scope,
) -> Result<()> {
    let doing = || format!("cannot read {}", path.display());
    let hint =
        "get the image again, or write it again with the tool that made it; it may be damaged";
    let unpacked = scope.stage("import", format!("the layer {}", layer.digest), || {
        let mut blob = layout.open_blob(layer.digest, layer.size)?;
        let feed = |writer| pour(&mut blob, Some(writer), scope, doing);
        let name = format!("the layer {} of {}", layer.digest, path.display());
        let unpack = Unpack { name, marks, digest: Some(layer.diff_id.0) };
        unpack.run(session, scope, feed, |found| match found == layer.digest.0 {
            true => Ok(()),
            false => Err(layout.is_another(layer.digest, crate::image::Digest(found))),
        })
    });
    unpacked.map_err(|error| match error.kind() {
        ErrorKind::Buildroot => error.or_hint(hint),
        _ => error,
    })
}

/// How a stream is unpacked in a session.
struct Unpack {
    name: String,
    marks: Marks,
    digest: Option<[u8; 32]>,
}

impl Unpack {
    /// Unpacks what `feed` writes. It gives the SHA-256 of that, and `check` judges: of a stream
    /// that is another one than it should be, nobody wants to hear why it does not unpack.
    fn run(
        self,
        session: &Session,
        scope: &Scope,
        feed: impl FnOnce(io::PipeWriter) -> Result<[u8; 32]> + Send,
        check: impl FnOnce([u8; 32]) -> Result<()>,
    ) -> Result<()> {
        let (reader, writer) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
        // Each of both is woken less often; where it is refused, it goes without.
        let _ = rustix::pipe::fcntl_setpipe_size(&writer, 1 << 20);
        let reader = OwnedFd::from(reader);
        let Unpack { name, marks, digest } = self;
        let ownership = Ownership::Archive;
        let job = Job::Import { path: bytes("/"), name, ownership, marks, digest };
        std::thread::scope(|threads| {
            let fed = threads.spawn(move || feed(writer));
            let imported = session.work(job, &[reader.as_fd()], scope);
            // Nobody reads any more, whatever the end was.
            drop(reader);
            match fed.join() {
                Ok(Ok(found)) => check(found).and(imported),
                // An archive that cannot be read looks like one that is cut off.
                Ok(Err(error)) => Err(error),
                Err(_) => Err(Error::new(
                    ErrorKind::Unexpected,
                    "debmock panicked; this is a bug of debmock",
                )),
            }
        })
    }
}
