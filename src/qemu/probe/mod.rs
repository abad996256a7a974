//! The guest that proves an accelerator: it does one thing that only works when instructions are executed.
//!
//! `/dev/kvm` can exist, open, and still hang every guest (nested virtualisation that is half there does that). So a ROM
//! of ours replaces the firmware, nothing else is in the machine, and what counts is that it comes to its end.

mod aarch64;
mod x86_64;

use super::machine::Accel;
use super::spawn;
use crate::arch::Architecture;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How long the guest may take; a working accelerator needs less than a tenth of it.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// A guest of an architecture.
struct Guest {
    /// QEMU's arguments for the machine, but for accelerator and processor.
    machine: &'static [&'static str],
    /// What takes the firmware's place.
    rom: fn() -> Vec<u8>,
    /// Whether QEMU's end and what came over the serial port are the proof.
    proven: fn(ExitStatus, &[u8]) -> bool,
    /// What it does, as an infinitive.
    goal: &'static str,
}

/// Why an accelerator is not usable for guests of `arch`, in words.
pub(super) fn prove(qemu: &Path, accel: Accel, arch: Architecture) -> io::Result<Result<(), String>> {
    let guest = match arch {
        Architecture::X86_64 => x86_64::GUEST,
        Architecture::Aarch64 => aarch64::GUEST,
    };
    let mut rom = File::from(memfd_create("bootdisk-probe", MFdFlags::MFD_CLOEXEC)?);
    rom.write_all(&(guest.rom)())?;
    let mut said = tempfile::tempfile()?;
    let bios = format!("/dev/fd/{}", rom.as_raw_fd());
    let serial = format!("file,id=said,path=/dev/fd/{}", said.as_raw_fd());
    let cpu = if accel == Accel::Tcg { "max" } else { "host" };
    let common = ["-nodefaults", "-no-user-config", "-display", "none", "-accel", accel.name(), "-cpu", cpu];
    let wired = ["-bios", &bios, "-chardev", &serial, "-serial", "chardev:said"];
    let args = common.iter().chain(guest.machine).chain(&wired).map(OsString::from);
    let inherit = [rom.as_raw_fd(), said.as_raw_fd()];
    let mut qemu = spawn::Process::start(qemu, &args.collect::<Vec<_>>(), &inherit)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = qemu.ended()? {
            let mut bytes = Vec::new();
            said.rewind()?;
            said.read_to_end(&mut bytes)?;
            let proven = (guest.proven)(status, &bytes);
            return Ok(if proven { Ok(()) } else { Err(failure(status, &qemu.complaint())) });
        }
        if Instant::now() >= deadline {
            return Ok(Err(format!("a test guest did not {} in {} seconds", guest.goal, PATIENCE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The first thing QEMU says is the cause; what follows are its own assertions.
fn failure(status: ExitStatus, complaint: &str) -> String {
    match complaint.split("; ").next() {
        None | Some("") => format!("a test guest failed ({status})"),
        Some(first) => format!("a test guest failed: {first}"),
    }
}
