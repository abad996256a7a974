//! The table people read.

use super::super::phases::Phases;
use super::super::verdict::{Class, Report, seconds};
use std::fmt::Write;

/// Widest column, in characters: longer names are cut for the table and whole in what explains a failure.
const WIDEST: usize = 60;

/// All reports: a line each, then what did not hold, and a last line that counts.
pub fn render(reports: &[Report], colour: bool) -> String {
    let mut text = String::new();
    let rows: Vec<[String; 5]> = reports.iter().map(row).collect();
    let header = ["test", "matrix", "verdict", "time", "phases"].map(str::to_owned);
    let all = || std::iter::once(&header).chain(&rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let varies = rows.iter().any(|row| !row[1].is_empty());
    for (number, [name, matrix, word, time, phases]) in all().enumerate() {
        let verdict = number.checked_sub(1).map(|number| reports[number].verdict.class());
        let (on, off) = if colour { paint(verdict) } else { ("", "") };
        let matrix = if varies { format!("{matrix}{}  ", fill(matrix, width(1))) } else { String::new() };
        let (after_name, after_word, before_time) = (fill(name, width(0)), fill(word, width(2)), fill(time, width(3)));
        _ = write!(text, "{name}{after_name}  {matrix}{on}{word}{after_word}{off}  {before_time}{time}");
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
    let verdict = report.verdict.name().to_owned();
    let (name, combination) = (shown(&report.name), shown(&report.combination.to_string()));
    [cut(name, WIDEST), cut(combination, WIDEST), verdict, seconds(report.elapsed), phases(&report.phases)]
}

pub(super) fn shown(text: &str) -> String {
    crate::escape::escape(text.as_bytes())
}

/// At most so many characters of it.
pub(super) fn cut(text: String, widest: usize) -> String {
    match text.char_indices().nth(widest) {
        None => text,
        Some(_) => text.chars().take(widest - 1).chain(['…']).collect(),
    }
}

/// What is missing of a column's width: a width of `format!` has 16 bits.
fn fill(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(text.chars().count()))
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
        let combination = shown(&report.combination.to_string());
        let space = if combination.is_empty() { "" } else { " " };
        format!("{}{space}{combination}", shown(&report.name))
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
    if let Some(hint) = &report.hint {
        _ = writeln!(text, "  hint: {hint}");
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
    for (class, word) in [(Class::Failed, "failed"), (Class::Error, "could not be run"), (Class::Skipped, "skipped")] {
        if of(class) > 0 {
            parts.push(format!("{} {word}", of(class)));
        }
    }
    format!("{}\n", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;
    use crate::qemu::MachineOptions;
    use crate::smoke::report::{json, junit};
    use crate::smoke::{Matrix, Test, Verdict};

    fn report(name: &str, matrix: &[&str], verdict: Verdict) -> Report {
        let machine = MachineOptions::new(Architecture::X86_64, Default::default());
        let combination = Matrix::parse(matrix.iter().copied()).unwrap().combinations().remove(0);
        Test { name: name.into(), combination, ..Test::of(machine) }.unmade(verdict)
    }

    #[test]
    fn a_name_of_any_length_is_shown_and_cut_in_the_table_alone() {
        let long = "é".repeat(70_000);
        let kernel = format!("kernel={}\x1b[2J", "k".repeat(70_000));
        let reports =
            [report(&long, &[], Verdict::Error("why".into())), report("b", &[&kernel], Verdict::Skipped("why".into()))];
        let text = render(&reports, false);
        let rows: Vec<&str> = text.lines().take(3).collect();
        assert!(rows.iter().all(|row| row.chars().count() < 160) && rows[1].contains("é…"), "{rows:?}");
        assert!(
            text.contains(&long) && !text.contains('\x1b') && text.contains("\\x1b[2J"),
            "names are whole below, and safe"
        );
        assert!(json::render(&reports).contains(&long));
        assert!(String::from_utf8(junit::render(&reports).unwrap()).unwrap().contains(&long));
    }

    #[test]
    fn table_json_and_junit_say_the_same_of_what_could_not_be_made() {
        let reports = [report("a", &["bus=ahci"], Verdict::Error("no driver".into()))];
        assert!(render(&reports, false).ends_with("\n0 passed, 1 could not be run\n"));
        let document: serde_json::Value = serde_json::from_str(&json::render(&reports)).unwrap();
        assert_eq!((&document["status"], &document["counts"]["error"]), (&125.into(), &1.into()));
        let xml = String::from_utf8(junit::render(&reports).unwrap()).unwrap();
        assert!(xml.contains("errors=\"1\" skipped=\"0\"") && xml.contains("<error type=\"error\""), "{xml}");
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let reports = [
            report("a", &["bus=ahci"], Verdict::Skipped("no".into())),
            report("long name", &["bus=nvme"], Verdict::Passed),
        ];
        let text = render(&reports, false);
        let rows: Vec<&str> = text.lines().take(3).collect();
        assert_eq!(
            rows,
            [
                "test       matrix    verdict   time  phases",
                "a          bus=ahci  skipped  0.0 s",
                "long name  bus=nvme  passed   0.0 s"
            ]
        );
    }
}
