//! A snapshot that several tests start from: who makes it, who waits for it, and what becomes of them without it.
//!
//! The first whose turn comes makes it. It lives as long as the tests do.

use super::expect::Expectation;
use super::verdict::Origin;
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
pub(super) struct Group(Mutex<State>);

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

impl Start {
    /// At this point, and not yet with others.
    pub fn at(point: Expectation) -> Start {
        Start { point, group: None }
    }

    /// With others.
    pub(super) fn join(&mut self, group: &Arc<Group>) {
        self.group = Some(group.clone());
    }

    /// Whether both have one snapshot.
    #[cfg(test)]
    pub(super) fn is_with(&self, other: &Start) -> bool {
        self.group.iter().zip(&other.group).any(|(one, other)| Arc::ptr_eq(one, other))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_them_makes_it_and_what_went_wrong_is_told_once() {
        let group = Arc::new(Group::default());
        let all = [(); 3].map(|()| {
            let mut start = Start::at(Expectation::Started);
            start.join(&group);
            start
        });
        let [one, two, three] = &all;
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
        let start = Start::at(Expectation::Started);
        assert!(!start.claim() && !start.is_being_made() && start.ready().is_none());
    }
}
