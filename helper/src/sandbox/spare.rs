//! A process that waits to become the next program.
//!
//! It has been forked and confined while nobody waited for it, so that a program of a session
//! begins as fast as it can be executed. It holds nothing of other programs: no stream and no
//! reply socket, whose end somebody may wait for. Whoever may send signals in the session may end
//! or stop it. So it says when it has read what it is to become, and one that has ended without a
//! word was nothing yet: another process takes the request over.

use super::command::{Around, Confinement, Launch, become_program, confine};
use crate::protocol::{Command, decode};
use crate::sys::process::{self, Fork};
use crate::sys::socket;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A process without a program.
#[derive(Debug)]
pub struct Spare {
    pid: i32,
    link: OwnedFd,
    confinement: Confinement,
}

/// A request on its way to a spare process.
#[derive(Debug)]
pub struct Handed {
    link: OwnedFd,
    /// The request, as it came.
    pub message: Vec<u8>,
    /// Reply socket, then streams.
    pub descriptors: Vec<OwnedFd>,
}

impl Spare {
    /// Forks one that is confined as nearly every program is.
    pub fn fork(around: &Around<'_>) -> Result<Self, Errno> {
        let (link, theirs) = socket::pair()?;
        let confinement =
            Confinement { network: false, suppress_sync: false, linux32: around.linux32 };
        match process::fork(0)? {
            Fork::Parent(child) => Ok(Spare { pid: child.pid, link, confinement }),
            Fork::Child => wait(around, confinement, &theirs),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it may become a program that is to be confined like that.
    pub fn fits(&self, how: Confinement) -> bool {
        self.confinement == how
    }

    /// Lets it become what the request says: `message` with a reply socket and streams.
    ///
    /// # Errors
    /// If it has ended; the request comes back.
    pub fn hand(
        self,
        message: Vec<u8>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Handed, (Vec<u8>, Vec<OwnedFd>)> {
        if let Some(pid) = Pid::from_raw(self.pid) {
            // Somebody inside may have stopped it.
            let _ = kill_process(pid, Signal::CONT);
        }
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        match socket::send(self.link.as_fd(), &message, &borrowed) {
            Ok(()) => Ok(Handed { link: self.link, message, descriptors }),
            Err(_) => Err((message, descriptors)),
        }
    }
}

impl Handed {
    /// Readable once [`Handed::was_read`] can tell.
    pub fn link(&self) -> &OwnedFd {
        &self.link
    }

    /// Whether the process has read the request. Waits for its word, or its end.
    pub fn was_read(&self) -> bool {
        matches!(socket::receive(self.link.as_fd()), Ok(Some(_)))
    }
}

/// Lives as the spare process.
fn wait(around: &Around<'_>, confinement: Confinement, link: &OwnedFd) -> ! {
    let kept = [around.root, around.network, link].map(AsRawFd::as_raw_fd);
    process::keep_descriptors(&kept);
    let confined = confine(around, confinement);
    let Ok(Some((message, mut descriptors))) = socket::receive(link.as_fd()) else {
        process::exit_now(0)
    };
    let request = decode::<Command>(&message);
    let (Ok(Command::Run(run)), false) = (request, descriptors.is_empty()) else {
        process::exit_now(1)
    };
    if socket::send(link.as_fd(), b"r", &[]).is_err() {
        process::exit_now(1)
    }
    let replies = descriptors.remove(0);
    become_program(&Launch { run: &run, streams: &descriptors, replies: &replies }, confined)
}
