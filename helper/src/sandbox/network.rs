//! The empty network namespace of a session.
//!
//! The keeper stays in the host's: from inside a user namespace there is no way back to it. A
//! short-lived child makes the empty one, brings `lo` up, mounts `/sys` (which shows the interfaces
//! of the namespace that mounts it) and ends; the keeper keeps a descriptor of the namespace.

use super::mounts;
use crate::protocol::{Doing, Failure, decode, encode};
use crate::sys::{network, process, process::Fork};
use rustix::fs::{Mode, OFlags, open};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

/// Makes the namespace, and `/sys` below `root`; the text tells if `/sys` is weaker than it
/// should be.
pub fn make(root: &OwnedFd) -> Result<(OwnedFd, Option<String>), Failure> {
    let (mut outcome, mut report) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    let (mut wait, go) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    match process::fork(libc::CLONE_NEWNET as u64)
        .isolating(|| "cannot make a network namespace".into())?
    {
        Fork::Child => {
            drop((outcome, go));
            let result: Result<Option<String>, Failure> = network::bring_loopback_up()
                .isolating(|| "cannot bring the loopback interface up".into())
                .and_then(|()| mounts::mount_sys(root));
            let _ = report.write_all(&encode(&result).unwrap_or_default());
            drop(report);
            let _ = wait.read(&mut [0]);
            process::exit_now(0)
        }
        Fork::Parent(child) => {
            drop((report, wait));
            let mut bytes = Vec::new();
            let _ = outcome.read_to_end(&mut bytes);
            // By the child's number in our own /proc, which is already that of the session.
            let path = format!("proc/{}/ns/net", child.pid);
            let namespace = rustix::fs::openat(
                root,
                path,
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .isolating(|| "cannot open the network namespace".into());
            drop(go);
            let _ = process::wait_for(child.pid);
            let weak = decode::<Result<Option<String>, Failure>>(&bytes).unwrap_or_else(|_| {
                Err(Failure::request("the process that makes the network namespace died"))
            })?;
            Ok((namespace?, weak))
        }
    }
}

/// The namespace of this process itself.
pub fn current() -> Result<OwnedFd, Failure> {
    open("/proc/self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .isolating(|| "cannot open the network namespace".into())
}
