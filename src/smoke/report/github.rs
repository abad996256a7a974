//! What GitHub's runner reads: workflow commands that become annotations, and a summary in Markdown.
//!
//! Source: docs.github.com, "Workflow commands for GitHub Actions"; escaping as @actions/core does it.

use super::super::suite::Suite;
use super::super::verdict::{Class, Report, seconds};
use std::fmt::Write;
use std::path::Path;

/// Longest summary, in bytes: the runner takes 1 MiB for a step, and nothing of a longer one.
const LONGEST: usize = 900_000;

/// A line for each test that failed (error) or was flaky (warning). `name` tells how the runner knows a file.
pub fn annotations(suite: &Suite, name: impl Fn(&Path) -> String) -> String {
    let mut text = String::new();
    for report in &suite.reports {
        let kind = match report.verdict.class() {
            Class::Failed | Class::Error => "error",
            _ if report.is_flaky() => "warning",
            Class::Passed | Class::Skipped => continue,
        };
        let place =
            report.place.as_ref().map(|place| format!("file={},line={},", property(&name(&place.file)), place.line));
        let title = property(&format!("{}: {}", report.title(), report.word()));
        _ = writeln!(text, "::{kind} {}title={title}::{}", place.unwrap_or_default(), data(&message(report)));
    }
    text
}

fn message(report: &Report) -> String {
    let before = report.before.iter().flat_map(|one| one.verdict.reasons());
    let lines = before.chain(report.verdict.reasons()).chain(last_lines(report).iter().cloned());
    let again = report.again.iter().map(|command| format!("again: {command}"));
    lines.chain(again).collect::<Vec<_>>().join("\n")
}

/// Of the last try that has any: one that passed has none.
fn last_lines(report: &Report) -> &[String] {
    report.tries().rev().map(|one| &*one.last_lines).find(|lines| !lines.is_empty()).unwrap_or_default()
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The summary of a step: what failed first, then a table of all.
pub fn summary(suite: &Suite) -> String {
    let mut text = format!("### bootdisk test: {}\n\n", literal(&suite.summary()));
    if let Some(accelerators) = suite.accelerators() {
        _ = writeln!(text, "Accelerator: {}\n", literal(&accelerators));
    }
    let told = |report: &&Report| matches!(report.verdict.class(), Class::Failed | Class::Error) || report.is_flaky();
    let failures = suite.reports.iter().filter(told).map(failure);
    let row = |report: &Report| {
        let combination = literal(&report.combination.to_string());
        format!("| {} | {combination} | {} | {} |\n", literal(&report.name), report.word(), seconds(report.total()))
    };
    let head = "| test | matrix | verdict | time |\n|---|---|---|---:|\n".to_owned();
    let rows = std::iter::once(head).chain(suite.reports.iter().map(row));
    for piece in failures.chain(rows) {
        if text.len() + piece.len() > LONGEST {
            text.push_str("\nThere is more than a summary takes.\n");
            break;
        }
        text.push_str(&piece);
    }
    text.push('\n');
    text
}

fn failure(report: &Report) -> String {
    let mut text = format!("<details><summary>{}: {}</summary>\n\n", literal(&report.title()), report.word());
    for (number, before) in (1..).zip(&report.before) {
        _ = writeln!(text, "- try {number}: {}", literal(&before.verdict.reasons().join("; ")));
    }
    report.verdict.reasons().iter().for_each(|reason| _ = writeln!(text, "- {}", literal(reason)));
    let lines = last_lines(report).iter().cloned();
    let again = report.again.iter().flat_map(|command| [String::new(), format!("$ {command}")]);
    // One line for Markdown: an empty one would end the element.
    let lines: Vec<String> = lines.chain(again).map(|line| literal(&line)).collect();
    _ = writeln!(text, "\n<pre>{}</pre>\n\n</details>\n", lines.join("&#10;"));
    text
}

/// Text that is no markup to Markdown nor to HTML: a character reference begins nothing.
fn literal(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '\n' => safe.push(' '),
            ' ' => safe.push(' '),
            c if c.is_ascii_punctuation() && !matches!(c, '.' | ',' | ';' | '(' | ')' | '/') => {
                _ = write!(safe, "&#{};", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    safe
}
