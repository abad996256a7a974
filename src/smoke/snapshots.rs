//! Tests that start from one snapshot: which of them do, who makes it, and what becomes of them without it.
//!
//! Two tests have one snapshot only where everything that makes their machines is equal, and the point. It is compared as
//! `Debug` shows it, so that a field that is added one day is compared without anybody's thinking of it; what the machines
//! are handed is compared by its bytes. The first whose turn comes makes it. It lives as long as the tests do.

use super::expect::Expectation;
use super::test::Test;
use super::verdict::seconds;
use crate::session::Snapshot;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where a test starts instead of with a boot.
#[derive(Clone)]
pub struct Start {
    /// What must hold when the snapshot is made.
    pub point: Expectation,
    /// Those that start there.
    group: Option<Arc<Group>>,
}

/// All tests of one snapshot.
#[derive(Default)]
struct Group(Mutex<State>);

#[derive(Default)]
struct State {
    at: Stage,
    /// Why there is no snapshot, until it is told.
    warning: Option<String>,
}

#[derive(Clone, Default)]
enum Stage {
    /// Nobody has begun to make it.
    #[default]
    Open,
    /// Somebody makes it.
    Making,
    Made(Made),
    /// There is none: all of them boot.
    Without,
}

/// A snapshot, and how long it took.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) took: Duration,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, made in {}", self.point, seconds(self.took))
    }
}

/// What a report says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The point, as an expectation is written.
    pub point: String,
    /// From the start of the machine that was saved to its end.
    pub took: Duration,
}

impl Start {
    /// At this point, and not yet with others.
    pub fn at(point: Expectation) -> Start {
        Start { point, group: None }
    }

    fn state(&self) -> Option<MutexGuard<'_, State>> {
        Some(self.group.as_ref()?.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether another test makes it just now.
    pub(super) fn is_being_made(&self) -> bool {
        self.state().is_some_and(|state| matches!(state.at, Stage::Making))
    }

    /// Whether it is this test's to make.
    pub(super) fn claim(&self) -> bool {
        let Some(mut state) = self.state() else { return false };
        let open = matches!(state.at, Stage::Open);
        if open {
            state.at = Stage::Making;
        }
        open
    }

    /// Who was to make it does not.
    pub(super) fn leave(&self) {
        if let Some(mut state) = self.state()
            && matches!(state.at, Stage::Making)
        {
            state.at = Stage::Open;
        }
    }

    /// It has been made.
    pub(super) fn made(&self, snapshot: Snapshot, took: Duration) {
        if let Some(mut state) = self.state() {
            state.at = Stage::Made(Made { snapshot: Arc::new(snapshot), took });
        }
    }

    /// It cannot be had, or not be used: from here on all boot. Told once.
    pub(super) fn without(&self, why: &str) {
        if let Some(mut state) = self.state()
            && !matches!(state.at, Stage::Without)
        {
            state.at = Stage::Without;
            state.warning = Some(format!("no snapshot ({}): {why}; its tests boot", self.point));
        }
    }

    /// The snapshot, if there is one.
    pub(super) fn ready(&self) -> Option<Made> {
        match &self.state()?.at {
            Stage::Made(made) => Some(made.clone()),
            _ => None,
        }
    }

    /// What has not been told.
    pub(super) fn warning(&self) -> Option<String> {
        self.state()?.warning.take()
    }

    /// For a report of a test that has started from it.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.ready().map(|made| Origin { point: self.point.to_string(), took: made.took })
    }
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("point", &self.point).finish_non_exhaustive()
    }
}

/// Everything that makes the machine of a test that is to start from a snapshot, and the point.
fn key(test: &Test) -> Option<String> {
    let start = test.snapshot.as_ref()?;
    let Test { machine, overrides, mounts, healthcheck, .. } = test;
    Some(format!("{machine:?} {overrides:?} {mounts:?} {healthcheck:?} {:?}", start.point))
}

/// Brings together the tests that can start from one snapshot. One that would have it for itself boots.
pub fn share_snapshots<'a>(tests: impl Iterator<Item = &'a mut Test>) {
    let mut groups: Vec<(String, Vec<&mut Test>)> = Vec::new();
    for test in tests {
        let Some(key) = key(test) else { continue };
        let same = |(known, tests): &&mut (String, Vec<&mut Test>)| *known == key && tests[0].handed.is(&test.handed);
        match groups.iter_mut().find(same) {
            Some((_, tests)) => tests.push(test),
            None => groups.push((key, vec![test])),
        }
    }
    for (_, tests) in groups.into_iter().filter(|(_, tests)| tests.len() > 1) {
        let group = Arc::new(Group::default());
        for test in tests {
            if let Some(start) = &mut test.snapshot {
                start.group = Some(group.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;
    use crate::guest::spec::Healthcheck;
    use crate::qemu::{Boot, Bus, MachineOptions};
    use std::fs::File;
    use std::io::Write;

    fn test() -> Test {
        let machine = MachineOptions::new(Architecture::X86_64, "disk.img".into());
        Test { snapshot: Some(Start::at(Expectation::Started)), ..Test::of(machine) }
    }

    fn same(one: &Test, other: &Test) -> bool {
        let mut tests = [one.clone(), other.clone()];
        share_snapshots(tests.iter_mut());
        let [one, other] = &tests;
        let (one, other) = (one.snapshot.as_ref().unwrap(), other.snapshot.as_ref().unwrap());
        match (&one.group, &other.group) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    fn handed(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(file)
    }

    #[test]
    fn only_what_makes_the_same_machine_comes_from_one_snapshot() {
        let whole = test();
        // What is asked of a machine is not what it is.
        let asks = Test {
            name: "other".into(),
            expectations: vec![Expectation::ExitCode(3)],
            timeout: Duration::from_secs(1),
            log_name: "other".into(),
            retries: 3,
            ..test()
        };
        assert!(same(&whole, &asks));
        let machine = |change: fn(&mut MachineOptions)| {
            let mut one = test();
            change(&mut one.machine);
            one
        };
        let env = |one: &str| {
            let mut test = test();
            test.overrides.env = vec![one.into()];
            test
        };
        let mut mine = test();
        mine.handed.fw_cfg.push(("opt/x".into(), handed(b"one")));
        let mut equal = test();
        equal.handed.fw_cfg.push(("opt/x".into(), handed(b"one")));
        assert!(same(&mine, &equal) && same(&env("A=1"), &env("A=1")));
        let mut unlike = test();
        unlike.handed.fw_cfg.push(("opt/x".into(), handed(b"two")));
        for (what, other) in [
            ("disk", machine(|machine| machine.disk = "other.img".into())),
            ("memory", machine(|machine| machine.memory = 512)),
            ("bus", machine(|machine| machine.bus = Bus::Nvme)),
            ("firmware", machine(|machine| machine.boot = Boot::Uefi)),
            ("QEMU", machine(|machine| machine.qemu = Some("/opt/qemu".into()))),
            ("arguments", machine(|machine| machine.extra = vec!["-s".into()])),
            ("environment", env("A=1")),
            ("health", Test { healthcheck: Some(Healthcheck::default()), ..test() }),
            ("settings", unlike.clone()),
            ("point", Test { snapshot: Some(Start::at(Expectation::Healthy)), ..test() }),
        ] {
            assert!(!same(&whole, &other), "{what}");
            assert!(same(&other, &other), "{what}");
        }
        assert!(!same(&mine, &unlike));
    }

    #[test]
    fn one_of_them_makes_it_and_what_went_wrong_is_told_once() {
        let mut tests = [test(), test(), test()];
        share_snapshots(tests.iter_mut());
        let [one, two, three] = tests.each_ref().map(|test| test.snapshot.as_ref().unwrap());
        assert!(one.claim() && !two.claim() && two.is_being_made());
        one.leave();
        assert!(!three.is_being_made() && two.claim() && two.ready().is_none());
        two.without("QEMU is too old");
        one.without("again");
        assert!(!one.is_being_made() && !three.claim());
        let told: Vec<String> = [one, two, three].iter().filter_map(|start| start.warning()).collect();
        assert_eq!(told, ["no snapshot (started): QEMU is too old; its tests boot"]);
    }

    #[test]
    fn nobody_makes_a_snapshot_for_one_test() {
        let mut one = [test()];
        share_snapshots(one.iter_mut());
        let start = one[0].snapshot.as_ref().unwrap();
        assert!(!start.claim() && !start.is_being_made() && start.ready().is_none());
    }
}
