//! The table people read.

use super::super::phases::Phases;
use super::super::verdict::{Class, Report, seconds};
use std::fmt::Write;

/// All reports: a line each, then what did not hold, and a last line that counts.
pub fn render(reports: &[Report], colour: bool) -> String {
    let mut text = String::new();
    let rows: Vec<[String; 5]> = reports.iter().map(row).collect();
    let header = ["test", "matrix", "verdict", "time", "phases"].map(str::to_owned);
    let all = || std::iter::once(&header).chain(&rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    for (number, row) in all().enumerate() {
        let verdict = number.checked_sub(1).map(|number| reports[number].verdict.class());
        let (on, off) = if colour { paint(verdict) } else { ("", "") };
        let matrix = if widths[1] > "matrix".len() { format!("{:w$}  ", row[1], w = widths[1]) } else { String::new() };
        let [name, _, word, time, phases] = row;
        _ = write!(
            text,
            "{name:a$}  {matrix}{on}{word:b$}{off}  {time:>c$}",
            a = widths[0],
            b = widths[2],
            c = widths[3]
        );
        _ = writeln!(text, "{}", if phases.is_empty() { String::new() } else { format!("  {phases}") });
    }
    for report in reports {
        explain(&mut text, report);
    }
    text.push('\n');
    text.push_str(&count(reports));
    text
}

fn row(report: &Report) -> [String; 5] {
    let name = crate::escape::escape(report.name.as_bytes());
    let verdict = report.verdict.name().to_owned();
    [name, report.combination.to_string(), verdict, seconds(report.elapsed), phases(&report.phases)]
}

/// Where the time went, each part by itself: `firmware 0.3, loader 0.9, kernel 0.9, start 0.3, ready 1.0`.
fn phases(phases: &Phases) -> String {
    // Until the kernel it was the firmware's too, where that did not say when it was done.
    let before_kernel = if phases.loader.is_some() { "loader" } else { "boot" };
    let points = [
        ("firmware", phases.loader),
        (before_kernel, phases.kernel),
        ("kernel", phases.pid1),
        ("start", phases.workload),
        ("ready", phases.ready),
    ];
    let mut before = 0.0;
    let mut parts = Vec::new();
    for (name, at) in points.into_iter().filter_map(|(name, at)| Some((name, at?.as_secs_f64()))) {
        parts.push(format!("{name} {:.1}", (at - before).max(0.0)));
        before = at;
    }
    parts.join(", ")
}

fn paint(class: Option<Class>) -> (&'static str, &'static str) {
    match class {
        None => ("", ""),
        Some(Class::Passed) => ("\x1b[32m", "\x1b[0m"),
        Some(Class::Skipped) => ("\x1b[33m", "\x1b[0m"),
        Some(Class::Failed | Class::Error) => ("\x1b[31m", "\x1b[0m"),
    }
}

/// What was used though nothing was said, and what did not hold.
fn explain(text: &mut String, report: &Report) {
    let title = || {
        let combination = report.combination.to_string();
        let space = if combination.is_empty() { "" } else { " " };
        format!("{}{space}{combination}", crate::escape::escape(report.name.as_bytes()))
    };
    let reasons = report.verdict.reasons();
    if reasons.is_empty() && report.assumed.is_none() && report.lost.is_none() {
        return;
    }
    _ = writeln!(text, "\n{}:", title());
    if let (Some(why), Some(last)) = (report.assumed, report.expectations.last()) {
        _ = writeln!(text, "  expected: {} ({why})", last.expectation);
    }
    for reason in reasons {
        _ = writeln!(text, "  {reason}");
    }
    if !report.last_lines.is_empty() {
        text.push_str("  the last lines:\n");
        report.last_lines.iter().for_each(|line| _ = writeln!(text, "    {line}"));
    }
    if let Some(lost) = &report.lost {
        _ = writeln!(text, "  not kept: {lost}");
    }
    if let Some(screen) = &report.screen {
        _ = writeln!(text, "  its screen: {}", crate::escape::path(screen));
    }
}

fn count(reports: &[Report]) -> String {
    let of = |class| reports.iter().filter(|report| report.verdict.class() == class).count();
    let mut parts = vec![format!("{} passed", of(Class::Passed))];
    for (class, word) in [(Class::Failed, "failed"), (Class::Error, "not made"), (Class::Skipped, "skipped")] {
        if of(class) > 0 {
            parts.push(format!("{} {word}", of(class)));
        }
    }
    format!("{}\n", parts.join(", "))
}
