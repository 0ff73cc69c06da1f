//! Work on the files of a root, done by a process that the keeper forks for it: no decoder and no
//! path of a hostile tree is ever handled by process 1 itself.

pub(crate) mod apply;
mod archive;
pub(crate) mod bootstrap;
mod launcher;

pub use archive::export as pack;

use crate::pack::ImportOptions;
use crate::protocol::{Doing, Entry, Failure, Job, Reply, encode};
use crate::sandbox::command::Around;
use crate::sandbox::mounts;
use crate::sparse;
use crate::store;
use crate::sys::process::{self, Fork};
use crate::sys::socket;
use crate::unpack::Limits;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, fchmod, fchown, fstat, mkdirat, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What jobs need of their session.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// What programs get that a job starts.
    pub programs: Around<'a>,
    /// The tree of the session alone, without what is mounted in it.
    pub bare: &'a OwnedFd,
}

/// Starts `job`; its process id.
pub fn start(
    job: &Job,
    descriptors: Vec<OwnedFd>,
    replies: &OwnedFd,
    around: &Surroundings<'_>,
) -> Result<i32, Failure> {
    match process::fork(0).doing(|| "cannot fork".into())? {
        Fork::Parent(child) => Ok(child.pid),
        Fork::Child => {
            process::unblock_signals();
            let outcome = process::enter(around.programs.network.as_fd(), libc::CLONE_NEWNET)
                .isolating(|| "cannot enter the empty network".into())
                .and_then(|()| mounts::enter(around.programs.root))
                .and_then(|()| {
                    Work { root: around.bare, replies, around }.carry_out(job, descriptors)
                });
            let last = outcome.unwrap_or_else(Reply::Failed);
            if let Ok(bytes) = encode(&last) {
                let _ = socket::send(replies.as_fd(), &bytes, &[]);
            }
            process::exit_now(0)
        }
    }
}

/// Takes back what an installation left that was ended in the middle, in a process of its own.
///
/// # Errors
/// It cannot be taken back.
pub fn recover(bare: &OwnedFd) -> Result<(), Failure> {
    match process::fork(0).doing(|| "cannot fork".into())? {
        Fork::Parent(child) => {
            let status = process::wait_for(child.pid).doing(|| "cannot wait".into())?;
            match process::outcome(status) {
                (Some(0), _) => Ok(()),
                _ => Err(Failure::hostile("dpkg's database in the root is not what dpkg writes")),
            }
        }
        Fork::Child => {
            process::unblock_signals();
            process::exit_now(i32::from(crate::apply::recover(bare.as_fd()).is_err()))
        }
    }
}

struct Work<'a> {
    root: &'a OwnedFd,
    replies: &'a OwnedFd,
    around: &'a Surroundings<'a>,
}

impl Work<'_> {
    fn carry_out(&self, job: &Job, descriptors: Vec<OwnedFd>) -> Result<Reply, Failure> {
        match job {
            Job::WriteFile { path, mode, owner } => {
                let content = one(descriptors)?;
                self.write_file(&text(path), *mode, *owner, content)?;
            }
            Job::OpenFile { path, follow } => {
                let path = text(path);
                let doing = || format!("cannot open {path} of the root");
                let mut flags = OFlags::RDONLY | OFlags::NONBLOCK;
                if !follow {
                    flags |= OFlags::NOFOLLOW;
                }
                let file = self.open(&path, flags).doing(doing)?;
                let meta = fstat(&file).doing(doing)?;
                if !FileType::from_raw_mode(meta.st_mode).is_file() {
                    return Err(Failure::hostile(format!("{path} of the root is no regular file")));
                }
                let reply = Reply::File {
                    size: meta.st_size as u64,
                    mode: meta.st_mode & 0o7777,
                    modified: meta.st_mtime as i64,
                };
                self.say(&reply, &[file.as_fd()]);
            }
            Job::ListDirectory { path } => {
                for entries in self.list(&text(path))?.chunks(200) {
                    self.say(&Reply::Entries(entries.to_vec()), &[]);
                }
            }
            Job::MakeDirectory { path, mode, owner } => {
                let path = text(path);
                let doing = || format!("cannot make the directory {path} in the root");
                let directory = self.make_directory(&path).doing(doing)?;
                fchown(&directory, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))
                    .and_then(|()| fchmod(&directory, Mode::from_raw_mode(*mode)))
                    .doing(doing)?;
            }
            Job::Remove { path } => {
                let path = text(path);
                let doing = || format!("cannot delete {path} in the root");
                let (folder, name) = split(&path);
                match self.open(folder, OFlags::RDONLY | OFlags::DIRECTORY) {
                    Ok(parent) => store::remove_tree(&parent, name).doing(doing)?,
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(Failure::system(doing(), error)),
                }
            }
            Job::Bootstrap { apart } => return bootstrap::unpack(self, *apart, descriptors),
            Job::Configure { epoch } => bootstrap::configure(self, *epoch, descriptors)?,
            Job::Apply => return apply::run(self, descriptors),
            Job::Export { path, pack } => {
                let tree = self.directory(&text(path))?;
                return archive::export(tree.as_fd(), *pack, one(descriptors)?);
            }
            Job::Import { path, name, ownership, marks, digest } => {
                let (ownership, marks, digest) = (*ownership, *marks, *digest);
                let limits = Limits::for_root();
                let options = ImportOptions { ownership, marks, digest, limits };
                archive::import(self, &text(path), name, options, one(descriptors)?)?;
            }
        }
        Ok(Reply::Done)
    }

    fn say(&self, reply: &Reply, descriptors: &[BorrowedFd<'_>]) {
        if let Ok(bytes) = encode(reply) {
            let _ = socket::send(self.replies.as_fd(), &bytes, descriptors);
        }
    }

    /// Opens a path beneath the root as if it were `/`: a link that is planted inside never leads
    /// out.
    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        mounts::open_beneath(self.root, path, flags)
    }

    fn directory(&self, path: &str) -> Result<OwnedFd, Failure> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
            .doing(|| format!("cannot open the directory {path} of the root"))
    }

    fn make_directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        let mut at = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let parent = self.open(&at, OFlags::PATH | OFlags::DIRECTORY)?;
            at = format!("{at}/{part}");
            match mkdirat(&parent, part, Mode::from(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn write_file(
        &self,
        path: &str,
        mode: u32,
        owner: (u32, u32),
        content: OwnedFd,
    ) -> Result<(), Failure> {
        let doing = || format!("cannot write {path} in the root");
        let (folder, name) = split(path);
        let parent = self.make_directory(folder).doing(doing)?;
        let aside = aside(name);
        let _ = unlinkat(&parent, &aside, AtFlags::empty());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&parent, &aside, flags, Mode::from(0o600)).doing(doing)?;
        let content = File::from(content);
        let copied = file.try_clone().and_then(|to| {
            let to = File::from(to);
            match content.metadata()?.is_file() {
                // Who gives up ends this process.
                true => sparse::copy(&content, &to, sparse::length(&content)?, || true).map(drop),
                false => std::io::copy(&mut &content, &mut &to).map(drop),
            }
        });
        let written = copied.doing(doing).and_then(|()| {
            fchown(&file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))
                .and_then(|()| fchmod(&file, Mode::from_raw_mode(mode)))
                .and_then(|()| renameat(&parent, &aside, &parent, name))
                .doing(doing)
        });
        if written.is_err() {
            let _ = unlinkat(&parent, &aside, AtFlags::empty());
        }
        written
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>, Failure> {
        let doing = || format!("cannot list {path} of the root");
        let directory = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY).doing(doing)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&directory).doing(doing)? {
            let entry = entry.doing(doing)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).doing(doing)?;
            entries.push(Entry {
                name: crate::protocol::bytes(name.to_bytes()),
                mode: stat.st_mode,
                size: stat.st_size as u64,
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }
}

/// The name of a file of the root that is being written, until it is complete.
pub fn aside(name: &str) -> String {
    format!(".{name}.debmock")
}

fn split(path: &str) -> (&str, &str) {
    let path = path.trim_end_matches('/');
    path.rsplit_once('/').unwrap_or(("", path))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn one(mut descriptors: Vec<OwnedFd>) -> Result<OwnedFd, Failure> {
    match (descriptors.pop(), descriptors.is_empty()) {
        (Some(descriptor), true) => Ok(descriptor),
        _ => Err(Failure::request("the job needs one descriptor")),
    }
}
