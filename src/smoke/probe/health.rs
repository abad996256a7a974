//! The HEALTHCHECK, with the times that a machine of `run` has too.
//!
//! One thing is different. The first check is made when the workload has started and not an interval later: a test that
//! waits for health has no reason to wait for nothing.

use super::super::board::Board;
use super::exec;
use crate::guest::channel::Outcome;
use crate::session::Schedule;
use crate::session::control::{ControlError, Dialer};
use std::time::Instant;

/// Checks until the workload is healthy, or unhealthy for good.
pub(in crate::smoke) fn watch(board: &Board, number: usize, dialer: &Dialer, health: &Schedule) {
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
