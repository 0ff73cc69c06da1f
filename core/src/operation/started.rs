//! A long call that was started, for callers that do other things meanwhile.

use super::{CancelToken, Scope, carry_out, panicked};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::event::Event;
use rustix::event::{EventfdFlags, eventfd};
use std::fmt;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What came of waiting for an event.
#[derive(Debug)]
pub enum Next {
    /// An event.
    Event(Event),
    /// Nothing within the time.
    Nothing,
    /// The work has ended and every event was delivered; [`Operation::wait`] will not wait.
    End,
}

/// A started long call: an id, an event stream, a pollable descriptor, `cancel`, `wait`.
///
/// It owns one thread and everything that the work uses. The thread is joined before
/// [`Operation::wait`] returns; dropping an operation cancels it and joins the thread, too. It may
/// be shared by threads. In a forked child, where the thread does not exist, every call returns
/// [`ErrorKind::Forked`], and dropping it closes its descriptor and nothing more.
#[must_use = "dropping it cancels the work"]
pub struct Operation<T> {
    scope: Scope,
    signal: Arc<OwnedFd>,
    worker: Mutex<Option<JoinHandle<Result<T>>>>,
    owner: u32,
}

impl<T> Operation<T> {
    /// Starts `work` in a thread of its own. Cancelling `cancel` cancels the work; cancelling the
    /// operation leaves `cancel` as it is, so that one token may serve several operations.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if there is no descriptor or thread to be had.
    pub fn start(
        cancel: &CancelToken,
        work: impl FnOnce(&Scope) -> Result<T> + Send + 'static,
    ) -> Result<Self>
    where
        T: Send + 'static,
    {
        let signal = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .doing(|| "cannot make a descriptor for events".into())?;
        let signal = Arc::new(signal);
        let scope = Scope::new(cancel.child(), Arc::downgrade(&signal));
        let theirs = scope.clone();
        let worker = thread::Builder::new()
            .name("debmock".into())
            .spawn(move || carry_out(&theirs, work))
            .doing(|| "cannot start a thread".into())?;
        Ok(Operation { scope, signal, worker: Mutex::new(Some(worker)), owner: std::process::id() })
    }

    /// Its id, unique in this process; its events carry it.
    pub fn id(&self) -> u64 {
        self.scope.shared.operation
    }

    /// A descriptor that polls as readable while an event waits, and for ever once the work has
    /// ended. It is close-on-exec, belongs to the operation, and must not be read.
    ///
    /// # Errors
    /// [`ErrorKind::Forked`].
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        self.check_fork()?;
        Ok(self.signal.as_fd())
    }

    /// The next event; waits for it at most that long.
    ///
    /// # Errors
    /// [`ErrorKind::Forked`].
    pub fn next_event(&self, wait: Duration) -> Result<Next> {
        self.check_fork()?;
        Ok(match self.scope.next(wait) {
            Some(event) => Next::Event(event),
            None if self.scope.finished() => Next::End,
            None => Next::Nothing,
        })
    }

    /// Whether the work has ended and every event was delivered.
    ///
    /// # Errors
    /// [`ErrorKind::Forked`].
    pub fn is_finished(&self) -> Result<bool> {
        self.check_fork()?;
        Ok(self.scope.finished())
    }

    /// Asks the work to stop; does not wait for that.
    ///
    /// # Errors
    /// [`ErrorKind::Forked`].
    pub fn cancel(&self) -> Result<()> {
        self.check_fork()?;
        self.scope.cancel.cancel();
        Ok(())
    }

    /// Waits for the end and joins the thread; what came of the work. Events that nobody has read
    /// can still be read.
    ///
    /// # Errors
    /// That of the work; [`ErrorKind::Usage`] if the result was taken already;
    /// [`ErrorKind::Forked`].
    pub fn wait(&self) -> Result<T> {
        self.check_fork()?;
        // Whoever else waits does so until the thread is joined.
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        match worker.take() {
            Some(worker) => worker.join().unwrap_or_else(|_| Err(panicked())),
            None => Err(Error::new(
                ErrorKind::Usage,
                format!("the result of operation {} was taken already", self.id()),
            )),
        }
    }

    /// Delivers every event to `on_event`, in this thread, and waits for the end.
    ///
    /// # Errors
    /// As [`Operation::wait`].
    pub fn watch(&self, mut on_event: impl FnMut(&Event)) -> Result<T> {
        loop {
            match self.next_event(Duration::MAX)? {
                Next::Event(event) => on_event(&event),
                Next::Nothing => {}
                Next::End => return self.wait(),
            }
        }
    }

    fn check_fork(&self) -> Result<()> {
        if self.owner == std::process::id() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Forked,
            format!("operation {} was started by process {}", self.id(), self.owner),
        )
        .with_hint("start an operation of its own in the forked process"))
    }
}

impl<T> Drop for Operation<T> {
    fn drop(&mut self) {
        if self.owner != std::process::id() {
            // Somebody may have held the lock when the process forked, and the thread is nowhere:
            // neither may be touched. The descriptor is closed with `signal`.
            mem::forget(mem::replace(&mut self.worker, Mutex::new(None)));
            return;
        }
        self.scope.cancel.cancel();
        let worker = self.worker.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            // Nobody asked for the result.
            let _ = worker.join();
        }
    }
}

impl<T> fmt::Debug for Operation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Log, What};
    use crate::operation::LINES;
    use rustix::event::{PollFd, PollFlags, poll};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    fn readable(operation: &Operation<impl Send>) -> bool {
        let descriptor = operation.descriptor().unwrap();
        let mut set = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut set, Some(&now)).unwrap() == 1
    }

    fn event(operation: &Operation<impl Send>) -> What {
        match operation.next_event(Duration::MAX).unwrap() {
            Next::Event(event) => {
                assert_eq!(event.operation, operation.id());
                event.what
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_descriptor_is_readable_while_an_event_or_the_end_waits() {
        let (go, wait) = mpsc::channel::<()>();
        let (told, tell) = mpsc::channel();
        let operation = Operation::start(&CancelToken::new(), move |scope| {
            wait.recv().unwrap();
            scope.warn("one", None);
            scope.warn("two", None);
            told.send(()).unwrap();
            wait.recv().unwrap();
            Ok(3)
        })
        .unwrap();
        assert!(!readable(&operation));
        assert!(matches!(operation.next_event(Duration::ZERO).unwrap(), Next::Nothing));
        go.send(()).unwrap();
        tell.recv().unwrap();
        assert!(readable(&operation));
        event(&operation);
        assert!(readable(&operation), "the second event waits");
        event(&operation);
        assert!(!readable(&operation));
        go.send(()).unwrap();
        assert!(matches!(operation.next_event(Duration::MAX).unwrap(), Next::End));
        assert!(readable(&operation) && readable(&operation));
        assert_eq!(operation.wait().unwrap(), 3);
        assert!(matches!(operation.next_event(Duration::MAX).unwrap(), Next::End));
        let flags = rustix::io::fcntl_getfd(operation.descriptor().unwrap()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn events_can_be_read_after_the_result_which_is_given_once() {
        let operation = Operation::start(&CancelToken::new(), |scope| {
            for done in 0..100 {
                let (stage, total) = ("fetch".to_owned(), Some(100));
                scope.emit(What::Progress { stage, done, total, unit: crate::event::Unit::Bytes });
            }
            for _ in 0..LINES + 7 {
                scope.line(Log::Build, "x");
            }
            Ok(())
        })
        .unwrap();
        operation.wait().unwrap();
        assert_eq!(operation.wait().unwrap_err().kind(), ErrorKind::Usage);
        assert!(matches!(event(&operation), What::Progress { done: 99, .. }));
        for _ in 0..LINES {
            assert!(matches!(event(&operation), What::LogLine { .. }));
        }
        assert!(matches!(event(&operation), What::LinesSkipped { count: 7, .. }));
        assert!(matches!(operation.next_event(Duration::ZERO).unwrap(), Next::End));
    }

    #[test]
    fn dropping_cancels_and_waits_and_leaves_the_callers_token_alone() {
        let ended = Arc::new(AtomicBool::new(false));
        let (token, theirs) = (CancelToken::new(), Arc::clone(&ended));
        let operation = Operation::start(&token, move |scope| {
            while scope.check().is_ok() {
                thread::yield_now();
            }
            theirs.store(true, Ordering::Release);
            scope.check()
        })
        .unwrap();
        drop(operation);
        assert!(ended.load(Ordering::Acquire) && !token.is_cancelled());
    }

    #[test]
    fn cancelling_either_way_ends_the_work() {
        for by_token in [true, false] {
            let token = CancelToken::new();
            let operation = Operation::start(&token, |scope| -> Result<()> {
                loop {
                    scope.check()?;
                    thread::yield_now();
                }
            })
            .unwrap();
            if by_token {
                token.cancel();
            } else {
                operation.cancel().unwrap();
            }
            assert_eq!(operation.watch(|_| {}).unwrap_err().kind(), ErrorKind::Cancelled);
        }
    }

    #[test]
    fn a_panic_is_an_error_and_the_end() {
        let operation =
            Operation::start(&CancelToken::new(), |_| -> Result<()> { panic!("on purpose") });
        let operation = operation.unwrap();
        assert!(matches!(operation.next_event(Duration::MAX).unwrap(), Next::End));
        assert_eq!(operation.wait().unwrap_err().kind(), ErrorKind::Unexpected);
    }

    #[test]
    fn signals_of_the_host_are_not_handled_in_our_thread() {
        let operation = Operation::start(&CancelToken::new(), |_| {
            Ok(nix::sys::signal::SigSet::thread_get_mask().unwrap())
        });
        let mask = operation.unwrap().wait().unwrap();
        use nix::sys::signal::Signal::{SIGCHLD, SIGINT, SIGPIPE, SIGSEGV, SIGTERM};
        assert!([SIGCHLD, SIGINT, SIGPIPE, SIGTERM].iter().all(|number| mask.contains(*number)));
        assert!(!mask.contains(SIGSEGV));
    }
}
