//! `NAME.machines.log`: what all machines of one test wrote, line by line in the order of its arrival.
//!
//! ```text
//!      1.203 db   console: [    0.000000] Linux version 6.1.0
//!      4.870 db   stderr: database system is ready to accept connections
//!      5.012 app  event: PID 1: eth1 has 10.113.0.2/24
//! ```
//!
//! Times are seconds since the test began. A line stands at the time of its end.

use super::log::{LogFile, Lost};
use crate::publish::FileError;
use crate::session::{Event, What};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A line is kept up to this length, in bytes; what follows is a line of its own.
const LONGEST: usize = 2000;

/// The log of all.
pub(super) struct Together {
    file: Mutex<LogFile>,
    begun: Instant,
    /// Of the longest name, in characters.
    width: usize,
}

/// One who speaks: a stream of a machine. What is left of its last line is written when it is dropped.
pub(super) struct Speaker<'a> {
    all: &'a Together,
    machine: &'a str,
    stream: &'static str,
    line: Vec<u8>,
}

impl Together {
    /// Begins the log at `path`, for machines whose names are at most this long.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(super) fn create(path: &Path, lost: &Lost, begun: Instant, width: usize) -> Result<Together, FileError> {
        Ok(Together { file: Mutex::new(LogFile::begin(path.to_owned(), lost)?), begun, width })
    }

    /// A stream of a machine.
    pub(super) fn speaker<'a>(&'a self, machine: &'a str, stream: &'static str) -> Speaker<'a> {
        Speaker { all: self, machine, stream, line: Vec::new() }
    }
}

impl Speaker<'_> {
    /// Takes what was written, in pieces of any size.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
            }
            if byte == b'\n' || self.line.len() == LONGEST {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.say(self.stream, &crate::escape::escape(line.trim_ascii_end()));
    }

    fn say(&self, stream: &str, text: &str) {
        let Together { file, begun, width } = self.all;
        let (at, machine) = (begun.elapsed().as_secs_f64(), self.machine);
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.line(format_args!("{at:10.3} {machine:width$} {stream}: {text}"));
    }

    /// What happened to the machine: its console as lines, all else as in its own log of events.
    pub(super) fn event(&mut self, event: &Event) {
        match &event.what {
            What::Console(bytes) => self.add(bytes),
            What::Firmware(_) => {}
            What::Log(said) => self.say("event", &format!("PID 1: {}", crate::escape::escape(said.text.as_bytes()))),
            what => self.say("event", &format!("{what:?}")),
        }
    }
}

impl Drop for Speaker<'_> {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_are_side_by_side_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (path, lost) = (folder.path().join("t.machines.log"), Lost::default());
        let all = Together::create(&path, &lost, Instant::now(), 3).unwrap();
        let (mut db, mut app) = (all.speaker("db", "stdout"), all.speaker("app", "stderr"));
        db.add(b"one\r\ntw");
        app.add(b"\x1b[31mred\n");
        db.add(b"o\n\nthree");
        drop((db, app));
        all.speaker("db", "stdout").add(&[b'x'; LONGEST + 1]);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| &line[11..]).collect();
        let expected =
            ["db  stdout: one", "app stderr: \\x1b[31mred", "db  stdout: two", "db  stdout: ", "db  stdout: three"];
        assert_eq!((&lines[..5], lines[6]), (&expected[..], "db  stdout: x"));
        assert_eq!((lines.len(), lines[5].len()), (7, "db  stdout: ".len() + LONGEST));
        assert!(text.lines().all(|line| line[..10].trim().parse::<f64>().is_ok()), "{text}");
        assert_eq!(lost.sentence(), None);
    }
}
