//! What the machine may have lost when it went down.
//!
//! Nothing in the store is synced when it is written: uppers are mounted `volatile`, layers are
//! renamed into place at once. Instead each carries a file `boot` with the id of the boot that wrote
//! it. A mark of another boot means that the content may be damaged: a layer is made again, a
//! buildroot is refused. [`settle`] takes marks away, in the background, after a `syncfs`, so that an
//! orderly reboot costs nothing.

use super::files::{boot_id, list, open_directory, read_at, write_at};
use super::{LOCKS, MAKING, TRASH};
use crate::protocol::{Area, Doing, Failure, FailureKind, Place};
use crate::sandbox::identity::Entered;
use crate::sys::lock;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, openat, renameat_with, statat, unlinkat};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name of the mark.
const MARK: &str = "boot";
/// A mark on its way out.
const SETTLED: &str = "boot.settled";
/// Marks that are younger, in seconds, stay: most of what they stand for is not on the disk yet
/// (the kernel writes after half a minute), and somebody would wait for it.
const YOUNGEST: i64 = 60;
/// With more than this many KiB waiting to be written, a `syncfs` would take its time.
const MUCH: u64 = 256 * 1024;

/// Marks the buildroot `home` as written in this boot; refuses one that another boot left.
/// A new mark each time: [`settle`] sees by it that the buildroot was in use meanwhile.
pub fn claim(home: &OwnedFd, name: &str) -> Result<(), Failure> {
    check(home, &format!("the buildroot {name}"))?;
    write_at(home, MARK, &boot_id())
}

/// Refuses what another boot left unsynced.
pub fn check(home: &OwnedFd, what: &str) -> Result<(), Failure> {
    match read_at(home, MARK)? {
        Some(earlier) if earlier != boot_id() => Err(Failure {
            kind: FailureKind::Unsynced,
            doing: format!(
                "{what} was written shortly before the machine went down and may be damaged"
            ),
            errno: 0,
        }),
        _ => Ok(()),
    }
}

struct Marked {
    area: Area,
    name: String,
    home: OwnedFd,
    mark: (u64, i64, i64),
}

/// Syncs the store and takes away the marks that are older than a minute. Nobody ever waits for
/// it: it takes no lock, and leaves the marks of what is in use.
pub fn settle(entered: &Entered) {
    let mut marked = Vec::new();
    for area in [Area::Roots, Area::Layers] {
        marked.extend(find(entered, area));
    }
    if marked.is_empty() || unwritten() > MUCH {
        return;
    }
    for area in [Area::Roots, Area::Layers] {
        if marked.iter().any(|one| one.area == area) {
            let synced = open_directory(entered, &Place { area, path: ".".into() })
                .and_then(|top| rustix::fs::syncfs(&top).doing(|| "cannot sync the store".into()));
            if synced.is_err() {
                return;
            }
        }
    }
    for one in marked {
        if !in_use(entered, &one) {
            take_away(&one);
        }
    }
}

fn find(entered: &Entered, area: Area) -> Vec<Marked> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let mut found = Vec::new();
    for name in list(entered, &Place { area, path: ".".into() }).unwrap_or_default() {
        if name == TRASH || name == LOCKS || name.starts_with(MAKING) {
            continue;
        }
        let Ok(home) = open_directory(entered, &Place { area, path: name.clone() }) else {
            continue;
        };
        let Some(mark) = identity(&home, MARK) else { continue };
        let ours = matches!(read_at(&home, MARK), Ok(Some(boot)) if boot == boot_id());
        let one = Marked { area, name, home, mark };
        if ours && one.mark.1 + YOUNGEST < now && !in_use(entered, &one) {
            found.push(one);
        }
    }
    found
}

fn identity(home: &OwnedFd, name: &str) -> Option<(u64, i64, i64)> {
    let stat = statat(home, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((stat.st_ino, stat.st_mtime as i64, stat.st_mtime_nsec as i64))
}

/// Layers do not change; a buildroot does while its lock is held.
fn in_use(entered: &Entered, one: &Marked) -> bool {
    if one.area != Area::Roots {
        return false;
    }
    let Ok(locks) = open_directory(entered, &Place::root(LOCKS)) else { return true };
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(&locks, &one.name, flags, Mode::empty()) {
        Ok(file) => lock::is_held(file.as_fd()).unwrap_or(true),
        Err(_) => true,
    }
}

/// Whoever opened the buildroot since the check has made a new mark: that one is put back.
fn take_away(one: &Marked) {
    if renameat_with(&one.home, MARK, &one.home, SETTLED, RenameFlags::empty()).is_err() {
        return;
    }
    let same = identity(&one.home, SETTLED) == Some(one.mark);
    let back = || renameat_with(&one.home, SETTLED, &one.home, MARK, RenameFlags::NOREPLACE);
    if same || back().is_err() {
        let _ = unlinkat(&one.home, SETTLED, AtFlags::empty());
    }
}

/// KiB that the machine has still to write.
fn unwritten() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let number = |line: &str| line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
    text.lines()
        .filter(|line| line.starts_with("Dirty:") || line.starts_with("Writeback:"))
        .filter_map(number)
        .sum()
}
