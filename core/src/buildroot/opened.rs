//! The session that a value has open, and whose turn it is to open one.
//!
//! To open one may take long: other processes are waited for, a root is made. Whoever needs the
//! outcome waits beside that and not behind a lock that nobody can be called away from.

use crate::error::Result;
use crate::event::What;
use crate::operation::Scope;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How often whoever waits looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// What a value has open, shared by its threads.
#[derive(Debug)]
pub(super) struct Opened<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    session: Weak<T>,
    /// The host's resolver is visible in it.
    resolver: bool,
    /// How many are about to put another one there.
    turns: usize,
}

/// What there is for somebody who needs a session.
pub(super) enum Entry<'a, T> {
    /// One that is open, and whether the host's resolver is visible in it.
    Open(Arc<T>, bool),
    /// None: whoever has this opens one.
    Turn(Turn<'a, T>),
}

impl<T> Opened<T> {
    /// Nothing is open.
    pub(super) fn new() -> Self {
        let state = State { session: Weak::new(), resolver: false, turns: 0 };
        Opened { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is open now; waits for nobody.
    pub(super) fn now(&self) -> Option<Arc<T>> {
        self.state().session.upgrade()
    }

    /// Whether one is open or about to be.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.state();
        state.turns > 0 || state.session.strong_count() > 0
    }

    /// What is open, once nobody is about to open something. `name` is what messages call it.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    pub(super) fn current(&self, name: &str, scope: &Scope) -> Result<Option<Arc<T>>> {
        Ok(self.settled(name, scope)?.session.upgrade())
    }

    /// What is open, or the turn to open something.
    ///
    /// # Errors
    /// As [`Opened::current`].
    pub(super) fn enter(&self, name: &str, scope: &Scope) -> Result<Entry<'_, T>> {
        let state = self.settled(name, scope)?;
        match state.session.upgrade() {
            Some(session) => Ok(Entry::Open(session, state.resolver)),
            None => Ok(Entry::Turn(self.begin(state))),
        }
    }

    /// The turn to open something, whatever is open.
    ///
    /// # Errors
    /// As [`Opened::current`].
    pub(super) fn turn(&self, name: &str, scope: &Scope) -> Result<Turn<'_, T>> {
        let mut state = self.state();
        let mut told = false;
        while state.turns > 0 {
            state = self.wait(state, name, scope, &mut told)?;
        }
        Ok(self.begin(state))
    }

    /// Takes away what is open if nobody has it but `holders`, so that nobody joins what is about
    /// to end; the turn to put something in its place.
    pub(super) fn replace(&self, holders: usize) -> Option<Turn<'_, T>> {
        // Whoever has a turn may be waiting for the end of what is replaced here: it is not waited
        // for.
        let mut state = self.state();
        if state.session.strong_count() > holders {
            return None;
        }
        state.session = Weak::new();
        Some(self.begin(state))
    }

    fn begin(&self, mut state: MutexGuard<'_, State<T>>) -> Turn<'_, T> {
        state.turns += 1;
        Turn { opened: self }
    }

    /// The state in which something is open, or nobody is about to open something.
    fn settled(&self, name: &str, scope: &Scope) -> Result<MutexGuard<'_, State<T>>> {
        let mut state = self.state();
        let mut told = false;
        while state.turns > 0 && state.session.strong_count() == 0 {
            state = self.wait(state, name, scope, &mut told)?;
        }
        Ok(state)
    }

    /// Waits a moment. Tells so the first time; without the lock, as callbacks may take long.
    fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, State<T>>,
        name: &str,
        scope: &Scope,
        told: &mut bool,
    ) -> Result<MutexGuard<'a, State<T>>> {
        if !*told {
            *told = true;
            drop(state);
            let holder = format!("process {}, which opens it", std::process::id());
            scope.emit(What::Waiting { what: name.to_owned(), holder });
            return Ok(self.state());
        }
        let (state, _) =
            self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner);
        scope.check()?;
        Ok(state)
    }
}

/// The turn to open a session; given up when it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a, T> {
    opened: &'a Opened<T>,
}

impl<T> Turn<'_, T> {
    /// This is open now; whether the host's resolver is visible in it.
    pub(super) fn end(self, session: &Arc<T>, resolver: bool) {
        let mut state = self.opened.state();
        state.session = Arc::downgrade(session);
        state.resolver = resolver;
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        self.opened.state().turns -= 1;
        self.opened.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use std::sync::mpsc;

    fn entered<T>(opened: &Opened<T>) -> Option<Arc<T>> {
        match opened.enter("root", &Scope::quiet()).unwrap() {
            Entry::Open(session, _) => Some(session),
            Entry::Turn(_) => None,
        }
    }

    #[test]
    fn whoever_waits_for_another_thread_can_be_cancelled() {
        let opened = Opened::<u8>::new();
        let Entry::Turn(_turn) = opened.enter("root", &Scope::quiet()).unwrap() else {
            panic!("nothing is open")
        };
        assert!(opened.is_busy());
        let (told, events) = mpsc::channel();
        let scope = Scope::quiet().witnessed(move |what| drop(told.send(what.clone())));
        std::thread::scope(|threads| {
            let waits = [
                threads.spawn(|| opened.current("root", &scope).map(drop)),
                threads.spawn(|| opened.enter("root", &scope).map(drop)),
                threads.spawn(|| opened.turn("root", &scope).map(drop)),
            ];
            for _ in &waits {
                let event = events.recv().unwrap();
                assert!(matches!(&event, What::Waiting { what, .. } if what == "root"));
            }
            scope.cancel_token().cancel();
            for wait in waits {
                assert_eq!(wait.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
            }
        });
    }

    #[test]
    fn whoever_waits_gets_what_was_opened_or_the_next_turn() {
        let opened = Opened::new();
        let turn = opened.turn("root", &Scope::quiet()).unwrap();
        std::thread::scope(|threads| {
            let wait = threads.spawn(|| entered(&opened));
            let session = Arc::new(1);
            turn.end(&session, true);
            assert_eq!(wait.join().unwrap(), Some(session));
        });
        assert!(!opened.is_busy() && entered(&opened).is_none());
        let turn = opened.turn("root", &Scope::quiet()).unwrap();
        std::thread::scope(|threads| {
            let wait = threads.spawn(|| entered(&opened));
            drop(turn);
            assert_eq!(wait.join().unwrap(), None);
        });
    }

    #[test]
    fn nobody_joins_what_is_about_to_end() {
        let opened = Opened::new();
        let session = Arc::new(1);
        opened.turn("root", &Scope::quiet()).unwrap().end(&session, false);
        let joined = entered(&opened);
        assert!(opened.replace(1).is_none(), "two have it");
        assert!(opened.now().is_some());
        drop(joined);
        // Somebody waits for its end, and is no reason not to replace it.
        let waiting = opened.turn("root", &Scope::quiet()).unwrap();
        let turn = opened.replace(1).unwrap();
        assert!(opened.now().is_none() && opened.is_busy());
        drop(turn);
        assert!(opened.now().is_none());
        drop(waiting);
        assert!(!opened.is_busy());
    }
}
