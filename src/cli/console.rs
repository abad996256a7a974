//! What a running machine has to say, on standard error.

use super::options::Global;
use super::stdio::say;
use crate::guest::channel::Level;
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
        }
    }

    /// Says something the user should know and need not act upon.
    pub fn note(&self, text: &str) {
        if self.notes {
            say(&format!("note: {text}\n"));
        }
    }

    /// Shows one event, if it is wanted.
    pub fn event(&mut self, event: &Event) {
        match &event.what {
            What::Note(text) => self.note(text),
            What::HandedOver(init) => {
                self.handed_over = true;
                self.note(&format!("the image's own init takes over: {init}"));
            }
            What::Hello(_) => self.came_up = true,
            What::Reset => self.handed_over = false,
            // Said also when only errors are wanted: nothing goes on until somebody has done something.
            What::NoSpace(scarce) => say(&format!(
                "error: {scarce}; the machine waits and goes on when there is some\nhint: see what takes it with df -h {}\n",
                crate::qemu::paste::quote(scarce.place.as_ref())
            )),
            What::SpaceAgain => self.note("there is space again: the machine goes on"),
            What::Slow { after, last } if !self.quiet => say(&waiting(after.as_secs(), last.as_deref())),
            What::Console(bytes) if self.all && !self.handed_over => say(&self.text.add(bytes)),
            What::Log(log) if self.all || log.level == Level::Error => {
                say(&format!("bootdisk: {}\n", crate::escape::escape(log.text.as_bytes())));
            }
            What::Log(log) if log.note => self.note(&crate::escape::escape(log.text.as_bytes())),
            _ => {}
        }
    }

    /// Says how the machine ended, when the workload's status alone would not.
    pub fn finished(&mut self, finished: &Finished) {
        for lost in &finished.lost {
            say(&format!("error: the workload's output is not whole: {lost}\n"));
        }
        let Some(sentence) = finished.outcome.sentence() else { return };
        let never_came_up = !self.came_up && finished.outcome == Outcome::Stopped(Why::Timeout);
        say(&format!("error: {sentence}{}\n", if never_came_up { ": PID 1 never came up" } else { "" }));
        finished.outcome.hint().iter().for_each(|hint| say(&format!("hint: {hint}\n")));
        // The workload's own failures need no look at the machine.
        let needs_no_look = matches!(finished.outcome, Outcome::Workload { .. } | Outcome::Stopped(_));
        if self.all || self.handed_over || (needs_no_look && !never_came_up) {
            return;
        }
        let last = session::console::lines(&finished.console, LAST_LINES);
        if !last.is_empty() {
            say("the console's last lines:\n");
            last.iter().for_each(|line| say(&format!("  {line}\n")));
        }
    }
}

/// Somebody waits, on a terminal or in a log.
fn waiting(seconds: u64, last: Option<&str>) -> String {
    match last {
        Some(line) => format!("still waiting for PID 1 after {seconds} s; the console's last line: {line}\n"),
        None => format!("still waiting for PID 1 after {seconds} s; the console is silent\n"),
    }
}
