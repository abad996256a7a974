//! The table people read.

use super::super::phases::Phases;
use super::super::suite::Suite;
use super::super::verdict::{Class, Report, seconds};
use std::fmt::Write;

/// Widest column, in characters: longer names are cut for the table and whole in what explains a failure.
const WIDEST: usize = 60;

/// All reports: a line each, then what did not hold, and a last line that counts.
pub fn render(suite: &Suite, colour: bool) -> String {
    let reports = &suite.reports;
    let mut text = String::new();
    let shown: Vec<Report> = reports.iter().flat_map(with_machines).collect();
    let rows: Vec<[String; 5]> = shown.iter().map(row).collect();
    let header = ["test", "matrix", "verdict", "time", "phases"].map(str::to_owned);
    let all = || std::iter::once(&header).chain(&rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let varies = rows.iter().any(|row| !row[1].is_empty());
    for (number, [name, matrix, word, time, phases]) in all().enumerate() {
        let report = number.checked_sub(1).map(|number| &shown[number]);
        let (on, off) = if colour { paint(report) } else { ("", "") };
        let matrix = if varies { format!("{matrix}{}  ", fill(matrix, width(1))) } else { String::new() };
        let (after_name, after_word, before_time) = (fill(name, width(0)), fill(word, width(2)), fill(time, width(3)));
        _ = write!(text, "{name}{after_name}  {matrix}{on}{word}{after_word}{off}  {before_time}{time}");
        _ = writeln!(text, "{}", if phases.is_empty() { String::new() } else { format!("  {phases}") });
    }
    for report in reports {
        explain(&mut text, report);
    }
    text.push('\n');
    if let Some(accelerators) = suite.accelerators() {
        _ = writeln!(text, "accelerator: {accelerators}");
    }
    for snapshot in suite.snapshots() {
        _ = writeln!(text, "snapshot: {snapshot}");
    }
    _ = writeln!(text, "{}", suite.summary());
    text
}

/// A test, and below it its machines, where it has several.
fn with_machines(report: &Report) -> Vec<Report> {
    let below = report.machines.iter().map(|one| Report { name: format!("  {}", one.name), ..one.clone() });
    std::iter::once(report.clone()).chain(below).collect()
}

fn row(report: &Report) -> [String; 5] {
    let verdict = report.word().to_owned();
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
    // Where the kernel's clock was wrong its begin is not known.
    let until_pid1 = match (phases.kernel, phases.loader) {
        (Some(_), _) => "kernel",
        (None, Some(_)) => "loader and kernel",
        (None, None) => "boot",
    };
    let points = [
        ("restore", phases.restored),
        ("firmware", phases.loader),
        (before_kernel, phases.kernel),
        (until_pid1, phases.pid1),
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

fn paint(report: Option<&Report>) -> (&'static str, &'static str) {
    match report.map(|report| report.verdict.class()) {
        None => ("", ""),
        Some(Class::Passed) if report.is_some_and(Report::is_flaky) => ("\x1b[33m", "\x1b[0m"),
        Some(Class::Passed) => ("\x1b[32m", "\x1b[0m"),
        Some(Class::Skipped) => ("\x1b[33m", "\x1b[0m"),
        Some(Class::Failed | Class::Error) => ("\x1b[31m", "\x1b[0m"),
    }
}

/// What was used though nothing was said, and what did not hold.
fn explain(text: &mut String, report: &Report) {
    let reasons = report.verdict.reasons();
    if reasons.is_empty() && report.assumed.is_none() && report.lost.is_none() && report.before.is_empty() {
        return;
    }
    _ = writeln!(text, "\n{}:", report.title());
    if let (Some(why), Some(last)) = (report.assumed, report.expectations.last()) {
        _ = writeln!(text, "  expected: {} ({why})", last.expectation);
    }
    for (number, before) in (1..).zip(&report.before) {
        let reasons = before.verdict.reasons().join("; ");
        let (word, time) = (before.verdict.name(), seconds(before.elapsed));
        _ = writeln!(text, "  try {number}: {word} after {time}: {reasons}");
    }
    if !report.before.is_empty() {
        let (number, word) = (report.before.len() + 1, report.verdict.name());
        _ = writeln!(text, "  try {number}: {word} after {}", seconds(report.elapsed));
    }
    for reason in reasons {
        _ = writeln!(text, "  {reason}");
    }
    if let Some(ended) = report.ended_in() {
        _ = writeln!(text, "  {ended}");
    }
    if !report.last_lines.is_empty() {
        text.push_str("  the last lines:\n");
        report.last_lines.iter().for_each(|line| _ = writeln!(text, "    {line}"));
    }
    if let Some(hint) = &report.hint {
        _ = writeln!(text, "  hint: {hint}");
    }
    if let Some(again) = report.again.as_ref().filter(|_| report.verdict.may_differ()) {
        _ = writeln!(text, "  again: {again}");
    }
    if let Some(logs) = report.logs.as_ref().filter(|_| report.verdict.may_differ() || report.is_flaky()) {
        _ = writeln!(text, "  its logs: {}.*.log", crate::escape::path(logs));
    }
    if let Some(lost) = &report.lost {
        _ = writeln!(text, "  not kept: {lost}");
    }
    if let Some(screen) = &report.screen {
        _ = writeln!(text, "  its screen: {}", crate::escape::path(screen));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;
    use crate::qemu::MachineOptions;
    use crate::smoke::report::{html, json, junit};
    use crate::smoke::{Matrix, Share, Test, Verdict};

    fn report(name: &str, matrix: &[&str], verdict: Verdict) -> Report {
        let machine = MachineOptions::new(Architecture::X86_64, Default::default());
        let combination = Matrix::parse(matrix.iter().copied()).unwrap().combinations().remove(0);
        Test { name: name.into(), combination, ..Test::of(machine) }.unmade(verdict)
    }

    #[test]
    fn a_name_of_any_length_is_shown_and_cut_in_the_table_alone() {
        let long = "é".repeat(70_000);
        let kernel = format!("kernel={}\x1b[2J", "k".repeat(70_000));
        let suite =
            [report(&long, &[], Verdict::Error("why".into())), report("b", &[&kernel], Verdict::Skipped("why".into()))];
        let suite = Suite::of(suite.to_vec());
        let text = render(&suite, false);
        let rows: Vec<&str> = text.lines().take(3).collect();
        assert!(rows.iter().all(|row| row.chars().count() < 160) && rows[1].contains("é…"), "{rows:?}");
        assert!(
            text.contains(&long) && !text.contains('\x1b') && text.contains("\\x1b[2J"),
            "names are whole below, and safe"
        );
        assert!(json::render(&suite).contains(&long));
        assert!(String::from_utf8(junit::render(&suite).unwrap()).unwrap().contains(&long));
    }

    #[test]
    fn table_json_and_junit_say_the_same_of_what_could_not_be_made() {
        let suite = Suite::of(vec![report("a", &["bus=ahci"], Verdict::Error("no driver".into()))]);
        assert!(render(&suite, false).ends_with("\n0 passed, 1 could not be run\n"));
        let document: serde_json::Value = serde_json::from_str(&json::render(&suite)).unwrap();
        assert_eq!((&document["status"], &document["counts"]["error"]), (&125.into(), &1.into()));
        let xml = String::from_utf8(junit::render(&suite).unwrap()).unwrap();
        assert!(xml.contains("errors=\"1\" skipped=\"0\"") && xml.contains("<error type=\"error\""), "{xml}");
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let reports = [
            report("a", &["bus=ahci"], Verdict::Skipped("no".into())),
            report("long name", &["bus=nvme"], Verdict::Passed),
        ];
        let text = render(&Suite::of(reports.to_vec()), false);
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

    /// Each machine of several has a row below its test's, and its part of every report.
    #[test]
    fn machines_of_a_test_are_told_below_it() {
        let blamed = Verdict::QemuGone("QEMU has gone".into());
        let verdict = Verdict::Machine { name: "db".into(), verdict: Box::new(blamed.clone()) };
        let machines =
            vec![report("db", &[], blamed), report("app", &[], Verdict::Skipped("ended with the test".into()))];
        let suite = Suite::of(vec![Report { machines, assumed: None, ..report("shop", &[], verdict) }]);
        let text = render(&suite, false);
        let rows: Vec<&str> = text.lines().take(4).map(str::trim_end).collect();
        assert_eq!(rows[1..], ["shop   qemu-gone  0.0 s", "  db   qemu-gone  0.0 s", "  app  skipped    0.0 s"]);
        assert!(
            text.contains("\nshop:\n  db: QEMU has gone\n") && text.ends_with("\n0 passed, 1 could not be run\n"),
            "{text}"
        );
        let document: serde_json::Value = serde_json::from_str(&json::render(&suite)).unwrap();
        assert_eq!((&document["status"], &document["counts"]["skipped"]), (&125.into(), &0.into()));
        let machines = &document["tests"][0]["machines"];
        assert_eq!((&machines[0]["name"], &machines[1]["verdict"]), (&"db".into(), &"skipped".into()));
        let xml = String::from_utf8(junit::render(&suite).unwrap()).unwrap();
        assert!(xml.contains("message=\"db: QEMU has gone\"") && xml.contains("tests=\"1\""), "{xml}");
        assert!(xml.contains("\ndb: qemu-gone") && xml.contains("\napp: skipped"), "{xml}");
        let page = html::render(&suite);
        assert!(page.contains("<p>db: qemu-gone</p>") && page.contains("<li>db: QEMU has gone</li>"), "{page}");
    }

    /// A test that failed first is told in every report, and is a success.
    #[test]
    fn a_flaky_test_is_told_everywhere_and_counts_as_passed() {
        let failed = report("web", &["bus=nvme"], Verdict::Oops("[ 1.0] Oops: <0002>".into()));
        let flaky = Report { before: vec![failed.clone()], ..report("web", &["bus=nvme"], Verdict::Passed) };
        let lasting = Report { before: vec![failed.clone()], ..failed };
        let suite = Suite::of(vec![flaky.clone(), report("b", &["bus=nvme"], Verdict::Passed)]);
        let text = render(&suite, false);
        assert!(text.contains("web   bus=nvme  flaky "), "{text}");
        assert!(text.contains("try 1: oops after 0.0 s: the kernel is broken: [ 1.0] Oops"), "{text}");
        assert!(text.ends_with("\n2 passed (1 flaky)\n"), "{text}");
        let document: serde_json::Value = serde_json::from_str(&json::render(&suite)).unwrap();
        assert_eq!((&document["status"], &document["counts"]["flaky"]), (&0.into(), &1.into()));
        let test = &document["tests"][0];
        assert_eq!((&test["verdict"], &test["flaky"]), (&"passed".into(), &true.into()));
        assert_eq!(test["before"][0]["verdict"], "oops");
        let xml = String::from_utf8(junit::render(&suite).unwrap()).unwrap();
        assert!(xml.contains("<flakyFailure type=\"oops\" message=\"the kernel is broken: [ 1.0] Oops: &lt;"), "{xml}");
        assert!(xml.contains("failures=\"0\"") && !xml.contains("<failure"), "{xml}");

        let suite = Suite::of(vec![lasting]);
        let xml = String::from_utf8(junit::render(&suite).unwrap()).unwrap();
        assert!(xml.contains("failures=\"1\"") && xml.contains("<rerunFailure"), "{xml}");
        assert!(render(&suite, false).ends_with("\n0 passed, 1 failed\n"));
    }

    #[test]
    fn a_part_without_a_test_is_no_failure_and_says_what_it_is() {
        let share = Share { shard: "4/4".parse().unwrap(), all: 3, tests: 0, timed: 0 };
        let suite = Suite { share: Some(share), ..Suite::of(vec![]) };
        assert_eq!((suite.status(), Suite::of(vec![]).status()), (0, 125));
        assert!(render(&suite, false).ends_with("\n0 passed; shard 4/4: 0 of 3 tests, by their number\n"));
    }
}
