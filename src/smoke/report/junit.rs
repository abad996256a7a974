//! `--junit FILE`: the XML that CI systems read. One suite, a case for each boot; the class name is the test's, the name
//! its place in the matrix.
//!
//! Source: the schema of Jenkins' xunit plugin, junit-10.xsd, which GitLab and others follow.

use super::super::verdict::{Class, Report, seconds};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use std::io;
use std::time::Duration;

/// All reports as one document.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn render(reports: &[Report]) -> io::Result<Vec<u8>> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let count = |class| reports.iter().filter(|report| report.verdict.class() == class).count().to_string();
    let time = |time: Duration| format!("{:.3}", time.as_secs_f64());
    let total = reports.iter().map(|report| report.elapsed).sum();
    let mut suite = BytesStart::new("testsuite");
    suite.push_attribute(("name", "bootdisk test"));
    suite.push_attribute(("tests", &*reports.len().to_string()));
    suite.push_attribute(("failures", &*count(Class::Failed)));
    suite.push_attribute(("errors", &*count(Class::Error)));
    suite.push_attribute(("skipped", &*count(Class::Skipped)));
    suite.push_attribute(("time", &*time(total)));
    xml.write_event(Event::Start(BytesStart::new("testsuites")))?;
    xml.write_event(Event::Start(suite))?;
    for report in reports {
        let mut case = BytesStart::new("testcase");
        let combination = report.combination.to_string();
        case.push_attribute(("classname", &*clean(&report.name)));
        case.push_attribute(("name", if combination.is_empty() { "boot" } else { &*combination }));
        case.push_attribute(("time", &*time(report.elapsed)));
        xml.write_event(Event::Start(case))?;
        verdict(&mut xml, report)?;
        xml.write_event(Event::End(BytesEnd::new("testcase")))?;
    }
    xml.write_event(Event::End(BytesEnd::new("testsuite")))?;
    xml.write_event(Event::End(BytesEnd::new("testsuites")))?;
    let mut document = xml.into_inner();
    document.push(b'\n');
    Ok(document)
}

fn verdict(xml: &mut Writer<Vec<u8>>, report: &Report) -> io::Result<()> {
    let reasons = report.verdict.reasons();
    let element = match report.verdict.class() {
        Class::Passed => None,
        Class::Failed => Some("failure"),
        Class::Error => Some("error"),
        Class::Skipped => Some("skipped"),
    };
    if let Some(element) = element {
        let mut start = BytesStart::new(element);
        if element != "skipped" {
            start.push_attribute(("type", report.verdict.name()));
        }
        start.push_attribute(("message", &*clean(&reasons.join("; "))));
        text(xml, start, &[reasons, report.last_lines.clone()].concat().join("\n"))?;
    }
    let held = report.expectations.iter().map(|held| match (held.at, &held.seen) {
        (Some(at), _) => format!("held at {}: {}", seconds(at), held.expectation),
        (None, Some(seen)) => format!("did not hold: {} ({seen})", held.expectation),
        (None, None) => format!("did not hold: {}", held.expectation),
    });
    let lost = report.lost.iter().map(|lost| format!("not kept: {lost}"));
    let phases = report.phases.points().map(|(name, at)| format!("{name} at {}", seconds(at)));
    text(xml, BytesStart::new("system-out"), &held.chain(phases).chain(lost).collect::<Vec<_>>().join("\n"))
}

fn text(xml: &mut Writer<Vec<u8>>, start: BytesStart<'_>, text: &str) -> io::Result<()> {
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
