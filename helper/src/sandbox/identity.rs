//! From the caller's identity to uid 0 of a user namespace, `user_namespaces(7)`.
//!
//! The caller's own id is absent from the map: what runs inside has no right to any file of the
//! caller. Store directories are opened in between, after the new mount namespace exists and
//! before the identity changes, so that a home directory of mode 0700 is no obstacle.

use crate::protocol::{Area, Doing, Enter, Failure, IdMap, Mode};
use crate::sys::process::{self, Fork};
use rustix::fs::{AtFlags, CWD, FileType, Mode as Bits, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, OpenTreeFlags, mount_change, open_tree};
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the helper holds after it has taken on the roots' identity.
#[derive(Debug)]
pub struct Entered {
    /// Isolation mode.
    pub mode: Mode,
    /// Store directories, as `O_PATH` descriptors of our own mount namespace.
    pub areas: Vec<(Area, OwnedFd)>,
    /// Detached copies of host mounts that sessions may bind.
    pub binds: Vec<OwnedFd>,
}

impl Entered {
    /// The descriptor of an area.
    pub fn area(&self, area: Area) -> Result<&OwnedFd, Failure> {
        let found = self.areas.iter().find(|(name, _)| *name == area);
        found
            .map(|(_, descriptor)| descriptor)
            .ok_or_else(|| Failure::request(format!("the store has no area {area:?}")))
    }
}

/// Takes on the identity that `request` describes.
pub fn enter(request: &Enter) -> Result<Entered, Failure> {
    if request.mode == Mode::Simple && !rustix::process::geteuid().is_root() {
        return Err(Failure::isolation("isolation `simple` is for root", Errno::PERM));
    }
    for (area, path) in &request.areas {
        if matches!(area, Area::Layers | Area::Roots) {
            provide_area(path_of(path), request.mode, request.ids)?;
        }
    }
    match request.mode {
        Mode::Simple => {
            process::unshare(libc::CLONE_NEWNS)
                .isolating(|| "cannot make a mount namespace".into())?;
        }
        Mode::Userns => {
            let mapper = Mapper::fork(std::process::id() as i32, &lines(request.ids))?;
            process::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)
                .isolating(|| "cannot make a user namespace".into())?;
            mapper.map()?;
        }
    }
    // The first real use of a capability: some systems let anybody make a user namespace and
    // then grant nothing in it.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).isolating(
        || "cannot change mounts in a new user namespace (capabilities are denied)".into(),
    )?;
    let areas = request
        .areas
        .iter()
        .map(|(area, path)| {
            let path = path_of(path);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Bits::empty())
                .doing(|| format!("cannot open {}", path.display()))
                .map(|descriptor| (*area, descriptor))
        })
        .collect::<Result<_, _>>()?;
    let binds = request
        .binds
        .iter()
        .map(|path| {
            let path = path_of(path);
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE;
            open_tree(CWD, path, flags).doing(|| format!("cannot bind {}", path.display()))
        })
        .collect::<Result<_, _>>()?;
    if request.mode == Mode::Userns {
        process::become_user(0, 0, &[])
            .isolating(|| "cannot become uid 0 of the user namespace".into())?;
    }
    // Working directory: nothing of the caller's.
    let _ = rustix::process::chdir("/");
    process::forbid_inspection().isolating(|| "cannot forbid inspection".into())?;
    Ok(Entered { mode: request.mode, areas, binds })
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn lines(ids: IdMap) -> Lines {
    Lines { uid: vec![[0, ids.uid, ids.count]], gid: vec![[0, ids.gid, ids.count]] }
}

/// Makes a store directory that belongs to the roots' uid 0, below a directory of the caller's.
fn provide_area(path: &Path, mode: Mode, ids: IdMap) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    if mode == Mode::Simple || rustix::process::geteuid().is_root() {
        make_owned(path, if mode == Mode::Simple { (0, 0) } else { (ids.uid, ids.gid) })
    } else {
        // Inside this short namespace the caller is 0 and the roots' uid 0 is 1.
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let both = Lines {
            uid: vec![[0, uid, 1], [1, ids.uid, ids.count]],
            gid: vec![[0, gid, 1], [1, ids.gid, ids.count]],
        };
        in_namespace(&both, || make_owned(path, (1, 1)))
    }
}

fn make_owned(path: &Path, (uid, gid): (u32, u32)) -> Result<(), Failure> {
    let doing = || format!("cannot make the store directory {}", path.display());
    // Made under another name first, so that two processes that start at once never see it with
    // the wrong owner.
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    // A number alone may come again: in another container, or after a kill.
    name.push(format!(".{}.{}", std::process::id(), crate::store::now_nanos()));
    let temporary = path.with_file_name(name);
    fs::create_dir(&temporary).doing(doing)?;
    let (owner, group) = (rustix::process::Uid::from_raw(uid), rustix::process::Gid::from_raw(gid));
    let made = rustix::fs::chownat(CWD, &temporary, Some(owner), Some(group), AtFlags::empty())
        .and_then(|()| rustix::fs::chmodat(CWD, &temporary, Bits::from(0o755), AtFlags::empty()))
        // An empty directory would be replaced by a plain rename, under the feet of who has it open.
        .and_then(|()| match renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => rustix::fs::rmdir(&temporary),
            other => other,
        });
    if made.is_err() {
        let _ = fs::remove_dir(&temporary);
    }
    made.doing(doing)
}

/// Lines of `uid_map` and `gid_map`: inside, outside, count.
struct Lines {
    uid: Vec<[u32; 3]>,
    gid: Vec<[u32; 3]>,
}

/// Runs `work` in a short-lived process in a user namespace with the map `lines`.
fn in_namespace(lines: &Lines, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let (mut from_child, to_parent) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    let (from_parent, to_child) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    match process::fork(0).doing(|| "cannot fork".into())? {
        Fork::Child => {
            drop((from_child, to_child));
            let mut to_parent = to_parent;
            let _ = process::die_with_parent();
            let outcome = process::unshare(libc::CLONE_NEWUSER)
                .isolating(|| "cannot make a user namespace".into())
                .and_then(|()| {
                    to_parent.write_all(b"u").doing(|| "cannot tell the parent".into())?;
                    let mut go = [0];
                    (&from_parent).read_exact(&mut go).doing(|| "the parent is gone".into())?;
                    process::become_user(0, 0, &[]).isolating(|| "cannot become uid 0".into())?;
                    work()
                });
            finish(&mut to_parent, outcome)
        }
        Fork::Parent(child) => {
            drop((to_parent, from_parent));
            let mut to_child = to_child;
            let mut unshared = [0];
            let mapped = match from_child.read_exact(&mut unshared) {
                Ok(()) if unshared == *b"u" => write_map(child.pid, lines).inspect(|()| {
                    let _ = to_child.write_all(b"g");
                }),
                _ => Ok(()),
            };
            drop(to_child);
            let mut rest = Vec::new();
            let _ = from_child.read_to_end(&mut rest);
            let _ = process::wait_for(child.pid);
            mapped?;
            outcome_of(&rest)
        }
    }
}

/// A process that stays in the caller's user namespace and maps the ids of another.
struct Mapper {
    go: std::io::PipeWriter,
    outcome: std::io::PipeReader,
    pid: i32,
}

impl Mapper {
    fn fork(target: i32, lines: &Lines) -> Result<Self, Failure> {
        let (mut wait, go) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
        let (outcome, mut report) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
        let parent = std::process::id();
        match process::fork(0).doing(|| "cannot fork".into())? {
            Fork::Child => {
                drop((go, outcome));
                process::die_with(parent);
                let mut byte = [0];
                if wait.read_exact(&mut byte).is_err() {
                    process::exit_now(0);
                }
                finish(&mut report, write_map(target, lines))
            }
            Fork::Parent(child) => Ok(Mapper { go, outcome, pid: child.pid }),
        }
    }

    fn map(mut self) -> Result<(), Failure> {
        let _ = self.go.write_all(b"g");
        // Its end first: what it says fits in the pipe, and waiting for the words would be one
        // more change of processes.
        let _ = process::wait_for(self.pid);
        let mut bytes = Vec::new();
        let _ = self.outcome.read_to_end(&mut bytes);
        outcome_of(&bytes)
    }
}

/// Sends the outcome of a short-lived process and ends it.
fn finish(pipe: &mut std::io::PipeWriter, outcome: Result<(), Failure>) -> ! {
    let bytes = crate::protocol::encode(&outcome.err()).unwrap_or_default();
    let _ = pipe.write_all(&bytes);
    process::exit_now(0)
}

fn outcome_of(bytes: &[u8]) -> Result<(), Failure> {
    match crate::protocol::decode::<Option<Failure>>(bytes) {
        Ok(None) => Ok(()),
        Ok(Some(failure)) => Err(failure),
        Err(_) => Err(Failure::isolation("a process that prepares the namespace died", Errno::IO)),
    }
}

/// Writes the id maps of process `pid`: root by itself, others through the setuid programs of the
/// package `uidmap`, which check `/etc/subuid` and `/etc/subgid`.
fn write_map(pid: i32, lines: &Lines) -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        for (file, lines) in [("uid_map", &lines.uid), ("gid_map", &lines.gid)] {
            let text: String = lines.iter().map(|[i, o, n]| format!("{i} {o} {n}\n")).collect();
            let path = format!("/proc/{pid}/{file}");
            fs::write(&path, text).isolating(|| format!("cannot write {path}"))?;
        }
        return Ok(());
    }
    // Both at once: each takes a millisecond.
    let started = [("newuidmap", &lines.uid), ("newgidmap", &lines.gid)].map(|(name, lines)| {
        let program = find_program(name)?;
        let mut command = Command::new(&program);
        command.arg(pid.to_string());
        command.args(lines.iter().flatten().map(u32::to_string));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().isolating(|| format!("cannot start {}", program.display()))?;
        Ok((name, child))
    });
    for outcome in started {
        let (name, child) = outcome?;
        let output = child.wait_with_output().isolating(|| format!("{name} was lost"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::isolation(
                format!("{name} refused: {}", said.trim()),
                Errno::PERM,
            ));
        }
    }
    Ok(())
}

/// A program of the package `uidmap`.
fn find_program(name: &str) -> Result<PathBuf, Failure> {
    ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin", "/run/wrappers/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| {
            path.metadata().is_ok_and(|m| {
                FileType::from_raw_mode(std::os::unix::fs::MetadataExt::mode(&m))
                    == FileType::RegularFile
            })
        })
        .ok_or_else(|| {
            Failure::isolation(
                format!("the program {name} (package uidmap) is missing"),
                Errno::NOENT,
            )
        })
}
