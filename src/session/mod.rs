//! One machine from its first instruction to its end: a loop that waits for whatever comes next.
//!
//! ```text
//!  wait ─▶ read ─┬─ monitor       QMP: greeting → qmp_capabilities → cont → … SHUTDOWN, RESET, GUEST_PANICKED … → quit
//!                ├─ conversation  channel: hello → welcome → started → data both ways → result → done
//!                ├─ own_init      channel: hello → welcome → handed over → clients' processes; the console is the output
//!                ├─ clients       control connections: processes beside the workload, stop, state
//!                ├─ health        the workload's health check, beside it
//!                ├─ firmware      its log, or the console: when it hands over
//!                ├─ last_words    console and firmware's log: what a boot says that never gets to PID 1
//!                └─ signals, standard input, console (kept, and searched for a panic until the hello)
//!       ─▶ decide                 deadlines, what an end means; a first signal asks the guest to stop, a second quits
//!       ─▶ write, deliver
//! ```
//!
//! Every path ends in [`Session::conclude`], which settles the outcome and makes QEMU quit; what was already sent is
//! still read and passed on afterwards.

mod boot;
pub mod channel;
mod clients;
pub mod console;
pub mod control;
mod conversation;
mod decide;
pub mod event;
mod firmware;
mod health;
mod last_words;
mod leave;
mod line;
mod monitor;
mod own_init;
mod read;
mod resets;
mod run;
mod save;
mod signals;
mod snapshot;
mod space;
pub mod streams;
pub mod terminal;
mod wait;
mod write;

pub use event::{Event, Finished, Outcome, Scarce, What};
pub use health::Schedule;
pub use run::{Ended, SessionOptions, run, run_controlled, run_from};
pub use signals::hangup_is_ignored;
pub use snapshot::{Begin, Snapshot};
pub use streams::Streams;

use self::boot::Boot;
use self::channel::Channel;
use self::clients::Clients;
use self::console::Console;
use self::control::Endpoint;
use self::event::Why;
use self::health::Checks;
use self::leave::Leave;
use self::line::Line;
use self::resets::Resets;
use self::run::Sink;
use self::save::Save;
use self::signals::Signals;
use self::streams::{Bell, Writer};
use self::terminal::{Raw, is_terminal};
use crate::guest::channel::Terminal;
use crate::qemu::qmp::Qmp;
use crate::qemu::spawn::{Process, set_nonblocking};
use crate::qemu::{Accel, Links, MachineOptions, RunError, binary};
use crate::sharing::Daemons;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Where the conversation with QEMU is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    Capabilities,
    /// A saved machine is put back.
    Incoming,
    Cont,
    Running,
}

/// A stop that was asked for.
struct Stopping {
    why: Why,
    until: Instant,
    /// When an own init gets the next press of the power button.
    press_at: Instant,
    /// How often it was pressed.
    presses: u32,
}

/// A machine and everything that is joined to it.
struct Session<'a> {
    machine: &'a MachineOptions,
    options: SessionOptions,
    terminal: Option<Terminal>,
    /// The user's own terminal, where the workload gets one.
    terminal_fd: Option<OwnedFd>,
    hung_up: bool,
    process: Process,
    phase: Phase,
    /// The number of the command that lets the machine go.
    going: u64,
    qmp: Qmp,
    qmp_open: bool,
    port: Line,
    channel: Channel,
    console_line: Line,
    console: Console,
    firmware_line: Option<Line>,
    complains: bool,
    stdin: OwnedFd,
    stdin_open: bool,
    /// Standard input on its way to the console of an own init.
    typed: Vec<u8>,
    leave: Leave,
    writers: [Writer; 2],
    reader_gone: [Option<Instant>; 2],
    bell: Bell,
    signals: Signals,
    raw: Option<Raw>,
    boot: Boot,
    resets: Resets,
    started: Instant,
    heard: Instant,
    stopping: Option<Stopping>,
    verdict: Option<Outcome>,
    kill_at: Option<Instant>,
    hurry: bool,
    /// It can be saved, or is being saved.
    save: Option<Save>,
    /// From which it goes on, until it does.
    restore: Option<Arc<Snapshot>>,
    /// The host has no space.
    full: Option<space::Full>,
    clients: Clients,
    /// Of the workload's health.
    checks: Option<Checks>,
    /// Volumes, by their nodes in QEMU, and where they are.
    volumes: Vec<(String, PathBuf)>,
    /// What serves this host's folders. Behind QEMU, which it outlives.
    daemons: Daemons,
    events: Vec<Event>,
    buffer: Vec<u8>,
}

impl<'a> Session<'a> {
    /// A machine that waits for its monitor to be spoken to.
    fn new(
        machine: &'a MachineOptions,
        options: SessionOptions,
        terminal: Option<Terminal>,
        process: Process,
        links: Links,
        streams: Streams,
        started: Instant,
    ) -> io::Result<Session<'a>> {
        set_nonblocking(links.qmp.as_fd())?;
        let bell = Bell::new()?;
        let own = [&streams.stdin, &streams.stdout].into_iter().find(|fd| is_terminal(fd.as_fd()));
        let terminal_fd = own.filter(|_| terminal.is_some()).map(OwnedFd::try_clone).transpose()?;
        Ok(Session {
            checks: Checks::of(options.healthcheck.as_ref()),
            machine,
            options,
            terminal,
            terminal_fd,
            hung_up: false,
            process,
            phase: Phase::Greeting,
            going: 0,
            qmp: Qmp::new(links.qmp),
            qmp_open: true,
            port: Line::new(links.channel)?,
            channel: Channel::new(),
            console_line: Line::new(links.console)?,
            console: Console::default(),
            firmware_line: links.firmware_log.map(Line::new).transpose()?,
            complains: true,
            stdin: streams.stdin,
            stdin_open: true,
            typed: Vec::new(),
            leave: Leave::default(),
            writers: [Writer::new(streams.stdout, &bell)?, Writer::new(streams.stderr, &bell)?],
            reader_gone: [None; 2],
            bell,
            signals: Signals::listen()?,
            raw: None,
            boot: Boot::new(),
            resets: Resets::default(),
            started,
            heard: started,
            stopping: None,
            verdict: None,
            kill_at: None,
            hurry: false,
            save: None,
            restore: None,
            full: None,
            clients: Clients::new(Endpoint::default()),
            volumes: Vec::new(),
            daemons: Daemons::default(),
            events: Vec::new(),
            buffer: vec![0; 65_536],
        })
    }

    /// With an endpoint that clients come through.
    fn controlled(mut self, endpoint: Endpoint) -> Self {
        self.clients = Clients::new(endpoint);
        self
    }

    /// With what the machine has beside its disk.
    fn beside(mut self, volumes: Vec<(String, PathBuf)>, daemons: Daemons) -> Self {
        (self.volumes, self.daemons) = (volumes, daemons);
        self
    }

    /// Runs the machine to its end.
    fn run(mut self, qemu: &Path, accel: Accel, sink: Sink<'_>) -> Result<Ended, RunError> {
        let status = loop {
            let ready = self.wait().map_err(RunError::host("wait for the machine"))?;
            self.read(&ready, accel)?;
            self.look_after_daemons();
            self.decide(Instant::now());
            self.look_after_health(Instant::now());
            self.look_after_clients();
            self.write()?;
            self.look_after_save()?;
            self.deliver(sink);
            if let Some(status) = self.ended()? {
                break status;
            }
        };
        self.look_after_daemons();
        self.deliver(sink);
        if self.phase != Phase::Running && self.verdict.is_none() {
            let too_old = binary::version(qemu).is_some_and(|version| version < binary::OLDEST);
            let needs = too_old.then_some(binary::OLDEST);
            let message = self.process.complaint();
            return Err(RunError::QemuFailed { status: status.to_string(), message, needs });
        }
        // What QEMU had sent before it went.
        while self.port.open && self.read_port() {}
        while self.console_line.open && self.read_console() {}
        while self.read_firmware_log() {}
        self.flush_outputs();
        self.deliver(sink);
        drop(self.raw.take());
        let elapsed = self.started.elapsed();
        let outcome = match self.verdict.take() {
            Some(outcome) => outcome,
            None if self.boot.result.is_some() => self.natural_end(),
            None => Outcome::QemuGone { status: status.to_string(), message: self.process.complaint() },
        };
        let lost = streams::lost(&self.writers);
        let finished = Finished { outcome, elapsed, console: std::mem::take(&mut self.console).into_kept(), lost };
        self.dismiss_clients(&finished);
        Ok(Ended { finished, snapshot: self.snapshot() })
    }

    /// Says it when one has failed: the machine does not notice, and waits for it without end.
    fn look_after_daemons(&mut self) {
        let is_up = self.phase == Phase::Running && self.boot.off_at.is_none() && self.verdict.is_none();
        for text in self.daemons.failed() {
            self.tell(if is_up { What::Failed(text) } else { What::Told(text) });
        }
    }

    fn tell(&mut self, what: What) {
        let event = Event { at: self.started.elapsed(), what };
        if let Some(save) = &mut self.save {
            save.told(&event);
        }
        self.events.push(event);
    }
}

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod tests;
