//! Lines of PID 1 about the machine: to the kernel's log (and so to the console) and to the host.
//!
//! Text may quote the image, so it is escaped where somebody may read it: here for the console, and by the host for its
//! terminal. Lines for the host wait here until the event loop sends them;
//! a child that is still being set up sends them to its parent instead.

use super::report::Reporter;
use crate::escape::escape;
use crate::guest::channel::{Level, Log};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::Mutex;

/// Lines kept for a host that has not said welcome yet. A boot writes a dozen.
const PENDING_LIMIT: usize = 256;

struct Sink {
    kmsg: Option<File>,
    pending: Vec<Log>,
    parent: Option<Reporter>,
}

static SINK: Mutex<Sink> = Mutex::new(Sink { kmsg: None, pending: Vec::new(), parent: None });

/// Opens the kernel's log. Without it lines still reach the host.
pub fn open() {
    // By default the kernel drops all but ten lines in five seconds.
    _ = std::fs::write("/proc/sys/kernel/printk_devkmsg", "on\n");
    with_sink(|sink| sink.kmsg = OpenOptions::new().write(true).open("/dev/kmsg").ok());
}

/// From here on this process is a child, and its lines go to `parent`.
pub fn become_child(parent: Reporter) {
    with_sink(|sink| sink.parent = Some(parent));
}

/// Progress of the boot.
pub fn info(text: impl AsRef<str>) {
    line(Level::Info, text.as_ref());
}

/// What somebody who waits wants to see: progress, or as a warning why there is none.
pub fn note(level: Level, text: impl AsRef<str>) {
    entry(Log { level, text: text.as_ref().to_owned(), note: true });
}

/// Something is missing or odd, and the boot goes on.
pub fn warning(text: impl AsRef<str>) {
    line(Level::Warning, text.as_ref());
}

/// The machine cannot do its work.
pub fn error(text: impl AsRef<str>) {
    line(Level::Error, text.as_ref());
}

/// A line of any level.
pub fn line(level: Level, text: &str) {
    entry(Log { level, text: text.to_owned(), note: false });
}

fn entry(entry: Log) {
    with_sink(|sink| match &sink.parent {
        Some(parent) => parent.log(&entry),
        None => sink.write(entry),
    });
}

/// What the host has not been told yet.
pub fn take_pending() -> Vec<Log> {
    let mut lines = Vec::new();
    with_sink(|sink| lines = std::mem::take(&mut sink.pending));
    lines
}

impl Sink {
    fn write(&mut self, entry: Log) {
        let priority = match entry.level {
            Level::Info => 6,
            Level::Warning => 4,
            Level::Error => 3,
        };
        if let Some(kmsg) = &mut self.kmsg {
            // One write is one record; a record ends at about 1 kB.
            let text: String = escape(entry.text.as_bytes()).chars().take(800).collect();
            _ = kmsg.write_all(format!("<{priority}>bootdisk: {text}\n").as_bytes());
        }
        if self.pending.len() < PENDING_LIMIT {
            self.pending.push(entry);
        }
    }
}

fn with_sink(action: impl FnOnce(&mut Sink)) {
    // PID 1 has one thread; the lock can only be taken when a panic hook runs inside a log line.
    if let Ok(mut sink) = SINK.try_lock() {
        action(&mut sink);
    }
}
