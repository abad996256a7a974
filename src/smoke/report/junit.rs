//! `--junit FILE`: the XML that CI systems read. One suite, a case for each boot; the class name is the test's, the name
//! its place in the matrix.
//!
//! A case has what Surefire's schema has, in its order: a failed try that another followed is a `flakyFailure` or
//! `flakyError` when the last one passed, else a `rerunFailure` or `rerunError`. The suite's attributes are those of the
//! schema of Jenkins' xunit plugin, which other systems follow. `[[ATTACHMENT|FILE]]` is GitLab's, for pictures.
//!
//! Sources: surefire-test-report-3.0.xsd of Maven Surefire, junit-10.xsd of Jenkins' xunit plugin.

use super::super::suite::Suite;
use super::super::verdict::{Class, Report, seconds};
use jiff::Timestamp;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use std::io;
use std::time::{Duration, SystemTime};

type Xml = Writer<Vec<u8>>;

/// All reports as one document.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn render(suite: &Suite) -> io::Result<Vec<u8>> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let count = |class| suite.count(class).to_string();
    let total = suite.reports.iter().map(Report::total).sum();
    let mut start = BytesStart::new("testsuite");
    start.push_attribute(("name", "bootdisk test"));
    start.push_attribute(("tests", &*suite.reports.len().to_string()));
    start.push_attribute(("failures", &*count(Class::Failed)));
    start.push_attribute(("errors", &*count(Class::Error)));
    start.push_attribute(("skipped", &*count(Class::Skipped)));
    start.push_attribute(("time", &*time(total)));
    if let Some(timestamp) = timestamp(suite.begun) {
        start.push_attribute(("timestamp", &*timestamp));
    }
    if let Some(host) = &suite.host {
        start.push_attribute(("hostname", &*clean(host)));
    }
    if let Some(spec) = &suite.spec {
        start.push_attribute(("file", &*clean(&crate::escape::path(spec))));
    }
    xml.write_event(Event::Start(BytesStart::new("testsuites")))?;
    xml.write_event(Event::Start(start))?;
    properties(&mut xml, suite)?;
    suite.reports.iter().try_for_each(|report| case(&mut xml, report))?;
    xml.write_event(Event::End(BytesEnd::new("testsuite")))?;
    xml.write_event(Event::End(BytesEnd::new("testsuites")))?;
    let mut document = xml.into_inner();
    document.push(b'\n');
    Ok(document)
}

fn time(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

/// `2026-11-29T22:00:00`, of UTC; nothing where the beginning is not known.
fn timestamp(begun: SystemTime) -> Option<String> {
    let known = begun != SystemTime::UNIX_EPOCH;
    let begun = Timestamp::try_from(begun).ok().filter(|_| known)?;
    Some(begun.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

fn properties(xml: &mut Xml, suite: &Suite) -> io::Result<()> {
    let accelerators = suite.accelerators();
    let share = suite.share.as_ref().map(ToString::to_string);
    let all = [
        ("bootdisk", Some(env!("CARGO_PKG_VERSION"))),
        ("accelerator", accelerators.as_deref()),
        ("shard", share.as_deref()),
    ];
    xml.write_event(Event::Start(BytesStart::new("properties")))?;
    for (name, value) in all.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let mut property = BytesStart::new("property");
        property.push_attribute(("name", name));
        property.push_attribute(("value", &*clean(value)));
        xml.write_event(Event::Empty(property))?;
    }
    xml.write_event(Event::End(BytesEnd::new("properties")))
}

fn case(xml: &mut Xml, report: &Report) -> io::Result<()> {
    let mut case = BytesStart::new("testcase");
    let combination = report.combination.to_string();
    case.push_attribute(("classname", &*clean(&report.name)));
    case.push_attribute(("name", if combination.is_empty() { "boot" } else { &*combination }));
    case.push_attribute(("time", &*time(report.elapsed)));
    xml.write_event(Event::Start(case))?;
    let class = report.verdict.class();
    let again = if report.is_flaky() { ["flakyFailure", "flakyError"] } else { ["rerunFailure", "rerunError"] };
    if class == Class::Failed {
        outcome(xml, report, "failure")?;
    }
    tries(xml, report, Class::Failed, again[0])?;
    match class {
        Class::Skipped => outcome(xml, report, "skipped")?,
        Class::Error => outcome(xml, report, "error")?,
        Class::Passed | Class::Failed => {}
    }
    tries(xml, report, Class::Error, again[1])?;
    text(xml, BytesStart::new("system-out"), &said(report).join("\n"))?;
    xml.write_event(Event::End(BytesEnd::new("testcase")))
}

/// The element of a verdict: its reasons, and the last lines.
fn outcome(xml: &mut Xml, report: &Report, element: &'static str) -> io::Result<()> {
    let mut start = BytesStart::new(element);
    if element != "skipped" {
        start.push_attribute(("type", report.verdict.name()));
    }
    start.push_attribute(("message", &*clean(&report.verdict.reasons().join("; "))));
    text(xml, start, &evidence(report))
}

/// The tries before the last one that ended in this way.
fn tries(xml: &mut Xml, report: &Report, class: Class, element: &'static str) -> io::Result<()> {
    for one in report.before.iter().filter(|one| one.verdict.class() == class) {
        let mut start = BytesStart::new(element);
        start.push_attribute(("type", one.verdict.name()));
        start.push_attribute(("message", &*clean(&one.verdict.reasons().join("; "))));
        xml.write_event(Event::Start(start))?;
        text(xml, BytesStart::new("stackTrace"), &evidence(one))?;
        text(xml, BytesStart::new("system-out"), &said(one).join("\n"))?;
        xml.write_event(Event::End(BytesEnd::new(element)))?;
    }
    Ok(())
}

fn evidence(report: &Report) -> String {
    [report.verdict.reasons(), report.last_lines.clone()].concat().join("\n")
}

/// What became of each expectation, when each part of the boot was reached, and where there is more.
fn said(report: &Report) -> Vec<String> {
    let held = report.expectations.iter().map(|held| match (held.at, &held.seen) {
        (Some(at), _) => format!("held at {}: {}", seconds(at), held.expectation),
        (None, Some(seen)) => format!("did not hold: {} ({seen})", held.expectation),
        (None, None) => format!("did not hold: {}", held.expectation),
    });
    let phases = report.phases.points().map(|(name, at)| format!("{name} at {}", seconds(at)));
    let accel = report.accel.iter().map(|accel| format!("accelerator: {accel}"));
    let snapshot = report.snapshot.iter().map(|origin| format!("snapshot: {origin}"));
    let again = report.again.iter().filter(|_| !report.verdict.reasons().is_empty());
    let again = again.map(|command| format!("again: {command}"));
    let lost = report.lost.iter().map(|lost| format!("not kept: {lost}"));
    let screen = report.screen.iter().map(|path| format!("[[ATTACHMENT|{}]]", crate::escape::path(path)));
    let machines = report.machines.iter().map(machine);
    held.chain(phases).chain(machines).chain(accel).chain(snapshot).chain(again).chain(lost).chain(screen).collect()
}

/// One machine of several: how it ended, and when it came how far, from its own start on.
fn machine(report: &Report) -> String {
    let phases = report.phases.points().map(|(name, at)| format!(", {name} at {}", seconds(at)));
    format!(
        "{}: {}, started at {}{}",
        report.name,
        report.verdict.name(),
        seconds(report.since),
        phases.collect::<String>()
    )
}

fn text(xml: &mut Xml, start: BytesStart<'_>, text: &str) -> io::Result<()> {
    let end = start.to_end().into_owned();
    xml.write_event(Event::Start(start))?;
    xml.write_event(Event::Text(BytesText::new(&clean(text))))?;
    xml.write_event(Event::End(end))
}

/// XML 1.0 has no way to write most control characters.
fn clean(text: &str) -> String {
    let allowed = |c: char| c == '\n' || c == '\t' || !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if allowed(c) { c } else { '\u{fffd}' }).collect()
}
