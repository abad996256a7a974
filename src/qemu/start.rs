//! From options to a QEMU that has started and waits for its monitor to be spoken to.

use super::account::{self, Loaded, Why};
use super::args::{self, FileAt, SocketAt, Wiring};
use super::disk::{self, Disk};
use super::error::RunError;
use super::extras::Extras;
use super::fence::{Fence, Unwatched};
use super::firmware::{self, Firmware};
use super::machine::{Accel, Boot, Bus, MachineOptions};
use super::relay::{self, Relays};
use super::saved::{self, Kept, Origin};
use super::spawn::{Confined, Process};
use super::{accel, binary, fence, ports, sandbox};
use crate::arch::Architecture;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Our ends of the sockets.
pub(crate) struct Links {
    pub(crate) qmp: UnixStream,
    pub(crate) channel: UnixStream,
    pub(crate) console: UnixStream,
    pub(crate) firmware_log: Option<UnixStream>,
}

/// A QEMU whose machine has not taken its first step.
pub(crate) struct Started {
    /// Its program.
    pub(crate) qemu: PathBuf,
    pub(crate) accel: Accel,
    pub(crate) process: Process,
    pub(crate) links: Links,
    /// It must stand until QEMU has gone.
    pub(crate) fence: Option<Fence>,
    /// They last as long as the machine.
    pub(crate) relays: Relays,
    /// When it was started.
    pub(crate) at: Instant,
    /// What a machine that is to be saved leaves behind.
    pub(crate) kept: Option<Kept>,
}

/// Starts QEMU with what else the machine has. `tell` gets what the user should know, with the time since the start.
///
/// # Errors
/// Whatever keeps the machine from starting.
pub(crate) fn start(
    machine: &MachineOptions,
    extras: &Extras,
    origin: Origin<'_>,
    tell: &mut dyn FnMut(Duration, String),
) -> Result<Started, RunError> {
    check(machine)?;
    saved::check(machine, extras, origin)?;
    let qemu = binary::find(machine.arch, machine.qemu.as_deref())?;
    if extras.wire.is_some() && binary::version(&qemu).is_some_and(|version| version < binary::DATAGRAMS) {
        return Err(RunError::Unsupported("several machines on one network with a QEMU before 7.2"));
    }
    let seen = origin.disk().or(machine.disk_id);
    let disk = disk::open(&machine.disk, machine.access, machine.size, machine.scratch.as_deref(), seen)?;
    let memory = saved::memory(machine, origin)?;
    let written = origin.written()?;
    let firmware = match machine.boot {
        Boot::Uefi => Some(firmware::open(machine.arch, machine.secure_boot.as_ref())?),
        _ => None,
    };
    ports::check(&machine.forwards)?;
    let (forwards, relays) = relay::begin(&machine.forwards)?;
    let machine = &MachineOptions { forwards, ..machine.clone() };
    let settled = accel::settle(machine.accel, machine.arch, &qemu)?;
    if let Some(note) = settled.note {
        tell(Duration::ZERO, note);
    }

    let pair = || UnixStream::pair().map_err(RunError::host("make a pair of sockets"));
    let ((qmp, qmp_end), (channel, channel_end), (console, console_end)) = (pair()?, pair()?, pair()?);
    let firmware_log = (machine.firmware_log && machine.has_seabios()).then(pair).transpose()?;
    let (firmware_log, firmware_log_end) = firmware_log.unzip();
    let wiring = Wiring {
        accel: settled.accel,
        disk: file_at(&disk.file),
        block_device: disk.block_device,
        overlay: disk.overlay.as_ref().map(file_at),
        firmware: firmware.as_ref().map(|firmware| (file_at(&firmware.code), file_at(&firmware.vars))),
        qmp: SocketAt::Fd(qmp_end.as_raw_fd()),
        channel: SocketAt::Fd(channel_end.as_raw_fd()),
        console: SocketAt::Fd(console_end.as_raw_fd()),
        sandbox: sandbox::wanted(machine, &qemu),
        firmware_log: firmware_log_end.as_ref().map_or(SocketAt::Absent, |end| SocketAt::Fd(end.as_raw_fd())),
        shares: extras.shares.iter().map(|one| (one.tag.clone(), SocketAt::Fd(one.socket.as_raw_fd()))).collect(),
        disks: extras.disks.iter().map(|one| (one.serial.clone(), file_at(&one.file), one.read_only)).collect(),
        fw_cfg: extras.fw_cfg.iter().map(|one| (one.name.clone(), one.file.as_raw_fd())).collect(),
        wire: extras.wire.as_ref().map(|wire| (wire.socket.as_raw_fd(), wire.mac)),
        memory: memory.as_ref().map(|memory| origin.memory_at(memory)),
        written: written.as_ref().map(file_at),
    };
    let ends = [Some(&qmp_end), Some(&channel_end), Some(&console_end), firmware_log_end.as_ref()];
    let ends = ends.into_iter().flatten().map(|end| end.as_raw_fd()).chain(extras.sockets());
    let ends: Vec<i32> = ends.collect();
    let files = files(&disk, firmware.as_ref()).into_iter().chain(extras.files());
    let files = files.chain(memory.iter().chain(&written).map(AsRawFd::as_raw_fd));
    let inherit: Vec<i32> = ends.iter().copied().chain(files).collect();
    let at = Instant::now();
    let (process, fence, stays_root) = launch(&qemu, machine, &wiring, inherit, &ends)?;
    if let Some(why) = stays_root {
        tell(Duration::ZERO, why.to_string());
    }
    let fence = fence.map(|fence| fence.watch(process.id())).transpose();
    let fence = fence.map_err(RunError::host("watch what QEMU connects to"))?;
    // QEMU has its own copies now. Ours of its ends must go, or we would never see it close them.
    drop((qmp_end, channel_end, console_end, firmware_log_end, firmware, written));
    let kept = origin.kept(disk, memory);

    if let Some(gap) = fence.as_ref().and_then(|fence| fence.gap()) {
        tell(at.elapsed(), fence::without(gap));
    }
    let links = Links { qmp, channel, console, firmware_log };
    Ok(Started { qemu, accel: settled.accel, process, links, fence, relays, at, kept })
}

/// Starts QEMU, for root as somebody else where that is possible, or else with the reason; and the fence around it.
fn launch(
    qemu: &Path,
    machine: &MachineOptions,
    wiring: &Wiring,
    mut inherit: Vec<i32>,
    sockets: &[i32],
) -> Result<(Process, Option<Unwatched>, Option<Why>), RunError> {
    let start = |account, machine: &MachineOptions, inherit: &[i32]| {
        let (gate, fence) = fence::around(machine, sockets)?.unzip();
        let args = args::arguments(machine, wiring);
        Process::start_confined(Confined { account, gate, view: None }, qemu, &args, inherit)
            .map(|process| (process, fence))
    };
    let (account, mut why) = account::choose(machine, wiring.accel);
    if account.is_some() {
        let mut machine = machine.clone();
        let loaded = Loaded::of(&mut machine.boot).map_err(RunError::host("copy the boot files"))?;
        inherit.extend(loaded.fds());
        match start(account, &machine, &inherit) {
            Ok((process, fence)) => return Ok((process, fence, None)),
            Err(_) => why = Some(Why::Refused),
        }
    }
    let unusable = |source| RunError::QemuUnusable { program: qemu.to_owned(), source };
    let (process, fence) = start(None, machine, &inherit).map_err(unusable)?;
    Ok((process, fence, why))
}

fn file_at(file: &impl AsRawFd) -> FileAt {
    FileAt::Fd(file.as_raw_fd())
}

fn files(disk: &Disk, firmware: Option<&Firmware>) -> Vec<i32> {
    let disk = [Some(&disk.file), disk.overlay.as_ref()];
    let firmware = firmware.map(|firmware| [&firmware.code, &firmware.vars]);
    disk.into_iter().flatten().chain(firmware.into_iter().flatten()).map(|file| file.as_raw_fd()).collect()
}

/// Combinations that QEMU would refuse with words about its own options.
fn check(machine: &MachineOptions) -> Result<(), RunError> {
    let refuse = |what| Err(RunError::Unsupported(what));
    match machine {
        MachineOptions { arch: Architecture::Aarch64, bus: Bus::Ide, .. } => refuse("aarch64 with an IDE disk"),
        MachineOptions { arch: Architecture::Aarch64, boot: Boot::Bios, .. } => refuse("aarch64 with a BIOS"),
        MachineOptions { arch: Architecture::X86_64, bus: Bus::Ide, secure_boot: Some(_), .. } => {
            refuse("Secure Boot with an IDE disk")
        }
        MachineOptions { cpus: 0 | 256.., .. } => refuse("fewer than 1 or more than 255 processors"),
        MachineOptions { network: None, forwards, .. } if !forwards.is_empty() => {
            refuse("forwarded ports without a network")
        }
        _ => Ok(()),
    }
}
