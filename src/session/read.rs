//! Reading whatever is ready, one piece of each: the machine's loop never waits for anything here.

use super::Session;
use super::wait::Source;
use crate::qemu::error::RunError;
use crate::qemu::machine::Accel;
use crate::session::channel::{Output, WORKLOAD};
use crate::session::console::Finding;
use crate::session::event::{Outcome, What, Why};
use crate::session::streams::read_ready;
use crate::session::terminal;
use std::os::fd::AsFd;
use std::time::Instant;

impl Session<'_> {
    pub(super) fn read(&mut self, ready: &[Source], accel: Accel) -> Result<(), RunError> {
        for source in ready {
            match source {
                Source::Qmp => self.read_qmp(accel)?,
                Source::Port => drop(self.read_port()),
                Source::Console => drop(self.read_console()),
                Source::Firmware => drop(self.read_firmware_log()),
                Source::Stderr => self.complains = self.process.listen(),
                Source::Daemon(number) => self.daemons.listen(*number),
                Source::Signals => self.read_signals(),
                Source::Bell => self.bell.quiet(),
                Source::Stdin => self.read_stdin(),
                Source::Hangup => self.hang_up(libc::SIGHUP),
                Source::Client(door) => self.serve_client(*door),
            }
        }
        self.pass_credit();
        Ok(())
    }

    /// Reads the serial console; whether there was anything.
    pub(super) fn read_console(&mut self) -> bool {
        if self.is_deaf() {
            return false;
        }
        let n = self.console_line.read(&mut self.buffer);
        if n == 0 {
            return false;
        }
        self.heard = Instant::now();
        let bytes = self.buffer[..n].to_vec();
        for finding in self.console.add(&bytes) {
            match finding {
                Finding::Corrupted(line) => {
                    self.tell(What::Told(format!("the console says that the root is not as it was built: {line}")));
                }
                Finding::Panic(_) if self.boot.handed_over => self.boot.panic_told = true,
                // After the hello the workload may have written it.
                _ if self.boot.hello || self.verdict.is_some() => {}
                Finding::Panic(_) => self.panicked(),
                // Nothing follows, so nothing is waited for.
                Finding::PanicEnd if self.boot.panic_at.is_some() => self.boot.panic_at = self.started.into(),
                Finding::PanicEnd => {}
            }
        }
        if self.boot.handed_over {
            self.pass_on(Output::Stdout, bytes.clone());
        }
        self.look_for_hand_over(&bytes);
        if !self.boot.hello
            && let Some(gave_up) = self.boot.last_words.on_console(&bytes)
        {
            self.conclude(Outcome::GaveUp(gave_up));
        }
        self.tell(What::Console(bytes));
        true
    }

    fn read_signals(&mut self) {
        for signal in self.signals.arrived() {
            if signal == libc::SIGHUP && self.options.detached {
                continue;
            }
            if signal == libc::SIGHUP && self.terminal.is_some() {
                self.hang_up(signal);
            } else if signal != libc::SIGWINCH {
                self.stop(Why::Signal(signal));
            } else if self.terminal.is_some() && self.boot.hello {
                let fd = self.stdin.as_fd();
                if let Some((rows, cols)) = terminal::size(fd) {
                    self.channel.resize(WORKLOAD, rows, cols);
                }
            }
        }
    }

    /// The user's terminal has gone: so does the workload's, and the machine ends.
    fn hang_up(&mut self, signal: i32) {
        self.hung_up = true;
        self.channel.reader_gone(WORKLOAD, Output::Stdout);
        if self.stopping.is_none() {
            self.stop(Why::Signal(signal));
        }
    }

    /// Where Ctrl-C is the workload's, other keys end the machine.
    pub(super) fn look_for_leave(&mut self, typed: usize) {
        if self.raw.is_some() && self.leave.typed(&self.buffer[..typed], Instant::now()) {
            self.stop(Why::Signal(libc::SIGTERM));
        }
    }

    fn read_stdin(&mut self) {
        if self.boot.handed_over {
            return self.read_typing();
        }
        let room = self.channel.stdin_room(WORKLOAD).unwrap_or(0) as usize;
        let room = room.min(self.buffer.len());
        match read_ready(self.stdin.as_fd(), &mut self.buffer[..room]) {
            Some(n) => {
                _ = self.channel.send_stdin(WORKLOAD, &self.buffer[..n]);
                self.look_for_leave(n);
            }
            None => self.channel.close_stdin(WORKLOAD),
        }
    }
}
