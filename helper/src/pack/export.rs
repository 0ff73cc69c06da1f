//! Writes a tree as a tar stream.

use std::collections::HashMap;
use std::io::{BufWriter, Read as _, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Error;
use super::header::{
    BLOCK, BLOCK_DEVICE, CHAR_DEVICE, DIRECTORY, Entry, FIFO, FILE, HARD_LINK, SYMLINK, Xattr,
};
use super::{OPAQUE, WHITEOUT};
use crate::unpack::escaped;
use serde::{Deserialize, Serialize};

/// Archives end at a multiple of this, as GNU tar's do.
const RECORD: u64 = 20 * BLOCK as u64;
/// How deep directories may be nested; each level holds a descriptor.
const MAX_DEPTH: usize = 512;

/// How to write an archive.
#[derive(Clone, Copy, Debug)]
pub struct ExportOptions<'a> {
    /// Later modification times become this one, in seconds since 1970.
    pub source_date_epoch: i64,
    /// What becomes of the tree's `dev`.
    pub devices: Devices,
    /// Whether the tree is one of several that lie above each other, whose marks for what it hides
    /// of those below are written in the form of OCI images (image specification, “Whiteouts”).
    pub layer: bool,
    /// What belongs to this user and what belongs to this group is written as root's: the tree is
    /// somebody's own who cannot give files away.
    pub mine: Option<(u32, u32)>,
    /// Paths (without `./`) that are left out, with all below.
    pub exclude: &'a [&'a str],
}

impl Default for ExportOptions<'_> {
    /// A tree as it is, with its times.
    fn default() -> Self {
        ExportOptions {
            source_date_epoch: i64::MAX,
            devices: Devices::AsFound,
            layer: false,
            mine: None,
            exclude: &[],
        }
    }
}

/// What becomes of a tree's `dev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Devices {
    /// It is a directory like others.
    AsFound,
    /// It is that of a root: the nodes that every root has there take its place.
    Synthesised,
    /// It is that of a root for somebody who mounts one of their own: its directory is empty.
    Empty,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the stream.
    pub bytes: u64,
    /// The newest modification time in it, in seconds since 1970; not before.
    pub newest: u64,
}

/// Name, type, mode, target of a link, numbers of a device.
type Node = (&'static str, u8, u32, &'static str, (u32, u32));

/// The nodes that every archive has in `./dev`, whatever the tree has there: a user without
/// privileges cannot make them, and the archive must not depend on who made it.
const DEVICES: [Node; 15] = [
    ("", DIRECTORY, 0o755, "", (0, 0)),
    ("console", CHAR_DEVICE, 0o666, "", (5, 1)),
    ("fd", SYMLINK, 0o777, "/proc/self/fd", (0, 0)),
    ("full", CHAR_DEVICE, 0o666, "", (1, 7)),
    ("null", CHAR_DEVICE, 0o666, "", (1, 3)),
    ("ptmx", CHAR_DEVICE, 0o666, "", (5, 2)),
    ("pts/", DIRECTORY, 0o755, "", (0, 0)),
    ("random", CHAR_DEVICE, 0o666, "", (1, 8)),
    ("shm/", DIRECTORY, 0o755, "", (0, 0)),
    ("stderr", SYMLINK, 0o777, "/proc/self/fd/2", (0, 0)),
    ("stdin", SYMLINK, 0o777, "/proc/self/fd/0", (0, 0)),
    ("stdout", SYMLINK, 0o777, "/proc/self/fd/1", (0, 0)),
    ("tty", CHAR_DEVICE, 0o666, "", (5, 0)),
    ("urandom", CHAR_DEVICE, 0o666, "", (1, 9)),
    ("zero", CHAR_DEVICE, 0o666, "", (1, 5)),
];

/// Writes the tree below `root` to `output`: the synthesised `./dev`, then everything else
/// by sorted names, hard links under the first of their names. Sockets are left out, as by
/// tar; so is what is mounted in the tree.
///
/// # Errors
/// The tree cannot be read or changes meanwhile, is nested too deep, or `output` fails.
pub fn export(
    root: BorrowedFd<'_>,
    output: impl Write,
    options: ExportOptions<'_>,
) -> Result<Written, Error> {
    let mut exporter = Exporter {
        output: BufWriter::with_capacity(256 << 10, output),
        written: 0,
        newest: 0,
        options,
        device: 0,
        linked: HashMap::new(),
        buffer: vec![0; 256 << 10],
    };
    if options.devices == Devices::Synthesised {
        exporter.synthesise_dev()?;
    }
    let before = exporter.written;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(root, ".", flags, Mode::empty())
        .map_err(|error| read_error("open", b".", error))?;
    let stat = rustix::fs::fstat(&directory).map_err(|error| read_error("look at", b".", error))?;
    exporter.device = stat.st_dev;
    exporter.directory(&directory, b".", &stat, 0)?;
    // Two empty blocks, then up to a full record (of what tar itself would have written).
    let tail = (exporter.written - before + 2 * BLOCK as u64).next_multiple_of(RECORD)
        - (exporter.written - before);
    exporter.zeros(tail)?;
    exporter.output.flush().map_err(Error::Write)?;
    Ok(Written { bytes: exporter.written, newest: exporter.newest })
}

struct Exporter<'a, W: Write> {
    output: BufWriter<W>,
    written: u64,
    newest: u64,
    options: ExportOptions<'a>,
    device: u64,
    /// First name of each file that has several.
    linked: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

impl<W: Write> Exporter<'_, W> {
    fn synthesise_dev(&mut self) -> Result<(), Error> {
        for (name, kind, mode, link, device) in DEVICES {
            let name = format!("./dev/{name}");
            let node = Entry {
                name: name.as_bytes(),
                kind,
                mode,
                uid: 0,
                gid: 0,
                size: 0,
                mtime: (self.options.source_date_epoch, 0),
                link: link.as_bytes(),
                device,
                xattrs: Vec::new(),
            };
            self.write(&node.encode_node())?;
        }
        Ok(())
    }

    /// A directory and what is in it. `path` starts with `.`.
    fn directory(
        &mut self,
        directory: &rustix::fd::OwnedFd,
        path: &[u8],
        stat: &Stat,
        depth: usize,
    ) -> Result<(), Error> {
        let name = [path, b"/"].concat();
        let mut entry = self.entry(&name, DIRECTORY, stat);
        entry.xattrs = xattrs(directory, path)?;
        self.header(&entry)?;
        if stat.st_dev != self.device
            || (path == b"./dev" && self.options.devices == Devices::Empty)
        {
            return Ok(());
        }
        if self.options.layer && is_opaque(directory) {
            let mark = [path, b"/", OPAQUE].concat();
            self.mark(&mark, stat)?;
        }
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep { levels: MAX_DEPTH, path: shown(path) });
        }
        let fail = |error| read_error("list", path, error);
        let mut names = Vec::new();
        for found in Dir::read_from(directory).map_err(fail)? {
            let found = found.map_err(fail)?;
            let name = found.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        for name in names {
            let path = [path, b"/", &name[..]].concat();
            let below = &path[2..];
            let nodes = self.options.devices == Devices::Synthesised && below == b"dev";
            if nodes || self.options.exclude.iter().any(|one| one.as_bytes() == below) {
                continue;
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let stat = rustix::fs::statat(directory, name.as_slice(), flags)
                .map_err(|error| read_error("look at", &path, error))?;
            self.node(directory, &name, &path, &stat, depth)?;
        }
        Ok(())
    }

    fn node(
        &mut self,
        parent: &rustix::fd::OwnedFd,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
        depth: usize,
    ) -> Result<(), Error> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = rustix::fs::openat(parent, name, flags, Mode::empty())
                .map_err(|error| read_error("open", path, error))?;
            return self.directory(&inner, path, stat, depth + 1);
        }
        if self.options.layer && kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            let at = path.len() - name.len();
            let mark = [&path[..at], WHITEOUT, name].concat();
            return self.mark(&mark, stat);
        }
        if self.options.layer && name.starts_with(WHITEOUT) {
            return Err(Error::Mark { path: shown(path) });
        }
        if stat.st_nlink > 1 && kind != FileType::Socket {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.linked.get(&key) {
                let first = first.clone();
                let mut entry = self.entry(path, HARD_LINK, stat);
                entry.link = &first;
                return self.header(&entry);
            }
            self.linked.insert(key, path.to_vec());
        }
        match kind {
            FileType::RegularFile => self.file(parent, name, path, stat),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new())
                    .map_err(|error| read_error("read the link", path, error))?;
                let mut entry = self.entry(path, SYMLINK, stat);
                entry.mode = 0o777;
                entry.link = target.as_bytes();
                self.header(&entry)
            }
            FileType::Fifo => self.header(&self.entry(path, FIFO, stat)),
            FileType::CharacterDevice | FileType::BlockDevice => {
                let kind = if kind == FileType::BlockDevice { BLOCK_DEVICE } else { CHAR_DEVICE };
                let mut entry = self.entry(path, kind, stat);
                entry.device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                self.header(&entry)
            }
            _ => Ok(()),
        }
    }

    fn file(
        &mut self,
        parent: &rustix::fd::OwnedFd,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
    ) -> Result<(), Error> {
        // Never a device or a pipe that was put in its place meanwhile: the type is checked
        // again on what was opened.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(|error| read_error("open", path, error))?;
        let opened = rustix::fs::fstat(&fd).map_err(|error| read_error("look at", path, error))?;
        let changed = || Error::Changed { path: shown(path) };
        if (opened.st_dev, opened.st_ino) != (stat.st_dev, stat.st_ino) {
            return Err(changed());
        }
        let mut entry = self.entry(path, FILE, &opened);
        entry.size = opened.st_size as u64;
        entry.xattrs = xattrs(&fd, path)?;
        let size = entry.size;
        self.header(&entry)?;
        let mut file = std::fs::File::from(fd);
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let count = file.read(&mut self.buffer[..most]).map_err(|source| Error::Read {
                doing: "read",
                path: shown(path),
                source,
            })?;
            if count == 0 {
                return Err(changed());
            }
            self.output.write_all(&self.buffer[..count]).map_err(Error::Write)?;
            left -= count as u64;
        }
        self.written += size;
        self.zeros(size.next_multiple_of(BLOCK as u64) - size)
    }

    /// An empty file that stands for something else. Its own time and owner mean nothing: those of
    /// a mark of the kernel say when somebody deleted something.
    fn mark(&mut self, path: &[u8], stat: &Stat) -> Result<(), Error> {
        let mut entry = self.entry(path, FILE, stat);
        (entry.mode, entry.uid, entry.gid, entry.mtime) = (0o644, 0, 0, (0, 0));
        self.write(&entry.encode(self.options.source_date_epoch))
    }

    fn entry<'e>(&self, name: &'e [u8], kind: u8, stat: &Stat) -> Entry<'e> {
        let mtime = if stat.st_mtime >= self.options.source_date_epoch {
            (self.options.source_date_epoch, 0)
        } else {
            (stat.st_mtime, stat.st_mtime_nsec as u32)
        };
        let owner = match self.options.mine {
            Some((uid, gid)) => (
                if stat.st_uid == uid { 0 } else { stat.st_uid },
                if stat.st_gid == gid { 0 } else { stat.st_gid },
            ),
            None => (stat.st_uid, stat.st_gid),
        };
        Entry {
            name,
            kind,
            mode: stat.st_mode,
            uid: owner.0,
            gid: owner.1,
            size: 0,
            mtime,
            link: b"",
            device: (0, 0),
            xattrs: Vec::new(),
        }
    }

    fn header(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        self.newest = self.newest.max(u64::try_from(entry.mtime.0).unwrap_or(0));
        self.write(&entry.encode(self.options.source_date_epoch))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.written += bytes.len() as u64;
        self.output.write_all(bytes).map_err(Error::Write)
    }

    fn zeros(&mut self, mut count: u64) -> Result<(), Error> {
        self.written += count;
        while count > 0 {
            let part = count.min(BLOCK as u64) as usize;
            self.output.write_all(&[0; BLOCK][..part]).map_err(Error::Write)?;
            count -= part as u64;
        }
        Ok(())
    }
}

/// Whether a directory of a layer hides what those below have in its place. All overlays here are
/// mounted with `userxattr`.
fn is_opaque(directory: impl AsFd) -> bool {
    let mut value = [0; 2];
    matches!(
        rustix::fs::fgetxattr(directory, "user.overlay.opaque", &mut value),
        Ok(1) if value[0] == b'y'
    )
}

/// The extended attributes that belong into an archive, by sorted names. Those of overlay
/// file systems describe layers, not files; labels of SELinux belong to the machine.
fn xattrs(file: impl AsFd, path: &[u8]) -> Result<Vec<Xattr>, Error> {
    let fail = |error| read_error("read the extended attributes of", path, error);
    let mut names = vec![0; 4096];
    let count = loop {
        match rustix::fs::flistxattr(file.as_fd(), &mut names[..]) {
            Ok(count) => break count,
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(Errno::RANGE) if names.len() < 1 << 20 => names.resize(names.len() * 4, 0),
            Err(error) => return Err(fail(error)),
        }
    };
    let mut found = Vec::new();
    for name in names[..count].split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let machine = [&b"trusted.overlay."[..], b"user.overlay.", b"security.selinux", b"system."];
        if machine.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(file.as_fd(), name, &mut value[..]).map_err(fail)?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    found.sort();
    Ok(found)
}

fn read_error(doing: &'static str, path: &[u8], error: Errno) -> Error {
    Error::Read { doing, path: shown(path), source: error.into() }
}

fn shown(path: &[u8]) -> String {
    let path = path.strip_prefix(b".").unwrap_or(path);
    if path.is_empty() { "/".into() } else { escaped(path) }
}
