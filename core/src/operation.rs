//! Long calls: an id, an event stream, cancelling, waiting.
//!
//! Every long call of the library exists once, as a function that takes a [`Scope`]. A caller
//! that wants to wait and watch runs it with [`run`], which gives it a thread of its own, delivers
//! the events **in the caller's thread** and joins the thread before it returns. A caller that has
//! other things to do starts it as an [`Operation`], which has a descriptor to poll. Nothing is
//! left behind in either case: no global pool, no thread, no descriptor.
//!
//! Threads that are started here block every signal that can wait: handlers of the host process
//! run in threads of the host, and nothing that debmock writes to can raise SIGPIPE in it.
//!
//! The queue between the two is bounded. Progress is coalesced, log lines beyond the bound become
//! one [`What::LinesSkipped`]; everything else is kept. A reader that sleeps never stops the work.

mod cancel;
mod started;

pub use cancel::CancelToken;
pub use started::{Next, Operation};

use crate::error::{Error, ErrorKind, Result};
use crate::event::{self, Event, Log, What, seconds};
use nix::sys::signal::{SigSet, Signal};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

/// Log lines that wait in the queue at most.
const LINES: usize = 4096;

static NEXT: AtomicU64 = AtomicU64::new(1);

struct Queue {
    events: VecDeque<Event>,
    lines: usize,
    closed: bool,
}

struct Shared {
    operation: u64,
    started: Instant,
    sequence: AtomicU64,
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// Readable while an event or the end waits. Its owner is the [`Operation`] alone: a forked
    /// child, in which the working thread does not exist, can close it all the same.
    signal: Weak<OwnedFd>,
}

impl Shared {
    /// Makes the descriptor readable, or not. Called with the queue locked, so that the descriptor
    /// and the queue never disagree.
    fn mark(&self, readable: bool) {
        let Some(signal) = self.signal.upgrade() else { return };
        // Neither can fail: the counter never comes near its end, and an empty one is not waited
        // for.
        if readable {
            let _ = rustix::io::write(&signal, &1_u64.to_ne_bytes());
        } else {
            let _ = rustix::io::read(&signal, &mut [0; 8]);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Witness = Arc<dyn Fn(&What) + Send + Sync>;
type Look = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a working function holds: where its events go, and whether it should stop.
#[derive(Clone)]
pub struct Scope {
    shared: Arc<Shared>,
    cancel: CancelToken,
    /// Sees every event before it is queued.
    witness: Option<Witness>,
    /// Looks whether to stop, besides the token.
    look: Option<Look>,
}

impl Scope {
    fn new(cancel: CancelToken, signal: Weak<OwnedFd>) -> Self {
        let shared = Shared {
            operation: NEXT.fetch_add(1, Ordering::Relaxed),
            started: Instant::now(),
            sequence: AtomicU64::new(0),
            queue: Mutex::new(Queue { events: VecDeque::new(), lines: 0, closed: false }),
            arrived: Condvar::new(),
            signal,
        };
        Scope { shared: Arc::new(shared), cancel, witness: None, look: None }
    }

    /// A scope whose events nobody reads, for calls that are short or that report otherwise.
    pub fn quiet() -> Self {
        let scope = Scope::new(CancelToken::new(), Weak::new());
        lock(&scope.shared.queue).closed = true;
        scope
    }

    /// This scope, with somebody who sees every event of it first: a log that must not depend on
    /// whether anybody reads events.
    pub(crate) fn witnessed(&self, witness: impl Fn(&What) + Send + Sync + 'static) -> Self {
        Scope { witness: Some(Arc::new(witness)), ..self.clone() }
    }

    /// The token that stops this operation.
    pub fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// Fails with [`ErrorKind::Cancelled`] if somebody asked to stop. Call it in every loop that
    /// may last longer than a tenth of a second.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() || self.look.as_ref().is_some_and(|look| look()) {
            return Err(Error::new(ErrorKind::Cancelled, "the operation was cancelled"));
        }
        Ok(())
    }

    /// Sends an event.
    pub fn emit(&self, what: What) {
        if let Some(witness) = &self.witness {
            witness(&what);
        }
        let mut queue = lock(&self.shared.queue);
        if queue.closed {
            return;
        }
        match &what {
            What::Progress { stage, .. } => {
                if let Some(last) = queue.events.back_mut()
                    && matches!(&last.what, What::Progress { stage: s, .. } if s == stage)
                {
                    last.what = what;
                    return;
                }
            }
            What::LogLine { log, .. } if queue.lines >= LINES => {
                let log = *log;
                if let Some(last) = queue.events.back_mut()
                    && let What::LinesSkipped { log: l, count } = &mut last.what
                    && *l == log
                {
                    *count += 1;
                    return;
                }
                self.push(&mut queue, What::LinesSkipped { log, count: 1 });
                return;
            }
            What::LogLine { .. } => queue.lines += 1,
            _ => {}
        }
        self.push(&mut queue, what);
    }

    fn push(&self, queue: &mut Queue, what: What) {
        if queue.events.is_empty() {
            self.shared.mark(true);
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        queue.events.push_back(Event {
            schema: event::SCHEMA,
            operation: self.shared.operation,
            sequence: self.shared.sequence.fetch_add(1, Ordering::Relaxed),
            time: seconds(now),
            elapsed: seconds(self.shared.started.elapsed()),
            what,
        });
        self.shared.arrived.notify_all();
    }

    /// Sends a warning.
    pub fn warn(&self, message: impl Into<String>, hint: Option<String>) {
        self.emit(What::Warning { message: message.into(), hint });
    }

    /// Sends one line of a log.
    pub fn line(&self, log: Log, text: impl Into<String>) {
        self.emit(What::LogLine { log, text: text.into() });
    }

    /// Runs `work` as a named stage: its start, end, duration and success become events.
    pub fn stage<T>(
        &self,
        stage: &str,
        detail: impl Into<String>,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.check()?;
        self.emit(What::StageStarted { stage: stage.into(), detail: detail.into() });
        let started = Instant::now();
        let result = work();
        self.emit(What::StageFinished {
            stage: stage.into(),
            seconds: seconds(started.elapsed()),
            success: result.is_ok(),
        });
        result
    }

    fn close(&self) {
        let mut queue = lock(&self.shared.queue);
        queue.closed = true;
        self.shared.mark(true);
        self.shared.arrived.notify_all();
    }

    /// The next event; `None` after `wait` without one, or when the work has ended.
    fn next(&self, wait: Duration) -> Option<Event> {
        let mut queue = self
            .shared
            .arrived
            .wait_timeout_while(lock(&self.shared.queue), wait, |queue| {
                queue.events.is_empty() && !queue.closed
            })
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        let event = queue.events.pop_front()?;
        if matches!(event.what, What::LogLine { .. }) {
            queue.lines -= 1;
        }
        if queue.events.is_empty() && !queue.closed {
            self.shared.mark(false);
        }
        Some(event)
    }

    fn finished(&self) -> bool {
        let queue = lock(&self.shared.queue);
        queue.closed && queue.events.is_empty()
    }
}

/// Runs `work` in a thread of its own and `on_event` in this one, until `work` has ended and
/// every event was delivered.
pub fn run<T: Send>(
    cancel: CancelToken,
    mut on_event: impl FnMut(&Event),
    work: impl FnOnce(&Scope) -> Result<T> + Send,
) -> Result<T> {
    watch(cancel, |event| event.into_iter().for_each(&mut on_event), work)
}

/// Runs `work` in this thread and then delivers the events that it has told meanwhile: for short
/// calls, which a thread of their own would make longer, and for calls whose events nobody reads.
/// `stop` is asked whenever the work looks whether it should go on, about ten times a second, and
/// ends it as the token does.
pub fn run_here<T>(
    cancel: CancelToken,
    stop: impl Fn() -> bool + Send + Sync + 'static,
    mut on_event: impl FnMut(&Event),
    work: impl FnOnce(&Scope) -> Result<T>,
) -> Result<T> {
    let mut scope = Scope::new(cancel, Weak::new());
    scope.look = Some(Arc::new(stop));
    let result = work(&scope);
    scope.close();
    while let Some(event) = scope.next(Duration::ZERO) {
        on_event(&event);
    }
    result
}

/// As [`run`], for callers that look after something else meanwhile: without an event, `on_event`
/// is called with `None` about ten times a second.
pub fn watch<T: Send>(
    cancel: CancelToken,
    mut on_event: impl FnMut(Option<&Event>),
    work: impl FnOnce(&Scope) -> Result<T> + Send,
) -> Result<T> {
    let scope = Scope::new(cancel, Weak::new());
    std::thread::scope(|threads| {
        let worker = threads.spawn(|| carry_out(&scope, work));
        while !scope.finished() {
            on_event(scope.next(Duration::from_millis(100)).as_ref());
        }
        worker.join().unwrap_or_else(|_| Err(panicked()))
    })
}

/// What the thread of an operation does: the work, and whatever becomes of it, the end of the
/// queue.
fn carry_out<T>(scope: &Scope, work: impl FnOnce(&Scope) -> Result<T>) -> Result<T> {
    struct Close<'a>(&'a Scope);
    impl Drop for Close<'_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let _close = Close(scope);
    hold_signals();
    work(scope)
}

/// Blocks signals in this thread, but for those that tell of a fault in it.
fn hold_signals() {
    let mut set = SigSet::all();
    for fault in [
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGILL,
        Signal::SIGFPE,
        Signal::SIGTRAP,
        Signal::SIGABRT,
        Signal::SIGSYS,
    ] {
        set.remove(fault);
    }
    // It fails for sets that are no sets only.
    let _ = set.thread_block();
}

fn panicked() -> Error {
    Error::new(ErrorKind::Unexpected, "debmock panicked; this is a bug of debmock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_sleeps_never_stops_the_work() {
        let mut lines = 0;
        let mut skipped = 0;
        run(
            CancelToken::new(),
            |event| match &event.what {
                What::LogLine { .. } => lines += 1,
                What::LinesSkipped { count, .. } => skipped += count,
                _ => std::thread::sleep(Duration::from_millis(50)),
            },
            |scope| {
                scope.warn("wait", None);
                for _ in 0..3 * LINES {
                    scope.line(Log::Build, "x");
                }
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(lines + skipped, 3 * LINES as u64);
    }

    #[test]
    fn work_in_the_callers_thread_is_stopped_and_tells_its_events() {
        let mut seen = Vec::new();
        let here = std::thread::current().id();
        let error = run_here(
            CancelToken::new(),
            || true,
            |event| seen.push(event.what.clone()),
            |scope| {
                assert_eq!(std::thread::current().id(), here);
                scope.warn("one", None);
                scope.check()
            },
        )
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn stages_tell_start_and_end_and_cancel_stops_them() {
        let cancel = CancelToken::new();
        let mut seen = Vec::new();
        let error = run(
            cancel.clone(),
            |event| seen.push(event.what.clone()),
            |scope| {
                scope.stage("one", "", || Ok(()))?;
                scope.cancel_token().cancel();
                scope.stage("two", "", || Ok(()))
            },
        )
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(seen.len(), 2);
    }
}
