//! Text as it arrives on three streams, searched across the borders of its chunks.
//!
//! Terminal sequences are left away and what a terminal would obey is escaped before anything is looked for, so that a
//! colour in the middle of a word hides nothing. Each stream is searched by itself: what one stream begins another does
//! not finish. Of each no more is kept than the longest pattern may reach back, and a number of last lines.

use super::expect::Pattern;
use crate::qemu::console::Text;
use std::collections::VecDeque;

/// Lines kept for a failure's report.
const LINES: usize = 200;
/// A line is kept up to this length, in bytes.
const LINE: usize = 2000;

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
    patterns: Vec<(usize, Pattern)>,
    reach: usize,
    tails: [Tail; 3],
    lines: VecDeque<String>,
}

#[derive(Default)]
struct Tail {
    text: Text,
    window: String,
    line: String,
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
    /// Looks for these patterns; each number comes back in its [`Hit`], once.
    pub fn new(patterns: Vec<(usize, Pattern)>) -> Watch {
        let reach = patterns.iter().map(|(_, pattern)| pattern.reach()).max().unwrap_or(0);
        Watch { patterns, reach, tails: Default::default(), lines: VecDeque::new() }
    }

    /// Takes a chunk, and returns what was found with its end.
    pub fn feed(&mut self, stream: Stream, bytes: &[u8]) -> Vec<Hit> {
        let text = self.tails[stream as usize].text.add(bytes);
        self.take(stream, &text)
    }

    /// No more will come of this stream.
    pub fn end(&mut self, stream: Stream) -> Vec<Hit> {
        let text = self.tails[stream as usize].text.finish();
        let hits = self.take(stream, &text);
        let line = std::mem::take(&mut self.tails[stream as usize].line);
        self.keep_line(line);
        hits
    }

    /// The last lines of all streams in the order of their ends, an unfinished one of each last.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let unfinished = self.tails.iter().map(|tail| &tail.line).filter(|line| !line.trim().is_empty());
        let all: Vec<&String> = self.lines.iter().chain(unfinished).collect();
        all[all.len().saturating_sub(count)..].iter().map(|&line| line.clone()).collect()
    }

    /// Adds a line to the last ones that nobody looks for anything in.
    pub fn remember(&mut self, line: &str) {
        self.keep_line(line.trim_end().to_owned());
    }

    fn take(&mut self, stream: Stream, text: &str) -> Vec<Hit> {
        self.keep(stream, text);
        let tail = &mut self.tails[stream as usize];
        let old = tail.window.len();
        tail.window.push_str(text);
        let mut hits = Vec::new();
        self.patterns.retain(|(number, pattern)| {
            let from = tail.window.floor_char_boundary(old.saturating_sub(pattern.reach()));
            let Some(found) = pattern.find(&tail.window, from) else { return true };
            hits.push(Hit { pattern: *number, line: line_around(&tail.window, found.start) });
            false
        });
        let surplus = tail.window.floor_char_boundary(tail.window.len().saturating_sub(self.reach));
        tail.window.drain(..surplus);
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
                self.keep_line(line);
            }
        }
    }

    fn keep_line(&mut self, line: String) {
        if line.trim().is_empty() {
            return;
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

/// The line that byte `at` is in, as far as it is there, at most 160 bytes of it.
fn line_around(text: &str, at: usize) -> String {
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
        Watch::new(texts.chain(regexes).enumerate().collect())
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
            assert!(watch.tails[1].window.len() <= 16 << 10 && watch.tails[1].line.len() <= LINE);
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
}
