//! `--tap FILE`: the Test Anything Protocol, version 14. A test point for each boot, with a YAML block where there is
//! something to say: its values are JSON, which YAML reads.
//!
//! TAP has no word for a flaky test: its point is `ok`, and the block says what the tries before were.
//!
//! Specification: testanything.org, TAP version 14.

use super::super::suite::Suite;
use super::super::verdict::{Class, Report};
use serde_json::{Value, json};
use std::fmt::Write;

/// All reports as one document.
pub fn render(suite: &Suite) -> String {
    let mut text = "TAP version 14\n".to_owned();
    let count = suite.reports.len();
    let plan = if count == 0 { "1..0 # SKIP no test is made here".to_owned() } else { format!("1..{count}") };
    _ = writeln!(text, "{plan}");
    for (number, report) in (1..).zip(&suite.reports) {
        point(&mut text, number, report);
    }
    if let Some(accelerators) = suite.accelerators() {
        _ = writeln!(text, "# accelerator: {accelerators}");
    }
    _ = writeln!(text, "# {}", suite.summary());
    text
}

fn point(text: &mut String, number: usize, report: &Report) {
    let reasons = report.verdict.reasons().join("; ");
    let class = report.verdict.class();
    let word = if matches!(class, Class::Passed | Class::Skipped) { "ok" } else { "not ok" };
    _ = write!(text, "{word} {number} - {}", described(&report.title()));
    match class {
        Class::Skipped => _ = writeln!(text, " # SKIP {}", described(&reasons)),
        _ => text.push('\n'),
    }
    let mut block: Vec<(&str, Value)> = vec![("duration_ms", json!(report.total().as_millis() as u64))];
    if matches!(class, Class::Failed | Class::Error) {
        block.push(("verdict", report.verdict.name().into()));
        block.push(("message", reasons.into()));
        block.push(("last_lines", json!(report.last_lines)));
        block.extend(report.again.as_ref().map(|again| ("again", json!(again))));
    }
    if !report.before.is_empty() {
        let tries =
            report.before.iter().map(|one| format!("{}: {}", one.verdict.name(), one.verdict.reasons().join("; ")));
        block.push(("flaky", report.is_flaky().into()));
        block.push(("tries_before", json!(tries.collect::<Vec<_>>())));
    }
    block.extend(report.place.as_ref().map(|place| {
        ("at", json!({"file": crate::escape::printable(&place.file.to_string_lossy()), "line": place.line}))
    }));
    block.extend(report.accel.as_ref().map(|accel| ("accelerator", json!(accel))));
    if class == Class::Skipped {
        return;
    }
    text.push_str("  ---\n");
    for (key, value) in block {
        _ = writeln!(text, "  {key}: {value}");
    }
    text.push_str("  ...\n");
}

/// A description: `#` would begin a directive.
fn described(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#").replace('\n', " ")
}
