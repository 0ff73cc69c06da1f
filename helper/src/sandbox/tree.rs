//! The mount that becomes `/` of a session, made by the helper before it forks the keeper.
//!
//! Overlays are always mounted with `userxattr` (layers made with and without it do not mix:
//! deleted files would come back) and, where they can be changed, `volatile`: a normal unmount
//! would sync, half a second for a gigabyte. After a crash of ours the kernel's refusal of a used
//! volatile upper is lifted, since the page cache survives; after a crash of the machine it is not.

use super::identity::Entered;
use super::memory::{Attached, Memory};
use crate::protocol::{Area, Doing, Failure, Open, Place, SessionFile, Tree};
use crate::store;
use crate::sys::mount::{NODEV, RDONLY, set_attributes};
use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Bytes of a mount option that `fsconfig(2)` takes.
const OPTION: usize = 255;

/// The tree of a session.
#[derive(Debug)]
pub struct Mounted {
    /// A detached mount of it.
    pub tree: OwnedFd,
    /// What holds its changes, if that is not the disk.
    pub memory: Option<Memory>,
    /// Why they are on the disk, if they were to be in memory.
    pub warning: Option<String>,
}

/// Mounts the tree that `open` describes.
pub fn mount(entered: &Entered, open: &Open) -> Result<Mounted, Failure> {
    let (attached, warning) = match (&open.tree, open.memory) {
        (_, 0) => (None, None),
        (Tree::Overlay { upper: Some(_), .. }, bytes) => match Attached::new(bytes)? {
            Ok(attached) => (Some(attached), None),
            Err(reason) => (None, Some(reason)),
        },
        _ => (None, Some("a root that is no overlay is changed in its place".into())),
    };
    let tree = mount_with(entered, open, attached.as_ref())?;
    let memory = attached.map(Attached::detach).transpose()?;
    let warning = warning.map(|reason| format!("the root is changed on the disk: {reason}"));
    Ok(Mounted { tree, memory, warning })
}

fn mount_with(
    entered: &Entered,
    open: &Open,
    memory: Option<&Attached>,
) -> Result<OwnedFd, Failure> {
    match &open.tree {
        Tree::Directory { place, writable } => {
            let home = check_boot(entered, place)?;
            let directory = store::open_directory(entered, place)?;
            if let (Area::Roots, Some((home, name))) = (place.area, home) {
                if *writable {
                    store::claim(&home, &name)?;
                    store::lend(&home, &directory, &open.files)?;
                } else {
                    store::take_back(&home, &directory)?;
                }
            } else if *writable && !open.files.is_empty() {
                store::write_files(&directory, &open.files)?;
            }
            bind(&directory, if *writable { NODEV } else { NODEV | RDONLY })
                .isolating(|| format!("cannot mount {}", place.path))
        }
        Tree::Overlay { lower, upper } => overlay(entered, lower, upper.as_ref(), open, memory),
    }
}

/// What is left to do when a session on `tree` has ended: an ordinary end leaves nothing of the
/// session in a tree that is no overlay.
pub fn leave(entered: &Entered, tree: &Tree) -> Result<(), Failure> {
    if let Tree::Directory { place, writable: true } = tree
        && place.area == Area::Roots
        && let Some((home, _)) = home_of(entered, place)?
    {
        store::take_back(&home, &store::open_directory(entered, place)?)?;
    }
    Ok(())
}

/// A detached mount of one directory.
pub fn bind(directory: &OwnedFd, attributes: u64) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(directory, "", flags)?;
    set_attributes(tree.as_fd(), attributes, false)?;
    Ok(tree)
}

fn overlay(
    entered: &Entered,
    lower: &[Place],
    upper: Option<&Place>,
    open: &Open,
    memory: Option<&Attached>,
) -> Result<OwnedFd, Failure> {
    let mut layers = open_layers(entered, lower)?;
    if upper.is_none() {
        return mount_read_only(&layers).isolating(|| "cannot mount an overlay".into());
    }
    let mut change = None;
    if let Some(place) = upper {
        let home = store::open_directory(entered, place)?;
        store::claim(&home, &place.path)?;
        let make = |name: &str| store::make_directory_at(&home, name);
        let is_new = |name: &str| {
            matches!(statat(&home, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
        };
        let (new_upper, new_session) = (memory.is_some() || is_new("upper"), is_new("session"));
        let (upper, work) = match memory {
            Some(memory) => (memory.directory("upper")?, memory.directory("work")?),
            None => (make("upper")?, make("work")?),
        };
        forgive_crash(&work)?;
        // A directory that several layers have looks as it does in the topmost one.
        if new_upper {
            store::look_alike(&upper, ".", &layers)?;
        }
        if !open.files.is_empty() {
            let session = make("session")?;
            store::write_files(&session, &open.files)?;
            if new_session {
                for folder in folders(&open.files) {
                    store::look_alike(&session, folder, &layers)?;
                }
            }
            layers.insert(0, session);
        }
        change = Some((upper, work));
    }
    mount_overlay(&layers, change.as_ref().map(|(upper, work)| (upper, work)))
        .isolating(|| "cannot mount an overlay".into())
}

/// The trees at `lower`, topmost first, as an overlay takes them: those that consist of two, with
/// both.
pub fn open_layers(entered: &Entered, lower: &[Place]) -> Result<Vec<OwnedFd>, Failure> {
    let mut layers = Vec::new();
    for place in lower {
        let home = check_boot(entered, place)?;
        layers.push(store::open_directory(entered, place)?);
        // What maintainer scripts made lies above what they were unpacked with.
        if let (Area::Layers, Some((home, _))) = (place.area, home) {
            match openat(&home, store::BELOW, DIRECTORY, Mode::empty()) {
                Ok(below) => layers.push(below),
                Err(Errno::NOENT) => {}
                Err(error) => {
                    return Err(Failure::system(format!("cannot open {}", place.path), error));
                }
            }
        }
    }
    Ok(layers)
}

/// A detached mount of what `layers` (topmost first) show together.
pub fn mount_read_only(layers: &[OwnedFd]) -> Result<OwnedFd, Errno> {
    match layers {
        // An overlay of one layer and no upper does not exist.
        [one] => bind(one, NODEV | RDONLY),
        many => mount_overlay(many, None),
    }
}

/// Every directory above one of `files`.
fn folders(files: &[SessionFile]) -> BTreeSet<&str> {
    let paths = files.iter().map(|file| file.path.as_str());
    paths.flat_map(|path| path.match_indices('/').map(move |(end, _)| &path[..end])).collect()
}

/// The working directory is that of this process's descriptors as long as the value lives. Helpers
/// have one thread and otherwise no use for a working directory.
struct Descriptors(OwnedFd);

impl Descriptors {
    fn enter() -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let before = Descriptors(rustix::fs::open(".", flags, Mode::empty())?);
        rustix::process::chdir("/proc/self/fd")?;
        Ok(before)
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // It was open: nothing but its end could keep anybody from going back.
        let _ = rustix::process::fchdir(&self.0);
    }
}

/// Mounts `layers` (topmost first), with `upper` and `work` or read-only.
pub fn mount_overlay(
    layers: &[OwnedFd],
    change: Option<(&OwnedFd, &OwnedFd)>,
) -> Result<OwnedFd, Errno> {
    // By descriptor: the paths to the store are out of reach for uid 0 of the user namespace. And
    // by nothing but its number, from the directory of descriptors: before Linux 6.7 all layers
    // have to be named in one option.
    let _there = Descriptors::enter()?;
    let path = |descriptor: &OwnedFd| descriptor.as_raw_fd().to_string();
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(context.as_fd(), "userxattr")?;
    fsconfig_set_string(context.as_fd(), "source", "debmock")?;
    let lower = layers.iter().map(path).collect::<Vec<_>>().join(":");
    if lower.len() <= OPTION {
        fsconfig_set_string(context.as_fd(), "lowerdir", lower)?;
    } else {
        for layer in layers {
            fsconfig_set_string(context.as_fd(), "lowerdir+", path(layer))?;
        }
    }
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    if let Some((upper, work)) = change {
        fsconfig_set_string(context.as_fd(), "upperdir", path(upper))?;
        fsconfig_set_string(context.as_fd(), "workdir", path(work))?;
        fsconfig_set_flag(context.as_fd(), "volatile")?;
    } else {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Refuses a layer or buildroot that a machine which went down may have damaged; its directory.
fn check_boot(entered: &Entered, place: &Place) -> Result<Option<(OwnedFd, String)>, Failure> {
    let what = match place.area {
        Area::Layers => "the layer",
        Area::Roots => "the buildroot",
        Area::Lists | Area::Debs => return Ok(None),
    };
    let home = home_of(entered, place)?;
    if let Some((home, name)) = &home {
        store::check_boot(home, &format!("{what} {name}"))?;
    }
    Ok(home)
}

/// The directory of a layer or buildroot, in which its tree at `place` lies.
fn home_of(entered: &Entered, place: &Place) -> Result<Option<(OwnedFd, String)>, Failure> {
    match place.path.rsplit_once('/') {
        Some((home, _)) if !home.starts_with(store::MAKING) => {
            let home = Place { area: place.area, path: home.to_owned() };
            Ok(Some((store::open_directory(entered, &home)?, home.path)))
        }
        _ => Ok(None),
    }
}

/// Removes the mark by which the kernel refuses an upper of a volatile mount that did not end.
fn forgive_crash(work: &OwnedFd) -> Result<(), Failure> {
    let doing = || "cannot clean an overlay's work directory".to_owned();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(work, "work", flags, Mode::empty()) {
        Ok(inner) => store::remove_tree(&inner, "incompat").doing(doing),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(Failure::system(doing(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mount::change_attributes;
    use rustix::fs::mkdirat;

    #[test]
    fn an_overlay_that_has_nothing_to_change_stays_so_whatever_is_done_to_its_mount() {
        let folder = tempfile::tempdir().unwrap();
        let layers = ["one", "two"].map(|name| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            rustix::fs::open(path, DIRECTORY, Mode::empty()).unwrap()
        });
        let Ok(mount) = mount_overlay(&layers, None) else {
            eprintln!("skipped: whoever runs this may not mount overlays");
            return;
        };
        change_attributes(mount.as_fd(), 0, RDONLY, false).unwrap();
        assert_eq!(mkdirat(&mount, "new", Mode::RWXU), Err(Errno::ROFS));
    }
}
