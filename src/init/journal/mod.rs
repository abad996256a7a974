//! The journal that a machine leaves behind when it loses its power: it is replayed before anybody looks at the root.
//!
//! The kernel replays a journal while it mounts, but has read the number of groups and the descriptors by then. Where
//! the journal enlarges the file system they are those of before, and the kernel that then enlarges it further stops
//! with a bug. So a first mount replays, and the one that counts finds everything where it belongs. The first one is
//! read-only: then the kernel takes descriptors whose checksums only hold after the replay. What it does not take even
//! then is brought home before it is asked again.

mod home;
mod transactions;

use super::log;
use super::superblock::Superblock;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::Path;

/// What became of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// There is nothing in it, or no longer.
    Empty,
    /// It has something to tell, and the disk cannot be written.
    WriteProtected,
}

impl Journal {
    /// The option of a read-only mount that leaves the journal alone, where that is the only way.
    pub fn option(self) -> Option<&'static str> {
        (self == Journal::WriteProtected).then_some("noload")
    }
}

/// Replays the journal of the file system on `device`, if it has one with something in it. Nothing is mounted at `at`
/// before or afterwards.
pub fn replay(device: &Path, fstype: &str, at: &str) -> nix::Result<Journal> {
    let superblock = if fstype == "ext4" { Superblock::read(device) } else { Ok(None) };
    if !superblock.is_ok_and(|found| found.is_some_and(|superblock| superblock.needs_recovery)) {
        return Ok(Journal::Empty);
    }
    let attempt = || mount(Some(device), at, Some(fstype), MsFlags::MS_RDONLY, None::<&str>);
    let replayed = match attempt() {
        Err(Errno::EUCLEAN) => home::bring(device).map_err(|_| Errno::EUCLEAN).and_then(|_| attempt()),
        result => result,
    };
    match replayed {
        Ok(()) => {
            umount2(at, MntFlags::empty())?;
            log::info("the root disk lost its power; its journal was replayed");
            Ok(Journal::Empty)
        }
        Err(Errno::EROFS | Errno::EACCES) => {
            log::warning("the root disk lost its power and is write-protected: its last writes may be missing");
            Ok(Journal::WriteProtected)
        }
        Err(errno) => Err(errno),
    }
}
