//! The directory of the database: `info`, `triggers`, `status` and the small files.

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Gid, Mode, OFlags, Timespec, Timestamps, Uid};

use super::status::{STATUS, unpacked_stanza};
use super::triggers::{self, Interest};
use super::{Error, Identity, Stanza};
use crate::unpack::{ControlFile, Tree, Unpacked};

const INFO: &str = "var/lib/dpkg/info";
const TRIGGERS: &str = "var/lib/dpkg/triggers";

/// The database of a root that is being filled. Packages may be added by several threads.
#[derive(Debug)]
pub struct Database<'a> {
    root: BorrowedFd<'a>,
    info: OwnedFd,
    packages: Mutex<Vec<Record>>,
}

/// A package of the database, as far as later steps need it.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Name, version and architecture.
    pub identity: Identity,
    /// The stem of its file names in `info`, with the architecture for Multi-Arch: same.
    pub info_name: String,
    /// Its paragraph of `status`.
    pub stanza: Stanza,
    /// The names of its control files.
    pub scripts: Vec<String>,
}

#[derive(Debug)]
struct Record {
    scripts: Vec<String>,
    identity: Identity,
    info_name: String,
    stanza: Stanza,
    files: Vec<Vec<u8>>,
    interests: Vec<Interest>,
}

impl<'a> Database<'a> {
    /// The database of an empty root, whose directories exist already.
    ///
    /// # Errors
    /// `/var/lib/dpkg/info` is missing.
    pub fn create(root: BorrowedFd<'a>) -> Result<Self, Error> {
        let info = open_dir(root, INFO)?;
        Ok(Self { root, info, packages: Mutex::new(Vec::new()) })
    }

    /// Adds an unpacked package: writes its control files, remembers the rest.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn add(&self, unpacked: Unpacked) -> Result<(), Error> {
        let name = info_name(&unpacked.control.stanza, &unpacked.control.identity);
        for file in &unpacked.control.files {
            let path = format!("{name}.{}", file.name);
            self.write_control(&path, file)?;
        }
        if let Some(sums) = &unpacked.generated_md5sums
            && !sums.is_empty()
        {
            write(&self.info, INFO, &format!("{name}.md5sums"), 0o644, None, sums)?;
        }
        let interests = unpacked.control.file("triggers").map(|file| Interest::parse(&file.data));
        let record = Record {
            scripts: unpacked.control.files.iter().map(|file| file.name.clone()).collect(),
            identity: unpacked.control.identity.clone(),
            info_name: name,
            stanza: unpacked_stanza(&unpacked),
            files: unpacked.files,
            interests: interests.unwrap_or_default(),
        };
        self.packages.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        Ok(())
    }

    fn write_control(&self, path: &str, file: &ControlFile) -> Result<(), Error> {
        write(&self.info, INFO, path, file.mode, Some(file.mtime), &file.data)
    }

    /// What was added so far, by identity.
    pub fn summaries(&self) -> Vec<Summary> {
        let packages = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = packages
            .iter()
            .map(|package| Summary {
                identity: package.identity.clone(),
                info_name: package.info_name.clone(),
                stanza: package.stanza.clone(),
                scripts: package.scripts.clone(),
            })
            .collect();
        all.sort_by(|a, b| a.identity.cmp(&b.identity));
        all
    }

    /// Writes what concerns all packages: lists of files (without `lost` ones), `status`,
    /// triggers, `info/format`. `order` gives the place of a package in the trigger files.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn finish(
        self,
        lost: &[(Identity, Vec<u8>)],
        order: &dyn Fn(&Identity) -> usize,
    ) -> Result<(), Error> {
        let mut gone: HashMap<&Identity, HashSet<Vec<u8>>> = HashMap::new();
        for (identity, path) in lost {
            gone.entry(identity).or_default().insert([b"/", &path[..]].concat());
        }
        let mut packages = self.packages.into_inner().unwrap_or_else(PoisonError::into_inner);
        packages.sort_by(|a, b| {
            (order(&a.identity), &a.identity).cmp(&(order(&b.identity), &b.identity))
        });
        let mut status = Vec::new();
        let mut interests = Vec::new();
        for package in packages {
            let gone = gone.get(&package.identity);
            let mut list = Vec::new();
            for path in &package.files {
                if gone.is_some_and(|gone| gone.contains(path)) {
                    continue;
                }
                list.extend_from_slice(path);
                list.push(b'\n');
            }
            write(&self.info, INFO, &format!("{}.list", package.info_name), 0o644, None, &list)?;
            package.stanza.write_to(&mut status);
            status.push(b'\n');
            let name = package.info_name;
            interests.extend(package.interests.into_iter().map(|one| (one, name.clone())));
        }
        write(&self.info, INFO, "format", 0o644, None, b"1\n")?;
        let directory = open_dir(self.root, TRIGGERS)?;
        write(&directory, TRIGGERS, "Unincorp", 0o644, None, b"")?;
        for (name, text) in triggers::files(&interests) {
            write(&directory, TRIGGERS, &name, 0o644, None, text.as_bytes())?;
        }
        let (parent, name) = STATUS.rsplit_once('/').unwrap_or(("", STATUS));
        write(&open_dir(self.root, parent)?, parent, name, 0o644, None, &status)
    }
}

/// The name that a package's files have in `info`: with the architecture for Multi-Arch: same
/// packages, so that two of them can be installed together.
fn info_name(stanza: &Stanza, identity: &Identity) -> String {
    if stanza.text("Multi-Arch") == Some("same") {
        format!("{}:{}", identity.name, identity.architecture)
    } else {
        identity.name.clone()
    }
}

pub(crate) fn open_dir(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Error> {
    Tree::new(root).open_dir(path.as_bytes()).map_err(|error| Error::Io {
        doing: "open",
        path: format!("/{path}"),
        source: error.into(),
    })
}

/// Reads a regular file of the root, at most 256 MiB, through no link in its last component.
pub(crate) fn read(root: BorrowedFd<'_>, path: &str) -> Result<Vec<u8>, Error> {
    let fail = |source| Error::Io { doing: "read", path: format!("/{path}"), source };
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let directory = open_dir(root, parent)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = rustix::fs::openat(&directory, name, flags, Mode::empty())
        .map_err(|error| fail(error.into()))?;
    let file = std::fs::File::from(fd);
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(Error::Damaged { path: format!("/{path}"), what: "it is no file".into() });
    }
    let mut data = Vec::new();
    file.take(256 << 20).read_to_end(&mut data).map_err(fail)?;
    Ok(data)
}

/// Writes a new file, or replaces the content of one, with owner 0:0.
pub(crate) fn write(
    directory: &OwnedFd,
    shown: &str,
    name: &str,
    mode: u32,
    mtime: Option<i64>,
    data: &[u8],
) -> Result<(), Error> {
    let fail = |source: std::io::Error| Error::Io {
        doing: "write",
        path: format!("/{shown}/{name}"),
        source,
    };
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| fail(error.into()))?;
    let mut file = std::fs::File::from(fd);
    file.write_all(data).map_err(fail)?;
    if !rustix::process::geteuid().is_root() {
        // Tests run as anybody; in a sandbox the writer is uid 0.
    } else {
        rustix::fs::fchown(&file, Some(Uid::ROOT), Some(Gid::ROOT))
            .map_err(|error| fail(error.into()))?;
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(|error| fail(error.into()))?;
    if let Some(seconds) = mtime {
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&file, &times).map_err(|error| fail(error.into()))?;
    }
    Ok(())
}
