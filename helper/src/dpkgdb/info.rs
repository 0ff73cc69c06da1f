//! The directory of the database: `info`, `triggers`, `status` and the small files.

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use serde::{Deserialize, Serialize};

use super::addition::Addition;
use super::registry::Registry;
use super::status::unpacked_stanza;
use super::triggers::{self, Interest};
use super::{Error, Identity, Stanza};
use crate::unpack::{Control, ControlFile, Tree, Unpacked};

/// Where dpkg keeps the control files and lists of packages.
pub(crate) const INFO: &str = "var/lib/dpkg/info";

/// The database of a root that is being filled. Packages may be added by several threads.
#[derive(Debug)]
pub struct Database<'a> {
    root: BorrowedFd<'a>,
    info: OwnedFd,
    packages: Mutex<Vec<Record>>,
}

/// A package of the database, as far as later steps need it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Name, version and architecture.
    pub identity: Identity,
    /// The stem of its file names in `info`, with the architecture for Multi-Arch: same.
    pub info_name: String,
    /// Its paragraph of `status`.
    pub stanza: Stanza,
    /// The names of its control files.
    pub scripts: Vec<String>,
    /// The file `control` itself, which `info` does not keep.
    pub control_file: ControlFile,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub summary: Summary,
    pub files: Vec<Vec<u8>>,
    pub interests: Vec<Interest>,
    pub activates: Vec<(String, bool)>,
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

    /// The names in `info` of what is written of a package.
    pub(crate) fn files_of(control: &Control) -> Vec<String> {
        let stem = info_name(&control.stanza, &control.identity);
        let control = kept(control).map(|file| file.name.as_str());
        control.chain(["md5sums", "list"]).map(|name| format!("{stem}.{name}")).collect()
    }

    /// Adds an unpacked package: writes its control files, remembers the rest.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn add(&self, unpacked: Unpacked) -> Result<(), Error> {
        let name = info_name(&unpacked.control.stanza, &unpacked.control.identity);
        for file in kept(&unpacked.control) {
            let path = format!("{name}.{}", file.name);
            self.write_control(&path, file)?;
        }
        if let Some(sums) = &unpacked.generated_md5sums {
            write(&self.info, INFO, &format!("{name}.md5sums"), 0o644, None, sums)?;
        }
        let triggers = unpacked.control.file("triggers").map_or(&b""[..], |file| &file.data);
        let interests = Interest::parse(triggers);
        let activates = triggers::activations(triggers);
        let summary = Summary {
            stanza: unpacked_stanza(&unpacked),
            scripts: kept(&unpacked.control).map(|file| file.name.clone()).collect(),
            identity: unpacked.control.identity,
            info_name: name,
            control_file: unpacked.control.control_file,
        };
        let record = Record { summary, files: unpacked.files, interests, activates };
        self.packages.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        Ok(())
    }

    fn write_control(&self, path: &str, file: &ControlFile) -> Result<(), Error> {
        write(&self.info, INFO, path, file.mode, Some(file.mtime), &file.data)
    }

    /// What was added so far, by identity.
    pub fn summaries(&self) -> Vec<Summary> {
        let packages = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = packages.iter().map(|package| package.summary.clone()).collect();
        all.sort_by(|a, b| a.identity.cmp(&b.identity));
        all
    }

    /// Writes the lists of files (without `lost` ones) and an empty status. Packages become
    /// known to dpkg with [`Registry::reveal`], in the given order.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn finish(
        self,
        tree: &Tree<'_>,
        lost: &[(Identity, Vec<u8>)],
        order: &[Identity],
    ) -> Result<Registry<'a>, Error> {
        let (root, info) = (self.root, &self.info);
        let packages = self.packages.into_inner().unwrap_or_else(PoisonError::into_inner);
        write_lists(info, &packages, tree, lost)?;
        write(info, INFO, "format", 0o644, None, b"1\n")?;
        Registry::new(root, packages, order)
    }

    /// The same in a root that has packages already. They become known to dpkg with
    /// [`Addition::reveal`].
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn join(
        self,
        tree: &Tree<'_>,
        order: &[Identity],
        interests: Vec<Interest>,
    ) -> Result<Addition<'a>, Error> {
        let packages = self.packages.into_inner().unwrap_or_else(PoisonError::into_inner);
        write_lists(&self.info, &packages, tree, &[])?;
        Ok(Addition::new(self.root, packages, order, interests))
    }
}

/// Names of control files have no dot; dpkg drops others, which could be those of another package.
fn kept(control: &Control) -> impl Iterator<Item = &ControlFile> {
    control.files.iter().filter(|file| !file.name.contains('.'))
}

fn write_lists(
    info: &OwnedFd,
    packages: &[Record],
    tree: &Tree<'_>,
    lost: &[(Identity, Vec<u8>)],
) -> Result<(), Error> {
    let mut gone: HashMap<&Identity, HashSet<&[u8]>> = HashMap::new();
    for (identity, path) in lost {
        gone.entry(identity).or_default().insert(path);
    }
    for package in packages {
        let gone = gone.get(&package.summary.identity);
        let mut list = Vec::new();
        for path in &package.files {
            if gone.is_some_and(|gone| gone.contains(&*tree.canonical(&path[1..]))) {
                continue;
            }
            list.extend_from_slice(path);
            list.push(b'\n');
        }
        let name = format!("{}.list", package.summary.info_name);
        write(info, INFO, &name, 0o644, None, &list)?;
    }
    Ok(())
}

/// The name that a package's files have in `info`: with the architecture for Multi-Arch: same
/// packages, so that two of them can be installed together.
pub(super) fn info_name(stanza: &Stanza, identity: &Identity) -> String {
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

/// Regular files of the root that are larger, in bytes, are refused.
const LARGEST: u64 = 256 << 20;

/// Reads a regular file of the root, through no link in its last component.
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
    // One byte more tells a file that is too large.
    file.take(LARGEST + 1).read_to_end(&mut data).map_err(fail)?;
    if data.len() as u64 > LARGEST {
        let what = format!("it has more than {LARGEST} bytes");
        return Err(Error::Damaged { path: format!("/{path}"), what });
    }
    Ok(data)
}

/// Writes a new file, in the place of one that is there, with owner 0:0.
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
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = || rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR);
    let fd = match create() {
        Err(Errno::EXIST) => {
            // A package may bring it, and other trees may have that file, too.
            rustix::fs::unlinkat(directory, name, AtFlags::empty())
                .map_err(|error| fail(error.into()))?;
            create()
        }
        other => other,
    }
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
