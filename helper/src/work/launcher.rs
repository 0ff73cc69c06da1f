//! Starts programs for a worker that has given up what starting them takes.
//!
//! A worker that decodes packages of strangers beside trees of other layers may do little but make
//! files: it has no `CAP_SYS_ADMIN`, with which it could make a mount writable that is marked as
//! read-only, and cannot make a user namespace in which it would have it. Whoever takes it over can
//! have programs started in the root, as every script there can.

use super::bootstrap::Runner;
use crate::bootstrap::{Command, Outcome, RunInRoot};
use crate::protocol::{Doing, Failure, decode, encode};
use crate::sys::capability;
use crate::sys::process::{self, Fork};
use crate::sys::seccomp::{self, Filter};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// A command is at most this long, in bytes.
const LONGEST: u32 = 64 << 20;

/// A process that starts programs one after the other, and ends when this is dropped.
#[derive(Debug)]
pub(super) struct Launcher(UnixStream);

impl Launcher {
    /// Forks it; this process has one thread.
    pub(super) fn start(mut runner: Runner<'_>) -> Result<Self, Failure> {
        let (link, mut theirs) = UnixStream::pair().doing(|| "cannot make a socket".into())?;
        let parent = std::process::id();
        match process::fork(0).doing(|| "cannot fork".into())? {
            Fork::Parent(_) => Ok(Launcher(link)),
            Fork::Child => {
                drop(link);
                process::die_with(parent);
                while let Ok(command) = read::<Command>(&mut theirs) {
                    let told = |error: io::Error| (error.raw_os_error(), error.to_string());
                    let outcome = runner.run(&command).map_err(told);
                    if write(&mut theirs, &outcome).is_err() {
                        break;
                    }
                }
                process::exit_now(0)
            }
        }
    }
}

impl RunInRoot for Launcher {
    fn run(&mut self, command: &Command) -> io::Result<Outcome> {
        write(&mut self.0, command)?;
        let outcome: Result<Outcome, (Option<i32>, String)> = read(&mut self.0)?;
        outcome.map_err(|told| match told {
            (Some(errno), _) => io::Error::from_raw_os_error(errno),
            (None, words) => io::Error::other(words),
        })
    }
}

fn write(to: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let bytes = encode(message).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&bytes)
}

fn read<T: DeserializeOwned>(from: &mut UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes)?;
    decode(&bytes).map_err(io::Error::other)
}

/// Gives up for good what this thread, and what it starts, does not need to make files.
pub(super) fn give_up() -> Result<(), Errno> {
    // First: it takes one of the capabilities that go.
    seccomp::install(Filter { forbid_global: true, ..Filter::default() })?;
    capability::bound(capability::MAKING_FILES)?;
    capability::limit(capability::MAKING_FILES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::tree::bind;
    use crate::sys::mount::{NODEV, RDONLY, change_attributes};
    use rustix::fs::{Mode, OFlags, mkdirat, open};
    use std::os::fd::{AsFd, OwnedFd};

    #[test]
    fn who_has_given_up_cannot_write_where_it_may_only_read() {
        let folder = tempfile::tempdir().unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened: OwnedFd = open(folder.path(), flags, Mode::empty()).unwrap();
        let Ok(mount) = bind(&opened, RDONLY | NODEV) else {
            eprintln!("skipped: whoever runs this may not mount");
            return;
        };
        let make = |name: &str| mkdirat(&mount, name, Mode::RWXU);
        assert_eq!(make("before"), Err(Errno::ROFS));
        // all of it is a thread's own
        std::thread::scope(|threads| {
            let confined = threads.spawn(|| {
                give_up().unwrap();
                assert_eq!(change_attributes(mount.as_fd(), 0, RDONLY, false), Err(Errno::PERM));
                let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
                assert_eq!(process::unshare(namespaces), Err(Errno::PERM));
                assert_eq!(make("confined"), Err(Errno::ROFS));
            });
            confined.join().unwrap();
        });
        // it was that which kept it from doing so
        change_attributes(mount.as_fd(), 0, RDONLY, false).unwrap();
        make("after").unwrap();
    }
}
