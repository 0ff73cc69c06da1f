//! Small files and directories of the store.

use crate::protocol::{Doing, Failure, Place, SessionFile};
use crate::sandbox::identity::Entered;
use crate::sys::file::begin_writing;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Timespec, Timestamps, fchmod,
    fchown, fstat, futimens, mkdirat, openat, openat2, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Small files of the store that are longer, in bytes, are refused.
const LONGEST: u64 = 1 << 20;

pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Refuses paths that could lead out of their area.
pub(super) fn checked(path: &str) -> Result<&str, Failure> {
    let fine = !path.is_empty()
        && !path.starts_with('/')
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if fine { Ok(path) } else { Err(Failure::request(format!("{path:?} is no path of the store"))) }
}

pub(super) fn open_at(at: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(at, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Opens a directory of the store; the path `.` is the area itself.
pub fn open_directory(entered: &Entered, place: &Place) -> Result<OwnedFd, Failure> {
    let path = if place.path == "." { "." } else { checked(&place.path)? };
    open_at(entered.area(place.area)?, path, DIRECTORY)
        .doing(|| format!("cannot open {path} of the store"))
}

/// The directory that holds `place`, and its name there.
pub fn parent<'a>(entered: &Entered, place: &'a Place) -> Result<(OwnedFd, &'a str), Failure> {
    let path = checked(&place.path)?;
    let area = entered.area(place.area)?;
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    let parent =
        open_at(area, folder, DIRECTORY).doing(|| format!("cannot open {folder} of the store"))?;
    Ok((parent, name))
}

/// Makes a directory with its parents.
pub fn make_path(entered: &Entered, place: &Place) -> Result<OwnedFd, Failure> {
    let path = checked(&place.path)?;
    let mut at: Option<OwnedFd> = None;
    for part in path.split('/') {
        let next = make_directory_at(at.as_ref().unwrap_or(entered.area(place.area)?), part)?;
        at = Some(next);
    }
    at.ok_or_else(|| Failure::request("an empty path"))
}

/// Makes a directory of mode 0755, or opens the one that is there.
pub fn make_directory_at(at: &OwnedFd, name: &str) -> Result<OwnedFd, Failure> {
    let doing = || format!("cannot make the directory {name} in the store");
    match mkdirat(at, name, Mode::from(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(Failure::system(doing(), error)),
    }
    openat(at, name, DIRECTORY, Mode::empty()).doing(doing)
}

/// Gives the directory `path` of `tree` the owner, mode and times that it has in the topmost of
/// `layers` that has it.
pub fn look_alike(tree: &OwnedFd, path: &str, layers: &[OwnedFd]) -> Result<(), Failure> {
    let doing = || format!("cannot prepare the directory /{path}");
    for layer in layers {
        let model = match open_at(layer, path, DIRECTORY) {
            Ok(model) => model,
            // Missing, or a link that leads elsewhere.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => continue,
            Err(error) => return Err(Failure::system(doing(), error)),
        };
        let stat = fstat(&model).doing(doing)?;
        let directory = open_at(tree, path, DIRECTORY).doing(doing)?;
        let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps {
            last_access: time(stat.st_atime as i64, stat.st_atime_nsec as _),
            last_modification: time(stat.st_mtime as i64, stat.st_mtime_nsec as _),
        };
        return fchown(&directory, Some(owner), Some(group))
            .and_then(|()| fchmod(&directory, Mode::from_raw_mode(stat.st_mode)))
            .and_then(|()| futimens(&directory, &times))
            .doing(doing);
    }
    Ok(())
}

/// Names in a directory of the store, sorted; a missing one has none.
pub fn list(entered: &Entered, place: &Place) -> Result<Vec<String>, Failure> {
    let doing = || format!("cannot list {} of the store", place.path);
    let directory = match open_directory(entered, place) {
        Ok(directory) => directory,
        Err(failure) if failure.errno == Errno::NOENT.raw_os_error() => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory).doing(doing)? {
        let entry = entry.doing(doing)?;
        if let Ok(name) = entry.file_name().to_str()
            && name != "."
            && name != ".."
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Text of a small file; `None` if it is missing.
pub fn read_at(at: &OwnedFd, name: &str) -> Result<Option<String>, Failure> {
    let text = read_bytes_at(at, name)?.map(String::from_utf8).transpose();
    text.map_err(|_| Failure::hostile(format!("{name} of the store is no text")))
}

/// Content of a small file; `None` if it is missing.
pub(super) fn read_bytes_at(at: &OwnedFd, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let doing = || format!("cannot read {name} of the store");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(at, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(Failure::system(doing(), error)),
    };
    if !FileType::from_raw_mode(fstat(&file).doing(doing)?.st_mode).is_file() {
        return Err(Failure::hostile(format!("{name} of the store is no regular file")));
    }
    let mut content = Vec::new();
    // One byte more tells a file that is too long.
    File::from(file).take(LONGEST + 1).read_to_end(&mut content).doing(doing)?;
    if content.len() as u64 > LONGEST {
        return Err(Failure::hostile(format!("{name} of the store has more than {LONGEST} bytes")));
    }
    Ok(Some(content))
}

/// Writes a small file in one step.
pub fn write_at(at: &OwnedFd, name: &str, text: &str) -> Result<(), Failure> {
    replace_at(at, name, text.as_bytes(), 0o644)
}

/// Replaces a file in one step: written aside, then renamed.
pub fn replace_at(at: &OwnedFd, name: &str, content: &[u8], mode: u32) -> Result<(), Failure> {
    // Helpers of several containers may share a store and a number.
    let aside = format!(".{name}.{}.{}", std::process::id(), now_nanos());
    let written = write_new_at(at, &aside, content, mode).and_then(|_| {
        renameat(at, &aside, at, name).doing(|| format!("cannot write {name} of the store"))
    });
    if written.is_err() {
        let _ = unlinkat(at, &aside, AtFlags::empty());
    }
    written
}

/// As [`replace_at`], for a file that is there: both change places, and the old one is closed by
/// somebody who has time, since its blocks may be freed behind everything that the disk has to do.
/// As ext4 does where one file is renamed over another one, the kernel begins to write the new one
/// first, so that no crash leaves it empty under its name. Whether they changed places: where the
/// file system cannot do that, it was done as ever.
pub(super) fn exchange_at(
    at: &OwnedFd,
    name: &str,
    content: &[u8],
    mode: u32,
) -> Result<bool, Failure> {
    let doing = || format!("cannot write {name} of the store");
    let aside = format!(".{name}.{}.{}", std::process::id(), now_nanos());
    let written = write_new_at(at, &aside, content, mode).and_then(|file| {
        begin_writing(file.as_fd());
        match renameat_with(at, &aside, at, name, RenameFlags::EXCHANGE) {
            // It is the old one by now.
            Ok(()) => unlinkat(at, &aside, AtFlags::empty()).map(|()| true).doing(doing),
            Err(_) => renameat(at, &aside, at, name).map(|()| false).doing(doing),
        }
    });
    if written.is_err() {
        let _ = unlinkat(at, &aside, AtFlags::empty());
    }
    written
}

/// Writes a file that is not there yet; it stays open.
pub(super) fn write_new_at(
    at: &OwnedFd,
    name: &str,
    content: &[u8],
    mode: u32,
) -> Result<OwnedFd, Failure> {
    let doing = || format!("cannot write {name} of the store");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(at, name, flags, Mode::from(0o600)).doing(doing)?;
    fchmod(&file, Mode::from(mode)).doing(doing)?;
    let mut file = File::from(file);
    file.write_all(content).doing(doing)?;
    Ok(file.into())
}

/// Writes the files that a session brings along, unless they are there already.
pub fn write_files(root: &OwnedFd, files: &[SessionFile]) -> Result<(), Failure> {
    for file in files {
        let path = checked(&file.path)?;
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = root.try_clone().doing(|| "cannot copy a descriptor".into())?;
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            at = make_directory_at(&at, part)?;
        }
        let same =
            matches!(read_at(&at, name), Ok(Some(text)) if text.as_bytes() == &file.content[..]);
        if !same {
            replace_at(&at, name, &file.content, file.mode)?;
        }
    }
    Ok(())
}

/// The id of this boot of the machine (`random(4)`).
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Nanoseconds of the wall clock, for names that nobody else takes.
pub fn now_nanos() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |elapsed| elapsed.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_store_that_is_too_long_is_refused_and_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let at: OwnedFd = File::open(folder.path()).unwrap().into();
        std::fs::write(folder.path().join("file"), vec![b'x'; LONGEST as usize]).unwrap();
        assert_eq!(read_at(&at, "file").unwrap().unwrap().len() as u64, LONGEST);
        std::fs::write(folder.path().join("file"), vec![b'x'; LONGEST as usize + 1]).unwrap();
        assert!(read_at(&at, "file").is_err());
        assert!(matches!(read_at(&at, "missing"), Ok(None)));
    }

    #[test]
    fn paths_of_the_store_stay_in_their_area() {
        for bad in ["", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/."] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
        assert!(checked("a/b.c/..d").is_ok());
    }
}
