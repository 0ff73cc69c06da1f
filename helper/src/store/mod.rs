//! The helper's side of the store: directories that belong to the roots' uid 0.
//!
//! Every path is an [`Area`](crate::protocol::Area) and a relative path that is resolved beneath
//! it without following symbolic links. What is removed goes to a trash directory first, so that
//! its place is free at once. [`sweep`] empties the trash beside the work, one process at a time;
//! what a killed one left the next helper takes up.

mod boot;
mod compose;
mod copy;
mod files;
mod flatten;
mod lend;
mod remove;
mod trail;

pub use boot::{check as check_boot, claim};
pub use compose::{APART, BELOW, RECORDS, compose, keep, known, stock};
pub use copy::copy_tree;
pub use files::{
    boot_id, look_alike, make_directory_at, make_path, now_nanos, open_directory, read_at,
    write_at, write_files,
};
pub use lend::{lend, take_back};
pub use remove::{remove_tree, usage};

use flatten::flatten;
use remove::remove_counted;

use crate::protocol::{Area, Bytes, Doing, Failure, Place, Reply, StoreCall};
use crate::sandbox::identity::Entered;
use crate::sandbox::tree;
use crate::sys::lock::{self, Sharing};
use rustix::fs::{Mode, OFlags, RenameFlags, openat, renameat_with};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Name of the directory, in each writable area, where removed trees wait for their deletion.
pub const TRASH: &str = "trash";
/// Name of the directory of locks, in each of the areas that have some.
pub const LOCKS: &str = "locks";
/// How names of what a probe makes in the trash begin.
const PROBE: &str = "probe.";
/// Locks, of names that no buildroot and no layer can have: of what lies in the trash as a probe,
/// shared by those who probe and exclusive for who deletes what killed ones left; and of whoever
/// empties the trash.
const PROBING: &str = ".probe";
const SWEEPING: &str = ".sweep";
/// Areas that have a trash.
const WITH_TRASH: [Area; 2] = [Area::Layers, Area::Roots];
/// How names of layers that are being made begin; the layer's key follows.
pub const MAKING: &str = "making-";

/// Whether `call` may last long and belongs into a process of its own.
pub fn is_long(call: &StoreCall) -> bool {
    matches!(
        call,
        StoreCall::Remove(_)
            | StoreCall::EmptyTrash
            | StoreCall::Copy { .. }
            | StoreCall::Flatten { .. }
            | StoreCall::Usage(_)
            | StoreCall::ProbeOverlay
    )
}

/// Carries out `call`; the replies but the last go to `reply`.
pub fn serve(
    entered: &Entered,
    call: &StoreCall,
    mut reply: impl FnMut(Reply),
) -> Result<Reply, Failure> {
    match call {
        StoreCall::MakeDirectory(place) => {
            files::make_path(entered, place)?;
        }
        StoreCall::Rename { from, to } => {
            let ((from_parent, from_name), (to_parent, to_name)) =
                (files::parent(entered, from)?, files::parent(entered, to)?);
            let flags = RenameFlags::NOREPLACE;
            renameat_with(&from_parent, from_name, &to_parent, to_name, flags)
                .doing(|| format!("cannot rename {} to {}", from.path, to.path))?;
        }
        StoreCall::Remove(place) => {
            if let Some((parent, name)) = move_to_trash(entered, place)? {
                remove_tree(&parent, &name)
                    .doing(|| format!("cannot delete what was {}", place.path))?;
            }
        }
        StoreCall::Discard(place) => {
            move_to_trash(entered, place)?;
        }
        StoreCall::EmptyTrash => {
            let lock = |wait| lock_alone(entered, SWEEPING, Sharing::Exclusive, wait);
            let _lock = match lock(false)? {
                Some(lock) => lock,
                // Whoever sweeps already has done part of the work then.
                None => {
                    reply(Reply::Waiting { holder: "a process that is emptying it".into() });
                    lock(true)?.ok_or_else(|| Failure::request("the trash cannot be locked"))?
                }
            };
            let (mut count, mut told) = (0, Instant::now());
            let mut each = || {
                count += 1;
                if told.elapsed() > Duration::from_millis(200) {
                    told = Instant::now();
                    reply(Reply::Number(count));
                }
            };
            for area in WITH_TRASH {
                empty_trash(entered, area, &mut each)?;
            }
        }
        StoreCall::List(place) => {
            for names in files::list(entered, place)?.chunks(500) {
                reply(Reply::Names(names.to_vec()));
            }
        }
        StoreCall::Read(place) => {
            let (parent, name) = match files::parent(entered, place) {
                Ok(found) => found,
                Err(failure) if failure.errno == Errno::NOENT.raw_os_error() => {
                    return Ok(Reply::Missing);
                }
                Err(failure) => return Err(failure),
            };
            return Ok(match read_at(&parent, name)? {
                Some(text) => Reply::Content(Bytes::from(text.into_bytes())),
                None => Reply::Missing,
            });
        }
        StoreCall::Write(place, content) => {
            write(entered, place, content)?;
        }
        StoreCall::Copy { from, to } => {
            let source = open_directory(entered, from)?;
            let (parent, name) = files::parent(entered, to)?;
            copy_tree(&source, &parent, name)?;
        }
        StoreCall::Flatten { lower, upper, files, to } => {
            flatten(entered, lower, upper.as_ref(), files, to)?;
        }
        StoreCall::Usage(place) => {
            let directory = open_directory(entered, place)?;
            let bytes = usage(&directory).doing(|| format!("cannot measure {}", place.path))?;
            return Ok(Reply::Number(bytes));
        }
        StoreCall::ProbeOverlay => probe_overlay(entered)?,
    }
    Ok(Reply::Done)
}

/// A small file that was replaced. Closing it deletes it, which may wait for the disk, behind
/// everything that is being written: it is left to somebody who has time.
#[derive(Debug)]
pub struct Replaced(OwnedFd);

impl Replaced {
    /// What holds it.
    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Replaces a small file in one step, and leaves for later what need not be done at once.
pub fn write(
    entered: &Entered,
    place: &Place,
    content: &[u8],
) -> Result<Option<Replaced>, Failure> {
    let (parent, name) = files::parent(entered, place)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(old) = openat(&parent, name, flags, Mode::empty()) else {
        files::replace_at(&parent, name, content, 0o644)?;
        return Ok(None);
    };
    let exchanged = files::exchange_at(&parent, name, content, 0o644)?;
    Ok(exchanged.then_some(Replaced(old)))
}

/// Moves `place` into the trash of its area; its new parent and name, or nothing if it is missing.
fn move_to_trash(entered: &Entered, place: &Place) -> Result<Option<(OwnedFd, String)>, Failure> {
    let (parent, name) = match files::parent(entered, place) {
        Ok(found) => found,
        Err(failure) if failure.errno == Errno::NOENT.raw_os_error() => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let trash = make_directory_at(entered.area(place.area)?, TRASH)?;
    for attempt in 0..1000 {
        let new = format!("{}.{}.{attempt}", std::process::id(), files::now_nanos());
        match renameat_with(&parent, name, &trash, &new, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Some((trash, new))),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::EXIST) => {}
            Err(error) => {
                return Err(Failure::system(format!("cannot remove {}", place.path), error));
            }
        }
    }
    Err(Failure::system(format!("cannot remove {}", place.path), Errno::EXIST))
}

/// Deletes what is in the trash, as far as that is possible; the first failure.
fn empty_trash(entered: &Entered, area: Area, each: &mut dyn FnMut()) -> Result<(), Failure> {
    let place = Place { area, path: TRASH.into() };
    let names = files::list(entered, &place)?;
    if names.is_empty() {
        return Ok(());
    }
    let trash = open_directory(entered, &place)?;
    let (probes, rest): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.starts_with(PROBE));
    // Another helper may be in the middle of its probe, perhaps in another container. Probes
    // are small: nobody waits for their deletion.
    if !probes.is_empty()
        && let Ok(Some(_lock)) = lock_alone(entered, PROBING, Sharing::Exclusive, false)
    {
        for name in probes {
            let _ = remove_tree(&trash, name);
        }
    }
    let mut outcome = Ok(());
    for name in rest {
        // Who is short of space may be at it too: whoever loses a race finds less to do.
        let removed = remove_counted(&trash, name.as_bytes(), each);
        outcome = outcome.and(removed.doing(|| format!("cannot delete {TRASH}/{name}")));
    }
    outcome
}

/// What waits in the trash, but for probes.
fn waiting(entered: &Entered) -> Vec<(Area, String)> {
    let all = WITH_TRASH.into_iter().flat_map(|area| {
        let names = files::list(entered, &Place { area, path: TRASH.into() }).unwrap_or_default();
        names.into_iter().map(move |name| (area, name))
    });
    all.filter(|(_, name)| !name.starts_with(PROBE)).collect()
}

/// Whether there is something for [`sweep`].
pub fn has_trash(entered: &Entered) -> bool {
    !waiting(entered).is_empty()
}

/// Empties the trash until nothing is left that can be deleted, unless somebody else is at it.
pub fn sweep(entered: &Entered) {
    let mut last = Vec::new();
    loop {
        let Ok(Some(lock)) = lock_alone(entered, SWEEPING, Sharing::Exclusive, false) else {
            return;
        };
        for area in WITH_TRASH {
            // What cannot be deleted the user is told by `scrub`.
            let _ = empty_trash(entered, area, &mut || {});
        }
        drop(lock);
        // Who came while the lock was held has gone again.
        let left = waiting(entered);
        if left.is_empty() || left == last {
            return;
        }
        last = left;
    }
}

/// Whether the disk is nearly full, so that what [`tidy`] would remove is needed now.
pub fn is_short(entered: &Entered) -> bool {
    let Ok(area) = entered.area(Area::Roots) else { return false };
    rustix::fs::fstatvfs(area).is_ok_and(|disk| disk.f_bavail < disk.f_blocks / 20)
}

/// What helpers do while nobody asks for anything: deletes what killed processes left, and syncs.
pub fn tidy(entered: &Entered) {
    sweep(entered);
    unfinished_layers(entered);
    boot::settle(entered);
}

/// Deletes layers that somebody began to make and nobody makes any more: their lock is free.
fn unfinished_layers(entered: &Entered) {
    let top = Place::layer(".");
    for name in files::list(entered, &top).unwrap_or_default() {
        let Some(key) = name.strip_prefix(MAKING) else { continue };
        let lock = Place::layer(format!("{LOCKS}/layer.{key}"));
        let Ok((locks, lock)) = files::parent(entered, &lock) else { continue };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = openat(&locks, lock, flags, Mode::from(0o644)) else { continue };
        // Held until the tree is in the trash, which takes no time.
        if matches!(lock::try_take(file.as_fd(), Sharing::Exclusive), Ok(true)) {
            let moved = move_to_trash(entered, &Place::layer(name));
            drop(file);
            if let Ok(Some((trash, name))) = moved {
                let _ = remove_tree(&trash, &name);
            }
        }
    }
}

/// Takes a lock of the trash, which dies with its holder. Nothing without `wait` if somebody else
/// has it.
fn lock_alone(
    entered: &Entered,
    name: &str,
    sharing: Sharing,
    wait: bool,
) -> Result<Option<OwnedFd>, Failure> {
    let doing = || "cannot lock the trash of the store".to_owned();
    let locks = make_directory_at(entered.area(Area::Roots)?, LOCKS)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&locks, name, flags, Mode::from(0o644)).doing(doing)?;
    if wait {
        lock::take(file.as_fd(), sharing).doing(doing)?;
        return Ok(Some(file));
    }
    let taken = lock::try_take(file.as_fd(), sharing).doing(doing)?;
    Ok(taken.then_some(file))
}

/// Mounts an overlay on directories of the store and checks that a directory of a lower layer can
/// be deleted and made again, which needs `user.*` attributes on the upper.
fn probe_overlay(entered: &Entered) -> Result<(), Failure> {
    let doing = || "cannot mount an overlay on the store".to_owned();
    let name = format!("{PROBE}{}.{}", std::process::id(), files::now_nanos());
    let _lock = lock_alone(entered, PROBING, Sharing::Shared, true)?;
    let trash = make_directory_at(entered.area(Area::Roots)?, TRASH)?;
    let home = make_directory_at(&trash, &name)?;
    let outcome = (|| {
        let lower = make_directory_at(&home, "lower")?;
        make_directory_at(&lower, "folder")?;
        let (upper, work) = (make_directory_at(&home, "upper")?, make_directory_at(&home, "work")?);
        let mount = tree::mount_overlay(&[lower], Some((&upper, &work))).isolating(doing)?;
        rustix::fs::unlinkat(&mount, "folder", rustix::fs::AtFlags::REMOVEDIR)
            .and_then(|()| rustix::fs::mkdirat(&mount, "folder", 0o755.into()))
            .isolating(doing)
    })();
    let _ = remove_tree(&trash, &name);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Mode;
    use std::fs;

    #[test]
    fn the_probe_of_a_helper_that_lives_stays_and_that_of_a_killed_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let probe = folder.path().join("trash/probe.1.1");
        fs::create_dir_all(&probe).unwrap();
        fs::create_dir(folder.path().join("trash/other")).unwrap();
        let area = OwnedFd::from(fs::File::open(folder.path()).unwrap());
        let areas = vec![(Area::Roots, area)];
        let entered = Entered { mode: Mode::Simple, areas, binds: Vec::new() };
        let probing = lock_alone(&entered, PROBING, Sharing::Shared, true).unwrap();
        empty_trash(&entered, Area::Roots, &mut || {}).unwrap();
        assert!(probe.exists() && !folder.path().join("trash/other").exists());
        drop(probing);
        empty_trash(&entered, Area::Roots, &mut || {}).unwrap();
        assert!(!probe.exists());
    }
    #[test]
    fn one_sweeps_at_a_time_and_who_waits_for_it_finds_nothing_left() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        let open = || OwnedFd::from(fs::File::open(folder.path()).unwrap());
        let areas = vec![(Area::Roots, open()), (Area::Layers, open())];
        let entered = Entered { mode: Mode::Simple, areas, binds: Vec::new() };
        let call = |call: &StoreCall| serve(&entered, call, |_| {}).unwrap();
        call(&StoreCall::Discard(Place::root("tree")));
        assert!(!tree.exists() && has_trash(&entered));
        let other = lock_alone(&entered, SWEEPING, Sharing::Exclusive, true).unwrap();
        sweep(&entered);
        assert!(has_trash(&entered));
        drop(other);
        sweep(&entered);
        assert!(!has_trash(&entered));
        call(&StoreCall::Discard(Place::root("tree")));
        assert!(!has_trash(&entered));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        call(&StoreCall::Discard(Place::root("tree")));
        call(&StoreCall::EmptyTrash);
        assert_eq!(fs::read_dir(folder.path().join(TRASH)).unwrap().count(), 0);
    }
}
