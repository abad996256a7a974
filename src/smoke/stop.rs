//! What ends tests from outside: a signal to this program, and the time that all of them have together.

use super::verdict::{Unmet, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Looked at by every test, before it begins and while it runs.
#[derive(Clone, Default)]
pub struct Stop {
    /// The number of the signal that came, 0 before.
    pub signal: Arc<AtomicUsize>,
    /// Since when, and for how long.
    time: Option<(Instant, Duration)>,
}

impl Stop {
    /// With this much time for all tests from `begun` on, or without a limit.
    pub fn new(begun: Instant, time: Option<Duration>) -> Stop {
        Stop { signal: Arc::default(), time: time.map(|time| (begun, time)) }
    }

    /// The verdict on a test that has not begun and will not.
    pub(super) fn before(&self) -> Option<Verdict> {
        self.said(false, Vec::new)
    }

    /// The verdict on one that runs; `unmet` is what does not hold yet.
    pub(super) fn during(&self, unmet: impl FnOnce() -> Vec<Unmet>) -> Option<Verdict> {
        self.said(true, unmet)
    }

    fn said(&self, begun: bool, unmet: impl FnOnce() -> Vec<Unmet>) -> Option<Verdict> {
        match (self.signal.load(Ordering::Relaxed), self.time) {
            (0, Some((since, after))) if since.elapsed() >= after => {
                Some(Verdict::Late { after, begun, unmet: unmet() })
            }
            (0, _) => None,
            (signal, _) => Some(Verdict::Interrupted(signal as i32)),
        }
    }
}
