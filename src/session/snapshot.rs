//! A machine as it was at a point, and a session that goes on from there.
//!
//! What the session knew of the guest goes on with the machine: the conversation on the host channel with its nonce, its
//! credit and its numbers, the bytes of a frame that has not come whole, and the bytes that were not sent yet. What it had
//! told, and what the workload had written, is told and written again before anything new.
//!
//! ```text
//!  greeting ─▶ capabilities ─▶ migrate-incoming ─▶ cont ─▶ Started, Restored, what was told before ─▶ Resumed ─▶ …
//! ```

use super::boot::Boot;
use super::channel::Channel;
use super::console::Console;
use super::event::{Event, What};
use super::resets::Resets;
use super::{Phase, Session};
use crate::guest::channel::Resumed;
use crate::qemu::{RunError, Saved, send_state};
use crate::random;
use qapi::qmp::{self as command, MigrationCapability, MigrationCapabilityStatus};
use serde_json::Value;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Bytes of events and output that are kept of a machine that is to be saved.
const MOST: usize = 16 << 20;
/// What QEMU calls the pipe.
pub(super) const PIPE: &str = "state";

/// A saved machine, from which any number of machines go on, at once and one after the other.
pub struct Snapshot {
    saved: Saved,
    known: Known,
}

/// What the session knows of the guest.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) channel: Channel,
    pub(super) boot: Boot,
    pub(super) console: Console,
    pub(super) resets: Resets,
    pub(super) record: Record,
}

/// What was told, and what the workload wrote.
#[derive(Clone, Default)]
pub(super) struct Record {
    events: Vec<Event>,
    output: [Vec<u8>; 2],
    bytes: usize,
}

/// How a session begins.
#[derive(Clone, Debug, Default)]
pub enum Begin {
    /// The machine boots.
    #[default]
    Boot,
    /// The machine boots, and is saved when it is asked to be: [`super::control::Connection::save`].
    ToSave,
    /// It goes on.
    From(Arc<Snapshot>),
}

impl Begin {
    pub(super) fn origin(&self) -> crate::qemu::Origin<'_> {
        match self {
            Begin::Boot => crate::qemu::Origin::Boot,
            Begin::ToSave => crate::qemu::Origin::ToSave,
            Begin::From(snapshot) => crate::qemu::Origin::Saved(&snapshot.saved),
        }
    }
}

impl Snapshot {
    pub(super) fn new(saved: Saved, known: Known) -> Snapshot {
        Snapshot { saved, known }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

impl Record {
    pub(super) fn told(&mut self, event: &Event) {
        match &event.what {
            What::Console(bytes) | What::Firmware(bytes) => self.bytes += bytes.len(),
            // About this QEMU and this moment.
            What::Started { .. } | What::Note(_) | What::Told(_) | What::Slow { .. } => return,
            _ => {}
        }
        self.bytes += size_of::<Event>();
        if self.is_whole() {
            self.events.push(event.clone());
        }
    }

    pub(super) fn wrote(&mut self, output: usize, bytes: &[u8]) {
        self.bytes += bytes.len();
        if self.is_whole() {
            self.output[output].extend_from_slice(bytes);
        }
    }

    /// There was not more than is kept.
    pub(super) fn is_whole(&self) -> bool {
        self.bytes <= MOST
    }
}

/// The memory is in a file that both machines have, and QEMU tells how far it is.
pub(super) fn capabilities() -> command::migrate_set_capabilities {
    let on = |capability| MigrationCapabilityStatus { capability, state: true };
    command::migrate_set_capabilities {
        capabilities: [MigrationCapability::x_ignore_shared, MigrationCapability::events].map(on).to_vec(),
    }
}

impl Session<'_> {
    /// With a machine that goes on.
    pub(super) fn from(mut self, begin: Begin) -> Self {
        if let Begin::From(snapshot) = begin {
            self.restore = Some(snapshot);
        }
        self
    }

    /// Gives QEMU the state.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) -> Result<(), RunError> {
        let failed = |error: io::Error| RunError::Qmp(error.to_string());
        self.command(capabilities())?;
        let reader = send_state(snapshot.saved.state()).map_err(RunError::host("make a pipe"))?;
        self.qmp.send_with(command::getfd { fdname: PIPE.into() }, reader.as_fd()).map_err(failed)?;
        self.command(command::migrate_incoming {
            channels: None,
            exit_on_error: None,
            uri: Some(format!("fd:{PIPE}")),
        })?;
        self.phase = Phase::Incoming;
        Ok(())
    }

    /// How far it is.
    pub(super) fn incoming_event(&mut self, name: &str, data: &Value) -> Result<(), RunError> {
        match (name, data["status"].as_str()) {
            ("MIGRATION", Some("completed")) => self.go(),
            ("MIGRATION", Some("failed")) => Err(RunError::Qmp("it cannot take the saved state".into())),
            _ => Ok(()),
        }
    }

    /// The machine runs: everything is as it was, but for the time and the kernel's randomness.
    pub(super) fn go_on(&mut self) {
        let Some(snapshot) = self.restore.take() else { return };
        let Known { channel, boot, console, resets, record } = snapshot.known.clone();
        (self.channel, self.boot, self.console, self.resets) = (channel, boot, console, resets);
        self.boot.since = Instant::now();
        self.tell(What::Restored);
        self.events.extend(record.events);
        for (writer, bytes) in self.writers.iter_mut().zip(record.output) {
            if !bytes.is_empty() {
                writer.write(bytes);
            }
        }
        if self.takes_processes() {
            self.begin_checks();
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        // Without it the machine goes on with the randomness it has.
        let seed = [random::bits(), random::bits()].into_iter().flatten().flatten().collect();
        self.channel.resumed(&Resumed { time, seed });
    }
}
