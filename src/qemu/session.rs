//! One machine from its first instruction to its end: a loop that waits for whatever comes next.
//!
//! ```text
//!  QMP       greeting → qmp_capabilities → cont → … SHUTDOWN, RESET, GUEST_PANICKED … → quit
//!  channel   hello → welcome → started → data both ways → result → done
//!  console   kept, and searched for a panic until the hello
//!  signals   first: the guest is asked to stop; second: quit
//! ```
//!
//! Every path ends in [`Session::conclude`], which settles the outcome and makes QEMU quit; what was already sent is
//! still read and passed on afterwards.

use super::channel::{Channel, Incoming, Output, WORKLOAD};
use super::console::{Console, Finding};
use super::error::RunError;
use super::event::{Event, Finished, Outcome, What, Why};
use super::machine::{Accel, Access, MachineOptions};
use super::qmp::{Message, Qmp};
use super::run::{SessionOptions, Sink};
use super::signals::Signals;
use super::spawn::{Process, set_nonblocking};
use super::streams::{Bell, Streams, Writer, read_ready};
use super::terminal::{self, Raw};
use crate::escape::escape;
use crate::guest::channel::{Level, Outcome as Workload, Terminal, VERSION, Welcome};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use qapi::qmp as command;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// QEMU must speak QMP after this long, on the busiest host.
const START: Duration = Duration::from_secs(60);
/// QEMU must have quit after this long, or it is killed.
const QUIT: Duration = Duration::from_secs(3);
/// The console may add to a panic for this long.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// A machine that is off is read until nothing came for this long.
const QUIET: Duration = Duration::from_millis(30);
/// From PID 1's last frame to the power button.
const POWER_OFF: Duration = Duration::from_secs(2);
/// From the workload's result to PID 1's last frame: the slowest disk has synced by then.
const SHUTDOWN: Duration = Duration::from_secs(60);
/// Beyond the workload's own stop timeout, for sync and unmount.
const STOP_MARGIN: Duration = Duration::from_secs(20);
/// The stop timeout when the host does not know the image's.
const STOP_TIMEOUT: u32 = 10;
/// From the loss of our reader to that of our patience, see [`Session::output_closed`].
const READERLESS: Duration = Duration::from_secs(2);
/// A boot shorter than this may be a turn of a loop of resets.
const SHORT_BOOT: Duration = Duration::from_secs(30);
/// So many short boots in a row are a loop: before any hello, and with one.
const LOOPS: (u32, u32) = (3, 10);
/// SeaBIOS resets the machine once or twice more to get it out of a half-done reset. Resets as silent and as quick as
/// that are no boots, but so many of them are a loop all the same.
const SILENT: (Duration, u32) = (Duration::from_secs(1), 100);
/// QEMU is looked after at least this often.
const TICK: Duration = Duration::from_millis(250);

/// Our ends of the sockets.
pub(super) struct Links {
    pub(super) qmp: UnixStream,
    pub(super) channel: UnixStream,
    pub(super) console: UnixStream,
}

/// Where the conversation with QEMU is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    Capabilities,
    Cont,
    Running,
}

/// What is known of the guest since the last reset.
struct Boot {
    since: Instant,
    hello: bool,
    started: bool,
    result: Option<(Workload, bool)>,
    result_at: Option<Instant>,
    clean_at: Option<Instant>,
    complaint: Option<String>,
    panic_at: Option<Instant>,
    off_at: Option<Instant>,
}

impl Boot {
    fn new() -> Boot {
        Boot {
            since: Instant::now(),
            hello: false,
            started: false,
            result: None,
            result_at: None,
            clean_at: None,
            complaint: None,
            panic_at: None,
            off_at: None,
        }
    }
}

/// A stop that was asked for.
struct Stopping {
    why: Why,
    until: Instant,
}

/// A connection whose other end may close.
struct Line {
    socket: UnixStream,
    open: bool,
}

impl Line {
    fn new(socket: UnixStream) -> io::Result<Line> {
        socket.set_nonblocking(true)?;
        Ok(Line { socket, open: true })
    }

    /// Reads once; 0 when there is nothing now or any more.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => self.open = false,
                Ok(n) => return n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.open = false,
            }
            return 0;
        }
    }
}

/// Something to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Qmp,
    Port,
    Console,
    Stderr,
    Signals,
    Bell,
    Stdin,
}

pub(super) struct Session<'a> {
    machine: &'a MachineOptions,
    options: SessionOptions,
    terminal: Option<Terminal>,
    process: Process,
    phase: Phase,
    qmp: Qmp,
    qmp_open: bool,
    port: Line,
    channel: Channel,
    console_line: Line,
    console: Console,
    complains: bool,
    stdin: OwnedFd,
    writers: [Writer; 2],
    reader_gone: [Option<Instant>; 2],
    bell: Bell,
    signals: Signals,
    raw: Option<Raw>,
    boot: Boot,
    short_boots: u32,
    silent_resets: u32,
    started: Instant,
    heard: Instant,
    stopping: Option<Stopping>,
    verdict: Option<Outcome>,
    kill_at: Option<Instant>,
    hurry: bool,
    events: Vec<Event>,
    buffer: Vec<u8>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
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
        Ok(Session {
            machine,
            options,
            terminal,
            process,
            phase: Phase::Greeting,
            qmp: Qmp::new(links.qmp),
            qmp_open: true,
            port: Line::new(links.channel)?,
            channel: Channel::new(),
            console_line: Line::new(links.console)?,
            console: Console::default(),
            complains: true,
            stdin: streams.stdin,
            writers: [Writer::new(streams.stdout, &bell)?, Writer::new(streams.stderr, &bell)?],
            reader_gone: [None; 2],
            bell,
            signals: Signals::listen()?,
            raw: None,
            boot: Boot::new(),
            short_boots: 0,
            silent_resets: 0,
            started,
            heard: started,
            stopping: None,
            verdict: None,
            kill_at: None,
            hurry: false,
            events: Vec::new(),
            buffer: vec![0; 65_536],
        })
    }

    /// Runs the machine to its end.
    pub(super) fn run(mut self, qemu: &Path, accel: Accel, sink: Sink<'_>) -> Result<Finished, RunError> {
        let status = loop {
            let ready = self.wait().map_err(RunError::host("wait for the machine"))?;
            self.read(&ready, accel)?;
            self.decide(Instant::now());
            self.write()?;
            self.deliver(sink);
            if let Some(status) = self.ended()? {
                break status;
            }
        };
        if self.phase != Phase::Running {
            let too_old = super::binary::version(qemu).is_some_and(|version| version < super::binary::OLDEST);
            let message = self.process.complaint();
            return Err(RunError::QemuFailed { status: status.to_string(), message, too_old });
        }
        // What QEMU had sent before it went.
        while self.port.open && self.read_port() {}
        while self.console_line.open && self.read_console() {}
        self.flush_outputs();
        self.deliver(sink);
        drop(self.raw.take());
        let elapsed = self.started.elapsed();
        let outcome = match self.verdict.take() {
            Some(outcome) => outcome,
            None if self.boot.result.is_some() => self.natural_end(),
            None => Outcome::QemuGone { status: status.to_string(), message: self.process.complaint() },
        };
        Ok(Finished { outcome, elapsed, console: self.console.into_kept() })
    }

    // ---- waiting ----

    fn wait(&self) -> io::Result<Vec<Source>> {
        let readable = PollFlags::POLLIN;
        let mut sources = vec![Source::Signals, Source::Bell];
        let mut fds = vec![PollFd::new(self.signals.fd(), readable), PollFd::new(self.bell.fd(), readable)];
        let mut add = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::new(fd, flags));
        };
        let also_write = |wants: bool| if wants { readable | PollFlags::POLLOUT } else { readable };
        if self.qmp_open {
            add(Source::Qmp, self.qmp.fd(), also_write(self.qmp.wants_to_write()));
        }
        if self.port.open {
            add(Source::Port, self.port.socket.as_fd(), also_write(!self.channel.output().is_empty()));
        }
        if self.console_line.open {
            add(Source::Console, self.console_line.socket.as_fd(), readable);
        }
        if self.complains {
            add(Source::Stderr, self.process.stderr(), readable);
        }
        if self.boot.started && self.channel.stdin_room(WORKLOAD) > Some(0) {
            add(Source::Stdin, self.stdin.as_fd(), readable);
        }
        let timeout = PollTimeout::try_from(self.patience()).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
        Ok(sources.into_iter().zip(&fds).filter(|(_, fd)| ready(fd)).map(|(source, _)| source).collect())
    }

    /// Until something must be decided even if nothing comes.
    fn patience(&self) -> Duration {
        if !self.complains {
            // QEMU is about to end, and nothing will tell us.
            return Duration::from_millis(5);
        }
        let now = Instant::now();
        let moments = [
            self.deadline(),
            self.kill_at,
            self.stopping.as_ref().map(|stopping| stopping.until),
            self.boot.panic_at.map(|at| at + LAST_WORDS),
            self.boot.off_at.map(|at| at.max(self.heard) + QUIET),
            self.boot.clean_at.map(|at| at + POWER_OFF),
        ];
        let next = moments.into_iter().flatten().map(|at| at.saturating_duration_since(now)).min();
        // Poll counts whole milliseconds; one more, so that the moment has come.
        next.map_or(TICK, |next| next.min(TICK) + Duration::from_millis(1))
    }

    fn deadline(&self) -> Option<Instant> {
        self.options.timeout.and_then(|timeout| self.started.checked_add(timeout))
    }

    // ---- reading ----

    fn read(&mut self, ready: &[Source], accel: Accel) -> Result<(), RunError> {
        for source in ready {
            match source {
                Source::Qmp => self.read_qmp(accel)?,
                Source::Port => drop(self.read_port()),
                Source::Console => drop(self.read_console()),
                Source::Stderr => self.complains = self.process.listen(),
                Source::Signals => self.read_signals(),
                Source::Bell => self.bell.quiet(),
                Source::Stdin => self.read_stdin(),
            }
        }
        self.pass_credit();
        Ok(())
    }

    fn read_qmp(&mut self, accel: Accel) -> Result<(), RunError> {
        let broken = |error: io::Error| RunError::Qmp(escape(error.to_string().as_bytes()));
        self.qmp_open = self.qmp.fill().map_err(broken)?;
        while let Some(message) = self.qmp.next_message().map_err(broken)? {
            match message {
                Message::Greeting { .. } if self.phase == Phase::Greeting => {
                    self.phase = Phase::Capabilities;
                    self.command(command::qmp_capabilities { enable: None })?;
                }
                Message::Answer { result: Err(text), .. } if self.phase != Phase::Running => {
                    return Err(RunError::Qmp(escape(text.as_bytes())));
                }
                Message::Answer { .. } if self.phase == Phase::Capabilities => {
                    self.phase = Phase::Cont;
                    self.command(command::cont {})?;
                }
                Message::Answer { .. } if self.phase == Phase::Cont => {
                    self.phase = Phase::Running;
                    self.boot.since = Instant::now();
                    let pid = self.process.id();
                    self.tell(What::Started { pid, accel });
                }
                Message::Event { name, data } => self.machine_event(&name, &data),
                _ => {}
            }
        }
        Ok(())
    }

    fn command<C: qapi::Command>(&mut self, command: C) -> Result<(), RunError> {
        self.qmp.send(command).map(drop).map_err(|error| RunError::Qmp(error.to_string()))
    }

    fn machine_event(&mut self, name: &str, data: &Value) {
        match name {
            "SHUTDOWN" => {
                // What the guest sent before it is here by now, and was said before it.
                while self.read_port() {}
                if data["reason"] == "guest-reset" && self.reset_is_a_panic() {
                    return self.panicked();
                }
                self.boot.off_at.get_or_insert_with(Instant::now);
                self.tell(What::PoweredOff);
            }
            "RESET" if data["guest"] == true => self.reset(),
            "GUEST_PANICKED" => {
                while self.read_port() {}
                self.panicked();
            }
            _ => {}
        }
    }

    /// Reads the host channel; whether there was anything.
    fn read_port(&mut self) -> bool {
        let n = self.port.read(&mut self.buffer);
        if n == 0 {
            return false;
        }
        self.heard = Instant::now();
        self.channel.feed(&self.buffer[..n]);
        loop {
            match self.channel.next_incoming() {
                Ok(Some(incoming)) => self.incoming(incoming),
                Ok(None) => return true,
                Err(error) => {
                    self.port.open = false;
                    self.conclude(Outcome::Protocol { message: escape(error.to_string().as_bytes()) });
                    return true;
                }
            }
        }
    }

    fn incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Hello(hello) => {
                self.boot.hello = true;
                self.boot.panic_at = None;
                self.tell(What::Hello(hello));
                self.welcome();
            }
            Incoming::Started(WORKLOAD) => {
                self.boot.started = true;
                // Only now: until here, Ctrl-C is for us.
                if self.options.stdin && self.terminal.is_some() && self.raw.is_none() {
                    self.raw = Raw::enter(self.stdin.as_fd()).ok();
                }
                self.tell(What::WorkloadStarted);
            }
            Incoming::Data { process: WORKLOAD, output, bytes } => {
                if self.reader_gone[output as usize].is_some_and(|since| since.elapsed() > READERLESS) {
                    self.stop(Why::OutputClosed);
                }
                self.writers[output as usize].write(bytes);
            }
            Incoming::Result { process: WORKLOAD, outcome, oom } => {
                if self.boot.result.is_none() {
                    self.boot.result = Some((outcome.clone(), oom));
                    self.boot.result_at = Some(Instant::now());
                    self.channel.close_stdin(WORKLOAD);
                    self.tell(What::Result { outcome, oom });
                }
            }
            Incoming::Done => {
                self.boot.clean_at.get_or_insert_with(Instant::now);
                self.tell(What::FileSystemsClean);
            }
            Incoming::Log(log) => {
                if log.level == Level::Error {
                    self.boot.complaint = Some(escape(log.text.as_bytes()));
                }
                self.tell(What::Log(log));
            }
            Incoming::Data { process, output, bytes } => {
                self.channel.passed_on(process, output, bytes.len() as u32);
            }
            Incoming::Started(_) | Incoming::Result { .. } | Incoming::Eof { .. } => {}
        }
    }

    fn welcome(&mut self) {
        let welcome = Welcome {
            version: VERSION,
            nonce: String::new(),
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            overrides: self.options.overrides.clone(),
            terminal: self.terminal.clone(),
            stdin: self.options.stdin,
            // At once: a panic is then a reset, and a reset without a result is a panic.
            panic: Some(-1),
        };
        let sent = match self.channel.welcome(welcome) {
            Ok(Ok(())) => return,
            Ok(Err(too_long)) => too_long.to_string(),
            Err(error) => error.to_string(),
        };
        self.conclude(Outcome::Protocol { message: sent });
    }

    /// Reads the serial console; whether there was anything.
    fn read_console(&mut self) -> bool {
        let n = self.console_line.read(&mut self.buffer);
        if n == 0 {
            return false;
        }
        self.heard = Instant::now();
        let bytes = self.buffer[..n].to_vec();
        for finding in self.console.add(&bytes) {
            match finding {
                // After the hello the workload may have written it.
                _ if self.boot.hello || self.verdict.is_some() => {}
                Finding::Panic(_) => self.panicked(),
                // Nothing follows, so nothing is waited for.
                Finding::PanicEnd if self.boot.panic_at.is_some() => self.boot.panic_at = self.started.into(),
                Finding::PanicEnd => {}
            }
        }
        self.tell(What::Console(bytes));
        true
    }

    fn read_signals(&mut self) {
        for signal in self.signals.arrived() {
            if signal != libc::SIGWINCH {
                self.stop(Why::Signal(signal));
            } else if self.terminal.is_some() && self.boot.hello {
                let fd = self.stdin.as_fd();
                if let Some((rows, cols)) = terminal::size(fd) {
                    self.channel.resize(WORKLOAD, rows, cols);
                }
            }
        }
    }

    fn read_stdin(&mut self) {
        let room = self.channel.stdin_room(WORKLOAD).unwrap_or(0) as usize;
        let room = room.min(self.buffer.len());
        match read_ready(self.stdin.as_fd(), &mut self.buffer[..room]) {
            Some(n) => drop(self.channel.send_stdin(WORKLOAD, &self.buffer[..n])),
            None => self.channel.close_stdin(WORKLOAD),
        }
    }

    /// What the writers have written, the guest may write again.
    fn pass_credit(&mut self) {
        for output in [Output::Stdout, Output::Stderr] {
            let n = self.writers[output as usize].passed_on();
            if n > 0 {
                self.channel.passed_on(WORKLOAD, output, n as u32);
            }
            if self.writers[output as usize].broken() && self.reader_gone[output as usize].is_none() {
                self.output_closed(output);
            }
        }
    }

    /// Our reader has gone. The guest is told, closes its pipe, and the workload decides what EPIPE means to it. What
    /// it still sends is thrown away; data long after that come from a PID 1 that does not know this, and the machine
    /// is stopped.
    fn output_closed(&mut self, output: Output) {
        self.reader_gone[output as usize] = Some(Instant::now());
        self.channel.reader_gone(WORKLOAD, output);
    }

    // ---- deciding ----

    fn decide(&mut self, now: Instant) {
        let past = |at: Option<Instant>, wait: Duration| at.is_some_and(|at| now >= at + wait);
        if past(self.kill_at, Duration::ZERO) {
            _ = self.process.kill();
        }
        if self.verdict.is_some() {
            return;
        }
        if self.phase != Phase::Running && now >= self.started + START {
            // Its standard error says why, if anything does.
            _ = self.process.kill();
        } else if past(self.deadline(), Duration::ZERO) && !self.stopping_for(Why::Timeout) {
            self.stop(Why::Timeout);
        } else if past(self.boot.panic_at, LAST_WORDS) {
            let message = self.console.last_panic().unwrap_or("it said nothing about it").to_owned();
            self.conclude(Outcome::Panic { message, after_hello: self.boot.hello });
        } else if past(self.boot.off_at.map(|at| at.max(self.heard)), QUIET)
            || past(self.boot.off_at, SHUTDOWN)
            || past(self.boot.clean_at, POWER_OFF)
            || past(self.boot.result_at, SHUTDOWN)
            || past(self.stopping.as_ref().map(|stopping| stopping.until), Duration::ZERO)
        {
            let outcome = self.natural_end();
            self.conclude(outcome);
        }
    }

    fn stopping_for(&self, why: Why) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.why == why)
    }

    /// What a machine that ended of its own accord has to say for itself.
    fn natural_end(&mut self) -> Outcome {
        let why = self.stopping.as_ref().map(|stopping| stopping.why);
        match (self.boot.result.take(), why) {
            (_, Some(Why::Timeout)) => Outcome::Stopped(Why::Timeout),
            (Some((outcome, oom)), _) => Outcome::Workload { outcome, oom, clean: self.boot.clean_at.is_some() },
            (None, Some(why)) => Outcome::Stopped(why),
            (None, None) => match self.boot.complaint.take() {
                Some(message) => Outcome::Init { message },
                None => Outcome::NoResult { after_hello: self.boot.hello },
            },
        }
    }

    /// PID 1 has told the kernel to reset after a panic, and itself only resets after a result.
    fn reset_is_a_panic(&mut self) -> bool {
        // What the guest sent before the reset is here by now.
        while self.read_port() {}
        while self.read_console() {}
        self.boot.panic_at.is_some() || self.boot.hello && self.boot.result.is_none() && self.boot.complaint.is_none()
    }

    fn panicked(&mut self) {
        if self.boot.panic_at.is_none() {
            self.boot.panic_at = Some(Instant::now());
            self.tell(What::Panic);
        }
        if let Some((outcome, oom)) = self.boot.result.take() {
            // The workload had ended: its result stands.
            self.conclude(Outcome::Workload { outcome, oom, clean: false });
        }
    }

    fn reset(&mut self) {
        if self.reset_is_a_panic() {
            return self.panicked();
        }
        if self.stopping.is_some() {
            let outcome = self.natural_end();
            return self.conclude(outcome);
        }
        let lived = self.boot.since.elapsed();
        if self.heard <= self.boot.since && lived < SILENT.0 {
            self.silent_resets += 1;
        } else {
            self.short_boots = if lived < SHORT_BOOT { self.short_boots + 1 } else { 1 };
            self.silent_resets = 0;
        }
        let limit = if self.boot.hello { LOOPS.1 } else { LOOPS.0 };
        if self.short_boots >= limit || self.silent_resets >= SILENT.1 {
            let resets = self.short_boots.max(self.silent_resets);
            return self.conclude(Outcome::ResetLoop { resets });
        }
        self.tell(What::Reset);
        self.channel.restart();
        self.boot = Boot::new();
    }

    /// Asks the guest to stop; asked twice, or with a guest that cannot lose anything, ends the machine at once.
    fn stop(&mut self, why: Why) {
        if self.verdict.is_some() {
            self.hurry = true;
            return;
        }
        let expendable = self.machine.access == Access::Overlay && (!self.boot.hello || why == Why::Timeout);
        if self.stopping.is_some() || expendable || self.phase != Phase::Running {
            self.tell(What::Stopping(why));
            self.hurry = true;
            let why = self.stopping.as_ref().map_or(why, |stopping| stopping.why);
            return self.conclude(Outcome::Stopped(why));
        }
        self.tell(What::Stopping(why));
        let mut patience = STOP_MARGIN;
        if self.boot.hello {
            let timeout = self.options.overrides.stop_timeout.unwrap_or(STOP_TIMEOUT);
            self.channel.stop(None);
            patience += Duration::from_secs(timeout.into());
        } else {
            _ = self.command(command::system_powerdown {});
        }
        self.stopping = Some(Stopping { why, until: Instant::now() + patience });
    }

    /// Settles the outcome, once, and makes QEMU quit.
    fn conclude(&mut self, outcome: Outcome) {
        if self.verdict.is_none() {
            self.verdict = Some(outcome);
            _ = self.command(command::quit {});
            self.kill_at = Some(Instant::now() + QUIT);
        }
    }

    // ---- writing ----

    fn write(&mut self) -> Result<(), RunError> {
        if self.qmp_open && self.qmp.flush().is_err() {
            self.qmp_open = false;
        }
        while self.port.open && !self.channel.output().is_empty() {
            match (&self.port.socket).write(self.channel.output()) {
                Ok(n) => self.channel.wrote(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.port.open = false,
            }
        }
        Ok(())
    }

    /// Waits until the workload's output is out, or a signal says that nobody waits for it.
    fn flush_outputs(&mut self) {
        while !self.hurry && !self.writers.iter().all(Writer::idle) {
            let readable = PollFlags::POLLIN;
            let mut fds = [PollFd::new(self.bell.fd(), readable), PollFd::new(self.signals.fd(), readable)];
            _ = poll(&mut fds, PollTimeout::from(250u16));
            self.bell.quiet();
            for writer in &mut self.writers {
                writer.passed_on();
            }
            let signalled = self.signals.arrived().iter().any(|&signal| signal != libc::SIGWINCH);
            self.hurry = signalled || self.deadline().is_some_and(|deadline| Instant::now() >= deadline);
        }
    }

    fn tell(&mut self, what: What) {
        self.events.push(Event { at: self.started.elapsed(), what });
    }

    fn deliver(&mut self, sink: &mut dyn FnMut(Event) -> std::ops::ControlFlow<()>) {
        for event in std::mem::take(&mut self.events) {
            if sink(event).is_break() && self.verdict.is_none() {
                self.hurry = true;
                self.conclude(Outcome::Stopped(Why::Watcher));
            }
        }
    }

    fn ended(&mut self) -> Result<Option<std::process::ExitStatus>, RunError> {
        self.process.ended().map_err(RunError::host("wait for QEMU"))
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
