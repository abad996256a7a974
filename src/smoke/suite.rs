//! All tests of one run with their reports, as the documents tell of them.

use super::matrix::Axis;
use super::shard::Share;
use super::verdict::{self, Class, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// What one call of `bootdisk test` has made.
#[derive(Clone, Debug)]
pub struct Suite {
    /// In the order of what was asked for.
    pub reports: Vec<Report>,
    /// When it began, by this host's clock.
    pub begun: SystemTime,
    /// How long all of it took, the building of disks included.
    pub took: Duration,
    /// This host's name, where it has one.
    pub host: Option<String>,
    /// The spec file, as it was named.
    pub spec: Option<std::path::PathBuf>,
    /// The part that this is, if it is one.
    pub share: Option<Share>,
}

impl Suite {
    /// Of these reports, and nothing more is known.
    pub fn of(reports: Vec<Report>) -> Suite {
        Suite { reports, begun: SystemTime::UNIX_EPOCH, took: Duration::ZERO, host: None, spec: None, share: None }
    }

    /// The exit status. A part without a test is a success: there are more hosts than tests, and the others have them.
    pub fn status(&self) -> u8 {
        match &self.share {
            Some(share) if share.tests == 0 && share.all > 0 => 0,
            _ => verdict::status(&self.reports),
        }
    }

    /// How many reports are of this class.
    pub fn count(&self, class: Class) -> usize {
        self.reports.iter().filter(|report| report.verdict.class() == class).count()
    }

    /// How many of those that passed had failed before.
    pub fn flaky(&self) -> usize {
        self.reports.iter().filter(|report| report.is_flaky()).count()
    }

    /// How long each test took, by its name: one time through its matrix, with further tries. Only those that came to an
    /// end of their own.
    pub fn seconds(&self) -> BTreeMap<String, f64> {
        let mut all: BTreeMap<String, f64> = BTreeMap::new();
        let first = |report: &&Report| report.combination.get(Axis::Run).is_none_or(|run| run == "1");
        for report in self.reports.iter().filter(first) {
            if matches!(report.verdict.class(), Class::Passed | Class::Failed) && !report.elapsed.is_zero() {
                *all.entry(report.name.clone()).or_default() += report.total().as_secs_f64();
            }
        }
        all
    }

    /// What executed the guests and why, each once: `tcg (asked for)`. Nothing where no machine was started.
    pub fn accelerators(&self) -> Option<String> {
        let all: BTreeSet<&str> = self.reports.iter().filter_map(|report| report.accel.as_deref()).collect();
        (!all.is_empty()).then(|| all.into_iter().collect::<Vec<_>>().join(", "))
    }

    /// What tests started from instead of with a boot, each once: `20 tests at healthy, made in 6.2 s`.
    pub fn snapshots(&self) -> Vec<String> {
        let mut all: BTreeMap<(&str, Duration), usize> = BTreeMap::new();
        for origin in self.reports.iter().filter_map(|report| report.snapshot.as_ref()) {
            *all.entry((&origin.point, origin.took)).or_default() += 1;
        }
        let words = |((point, took), tests): (&(&str, Duration), &usize)| {
            let tests = if *tests == 1 { "1 test".to_owned() } else { format!("{tests} tests") };
            format!("{tests} at {point}, made in {}", verdict::seconds(*took))
        };
        all.iter().map(words).collect()
    }

    /// `3 passed (1 flaky), 1 failed`, and the part.
    pub fn summary(&self) -> String {
        let flaky = match self.flaky() {
            0 => String::new(),
            flaky => format!(" ({flaky} flaky)"),
        };
        let mut text = format!("{} passed{flaky}", self.count(Class::Passed));
        let others = [(Class::Failed, "failed"), (Class::Error, "could not be run"), (Class::Skipped, "skipped")];
        for (class, word) in others {
            if self.count(class) > 0 {
                text.push_str(&format!(", {} {word}", self.count(class)));
            }
        }
        if let Some(share) = &self.share {
            text.push_str(&format!("; {share}"));
        }
        text
    }
}
