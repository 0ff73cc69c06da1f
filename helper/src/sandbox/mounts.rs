//! A session's mount namespace, laid out by the keeper before it pivots into it.
//!
//! The root is attached over `/tmp` of a private copy of the host's mounts, filled with `/proc`,
//! `/sys` and `/dev`, and pivoted to; the copy is detached. Nothing is ever mounted in the host's
//! namespace. Commands lack `CAP_SYS_ADMIN`, so what is mounted or hidden here stays so.

use crate::protocol::{Bind, Doing, Failure, Mode};
use crate::sys::mount::{NODEV, NOEXEC, NOSUID, RDONLY, set_attributes};
use rustix::fs::{
    AtFlags, CWD, Mode as Bits, OFlags, ResolveFlags, mkdirat, openat, openat2, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Attaches `tree` where it can become `/`, and returns it.
pub fn attach_root(tree: OwnedFd) -> Result<OwnedFd, Failure> {
    let place = ["/tmp", "/mnt", "/proc", "/dev"]
        .into_iter()
        .find(|path| std::path::Path::new(path).is_dir())
        .ok_or_else(|| Failure::isolation("the host has no directory to mount on", Errno::NOENT))?;
    attach(tree.as_fd(), CWD, place).isolating(|| format!("cannot attach the root at {place}"))?;
    Ok(tree)
}

/// A detached copy of the root's own mount, taken before anything is mounted in it.
pub fn bare_copy(root: &OwnedFd) -> Result<OwnedFd, Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(root, "", flags).isolating(|| "cannot copy the root's mount".into())
}

fn attach(tree: BorrowedFd<'_>, at: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if path.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    move_mount(tree, "", at, path, flags)
}

/// A new instance of a file system type, not attached anywhere yet.
fn new_mount(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A file system in memory of at most that many bytes.
pub fn memory(bytes: u64) -> Result<OwnedFd, Errno> {
    let size = bytes.to_string();
    let options = [("mode", "0755"), ("size", size.as_str())];
    new_mount("tmpfs", &options, MountAttrFlags::MOUNT_ATTR_NODEV)
}

const HARDENED: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A directory beneath `root`, made if it is missing; symbolic links are resolved inside the root.
fn provide_directory(root: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let mut at = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if !at.is_empty() {
            at.push('/');
        }
        at.push_str(part);
        match open_beneath(root, &at, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(_) => {}
            Err(Errno::NOENT) => {
                let (parent, name) = at.rsplit_once('/').unwrap_or(("", &at));
                let parent = open_beneath(root, parent, OFlags::PATH | OFlags::DIRECTORY)?;
                match mkdirat(&parent, name, Bits::from(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
    open_beneath(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Opens a path beneath `root` as if `root` were `/` (`openat2(2)`, Linux 5.6).
pub fn open_beneath(root: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = path.trim_start_matches('/');
    let path = if path.is_empty() { "." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(root, path, flags | OFlags::CLOEXEC, Bits::empty(), resolve) {
            // A rename elsewhere may disturb the resolution.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Mounts a fresh `/proc`. In a container that masks its own the kernel refuses one; then, if
/// `accept_weak` and not with real root inside, the container's is used.
pub fn mount_proc(
    root: &OwnedFd,
    mode: Mode,
    accept_weak: bool,
) -> Result<Option<String>, Failure> {
    let doing = || "cannot mount /proc".to_owned();
    let place = provide_directory(root, "proc").isolating(doing)?;
    match new_mount("proc", &[], HARDENED) {
        Ok(proc) => {
            attach(proc.as_fd(), place.as_fd(), "").isolating(doing)?;
            if mode == Mode::Simple {
                protect_proc(&proc)?;
            }
            Ok(None)
        }
        // To real root every process of that one would be open, and its files with it.
        Err(error) if accept_weak && mode != Mode::Simple => {
            let copy = open_tree(
                CWD,
                "/proc",
                OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | OpenTreeFlags::AT_RECURSIVE,
            )
            .isolating(doing)?;
            attach(copy.as_fd(), place.as_fd(), "").isolating(doing)?;
            Ok(Some(format!("/proc of the surrounding container is visible ({error})")))
        }
        Err(error) => Err(Failure::isolation(doing(), error)),
    }
}

/// With real root inside, the parts of `/proc` that act on the whole machine become read-only
/// or empty. In a user namespace their owner, the host's root, is somebody else.
fn protect_proc(proc: &OwnedFd) -> Result<(), Failure> {
    let doing = |path: &str| format!("cannot protect /proc/{path}");
    for path in ["sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "mtrr"] {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        match open_tree(proc, path, flags) {
            Ok(copy) => {
                set_attributes(copy.as_fd(), RDONLY | NOSUID | NODEV | NOEXEC, false)
                    .and_then(|()| attach(copy.as_fd(), proc.as_fd(), path))
                    .isolating(|| doing(path))?;
            }
            Err(Errno::NOENT) => {}
            Err(error) => return Err(Failure::isolation(doing(path), error)),
        }
    }
    for path in [
        "kcore",
        "keys",
        "key-users",
        "timer_list",
        "sched_debug",
        "kmsg",
        "kpagecount",
        "kpageflags",
    ] {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let null = open_tree(CWD, "/dev/null", flags).isolating(|| doing(path))?;
        match attach(null.as_fd(), proc.as_fd(), path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(Failure::isolation(doing(path), error)),
        }
    }
    Ok(())
}

/// Mounts the visible parts of `full` in `face`.
fn show_parts(full: &OwnedFd, face: &OwnedFd) -> Result<(), Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    // Since Linux 6.15 parts of a mount that is attached nowhere can be copied. Before, it has to
    // be attached for a moment; taking it away again waits for every processor.
    let attached = match open_tree(full, SYS_VISIBLE[0], flags) {
        Err(Errno::INVAL) => {
            provide_directory(face, ".full")?;
            attach(full.as_fd(), face.as_fd(), ".full")?;
            true
        }
        _ => false,
    };
    for path in SYS_VISIBLE {
        match open_tree(full, *path, flags) {
            Ok(part) => attach(part.as_fd(), provide_directory(face, path)?.as_fd(), "")?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    if attached {
        let hidden = open_beneath(face, ".full", OFlags::PATH)?;
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&hidden));
        unmount(&*path, UnmountFlags::DETACH)?;
        rustix::fs::unlinkat(face, ".full", AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// What of `/sys` a build may see: processors, memory nodes and its own network interfaces.
const SYS_VISIBLE: &[&str] =
    &["devices/system/cpu", "devices/system/node", "devices/virtual/net", "class/net"];

/// Mounts a reduced, read-only `/sys`. Called in the empty network namespace.
pub fn mount_sys(root: &OwnedFd) -> Result<Option<String>, Failure> {
    let doing = || "cannot mount /sys".to_owned();
    let place = provide_directory(root, "sys").isolating(doing)?;
    let full = new_mount("sysfs", &[], HARDENED | MountAttrFlags::MOUNT_ATTR_RDONLY);
    let face =
        new_mount("tmpfs", &[("mode", "0755"), ("size", "64k")], HARDENED).isolating(doing)?;
    attach(face.as_fd(), place.as_fd(), "").isolating(doing)?;
    let weak = match full {
        Ok(full) => {
            show_parts(&full, &face).isolating(doing)?;
            None
        }
        Err(error) => Some(format!("/sys is empty ({error})")),
    };
    set_attributes(face.as_fd(), RDONLY, false).isolating(doing)?;
    Ok(weak)
}

const NODES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// Lays out `/dev`: a tmpfs of mode 0755 (on a sticky, world-writable one `> /dev/null` would be
/// refused), the six harmless nodes bound from the host, terminals and shared memory of its own.
pub fn mount_dev(root: &OwnedFd) -> Result<(), Failure> {
    let doing = || "cannot make /dev".to_owned();
    let place = provide_directory(root, "dev").isolating(doing)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let dev =
        new_mount("tmpfs", &[("mode", "0755"), ("size", "1m")], attributes).isolating(doing)?;
    attach(dev.as_fd(), place.as_fd(), "").isolating(doing)?;
    for name in NODES {
        let doing = || format!("cannot provide /dev/{name}");
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let node = open_tree(CWD, format!("/dev/{name}"), flags).isolating(doing)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        drop(openat(&dev, *name, flags, Bits::from(0o666)).isolating(doing)?);
        attach(node.as_fd(), dev.as_fd(), name).isolating(doing)?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlinkat(target, &dev, name).isolating(doing)?;
    }
    // Every devpts is an instance of its own since Linux 4.7.
    let terminals = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let pts =
        new_mount("devpts", &terminals, attributes).isolating(|| "cannot mount /dev/pts".into())?;
    let at = provide_directory(&dev, "pts").isolating(doing)?;
    attach(pts.as_fd(), at.as_fd(), "").isolating(doing)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let shm = new_mount("tmpfs", &[("mode", "1777")], attributes).isolating(doing)?;
    let at = provide_directory(&dev, "shm").isolating(doing)?;
    attach(shm.as_fd(), at.as_fd(), "").isolating(doing)
}

/// Mounts what the config binds.
pub fn mount_bind(root: &OwnedFd, source: &OwnedFd, bind: &Bind) -> Result<(), Failure> {
    let target = String::from_utf8_lossy(&bind.target).into_owned();
    let doing = || format!("cannot bind a host path at {target}");
    let mut attributes = NODEV | NOSUID;
    if !bind.writable {
        attributes |= RDONLY;
    }
    set_attributes(source.as_fd(), attributes, true).isolating(doing)?;
    let meta = rustix::fs::fstat(source).isolating(doing)?;
    let is_directory = rustix::fs::FileType::from_raw_mode(meta.st_mode).is_dir();
    let place = provide_mountpoint(root, &target, is_directory).isolating(doing)?;
    attach(source.as_fd(), place.as_fd(), "").isolating(doing)
}

fn provide_mountpoint(root: &OwnedFd, path: &str, directory: bool) -> Result<OwnedFd, Errno> {
    if directory {
        return provide_directory(root, path);
    }
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = provide_directory(root, parent)?;
    let flags =
        OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(&parent, name, flags | OFlags::EXCL, Bits::from(0o644)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    open_beneath(root, path, OFlags::PATH)
}

/// Mounts a detached directory read-only at `target` of `root`.
pub fn attach_late(root: &OwnedFd, tree: &OwnedFd, target: &str) -> Result<(), Failure> {
    let doing = || format!("cannot mount at {target}");
    let place = provide_directory(root, target).isolating(doing)?;
    attach(tree.as_fd(), place.as_fd(), "").isolating(doing)
}

/// Unmounts what [`attach_late`] mounted. By its descriptor: what lies at the path by now may be
/// a link that somebody inside has planted, to a mount that protects.
pub fn detach(tree: &OwnedFd) -> Result<(), Failure> {
    let doing = || "cannot unmount a directory of the store".to_owned();
    rustix::process::fchdir(tree).doing(doing)?;
    let unmounted = unmount(".", UnmountFlags::DETACH).doing(doing);
    rustix::process::chdir("/").doing(doing)?;
    unmounted
}

/// Makes `root` the calling process's `/`.
///
/// Process 1 lives in the bare tree, and what it forks comes back to the session's root: so
/// `ischroot(1)`, which compares `/proc/1/mountinfo` with the caller's, says that this is a
/// chroot, and maintainer scripts let init be (that of libc6 would wait a second for it).
pub fn enter(root: &OwnedFd) -> Result<(), Failure> {
    rustix::process::fchdir(root)
        .and_then(|()| rustix::process::chroot("."))
        .isolating(|| "cannot enter the root".into())
}

/// Makes `root` the root of this mount namespace and forgets everything else.
pub fn pivot(root: &OwnedFd) -> Result<(), Failure> {
    rustix::process::fchdir(root).isolating(|| "cannot enter the root".into())?;
    rustix::process::pivot_root(".", ".").isolating(|| "cannot pivot to the root".into())?;
    // The old root is now stacked on the new one.
    unmount(".", UnmountFlags::DETACH).isolating(|| "cannot leave the host's mounts".into())?;
    rustix::process::chdir("/").isolating(|| "cannot enter the root".into())
}
