//! Writing: to QEMU what it takes now, to the caller the events, and at the end the rest of the output.

use super::Session;
use crate::qemu::error::RunError;
use crate::session::event::{Event, Outcome, Why};
use crate::session::streams::{self, Writer};
use std::io::{self, Write};
use std::time::Instant;

impl Session<'_> {
    // ---- writing ----

    pub(super) fn write(&mut self) -> Result<(), RunError> {
        if self.qmp_open && self.qmp.flush().is_err() {
            self.qmp_open = false;
        }
        while self.port.open && self.may_send() && !self.channel.output().is_empty() {
            match (&self.port.socket).write(self.channel.output()) {
                Ok(n) => self.channel.wrote(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.port.open = false,
            }
        }
        self.type_on_console();
        self.clients.write();
        Ok(())
    }

    /// Waits until the workload's output is out, or a signal says that nobody waits for it.
    pub(super) fn flush_outputs(&mut self) {
        while !self.hurry && !self.writers.iter().all(Writer::idle) {
            let signalled = streams::wait_for_writers(&mut self.writers, &mut self.bell, &mut self.signals);
            self.hurry = signalled || self.deadline().is_some_and(|deadline| Instant::now() >= deadline);
        }
    }

    pub(super) fn deliver(&mut self, sink: &mut dyn FnMut(Event) -> std::ops::ControlFlow<()>) {
        for event in std::mem::take(&mut self.events) {
            if sink(event).is_break() && self.verdict.is_none() {
                self.hurry = true;
                self.conclude(Outcome::Stopped(Why::Watcher));
            }
        }
    }

    pub(super) fn ended(&mut self) -> Result<Option<std::process::ExitStatus>, RunError> {
        self.process.ended().map_err(RunError::host("wait for QEMU"))
    }
}
