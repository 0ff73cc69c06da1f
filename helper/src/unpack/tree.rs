//! A directory that is being filled, and the only way from a path in an archive to a
//! directory descriptor in it.
//!
//! A path is resolved as the kernel would resolve it after `chroot(2)`: links of the tree
//! itself are followed (a merged /usr has `bin -> usr/bin`), absolute ones start at the root,
//! `..` stops there. So nothing that an archive contains can name a file outside.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::{Problem, shown};
use super::path::split;

/// How many directories a [`Walker`] keeps open.
const OPEN_DIRECTORIES: usize = 64;
/// How many symbolic links one path may lead through (the kernel's own limit).
pub(crate) const MAX_LINKS: usize = 40;

/// The root of a tree, shared by threads.
#[derive(Debug)]
pub struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// Set as soon as `openat2` turns out to be missing (before Linux 5.6, or filtered).
    portable: AtomicBool,
    merged_usr: bool,
    /// Where it is written down what is made in it.
    journal: Option<&'a File>,
    /// Nothing may change in it but what comes new.
    only_new: bool,
}

/// The directories below `/` that a merged /usr replaces with links into `/usr`.
const ALIASED: [&[u8]; 7] = [b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libo32", b"libx32"];

impl<'a> Tree<'a> {
    /// A tree below `root`, a descriptor of a directory (`O_PATH` is enough).
    pub fn new(root: BorrowedFd<'a>) -> Self {
        Self {
            root,
            portable: AtomicBool::new(false),
            merged_usr: false,
            journal: None,
            only_new: false,
        }
    }

    /// Writes down what is made: for each path that was not there before a letter, `d` for a
    /// directory and `f` for everything else, the clean path, and a zero byte. Nothing may change but
    /// what comes new then: not even a link that is there already may be brought once more.
    #[must_use]
    pub fn with_journal(mut self, journal: &'a File) -> Self {
        self.journal = Some(journal);
        self.only_new = true;
        self
    }

    /// Whether it is a tree in which nothing may change but what comes new.
    pub(crate) fn is_only_new(&self) -> bool {
        self.only_new
    }

    /// Notes that there is something at `path` that was not there before.
    ///
    /// # Errors
    /// It cannot be noted; it is gone then.
    pub(crate) fn note(&self, path: &[u8], directory: bool) -> Result<(), Problem> {
        let Some(mut journal) = self.journal else { return Ok(()) };
        let kind: &[u8] = if directory { b"d" } else { b"f" };
        journal.write_all(&[kind, path, b"\0"].concat()).map_err(|error| {
            let (parent, name) = split(path);
            let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            // The first failure counts.
            let _ =
                self.open_dir(parent).and_then(|parent| rustix::fs::unlinkat(&parent, name, flags));
            Problem::Io { doing: "write the journal".into(), source: error }
        })
    }

    /// Makes `bin`, `sbin`, `lib` and `lib*` links into `usr` where a package brings them as
    /// directories: what the package `usrmerge` would make of the tree when it is configured.
    #[must_use]
    pub fn with_merged_usr(mut self, merged: bool) -> Self {
        self.merged_usr = merged;
        self
    }

    /// Resolves paths without `openat2`, as on kernels that lack it.
    #[must_use]
    pub fn without_openat2(self) -> Self {
        self.portable.store(true, Ordering::Relaxed);
        self
    }

    /// The path under which dpkg's view and the tree's agree: in a merged /usr, `bin/x` is
    /// `usr/bin/x`.
    pub(crate) fn canonical<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        if self.is_alias(path) { Cow::Owned([b"usr/", path].concat()) } else { Cow::Borrowed(path) }
    }

    /// Whether the path is in, or is, a directory that becomes a link into `/usr`.
    pub(crate) fn is_alias(&self, path: &[u8]) -> bool {
        let end = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
        self.merged_usr && ALIASED.contains(&&path[..end])
    }

    pub(crate) fn root(&self) -> BorrowedFd<'a> {
        self.root
    }

    /// Opens the directory at `path` (clean, may be empty) with the tree as root.
    pub(crate) fn open_dir(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.open_dir_at(self.root, path)
    }

    /// Whether there is anything at `path` (clean, not empty).
    pub(crate) fn has(&self, path: &[u8]) -> bool {
        let (parent, name) = split(path);
        self.open_dir(parent).is_ok_and(|parent| {
            rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
        })
    }

    fn open_dir_at(&self, root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let name: &[u8] = if path.is_empty() { b"." } else { path };
        if !self.portable.load(Ordering::Relaxed) {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            // EAGAIN: something else in the tree was renamed meanwhile.
            for _ in 0..64 {
                match rustix::fs::openat2(root, name, flags, Mode::empty(), resolve) {
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(Errno::NOSYS | Errno::PERM) => {
                        self.portable.store(true, Ordering::Relaxed);
                        break;
                    }
                    result => return result,
                }
            }
        }
        walk(root, name).map(|(directory, _)| directory)
    }

    /// Where the directory at `path` (clean, may be empty) lies, through all links.
    pub(crate) fn real(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        walk(self.root, path).map(|(_, real)| real)
    }
}

/// The same as `openat2(RESOLVE_IN_ROOT)`, one component at a time: each is opened without
/// following it, and a link is read and resolved here. With the path that has no link in it.
fn walk(root: BorrowedFd<'_>, path: &[u8]) -> Result<(OwnedFd, Vec<u8>), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut stack = vec![root.try_clone_to_owned().map_err(|_| Errno::MFILE)?];
    let mut todo: Vec<Vec<u8>> = components(path);
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(component) = todo.pop() {
        if component == b".." {
            if stack.len() > 1 {
                stack.pop();
                names.pop();
            }
            continue;
        }
        // The stack is never empty: its first element is only ever kept.
        let Some(here) = stack.last() else { return Err(Errno::NOENT) };
        let next = rustix::fs::openat(here, component.as_slice(), flags, Mode::empty())?;
        match FileType::from_raw_mode(rustix::fs::fstat(&next)?.st_mode) {
            FileType::Directory => {
                stack.push(next);
                names.push(component);
            }
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(&next, "", Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    stack.truncate(1);
                    names.clear();
                }
                todo.extend(components(&target));
            }
            _ => return Err(Errno::NOTDIR),
        }
    }
    stack.pop().map(|directory| (directory, names.join(&b'/'))).ok_or(Errno::NOENT)
}

/// The components of a path, last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&b| b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .rev()
        .map(Vec::from)
        .collect()
}

/// An open directory of the tree, with what new entries in it inherit.
#[derive(Debug)]
pub(crate) struct OpenDir {
    pub fd: OwnedFd,
    /// New files get the directory's group, not the process's.
    pub setgid: bool,
}

/// One thread's view of the tree: keeps the directories that it used last open.
pub(crate) struct Walker<'t, 'a> {
    tree: &'t Tree<'a>,
    open: HashMap<Vec<u8>, Rc<OpenDir>>,
}

impl<'t, 'a> Walker<'t, 'a> {
    pub(crate) fn new(tree: &'t Tree<'a>) -> Self {
        Self { tree, open: HashMap::new() }
    }

    pub(crate) fn tree(&self) -> &'t Tree<'a> {
        self.tree
    }

    /// Forgets what is open: a directory was removed or replaced.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
    }

    /// The directory at `path`, made with its parents (mode 0755) where it is missing.
    pub(crate) fn directory(&mut self, path: &[u8]) -> Result<Rc<OpenDir>, Problem> {
        if let Some(open) = self.open.get(path) {
            return Ok(Rc::clone(open));
        }
        let fd = match self.tree.open_dir(path) {
            Err(Errno::NOENT) if !path.is_empty() => {
                self.make(path, 0o755)?;
                self.tree.open_dir(path)
            }
            result => result,
        };
        let fd = fd.map_err(|error| match error {
            Errno::NOTDIR | Errno::LOOP | Errno::NOENT => Problem::Refused(format!(
                "its directory {} is something else in the tree ({})",
                shown(path),
                std::io::Error::from(error)
            )),
            _ => Problem::io(format!("open the directory {}", shown(path)), error),
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| {
            Problem::io(format!("look at the directory {}", shown(path)), error)
        })?;
        let open = Rc::new(OpenDir { fd, setgid: stat.st_mode & 0o2000 != 0 });
        if self.open.len() >= OPEN_DIRECTORIES {
            self.open.clear();
        }
        self.open.insert(path.to_vec(), Rc::clone(&open));
        Ok(open)
    }

    /// The directory at `path`, which has to be there.
    pub(crate) fn present(&mut self, path: &[u8]) -> Result<Rc<OpenDir>, Problem> {
        if !self.open.contains_key(path) {
            self.tree.open_dir(path).map_err(|error| {
                Problem::io(format!("open the directory {}", shown(path)), error)
            })?;
        }
        self.directory(path)
    }

    /// Makes the directory at `path`. `false` if there is one already, perhaps behind a link.
    pub(crate) fn make(&mut self, path: &[u8], mode: u32) -> Result<bool, Problem> {
        if path.is_empty() {
            return Ok(false);
        }
        let (parent, name) = split(path);
        let parent = self.directory(parent)?;
        if self.tree.merged_usr && ALIASED.contains(&path) {
            return self.make_alias(path);
        }
        match rustix::fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(mode & 0o777)) {
            Ok(()) => {
                self.tree.note(path, true)?;
                Ok(true)
            }
            Err(Errno::EXIST) => match self.tree.open_dir(path) {
                Ok(_) => Ok(false),
                Err(error) => Err(Problem::Refused(format!(
                    "it is a directory in the archive and something else in the tree ({})",
                    std::io::Error::from(error)
                ))),
            },
            Err(error) => Err(Problem::io("make the directory", error)),
        }
    }

    /// `bin -> usr/bin`. Always reports the directory as present, so that nobody sets its
    /// mode from the alias's entry.
    fn make_alias(&mut self, name: &[u8]) -> Result<bool, Problem> {
        let target = [b"usr/", name].concat();
        match self.tree.open_dir(name) {
            Ok(_) => return Ok(false),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(Problem::io("open the directory", error)),
        }
        if self.make(&target, 0o755)? {
            let directory = self.directory(&target)?;
            set_mode(&directory.fd, 0o755)?;
        }
        match rustix::fs::symlinkat(target.as_slice(), self.tree.root, name) {
            Ok(()) | Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(Problem::io("make the link into /usr", error)),
        }
    }
}

/// `chmod` through an `O_PATH` descriptor, which `fchmod` does not take.
pub(crate) fn set_mode(dir: impl AsFd, mode: u32) -> Result<(), Problem> {
    let mode = Mode::from_raw_mode(mode);
    match rustix::fs::chmodat(&dir, ".", mode, AtFlags::empty()) {
        // It is closed even to its owner, as an umask may have made it.
        Err(Errno::ACCESS) => {
            let path = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
            rustix::fs::chmodat(rustix::fs::CWD, path, mode, AtFlags::empty())
        }
        other => other,
    }
    .map_err(|error| Problem::io("set the mode", error))
}
