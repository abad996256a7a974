//! Whether layers share the link, or the lowest goes first.
//!
//! ```text
//!  open ─▶ settle ─▶ the front alone ─▶ drain ─▶ all ─┬▶ much faster together: all, from now on
//!    │                 ▲                              └▶ no faster: the front first ─┐
//!    │                 └─────────────────────────────────────────── after AGAIN ─────┘
//!    └▶ faster than layers are decoded: all, from now on
//! ```
//!
//! A disk is written from the lowest layer up. Where the link is the limit, layers that share it end together, and all work
//! but the lowest layer's is left for the end. Where each connection has its own limit, only several fill the link. Which it
//! is is measured. The others are slowed down, never stopped: a server gives up a connection that takes nothing.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Until buffers are empty, and connections that are to wait do.
const SETTLE: Duration = Duration::from_millis(250);
/// Of one measurement.
const MEASURE: Duration = Duration::from_millis(400);
/// How long the result holds that the link is the limit.
const AGAIN: Duration = Duration::from_secs(10);
/// The front has nothing for so long: whoever is behind it may go on.
const STALLED: Duration = Duration::from_millis(500);
/// Most that a layer waits for its next piece.
const HELD: Duration = Duration::from_secs(1);
/// Bytes that every layer may have at once: small ones never wait.
const HEAD: u64 = 128 << 10;
/// Bytes a second that are about as many as are decoded.
const FAST: f64 = 128e6;
/// How many times as fast all have to be as the front alone.
const FASTER: f64 = 1.25;

/// The layers on their way, by their numbers; the front is the lowest.
pub struct Lanes {
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    active: BTreeSet<usize>,
    phase: Phase,
    since: Instant,
    /// Bytes in this phase: of the front where it is alone, of all otherwise.
    bytes: u64,
    /// When the front had something.
    front: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Open,
    Settle,
    Alone,
    /// With bytes a second of the front alone.
    Drain(f64),
    All(f64),
    FrontFirst,
    Together,
}

impl Lanes {
    /// None yet.
    pub fn new() -> Lanes {
        Lanes { state: Mutex::new(State::at(Instant::now())), moved: Condvar::new() }
    }

    /// Layer `index` is on its way.
    pub fn enter(&self, index: usize) {
        self.change(|state, now| state.enter(index, now));
    }

    /// It is not any more.
    pub fn leave(&self, index: usize) {
        self.change(|state, now| state.leave(index, now));
        self.moved.notify_all();
    }

    /// It has got `count` bytes.
    pub fn took(&self, index: usize, count: u64) {
        self.change(|state, now| state.took(index, count, now));
    }

    /// Returns when it may take more; it has `had` bytes.
    pub fn wait(&self, index: usize, had: u64) {
        let begun = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while begun.elapsed() < HELD && !state.may_take(index, had, Instant::now()) {
            state = self.moved.wait_timeout(state, STALLED / 5).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State, Instant)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    }
}

impl State {
    fn at(now: Instant) -> State {
        State { active: BTreeSet::new(), phase: Phase::Open, since: now, bytes: 0, front: now }
    }

    fn enter(&mut self, index: usize, now: Instant) {
        if self.active.insert(index) && self.active.first() == Some(&index) {
            self.front = now;
        }
    }

    fn leave(&mut self, index: usize, now: Instant) {
        if self.active.first() == Some(&index) {
            self.front = now;
        }
        self.active.remove(&index);
    }

    fn may_take(&self, index: usize, had: u64, now: Instant) -> bool {
        match self.phase {
            Phase::Open | Phase::Drain(_) | Phase::All(_) | Phase::Together => true,
            Phase::Settle | Phase::Alone | Phase::FrontFirst => {
                had < HEAD || self.active.first() == Some(&index) || now - self.front > STALLED
            }
        }
    }

    fn took(&mut self, index: usize, count: u64, now: Instant) {
        let is_front = self.active.first() == Some(&index);
        if is_front {
            self.front = now;
        }
        if self.active.len() < 2 && self.phase != Phase::Together {
            // Nothing to compare.
            return self.turn(Phase::Open, now);
        }
        if is_front || matches!(self.phase, Phase::Open | Phase::All(_)) {
            self.bytes += count;
        }
        let passed = now - self.since;
        let rate = self.bytes as f64 / passed.as_secs_f64();
        match self.phase {
            Phase::Open if passed >= SETTLE => {
                self.turn(if rate > FAST { Phase::Together } else { Phase::Settle }, now);
            }
            Phase::Settle if passed >= SETTLE => self.turn(Phase::Alone, now),
            Phase::Alone if passed >= MEASURE => self.turn(Phase::Drain(rate), now),
            Phase::Drain(alone) if passed >= SETTLE => self.turn(Phase::All(alone), now),
            Phase::All(alone) if passed >= MEASURE => {
                self.turn(if rate > FASTER * alone { Phase::Together } else { Phase::FrontFirst }, now);
            }
            Phase::FrontFirst if passed >= AGAIN => self.turn(Phase::Alone, now),
            _ => {}
        }
    }

    fn turn(&mut self, phase: Phase, now: Instant) {
        (self.phase, self.since, self.bytes) = (phase, now, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(10);

    /// Bytes a second, of everything and of one connection.
    struct Link {
        all: f64,
        each: f64,
        /// The front gets nothing in these steps.
        stalled: std::ops::Range<u32>,
    }

    /// The step in which each of these layers is whole.
    fn ends(link: &Link, sizes: &[u64]) -> Vec<u32> {
        let mut now = Instant::now();
        let mut state = State::at(now);
        let (mut had, mut held) = (vec![0u64; sizes.len()], vec![now; sizes.len()]);
        let mut ends = vec![0; sizes.len()];
        (0..sizes.len()).for_each(|index| state.enter(index, now));
        for step in 1..100_000 {
            now += STEP;
            let front = state.active.first().copied();
            let open: Vec<usize> = state.active.iter().copied().collect();
            let going: Vec<usize> = open
                .into_iter()
                .filter(|&index| !(link.stalled.contains(&step) && Some(index) == front))
                .filter(|&index| state.may_take(index, had[index], now) || now - held[index] >= HELD)
                .collect();
            let share = (link.all / going.len() as f64).min(link.each) * STEP.as_secs_f64();
            for index in going {
                held[index] = now;
                had[index] += share as u64;
                state.took(index, share as u64, now);
                if had[index] >= sizes[index] {
                    ends[index] = step;
                    state.leave(index, now);
                }
            }
            if state.active.is_empty() {
                return ends;
            }
        }
        panic!("it never ends: {had:?}");
    }

    #[test]
    fn the_lowest_goes_first_where_the_link_is_the_limit_and_all_go_where_a_connection_is() {
        let sizes = [60_000_000, 260_000_000, 160_000_000, 220_000_000];
        let never = 0..0;
        let narrow = ends(&Link { all: 20e6, each: f64::MAX, stalled: never.clone() }, &sizes);
        assert!(narrow.is_sorted(), "{narrow:?}");
        // 35 s by the rate.
        assert!((3480..3520).contains(narrow.last().unwrap()), "{narrow:?}");
        // When the third is whole, most of the last is yet to come.
        assert!(narrow[3] - narrow[2] > 800, "{narrow:?}");
        let many = ends(&Link { all: f64::MAX, each: 5e6, stalled: never.clone() }, &sizes);
        // 52 s by the rate of the largest.
        assert!((5190..5350).contains(many.iter().max().unwrap()), "{many:?}");
        let small = ends(&Link { all: f64::MAX, each: 1e6, stalled: never }, &[100_000; 9]);
        assert_eq!(small, [10; 9]);
    }

    #[test]
    fn a_front_that_has_nothing_stops_nobody() {
        let ends = ends(&Link { all: 20e6, each: f64::MAX, stalled: 50..1000 }, &[30_000_000, 30_000_000, 30_000_000]);
        assert!(ends[1] < 500 && ends[2] < 500 && ends[0] < 1200, "{ends:?}");
    }
}
