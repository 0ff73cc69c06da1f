//! Signals of the program, as something to read.
//!
//! Only the program calls [`Signals::install`], never the library on behalf of an embedder: it
//! blocks the signals in the calling thread, and threads that this one starts inherit that.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// What asks a program to end.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Blocked signals that wait to be read.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// A signal that asks to end, by its number.
    End(i32),
    /// The terminal has another size.
    Resized,
}

impl Signals {
    /// Catches SIGINT, SIGTERM, SIGHUP and SIGWINCH. Call it before any other thread is started.
    ///
    /// # Errors
    /// What the system says.
    pub fn install() -> std::io::Result<Self> {
        let mut set: SigSet = ENDING.into_iter().collect();
        set.add(Signal::SIGWINCH);
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Signals { descriptor: SignalFd::with_flags(&set, flags)? })
    }

    /// The next signal that has come; does not wait.
    pub fn next(&self) -> Option<Came> {
        let came = self.descriptor.read_signal().ok()??;
        match i32::try_from(came.ssi_signo).ok()? {
            number if number == Signal::SIGWINCH as i32 => Some(Came::Resized),
            number => Some(Came::End(number)),
        }
    }

    /// Ends this process by a signal, now: for somebody who asked twice. The helper ends with it,
    /// and so does everything in its sessions.
    pub fn give_in(&self, number: i32) {
        if let Ok(signal) = Signal::try_from(number) {
            let _ = ENDING.into_iter().collect::<SigSet>().thread_unblock();
            let _ = nix::sys::signal::raise(signal);
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
