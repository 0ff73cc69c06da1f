//! Message sockets that carry descriptors, `unix(7)`: one datagram is one message.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg,
    sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The longest message in bytes.
pub const LONGEST: usize = 128 * 1024;
/// Most messages are shorter, in bytes.
const USUAL: usize = 4096;
/// The most descriptors in one message.
pub const DESCRIPTORS: usize = 8;

/// A message as it came: its bytes and descriptors.
pub type Message = (Vec<u8>, Vec<OwnedFd>);

/// Two connected sockets, both close-on-exec.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends one message. Waits while the receiver is slow. Never raises SIGPIPE.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    if bytes.len() > LONGEST || descriptors.len() > DESCRIPTORS {
        return Err(Errno::MSGSIZE);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::MSGSIZE);
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Receives one message; `None` at the end of the stream. A message that is too long is an error.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<Message>, Errno> {
    // The longest one would have to be cleared first, and most have a few bytes.
    let mut bytes = vec![0; next_length(socket)?];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(received) => break received,
            // The other side is gone without having read everything. The kernel says so once, before
            // what the other side has said itself, and that is to be heard.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(error) => return Err(error),
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 && descriptors.is_empty() {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE);
    }
    bytes.truncate(received.bytes);
    Ok(Some((bytes, descriptors)))
}

/// Waits for a message; its bytes, or the most that may be.
fn next_length(socket: BorrowedFd<'_>) -> Result<usize, Errno> {
    loop {
        match recv(socket, &mut [0u8; 1], RecvFlags::PEEK | RecvFlags::TRUNC) {
            // Where two read, the other one may be the one to get it.
            Ok((_, length)) => return Ok(length.clamp(USUAL, LONGEST)),
            // As in `receive`.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Who is at the other end of a socket, in numbers of this process's namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process id; 0 for a process that this pid namespace does not have.
    pub pid: i32,
    /// User id when it connected.
    pub uid: u32,
}

/// Who connected to `socket`, `SO_PEERCRED` of `socket(7)`. Not by rustix, for which 0 is no
/// process id.
pub fn peer(socket: BorrowedFd<'_>) -> Result<Peer, Errno> {
    let mut found = libc::ucred { pid: -1, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the structure is of the length that is told, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut length,
        )
    };
    super::check(result.into())?;
    Ok(Peer { pid: found.pid, uid: found.uid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn last_words_are_heard_from_who_left_messages_unread() {
        let (ours, theirs) = pair().unwrap();
        send(ours.as_fd(), b"unread", &[]).unwrap();
        send(theirs.as_fd(), b"last words", &[]).unwrap();
        drop(theirs);
        assert_eq!(receive(ours.as_fd()).unwrap().unwrap().0, b"last words");
        assert!(receive(ours.as_fd()).unwrap().is_none());
    }
}
