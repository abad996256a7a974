//! How much is added at once: so much that calls cost nothing, and so little that each is over in a moment.
//!
//! What the kernel does for a flexible group takes longer the larger the file system is already: under emulation a
//! terabyte takes ten seconds from the first to the second, and minutes from the ninth to the tenth.

use std::time::Duration;

/// The first step, in bytes. Growth by no more is one call.
const FIRST: u64 = 128 << 30;
/// A step that took less is followed by one of twice the size.
const SHORT: Duration = Duration::from_millis(250);
/// A step that took more is followed by one of half the size.
const LONG: Duration = Duration::from_secs(1);

/// The size of the next step.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// In blocks.
    step: u64,
    /// Steps end at a multiple of so many blocks, where the kernel's own steps do.
    unit: u64,
}

impl Pace {
    /// For blocks of `block` bytes that are best added `unit` at a time.
    pub fn new(block: u64, unit: u64) -> Pace {
        Pace { step: (FIRST / block).max(unit), unit }
    }

    /// Where the next step ends, on the way from `now` to `end`.
    pub fn next(&self, now: u64, end: u64) -> u64 {
        let next = now.saturating_add(self.step) / self.unit * self.unit;
        next.clamp(now.saturating_add(1), end.max(now.saturating_add(1)))
    }

    /// Learns from the time a step took.
    pub fn took(&mut self, time: Duration) {
        if time < SHORT {
            self.step = self.step.saturating_mul(2);
        } else if time > LONG {
            self.step = (self.step / 2).max(self.unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = (1 << 30) / 4096;
    const UNIT: u64 = 2 * GIB;

    #[test]
    fn growth_by_less_than_a_step_is_one_call() {
        assert_eq!(Pace::new(4096, UNIT).next(GIB, 100 * GIB + 5), 100 * GIB + 5);
    }

    #[test]
    fn steps_end_between_flexible_groups_and_the_last_at_the_end() {
        let (pace, end) = (Pace::new(4096, UNIT), 300 * GIB + 7);
        let mut ends = vec![GIB + 100];
        while ends[ends.len() - 1] < end {
            ends.push(pace.next(ends[ends.len() - 1], end));
        }
        assert_eq!(ends[1..], [128 * GIB, 256 * GIB, end]);
    }

    #[test]
    fn slow_steps_become_shorter_but_never_less_than_a_flexible_group() {
        let mut pace = Pace::new(4096, UNIT);
        pace.took(Duration::from_millis(500));
        assert_eq!(pace.next(0, u64::MAX), 128 * GIB);
        pace.took(Duration::from_millis(10));
        assert_eq!(pace.next(0, u64::MAX), 256 * GIB);
        (0..40).for_each(|_| pace.took(Duration::from_secs(5)));
        assert_eq!(pace.next(GIB, u64::MAX), UNIT);
        (0..90).for_each(|_| pace.took(Duration::ZERO));
        assert_eq!(pace.next(GIB, 1 << 50), 1 << 50);
    }
}
