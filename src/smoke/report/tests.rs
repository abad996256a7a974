//! Each report of one suite: one that passed, one that was flaky, one that failed, one that was not made; with names that
//! are markup somewhere.

use super::super::{Matrix, Phases, Place, Report, Suite, Test, Verdict};
use super::{github, html, json, junit, table, tap};
use crate::arch::Architecture;
use crate::qemu::MachineOptions;
use std::path::Path;
use std::time::Duration;

const ODD: &str = "<b>&\"x\" | # %0A ::error:: `y` \\ *z*";

fn report(name: &str, verdict: Verdict) -> Report {
    let machine = MachineOptions::new(Architecture::X86_64, Default::default());
    let combination = Matrix::parse(["bus=nvme"]).unwrap().combinations().remove(0);
    let again = Some(format!("bootdisk test --filter '{name}'"));
    let place = Some(Place { file: "/repo/a, b/smoke.toml".into(), line: 7 });
    let unmade = Test { name: name.into(), combination, again, place, ..Test::of(machine) }.unmade(verdict);
    let [loader, kernel, pid1, workload, end] =
        [1, 4, 15, 17, 20].map(|tenths| Some(Duration::from_millis(tenths * 100)));
    let phases = Phases { loader, kernel, pid1, workload, end, ..Phases::default() };
    let accel = Some("tcg (asked for)".into());
    Report { phases, accel, elapsed: Duration::from_secs(2), ..unmade }
}

fn suite() -> Suite {
    let failed = |name: &str| {
        let lines = vec!["one".into(), "<i>two</i>\\x1b[2J %0A".into()];
        Report { last_lines: lines, ..report(name, Verdict::Oops("[ 1.0] Oops: 0002".into())) }
    };
    let flaky = Report { before: vec![failed("flaky")], ..report("flaky", Verdict::Passed) };
    let skipped =
        Report { accel: None, phases: Phases::default(), ..report("left", Verdict::Skipped("no # driver".into())) };
    let begun = std::time::UNIX_EPOCH + Duration::from_secs(1_795_950_000);
    let all = vec![report("fine", Verdict::Passed), flaky, failed(ODD), skipped];
    Suite { begun, host: Some("ci-1".into()), spec: Some("a/smoke.toml".into()), ..Suite::of(all) }
}

/// Every report says of the same suite how many passed, which was flaky, what failed and with which accelerator.
#[test]
fn every_report_says_what_passed_failed_and_was_flaky_and_what_executed_it() {
    let suite = suite();
    let xml = String::from_utf8(junit::render(&suite).unwrap()).unwrap();
    let texts = [
        ("table", table::render(&suite, false)),
        ("json", json::render(&suite)),
        ("junit", xml),
        ("tap", tap::render(&suite)),
        ("html", html::render(&suite)),
        ("summary", github::summary(&suite)),
    ];
    for (kind, text) in &texts {
        assert!(text.contains("flaky"), "{kind}: {text}");
        assert!(text.contains("tcg (asked for)"), "{kind}: {text}");
        assert!(text.contains("0002"), "{kind}: {text}");
        assert!(!text.contains('\u{1b}'), "{kind}: {text}");
        // In Markdown even a dash may be markup.
        assert!(text.replace("&#45;", "-").contains("bootdisk test --filter"), "{kind}: {text}");
    }
    assert_eq!(suite.summary(), "2 passed (1 flaky), 1 failed, 1 skipped");
}

#[test]
fn tap_has_a_point_for_each_boot_and_names_that_are_no_directive() {
    let text = tap::render(&suite());
    let points: Vec<&str> = text.lines().filter(|line| !line.starts_with([' ', '#'])).collect();
    let odd = "<b>&\"x\" | \\# %0A ::error:: `y` \\\\\\\\ *z*";
    assert_eq!(
        points,
        [
            "TAP version 14",
            "1..4",
            "ok 1 - fine bus=nvme",
            "ok 2 - flaky bus=nvme",
            &format!("not ok 3 - {odd} bus=nvme"),
            "ok 4 - left bus=nvme # SKIP no \\# driver"
        ]
    );
    assert!(text.contains("\n  tries_before: [\"oops: the kernel is broken: [ 1.0] Oops: 0002\"]\n"), "{text}");
    assert_eq!(text.matches("\n  ---\n").count(), text.matches("\n  ...\n").count());
    assert!(tap::render(&Suite::of(vec![])).contains("\n1..0 # SKIP "));
}

#[test]
fn annotations_are_one_line_each_and_end_no_property() {
    let name = |file: &Path| file.strip_prefix("/repo").unwrap().display().to_string();
    let text = github::annotations(&suite(), name);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("::warning file=a%2C b/smoke.toml,line=7,title=flaky bus=nvme%3A flaky::the kernel"));
    let title = "title=<b>&\"x\" | # %250A %3A%3Aerror%3A%3A `y` \\\\ *z* bus=nvme%3A oops::";
    assert!(lines[1].contains(title), "{text}");
    assert!(lines[1].contains("%0Aone%0A") && lines[1].contains(" %250A%0Aagain: "), "{text}");
}

#[test]
fn a_summary_has_no_markup_but_its_own_and_an_end() {
    let text = github::summary(&suite());
    assert!(!text.contains("<b>") && !text.contains("*z*") && !text.contains("`y`"), "{text}");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().all(|row| row.matches('|').count() == 5), "{rows:?}");
    let long = "é".repeat(1000);
    let many = Suite::of((0..2000).map(|_| report(&long, Verdict::Passed)).collect());
    let text = github::summary(&many);
    assert!(text.len() < 1 << 20 && text.contains("There is more than a summary takes."));
}

#[test]
fn the_page_is_markup_that_ends_fetches_nothing_and_shows_failures_first() {
    let page = html::render(&suite());
    assert!(!page.contains("<b>") && !page.contains("<i>two"), "{page}");
    for fetched in ["<script", "<link", "<img", "src=", "url(", "http:", "https:", "@import"] {
        assert!(!page.contains(fetched), "{fetched}: {page}");
    }
    for element in ["section", "ul", "li", "p", "pre", "div", "details", "h2", "i", "span"] {
        let (begun, ended) = (format!("<{element}"), format!("</{element}>"));
        let begun = page
            .match_indices(&begun)
            .filter(|(at, _)| matches!(page[at + begun.len()..].chars().next(), Some(' ' | '>')))
            .count();
        assert_eq!(begun, page.matches(&ended).count(), "{element}");
    }
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text} in {page}"));
    assert!(at("<h2>flaky") < at("<h2>fine") && at("<h2>&lt;b&gt;") < at("<h2>fine"));
    // Five parts of a boot that is as long as the longest.
    let widths = page.split("width:").filter_map(|rest| rest.split_once('%')?.0.parse::<f64>().ok());
    let widths: Vec<f64> = widths.filter(|width| *width != 100.0).collect();
    assert_eq!(widths[..5], [5.0, 15.0, 55.0, 10.0, 15.0], "{widths:?}");
}

#[test]
fn a_screen_is_in_the_page_when_it_is_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let page = |bytes: &[u8]| {
        let screen = dir.path().join("screen.png");
        std::fs::write(&screen, bytes).unwrap();
        html::render(&Suite::of(vec![Report { screen: Some(screen), ..report("x", Verdict::Oops("x".into())) }]))
    };
    let picture = [&b"\x89PNG\r\n\x1a\n"[..], &[0xff; 3]].concat();
    assert!(
        page(&picture).contains("<img alt=\"The screen at the end\" src=\"data:image/png;base64,iVBORw0KGgr///8=\">")
    );
    for other in [&b""[..], b"<script>", &[&picture[..], &vec![0; 4 << 20]].concat()] {
        let page = page(other);
        assert!(!page.contains("<img") && page.contains("screen.png"), "{}", other.len());
    }
}

#[test]
fn junit_has_the_suites_facts_and_every_try() {
    let xml = String::from_utf8(junit::render(&suite()).unwrap()).unwrap();
    for wanted in [
        "timestamp=\"2026-11-29T",
        "hostname=\"ci-1\"",
        "file=\"a/smoke.toml\"",
        "<property name=\"accelerator\" value=\"tcg (asked for)\"/>",
        "<flakyFailure type=\"oops\"",
        "<stackTrace>the kernel is broken",
        "failures=\"1\"",
    ] {
        assert!(xml.contains(wanted), "no {wanted} in {xml}");
    }
}

#[test]
fn where_a_boot_ended_is_told_as_far_as_it_was_seen() {
    let verdict = || Verdict::Silent(Duration::ZERO);
    let full = report("x", verdict()).phases;
    for (phases, verdict, ended) in [
        (full, verdict(), Some("in the workload")),
        (Phases { workload: None, ..full }, verdict(), Some("in PID 1")),
        (Phases { workload: None, pid1: None, kernel: None, ..full }, verdict(), Some("in the loader or the kernel")),
        (
            Phases { workload: None, pid1: None, kernel: None, ..full },
            Verdict::Panic("x".into()),
            Some("in the kernel"),
        ),
        (Phases { end: full.end, ..Phases::default() }, verdict(), Some("in the firmware")),
        (Phases::default(), verdict(), None),
        (full, Verdict::Passed, None),
    ] {
        let told = Report { phases, ..report("x", verdict) }.ended_in();
        let wanted = ended.map(|ended| format!("it ended {ended}, 2.0 s after the machine's start"));
        assert_eq!(told, wanted, "{phases:?}");
    }
}
