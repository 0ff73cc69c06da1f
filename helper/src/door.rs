//! The door of an open session: how another process of the same user comes in.
//!
//! It is a socket of mode 0600 in the directory of the buildroot, beside the tree of the root and
//! never in it. The helper that holds the root's lock makes it, and whoever knocks does so through
//! a helper of its own, with the same ids and the same store; no other user reaches that directory.
//! The keeper opens to nobody from within its session, which it knows by the process id: processes
//! outside have none there. The first message is the greeting that helper and host exchange, whose
//! layout is frozen; the visitor's comes with a descriptor of its process.

use crate::protocol::{BUILD_ID, MAGIC};
use crate::sys::socket::{self, Peer};
use rustix::fs::{AtFlags, Mode, unlinkat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Its name in the directory of the buildroot.
const NAME: &str = "door";
/// Who may wait before the keeper opens.
const WAITING: i32 = 16;
/// Who may be in a session at once.
pub const VISITORS: usize = 64;

/// Makes the door of the buildroot in `home`, whose lock is held. One that a killed process left
/// goes: nobody is behind it.
pub fn make(home: &OwnedFd) -> Result<OwnedFd, Errno> {
    take_away(home);
    let door = new_socket()?;
    let before = rustix::process::umask(Mode::from(0o177));
    let bound = at(home, |address| bind(&door, address));
    rustix::process::umask(before);
    bound?;
    listen(&door, WAITING)?;
    Ok(door)
}

/// Takes the door away.
pub fn take_away(home: &OwnedFd) {
    let _ = unlinkat(home, NAME, AtFlags::empty());
}

/// Knocks at the door of the buildroot in `home` for the process `host` (`pidfd_open(2)`). The
/// answer comes over the socket. Nothing if there is no door, or nobody behind it.
pub fn knock(home: &OwnedFd, host: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let visitor = new_socket()?;
    match at(home, |address| connect(&visitor, address)) {
        Ok(()) => {}
        Err(Errno::NOENT | Errno::CONNREFUSED | Errno::AGAIN) => return Ok(None),
        Err(error) => return Err(error),
    }
    match socket::send(visitor.as_fd(), &greeting(), &[host]) {
        Ok(()) => {}
        Err(Errno::PIPE | Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error),
    }
    rustix::io::ioctl_fionbio(&visitor, false)?;
    Ok(Some(visitor))
}

/// Nobody waits here: neither for a full queue nor for one that has gone again.
fn new_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

fn greeting() -> Vec<u8> {
    [MAGIC.as_slice(), BUILD_ID.as_bytes()].concat()
}

/// With the address of the door from within `home`: an address has no room for long paths.
fn at<T>(
    home: &OwnedFd,
    work: impl FnOnce(&SocketAddrUnix) -> Result<T, Errno>,
) -> Result<T, Errno> {
    rustix::process::fchdir(home)?;
    let done = SocketAddrUnix::new(NAME).and_then(|address| work(&address));
    rustix::process::chdir("/")?;
    done
}

/// Somebody who came in.
#[derive(Debug)]
pub struct Visitor {
    /// Where its requests come from.
    pub socket: OwnedFd,
    /// Readable when its process has ended; known once it has greeted.
    pub host: Option<OwnedFd>,
    /// Tells visitors apart.
    pub number: u32,
}

impl Visitor {
    /// Lets in whoever knocks; nobody if it is from within the session, or has gone.
    pub fn admit(door: &OwnedFd, number: u32) -> Option<Self> {
        let socket = accept_with(door, SocketFlags::CLOEXEC).ok()?;
        // The ids of all visitors are those of the keeper: the socket's mode lets in nobody else.
        let outside = Peer { pid: 0, uid: 0 };
        (socket::peer(socket.as_fd()).ok()? == outside).then_some(())?;
        Some(Visitor { socket, host: None, number })
    }

    /// Takes the visitor's first message and answers; false if it is to leave.
    pub fn greet(&mut self, message: &[u8], mut descriptors: Vec<OwnedFd>) -> bool {
        self.host = descriptors.pop();
        let answered = socket::send(self.socket.as_fd(), &greeting(), &[]).is_ok();
        answered && self.host.is_some() && message == greeting()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{OFlags, open};
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    #[test]
    fn nobody_is_let_in_from_within_the_session() {
        let folder = tempfile::tempdir().unwrap();
        let home = open(folder.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let us = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        assert!(knock(&home, us.as_fd()).unwrap().is_none());
        let door = make(&home).unwrap();
        // This process has a number in its own pid namespace, as those of a session have there.
        assert!(knock(&home, us.as_fd()).unwrap().is_some());
        assert!(Visitor::admit(&door, 1).is_none());
        drop(door);
        assert!(knock(&home, us.as_fd()).unwrap().is_none());
        // One that was left behind is replaced.
        let door = make(&home).unwrap();
        assert!(knock(&home, us.as_fd()).unwrap().is_some());
        take_away(&home);
        drop(door);
        assert!(knock(&home, us.as_fd()).unwrap().is_none());
    }
}
