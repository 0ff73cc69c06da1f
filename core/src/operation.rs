//! Long calls: an id, an event stream, cancelling, waiting.
//!
//! Every long call of the library exists once, as a function that takes a [`Scope`]. A caller
//! that wants to wait and watch runs it with [`run`], which gives it a thread of its own, delivers
//! the events **in the caller's thread** and joins the thread before it returns. Nothing is left
//! behind: no global pool, no descriptor.
//!
//! The queue between the two is bounded. Progress is coalesced, log lines beyond the bound become
//! one [`What::LinesSkipped`]; everything else is kept. A reader that sleeps never stops the work.

use crate::error::{Error, ErrorKind, Result};
use crate::event::{self, Event, Log, What, seconds};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Log lines that wait in the queue at most.
const LINES: usize = 4096;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Asks an operation to stop. Clones share one flag; it may be set from any thread and from a
/// signal handler.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that nobody has used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop. The operation ends within a second with [`ErrorKind::Cancelled`].
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

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
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a working function holds: where its events go, and whether it should stop.
#[derive(Clone)]
pub struct Scope {
    shared: Arc<Shared>,
    cancel: CancelToken,
}

impl Scope {
    fn new(cancel: CancelToken) -> Self {
        let shared = Shared {
            operation: NEXT.fetch_add(1, Ordering::Relaxed),
            started: Instant::now(),
            sequence: AtomicU64::new(0),
            queue: Mutex::new(Queue { events: VecDeque::new(), lines: 0, closed: false }),
            arrived: Condvar::new(),
        };
        Scope { shared: Arc::new(shared), cancel }
    }

    /// A scope whose events nobody reads, for calls that are short or that report otherwise.
    pub fn quiet() -> Self {
        let scope = Scope::new(CancelToken::new());
        lock(&scope.shared.queue).closed = true;
        scope
    }

    /// The token that stops this operation.
    pub fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// Fails with [`ErrorKind::Cancelled`] if somebody asked to stop. Call it in every loop that
    /// may last longer than a tenth of a second.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the operation was cancelled"));
        }
        Ok(())
    }

    /// Sends an event.
    pub fn emit(&self, what: What) {
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
        lock(&self.shared.queue).closed = true;
        self.shared.arrived.notify_all();
    }

    /// The next event; `None` after `wait` without one, or when the work has ended.
    fn next(&self, wait: Duration) -> Option<Event> {
        let mut queue = lock(&self.shared.queue);
        if queue.events.is_empty() && !queue.closed {
            queue = self
                .shared
                .arrived
                .wait_timeout(queue, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let event = queue.events.pop_front()?;
        if matches!(event.what, What::LogLine { .. }) {
            queue.lines -= 1;
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

/// As [`run`], for callers that look after something else meanwhile: without an event, `on_event`
/// is called with `None` about ten times a second.
pub fn watch<T: Send>(
    cancel: CancelToken,
    mut on_event: impl FnMut(Option<&Event>),
    work: impl FnOnce(&Scope) -> Result<T> + Send,
) -> Result<T> {
    struct Close<'a>(&'a Scope);
    impl Drop for Close<'_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let scope = Scope::new(cancel);
    std::thread::scope(|threads| {
        let worker = threads.spawn(|| {
            let _close = Close(&scope);
            work(&scope)
        });
        while !scope.finished() {
            on_event(scope.next(Duration::from_millis(100)).as_ref());
        }
        worker.join().unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unexpected, "debmock panicked; this is a bug of debmock"))
        })
    })
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
