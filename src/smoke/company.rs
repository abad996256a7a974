//! What the machines of one test know of each other: which of them hold, and whether the test is over for all.
//!
//! The first end counts. What happens to a machine afterwards is because of it, and says nothing about that machine.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why the test is over for all of its machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Everything that is expected of every machine holds.
    Held,
    /// This machine did not do what is expected of it.
    Failed(usize),
    /// Time was up, or a signal came.
    Stopped,
}

/// The machines of one test.
pub(super) struct Company {
    /// When the test began, before its first machine.
    pub(super) begun: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    held: Vec<bool>,
    end: Option<End>,
}

impl Company {
    /// Of so many machines.
    pub(super) fn new(machines: usize) -> Company {
        let state = State { held: vec![false; machines], end: None };
        Company { begun: Instant::now(), state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is expected of this machine holds.
    pub(super) fn holds(&self, machine: usize) {
        let mut state = self.lock();
        state.held[machine] = true;
        if state.held.iter().all(|held| *held) {
            state.end.get_or_insert(End::Held);
            self.changed.notify_all();
        }
    }

    /// The test ends with this, unless it has ended before.
    pub(super) fn ends(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.changed.notify_all();
    }

    /// How it has ended, if it has.
    pub(super) fn end(&self) -> Option<End> {
        self.lock().end
    }

    /// Waits for its end, at most for `patience`.
    pub(super) fn wait(&self, patience: Duration) -> Option<End> {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, patience, |state| state.end.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_all_hold_or_one_fails_whichever_is_first() {
        let company = Company::new(2);
        company.holds(1);
        company.holds(1);
        assert_eq!(company.wait(Duration::ZERO), None);
        company.holds(0);
        company.ends(End::Failed(1));
        assert_eq!(company.end(), Some(End::Held), "what follows is because of the end");
        let company = Company::new(2);
        company.holds(0);
        company.ends(End::Failed(1));
        company.holds(1);
        company.ends(End::Stopped);
        assert_eq!(company.end(), Some(End::Failed(1)));
    }
}
