//! The conversation with QEMU itself: its monitor's greeting, our commands, the machine's events.

use super::{Phase, Session};
use crate::escape::{escape, printable};
use crate::qemu::error::RunError;
use crate::qemu::machine::Accel;
use crate::qemu::qmp::Message;
use crate::session::event::What;
use qapi::qmp as command;
use serde_json::Value;
use std::io;
use std::time::Instant;

impl Session<'_> {
    pub(super) fn read_qmp(&mut self, accel: Accel) -> Result<(), RunError> {
        let broken = |error: io::Error| RunError::Qmp(printable(&error.to_string()));
        self.qmp_open = self.qmp.fill().map_err(broken)?;
        while let Some(message) = self.qmp.next_message().map_err(broken)? {
            match message {
                Message::Greeting { .. } if self.phase == Phase::Greeting => {
                    self.phase = Phase::Capabilities;
                    self.command(command::qmp_capabilities { enable: None })?;
                }
                Message::Answer { result: Err(text), .. } if self.phase != Phase::Running => {
                    return Err(RunError::Qmp(escape(text.as_bytes())));
                }
                Message::Answer { .. } if self.phase == Phase::Capabilities => match self.restore.clone() {
                    Some(snapshot) => self.restore(&snapshot)?,
                    None => self.go()?,
                },
                Message::Event { name, data } if self.phase == Phase::Incoming => self.incoming_event(&name, &data)?,
                Message::Answer { id, .. } if self.phase == Phase::Cont && id == self.going => {
                    self.phase = Phase::Running;
                    self.boot.since = Instant::now();
                    let pid = self.process.id();
                    self.tell(What::Started { pid, accel });
                    self.go_on();
                }
                Message::Answer { id, result } => {
                    let taken = self.save_answered(id, &result)?;
                    if !taken {
                        self.answered(id, result);
                    }
                }
                Message::Event { name, data } => {
                    self.save_event(&name, &data);
                    self.machine_event(&name, &data);
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn command<C: qapi::Command>(&mut self, command: C) -> Result<(), RunError> {
        self.qmp.send(command).map(drop).map_err(|error| RunError::Qmp(error.to_string()))
    }

    fn machine_event(&mut self, name: &str, data: &Value) {
        match name {
            "SHUTDOWN" => {
                // What the guest sent before it is here by now, and was said before it.
                while self.read_port() {}
                if data["reason"] == "guest-reset" && self.reset_is_a_panic() {
                    return self.panicked();
                }
                self.boot.off_at.get_or_insert_with(Instant::now);
                self.tell(What::PoweredOff);
            }
            // Nobody but the caretaker had it open.
            "VSERPORT_CHANGE" if data["open"] == false && self.boot.handed_over => {
                while self.read_port() {}
                self.caretaker_gone();
            }
            "RESET" if data["guest"] == true => self.reset(),
            "BLOCK_IO_ERROR" if data["action"] == "stop" => self.out_of_space(data["node-name"].as_str()),
            "STOP" if self.full.is_some() && self.boot.off_at.is_none() => self.out_of_space(None),
            "GUEST_PANICKED" => {
                while self.read_port() {}
                self.boot.panic_is_a_guess = false;
                self.panicked();
            }
            _ => {}
        }
    }
}
