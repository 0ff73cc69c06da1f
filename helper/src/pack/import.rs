//! Reads a tar stream into an empty directory.

use rustix::fs::FileType;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::BorrowedFd;

use crate::unpack::codec::detect;
use crate::unpack::path::{Absolute, clean};
use crate::unpack::place::{Budget, Placed, Placer};
use crate::unpack::tarstream::{Entry, Kind, TarStream};
use crate::unpack::{Error, Limits, Problem, Tree};

/// Whose what is made will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The archive's owners, set-ID bits and extended attributes.
    Archive,
    /// This process's own, without set-ID bits and extended attributes: what crosses the border
    /// between root and host.
    Ours,
}

/// Fills the directory `root` from a tar stream, plain or compressed with gzip, xz or zstd
/// (the first bytes tell). `name` is the archive's name for error messages.
///
/// As with tar, leading slashes are dropped and a later entry replaces an earlier one of the
/// same name. Device nodes are left out, below `/dev` and elsewhere: sandboxes have their own.
/// `..` and hard links to something outside are errors. What is in `/dev` is made as far as
/// it is no device.
///
/// # Errors
/// See [`Problem`]. The tree is incomplete then.
pub fn import(
    root: BorrowedFd<'_>,
    stream: impl Read,
    name: &str,
    ownership: Ownership,
    limits: Limits,
) -> Result<(), Error> {
    let fail = |problem| Error::new(name, problem);
    let tree = Tree::new(root);
    let mut import = Import {
        placer: Placer::new(&tree).with_holes(),
        budget: Budget::new(limits),
        directories: BTreeMap::new(),
        empty: true,
    };
    let mut stream = TarStream::new(detect(stream).map_err(fail)?);
    while let Some(mut entry) = stream.next().map_err(fail)? {
        if ownership == Ownership::Ours {
            entry.uid = rustix::process::geteuid().as_raw();
            entry.gid = rustix::process::getegid().as_raw();
            entry.mode &= 0o777;
            entry.xattrs.clear();
        }
        import.entry(&entry, &mut stream).map_err(|problem| fail(problem).at(&entry.name))?;
    }
    stream.finish().map_err(fail)?;
    if import.empty {
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

/// What a directory gets when everything in it is made: its time, and the mode if it is still to
/// be set. A user's own directory must stay open to them while it is filled.
type Finish = ((i64, u32), Option<u32>);

struct Import<'t, 'a> {
    placer: Placer<'t, 'a>,
    budget: Budget,
    directories: BTreeMap<Vec<u8>, Finish>,
    empty: bool,
}

impl Import<'_, '_> {
    fn entry<R: Read>(&mut self, entry: &Entry, stream: &mut TarStream<R>) -> Result<(), Problem> {
        self.budget.entry()?;
        let path = clean(&entry.name, Absolute::Strip)?;
        if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
            return Ok(());
        }
        if path.is_empty() && entry.kind != Kind::Directory {
            return Err(Problem::malformed("the root of the archive is no directory"));
        }
        self.empty = false;
        if entry.kind == Kind::Directory {
            if !path.is_empty() && self.placer.walker.tree().open_dir(&path).is_err() {
                self.placer.remove(&path)?;
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
        let mut placed = self.make(&path, link.as_deref(), entry, stream)?;
        if placed == Placed::Occupied {
            // Nothing of the data was read yet.
            self.placer.remove(&path)?;
            placed = self.make(&path, link.as_deref(), entry, stream)?;
        }
        if placed == Placed::Occupied {
            return Err(Problem::Refused("something else makes entries in the tree".into()));
        }
        Ok(())
    }

    fn make<R: Read>(
        &mut self,
        path: &[u8],
        link: Option<&[u8]>,
        entry: &Entry,
        stream: &mut TarStream<R>,
    ) -> Result<Placed, Problem> {
        match (entry.kind, link) {
            (Kind::Symlink, _) => self.placer.symlink(path, entry),
            (Kind::HardLink, Some(link)) => self.placer.hard_link(path, link),
            (Kind::Fifo, _) => self.placer.fifo(path, entry),
            _ => {
                let Self { placer, budget, .. } = self;
                placer.file(path, entry, stream, budget, &mut (), None)
            }
        }
    }
}
