//! What a machine wrote, kept in files of a folder: the console as it came, the workload's streams, and what PID 1 and
//! QEMU did.
//!
//! A log that cannot be written does not end the test: the verdict stands, and beside it that its evidence is lost.

use super::test::Test;
use crate::publish::{self, FileError};
use crate::session::{Event, What};
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// The logs of one machine; none of them when no folder was given.
#[derive(Default)]
pub(super) struct Logs {
    pub(super) stdout: Option<LogFile>,
    pub(super) stderr: Option<LogFile>,
    console: Option<LogFile>,
    firmware: Option<LogFile>,
    events: Option<LogFile>,
}

/// The first log that could not be written, and why. Copies are one.
#[derive(Clone, Default)]
pub(super) struct Lost(Arc<OnceLock<String>>);

impl Lost {
    /// Remembers why something is lost.
    pub(super) fn note(&self, error: &FileError) {
        _ = self.0.set(error.to_string());
    }

    /// In a sentence.
    pub(super) fn sentence(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

/// One log.
pub(super) struct LogFile {
    path: PathBuf,
    /// `None` once it could not be written: a log with a hole in it would mislead.
    file: Option<File>,
    lost: Lost,
}

impl LogFile {
    /// Begins one.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(super) fn begin(path: PathBuf, lost: &Lost) -> Result<LogFile, FileError> {
        let file = publish::begin_log(&path)?;
        Ok(LogFile { path, file: Some(file), lost: lost.clone() })
    }

    /// Adds bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.file
            && let Err(cause) = file.write_all(bytes)
        {
            self.file = None;
            self.lost.note(&FileError::Stream { path: self.path.clone(), cause });
        }
    }

    /// Adds a line.
    pub(super) fn line(&mut self, text: fmt::Arguments<'_>) {
        self.add(format!("{text}\n").as_bytes());
    }
}

impl Logs {
    /// Creates the files: `NAME.console.log`, `NAME.stdout.log`, `NAME.stderr.log`, `NAME.events.log`, and
    /// `NAME.firmware.log` where SeaBIOS boots.
    pub(super) fn create(test: &Test, lost: &Lost) -> Result<Logs, FileError> {
        let Some(dir) = &test.log_dir else { return Ok(Logs::default()) };
        let name = &test.log_name;
        let create = |kind: &str| LogFile::begin(dir.join(format!("{name}.{kind}.log")), lost).map(Some);
        Ok(Logs {
            stdout: create("stdout")?,
            stderr: create("stderr")?,
            console: create("console")?,
            firmware: if test.machine.has_seabios() { create("firmware")? } else { None },
            events: create("events")?,
        })
    }

    pub(super) fn event(&mut self, event: &Event) {
        let at = event.at.as_secs_f64();
        let log = match &event.what {
            What::Console(_) => &mut self.console,
            What::Firmware(_) => &mut self.firmware,
            _ => &mut self.events,
        };
        let Some(log) = log else { return };
        match &event.what {
            What::Console(bytes) | What::Firmware(bytes) => log.add(bytes),
            What::Log(said) => {
                log.line(format_args!("{at:10.3} PID 1: {}", crate::escape::escape(said.text.as_bytes())));
            }
            what => log.line(format_args!("{at:10.3} {what:?}")),
        }
    }
}

/// Longest part of a log's name that the test decides, in bytes. File systems take 255 in all.
const LONGEST: usize = 150;

/// Gives each test the beginning of its logs' names: its own name and combination in letters, digits, `.`, `_` and `-`.
/// Where two would be the same, or the same to a file system that knows no capitals, the later one is numbered.
pub fn name_logs<'a>(tests: impl Iterator<Item = &'a mut Test>) {
    let mut taken = HashSet::new();
    for test in tests {
        let wanted = file_name(&test.name, &test.combination.to_string());
        let numbered = (2..).map(|number| format!("{wanted}-{number}"));
        // With the names that further tries, and several machines, will have.
        let names = |name: &String| -> Vec<String> {
            let tries = (1..=usize::from(test.retries) + 1).map(|number| try_name(name, number).to_lowercase());
            let machines = |name: String| test.members.iter().map(move |one| machine_name(&name, &one.name));
            tries.flat_map(|name| machines(name.clone()).chain([name]).collect::<Vec<_>>()).collect()
        };
        let mut candidates = std::iter::once(wanted.clone()).chain(numbered);
        let free = candidates.find(|name| names(name).iter().all(|name| !taken.contains(name)));
        test.log_name = free.unwrap_or(wanted);
        taken.extend(names(&test.log_name));
    }
}

/// What the logs of a try are called, counted from 1.
pub(super) fn try_name(name: &str, number: usize) -> String {
    if number == 1 { name.to_owned() } else { format!("{name}.try-{number}") }
}

/// What the logs of a machine among others are called.
pub(super) fn machine_name(name: &str, machine: &str) -> String {
    format!("{name}.{}", machine.to_lowercase())
}

fn file_name(name: &str, combination: &str) -> String {
    let joined = if combination.is_empty() { name.to_owned() } else { format!("{name}.{combination}") };
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = joined.trim_start_matches('.').chars().map(safe).take(LONGEST).collect();
    if name.is_empty() { "test".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;
    use crate::qemu::MachineOptions;
    use crate::smoke::Matrix;

    #[test]
    fn no_two_tests_write_the_same_logs() {
        let long = "x".repeat(200);
        let mut tests = Vec::new();
        for (name, matrix) in [
            ("web", &[][..]),
            ("a/b", &[]),
            ("a-b", &[]),
            ("A-B", &[]),
            ("a-b-2", &[]),
            ("..", &[]),
            (&*long, &["bus=virtio,nvme"]),
            ("k", &["kernel=a/b,a-b"]),
            ("k.kernel-a-b", &[]),
        ] {
            for combination in Matrix::parse(matrix.iter().copied()).unwrap().combinations() {
                let machine = MachineOptions::new(Architecture::X86_64, Default::default());
                tests.push(Test { name: name.into(), combination, ..Test::of(machine) });
            }
        }
        name_logs(tests.iter_mut());
        let names: Vec<&str> = tests.iter().map(|test| &*test.log_name).collect();
        assert_eq!(names[..6], ["web", "a-b", "a-b-2", "A-B-3", "a-b-2-2", "test"]);
        assert_eq!((names[6].len(), names[7]), (LONGEST, &*format!("{}-2", names[6])));
        assert_eq!(names[8..], ["k.kernel-a-b", "k.kernel-a-b-2", "k.kernel-a-b-3"]);
    }

    #[test]
    fn no_test_has_the_logs_of_anothers_further_try() {
        let test = |name: &str, retries| {
            let machine = MachineOptions::new(Architecture::X86_64, Default::default());
            Test { name: name.into(), retries, ..Test::of(machine) }
        };
        for (first, second) in [(test("web", 2), test("web.try-3", 0)), (test("WEB.try-2", 0), test("web", 1))] {
            let mut tests = [first, second];
            name_logs(tests.iter_mut());
            let all: Vec<String> = tests
                .iter()
                .flat_map(|test| (1..=usize::from(test.retries) + 1).map(|number| try_name(&test.log_name, number)))
                .map(|name| name.to_lowercase())
                .collect();
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "{all:?}");
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_is_given_up_and_said() {
        let lost = Lost::default();
        let path = PathBuf::from("/dev/full");
        let file = publish::begin_log(&path).unwrap();
        let mut log = LogFile { path, file: Some(file), lost: lost.clone() };
        assert_eq!(lost.sentence(), None);
        log.add(b"some");
        log.add(b"more");
        assert_eq!(lost.sentence().as_deref(), Some("cannot write /dev/full: no space left on device"));
    }
}
