//! What a machine wrote, kept in files of a folder: the console as it came, the workload's streams, and what PID 1 and
//! QEMU did.
//!
//! A log that cannot be written does not end the test: the verdict stands, and beside it that its evidence is lost.

use super::drive::Test;
use crate::publish::{self, FileError};
use crate::qemu::{Event, What};
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
    /// Adds bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.file
            && let Err(cause) = file.write_all(bytes)
        {
            self.file = None;
            self.lost.note(&FileError::Stream { path: self.path.clone(), cause });
        }
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        self.add(format!("{text}\n").as_bytes());
    }
}

impl Logs {
    /// Creates the files: `NAME.console.log`, `NAME.stdout.log`, `NAME.stderr.log`, `NAME.events.log`, and
    /// `NAME.firmware.log` where SeaBIOS boots.
    pub(super) fn create(test: &Test, lost: &Lost) -> Result<Logs, FileError> {
        let Some(dir) = &test.log_dir else { return Ok(Logs::default()) };
        let name = file_name(test);
        let create = |kind: &str| {
            let path = dir.join(format!("{name}.{kind}.log"));
            let file = publish::begin_log(&path)?;
            Ok(Some(LogFile { path, file: Some(file), lost: lost.clone() }))
        };
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

/// Name and combination as a part of a file's name: letters, digits, `.`, `_` and `-`.
pub(super) fn file_name(test: &Test) -> String {
    let combination = test.combination.to_string();
    let joined = if combination.is_empty() { test.name.clone() } else { format!("{}.{combination}", test.name) };
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = joined.chars().map(safe).take(150).collect();
    name.trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
