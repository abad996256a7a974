//! A host whose file system is full.
//!
//! QEMU stops the machine at a write that finds no space (`werror=enospc`, its own choice) and keeps the write. That
//! loses nothing: an error instead would be told to a kernel that has promised its programs more room than there is, and
//! what it then throws away was written as far as they know. So the machine stands still, it is said at once, and the
//! write is tried again until there is space.
//!
//! An NVMe controller of QEMU's does not stop: its guest gets an error (EIO) from the write.

use super::Session;
use crate::escape;
use crate::output::scratch_dir;
use crate::qemu::machine::Access;
use crate::session::event::{Scarce, What};
use qapi::qmp as command;
use std::path::Path;
use std::time::{Duration, Instant};

/// From one try to the next.
const AGAIN: Duration = Duration::from_secs(1);
/// A machine that has run for so long since the last try goes on.
const WELL: Duration = Duration::from_secs(2);

/// A machine that stands still for want of space, or did a moment ago.
#[derive(Clone, Copy)]
pub(super) enum Full {
    /// It does, until then.
    Waits(Instant),
    /// It was told to go on, and has if nothing comes until then.
    Tried(Instant),
}

impl Session<'_> {
    /// QEMU has stopped the machine because of a write.
    pub(super) fn out_of_space(&mut self) {
        if self.full.is_none() {
            self.tell(What::NoSpace(self.scarce()));
        }
        self.full = Some(Full::Waits(Instant::now() + AGAIN));
    }

    fn scarce(&self) -> Scarce {
        let overlay = self.machine.access == Access::Overlay;
        let disk = &self.machine.disk;
        let folder = disk.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let place = match (overlay, &self.machine.scratch) {
            (true, Some(scratch)) => escape::path(scratch),
            (true, None) => escape::path(&scratch_dir()),
            (false, _) => escape::path(folder),
        };
        Scarce { place, overlay }
    }

    /// Whether the machine stands still now.
    pub(super) fn stands_still(&self) -> bool {
        matches!(self.full, Some(Full::Waits(_)))
    }

    /// When the next step is due.
    pub(super) fn space_at(&self) -> Option<Instant> {
        let (Full::Waits(at) | Full::Tried(at)) = self.full?;
        Some(at)
    }

    /// Takes it.
    pub(super) fn look_for_space(&mut self) {
        if self.stands_still() {
            // What found no space is written again; if there still is none, the machine stops again.
            _ = self.command(command::cont {});
            self.full = Some(Full::Tried(Instant::now() + WELL));
        } else if self.full.take().is_some() {
            self.tell(What::SpaceAgain);
        }
    }
}
