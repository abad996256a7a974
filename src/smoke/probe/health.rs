//! The image's HEALTHCHECK, as a container engine has it: interval, timeout, start period, retries.
//!
//! One thing is different. The first check is made when the workload has started and not an interval later: a test that
//! waits for health has no reason to wait for nothing.
//!
//! Source: Docker image specification v1.2, `Healthcheck`; the engine's defaults.

use super::super::board::Board;
use super::exec;
use crate::guest::channel::Outcome;
use crate::guest::spec::Healthcheck;
use crate::session::control::{ControlError, Dialer};
use std::time::{Duration, Instant};

/// When each thing is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::smoke) struct Health {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

/// What an engine takes for 0.
const INTERVAL: Duration = Duration::from_secs(30);
/// As above.
const TIMEOUT: Duration = Duration::from_secs(30);
/// As above.
const RETRIES: u32 = 3;
/// Between checks in the start period, where the image names no time for it and its interval is not shorter.
const START_INTERVAL: Duration = Duration::from_secs(5);

impl Health {
    /// What an image's health check means; `None` when there is none, or it is switched off.
    pub(in crate::smoke) fn of(check: &Healthcheck) -> Option<Health> {
        let command = check.command()?;
        let time = |nanos: i64, default| match u64::try_from(nanos) {
            Ok(0) | Err(_) => default,
            Ok(nanos) => Duration::from_nanos(nanos),
        };
        Some(Health {
            command,
            interval: time(check.interval, INTERVAL),
            timeout: time(check.timeout, TIMEOUT),
            start_period: time(check.start_period, Duration::ZERO),
            start_interval: time(check.start_interval, START_INTERVAL.min(time(check.interval, INTERVAL))),
            retries: u32::try_from(check.retries).ok().filter(|&retries| retries > 0).unwrap_or(RETRIES),
        })
    }
}

/// Checks until the workload is healthy, or unhealthy for good.
pub(in crate::smoke) fn watch(board: &Board, number: usize, dialer: &Dialer, health: &Health) {
    if !board.wait_for_workload() {
        return;
    }
    let (started, mut failures) = (Instant::now(), 0);
    loop {
        let seen = match exec::run(dialer, &health.command, health.timeout) {
            Ok(captured) if captured.outcome == Outcome::Exited(0) => {
                return board.check(number, true, exec::said(&captured));
            }
            Ok(captured) => exec::said(&captured),
            Err(ControlError::Ended) => return,
            Err(ControlError::TimedOut) => format!("the check did not end within {:?}", health.timeout),
            Err(error) => error.to_string(),
        };
        let starting = started.elapsed() < health.start_period;
        failures += u32::from(!starting);
        if failures >= health.retries {
            let seen = format!("{failures} checks in a row failed, the last: {seen}");
            return board.write(|state| state.never(number, seen));
        }
        board.check(number, false, seen);
        let pause = if starting { health.start_interval } else { health.interval };
        if !board.sleep(pause) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: &[&str]) -> Healthcheck {
        Healthcheck { test: test.iter().map(|&word| word.into()).collect(), ..Default::default() }
    }

    #[test]
    fn the_engines_defaults() {
        let health = Health::of(&check(&["CMD-SHELL", "curl -f localhost"])).unwrap();
        assert_eq!(health.command, ["/bin/sh", "-c", "curl -f localhost"]);
        assert_eq!((health.interval, health.timeout, health.retries), (INTERVAL, TIMEOUT, 3));
        let short = Healthcheck { interval: 1_500_000_000, retries: 1, timeout: -1, ..check(&["CMD", "/ok", "x"]) };
        let health = Health::of(&short).unwrap();
        assert_eq!((health.interval, health.timeout, health.retries), (Duration::from_millis(1500), TIMEOUT, 1));
        assert_eq!(health.command, ["/ok", "x"]);
        assert_eq!((health.start_period, health.start_interval), (Duration::ZERO, health.interval));
        let zeros = Healthcheck { retries: 0, timeout: 0, start_period: 60_000_000_000, ..check(&["CMD", "x"]) };
        let health = Health::of(&zeros).unwrap();
        assert_eq!((health.retries, health.timeout, health.start_interval), (RETRIES, TIMEOUT, START_INTERVAL));
        let named = Healthcheck { start_interval: 2_000_000_000, interval: 1_000_000_000, ..zeros };
        assert_eq!(Health::of(&named).unwrap().start_interval, Duration::from_secs(2));
        let shell = |words: &[&str], test: &[&str]| Healthcheck {
            shell: words.iter().map(|&word| word.into()).collect(),
            ..check(test)
        };
        for (words, test, command) in [
            (&[][..], &["CMD-SHELL", "a b"][..], &["/bin/sh", "-c", "a b"][..]),
            (
                &["/bin/bash", "-eo", "pipefail", "-c"],
                &["CMD-SHELL", "a b"],
                &["/bin/bash", "-eo", "pipefail", "-c", "a b"],
            ),
            (&["/bin/bash", "-c"], &["CMD", "a", "b"], &["a", "b"]),
            (&["/bin/bash", "-c"], &["CMD-SHELL"], &["/bin/bash", "-c"]),
        ] {
            assert_eq!(Health::of(&shell(words, test)).unwrap().command, command, "{words:?} {test:?}");
        }
        assert_eq!(Health::of(&shell(&["/bin/bash"], &["NONE"])), None);
        for none in [&[][..], &["NONE"], &["CMD"], &["OTHER", "x"]] {
            assert_eq!(Health::of(&check(none)), None, "{none:?}");
        }
    }
}
