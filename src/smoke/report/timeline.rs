//! `--timeline FILE`: who ran when, from the machine's start to its end, as a picture (SVG 1.1).
//!
//! ```text
//! hello  firmware=bios                                             passed
//! ▓▓░░░░▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓░░░░▓▓
//! firmware 0.1 s, loader 0.3 s, kernel 1.1 s, PID 1 0.2 s, workload 0.1 s
//! ```
//!
//! The words below a bar say what the bar shows, and the description says it once more for who cannot see either. Areas
//! alternate between dark and light, as a colour alone tells some readers nothing. The plate is the picture's own, for
//! pages in light and dark. Nothing is fetched and nothing runs.

use super::super::phases::Phases;
use super::super::verdict::{Report, seconds};
use super::table::{cut, shown};
use quick_xml::escape::escape;
use std::fmt::Write;
use std::time::Duration;

/// Sizes in pixels: narrow, so that the words can be read on a phone.
const WIDTH: f64 = 560.0;
const LEFT: f64 = 20.0;
const BAR: f64 = WIDTH - 2.0 * LEFT;
const LEGEND: usize = 20;
const ROW: usize = 72;
const AXIS: usize = 34;
/// Longest name above a bar, in characters.
const WIDEST: usize = 56;
/// Most marks of the axis.
const MARKS: f64 = 8.0;

/// Somebody whose instructions a processor executes.
struct Who {
    name: &'static str,
    does: &'static str,
    colour: &'static str,
}

/// All of them, in the order of boots.
const ALL: [Who; 6] = [
    Who { name: "restore", does: "QEMU: puts a saved machine back, instead of a boot", colour: "#8e6bbf" },
    Who { name: "firmware", does: "SeaBIOS or UEFI: finds the disk, starts what is on it", colour: "#4a525c" },
    Who { name: "loader", does: "boot stage, systemd-boot or QEMU, until Linux is unpacked", colour: "#e6b04a" },
    Who { name: "kernel", does: "Linux: processors, memory, drivers, then the initramfs", colour: "#2459a0" },
    Who { name: "PID 1", does: "bootdisk's: modules, root file system, network", colour: "#a9dcb3" },
    Who { name: "workload", does: "what the image starts, until the machine ends", colour: "#14532d" },
];

/// The time of one, or of several whose borders cannot be seen.
#[derive(Debug, PartialEq, Eq)]
struct Stretch {
    first: usize,
    behind: usize,
    from: Duration,
    to: Duration,
}

impl Stretch {
    fn words(&self) -> String {
        let names: Vec<&str> = ALL[self.first..self.behind].iter().map(|who| who.name).collect();
        format!("{} {}", names.join(" and "), seconds(self.to - self.from))
    }
}

/// Who ran from when to when; empty for a machine that was not started.
fn stretches(phases: &Phases) -> Vec<Stretch> {
    let begins = match phases.restored {
        None => [None, Some(Duration::ZERO), phases.loader, phases.kernel, phases.pid1, phases.workload],
        // Who ran before the snapshot did not run here.
        Some(restored) => [Some(Duration::ZERO), None, None, None, None, Some(restored)],
    };
    let mut found: Vec<Stretch> = Vec::new();
    let Some(end) = phases.end else { return found };
    for (who, begin) in begins.into_iter().enumerate().filter_map(|(who, begin)| Some((who, begin?))) {
        // The kernel's begin is reckoned backwards, and may come out before what was seen.
        let from = found.last().map_or(begin, |before| begin.max(before.from)).min(end);
        if let Some(before) = found.last_mut() {
            // Between a machine that is put back and its workload nobody runs.
            before.behind = if phases.restored.is_some() { before.first + 1 } else { who };
            before.to = from;
        }
        found.push(Stretch { first: who, behind: who + 1, from, to: end });
    }
    found
}

/// A part of a boot as a part of a bar.
pub(super) struct Bar {
    pub(super) colour: &'static str,
    /// Of the bar's width.
    pub(super) percent: f64,
}

/// The parts of a boot, where `longest` seconds are the whole width.
pub(super) fn bars(phases: &Phases, longest: f64) -> Vec<Bar> {
    let bar = |stretch: &Stretch| Bar {
        colour: ALL[stretch.first].colour,
        percent: (stretch.to - stretch.from).as_secs_f64() / longest * 100.0,
    };
    stretches(phases).iter().map(bar).collect()
}

/// Everybody that may run in these tests.
fn everybody(reports: &[Report]) -> &'static [Who] {
    let restored = |report: &Report| report.tries().any(|one| one.phases.restored.is_some());
    if reports.iter().any(restored) { &ALL } else { &ALL[1..] }
}

/// The same: name, what it does, colour.
pub(super) fn legend(reports: &[Report]) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    everybody(reports).iter().map(|who| (who.name, who.does, who.colour))
}

/// Seconds of the longest test, at least a tenth of one.
pub(super) fn longest(reports: &[Report]) -> f64 {
    let boots = reports.iter().flat_map(Report::tries).flat_map(Report::boots);
    let ends = boots.filter_map(|report| Some(report.since + report.phases.end?));
    ends.max().unwrap_or_default().as_secs_f64().max(0.1)
}

/// All boots as one picture.
pub fn render(reports: &[Report]) -> String {
    let reports: Vec<Report> = reports.iter().flat_map(Report::boots).collect();
    let reports = &reports[..];
    let ends = reports.iter().filter_map(|report| Some(report.since + report.phases.end?));
    let longest = ends.max().unwrap_or_default().as_secs_f64().max(0.1);
    let legend = everybody(reports);
    let rows_at = 40 + LEGEND * legend.len();
    let axis_at = rows_at + ROW * reports.len();
    let height = axis_at + AXIS;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#222222\" role=\"img\" aria-labelledby=\"title description\">\n\
         <title id=\"title\">Who runs, from the machine's start to its end</title>\n<desc id=\"description\">"
    );
    reports.iter().for_each(|report| _ = write!(svg, "{}. ", escape(sentence(report))));
    _ = writeln!(svg, "</desc>\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>");
    draw_legend(&mut svg, legend);
    for (number, report) in reports.iter().enumerate() {
        row(&mut svg, report, (rows_at + ROW * number) as f64, BAR / longest);
    }
    axis(&mut svg, longest, axis_at as f64);
    svg.push_str("</svg>\n");
    svg
}

/// Test and combination, printable.
fn name(report: &Report) -> String {
    let combination = shown(&report.combination.to_string());
    format!("{}  {combination}", shown(&report.name)).trim_end().to_owned()
}

/// How it ended, and who had how long.
fn sentence(report: &Report) -> String {
    let words = words(&report.phases);
    format!("{}, {}: {words}", name(report), report.verdict.name())
}

pub(super) fn words(phases: &Phases) -> String {
    match stretches(phases) {
        none if none.is_empty() => "the machine was not started".into(),
        some => some.iter().map(Stretch::words).collect::<Vec<_>>().join(", "),
    }
}

fn draw_legend(svg: &mut String, all: &[Who]) {
    for (number, who) in all.iter().enumerate() {
        let y = 16 + LEGEND * number;
        area(svg, LEFT, y as f64, 14.0, 14.0, who.colour);
        _ = writeln!(svg, "<text x=\"42\" y=\"{}\" font-weight=\"bold\">{}</text>", y + 12, who.name);
        _ = writeln!(svg, "<text x=\"116\" y=\"{}\">{}</text>", y + 12, escape(who.does));
    }
}

fn area(svg: &mut String, x: f64, y: f64, width: f64, height: f64, colour: &str) {
    _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\" stroke=\"#222222\" \
         stroke-width=\"0.5\"/>"
    );
}

/// A boot: its name, its bar, and the bar in words. `scale` is pixels a second.
fn row(svg: &mut String, report: &Report, top: f64, scale: f64) {
    let name = cut(name(report), WIDEST);
    _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>", top + 12.0, escape(name));
    let (right, verdict) = (WIDTH - LEFT, report.verdict.name());
    _ = writeln!(svg, "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{verdict}</text>", top + 12.0);
    for stretch in stretches(&report.phases) {
        let [from, to] = [stretch.from, stretch.to].map(|at| (report.since + at).as_secs_f64() * scale);
        area(svg, LEFT + from, top + 19.0, to - from, 20.0, ALL[stretch.first].colour);
    }
    _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\">{}</text>", top + 55.0, words(&report.phases));
}

/// Marks at 1, 2 or 5 of a power of ten.
fn axis(svg: &mut String, longest: f64, top: f64) {
    let mut steps = (-1..).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)));
    let step = steps.find(|step| longest / step <= MARKS).unwrap_or(longest);
    _ = writeln!(svg, "<path d=\"M{LEFT} {top} h{BAR}\" stroke=\"#222222\"/>");
    for mark in (0..).map(|number| f64::from(number) * step).take_while(|mark| *mark <= longest) {
        let x = LEFT + mark * BAR / longest;
        _ = writeln!(svg, "<path d=\"M{x:.1} {top} v5\" stroke=\"#222222\"/>");
        let digits = usize::from(step < 1.0);
        _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{mark:.digits$}{}</text>",
            top + 19.0,
            if mark == 0.0 { "" } else { " s" }
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;
    use crate::qemu::MachineOptions;
    use crate::smoke::{Matrix, Test, Verdict};

    fn report(name: &str, phases: Phases) -> Report {
        let machine = MachineOptions::new(Architecture::X86_64, Default::default());
        let combination = Matrix::parse(["firmware=bios"]).unwrap().combinations().remove(0);
        let unmade = Test { name: name.into(), combination, ..Test::of(machine) }.unmade(Verdict::Passed);
        Report { phases, ..unmade }
    }

    /// Tenths of a second at which loader, kernel, PID 1 and workload began, and the machine ended.
    fn phases(tenths: [Option<u64>; 5]) -> Phases {
        let [loader, kernel, pid1, workload, end] = tenths.map(|at| Some(Duration::from_millis(at? * 100)));
        Phases { loader, kernel, pid1, workload, end, ..Phases::default() }
    }

    #[test]
    fn who_ran_is_told_as_far_as_it_was_seen() {
        for (tenths, expected) in [
            (
                [Some(1), Some(4), Some(15), Some(17), Some(20)],
                "firmware 0.1 s, loader 0.3 s, kernel 1.1 s, PID 1 0.2 s, workload 0.3 s",
            ),
            // A firmware that does not say when it is done; a kernel that never comes to PID 1; nothing at all.
            (
                [None, Some(4), Some(15), Some(17), Some(20)],
                "firmware and loader 0.4 s, kernel 1.1 s, PID 1 0.2 s, workload 0.3 s",
            ),
            ([Some(1), None, None, None, Some(90)], "firmware 0.1 s, loader 8.9 s"),
            ([None, None, None, None, Some(90)], "firmware 9.0 s"),
            ([None, None, None, None, None], "the machine was not started"),
            // Reckoned backwards, and before what was seen.
            ([Some(5), Some(4), Some(15), None, Some(20)], "firmware 0.5 s, loader 0.0 s, kernel 1.0 s, PID 1 0.5 s"),
            ([Some(5), Some(6), Some(30), None, Some(20)], "firmware 0.5 s, loader 0.1 s, kernel 1.4 s, PID 1 0.0 s"),
        ] {
            assert_eq!(words(&phases(tenths)), expected, "{tenths:?}");
        }
        let restored = Some(Duration::from_millis(300));
        let goes_on = Phases { restored, end: Some(Duration::from_millis(700)), ..Phases::default() };
        assert_eq!(words(&goes_on), "restore 0.3 s, workload 0.4 s");
        let names = |phases| legend(&[report("a", phases)]).map(|(name, ..)| name).collect::<Vec<_>>();
        assert_eq!((names(goes_on)[0], names(Phases::default())[0]), ("restore", "firmware"));
    }

    #[test]
    fn bars_have_one_scale_and_follow_each_other() {
        let reports = [
            report("a", phases([Some(1), Some(4), Some(15), Some(17), Some(20)])),
            report("b", phases([Some(1), Some(4), Some(15), Some(17), Some(40)])),
        ];
        let svg = render(&reports);
        let bars: Vec<(f64, f64)> = svg.lines().filter(|line| line.contains("height=\"20\"")).map(place).collect();
        assert_eq!(bars.len(), 10);
        assert_eq!((bars[0].0, bars[9].0 + bars[9].1), (LEFT, LEFT + BAR));
        assert!((bars[4].0 + bars[4].1 - (LEFT + BAR / 2.0)).abs() < 0.2, "{bars:?}");
        for pair in bars[..5].windows(2) {
            assert!((pair[0].0 + pair[0].1 - pair[1].0).abs() < 0.2, "{pair:?}");
        }
        assert_eq!(svg, render(&reports), "the same times, the same picture");
    }

    /// Two machines of one test, the second started by the first's readiness.
    #[test]
    fn machines_of_a_test_have_a_bar_each_that_begins_when_they_do() {
        let tenths = [Some(1), Some(4), Some(15), Some(17), Some(20)];
        let machine =
            |name: &str, since| Report { since: Duration::from_millis(since), ..report(name, phases(tenths)) };
        let machines = vec![machine("db", 0), machine("app", 2000)];
        let svg = render(&[Report { machines, ..report("shop", phases([None; 5])) }]);
        let bars: Vec<(f64, f64)> = svg.lines().filter(|line| line.contains("height=\"20\"")).map(place).collect();
        assert_eq!((bars.len(), bars[0].0, bars[9].0 + bars[9].1), (10, LEFT, LEFT + BAR));
        assert!((bars[5].0 - (LEFT + BAR / 2.0)).abs() < 0.2, "{bars:?}");
        assert!(
            svg.contains(">shop: db  firmware=bios</text>") && svg.contains(">shop: app  firmware=bios</text>"),
            "{svg}"
        );
    }

    fn place(line: &str) -> (f64, f64) {
        let value = |name: &str| line.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap();
        (value("x").parse().unwrap(), value("width").parse().unwrap())
    }

    #[test]
    fn a_name_is_text_and_no_markup_and_whole_in_the_description() {
        let long = format!("<script>&\"\x1b[2J\u{202e}{}", "é".repeat(200));
        let svg = render(&[report(&long, phases([None; 5]))]);
        assert!(!svg.contains("<script") && !svg.contains('\x1b') && !svg.contains('\u{202e}'), "{svg}");
        assert!(svg.contains("&lt;script&gt;&amp;&quot;\\x1b[2J\\u{202e}éé"), "{svg}");
        assert!(svg.contains(&"é".repeat(200)) && svg.contains("é…</text>"), "{svg}");
        let mut reader = quick_xml::Reader::from_str(&svg);
        while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
    }

    #[test]
    fn the_axis_has_few_marks_whatever_the_time() {
        for tenths in [0, 1, 9, 21, 300, 12_345, 6_000_000] {
            let svg = render(&[report("a", phases([None, None, None, None, Some(tenths)]))]);
            let marks = svg.matches("text-anchor=\"middle\"").count();
            assert!((2..=9).contains(&marks), "{tenths}: {marks}");
        }
    }
}
