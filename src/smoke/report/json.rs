//! `--json`: one document. Its schema is `docs/smoke.schema.json`; fields are added without a new version, and changed
//! or removed only with one.

use super::super::verdict::{Class, Report, status};
use serde_json::{Map, Value, json};

/// Version of the document.
pub const VERSION: u32 = 1;

/// All reports as one document, with a line end.
pub fn render(reports: &[Report]) -> String {
    let count = |class| reports.iter().filter(|report| report.verdict.class() == class).count();
    let document = json!({
        "version": VERSION,
        "bootdisk": env!("CARGO_PKG_VERSION"),
        "status": status(reports),
        "counts": {
            "passed": count(Class::Passed),
            "failed": count(Class::Failed),
            "error": count(Class::Error),
            "skipped": count(Class::Skipped),
        },
        "tests": reports.iter().map(test).collect::<Vec<_>>(),
    });
    crate::escape::json(&document).unwrap_or_default()
}

fn test(report: &Report) -> Value {
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
        "last_lines": report.last_lines,
        "lost": report.lost,
        "screen": report.screen.as_ref().map(|path| path.display().to_string()),
    })
}
