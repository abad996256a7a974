//! `run`: from options to a machine that has ended.

use super::control::Endpoint;
use super::event::{Event, Finished, What};
use super::snapshot::{Begin, Snapshot};
use super::streams::Streams;
use super::{Session, terminal};
use crate::guest::channel::{Overrides, Terminal};
use crate::guest::spec::Healthcheck;
use crate::qemu::{self, MachineOptions, RunError, Started, Wire};
use crate::sharing::{self, Handed, Provided, Wanted};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::Duration;

/// What a session wants of its machine.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// What differs from the disk's boot specification.
    pub overrides: Overrides,
    /// `-t`: the workload gets a terminal.
    pub terminal: bool,
    /// `-i`: the workload gets our standard input.
    pub stdin: bool,
    /// Folders of the host and volumes.
    pub mounts: Vec<Wanted>,
    /// What it is handed at its start.
    pub handed: Handed,
    /// A second network card.
    pub wire: Option<Wire>,
    /// SIGHUP says nothing about the machine.
    pub detached: bool,
    /// What is asked of the workload while it runs.
    pub healthcheck: Option<Healthcheck>,
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
    run_from(Begin::Boot, machine, options, streams, endpoint, sink).map(|ended| ended.finished)
}

/// A machine that has ended, and may have been saved.
pub struct Ended {
    /// How it ended.
    pub finished: Finished,
    /// The snapshot that was asked for, or why there is none.
    pub snapshot: Option<Result<Snapshot, String>>,
}

/// As [`run_controlled`], of a machine that does not boot, or not only. With a snapshot it must be the machine that was
/// saved: the same options, but for forwarded ports.
///
/// # Errors
/// As [`run`], and where QEMU refuses to go on from the snapshot: nothing of the machine has run then.
pub fn run_from(
    begin: Begin,
    machine: &MachineOptions,
    mut options: SessionOptions,
    streams: Streams,
    endpoint: Endpoint,
    sink: Sink<'_>,
) -> Result<Ended, RunError> {
    let terminal = describe_terminal(&options, &streams)?;
    let Provided { mounts, mut extras, daemons } = sharing::provide(&options.mounts, &options.handed, &mut |text| {
        _ = sink(Event { at: Duration::ZERO, what: What::Told(text) });
    })?;
    options.overrides.mounts = mounts;
    extras.wire = options.wire.take();
    let started = qemu::start(machine, &extras, begin.origin(), &mut |at, note| {
        // Whoever breaks here will break at the first event of the machine.
        _ = sink(Event { at, what: What::Note(note) });
    })?;
    let Started { qemu, accel, process, links, fence, relays, at, kept } = started;
    let volumes =
        extras.disks.iter().enumerate().map(|(number, disk)| (qemu::node(number), disk.place.clone())).collect();
    // QEMU has its own copies, and the locks on volumes with them.
    drop(extras);
    let finished = Session::new(machine, options, terminal, process, links, streams, at)
        .map_err(RunError::host("watch the machine"))?
        .controlled(endpoint)
        .beside(volumes, daemons)
        .keeping(kept)
        .from(begin)
        .run(&qemu, accel, &mut *sink);
    // They stand until QEMU, which the session ends, has gone.
    drop((fence, relays));
    finished
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
