//! `--html FILE`: all of a suite on one page, with a bar for each boot that says who ran when.
//!
//! One file that fetches nothing and runs nothing: it opens from a folder of artifacts, years later. It follows the
//! reader's choice of light or dark, and one column of it is as wide as a phone. Every text is escaped here, whoever wrote
//! it; bars are widths in percent, and the words below each bar say the same.

use super::super::suite::Suite;
use super::super::verdict::{Class, Report, seconds};
use super::timeline::{self, Bar};
use crate::formats::unpack::read_bounded;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_xml::escape::escape;
use std::fmt::Write;
use std::fs::File;
use std::path::Path;

/// What a PNG file begins with (PNG specification, 5.2).
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Bytes; a larger picture stays a path.
const LARGEST_PICTURE: u64 = 4 << 20;

const STYLE: &str = "\
:root { color-scheme: light dark; --text: #1b1f24; --quiet: #57606a; --page: #ffffff; --box: #f5f6f8; --line: #c9ced6; \
--good: #116329; --bad: #a40e26; --odd: #7d4e00 }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ee; --quiet: #a0a8b4; --page: #14171c; --box: #1f242b; \
--line: #444c56; --good: #6fdd8b; --bad: #ff9492; --odd: #f0b72f } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 66rem; padding: 1rem; font: 16px/1.45 system-ui, sans-serif; color: var(--text); background: var(--page) }
h1 { font-size: 1.4rem; margin: 0 0 .3rem } h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere }
p { margin: .3rem 0 } .quiet { color: var(--quiet); font-size: .9rem } a { color: inherit }
.passed { color: var(--good) } .failed, .error { color: var(--bad) } .flaky, .skipped { color: var(--odd) }
section { border: 1px solid var(--line); border-radius: .4rem; margin: .8rem 0; padding: .7rem .8rem; background: var(--box) }
.head { display: flex; flex-wrap: wrap; gap: .2rem 1rem; align-items: baseline; justify-content: space-between }
.bar { display: flex; height: 1.3rem; margin: .5rem 0 .2rem; border: 1px solid var(--line); background: var(--page) }
.bar i { display: block; border-right: 1px solid #ffffff; min-width: 0 }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; list-style: none; font-size: .9rem }
.legend i { display: inline-block; width: .9rem; height: .9rem; border: 1px solid var(--line); vertical-align: -.1rem; margin-right: .3rem }
ul { margin: .4rem 0; padding-left: 1.2rem } li { overflow-wrap: anywhere }
pre { margin: .4rem 0; padding: .5rem; overflow-x: auto; background: var(--page); border: 1px solid var(--line); font: .85rem/1.4 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
summary { cursor: pointer } img { max-width: 100%; border: 1px solid var(--line) }
";

/// The page.
pub fn render(suite: &Suite) -> String {
    let summary = escape(suite.summary());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>bootdisk test: {summary}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>bootdisk test</h1>\n<p><strong>{summary}</strong></p>\n"
    );
    let spec = suite.spec.iter().map(|spec| crate::escape::path(spec));
    let accelerators = suite.accelerators().into_iter().map(|all| format!("accelerator: {all}"));
    let took = format!("{} in all", seconds(suite.took));
    let facts: Vec<String> =
        spec.chain(accelerators).chain([took]).chain([format!("bootdisk {}", env!("CARGO_PKG_VERSION"))]).collect();
    _ = writeln!(page, "<p class=\"quiet\">{}</p>", escape(facts.join(" · ")));
    legend(&mut page, &suite.reports);
    let longest = timeline::longest(&suite.reports);
    // What failed comes first: a page is opened for that.
    let (told, rest): (Vec<&Report>, Vec<&Report>) = suite.reports.iter().partition(|report| is_told(report));
    told.iter().chain(&rest).for_each(|report| section(&mut page, report, longest));
    page.push_str("</body>\n</html>\n");
    page
}

fn is_told(report: &Report) -> bool {
    matches!(report.verdict.class(), Class::Failed | Class::Error) || report.is_flaky()
}

fn legend(page: &mut String, reports: &[Report]) {
    page.push_str("<ul class=\"legend\">\n");
    for (name, does, colour) in timeline::legend(reports) {
        _ = writeln!(page, "<li><i style=\"background:{colour}\"></i>{name}: {}</li>", escape(does));
    }
    page.push_str("</ul>\n");
}

fn class(report: &Report) -> &'static str {
    match report.verdict.class() {
        Class::Passed if report.is_flaky() => "flaky",
        Class::Passed => "passed",
        Class::Failed => "failed",
        Class::Error => "error",
        Class::Skipped => "skipped",
    }
}

fn section(page: &mut String, report: &Report, longest: f64) {
    let (class, word, time) = (class(report), report.word(), seconds(report.total()));
    _ = writeln!(
        page,
        "<section>\n<div class=\"head\"><h2>{}</h2><span><strong class=\"{class}\">{word}</strong> \
         <span class=\"quiet\">{time}</span></span></div>",
        escape(report.title())
    );
    let several = !report.before.is_empty();
    for (number, one) in (1..).zip(report.tries()) {
        if several {
            _ = writeln!(page, "<p><strong>Try {number}: {}</strong></p>", one.verdict.name());
        }
        boot(page, one, longest);
    }
    let snapshot = report.snapshot.as_ref().map(ToString::to_string);
    let expected = report.assumed.map(str::to_owned);
    for (label, text) in [("accelerator", report.accel.clone()), ("snapshot", snapshot), ("expected", expected)] {
        if let Some(text) = text {
            _ = writeln!(page, "<p class=\"quiet\">{label}: {}</p>", escape(text));
        }
    }
    if let Some(again) = report.again.as_ref().filter(|_| is_told(report)) {
        _ = writeln!(page, "<p class=\"quiet\">Again:</p>\n<pre>{}</pre>", escape(again));
    }
    page.push_str("</section>\n");
}

/// The bar of one machine, which begins when the machine did, and the bar in words.
fn bar(page: &mut String, report: &Report, longest: f64) {
    let bars = timeline::bars(&report.phases, longest);
    if !bars.is_empty() {
        page.push_str("<div class=\"bar\" aria-hidden=\"true\">");
        if !report.since.is_zero() {
            _ = write!(page, "<i style=\"width:{:.2}%\"></i>", report.since.as_secs_f64() / longest * 100.0);
        }
        for Bar { colour, percent } in bars {
            _ = write!(page, "<i style=\"width:{percent:.2}%;background:{colour}\"></i>");
        }
        page.push_str("</div>\n");
    }
    _ = writeln!(page, "<p class=\"quiet\">{}</p>", escape(timeline::words(&report.phases)));
}

/// The screen itself, in the page: its file may not come along.
fn picture(page: &mut String, screen: Option<&Path>) {
    let read = |path: &Path| read_bounded(File::open(path).ok()?, LARGEST_PICTURE).ok()?;
    if let Some(bytes) = screen.and_then(read).filter(|bytes| bytes.starts_with(PNG)) {
        let encoded = STANDARD.encode(bytes);
        _ = writeln!(page, "<img alt=\"The screen at the end\" src=\"data:image/png;base64,{encoded}\">");
    }
}

/// One test: a bar for each machine, what was expected, and what was said.
fn boot(page: &mut String, report: &Report, longest: f64) {
    for one in &report.machines {
        _ = writeln!(page, "<p>{}: {}</p>", escape(&one.name), one.verdict.name());
        bar(page, one, longest);
    }
    if report.machines.is_empty() {
        bar(page, report, longest);
    }
    let reasons = report.verdict.reasons();
    if !reasons.is_empty() {
        page.push_str("<ul>\n");
        reasons.iter().for_each(|reason| _ = writeln!(page, "<li>{}</li>", escape(reason)));
        page.push_str("</ul>\n");
    }
    if let Some(ended) = report.ended_in() {
        _ = writeln!(page, "<p>{}</p>", escape(ended));
    }
    if !report.last_lines.is_empty() {
        _ = writeln!(page, "<pre>{}</pre>", escape(report.last_lines.join("\n")));
    }
    if !report.expectations.is_empty() {
        page.push_str("<details><summary class=\"quiet\">Expectations</summary>\n<ul>\n");
        for held in &report.expectations {
            let (mark, when) = match held.at {
                Some(at) => ("held", format!(" at {}", seconds(at))),
                None => ("did not hold", String::new()),
            };
            let seen = held.seen.iter().map(|seen| format!(" ({seen})")).collect::<String>();
            _ = writeln!(page, "<li>{mark}{when}: {}</li>", escape(format!("{}{seen}", held.expectation)));
        }
        page.push_str("</ul>\n</details>\n");
    }
    let kept = [("logs", &report.logs, ".*.log"), ("screen", &report.screen, "")];
    for (label, path, end) in kept.into_iter().filter_map(|(label, path, end)| Some((label, path.as_ref()?, end))) {
        _ = writeln!(page, "<p class=\"quiet\">{label}: {}{end}</p>", escape(crate::escape::path(path)));
    }
    picture(page, report.screen.as_deref());
    if let Some(lost) = &report.lost {
        _ = writeln!(page, "<p class=\"failed\">not kept: {}</p>", escape(lost));
    }
}
