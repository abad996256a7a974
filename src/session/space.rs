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
use crate::session::event::{Kept, Scarce, What};
use qapi::qmp as command;
use std::path::{Path, PathBuf};
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
    /// QEMU has stopped the machine because of a write, to this node of its block devices if it says so.
    pub(super) fn out_of_space(&mut self, node: Option<&str>) {
        if self.full.is_none() {
            self.tell(What::NoSpace(self.scarce(node)));
        }
        self.full = Some(Full::Waits(Instant::now() + AGAIN));
    }

    fn scarce(&self, node: Option<&str>) -> Scarce {
        let volume = node.and_then(|node| self.volumes.iter().find(|(name, _)| name == node));
        let folder = |path: &Path| path.parent().filter(|folder| *folder != Path::new("")).map(Path::to_owned);
        let (what, place) = match volume {
            Some((_, place)) => (Kept::Volume, if place.is_dir() { Some(place.clone()) } else { folder(place) }),
            None if self.machine.access == Access::Overlay => {
                (Kept::Overlay, Some(self.machine.scratch.clone().unwrap_or_else(scratch_dir)))
            }
            None => (Kept::Disk, folder(&self.machine.disk)),
        };
        Scarce { place: escape::path(&place.unwrap_or(PathBuf::from("."))), what }
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
