//! One tree of a stack of trees, for what overlays cannot do.
//!
//! A directory that comes from a lower layer cannot be renamed where overlays are mounted with
//! `userxattr` (`EXDEV`; the kernel's overlayfs documentation, "renaming directories"), so dpkg
//! cannot put a file where a package had a directory. In an upper that has a copy of everything,
//! with directories that hide those below, it can.

use super::copy::{copy_attributes, copy_content, copy_entry};
use super::files::{self, DIRECTORY, open_directory};
use super::trail::entries;
use crate::protocol::{Doing, Failure, Place};
use crate::sandbox::identity::Entered;
use crate::sandbox::tree;
use rustix::fs::{
    AtFlags, FileType, Mode, XattrFlags, fgetxattr, fsetxattr, fstat, mkdirat, openat, statat,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// With this value a directory hides those of the same name in lower layers.
const OPAQUE: (&str, &[u8]) = ("user.overlay.opaque", b"y");

/// Makes the new directory `to`, which shows, as the upper of an overlay above `lower`, what `upper`
/// shows above them (an empty one, if there is none), and from which directories can be renamed.
/// Those that are an ancestor of one of `files` are left as they are, with the files in them: a
/// layer of the session lies between.
pub fn flatten(
    entered: &Entered,
    lower: &[Place],
    upper: Option<&Place>,
    files: &[String],
    to: &Place,
) -> Result<(), Failure> {
    let mut layers = tree::open_layers(entered, lower)?;
    let upper = upper.map(|place| open_directory(entered, place)).transpose()?;
    if let Some(upper) = &upper {
        let copy = upper.try_clone().doing(|| "cannot copy a descriptor".into())?;
        layers.insert(0, copy);
    }
    let merged = tree::mount_read_only(&layers)
        .isolating(|| "cannot mount the trees that are to become one".into())?;
    let merged = openat(&merged, ".", DIRECTORY, Mode::empty())
        .doing(|| "cannot open the trees that are to become one".into())?;
    let doing = || format!("cannot make {}", to.path);
    let (parent, name) = files::parent(entered, to)?;
    mkdirat(&parent, name, Mode::from(0o700)).doing(doing)?;
    let target = openat(&parent, name, DIRECTORY, Mode::empty()).doing(doing)?;
    Spine { files }.fill("", &merged, upper.as_ref(), &target)
}

/// The directories that stay open for what lies below.
struct Spine<'a> {
    files: &'a [String],
}

impl Spine<'_> {
    /// Whether this directory, which ends with a slash, is above one of the files.
    fn has(&self, path: &str) -> bool {
        self.files.iter().any(|file| file.starts_with(path))
    }

    /// Fills a directory of the spine. The depth is that of the files.
    fn fill(
        &self,
        path: &str,
        merged: &OwnedFd,
        upper: Option<&OwnedFd>,
        target: &OwnedFd,
    ) -> Result<(), Failure> {
        let doing = || format!("cannot copy the directory /{path}");
        for entry in entries(merged).doing(doing)? {
            let (entry, _) = entry.doing(doing)?;
            let stat = statat(merged, &entry, AtFlags::SYMLINK_NOFOLLOW).doing(doing)?;
            if FileType::from_raw_mode(stat.st_mode).is_dir() {
                self.directory(path, &entry, merged, upper, target)?;
            }
        }
        for entry in upper.map(entries).transpose().doing(doing)?.into_iter().flatten() {
            let (entry, _) = entry.doing(doing)?;
            let upper = upper.unwrap_or(merged);
            let stat = statat(upper, &entry, AtFlags::SYMLINK_NOFOLLOW).doing(doing)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            // Only marks for deleted files are not seen from above.
            let from = if kind.is_char_device() { upper } else { merged };
            if !kind.is_dir() {
                copy_entry(from, target, &entry, &stat, kind).doing(doing)?;
            }
        }
        let stat = fstat(merged).doing(doing)?;
        copy_attributes(merged.as_fd(), target.as_fd(), &stat, true).doing(doing)?;
        match upper.map(is_opaque).transpose().doing(doing)? {
            Some(true) => hide(target).doing(doing),
            _ => Ok(()),
        }
    }

    fn directory(
        &self,
        path: &str,
        entry: &CStr,
        merged: &OwnedFd,
        upper: Option<&OwnedFd>,
        target: &OwnedFd,
    ) -> Result<(), Failure> {
        let path = format!("{path}{}/", entry.to_string_lossy());
        let doing = || format!("cannot copy the directory /{path}");
        let source = openat(merged, entry, DIRECTORY, Mode::empty()).doing(doing)?;
        mkdirat(target, entry, Mode::from(0o700)).doing(doing)?;
        let copy = openat(target, entry, DIRECTORY, Mode::empty()).doing(doing)?;
        if self.has(&path) {
            let upper = match upper.map(|upper| openat(upper, entry, DIRECTORY, Mode::empty())) {
                Some(Err(Errno::NOENT)) | None => None,
                Some(opened) => Some(opened.doing(doing)?),
            };
            return self.fill(&path, &source, upper.as_ref(), &copy);
        }
        copy_content(&source, copy.try_clone().doing(doing)?)?;
        hide(&copy).doing(doing)
    }
}

fn hide(directory: &OwnedFd) -> Result<(), Errno> {
    fsetxattr(directory, OPAQUE.0, OPAQUE.1, XattrFlags::empty())
}

fn is_opaque(directory: &OwnedFd) -> Result<bool, Errno> {
    let mut value = [0; 1];
    match fgetxattr(directory, OPAQUE.0, &mut value[..]) {
        Ok(_) => Ok(value == OPAQUE.1),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error),
    }
}
