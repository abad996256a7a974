//! A machine that is saved at a point, and the machines that go on from there.
//!
//! ```text
//!  saved machine   memory ── shared ──▶ file ◀── copied on write ── memory of each that goes on
//!                  disk ◀─ overlay ──▶ file ◀── only read ── overlay of its own ── disk of each
//!                  devices ── migrate ──▶ pipe ─▶ bytes ─▶ pipe ── migrate-incoming ──▶ devices of each
//! ```
//!
//! The memory is a file without a name where overlays are, so that the host can write out what it has no room for. QEMU
//! does not put it into the stream (`x-ignore-shared`): that is the devices' state alone, and is kept in this program.
//! Nothing of it outlives the value: it cannot meet another QEMU, another kernel or another disk.
//!
//! Not supported: machines that share folders with this host or write to other disks; what is outside of the machine does not
//! go back to the point with it.
//!
//! Source: QEMU, docs/devel/migration/main.rst, qapi/migration.json.

use super::args::MemoryAt;
use super::disk::Disk;
use super::error::RunError;
use super::extras::Extras;
use super::machine::{Access, Bus, MachineOptions};
use crate::formats::unpack::read_bounded;
use crate::inputs::FileId;
use crate::output::scratch_dir;
use std::fs::{File, Permissions};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Bytes of devices' state that are kept: half a MiB is usual, and firmware and graphics memory come to that.
const MOST: u64 = 256 << 20;

/// How a machine begins.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// It boots.
    Boot,
    /// It boots and can be saved.
    ToSave,
    /// It goes on.
    Saved(&'a Saved),
}

/// What a machine that can be saved leaves behind.
#[derive(Debug)]
pub(crate) struct Kept {
    disk: File,
    overlay: File,
    memory: File,
}

/// A saved machine.
#[derive(Debug)]
pub(crate) struct Saved {
    kept: Kept,
    /// The same file as it was opened, which stays locked against writers.
    disk: FileId,
    state: Arc<Vec<u8>>,
}

impl Kept {
    /// With the devices' state, once its QEMU has gone.
    pub(crate) fn with(self, state: Vec<u8>) -> io::Result<Saved> {
        Ok(Saved { disk: FileId::of(&self.disk.metadata()?), kept: self, state: Arc::new(state) })
    }
}

#[cfg(test)]
impl Kept {
    /// Of a machine that has no QEMU.
    pub(crate) fn empty() -> Kept {
        let [disk, overlay, memory] = [(); 3].map(|()| tempfile::tempfile().unwrap());
        Kept { disk, overlay, memory }
    }
}

impl Saved {
    /// The devices' state.
    pub(crate) fn state(&self) -> Arc<Vec<u8>> {
        self.state.clone()
    }
}

impl Origin<'_> {
    /// The disk that it must be.
    pub(super) fn disk(self) -> Option<FileId> {
        match self {
            Origin::Saved(saved) => Some(saved.disk),
            _ => None,
        }
    }

    /// What the saved machine had written.
    pub(super) fn written(self) -> Result<Option<File>, RunError> {
        let Origin::Saved(saved) = self else { return Ok(None) };
        // QEMU takes a descriptor only if it can do no more than what it is for.
        again(&saved.kept.overlay).map(Some).map_err(RunError::host("open the saved machine's disk"))
    }

    pub(super) fn memory_at(self, memory: &File) -> MemoryAt {
        match self {
            Origin::Saved(_) => MemoryAt::Copied(memory.as_raw_fd()),
            _ => MemoryAt::Kept(memory.as_raw_fd()),
        }
    }

    /// What stays when QEMU has its own copies of everything.
    pub(super) fn kept(self, disk: Disk, memory: Option<File>) -> Option<Kept> {
        match (self, disk.overlay, memory) {
            (Origin::ToSave, Some(overlay), Some(memory)) => Some(Kept { disk: disk.file, overlay, memory }),
            _ => None,
        }
    }
}

/// Why QEMU cannot save a machine like this, if that is known before it boots (hw/nvme/ctrl.c, `unmigratable`).
pub fn cannot_be_saved(machine: &MachineOptions) -> Option<&'static str> {
    (machine.bus == Bus::Nvme).then_some("QEMU cannot save a machine with an NVMe disk")
}

/// Refuses what cannot be saved.
pub(super) fn check(machine: &MachineOptions, extras: &Extras, origin: Origin<'_>) -> Result<(), RunError> {
    let own = machine.access == Access::Overlay && extras.shares.is_empty() && extras.wire.is_none();
    match origin {
        Origin::Boot => Ok(()),
        _ if own && extras.disks.iter().all(|disk| disk.read_only) => Ok(()),
        _ => Err(RunError::Unsupported("a snapshot of a machine that is joined to more than its disk")),
    }
}

/// The file that is its memory, if one is to be.
pub(super) fn memory(machine: &MachineOptions, origin: Origin<'_>) -> Result<Option<File>, RunError> {
    let failed = RunError::host("make a file for the machine's memory");
    match origin {
        Origin::Boot => Ok(None),
        Origin::ToSave => make_memory(machine.memory, machine.scratch.as_deref()).map(Some).map_err(failed),
        Origin::Saved(saved) => saved.kept.memory.try_clone().map(Some).map_err(failed),
    }
}

/// A sparse file of so many MiB without a name. QEMU opens it by its descriptor's name, perhaps as another user.
fn make_memory(mib: u32, scratch: Option<&Path>) -> io::Result<File> {
    let file = tempfile::tempfile_in(scratch.map_or_else(scratch_dir, Path::to_owned))?;
    file.set_permissions(Permissions::from_mode(0o666))?;
    file.set_len(u64::from(mib) << 20)?;
    Ok(file)
}

/// The same file, only for reading, and with a position of its own.
fn again(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Takes a machine's state as it comes. The thread ends with the pipe; what is too long it stops reading, and QEMU fails.
pub(crate) fn receive_state() -> io::Result<(PipeWriter, JoinHandle<io::Result<Vec<u8>>>)> {
    let (reader, writer) = io::pipe()?;
    let too_long = || io::Error::other(format!("the machine's state is longer than {MOST} bytes"));
    let receive = move || read_bounded(reader, MOST)?.ok_or_else(too_long);
    Ok((writer, thread::Builder::new().name("state".into()).spawn(receive)?))
}

/// Gives a machine its state. The thread ends when QEMU has read it, or has gone.
pub(crate) fn send_state(state: Arc<Vec<u8>>) -> io::Result<PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    // Whether it was read whole QEMU says.
    thread::Builder::new().name("state".into()).spawn(move || _ = writer.write_all(&state))?;
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_state_goes_through_pipes_whole() {
        let state: Vec<u8> = (0..1_000_000u32).map(|number| number as u8).collect();
        let (mut writer, received) = receive_state().unwrap();
        writer.write_all(&state).unwrap();
        drop(writer);
        assert!(received.join().unwrap().unwrap() == state);
        let mut read = Vec::new();
        send_state(Arc::new(state.clone())).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == state);
        // A QEMU that goes in the middle of it leaves nobody waiting.
        drop(send_state(Arc::new(state)).unwrap());
    }

    #[test]
    fn memory_has_no_name_and_anybody_with_its_descriptor_may_open_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = make_memory(64, Some(dir.path())).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let facts = file.metadata().unwrap();
        assert_eq!((facts.len(), facts.permissions().mode() & 0o777), (64 << 20, 0o666));
        file.write_all_at(b"x", 5).unwrap();
        let again = again(&file).unwrap();
        let mut byte = [0];
        again.read_exact_at(&mut byte, 5).unwrap();
        assert_eq!(byte, *b"x");
        assert!(again.write_all_at(b"y", 5).is_err());
    }
}
