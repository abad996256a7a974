//! `run`: from options to a machine that has ended.

use super::account::{self, Loaded, Why};
use super::args::{self, FileAt, SocketAt, Wiring};
use super::control::Endpoint;
use super::disk::{self, Disk};
use super::error::RunError;
use super::event::{Event, Finished, What};
use super::fence::Unwatched;
use super::firmware::{self, Firmware};
use super::machine::{Boot, Bus, MachineOptions};
use super::session::{Links, Session};
use super::spawn::{Confined, Process};
use super::streams::Streams;
use super::{accel, binary, fence, ports, sandbox, terminal};
use crate::arch::Architecture;
use crate::guest::channel::{Overrides, Terminal};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a session wants of its machine.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// What differs from the disk's boot specification.
    pub overrides: Overrides,
    /// `-t`: the workload gets a terminal.
    pub terminal: bool,
    /// `-i`: the workload gets our standard input.
    pub stdin: bool,
    /// SIGHUP says nothing about the machine.
    pub detached: bool,
    /// The machine must have ended after this time.
    pub timeout: Option<Duration>,
}

/// Gets every event as it happens; `Break` ends the machine at once.
pub type Sink<'a> = &'a mut dyn FnMut(Event) -> ControlFlow<()>;

/// Boots the machine and returns when it has ended. Nothing of it is left then, whatever happened.
///
/// The thread that calls must live until this returns (it does, unless it is killed): the kernel ends QEMU with it.
///
/// # Errors
/// Whatever keeps the machine from starting. From its first instruction on, everything is an [`super::Outcome`].
pub fn run(
    machine: &MachineOptions,
    options: SessionOptions,
    streams: Streams,
    sink: Sink<'_>,
) -> Result<Finished, RunError> {
    run_controlled(machine, options, streams, Endpoint::default(), sink)
}

/// As [`run`], with clients that come through `endpoint`: see [`super::control`].
///
/// # Errors
/// As [`run`].
pub fn run_controlled(
    machine: &MachineOptions,
    options: SessionOptions,
    streams: Streams,
    endpoint: Endpoint,
    sink: Sink<'_>,
) -> Result<Finished, RunError> {
    check(machine)?;
    let terminal = describe_terminal(&options, &streams)?;
    let qemu = binary::find(machine.arch, machine.qemu.as_deref())?;
    let disk = disk::open(&machine.disk, machine.access, machine.size, machine.scratch.as_deref(), machine.disk_id)?;
    let firmware = match machine.boot {
        Boot::Uefi => Some(firmware::open(machine.arch)?),
        _ => None,
    };
    ports::check(&machine.forwards)?;
    let settled = accel::settle(machine.accel, machine.arch, &qemu)?;
    if let Some(note) = settled.note {
        // Whoever breaks here will break at the first event of the machine.
        _ = sink(Event { at: Duration::ZERO, what: What::Note(note) });
    }

    let pair = || UnixStream::pair().map_err(RunError::host("make a pair of sockets"));
    let ((qmp, qmp_end), (channel, channel_end), (console, console_end)) = (pair()?, pair()?, pair()?);
    let firmware_log = (machine.firmware_log && machine.has_seabios()).then(pair).transpose()?;
    let (firmware_log, firmware_log_end) = firmware_log.unzip();
    let wiring = Wiring {
        accel: settled.accel,
        disk: at(&disk.file),
        block_device: disk.block_device,
        overlay: disk.overlay.as_ref().map(at),
        firmware: firmware.as_ref().map(|firmware| (at(&firmware.code), at(&firmware.vars))),
        qmp: SocketAt::Fd(qmp_end.as_raw_fd()),
        channel: SocketAt::Fd(channel_end.as_raw_fd()),
        console: SocketAt::Fd(console_end.as_raw_fd()),
        sandbox: sandbox::wanted(machine, &qemu),
        firmware_log: firmware_log_end.as_ref().map_or(SocketAt::Absent, |end| SocketAt::Fd(end.as_raw_fd())),
    };
    let ends = [Some(&qmp_end), Some(&channel_end), Some(&console_end), firmware_log_end.as_ref()];
    let ends: Vec<i32> = ends.into_iter().flatten().map(|end| end.as_raw_fd()).collect();
    let inherit: Vec<i32> = ends.iter().copied().chain(files(&disk, firmware.as_ref())).collect();
    let started = Instant::now();
    let (process, fence, stays_root) = start(&qemu, machine, &wiring, inherit, &ends)?;
    if let Some(why) = stays_root {
        _ = sink(Event { at: Duration::ZERO, what: What::Note(why.to_string()) });
    }
    // It stands until QEMU, which the session ends, has gone.
    let fence = fence.map(|fence| fence.watch(process.id())).transpose();
    let fence = fence.map_err(RunError::host("watch what QEMU connects to"))?;
    // QEMU has its own copies now. Ours of its ends must go, or we would never see it close them.
    drop((qmp_end, channel_end, console_end, firmware_log_end, disk, firmware));

    if let Some(gap) = fence.as_ref().and_then(|fence| fence.gap()) {
        _ = sink(Event { at: started.elapsed(), what: What::Note(fence::without(gap)) });
    }
    let links = Links { qmp, channel, console, firmware_log };
    Session::new(machine, options, terminal, process, links, streams, started)
        .map_err(RunError::host("watch the machine"))?
        .controlled(endpoint)
        .run(&qemu, settled.accel, sink)
}

/// Starts QEMU, for root as somebody else where that is possible, or else with the reason; and the fence around it.
fn start(
    qemu: &Path,
    machine: &MachineOptions,
    wiring: &Wiring,
    mut inherit: Vec<i32>,
    sockets: &[i32],
) -> Result<(Process, Option<Unwatched>, Option<Why>), RunError> {
    let start = |account, machine: &MachineOptions, inherit: &[i32]| {
        let (gate, fence) = fence::around(machine, sockets)?.unzip();
        let args = args::arguments(machine, wiring);
        Process::start_confined(Confined { account, gate }, qemu, &args, inherit).map(|process| (process, fence))
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

fn at(file: &impl AsRawFd) -> FileAt {
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
        MachineOptions { cpus: 0 | 256.., .. } => refuse("fewer than 1 or more than 255 processors"),
        MachineOptions { network: None, forwards, .. } if !forwards.is_empty() => {
            refuse("forwarded ports without a network")
        }
        _ => Ok(()),
    }
}

fn describe_terminal(options: &SessionOptions, streams: &Streams) -> Result<Option<Terminal>, RunError> {
    if !options.terminal {
        return Ok(None);
    }
    if !options.stdin {
        return Ok(Some(terminal::describe(&streams.stdout)));
    }
    match terminal::is_terminal(streams.stdin.as_fd()) {
        true => Ok(Some(terminal::describe(&streams.stdin))),
        false => Err(RunError::NotATerminal),
    }
}
