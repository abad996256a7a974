//! The checks of one workload as a value: what is due and what came of it. No IO; the time is told.
//!
//! ```text
//!  workload started ─▶ starting ──────────── a success ─▶ healthy
//!                         │                                │ ▲
//!                         └─ retries failures in a row ─▶ unhealthy
//! ```
//!
//! One check runs at a time. The next one is due a pause after its end; one that is killed for its timeout has failed at
//! once, and its end is waited for. A failure in the start period does not count as long as none has succeeded.

use super::Schedule;
use crate::guest::channel::{Outcome, WORKLOAD_HAS_ENDED};
use crate::session::control::{Checked, Health};
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of a check's output that are kept, the first ones; as the engine has it.
const OUTPUT: usize = 4096;
/// Results that are kept, the last ones; as the engine has it.
const RESULTS: usize = 5;
/// A busy guest starts a process within this time, which is not the check's own.
const START: Duration = Duration::from_secs(30);
/// What stands for the status of a check that did not end by itself; as the engine has it.
const NO_STATUS: i32 = -1;

/// The checks of a workload.
pub(in crate::session) struct Checks {
    pub(super) schedule: Schedule,
    status: Health,
    failures: u32,
    results: VecDeque<Checked>,
    /// When the workload started; absent while it does not run.
    since: Option<Instant>,
    next: Option<Instant>,
    running: Option<Check>,
}

/// A check that runs.
struct Check {
    process: u32,
    at: u64,
    begun: Instant,
    /// When it has failed.
    until: Instant,
    output: Vec<u8>,
    cut: bool,
    /// It has failed, and only its end is still to come.
    over: bool,
}

impl Checks {
    pub(super) fn new(schedule: Schedule) -> Checks {
        let (status, results) = (Health::Starting, VecDeque::new());
        Checks { schedule, status, failures: 0, results, since: None, next: None, running: None }
    }

    /// What they say.
    pub(in crate::session) fn status(&self) -> Health {
        self.status
    }

    /// The last results, the newest last.
    pub(in crate::session) fn results(&self) -> Vec<Checked> {
        self.results.iter().cloned().collect()
    }

    /// The workload has started, once more perhaps.
    pub(super) fn begin(&mut self, now: Instant) {
        (self.status, self.failures, self.running) = (Health::Starting, 0, None);
        self.since = Some(now);
        self.next = Some(now + self.pause(now));
    }

    /// The workload is not there, or asked to end: nothing is checked.
    pub(super) fn rest(&mut self) {
        (self.since, self.next, self.running) = (None, None, None);
    }

    fn pause(&self, now: Instant) -> Duration {
        let since_start = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.schedule.pause(self.status == Health::Starting, since_start)
    }

    /// When there is something to do.
    pub(super) fn moment(&self) -> Option<Instant> {
        match &self.running {
            Some(check) => (!check.over).then_some(check.until),
            None => self.next,
        }
    }

    /// Whether a check is to be started.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.running.is_none() && self.next.is_some_and(|next| now >= next)
    }

    /// A check has been asked for, as this process.
    pub(super) fn asked(&mut self, process: u32, now: Instant) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let until = now + START;
        self.running = Some(Check { process, at, begun: now, until, output: Vec::new(), cut: false, over: false });
    }

    /// Whether a process is a check.
    pub(super) fn owns(&self, process: u32) -> bool {
        self.running.as_ref().is_some_and(|check| check.process == process)
    }

    /// It runs: its time begins.
    pub(super) fn started(&mut self, now: Instant) {
        if let Some(check) = &mut self.running {
            check.until = now + self.schedule.timeout;
        }
    }

    /// It wrote.
    pub(super) fn wrote(&mut self, bytes: &[u8]) {
        if let Some(check) = &mut self.running {
            let kept = bytes.len().min(OUTPUT - check.output.len());
            check.output.extend_from_slice(&bytes[..kept]);
            check.cut |= kept < bytes.len();
        }
    }

    /// A check whose time is up has failed. Its process, which is to be killed, and whether the status is another now.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<(u32, bool)> {
        let check = self.running.as_mut().filter(|check| !check.over && now >= check.until)?;
        check.over = true;
        let process = check.process;
        let said = format!("the check did not end within {:?}", self.schedule.timeout);
        let output = shown(check);
        let said = if output.is_empty() { said } else { format!("{said}: {output}") };
        Some((process, self.record(NO_STATUS, said, now)))
    }

    /// It has ended, or could not be started; whether the status is another now.
    pub(super) fn ended(&mut self, outcome: &Outcome, now: Instant) -> bool {
        // It says nothing that went with the workload, whose end or next life is still to be heard of.
        let gone = matches!(outcome, Outcome::NotStarted { reason, .. } if reason == WORKLOAD_HAS_ENDED);
        let Some(check) = self.running.as_ref().filter(|check| !check.over && !gone) else {
            self.next = Some(now + self.pause(now));
            self.running = None;
            return false;
        };
        let (status, output) = match outcome {
            Outcome::NotStarted { reason, .. } => (NO_STATUS, reason.clone()),
            outcome => (outcome.status().into(), shown(check)),
        };
        let changed = self.record(status, output, now);
        self.next = Some(now + self.pause(now));
        self.running = None;
        changed
    }

    /// It could not even be asked for; whether the status is another now.
    pub(super) fn refused(&mut self, reason: String, now: Instant) -> bool {
        self.asked(0, now);
        self.ended(&Outcome::NotStarted { status: 125, reason }, now)
    }

    fn record(&mut self, exit_code: i32, output: String, now: Instant) -> bool {
        let Some(check) = &self.running else { return false };
        let took = now.saturating_duration_since(check.begun).as_millis();
        let early = self.since.is_some_and(|since| check.begun - since < self.schedule.start_period);
        self.results.push_back(Checked { at: check.at, took: took.try_into().unwrap_or(u64::MAX), exit_code, output });
        self.results.drain(..self.results.len().saturating_sub(RESULTS));
        let before = self.status;
        if exit_code == 0 {
            (self.failures, self.status) = (0, Health::Healthy);
        } else if !(early && self.status == Health::Starting) {
            self.failures = self.failures.saturating_add(1);
            if self.failures >= self.schedule.retries {
                self.status = Health::Unhealthy;
            }
        }
        self.status != before
    }

    /// The status as a sentence, printable.
    pub(super) fn sentence(&self) -> String {
        let name = self.status.name();
        match self.results.back().filter(|_| self.status == Health::Unhealthy) {
            Some(last) => {
                let line = crate::session::console::lines(last.output.as_bytes(), 1).pop();
                let how = if last.exit_code == NO_STATUS {
                    String::new()
                } else {
                    format!(" with status {}", last.exit_code)
                };
                let said = line.map_or(String::new(), |line| format!(": {line}"));
                format!("the workload is {name}: checks that failed in a row: {}, the last{how}{said}", self.failures)
            }
            None => format!("the workload is {name}"),
        }
    }
}

/// What it wrote, with a mark where there was more.
fn shown(check: &Check) -> String {
    format!("{}{}", String::from_utf8_lossy(&check.output), if check.cut { "..." } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(retries: u32, start_period: u64, start_interval: u64) -> Checks {
        let seconds = Duration::from_secs;
        Checks::new(Schedule {
            command: vec!["check".into()],
            interval: seconds(30),
            timeout: seconds(10),
            start_period: seconds(start_period),
            start_interval: seconds(start_interval),
            retries,
        })
    }

    /// Seconds after the start at which checks begin, the status behind each, and how each ends; `None` is a hang.
    #[test]
    fn a_workload_is_starting_until_a_check_succeeds_or_enough_of_them_have_failed() {
        type Row<'a> = (Option<u8>, u64, Health);
        use Health::{Healthy, Starting, Unhealthy};
        let rows: [(&str, Checks, &[Row]); 7] = [
            ("at once", checks(3, 0, 5), &[(Some(0), 30, Healthy), (Some(0), 60, Healthy)]),
            (
                "three failures",
                checks(3, 0, 5),
                &[(Some(1), 30, Starting), (Some(1), 60, Starting), (Some(1), 90, Unhealthy), (Some(0), 120, Healthy)],
            ),
            (
                "healthy, two failures, healthy",
                checks(3, 0, 5),
                &[
                    (Some(0), 30, Healthy),
                    (Some(1), 60, Healthy),
                    (Some(2), 90, Healthy),
                    (Some(0), 120, Healthy),
                    (Some(1), 150, Healthy),
                    (Some(1), 180, Healthy),
                    (Some(1), 210, Unhealthy),
                ],
            ),
            ("one is enough", checks(1, 0, 5), &[(Some(127), 30, Unhealthy)]),
            (
                "a start period forgives",
                checks(1, 12, 5),
                &[(Some(1), 5, Starting), (Some(1), 10, Starting), (Some(1), 15, Unhealthy), (Some(1), 45, Unhealthy)],
            ),
            (
                "a success ends it",
                checks(1, 600, 5),
                &[(Some(1), 5, Starting), (Some(0), 10, Healthy), (Some(1), 40, Unhealthy)],
            ),
            ("a hang", checks(1, 0, 5), &[(None, 30, Unhealthy), (Some(0), 70, Healthy)]),
        ];
        for (name, mut checks, rows) in rows {
            let start = Instant::now();
            checks.begin(start);
            assert_eq!(checks.status(), Starting);
            for (number, (end, at, status)) in rows.iter().enumerate() {
                let now = checks.moment().unwrap();
                assert_eq!((now - start).as_secs(), *at, "{name}, check {number}");
                assert!(checks.is_due(now) && !checks.is_due(now - Duration::from_millis(1)), "{name}");
                let before = checks.status();
                checks.asked(7, now);
                assert!(!checks.is_due(now) && checks.owns(7) && !checks.owns(8));
                checks.started(now);
                let changed = match end {
                    Some(status) => checks.ended(&Outcome::Exited(*status), now),
                    None => {
                        let late = checks.moment().unwrap();
                        assert_eq!((late - now).as_secs(), 10);
                        assert_eq!(checks.overdue(late - Duration::from_millis(1)), None);
                        let (process, changed) = checks.overdue(late).unwrap();
                        // Until it is gone there is nothing to wait for but its end, which changes nothing.
                        assert_eq!((process, checks.moment(), checks.overdue(late)), (7, None, None));
                        assert!(!checks.ended(&Outcome::Signaled(9), late));
                        changed
                    }
                };
                assert_eq!((checks.status(), changed), (*status, *status != before), "{name}, check {number}");
            }
        }
    }

    #[test]
    fn the_last_results_are_kept_with_the_beginning_of_what_they_wrote() {
        let mut checks = checks(3, 0, 5);
        let mut now = Instant::now();
        checks.begin(now);
        let mut check = |output: &[u8], outcome: Outcome| {
            now += Duration::from_secs(30);
            checks.asked(1, now);
            checks.started(now);
            output.chunks(1000).for_each(|part| checks.wrote(part));
            checks.ended(&outcome, now + Duration::from_millis(1500));
            let result = checks.results().pop().unwrap();
            (result.exit_code, result.output, result.took, checks.results().len())
        };
        assert_eq!(check(b"fine\n", Outcome::Exited(0)), (0, "fine\n".into(), 1500, 1));
        assert_eq!(check(b"\xff\x1b", Outcome::Signaled(9)), (137, "\u{fffd}\u{1b}".into(), 1500, 2));
        let exactly = check(&[b'x'; OUTPUT], Outcome::Exited(1));
        assert_eq!((exactly.1.len(), exactly.3), (OUTPUT, 3));
        let (.., long, _, kept) = check(&[b'x'; 100_000], Outcome::Exited(1));
        assert_eq!((long.len(), kept), (OUTPUT + 3, 4));
        let missing = Outcome::NotStarted { status: 127, reason: "not found: curl".into() };
        assert_eq!(check(b"", missing).1, "not found: curl");
        assert_eq!(check(b"", Outcome::Exited(0)).3, RESULTS);
        assert_eq!(checks.results()[0].exit_code, 137);
        checks.asked(1, now);
        checks.started(now);
        checks.wrote(b"half");
        checks.overdue(now + Duration::from_secs(10)).unwrap();
        let last = checks.results().pop().unwrap();
        assert_eq!((last.exit_code, last.output.as_str()), (-1, "the check did not end within 10s: half"));
    }

    #[test]
    fn a_workload_that_starts_again_is_starting_and_one_that_rests_is_not_checked() {
        let mut checks = checks(1, 0, 5);
        let start = Instant::now();
        assert_eq!(checks.moment(), None);
        checks.begin(start);
        checks.asked(1, start);
        let went_along = Outcome::NotStarted { status: 125, reason: WORKLOAD_HAS_ENDED.into() };
        assert!(!checks.ended(&went_along, start));
        assert_eq!((checks.status(), checks.results().len()), (Health::Starting, 0));
        checks.asked(1, start);
        checks.begin(start + Duration::from_secs(5));
        // What was asked of the one before says nothing about this one.
        assert!(!checks.owns(1));
        assert_eq!(checks.moment(), Some(start + Duration::from_secs(35)));
        assert!(checks.refused("too long".into(), start + Duration::from_secs(35)));
        assert_eq!((checks.status(), checks.results()[0].output.as_str()), (Health::Unhealthy, "too long"));
        let said = "the workload is unhealthy: checks that failed in a row: 1, the last: too long";
        assert_eq!(checks.sentence(), said);
        checks.rest();
        assert_eq!((checks.moment(), checks.status()), (None, Health::Unhealthy));
        checks.begin(start + Duration::from_secs(90));
        assert_eq!((checks.status(), checks.results().len()), (Health::Starting, 1));
    }
}
