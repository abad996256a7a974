//! What a running machine has to say, on standard error.

use super::options::{Global, ProgressMode};
use super::progress::Progress;
use crate::guest::channel::Level;
use crate::qemu::forward::Protocol;
use crate::qemu::{Accel, Forward};
use crate::session::event::Why;
use crate::session::{self, Event, Finished, Outcome, What};
use std::io::IsTerminal;

/// How many of the console's last lines an error shows.
const LAST_LINES: usize = 12;

/// Renders the events of a machine.
pub struct Console {
    /// The guest's console and PID 1's messages are shown as they come.
    all: bool,
    /// Only errors are shown.
    quiet: bool,
    /// Notes are shown.
    notes: bool,
    text: session::console::Text,
    /// The console is on standard output already.
    handed_over: bool,
    /// PID 1 has said hello.
    came_up: bool,
    /// What is waited for.
    line: Progress,
    /// What whoever sits before a terminal wants to know once the machine is there.
    welcome: Vec<String>,
}

impl Console {
    /// Shows the console if asked to; notes also on a terminal.
    pub fn new(global: &Global, all: bool) -> Console {
        Console {
            all,
            quiet: global.quiet,
            notes: all || (!global.quiet && std::io::stderr().is_terminal()),
            text: Default::default(),
            handed_over: false,
            came_up: false,
            // Among the guest's own lines there is none that could go away.
            line: Progress::beside_a_workload(&Global {
                progress: if all && global.progress == ProgressMode::Auto {
                    ProgressMode::Plain
                } else {
                    global.progress
                },
                ..global.clone()
            }),
            welcome: Vec::new(),
        }
    }

    /// What is told on a terminal as soon as the machine is there: where its ports are, and how to leave it.
    pub fn welcome(&mut self, forwards: &[Forward], on_terminal: bool) {
        self.welcome = forwards.iter().map(address).collect();
        if on_terminal {
            self.welcome.push("Ctrl-] three times within a second ends the machine".into());
        }
    }

    /// Says something the user should know and need not act upon.
    pub fn note(&self, text: &str) {
        if self.notes {
            self.line.say(&format!("note: {text}\n"));
        }
    }

    /// Shows one event, if it is wanted.
    pub fn event(&mut self, event: &Event) {
        match &event.what {
            What::Note(text) => self.note(text),
            What::Told(text) if !self.quiet => self.line.say(&format!("note: {text}\n")),
            // Said also when only errors are wanted.
            What::Failed(text) => self.line.say(&format!("error: {text}\n")),
            What::Started { accel, .. } => self.line.waiting(booting(*accel)),
            What::HandedOver(init) => {
                self.handed_over = true;
                self.note(&format!("the image's own init takes over: {init}"));
            }
            // Before the workload can say anything: the line's place is the workload's from here on.
            What::Hello(_) => {
                self.line.clear();
                if !std::mem::replace(&mut self.came_up, true) {
                    self.welcome.iter().for_each(|text| self.note(text));
                }
            }
            What::Reset => self.handed_over = false,
            // Said also when only errors are wanted: nothing goes on until somebody has done something.
            What::NoSpace(scarce) => self.line.say(&format!(
                "error: {scarce}; the machine waits and continues when there is some\nhint: df -h {}\n",
                crate::qemu::paste::quote(scarce.place.as_ref())
            )),
            What::NotRestarted { times } if !self.quiet => self.line.say(&format!(
                "note: the workload has restarted the machine {times} times in a row: it is not started again\n"
            )),
            What::Health { sentence, .. } => self.note(sentence),
            What::SpaceAgain => self.note("there is space again: the machine goes on"),
            What::Slow { after, last } if !self.quiet => self.line.say(&waiting(after.as_secs(), last.as_deref())),
            What::Console(bytes) if self.all && !self.handed_over => self.line.say(&self.text.add(bytes)),
            What::Log(log) if self.all || log.level == Level::Error => {
                self.line.say(&format!("bootdisk: {}\n", crate::escape::escape(log.text.as_bytes())));
            }
            // What keeps a boot is told wherever it is read; how far something is, to who looks on.
            What::Log(log) if log.note && log.level == Level::Warning && !self.quiet => {
                self.line.say(&format!("{}\n", crate::escape::escape(log.text.as_bytes())));
            }
            What::Log(log) if log.note => self.note(&crate::escape::escape(log.text.as_bytes())),
            _ => {}
        }
    }

    /// Says how the machine ended, when the workload's status alone would not.
    pub fn finished(&mut self, finished: &Finished) {
        self.line.clear();
        for lost in &finished.lost {
            self.line.say(&format!("error: the workload's output is incomplete: {lost}\n"));
        }
        let Some(sentence) = finished.outcome.sentence() else { return };
        let never_came_up = !self.came_up && finished.outcome == Outcome::Stopped(Why::Timeout);
        self.line.say(&format!("error: {sentence}{}\n", if never_came_up { ": PID 1 never came up" } else { "" }));
        finished.outcome.hint().iter().for_each(|hint| self.line.say(&format!("hint: {hint}\n")));
        // The workload's own failures need no look at the machine.
        let needs_no_look = matches!(finished.outcome, Outcome::Workload { .. } | Outcome::Stopped(_));
        if self.all || self.handed_over || (needs_no_look && !never_came_up) {
            return;
        }
        let last = session::console::lines(&finished.console, LAST_LINES);
        if !last.is_empty() {
            self.line.say("the console's last lines:\n");
            last.iter().for_each(|line| self.line.say(&format!("  {line}\n")));
        }
    }
}

/// What the machine is at, and why it may take a while.
fn booting(accel: Accel) -> &'static str {
    match accel {
        Accel::Kvm => "booting (KVM)",
        Accel::Hvf => "booting (HVF)",
        Accel::Tcg => "booting (TCG: every instruction is emulated)",
    }
}

/// Where a port of the guest is: an address for a browser, if a browser is what asks there.
fn address(forward: &Forward) -> String {
    const WEB: [(u16, &str); 9] = [
        (80, "http"),
        (443, "https"),
        (3000, "http"),
        (5000, "http"),
        (8000, "http"),
        (8008, "http"),
        (8080, "http"),
        (8443, "https"),
        (8888, "http"),
    ];
    let (host, guest) = (forward.host_port(), forward.guest_port());
    let web = WEB.iter().find(|(port, _)| *port == forward.guest && forward.protocol == Protocol::Tcp);
    match web {
        // What listens everywhere is here too.
        Some((_, scheme)) if host.ip().is_unspecified() => {
            format!("port {guest} is {scheme}://localhost:{}", host.port())
        }
        Some((_, scheme)) => format!("port {guest} is {scheme}://{host}"),
        None => format!("port {guest} is {host}"),
    }
}

/// Somebody waits, on a terminal or in a log.
fn waiting(seconds: u64, last: Option<&str>) -> String {
    match last {
        Some(line) => format!("still waiting for PID 1 after {seconds} s; the console's last line: {line}\n"),
        None => format!("still waiting for PID 1 after {seconds} s; the console is silent\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_as_what_asks_there_takes_it() {
        for (text, says) in [
            ("8080:80", "port 80 is http://127.0.0.1:8080"),
            ("0.0.0.0:8443:443", "port 443 is https://localhost:8443"),
            ("[::1]:8080:80", "port 80 is http://[::1]:8080"),
            ("5432:5432", "port 5432 is 127.0.0.1:5432"),
            ("80:80/udp", "port 80/udp is 127.0.0.1:80"),
        ] {
            assert_eq!(address(&text.parse().unwrap()), says, "{text}");
        }
    }
}
