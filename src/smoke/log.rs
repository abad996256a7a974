//! What a machine wrote, kept in files of a folder: the console as it came, the workload's streams, and what PID 1 and
//! QEMU did.

use super::drive::Test;
use crate::qemu::{Event, What};
use std::fs::File;
use std::io::{self, Write};

/// The logs of one machine; none of them when no folder was given.
#[derive(Default)]
pub(super) struct Logs {
    pub(super) stdout: Option<File>,
    pub(super) stderr: Option<File>,
    console: Option<File>,
    firmware: Option<File>,
    events: Option<File>,
}

impl Logs {
    /// Creates the files: `NAME.console.log`, `NAME.stdout.log`, `NAME.stderr.log`, `NAME.events.log`, and
    /// `NAME.firmware.log` where SeaBIOS boots.
    pub(super) fn create(test: &Test) -> io::Result<Logs> {
        let Some(dir) = &test.log_dir else { return Ok(Logs::default()) };
        let name = file_name(test);
        let create = |kind: &str| File::create(dir.join(format!("{name}.{kind}.log"))).map(Some);
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
        let file = match &event.what {
            What::Console(_) => &mut self.console,
            What::Firmware(_) => &mut self.firmware,
            _ => &mut self.events,
        };
        let Some(file) = file else { return };
        // A full disk is no reason to give up the test.
        _ = match &event.what {
            What::Console(bytes) | What::Firmware(bytes) => file.write_all(bytes),
            What::Log(log) => writeln!(file, "{at:10.3} PID 1: {}", crate::escape::escape(log.text.as_bytes())),
            what => writeln!(file, "{at:10.3} {what:?}"),
        };
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
