//! A machine whose own init has taken PID 1's place (`--init image`).
//!
//! The serial console, which is that init's /dev/console, is all there is to see: from the hand-over on it goes to
//! standard output as it comes (with the serial line's `\r\n`), and with `-i` standard input goes to it; the end of
//! standard input changes nothing, because a serial line has no end. There is no result: the machine that switches itself
//! off has done its work.
//!
//! On the host channel is the caretaker that PID 1 has left: it starts processes, and asks the init to switch off. QEMU
//! tells when it has gone. To stop a machine, its power button is pressed as well; an init that nobody told what the
//! button is for (systemd without udev, sysvinit without acpid) gets Ctrl-Alt-Del, which is the order to restart: at once
//! where PID 1 has seen that and left no caretaker, or else after some presses. Its reset is the end then.

use super::Session;
use crate::escape::escape;
use crate::guest::channel::WINDOW;
use crate::session::channel::Output;
use crate::session::control::NoEntry;
use crate::session::event::What;
use crate::session::streams::read_ready;
use qapi::qmp::{self as command, KeyValue, QKeyCode, QKeyCodeWrapper};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// A power button pressed before anybody watches it is pressed in vain, so it is pressed again.
pub(super) const PRESS_AGAIN: Duration = Duration::from_secs(5);
/// So many presses are in vain before Ctrl-Alt-Del is tried too.
const PRESSES: u32 = 2;
/// And so many of a machine whose init was asked: Ctrl-Alt-Del would cut short what it does to switch off.
const ASKED: u32 = 10;
/// Bytes of standard input read at a time: a serial line is slow.
const TYPED: usize = 1024;

impl Session<'_> {
    /// PID 1 has announced the hand-over.
    pub(super) fn handed_over(&mut self, init: &str, no_button: bool, caretaker: bool) {
        self.boot.handed_over = true;
        self.boot.no_button = no_button;
        self.boot.no_entry = (!caretaker).then_some(NoEntry::OldDisk);
        if caretaker {
            self.begin_checks();
        }
        self.take_terminal();
        self.tell(What::HandedOver(escape(init.as_bytes())));
        if self.stopping.is_some() {
            // What PID 1 was asked, nobody remembers.
            self.press_power_button();
        }
    }

    /// Whether processes can be started beside what runs.
    pub(super) fn takes_processes(&self) -> bool {
        self.boot.started || self.boot.handed_over && self.boot.no_entry.is_none()
    }

    /// The init, or whatever is on the channel now, is not one of ours.
    pub(super) fn caretaker_gone(&mut self) {
        if self.boot.no_entry.is_none() && self.boot.off_at.is_none() {
            self.boot.no_entry = Some(NoEntry::Ended);
            self.turn_clients_away(NoEntry::Ended);
        }
    }

    /// Presses the button once, and says when to do it again. The caretaker is asked, too: what an init is told before it
    /// listens is lost.
    pub(super) fn press_power_button(&mut self) {
        _ = self.command(command::system_powerdown {});
        let asked = self.boot.handed_over && self.takes_processes();
        if asked {
            self.channel.stop(None);
        }
        let Some(stopping) = &mut self.stopping else { return };
        stopping.press_at = Instant::now() + PRESS_AGAIN;
        stopping.presses += 1;
        let deaf = match asked {
            true => stopping.presses > ASKED,
            false => self.boot.no_button || stopping.presses > PRESSES,
        };
        if self.boot.handed_over && deaf {
            self.press_ctrl_alt_del();
        }
    }

    /// A machine without a keyboard has nobody who would hear of it.
    fn press_ctrl_alt_del(&mut self) {
        let keys = [QKeyCode::ctrl, QKeyCode::alt, QKeyCode::delete];
        let keys = keys.into_iter().map(|data| KeyValue::qcode(QKeyCodeWrapper { data })).collect();
        _ = self.command(command::send_key { keys, hold_time: None });
    }

    /// When the button is to be pressed again, if it is.
    pub(super) fn press_at(&self) -> Option<Instant> {
        let stopping = self.stopping.as_ref().filter(|_| self.boot.handed_over && self.boot.off_at.is_none())?;
        Some(stopping.press_at)
    }

    /// Whether more of the console may be read: a reader of standard output that is slow slows the guest down.
    pub(super) fn console_has_room(&self) -> bool {
        !self.boot.handed_over || self.writers[Output::Stdout as usize].waiting() < WINDOW as usize
    }

    /// Whether standard input is to be read for the console.
    pub(super) fn own_init_reads(&self) -> bool {
        self.boot.handed_over && self.options.stdin && self.stdin_open && self.typed.is_empty()
    }

    /// Takes what was typed.
    pub(super) fn read_typing(&mut self) {
        match read_ready(self.stdin.as_fd(), &mut self.buffer[..TYPED]) {
            Some(n) => {
                self.typed.extend_from_slice(&self.buffer[..n]);
                self.look_for_leave(n);
            }
            None => self.stdin_open = false,
        }
    }

    /// Passes it on, as far as the console takes it now.
    pub(super) fn type_on_console(&mut self) {
        while self.console_line.open && !self.typed.is_empty() {
            match (&self.console_line.socket).write(&self.typed) {
                Ok(n) => drop(self.typed.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.console_line.open = false,
            }
        }
    }
}
