//! Saving the machine at a point, so that no byte of any conversation is lost or comes twice.
//!
//! ```text
//!  asked ─▶ what we had to say has been read by QEMU ─▶ stop ─▶ what QEMU had to say has been read by us
//!        ─▶ what is known is put aside; nobody reads any more ─▶ migrate ─▶ quit
//! ```
//!
//! From the request on nothing is sent to the guest: credit that it would have got it gets when it goes on. What the guest
//! has written and QEMU has not read stays in the guest's queues, and so in the state. A QEMU that stands still still passes
//! on what it holds as soon as there is room, so the reading is over when nothing came between two of its answers, twice.

use super::event::{Event, Outcome, Why};
use super::snapshot::{Known, PIPE, Record, Snapshot, capabilities};
use super::{Phase, Session};
use crate::qemu::{Kept, RunError, receive_state};
use qapi::qmp as command;
use serde_json::Value;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The machine must have been saved after this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at whether QEMU has read everything.
const PAUSE: Duration = Duration::from_millis(2);
/// So many answers in a row without anything else.
const QUIET: u32 = 2;

/// A machine that can be saved.
pub(super) struct Save {
    kept: Kept,
    record: Record,
    step: Step,
    until: Option<Instant>,
    known: Option<Known>,
    state: Option<JoinHandle<io::Result<Vec<u8>>>>,
    failed: Option<String>,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Nobody has asked.
    Off,
    /// QEMU reads what was sent.
    Sending,
    /// It was told to stand still.
    Stopping(u64),
    /// It was asked something; so many answers came with nothing else.
    Draining(u64, u32),
    /// It was told to write.
    Writing([u64; 3]),
    /// It has.
    Written,
}

impl Save {
    pub(super) fn new(kept: Kept) -> Save {
        let (record, step) = (Record::default(), Step::Off);
        Save { kept, record, step, until: None, known: None, state: None, failed: None }
    }

    /// What is told, as long as it can become a part of the snapshot.
    pub(super) fn told(&mut self, event: &Event) {
        if self.known.is_none() {
            self.record.told(event);
        }
    }

    /// The same of the workload's output.
    pub(super) fn wrote(&mut self, output: usize, bytes: &[u8]) {
        if self.known.is_none() {
            self.record.wrote(output, bytes);
        }
    }
}

impl Session<'_> {
    /// With a machine that can be saved, if it left something to keep.
    pub(super) fn keeping(mut self, kept: Option<Kept>) -> Self {
        self.save = kept.map(Save::new);
        self
    }

    /// It was asked for: nothing more is sent.
    pub(super) fn is_saving(&self) -> bool {
        self.save.as_ref().is_some_and(|save| save.step != Step::Off)
    }

    /// What QEMU has read it may be told; what is sent after that would be lost.
    pub(super) fn may_send(&self) -> bool {
        self.save.as_ref().is_none_or(|save| matches!(save.step, Step::Off | Step::Sending))
    }

    /// What comes of the guest now is not this session's: it is saved, or does not go on yet.
    pub(super) fn is_deaf(&self) -> bool {
        self.restore.is_some() || self.save.as_ref().is_some_and(|save| save.known.is_some())
    }

    /// A client has seen that the point is reached.
    pub(super) fn asked_to_save(&mut self) {
        if self.verdict.is_some() || self.is_saving() {
            return;
        }
        let why = self.cannot_be_saved();
        let Some(save) = &mut self.save else { return };
        save.step = Step::Sending;
        save.until = Some(Instant::now() + PATIENCE);
        if let Some(why) = why {
            self.not_saved(why.into());
        }
    }

    fn cannot_be_saved(&self) -> Option<&'static str> {
        let record = self.save.as_ref().map(|save| &save.record);
        if !self.boot.resumes {
            return Some("its disk was made by an older bootdisk, whose PID 1 cannot be saved");
        }
        if self.boot.result.is_some() || self.boot.off_at.is_some() || self.boot.panic_at.is_some() {
            return Some("its workload has ended");
        }
        // Who starts processes hears that the machine goes on, too.
        if !self.takes_processes() {
            return Some("its workload does not run");
        }
        if self.clients.have_processes() {
            return Some("processes run beside its workload");
        }
        (!record.is_some_and(Record::is_whole)).then_some("its workload has written too much")
    }

    fn not_saved(&mut self, why: String) {
        if let Some(save) = &mut self.save {
            save.failed.get_or_insert(why);
        }
        self.conclude(Outcome::Stopped(Why::Asked));
    }

    /// When it is to be looked at.
    pub(super) fn save_at(&self) -> Option<Instant> {
        let save = self.save.as_ref().filter(|_| self.verdict.is_none())?;
        match save.step {
            Step::Off | Step::Written => None,
            Step::Sending => Some(Instant::now() + PAUSE),
            _ => save.until,
        }
    }

    /// The next step, where it depends on nobody's answer.
    pub(super) fn look_after_save(&mut self) -> Result<(), RunError> {
        let Some(save) = self.save.as_ref().filter(|_| self.verdict.is_none()) else { return Ok(()) };
        if save.until.is_some_and(|until| Instant::now() >= until) {
            self.not_saved("it could not be saved in time".into());
        } else if save.step == Step::Sending && self.everything_was_read() {
            let id = self.ask(command::stop {})?;
            self.step(Step::Stopping(id));
        }
        Ok(())
    }

    fn everything_was_read(&self) -> bool {
        self.channel.output().is_empty() && self.typed.is_empty() && unread(&self.port.socket) == 0
    }

    fn step(&mut self, step: Step) {
        if let Some(save) = &mut self.save {
            save.step = step;
        }
    }

    fn ask<C: qapi::Command>(&mut self, command: C) -> Result<u64, RunError> {
        self.qmp.send(command).map_err(|error| RunError::Qmp(error.to_string()))
    }

    /// Takes QEMU's answer, if it is to one of these commands.
    pub(super) fn save_answered(&mut self, number: u64, result: &Result<Value, String>) -> Result<bool, RunError> {
        let Some(save) = self.save.as_ref().filter(|_| self.verdict.is_none()) else { return Ok(false) };
        let step = match save.step.clone() {
            Step::Stopping(id) if id == number => Step::Stopping(id),
            Step::Draining(id, quiet) if id == number => Step::Draining(id, quiet),
            Step::Writing(ids) if ids.contains(&number) => Step::Writing(ids),
            _ => return Ok(false),
        };
        if let Err(text) = result {
            self.not_saved(crate::escape::escape(text.as_bytes()));
            return Ok(true);
        }
        match step {
            Step::Stopping(_) => self.drain(0)?,
            Step::Draining(_, quiet) => self.drain(quiet)?,
            _ => {}
        }
        Ok(true)
    }

    /// Reads what there is, and when nothing came for long enough has the machine written.
    fn drain(&mut self, quiet: u32) -> Result<(), RunError> {
        let mut came = false;
        while self.port.open && self.read_port() {
            came = true;
        }
        while self.console_line.open && self.read_console() {
            came = true;
        }
        while self.read_firmware_log() {
            came = true;
        }
        if self.verdict.is_some() {
            return Ok(());
        }
        if came || quiet < QUIET {
            let id = self.ask(command::query_status {})?;
            self.step(Step::Draining(id, if came { 0 } else { quiet + 1 }));
            return Ok(());
        }
        match self.cannot_be_saved() {
            Some(why) => self.not_saved(why.into()),
            None => self.save_now()?,
        }
        Ok(())
    }

    fn save_now(&mut self) -> Result<(), RunError> {
        let (writer, state) = receive_state().map_err(RunError::host("make a pipe"))?;
        let capabilities = self.ask(capabilities())?;
        let named = self.qmp.send_with(command::getfd { fdname: PIPE.into() }, writer.as_fd());
        let named = named.map_err(|error| RunError::Qmp(error.to_string()))?;
        drop(writer);
        let uri = Some(format!("fd:{PIPE}"));
        let migrate = self.ask(command::migrate { channels: None, detach: None, resume: None, uri })?;
        let Session { save, channel, boot, console, resets, .. } = self;
        let Some(save) = save else { return Ok(()) };
        save.known = Some(Known {
            channel: channel.clone(),
            boot: boot.clone(),
            console: console.clone(),
            resets: resets.clone(),
            record: std::mem::take(&mut save.record),
        });
        save.state = Some(state);
        save.step = Step::Writing([capabilities, named, migrate]);
        Ok(())
    }

    /// How far QEMU is.
    pub(super) fn save_event(&mut self, name: &str, data: &Value) {
        let writes = self.save.as_ref().is_some_and(|save| matches!(save.step, Step::Writing(_)));
        if name != "MIGRATION" || !writes || self.verdict.is_some() {
            return;
        }
        match data["status"].as_str() {
            Some("completed") => {
                self.step(Step::Written);
                self.conclude(Outcome::Stopped(Why::Asked));
            }
            Some("failed" | "cancelled") => self.not_saved("QEMU could not write its state".into()),
            _ => {}
        }
    }

    /// The snapshot, when QEMU has gone; nothing where nobody has asked for it.
    pub(super) fn snapshot(&mut self) -> Option<Result<Snapshot, String>> {
        let Save { kept, step, known, state, failed, .. } = self.save.take()?;
        if step == Step::Off {
            return None;
        }
        let (Step::Written, Some(known), Some(state), None) = (step, known, state, &failed) else {
            return Some(Err(failed.unwrap_or_else(|| "it ended before it was saved".into())));
        };
        let state = state.join().unwrap_or_else(|_| Err(io::Error::other("its thread ended early")));
        let saved = state.and_then(|state| kept.with(state)).map_err(|error| error.to_string());
        Some(saved.map(|saved| Snapshot::new(saved, known)))
    }

    /// Lets the machine take its first step, or its next one.
    pub(super) fn go(&mut self) -> Result<(), RunError> {
        self.going = self.ask(command::cont {})?;
        self.phase = Phase::Cont;
        Ok(())
    }
}

/// Bytes that the other end of a socket has not read.
fn unread(socket: &impl AsRawFd) -> i32 {
    let mut bytes = 0;
    // SAFETY: the kernel writes one number.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } {
        0 => bytes,
        _ => 0,
    }
}
