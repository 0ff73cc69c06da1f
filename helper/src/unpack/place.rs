//! Puts the entries of a tar stream into a tree.

use std::io::BufRead;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::error::{Problem, shown};
use super::path::{link_target, split};
use super::tarstream::{Entry, TarStream};
use super::tree::{Tree, Walker};

/// Upper bounds for one archive, against bombs.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of file content.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
}

impl Limits {
    /// Bounds for a package whose control file claims `installed_size` KiB: eight times as
    /// much and 64 MiB more, and at most 64 GiB. The field is an estimate that is rounded per
    /// file (Debian Policy §5.6.20), so that the factor has to be generous.
    pub fn for_package(installed_size: u64) -> Self {
        let bytes = installed_size.saturating_mul(8 * 1024).saturating_add(64 << 20);
        Self { bytes: bytes.min(64 << 30), entries: 1_000_000 }
    }

    /// Bounds for a whole root: 256 GiB and ten million entries.
    pub fn for_root() -> Self {
        Self { bytes: 256 << 30, entries: 10_000_000 }
    }
}

/// What is left of the [`Limits`].
pub(crate) struct Budget {
    limits: Limits,
    bytes: u64,
    entries: u64,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, bytes: limits.bytes, entries: limits.entries }
    }

    pub(crate) fn entry(&mut self) -> Result<(), Problem> {
        self.entries = self.entries.checked_sub(1).ok_or_else(|| {
            Problem::TooLarge(format!("more than {} entries", self.limits.entries))
        })?;
        Ok(())
    }

    /// Whether a file of this size still fits: before anything is written.
    fn check(&self, size: u64) -> Result<(), Problem> {
        if size > self.bytes {
            return Err(Problem::TooLarge(format!(
                "with this entry of {size} bytes the content exceeds {} bytes",
                self.limits.bytes
            )));
        }
        Ok(())
    }
}

/// Watches the content of a file while it is written.
pub(crate) trait Watch {
    fn see(&mut self, part: &[u8]);
}

impl Watch for () {
    fn see(&mut self, _: &[u8]) {}
}

/// What came of an attempt to make a file, link or FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Placed {
    New,
    /// Something is there already; nothing was changed.
    Occupied,
}

/// Makes entries in one tree, from one thread.
pub(crate) struct Placer<'t, 'a> {
    pub(crate) walker: Walker<'t, 'a>,
    uid: u32,
    gid: u32,
    holes: bool,
}

/// A file that was made and has its name, and neither content nor metadata.
#[derive(Debug)]
#[must_use = "it has the mode 0600 until it is finished"]
pub(crate) struct NewFile {
    file: std::fs::File,
    /// Whether it has to be given to its owner.
    is_foreign: bool,
    holes: bool,
    has_holes: AtomicBool,
    size: u64,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, u32),
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl NewFile {
    /// Writes bytes at a place.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Problem> {
        let write = |range: std::ops::Range<usize>| {
            let at = offset + range.start as u64;
            self.file
                .write_all_at(&bytes[range], at)
                .map_err(|error| Problem::io("write the file", error))
        };
        if !self.holes {
            return write(0..bytes.len());
        }
        let mut start = 0;
        for at in (0..bytes.len()).step_by(ZEROS.len()) {
            let end = bytes.len().min(at + ZEROS.len());
            if bytes[at..end] == ZEROS[..end - at] {
                if start < at {
                    write(start..at)?;
                }
                start = end;
                self.has_holes.store(true, Ordering::Relaxed);
            }
        }
        if start < bytes.len() { write(start..bytes.len()) } else { Ok(()) }
    }

    /// Gives it its owner, mode, attributes and time.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let file = &self.file;
        if self.has_holes.load(Ordering::Relaxed) {
            file.set_len(self.size).map_err(|error| Problem::io("write the file", error))?;
        }
        if self.is_foreign {
            let (uid, gid) = self.owner;
            rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|error| owner_problem(self.owner, error))?;
        }
        // After the owner: chown clears the set-ID bits.
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))
            .map_err(|error| Problem::io("set the mode", error))?;
        set_xattrs(file, &self.xattrs)?;
        rustix::fs::futimens(file, &times(self.mtime))
            .map_err(|error| Problem::io("set the time", error))
    }
}

/// Zeros of so many bytes may become a hole.
static ZEROS: [u8; 32 << 10] = [0; 32 << 10];

impl<'t, 'a> Placer<'t, 'a> {
    pub(crate) fn new(tree: &'t Tree<'a>) -> Self {
        Self {
            walker: Walker::new(tree),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            holes: false,
        }
    }

    /// Makes holes of long stretches of zeros: a tar stream does not tell which were holes before.
    pub(crate) fn with_holes(self) -> Self {
        Self { holes: true, ..self }
    }

    /// A directory. `true` if it is new; one that was there keeps its owner and mode, as with
    /// dpkg. Its time is left for the end, since entries in it change it.
    pub(crate) fn directory(&mut self, path: &[u8], entry: &Entry) -> Result<bool, Problem> {
        let new = self.walker.make(path, 0o755)?;
        if new {
            self.set_directory_metadata(path, entry)?;
        }
        Ok(new)
    }

    /// Owner, mode and extended attributes of an existing directory.
    pub(crate) fn set_directory_metadata(
        &mut self,
        path: &[u8],
        entry: &Entry,
    ) -> Result<(), Problem> {
        // A descriptor for reading: an O_PATH one does not take extended attributes.
        let opened = self.walker.tree().open_dir(path);
        let path_only = opened.map_err(|error| Problem::io("open the directory", error))?;
        let stat = rustix::fs::fstat(&path_only)
            .map_err(|error| Problem::io("look at the directory", error))?;
        if (stat.st_uid, stat.st_gid) != (entry.uid, entry.gid) {
            rustix::fs::chownat(
                &path_only,
                "",
                Some(Uid::from_raw(entry.uid)),
                Some(Gid::from_raw(entry.gid)),
                AtFlags::EMPTY_PATH,
            )
            .map_err(|error| owner_problem((entry.uid, entry.gid), error))?;
        }
        super::tree::set_mode(&path_only, entry.mode)?;
        if !entry.xattrs.is_empty() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let readable = rustix::fs::openat(&path_only, ".", flags, Mode::empty())
                .map_err(|error| Problem::io("open the directory", error))?;
            set_xattrs(&readable, &entry.xattrs)?;
        }
        // The set-group-ID bit may just have changed what new files inherit.
        if entry.mode & 0o2000 != 0 {
            self.walker.forget();
        }
        Ok(())
    }

    /// A regular file with the data that follows in `stream`.
    pub(crate) fn file<B: BufRead>(
        &mut self,
        path: &[u8],
        entry: &Entry,
        stream: &mut TarStream<B>,
        budget: &mut Budget,
        watch: &mut dyn Watch,
        cancel: Option<&AtomicBool>,
    ) -> Result<Placed, Problem> {
        let Some(file) = self.create(path, entry, budget)? else { return Ok(Placed::Occupied) };
        let mut offset = 0;
        loop {
            let part = stream.fill()?;
            if part.is_empty() {
                break;
            }
            if cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                return Err(Problem::Cancelled);
            }
            file.write_at(part, offset)?;
            watch.see(part);
            let count = part.len();
            offset += count as u64;
            stream.consume(count);
        }
        file.finish()?;
        Ok(Placed::New)
    }

    /// A regular file without content; nothing if something is there already.
    pub(crate) fn create(
        &mut self,
        path: &[u8],
        entry: &Entry,
        budget: &mut Budget,
    ) -> Result<Option<NewFile>, Problem> {
        budget.check(entry.size)?;
        let (parent, name) = split(path);
        let parent = self.walker.directory(parent)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&parent.fd, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => std::fs::File::from(fd),
            Err(Errno::EXIST) => return Ok(None),
            Err(error) => return Err(Problem::io("create the file", error)),
        };
        self.walker.tree().note(path, false)?;
        budget.bytes -= entry.size;
        Ok(Some(NewFile {
            file,
            is_foreign: parent.setgid || (entry.uid, entry.gid) != (self.uid, self.gid),
            holes: self.holes,
            has_holes: AtomicBool::new(false),
            size: entry.size,
            mode: entry.mode,
            owner: (entry.uid, entry.gid),
            mtime: entry.mtime,
            xattrs: entry.xattrs.clone(),
        }))
    }

    /// A second name for the regular file that is at the same path of another tree, if that is
    /// still what `entry` says.
    ///
    /// # Errors
    /// [`Problem::Changed`] if it is not, or if it cannot have another name.
    pub(crate) fn link_from(
        &mut self,
        path: &[u8],
        entry: &Entry,
        source: &mut Placer<'_, '_>,
    ) -> Result<Placed, Problem> {
        let (parent, name) = split(path);
        let from = source.walker.present(parent).map_err(unusable)?;
        let stat = rustix::fs::statat(&from.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| unusable(Problem::io("look at the file", error)))?;
        if !is_of(&stat, entry) {
            return Err(changed(&OTHERS));
        }
        let parent = self.walker.directory(parent)?;
        match rustix::fs::linkat(&from.fd, name, &parent.fd, name, AtFlags::empty()) {
            Ok(()) => {
                self.walker.tree().note(path, false)?;
                Ok(Placed::New)
            }
            Err(Errno::EXIST) => Ok(Placed::Occupied),
            Err(error @ (Errno::NOSPC | Errno::DQUOT)) => {
                Err(Problem::io("give the file another name", error))
            }
            Err(error) => Err(changed(&std::io::Error::from(error))),
        }
    }

    /// A copy of the regular file that has one of the names `from` in the directory `folder` of another
    /// tree, if that is still what `entry` says, and the SHA-256 of what was copied.
    ///
    /// # Errors
    /// [`Problem::Changed`] if it is not, or cannot be read; the copy cannot be made.
    pub(crate) fn copy_from(
        &mut self,
        path: &[u8],
        entry: &Entry,
        (source, folder, from): (&mut Placer<'_, '_>, &[u8], &[&[u8]]),
        budget: &mut Budget,
        cancel: &AtomicBool,
    ) -> Result<Option<[u8; 32]>, Problem> {
        let folder = source.walker.present(folder).map_err(unusable)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut opened = Err(Errno::NOENT);
        for name in from {
            if matches!(opened, Err(Errno::NOENT)) {
                opened = rustix::fs::openat(&folder.fd, *name, flags, Mode::empty());
            }
        }
        let from = opened.map_err(|error| unusable(Problem::io("open the file", error)))?;
        let stat = rustix::fs::fstat(&from)
            .map_err(|error| unusable(Problem::io("look at the file", error)))?;
        if !is_of(&stat, entry) {
            return Err(changed(&OTHERS));
        }
        let Some(file) = self.create(path, entry, budget)? else { return Ok(None) };
        // The kernel neither clones nor copies from a file system into an overlay (`EXDEV`).
        let from = std::fs::File::from(from);
        let mut buffer = vec![0; entry.size.clamp(1, COPIED) as usize];
        let (mut offset, mut hash) = (0, Sha256::new());
        while offset < entry.size {
            if cancel.load(Ordering::Relaxed) {
                return Err(Problem::Cancelled);
            }
            let length = buffer.len().min((entry.size - offset) as usize);
            let count = from
                .read_at(&mut buffer[..length], offset)
                .map_err(|error| unusable(Problem::io("read the file", error)))?;
            if count == 0 {
                return Err(changed(&"the file has become shorter"));
            }
            file.write_at(&buffer[..count], offset)?;
            hash.update(&buffer[..count]);
            offset += count as u64;
        }
        let hash = hash.finalize().into();
        if entry.sha256.is_some_and(|recorded| recorded != hash) {
            return Err(changed(&"the content of the file is another"));
        }
        file.finish()?;
        Ok(Some(hash))
    }

    /// The tree that is filled.
    pub(crate) fn tree(&self) -> &'t Tree<'a> {
        self.walker.tree()
    }

    /// What lies in a directory that is there, without following it.
    pub(crate) fn stat(&mut self, folder: &[u8], name: &[u8]) -> Result<Stat, Problem> {
        let folder = self.walker.present(folder)?;
        rustix::fs::statat(&folder.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| Problem::io("look at the path", error))
    }

    /// A symbolic link. One with the same target that is there already counts as
    /// [`Placed::Occupied`] too.
    pub(crate) fn symlink(&mut self, path: &[u8], entry: &Entry) -> Result<Placed, Problem> {
        let (parent, name) = split(path);
        let parent = self.walker.directory(parent)?;
        let target = link_target(&entry.link)?;
        match rustix::fs::symlinkat(target, &parent.fd, name) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(Placed::Occupied),
            Err(error) => return Err(Problem::io("make the symbolic link", error)),
        }
        self.walker.tree().note(path, false)?;
        self.set_link_metadata(path, entry)?;
        Ok(Placed::New)
    }

    /// Owner and time of something that must not be opened.
    pub(crate) fn set_link_metadata(&mut self, path: &[u8], entry: &Entry) -> Result<(), Problem> {
        let (parent, name) = split(path);
        let parent = self.walker.directory(parent)?;
        if parent.setgid || (entry.uid, entry.gid) != (self.uid, self.gid) {
            rustix::fs::chownat(
                &parent.fd,
                name,
                Some(Uid::from_raw(entry.uid)),
                Some(Gid::from_raw(entry.gid)),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .map_err(|error| owner_problem((entry.uid, entry.gid), error))?;
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(&parent.fd, name, &times(entry.mtime), flags)
            .map_err(|error| Problem::io("set the time", error))
    }

    /// The target of the symbolic link at `path`, if it is one.
    pub(crate) fn existing_link(&mut self, path: &[u8]) -> Result<Option<Vec<u8>>, Problem> {
        let (parent, name) = split(path);
        let parent = self.walker.directory(parent)?;
        match rustix::fs::readlinkat(&parent.fd, name, Vec::new()) {
            Ok(target) => Ok(Some(target.into_bytes())),
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(error) => Err(Problem::io("read the symbolic link", error)),
        }
    }

    /// A second name of what is at `target` (a clean path), which is not followed: a symbolic
    /// link gets a second name itself, as GNU tar writes it. The kernel refuses directories.
    pub(crate) fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<Placed, Problem> {
        let (target_parent, target_name) = split(target);
        let target_parent = self.walker.directory(target_parent)?;
        let (parent, name) = split(path);
        let parent = self.walker.directory(parent)?;
        match rustix::fs::linkat(&target_parent.fd, target_name, &parent.fd, name, AtFlags::empty())
        {
            Ok(()) => {
                self.walker.tree().note(path, false)?;
                Ok(Placed::New)
            }
            Err(Errno::EXIST) => Ok(Placed::Occupied),
            Err(Errno::NOENT) => Err(Problem::malformed(format!(
                "is a hard link to {}, which is not in the tree",
                shown(target)
            ))),
            Err(error) => Err(Problem::io(format!("link to {}", shown(target)), error)),
        }
    }

    /// A named pipe.
    pub(crate) fn fifo(&mut self, path: &[u8], entry: &Entry) -> Result<Placed, Problem> {
        let (parent, name) = split(path);
        let parent = self.walker.directory(parent)?;
        let mode = Mode::RUSR | Mode::WUSR;
        match rustix::fs::mknodat(&parent.fd, name, FileType::Fifo, mode, 0) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(Placed::Occupied),
            Err(error) => return Err(Problem::io("make the named pipe", error)),
        }
        self.walker.tree().note(path, false)?;
        self.set_link_metadata(path, entry)?;
        // What was just made with O_EXCL semantics is no link that chmod could follow; the
        // tree belongs to one unpacking at a time.
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(&parent.fd, name, mode, AtFlags::empty())
            .map_err(|error| Problem::io("set the mode", error))?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(&parent.fd, name, &times(entry.mtime), flags)
            .map_err(|error| Problem::io("set the time", error))?;
        Ok(Placed::New)
    }

    /// The type of what is at `path`, without following it.
    pub(crate) fn kind(&mut self, path: &[u8]) -> Result<Option<FileType>, Problem> {
        let (parent, name) = split(path);
        let parent = self.walker.directory(parent)?;
        match rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Problem::io("look at the path", error)),
        }
    }

    /// Mode, owner and group of what is at `path`, without following it.
    pub(crate) fn access(&mut self, path: &[u8]) -> Result<(u32, u32, u32), Problem> {
        let (parent, name) = split(path);
        let parent = self.walker.directory(parent)?;
        let stat = rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| Problem::io("look at the path", error))?;
        Ok((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid))
    }

    /// Removes what is at `path`, unless it is a directory with something in it.
    pub(crate) fn remove(&mut self, path: &[u8]) -> Result<(), Problem> {
        let kind = self.kind(path)?;
        let (parent, name) = split(path);
        let parent = self.walker.directory(parent)?;
        let flags = match kind {
            None => return Ok(()),
            Some(FileType::Directory) => {
                self.walker.forget();
                AtFlags::REMOVEDIR
            }
            Some(_) => AtFlags::empty(),
        };
        match rustix::fs::unlinkat(&parent.fd, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(Problem::io("replace what is at the path", error)),
        }
    }

    /// Removes what is at `path`, with everything below.
    pub(crate) fn remove_tree(&mut self, path: &[u8]) -> Result<(), Problem> {
        let (parent, name) = split(path);
        let parent = self.walker.directory(parent)?;
        self.walker.forget();
        match crate::store::remove_tree(&parent.fd, name) {
            // A directory on which the session has mounted something. It is empty by now.
            Ok(()) | Err(Errno::BUSY) => Ok(()),
            Err(error) => Err(Problem::io("remove what a layer hides", error)),
        }
    }

    /// The names in the directory at `path`; none if there is none.
    pub(crate) fn names(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>, Problem> {
        let fail = |error| Problem::io("list the directory", error);
        let directory = match self.walker.tree().open_dir(path) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        // An O_PATH descriptor cannot be read.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&directory, ".", flags, Mode::empty()).map_err(fail)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Modification time of the directory at `path`, if there is one.
    pub(crate) fn time_of(&mut self, path: &[u8]) -> Result<Option<(i64, u32)>, Problem> {
        let fail = |error| Problem::io("look at the directory", error);
        let directory = match self.walker.tree().open_dir(path) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let stat = rustix::fs::fstat(&directory).map_err(fail)?;
        Ok(Some((stat.st_mtime as i64, stat.st_mtime_nsec as u32)))
    }

    /// An overlay's mark that hides what lies at `path` in the layers below.
    pub(crate) fn whiteout(&mut self, path: &[u8]) -> Result<(), Problem> {
        let (parent, name) = split(path);
        let parent = self.walker.directory(parent)?;
        // Nobody needs rights for this one device since Linux 5.8.
        let kind = FileType::CharacterDevice;
        rustix::fs::mknodat(&parent.fd, name, kind, Mode::empty(), 0)
            .map_err(|error| Problem::io("mark it as deleted", error))
    }

    /// An overlay's mark that the directory at `path` hides those of the layers below.
    pub(crate) fn make_opaque(&mut self, path: &[u8]) -> Result<(), Problem> {
        let path_only = self.walker.directory(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&path_only.fd, ".", flags, Mode::empty())
            .and_then(|directory| {
                let flags = XattrFlags::empty();
                rustix::fs::fsetxattr(&directory, "user.overlay.opaque", b"y", flags)
            })
            .map_err(|error| Problem::io("mark the directory as opaque", error))
    }

    /// The time of a directory, after everything in it is made, and its mode if it is given.
    pub(crate) fn finish_directory(
        &mut self,
        path: &[u8],
        mtime: (i64, u32),
        mode: Option<u32>,
    ) -> Result<(), Problem> {
        let fd = self
            .walker
            .tree()
            .open_dir(path)
            .map_err(|error| Problem::io("open the directory", error))?;
        rustix::fs::utimensat(&fd, ".", &times(mtime), AtFlags::empty())
            .map_err(|error| Problem::io("set the time", error))?;
        mode.map_or(Ok(()), |mode| super::tree::set_mode(&fd, mode))
    }
}

/// Why a file is not the one that was recorded.
const OTHERS: &str = "size, mode, owner or time of the file are others";
/// Bytes that are copied at once.
const COPIED: u64 = 256 << 10;

fn changed(why: &dyn std::fmt::Display) -> Problem {
    Problem::Changed(why.to_string())
}

/// Whatever is wrong with the file of another tree is a reason to do without it, but not what this
/// process lacks.
fn unusable(problem: Problem) -> Problem {
    if problem.is_lack() { problem } else { changed(&problem) }
}

/// Times that every file system holds, in seconds since 1970; others become what it can hold.
const HELD: std::ops::Range<i64> = 0..1 << 31;

/// Whether a file has the size, mode, owner and time that `entry` says.
pub(crate) fn is_of(stat: &Stat, entry: &Entry) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid)
            == (entry.mode & 0o7777, entry.uid, entry.gid)
        && stat.st_size as u64 == entry.size
        && (!HELD.contains(&entry.mtime.0)
            || (stat.st_mtime, stat.st_mtime_nsec as i64)
                == (entry.mtime.0, i64::from(entry.mtime.1)))
}

fn owner_problem((uid, gid): (u32, u32), error: Errno) -> Problem {
    Problem::io(format!("give the path to owner {uid}:{gid} (are both mapped here?)"), error)
}

fn times(mtime: (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: mtime.0, tv_nsec: mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Attributes of the overlay file system itself would change how a tree that becomes a layer
/// is read: they never come from an archive.
const OVERLAY_XATTRS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

fn set_xattrs(file: impl AsFd, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Problem> {
    for (name, value) in xattrs {
        if OVERLAY_XATTRS.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(Problem::Refused(format!(
                "it carries the attribute {} of the overlay file system",
                shown(name)
            )));
        }
        rustix::fs::fsetxattr(file.as_fd(), name.as_slice(), value, XattrFlags::empty()).map_err(
            |error| Problem::io(format!("set the extended attribute {}", shown(name)), error),
        )?;
    }
    Ok(())
}
