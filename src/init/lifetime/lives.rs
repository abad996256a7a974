//! When a workload that has ended starts again.
//!
//! The pause before it is 100 ms, and twice as long each time, up to a minute; a life of ten seconds makes it 100 ms
//! again.
//!
//! Source: moby, restartmanager/restartmanager.go, daemon/monitor.go.

use crate::guest::channel::Outcome;
use crate::guest::restart::Restart;
use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);
/// Who has lived so long begins with the first pause again.
const LONG: Duration = Duration::from_secs(10);

/// The lives of a workload.
pub struct Lives {
    policy: Restart,
    /// How often it was started again.
    pub count: u32,
    pause: Duration,
}

impl Lives {
    /// Before the first end.
    pub fn new(policy: Restart) -> Lives {
        Lives { policy, count: 0, pause: Duration::ZERO }
    }

    /// The pause until the next life, if there is one. `ordered`: somebody asked for the end. A program that could not be
    /// started once is not started again.
    pub fn next(&mut self, outcome: &Outcome, lived: Duration, ordered: bool) -> Option<Duration> {
        let begins = self.pause.is_zero() || lived >= LONG;
        self.pause = if begins { FIRST } else { (self.pause * 2).min(LONGEST) };
        let again = match self.policy {
            Restart::No => false,
            Restart::OnFailure { most } => *outcome != Outcome::Exited(0) && (most == 0 || self.count < most),
            Restart::Always | Restart::UnlessStopped => true,
        };
        if !again || ordered || matches!(outcome, Outcome::NotStarted { .. }) {
            return None;
        }
        self.count = self.count.saturating_add(1);
        Some(self.pause)
    }

    /// Which restart it is, for people.
    pub fn number(&self) -> String {
        match self.policy {
            Restart::OnFailure { most } if most > 0 => format!("restart {} of {most}", self.count),
            _ => format!("restart {}", self.count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(9999);

    fn pauses(policy: &str, ends: &[(Outcome, Duration)]) -> Vec<u64> {
        let mut lives = Lives::new(policy.parse().unwrap());
        let pauses = ends.iter().map_while(|(outcome, lived)| lives.next(outcome, *lived, false));
        pauses.map(|pause| pause.as_millis() as u64).collect()
    }

    #[test]
    fn the_policy_and_the_end_decide_and_a_wish_to_stop_forbids_it() {
        let not_started = Outcome::NotStarted { status: 127, reason: String::new() };
        let ends = [Outcome::Exited(0), Outcome::Exited(1), Outcome::Exited(255), Outcome::Signaled(9), not_started];
        for (policy, again) in [
            ("no", [false; 5]),
            ("on-failure", [false, true, true, true, false]),
            ("on-failure:1", [false, true, true, true, false]),
            ("always", [true, true, true, true, false]),
            ("unless-stopped", [true, true, true, true, false]),
        ] {
            for (outcome, again) in ends.iter().zip(again) {
                let mut lives = Lives::new(policy.parse().unwrap());
                assert_eq!(lives.next(outcome, SHORT, false).is_some(), again, "{policy} {outcome:?}");
                assert_eq!(lives.count == 1, again);
                assert_eq!(Lives::new(policy.parse().unwrap()).next(outcome, SHORT, true), None, "{policy}");
            }
        }
    }

    #[test]
    fn pauses_double_to_a_minute_and_begin_anew_behind_a_long_life() {
        let dies = |lived| (Outcome::Exited(1), lived);
        let all = pauses("always", &vec![dies(SHORT); 13]);
        assert_eq!(all, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000, 60000]);
        let mixed = [dies(SHORT), dies(SHORT), dies(SHORT), dies(LONG), dies(SHORT)];
        assert_eq!(pauses("always", &mixed), [100, 200, 400, 100, 200]);
        assert_eq!(pauses("on-failure:5", &vec![dies(SHORT); 9]), [100, 200, 400, 800, 1600]);
        // A long life is no new allowance.
        assert_eq!(pauses("on-failure:2", &vec![dies(LONG); 9]), [100, 100]);
        let well = [dies(SHORT), (Outcome::Exited(0), SHORT), dies(SHORT)];
        assert_eq!((pauses("on-failure", &well), pauses("always", &well)), (vec![100], vec![100, 200, 400]));
    }

    #[test]
    fn restarts_are_numbered_with_their_limit() {
        for (policy, number) in
            [("on-failure:5", "restart 1 of 5"), ("on-failure", "restart 1"), ("always", "restart 1")]
        {
            let mut lives = Lives::new(policy.parse().unwrap());
            lives.next(&Outcome::Exited(1), SHORT, false).unwrap();
            assert_eq!(lives.number(), number);
        }
    }
}
