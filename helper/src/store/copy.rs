//! Copies of whole trees, for machines that cannot mount overlays: by reflink where the file
//! system can, else byte by byte. Owners, modes, times, extended attributes and hard links stay.

use crate::protocol::{Doing, Failure};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Timespec, Timestamps, chownat, fchmod, fchown, fgetxattr,
    flistxattr, fsetxattr, futimens, ioctl_ficlone, linkat, mkdirat, mknodat, openat, readlinkat,
    statat, symlinkat, utimensat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Copies the tree `source` to the new directory `name` of `parent`.
pub fn copy_tree(source: &OwnedFd, parent: &OwnedFd, name: &str) -> Result<(), Failure> {
    mkdirat(parent, name, Mode::from(0o700)).doing(|| format!("cannot make {name}"))?;
    let target =
        openat(parent, name, OPEN, Mode::empty()).doing(|| format!("cannot open {name}"))?;
    let root = target.try_clone().doing(|| "cannot copy a descriptor".into())?;
    let mut links = HashMap::new();
    copy_directory(source, &target, "", &root, &mut links)
}

type Links = HashMap<(u64, u64), String>;

fn copy_directory(
    source: &OwnedFd,
    target: &OwnedFd,
    path: &str,
    root: &OwnedFd,
    links: &mut Links,
) -> Result<(), Failure> {
    let reading = || format!("cannot read the directory /{path}");
    for entry in Dir::read_from(source).doing(reading)? {
        let entry = entry.doing(reading)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let below = format!("{path}/{}", name.to_string_lossy());
        let doing = || format!("cannot copy {below}");
        let stat = statat(source, name, AtFlags::SYMLINK_NOFOLLOW).doing(doing)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_dir() {
            mkdirat(target, name, Mode::from(0o700)).doing(doing)?;
            let (from, to) = (
                openat(source, name, OPEN, Mode::empty()).doing(doing)?,
                openat(target, name, OPEN, Mode::empty()).doing(doing)?,
            );
            copy_directory(&from, &to, &below, root, links)?;
            continue;
        }
        let identity = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = links.get(&identity) {
                linkat(root, first.trim_start_matches('/'), target, name, AtFlags::empty())
                    .doing(doing)?;
                continue;
            }
            links.insert(identity, below.clone());
        }
        copy_entry(source, target, name, &stat, kind).doing(doing)?;
    }
    let doing = || format!("cannot copy the attributes of /{path}");
    let stat = rustix::fs::fstat(source).doing(doing)?;
    copy_attributes(source.as_fd(), target.as_fd(), &stat).doing(doing)
}

fn copy_entry(
    source: &OwnedFd,
    target: &OwnedFd,
    name: &CStr,
    stat: &rustix::fs::Stat,
    kind: FileType,
) -> Result<(), Errno> {
    let owner = rustix::process::Uid::from_raw(stat.st_uid);
    let group = rustix::process::Gid::from_raw(stat.st_gid);
    match kind {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let from = openat(source, name, flags, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let to = openat(target, name, flags, Mode::from(0o600))?;
            if ioctl_ficlone(&to, &from).is_err() {
                let (mut from, mut to) =
                    (File::from(from.try_clone().map_err(io)?), File::from(to));
                std::io::copy(&mut from, &mut to).map_err(io)?;
                return copy_attributes(from.as_fd(), to.as_fd(), stat);
            }
            copy_attributes(from.as_fd(), to.as_fd(), stat)
        }
        FileType::Symlink => {
            symlinkat(&readlinkat(source, name, Vec::new())?, target, name)?;
            chownat(target, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
            utimensat(target, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
        }
        // FIFOs, sockets and whiteouts; real device nodes do not exist in the store.
        kind => {
            mknodat(target, name, kind, Mode::from_raw_mode(stat.st_mode), stat.st_rdev)?;
            chownat(target, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
            utimensat(target, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
        }
    }
}

fn copy_attributes(
    from: std::os::fd::BorrowedFd<'_>,
    to: std::os::fd::BorrowedFd<'_>,
    stat: &rustix::fs::Stat,
) -> Result<(), Errno> {
    fchown(
        to,
        Some(rustix::process::Uid::from_raw(stat.st_uid)),
        Some(rustix::process::Gid::from_raw(stat.st_gid)),
    )?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    let mut names = vec![0u8; 4096];
    let length = match flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error),
    };
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 65536];
        let size = fgetxattr(from, name, &mut value[..])?;
        match fsetxattr(to, name, &value[..size], rustix::fs::XattrFlags::empty()) {
            // Attributes of the host's security module are not ours to copy.
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    futimens(to, &times(stat))
}

fn times(stat: &rustix::fs::Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn io(error: std::io::Error) -> Errno {
    Errno::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))
}
