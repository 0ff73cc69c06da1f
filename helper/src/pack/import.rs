//! Reads a tar stream into an empty directory.

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read};
use std::os::fd::BorrowedFd;

use crate::unpack::path::{Absolute, clean, split};
use crate::unpack::place::{Budget, Placed, Placer};
use crate::unpack::tarstream::{Entry, Kind, TarStream};
use crate::unpack::{Error, Limits, Problem, Tree, escaped, hex};

use super::unframe::decode;
use super::writers::{Writers, write_with};
use super::{OPAQUE, WHITEOUT};

/// Whose what is made will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// The archive's owners, set-ID bits and extended attributes.
    Archive,
    /// This process's own, without set-ID bits and extended attributes: what crosses the border
    /// between root and host.
    Ours,
}

/// What files mean whose names begin with `.wh.`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Marks {
    /// Nothing: they are files like others.
    Files,
    /// They are marks of an OCI image (image specification, “Layer Changeset”), which are carried
    /// out on what is in the tree already.
    Applied,
    /// They are marks of an OCI image, and become those of an overlay's layer.
    Kept,
}

/// How to read an archive.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// Whose what is made will be.
    pub ownership: Ownership,
    /// What `.wh.` means.
    pub marks: Marks,
    /// The SHA-256 that the stream must have when it is not compressed.
    pub digest: Option<[u8; 32]>,
    /// How much it may hold.
    pub limits: Limits,
}

impl Default for ImportOptions {
    /// A whole root with its owners.
    fn default() -> Self {
        ImportOptions {
            ownership: Ownership::Archive,
            marks: Marks::Files,
            digest: None,
            limits: Limits::for_root(),
        }
    }
}

/// Fills the directory `root` from a tar stream, plain or compressed with gzip, xz or zstd
/// (the first bytes tell). `name` is the archive's name for error messages.
///
/// As with tar, leading slashes are dropped and a later entry replaces an earlier one of the
/// same name. Device nodes are left out, below `/dev` and elsewhere: sandboxes have their own.
/// `..` and hard links to something outside are errors. What is in `/dev` is made as far as
/// it is no device.
///
/// With [`Marks::Applied`] the tree may hold what layers below brought: directories become one,
/// anything else is replaced.
///
/// # Errors
/// See [`Problem`]. The tree is incomplete then.
pub fn import(
    root: BorrowedFd<'_>,
    stream: impl Read + Send,
    name: &str,
    options: ImportOptions,
) -> Result<(), Error> {
    decode(stream, |plain| import_plain(root, plain, name, options))
        .map_err(|problem| Error::new(name, problem))?
}

fn import_plain(
    root: BorrowedFd<'_>,
    stream: &mut dyn BufRead,
    name: &str,
    options: ImportOptions,
) -> Result<(), Error> {
    let fail = |problem| Error::new(name, problem);
    let tree = Tree::new(root);
    let mut import = Import {
        placer: Placer::new(&tree).with_holes(),
        budget: Budget::new(options.limits),
        directories: BTreeMap::new(),
        marks: options.marks,
        brought: BTreeSet::new(),
        empty: true,
    };
    let mut hashed = Hashed { stream, hash: options.digest.is_some().then(Sha256::new) };
    let read = |writers: &mut Writers<'_>| {
        let mut stream = TarStream::of(&mut hashed);
        while writers.are_well()
            && let Some(mut entry) = stream.next().map_err(fail)?
        {
            if options.ownership == Ownership::Ours {
                entry.uid = rustix::process::geteuid().as_raw();
                entry.gid = rustix::process::getegid().as_raw();
                entry.mode &= 0o777;
                entry.xattrs.clear();
            }
            import
                .entry(&entry, &mut stream, writers)
                .map_err(|problem| fail(problem).at(&entry.name))?;
        }
        if writers.are_well() { stream.finish().map_err(fail) } else { Ok(()) }
    };
    write_with(read, |problem, path| fail(problem).at(path))?;
    if let (Some(wanted), Some(hash)) = (options.digest, hashed.hash) {
        let found = hash.finalize();
        if found[..] != wanted {
            return Err(fail(Problem::malformed(format!(
                "has the SHA-256 {} when it is unpacked, and not {}",
                hex(&found),
                hex(&wanted)
            ))));
        }
    }
    if import.empty && options.marks == Marks::Files {
        return Err(fail(Problem::malformed("has no entries: it is no archive of a root")));
    }
    // Deepest first, as tar does: of two names of one directory the same one rules every time.
    for (path, (mtime, mode)) in import.directories.iter().rev() {
        let is_directory = matches!(import.placer.kind(path), Ok(Some(FileType::Directory)));
        // Else it was replaced by something else later in the archive.
        if path.is_empty() || is_directory {
            import
                .placer
                .finish_directory(path, *mtime, *mode)
                .map_err(|problem| fail(problem).at(path))?;
        }
    }
    Ok(())
}

/// Looks at what is read.
struct Hashed<R> {
    stream: R,
    hash: Option<Sha256>,
}

impl<R: BufRead> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Hashed<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.stream.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What is there is given again.
        if let (Some(hash), Ok(part)) = (&mut self.hash, self.stream.fill_buf()) {
            hash.update(&part[..count.min(part.len())]);
        }
        self.stream.consume(count);
    }
}

/// What a directory gets when everything in it is made: its time, and the mode if it is still to
/// be set. A user's own directory must stay open to them while it is filled.
type Finish = ((i64, u32), Option<u32>);

struct Import<'t, 'a> {
    placer: Placer<'t, 'a>,
    budget: Budget,
    directories: BTreeMap<Vec<u8>, Finish>,
    marks: Marks,
    /// What this layer brought: its own marks concern only what lies below. Empty without marks.
    brought: BTreeSet<Vec<u8>>,
    empty: bool,
}

impl Import<'_, '_> {
    fn entry<B: BufRead>(
        &mut self,
        entry: &Entry,
        stream: &mut TarStream<B>,
        writers: &mut Writers<'_>,
    ) -> Result<(), Problem> {
        self.budget.entry()?;
        let path = clean(&entry.name, Absolute::Strip)?;
        if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
            return Ok(());
        }
        if path.is_empty() && entry.kind != Kind::Directory {
            return Err(Problem::malformed("the root of the archive is no directory"));
        }
        self.empty = false;
        if self.marks != Marks::Files {
            let (parent, name) = split(&path);
            if let Some(hidden) = name.strip_prefix(WHITEOUT) {
                return self.mark(parent, name, hidden);
            }
            self.keep_time(parent)?;
            self.brought.insert(path.clone());
        }
        if entry.kind == Kind::Directory {
            match self.marks {
                Marks::Applied if !path.is_empty() => {
                    // Of a lower layer a link to a directory is no directory.
                    if self.placer.kind(&path)? != Some(FileType::Directory) {
                        self.replace(&path)?;
                        self.placer.walker.forget();
                    }
                }
                _ => {
                    if !path.is_empty() && self.placer.walker.tree().open_dir(&path).is_err() {
                        self.placer.remove(&path)?;
                    }
                }
            }
            let _ = self.placer.walker.make(&path, 0o755)?;
            let closed = (entry.mode & 0o700 != 0o700).then_some(entry.mode);
            let open = Entry { mode: entry.mode | 0o700, ..entry.clone() };
            // Also for one that exists: here the archive rules.
            self.placer.set_directory_metadata(&path, &open)?;
            self.directories.insert(path, (entry.mtime, closed));
            return Ok(());
        }
        let link = match entry.kind {
            Kind::HardLink => Some(clean(&entry.link, Absolute::Strip)?),
            _ => None,
        };
        if link.as_ref() == Some(&path) {
            return Ok(());
        }
        if let Some(link) = &link
            && self.placer.kind(link)? == Some(FileType::Directory)
        {
            return Err(Problem::Refused("it is a hard link to a directory".into()));
        }
        let mut placed = self.make(&path, link.as_deref(), entry, stream, writers)?;
        if placed == Placed::Occupied {
            // Nothing of the data was read yet.
            self.replace(&path)?;
            placed = self.make(&path, link.as_deref(), entry, stream, writers)?;
        }
        if placed == Placed::Occupied {
            return Err(Problem::Refused("something else makes entries in the tree".into()));
        }
        Ok(())
    }

    /// Carries out a mark, or makes it one of the kernel's.
    fn mark(&mut self, parent: &[u8], name: &[u8], hidden: &[u8]) -> Result<(), Problem> {
        let opaque = name == OPAQUE;
        // Other names of this form belong to the storage of those who made the image.
        if !opaque && hidden.starts_with(WHITEOUT) {
            return Ok(());
        }
        if !opaque && matches!(hidden, b"" | b"." | b"..") {
            return Err(Problem::Escape(format!(
                "{} marks something as deleted that has no name",
                escaped(name)
            )));
        }
        self.keep_time(parent)?;
        let path = match parent {
            b"" => hidden.to_vec(),
            _ => [parent, b"/", hidden].concat(),
        };
        match (self.marks, opaque) {
            (Marks::Kept, true) => self.placer.make_opaque(parent),
            (Marks::Kept, false) => self.placer.whiteout(&path),
            (_, true) => self.hide_below(parent),
            (_, false) => self.hide(&path),
        }
    }

    /// Removes what layers below brought to a path.
    fn hide(&mut self, path: &[u8]) -> Result<(), Problem> {
        match self.placer.kind(path)? {
            None => Ok(()),
            Some(FileType::Directory) if self.brings(path) => self.hide_below(path),
            Some(_) if self.brings(path) => Ok(()),
            Some(_) => self.replace(path),
        }
    }

    /// Removes what layers below brought into a directory.
    fn hide_below(&mut self, path: &[u8]) -> Result<(), Problem> {
        for name in self.placer.names(path)? {
            let inner = match path {
                b"" => name,
                _ => [path, b"/", &name[..]].concat(),
            };
            self.hide(&inner)?;
        }
        Ok(())
    }

    /// Removes what is at a path, for something else in its place. Of directories only those of
    /// layers below.
    fn replace(&mut self, path: &[u8]) -> Result<(), Problem> {
        if self.marks != Marks::Applied || self.placer.kind(path)? != Some(FileType::Directory) {
            return self.placer.remove(path);
        }
        let below = [path, b"/"].concat();
        if self.brought.range(below.clone()..).next().is_some_and(|one| one.starts_with(&below)) {
            return Err(Problem::malformed("is a directory and something else in one layer"));
        }
        self.directories.retain(|known, _| known != path && !known.starts_with(&below));
        self.placer.remove_tree(path)
    }

    /// Whether this layer brought something at or below a path.
    fn brings(&self, path: &[u8]) -> bool {
        let below = [path, b"/"].concat();
        self.brought.contains(path)
            || self.brought.range(below.clone()..).next().is_some_and(|one| one.starts_with(&below))
    }

    /// Remembers the time of a directory of a lower layer that this one changes without having it.
    fn keep_time(&mut self, directory: &[u8]) -> Result<(), Problem> {
        if self.marks == Marks::Applied
            && !self.directories.contains_key(directory)
            && let Some(time) = self.placer.time_of(directory)?
        {
            self.directories.insert(directory.to_vec(), (time, None));
        }
        Ok(())
    }

    fn make<B: BufRead>(
        &mut self,
        path: &[u8],
        link: Option<&[u8]>,
        entry: &Entry,
        stream: &mut TarStream<B>,
        writers: &mut Writers<'_>,
    ) -> Result<Placed, Problem> {
        match (entry.kind, link) {
            (Kind::Symlink, _) => self.placer.symlink(path, entry),
            (Kind::HardLink, Some(link)) => self.placer.hard_link(path, link),
            (Kind::Fifo, _) => self.placer.fifo(path, entry),
            _ => {
                let Some(file) = self.placer.create(path, entry, &mut self.budget)? else {
                    return Ok(Placed::Occupied);
                };
                let mut content = writers.begin(file, path);
                loop {
                    let part = stream.fill()?;
                    if part.is_empty() {
                        writers.end(content);
                        return Ok(Placed::New);
                    }
                    let count = writers.add(&mut content, part);
                    stream.consume(count);
                }
            }
        }
    }
}
