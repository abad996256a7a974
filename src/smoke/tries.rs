//! A test that failed is tried again, as often as it may be. Each try is a machine of its own, with logs of its own.

use super::caught::caught;
use super::log::try_name;
use super::stop::Stop;
use super::test::Test;
use super::verdict::{Report, Verdict};

/// The report of the last try, with those of the tries before it. `failed` hears of each that another follows.
pub(super) fn make(
    test: &Test,
    stop: &Stop,
    failed: &dyn Fn(&Report),
    drive: &(dyn Fn(&Test, &Stop) -> Report + Sync),
) -> Report {
    let mut before: Vec<Report> = Vec::new();
    loop {
        let number = before.len() + 1;
        let this = Test { log_name: try_name(&test.log_name, number), ..test.clone() };
        let report = caught(|| drive(&this, stop)).unwrap_or_else(|why| test.unmade(Verdict::Error(why)));
        let again = number <= usize::from(test.retries) && report.verdict.may_differ() && stop.before().is_none();
        if !again {
            return Report { before, ..report };
        }
        failed(&report);
        before.push(report);
    }
}
