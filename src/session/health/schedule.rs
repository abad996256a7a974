//! When a health check runs, and when it has failed: interval, timeout, start period, retries, as a container engine has
//! them.
//!
//! Source: Docker image specification v1.2, `Healthcheck`; the engine's defaults (moby, daemon/health.go).

use crate::guest::spec::Healthcheck;
use std::time::Duration;

/// A check and its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What is executed.
    pub command: Vec<String>,
    /// Between two checks.
    pub interval: Duration,
    /// After this a check has failed.
    pub timeout: Duration,
    /// In this time failures do not count, until the first success.
    pub start_period: Duration,
    /// Between two checks while they do not.
    pub start_interval: Duration,
    /// Failures in a row that make a workload unhealthy.
    pub retries: u32,
}

/// What an engine takes for 0.
const INTERVAL: Duration = Duration::from_secs(30);
/// As above.
const TIMEOUT: Duration = Duration::from_secs(30);
/// As above.
const RETRIES: u32 = 3;
/// Between checks in the start period, where the image names no time for it and its interval is not shorter.
const START_INTERVAL: Duration = Duration::from_secs(5);

impl Schedule {
    /// What an image's health check means; `None` when there is none, or it is switched off.
    pub fn of(check: &Healthcheck) -> Option<Schedule> {
        let command = check.command()?;
        let time = |nanos: i64, default| match u64::try_from(nanos) {
            Ok(0) | Err(_) => default,
            Ok(nanos) => Duration::from_nanos(nanos),
        };
        Some(Schedule {
            command,
            interval: time(check.interval, INTERVAL),
            timeout: time(check.timeout, TIMEOUT),
            start_period: time(check.start_period, Duration::ZERO),
            start_interval: time(check.start_interval, START_INTERVAL.min(time(check.interval, INTERVAL))),
            retries: u32::try_from(check.retries).ok().filter(|&retries| retries > 0).unwrap_or(RETRIES),
        })
    }

    /// From the end of one check, or the workload's start so long ago, to the next.
    pub(super) fn pause(&self, never_healthy: bool, since_start: Duration) -> Duration {
        if never_healthy && since_start < self.start_period { self.start_interval } else { self.interval }
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
        let health = Schedule::of(&check(&["CMD-SHELL", "curl -f localhost"])).unwrap();
        assert_eq!(health.command, ["/bin/sh", "-c", "curl -f localhost"]);
        assert_eq!((health.interval, health.timeout, health.retries), (INTERVAL, TIMEOUT, RETRIES));
        let short = Healthcheck { interval: 1_500_000_000, retries: 1, timeout: -1, ..check(&["CMD", "/ok", "x"]) };
        let health = Schedule::of(&short).unwrap();
        assert_eq!((health.interval, health.timeout, health.retries), (Duration::from_millis(1500), TIMEOUT, 1));
        assert_eq!(health.command, ["/ok", "x"]);
        assert_eq!((health.start_period, health.start_interval), (Duration::ZERO, health.interval));
        let zeros = Healthcheck { retries: 0, timeout: 0, start_period: 60_000_000_000, ..check(&["CMD", "x"]) };
        let health = Schedule::of(&zeros).unwrap();
        assert_eq!((health.retries, health.timeout, health.start_interval), (RETRIES, TIMEOUT, START_INTERVAL));
        let named = Healthcheck { start_interval: 2_000_000_000, interval: 1_000_000_000, ..zeros };
        assert_eq!(Schedule::of(&named).unwrap().start_interval, Duration::from_secs(2));
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
            assert_eq!(Schedule::of(&shell(words, test)).unwrap().command, command, "{words:?} {test:?}");
        }
        assert_eq!(Schedule::of(&shell(&["/bin/bash"], &["NONE"])), None);
        for none in [&[][..], &["NONE"], &["CMD"], &["OTHER", "x"]] {
            assert_eq!(Schedule::of(&check(none)), None, "{none:?}");
        }
    }
}
