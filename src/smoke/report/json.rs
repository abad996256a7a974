//! `--json`: one document. Its schema is `docs/smoke.schema.json`; fields are added without a new version, and changed
//! or removed only with one.

use super::super::suite::Suite;
use super::super::verdict::{Class, Report};
use serde_json::{Map, Value, json};

/// Version of the document.
pub const VERSION: u32 = 1;

/// All reports as one document, with a line end.
pub fn render(suite: &Suite) -> String {
    let document = json!({
        "version": VERSION,
        "bootdisk": env!("CARGO_PKG_VERSION"),
        "status": suite.status(),
        "counts": {
            "passed": suite.count(Class::Passed),
            "flaky": suite.flaky(),
            "failed": suite.count(Class::Failed),
            "error": suite.count(Class::Error),
            "skipped": suite.count(Class::Skipped),
        },
        "shard": suite.share.as_ref().map(|share| json!({
            "shard": share.shard.to_string(),
            "tests": share.tests,
            "all": share.all,
            "timed": share.timed,
        })),
        "tests": suite.reports.iter().map(test).collect::<Vec<_>>(),
    });
    crate::escape::json(&document).unwrap_or_default()
}

fn test(report: &Report) -> Value {
    let mut document = one_try(report);
    document["flaky"] = report.is_flaky().into();
    document["before"] = report.before.iter().map(one_try).collect();
    document
}

fn one_try(report: &Report) -> Value {
    let expectations = report.expectations.iter().map(|held| {
        json!({
            "expectation": held.expectation,
            "held": held.at.is_some(),
            "at": held.at.map(|at| at.as_secs_f64()),
            "seen": held.seen,
        })
    });
    let phases: Map<String, Value> =
        report.phases.points().map(|(name, at)| (name.to_owned(), json!(at.as_secs_f64()))).collect();
    json!({
        "name": report.name,
        "combination": report.combination.to_string(),
        "verdict": report.verdict.name(),
        "reasons": report.verdict.reasons(),
        "expectations": expectations.collect::<Vec<_>>(),
        "assumed": report.assumed,
        "phases": phases,
        "elapsed": report.elapsed.as_secs_f64(),
        "ended_in": report.ended_in(),
        "accelerator": report.accel,
        "snapshot": report.snapshot.as_ref().map(|origin| json!({
            "point": origin.point,
            "took": origin.took.as_secs_f64(),
        })),
        "again": report.again,
        "logs": report.logs.as_ref().map(|path| path.display().to_string()),
        "last_lines": report.last_lines,
        "lost": report.lost,
        "screen": report.screen.as_ref().map(|path| path.display().to_string()),
        "since": report.since.as_secs_f64(),
        "machines": report.machines.iter().map(test).collect::<Vec<_>>(),
    })
}
