//! How a test ended, in words that need no interpretation.

use super::expect::Expectation;
use super::matrix::Combination;
use super::phases::Phases;
use std::fmt;
use std::time::Duration;

/// The result of one boot, or of one that was not made.
#[derive(Clone, Debug)]
pub struct Report {
    /// The test's name: from the spec file, or of the image or disk.
    pub name: String,
    /// Where it stands in the matrix.
    pub combination: Combination,
    /// What was expected, each as it is written.
    pub expectations: Vec<Held>,
    /// What was expected although nothing was said: why.
    pub assumed: Option<&'static str>,
    /// The verdict.
    pub verdict: Verdict,
    /// When what happened.
    pub phases: Phases,
    /// The last lines of console and workload, printable; empty when it passed.
    pub last_lines: Vec<String>,
    /// What may have been meant.
    pub hint: Option<String>,
    /// From the test's start to its end, the building of a disk aside.
    pub elapsed: Duration,
    /// A picture of the machine's screen, when there was a display and the test did not pass.
    pub screen: Option<std::path::PathBuf>,
    /// What was to be kept of the test and could not be written, in a sentence. The verdict stands all the same.
    pub lost: Option<String>,
    /// What executed the guest, and why that: `tcg (asked for)`. Nothing before a machine was started.
    pub accel: Option<String>,
    /// The snapshot that it started from, if it did not boot.
    pub snapshot: Option<Origin>,
    /// The command that makes this test again, for a shell.
    pub again: Option<String>,
    /// Where the spec file has the test.
    pub place: Option<Place>,
    /// What the names of its logs begin with, the folder included.
    pub logs: Option<std::path::PathBuf>,
    /// The tries before this one, none of which passed.
    pub before: Vec<Report>,
    /// From the test's start to that of its machine, where it is one of several.
    pub since: Duration,
    /// Those of its machines, where it has several: each under the machine's name.
    pub machines: Vec<Report>,
}

/// What a test started from instead of with a boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The point, as an expectation is written.
    pub point: String,
    /// From the start of the machine that was saved to its end.
    pub took: Duration,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, made in {}", self.point, seconds(self.took))
    }
}

/// A line of a spec file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: std::path::PathBuf,
    /// Counted from 1.
    pub line: usize,
}

impl Report {
    /// It passed, and had failed before.
    pub fn is_flaky(&self) -> bool {
        self.verdict == Verdict::Passed && !self.before.is_empty()
    }

    /// The verdict in a word, for people: the name of the verdict, or `flaky`.
    pub fn word(&self) -> &'static str {
        if self.is_flaky() { "flaky" } else { self.verdict.name() }
    }

    /// Name and combination, printable.
    pub fn title(&self) -> String {
        let shown = |text: &str| crate::escape::escape(text.as_bytes());
        format!("{} {}", shown(&self.name), shown(&self.combination.to_string())).trim_end().to_owned()
    }

    /// Who ran when it failed, and when; nothing where it passed or no machine was started.
    pub fn ended_in(&self) -> Option<String> {
        let end = self.phases.end.filter(|_| self.verdict.reasons().iter().any(|reason| !reason.is_empty()))?;
        let who = match (&self.verdict, &self.phases) {
            (_, Phases { workload: Some(_), .. } | Phases { restored: Some(_), .. }) => "in the workload",
            (_, Phases { pid1: Some(_), .. }) => "in PID 1",
            (Verdict::Panic(_) | Verdict::Oops(_), _) => "in the kernel",
            (_, Phases { loader: Some(_), .. }) => "in the loader or the kernel",
            _ => "in the firmware",
        };
        Some(format!("it ended {who}, {} after the machine's start", seconds(end)))
    }

    /// One for each machine that was booted: itself, or its machines under its name and theirs.
    pub fn boots(&self) -> Vec<Report> {
        let named = |one: &Report| Report { name: format!("{}: {}", self.name, one.name), ..one.clone() };
        if self.machines.is_empty() { vec![self.clone()] } else { self.machines.iter().map(named).collect() }
    }

    /// Every try, the last one last.
    pub fn tries(&self) -> impl DoubleEndedIterator<Item = &Report> {
        self.before.iter().chain([self])
    }

    /// The time of all tries.
    pub fn total(&self) -> Duration {
        self.tries().map(|one| one.elapsed).sum()
    }
}

/// An expectation and what became of it.
#[derive(Clone, Debug)]
pub struct Held {
    /// As it is written.
    pub expectation: String,
    /// When it held, from QEMU's start; `None` when it did not.
    pub at: Option<Duration>,
    /// What was seen, printable: instead of it, or what it held for.
    pub seen: Option<String>,
}

impl Held {
    /// As that of a test with several machines.
    pub fn of(self, machine: &str) -> Held {
        Held { expectation: format!("{machine}: {}", self.expectation), ..self }
    }
}

/// Why a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything held.
    Passed,
    /// The machine or the workload ended, and something had not held.
    Failed(Vec<Unmet>),
    /// Text came that must not come.
    Rejected {
        /// The expectation.
        expectation: String,
        /// The line.
        line: String,
    },
    /// The workload's command is not there, or not executable.
    NotStarted {
        /// The exit status a runtime gives it: 126 or 127.
        status: u8,
        /// Why, printable.
        reason: String,
    },
    /// The kernel panicked.
    Panic(String),
    /// The kernel said it is broken: an oops, a lockup.
    Oops(String),
    /// PID 1 could not start anything: no root file system, no command, no such user.
    Pid1(String),
    /// The machine switched itself off, or reset itself again and again, without a word of PID 1 about the workload.
    NoResult(String),
    /// Not a byte came within the boot timeout.
    Silent(Duration),
    /// Time was up.
    Timeout {
        /// How long it had.
        after: Duration,
        /// What had not held.
        unmet: Vec<Unmet>,
    },
    /// The time that all tests have together was up.
    Late {
        /// How long they had.
        after: Duration,
        /// Whether this one had begun.
        begun: bool,
        /// What had not held.
        unmet: Vec<Unmet>,
    },
    /// QEMU ended while the machine ran.
    QemuGone(String),
    /// A signal to this program.
    Interrupted(i32),
    /// The test could not be run.
    Error(String),
    /// It was not made, because it cannot hold.
    Skipped(String),
    /// Of several machines, the one that is to blame.
    Machine {
        /// Its name.
        name: String,
        /// What became of it.
        verdict: Box<Verdict>,
    },
}

/// An expectation that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// As it is written.
    pub expectation: String,
    /// What was seen instead, printable.
    pub seen: String,
}

impl Unmet {
    /// Of an expectation that something else was seen of, or nothing.
    pub fn new(expectation: &Expectation, seen: Option<&str>) -> Unmet {
        let seen = seen.unwrap_or(match expectation {
            Expectation::Output(_) | Expectation::Reject(_) => "not found",
            Expectation::ExitCode(_) => "the workload has not ended",
            Expectation::Tcp(_) | Expectation::Http(_) => "not asked yet",
            Expectation::Exec(_) | Expectation::Healthy => "not run yet",
            Expectation::Started => "the workload was not started",
        });
        Unmet { expectation: expectation.to_string(), seen: seen.to_owned() }
    }
}

/// Classes of verdicts, as reports count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It held.
    Passed,
    /// It did not.
    Failed,
    /// It is not known.
    Error,
    /// It was not asked.
    Skipped,
}

impl Verdict {
    /// One word for tables and machines.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed(_) => "failed",
            Verdict::Rejected { .. } => "rejected",
            Verdict::NotStarted { .. } => "not-started",
            Verdict::Panic(_) => "panic",
            Verdict::Oops(_) => "oops",
            Verdict::Pid1(_) => "pid1",
            Verdict::NoResult(_) => "no-result",
            Verdict::Silent(_) => "silent",
            Verdict::Timeout { .. } | Verdict::Late { .. } => "timeout",
            Verdict::QemuGone(_) => "qemu-gone",
            Verdict::Interrupted(_) => "interrupted",
            Verdict::Error(_) => "error",
            Verdict::Skipped(_) => "skipped",
            Verdict::Machine { verdict, .. } => verdict.name(),
        }
    }

    /// Its class.
    pub fn class(&self) -> Class {
        match self {
            Verdict::Passed => Class::Passed,
            Verdict::Skipped(_) => Class::Skipped,
            Verdict::Machine { verdict, .. } => verdict.class(),
            Verdict::QemuGone(_) | Verdict::Error(_) | Verdict::Interrupted(_) => Class::Error,
            _ => Class::Failed,
        }
    }

    /// Whether another try may end in another way: a failure, but not one that somebody outside has caused.
    pub fn may_differ(&self) -> bool {
        let from_outside = matches!(self, Verdict::Interrupted(_) | Verdict::Late { .. });
        matches!(self.class(), Class::Failed | Class::Error) && !from_outside
    }

    /// The exit status it alone would give.
    pub fn status(&self) -> u8 {
        match self {
            Verdict::Timeout { .. } | Verdict::Late { .. } => 124,
            Verdict::Machine { verdict, .. } => verdict.status(),
            Verdict::Interrupted(signal) => 128u8.saturating_add(*signal as u8),
            _ => match self.class() {
                Class::Passed | Class::Skipped => 0,
                Class::Failed => 1,
                Class::Error => 125,
            },
        }
    }

    /// The reason in a sentence for each; none when it passed.
    pub fn reasons(&self) -> Vec<String> {
        let unmet = |unmet: &[Unmet]| -> Vec<String> {
            unmet.iter().map(|one| format!("{}: {}", one.expectation, one.seen)).collect()
        };
        match self {
            Verdict::Passed => Vec::new(),
            Verdict::Failed(list) => unmet(list),
            Verdict::Rejected { expectation, line } => vec![format!("{expectation}: found: {line}")],
            Verdict::NotStarted { status, reason } => {
                vec![format!("the workload could not be started (status {status}): {reason}")]
            }
            Verdict::Panic(message) => vec![format!("the kernel panicked: {message}")],
            Verdict::Oops(line) => vec![format!("the kernel is broken: {line}")],
            Verdict::Pid1(message) => vec![format!("PID 1 could not start the workload: {message}")],
            Verdict::NoResult(what) | Verdict::QemuGone(what) | Verdict::Error(what) => vec![what.clone()],
            Verdict::Silent(after) => vec![format!("the machine said nothing within {}", seconds(*after))],
            Verdict::Timeout { after, unmet: list } => {
                let first = format!("time was up after {}", seconds(*after));
                [vec![first], unmet(list)].concat()
            }
            Verdict::Late { after, begun: true, unmet: list } => {
                let first = format!("the time for all tests was up after {}", seconds(*after));
                [vec![first], unmet(list)].concat()
            }
            Verdict::Late { after, .. } => {
                vec![format!("not begun: the time for all tests was up after {}", seconds(*after))]
            }
            Verdict::Interrupted(signal) => vec![format!("it was interrupted by signal {signal}")],
            Verdict::Skipped(why) => vec![why.clone()],
            Verdict::Machine { name, verdict } => {
                verdict.reasons().iter().map(|reason| format!("{name}: {reason}")).collect()
            }
        }
    }
}

/// The exit status for all reports: an interruption's before all, then 125 if any test could not be run or its logs
/// could not be written, 1 if any did not hold, 124 if any ran out of time, 0. Where none passed it is never 0.
pub fn status(reports: &[Report]) -> u8 {
    let lost = reports.iter().flat_map(Report::tries).any(|one| one.lost.is_some()).then_some(125);
    let statuses: Vec<u8> = reports.iter().map(|report| report.verdict.status()).chain(lost).collect();
    let interrupted = statuses.iter().copied().find(|&status| status >= 128);
    let first_of = |wanted: &[u8]| wanted.iter().copied().find(|status| statuses.contains(status));
    let none_passed = !reports.iter().any(|report| report.verdict == Verdict::Passed);
    interrupted.or_else(|| first_of(&[125, 1, 124])).unwrap_or(if none_passed { 125 } else { 0 })
}

/// `1.5 s`.
pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Verdict) -> Report {
        Report {
            name: "x".into(),
            combination: Combination::default(),
            expectations: vec![],
            assumed: None,
            verdict,
            phases: Phases::default(),
            last_lines: vec![],
            hint: None,
            elapsed: Duration::ZERO,
            screen: None,
            lost: None,
            accel: None,
            snapshot: None,
            again: None,
            place: None,
            logs: None,
            before: vec![],
            since: Duration::ZERO,
            machines: vec![],
        }
    }

    #[test]
    fn a_verdict_whose_logs_are_lost_is_no_success() {
        let kept = report(Verdict::Passed);
        let lost = Report { lost: Some("cannot write x".into()), ..kept.clone() };
        assert_eq!([status(std::slice::from_ref(&kept)), status(&[kept.clone(), lost])], [0, 125]);
    }

    #[test]
    fn the_worst_decides() {
        let timeout = || Verdict::Timeout { after: Duration::from_secs(1), unmet: vec![] };
        let failed = || Verdict::Failed(vec![]);
        for (verdicts, expected) in [
            (vec![], 125),
            (vec![Verdict::Skipped("x".into())], 125),
            (vec![Verdict::Passed, Verdict::Skipped("x".into())], 0),
            (vec![Verdict::Passed, timeout()], 124),
            (vec![timeout(), failed()], 1),
            (vec![failed(), Verdict::Error("x".into()), timeout()], 125),
            (vec![failed(), Verdict::Error("x".into()), Verdict::Interrupted(2)], 130),
            (vec![Verdict::QemuGone("x".into())], 125),
            (vec![Verdict::Silent(Duration::ZERO)], 1),
        ] {
            let reports: Vec<Report> = verdicts.iter().cloned().map(report).collect();
            assert_eq!(status(&reports), expected, "{verdicts:?}");
        }
    }
}
