//! The empty network namespace of a session.
//!
//! The keeper stays in the host's: from inside a user namespace there is no way back to it. A
//! short-lived child makes the empty one, brings `lo` up, mounts `/sys` (which shows the interfaces
//! of the namespace that mounts it) and ends; the keeper keeps a descriptor of the namespace.

use super::mounts;
use crate::protocol::{Doing, Failure, decode, encode};
use crate::sys::{network, process, process::Fork, socket};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// A namespace in the making; the keeper mounts other things meanwhile.
#[must_use = "whoever does not finish it has no namespace"]
#[derive(Debug)]
pub struct Making {
    child: process::Child,
    answer: OwnedFd,
}

/// Begins to make the namespace, and `/sys` below `root`.
pub fn begin(root: &OwnedFd) -> Result<Making, Failure> {
    let doing = || "cannot make a network namespace".to_owned();
    let (ours, theirs) = socket::pair().doing(doing)?;
    match process::fork(0).isolating(doing)? {
        Fork::Child => {
            drop(ours);
            // In the child and not by the fork: it takes as long as all other namespaces together.
            let outcome = process::unshare(libc::CLONE_NEWNET)
                .isolating(doing)
                .and_then(|()| furnish(root))
                .map(|weak| (weak, current()));
            // Not by a path below /proc: an undumpable process is opaque even to its parent.
            let (message, namespace) = match outcome {
                Ok((weak, Ok(namespace))) => (Ok(weak), Some(namespace)),
                Ok((_, Err(failure))) | Err(failure) => (Err(failure), None),
            };
            let descriptors: Vec<_> = namespace.iter().map(AsFd::as_fd).collect();
            let bytes = encode::<Result<Option<String>, Failure>>(&message).unwrap_or_default();
            let _ = socket::send(theirs.as_fd(), &bytes, &descriptors);
            process::exit_now(0)
        }
        Fork::Parent(child) => Ok(Making { child, answer: ours }),
    }
}

impl Making {
    /// Waits for the namespace; the text tells if `/sys` is weaker than it should be.
    pub fn finish(self) -> Result<(OwnedFd, Option<String>), Failure> {
        let doing = || "cannot make a network namespace".to_owned();
        let answer = socket::receive(self.answer.as_fd()).doing(doing)?;
        let _ = process::wait_for(self.child.pid);
        let died =
            || Failure::isolation("the process that makes the network namespace died", Errno::IO);
        let (bytes, mut descriptors) = answer.ok_or_else(died)?;
        let weak = decode::<Result<Option<String>, Failure>>(&bytes)??;
        Ok((descriptors.pop().ok_or_else(died)?, weak))
    }
}

fn furnish(root: &OwnedFd) -> Result<Option<String>, Failure> {
    network::bring_loopback_up().isolating(|| "cannot bring the loopback interface up".into())?;
    mounts::mount_sys(root)
}

/// The namespace of this process itself.
fn current() -> Result<OwnedFd, Failure> {
    open("/proc/self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .isolating(|| "cannot open the network namespace".into())
}
