//! `run --debug FILE`: what somebody who is to find a fault wants to know of one run, to be attached to a report.
//!
//! ```text
//!  versions ─ options ─ QEMU's command line ─ events ─ the firmware's log ─ the console ─ how it ended
//! ```
//!
//! What variables of the environment have as their values is left out, wherever it stands. The logs are bounded, their
//! ends kept. The workload's own output is not in it.

use super::report;
use crate::escape::{self, escape};
use crate::publish::{Document, FileError};
use crate::qemu::{self, Boot, MachineOptions, binary};
use crate::session::console::lines;
use crate::session::{Event, What};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;

/// Bytes of each log that are kept, the last ones.
const KEPT: usize = 256 << 10;
/// Most events.
const EVENTS: usize = 2000;
/// A value shorter than this may be anything, and stays where it is no variable's.
const VALUE: usize = 4;

/// A report in the making.
pub struct Debug {
    document: Document,
    arguments: Vec<String>,
    machine: String,
    events: VecDeque<String>,
    firmware: VecDeque<u8>,
    console: VecDeque<u8>,
    /// Variables, `NAME=VALUE`.
    secrets: Vec<String>,
}

impl Debug {
    /// A report of this process, to be written to `path`.
    pub fn begin(path: &Path) -> Result<Debug, FileError> {
        let document = Document::at(path)?;
        document.check()?;
        Ok(Debug {
            document,
            arguments: without_values(std::env::args_os().skip(1)),
            machine: String::new(),
            events: VecDeque::new(),
            firmware: VecDeque::new(),
            console: VecDeque::new(),
            secrets: Vec::new(),
        })
    }

    /// The machine as it will be started, and what must not be told.
    pub fn machine(&mut self, machine: &MachineOptions, variables: &[String]) {
        self.secrets = variables.to_vec();
        let version = binary::find(machine.arch, machine.qemu.as_deref()).ok().and_then(|qemu| binary::version(&qemu));
        let version = version.map_or("unknown".into(), |(major, minor)| format!("{major}.{minor}"));
        let places = match machine.boot {
            Boot::Direct { .. } => super::target::boot_files_at(&machine.disk).ok(),
            _ => None,
        };
        let script = qemu::paste::script(machine, places.as_ref());
        let script = script.unwrap_or_else(|error| format!("none: {}\n", escape::chain(&error)));
        self.machine = format!("QEMU {version}\n\n== QEMU's command line\n{script}");
    }

    /// Something that happened.
    pub fn event(&mut self, event: &Event) {
        let at = event.at.as_secs_f64();
        let line = match &event.what {
            What::Console(bytes) => return keep(&mut self.console, bytes),
            What::Firmware(bytes) => return keep(&mut self.firmware, bytes),
            What::Log(said) => format!("{at:10.3} PID 1: {}", escape(said.text.as_bytes())),
            what => format!("{at:10.3} {what:?}"),
        };
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(line);
    }

    /// Writes it, with the end of the run: its status, or why it failed.
    pub fn end(mut self, result: &anyhow::Result<u8>) -> Result<(), FileError> {
        let end = match result {
            Ok(status) => format!("exit status {status}"),
            Err(error) => format!("error: {}", report::sentence(error)),
        };
        let text = self.text(&end);
        self.document.write(text.as_bytes())
    }

    fn text(&mut self, end: &str) -> String {
        let mut text = format!("bootdisk {}, {}\n", env!("CARGO_PKG_VERSION"), host());
        _ = writeln!(text, "{}\n\n== options\n{}", self.machine.trim_end(), self.arguments.join("\n"));
        _ = writeln!(text, "\n== events\n{}", Vec::from(std::mem::take(&mut self.events)).join("\n"));
        for (name, bytes) in [("the firmware's log", &mut self.firmware), ("the console", &mut self.console)] {
            let all = lines(bytes.make_contiguous(), usize::MAX);
            _ = writeln!(text, "\n== {name}\n{}", all.join("\n"));
        }
        _ = writeln!(text, "\n== the end\n{end}");
        hidden(text, &self.secrets)
    }
}

/// The host's system, processor and memory, and whether it lends its processor.
fn host() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo").lines().next().unwrap_or_default().replace("MemTotal:", "").trim().to_owned();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let kvm = std::fs::File::options().read(true).write(true).open("/dev/kvm");
    let kvm = kvm.map_or_else(|error| escape::os_error(&error), |_| "opens".into());
    let release = read("/proc/sys/kernel/osrelease");
    let arch = std::env::consts::ARCH;
    format!("Linux {} on {arch}, {processors} processors, {memory} of memory, /dev/kvm: {kvm}", release.trim())
}

fn keep(log: &mut VecDeque<u8>, bytes: &[u8]) {
    log.extend(&bytes[bytes.len().saturating_sub(KEPT)..]);
    log.drain(..log.len().saturating_sub(KEPT));
}

/// Arguments, one a line, printable; of variables only the names.
fn without_values(arguments: impl Iterator<Item = OsString>) -> Vec<String> {
    let mut is_variable = false;
    let mut shown = Vec::new();
    for argument in arguments {
        let text = escape(argument.as_encoded_bytes());
        let variable = |text: &str| text.split_once('=').map_or(text.to_owned(), |(name, _)| format!("{name}=…"));
        let attached = ["--env=", "-e"].into_iter().find_map(|option| Some((option, text.strip_prefix(option)?)));
        shown.push(match attached {
            _ if is_variable => variable(&text),
            Some((option, rest)) if !rest.is_empty() => format!("{option}{}", variable(rest)),
            _ => text.clone(),
        });
        is_variable = !is_variable && matches!(text.as_str(), "--env" | "-e");
    }
    shown
}

/// Text without the values of these variables.
fn hidden(mut text: String, variables: &[String]) -> String {
    for (name, value) in variables.iter().filter_map(|variable| variable.split_once('=')) {
        if value.len() >= VALUE {
            text = text.replace(value, &format!("[{name}]")).replace(&escape(value.as_bytes()), &format!("[{name}]"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_of_a_variable_is_in_a_report() {
        let words = ["run", "--env", "A=secret", "-e", "B=secret", "--env=C=secret", "-eD=secret", "-e", "E", "x=1"];
        let shown = without_values(words.into_iter().map(OsString::from));
        assert_eq!(shown, ["run", "--env", "A=…", "-e", "B=…", "--env=C=…", "-eD=…", "-e", "E", "x=1"]);
        let variables = ["A=s3cr\u{1b}t".to_owned(), "B=1".into(), "C".into(), "D=".into()];
        assert_eq!(hidden("a s3cr\\x1bt 1 s3cr\u{1b}t".into(), &variables), "a [A] 1 [A]");
    }

    #[test]
    fn of_a_long_log_the_end_is_kept() {
        let mut log = VecDeque::new();
        for _ in 0..3 {
            keep(&mut log, &vec![b'x'; KEPT]);
        }
        keep(&mut log, b"end");
        assert!(log.len() == KEPT && log.make_contiguous().ends_with(b"xend"));
    }
}
