//! Text as it arrives on three streams, searched and kept for reports.
//!
//! Terminal sequences are left away and what a terminal would obey is escaped before anything is looked for, so that a
//! colour in the middle of a word hides nothing. Each stream is searched by itself: what one stream begins another does
//! not finish. What is found does not depend on the pieces that the text arrives in.

use super::pattern::{Pattern, Reader};
use crate::session::console::Text;
use std::collections::VecDeque;

/// Lines kept for a failure's report.
const LINES: usize = 200;
/// A line is kept up to this length, in bytes.
const LINE: usize = 2000;
/// Bytes of earlier text that the line of a match is shown from.
const BEFORE: usize = 160;

/// Where text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The serial console: firmware, kernel, PID 1.
    Console,
    /// The workload's standard output.
    Stdout,
    /// The workload's standard error.
    Stderr,
}

/// Searches text for patterns.
pub struct Watch {
    tails: [Tail; 3],
    lines: VecDeque<Line>,
    /// PID 1 has spoken.
    greeted: bool,
}

#[derive(Default)]
struct Tail {
    readers: Vec<(usize, Reader)>,
    text: Text,
    /// The last text, for the line that a match is in.
    window: String,
    line: String,
}

struct Line {
    text: String,
    /// Of the console, before PID 1: the firmware's, the loader's, the kernel's.
    early: bool,
}

/// A pattern that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The number it was given with.
    pub pattern: usize,
    /// The line it was found in, cut to a length for people.
    pub line: String,
}

impl Watch {
    /// Looks for these patterns; each number comes back in its [`Hit`], once. Of two that are found at one place the
    /// first comes first.
    pub fn new(patterns: &[(usize, Pattern)]) -> Watch {
        let readers = || patterns.iter().map(|(number, pattern)| (*number, Reader::new(pattern))).collect();
        let tail = || Tail { readers: readers(), ..Tail::default() };
        Watch { tails: [tail(), tail(), tail()], lines: VecDeque::new(), greeted: false }
    }

    /// Takes a chunk, and returns what was found with its end.
    pub fn feed(&mut self, stream: Stream, bytes: &[u8]) -> Vec<Hit> {
        let text = self.tails[stream as usize].text.add(bytes);
        self.take(stream, &text, Reader::in_any_case)
    }

    /// No more will come of this stream: what has arrived ends a line, and the text.
    pub fn end(&mut self, stream: Stream) -> Vec<Hit> {
        let text = self.tails[stream as usize].text.finish();
        let hits = self.take(stream, &text, Reader::at_the_end);
        let line = std::mem::take(&mut self.tails[stream as usize].line);
        self.keep_line(line, stream == Stream::Console);
        hits
    }

    /// PID 1 has spoken: what the console said before is the boot's.
    pub fn greet(&mut self) {
        let line = std::mem::take(&mut self.tails[Stream::Console as usize].line);
        self.keep_line(line, true);
        self.greeted = true;
    }

    /// The last lines of all streams in the order of their ends, an unfinished one of each last. Once PID 1 has spoken,
    /// what the boot said before is not among them.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let finished = self.lines.iter().filter(|line| !(self.greeted && line.early)).map(|line| &line.text);
        let unfinished = self.tails.iter().map(|tail| &tail.line).filter(|line| !line.trim().is_empty());
        let all: Vec<&String> = finished.chain(unfinished).collect();
        all[all.len().saturating_sub(count)..].iter().map(|&line| line.clone()).collect()
    }

    /// Adds a line to the last ones that nobody looks for anything in.
    pub fn remember(&mut self, line: &str) {
        self.keep_line(line.trim_end().to_owned(), false);
    }

    fn take(&mut self, stream: Stream, text: &str, settled: impl Fn(&mut Reader) -> bool) -> Vec<Hit> {
        self.keep(stream, text);
        let tail = &mut self.tails[stream as usize];
        let before = tail.window.len();
        tail.window.push_str(text);
        let mut hits = Vec::new();
        for (at, c) in text.char_indices() {
            tail.find(before + at, |reader| reader.take(c), &mut hits);
        }
        tail.find(before + text.len(), settled, &mut hits);
        let surplus = tail.window.floor_char_boundary(tail.window.len().saturating_sub(BEFORE));
        tail.window.drain(..surplus);
        for tail in &mut self.tails {
            tail.readers.retain(|(number, _)| hits.iter().all(|hit| hit.pattern != *number));
        }
        hits
    }

    fn keep(&mut self, stream: Stream, text: &str) {
        for piece in text.split_inclusive('\n') {
            let line = &mut self.tails[stream as usize].line;
            let whole = piece.ends_with('\n');
            let piece = piece.trim_end_matches('\n');
            line.push_str(&piece[..piece.floor_char_boundary(LINE.saturating_sub(line.len()))]);
            if whole {
                let line = std::mem::take(line);
                self.keep_line(line, stream == Stream::Console);
            }
        }
    }

    fn keep_line(&mut self, text: String, console: bool) {
        if text.trim().is_empty() {
            return;
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(Line { text, early: console && !self.greeted });
    }
}

impl Tail {
    /// Moves what is found, with the line that the match ends in.
    fn find(&mut self, end: usize, found: impl Fn(&mut Reader) -> bool, hits: &mut Vec<Hit>) {
        let window = &self.window;
        self.readers.retain_mut(|(number, reader)| {
            let holds = found(reader);
            if holds {
                hits.push(Hit { pattern: *number, line: line_around(window, end) });
            }
            !holds
        });
    }
}

/// The line of the character that ends at byte `end`, as far as it is there, at most 160 bytes of it.
fn line_around(text: &str, end: usize) -> String {
    let at = text[..end].char_indices().next_back().map_or(0, |(at, _)| at);
    // A match that took a line's end is shown with that line.
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    let start = start.max(text.floor_char_boundary(at.saturating_sub(80)));
    text[start..text.floor_char_boundary(end.min(start + 160))].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(texts: &[&str], regexes: &[&str]) -> Watch {
        let texts = texts.iter().map(|text| Pattern::text(text).unwrap());
        let regexes = regexes.iter().map(|text| Pattern::regex(text).unwrap());
        Watch::new(&texts.chain(regexes).enumerate().collect::<Vec<_>>())
    }

    #[test]
    fn chunks_and_colours_hide_nothing() {
        let bytes = "boot\r\n\x1b[1;32mserver\x1b[0m is \x1b[Kup at port 80 ü!\r\nlogin: ".as_bytes();
        for chunk in 1..bytes.len() {
            let mut watch = watch(&["server is up", "ü!", "login: "], &["port [0-9]+", "^boot$"]);
            let hits: Vec<usize> =
                bytes.chunks(chunk).flat_map(|part| watch.feed(Stream::Console, part)).map(|hit| hit.pattern).collect();
            let mut sorted = hits.clone();
            sorted.sort();
            assert_eq!(sorted, [0, 1, 2, 3, 4], "chunks of {chunk}: {hits:?}");
        }
    }

    #[test]
    fn streams_are_apart_and_a_hit_shows_its_line() {
        let mut watch = watch(&["ab", "whole"], &[]);
        assert_eq!(watch.feed(Stream::Stdout, b"one\na"), []);
        assert_eq!(watch.feed(Stream::Stderr, b"b\n"), []);
        let hits = watch.feed(Stream::Stdout, b"bc\n");
        assert_eq!(hits, [Hit { pattern: 0, line: "abc".into() }]);
        assert_eq!(watch.feed(Stream::Stdout, b"ab\n"), [], "found once is found");
        assert_eq!(watch.last_lines(2), ["abc", "ab"]);
    }

    #[test]
    fn a_flood_stays_within_bounds() {
        let mut watch = watch(&["the end"], &["never[0-9]"]);
        for _ in 0..200 {
            assert_eq!(watch.feed(Stream::Stdout, &[b'x'; 10_000]), []);
            assert!(watch.tails[1].window.len() <= BEFORE && watch.tails[1].line.len() <= LINE);
        }
        for number in 0..1000 {
            watch.feed(Stream::Stderr, format!("line {number}\n").as_bytes());
        }
        assert_eq!(watch.lines.len(), LINES);
        assert_eq!(watch.feed(Stream::Stdout, b"the end").len(), 1);
        assert_eq!(watch.last_lines(1)[0].len(), LINE, "the unfinished line is last");
    }

    #[test]
    fn the_last_bytes_of_a_stream_count() {
        let mut watch = watch(&["end"], &[]);
        assert_eq!(watch.feed(Stream::Stdout, b"the end"), [Hit { pattern: 0, line: "the end".into() }]);
        assert_eq!(watch.end(Stream::Stdout), []);
        assert_eq!(watch.last_lines(5), ["the end"]);
    }
    /// What a pattern needs to know of its edges is in `pattern`; here that bytes, colours and line ends change nothing.
    #[test]
    fn a_verdict_is_the_same_however_the_bytes_are_cut() {
        let bytes = "ready\r\n\x1b[1mready\x1b[0m-not-yet\r\nFAILED über\r\nlast".as_bytes();
        for (expression, goes_on, ended) in [
            ("^ready$", true, true),
            ("yet$", true, true),
            (r"FAIL\b", false, false),
            (r"\büber$", true, true),
            ("(?s)ready.*FAILED", true, true),
            ("last$", false, true),
            ("last\\z", false, true),
            ("last", true, true),
            ("^not", false, false),
            ("not$", false, false),
            ("\\r", false, false),
        ] {
            for chunk in 1..=bytes.len() {
                let mut watch = watch(&[], &[expression]);
                let hits: Vec<Hit> = bytes.chunks(chunk).flat_map(|part| watch.feed(Stream::Stdout, part)).collect();
                assert_eq!(hits.len(), usize::from(goes_on), "{expression} in chunks of {chunk}");
                let at_end = watch.end(Stream::Stdout);
                assert_eq!(!hits.is_empty() || !at_end.is_empty(), ended, "{expression} in chunks of {chunk}, ended");
            }
        }
    }

    #[test]
    fn the_line_of_a_match_is_shown() {
        for (expression, line) in
            [("two$", "one two"), (r"two\n", "one two"), ("thr", "three"), ("(?s)one.*thr", "three")]
        {
            let hits = watch(&[], &[expression]).feed(Stream::Stdout, b"zero\none two\nthree\n");
            assert_eq!(hits[0].line, line, "{expression}");
        }
    }

    #[test]
    fn once_pid_1_has_spoken_the_boot_is_not_the_last_to_speak() {
        let mut watch = watch(&[], &[]);
        watch.feed(Stream::Console, b"SeaBIOS (version 1)\nBooting\n");
        assert_eq!(watch.last_lines(15), ["SeaBIOS (version 1)", "Booting"]);
        watch.greet();
        assert_eq!(watch.last_lines(15), [""; 0]);
        watch.remember("bootdisk: eth0 has 10.0.2.15/24");
        watch.feed(Stream::Stdout, b"hello\n");
        watch.feed(Stream::Console, b"[ 2.0] oops\n");
        assert_eq!(watch.last_lines(15), ["bootdisk: eth0 has 10.0.2.15/24", "hello", "[ 2.0] oops"]);
    }
}
