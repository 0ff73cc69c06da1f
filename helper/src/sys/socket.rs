//! Message sockets that carry descriptors, `unix(7)`: one datagram is one message.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The longest message in bytes.
pub const LONGEST: usize = 128 * 1024;
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
    let mut bytes = vec![0; LONGEST];
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
