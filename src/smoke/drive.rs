//! One machine, watched from its first instruction to a verdict.
//!
//! ```text
//!  session (this thread) ── events ──▶ ┌───────┐ ◀── text ──── a thread for each of stdout, stderr
//!      ▲                               │ board │ ◀── looks ─── a thread for each check
//!      └── quit ── warden ◀── waits ── └───────┘
//! ```
//!
//! The warden ends the machine as soon as nothing that may still come can change the verdict.

use super::board::{Board, State};
use super::caught::caught;
use super::company::{Company, End};
use super::expect::Expectation;
use super::log::{LogFile, Logs, Lost};
use super::probe;
use super::snapshots::Start;
use super::stop::Stop;
use super::test::Test;
use super::together::{Speaker, Together};
use super::verdict::{Class, Report, Unmet, Verdict};
use super::watch::Stream;
use crate::guest::channel::Outcome as Workload;
use crate::publish::Document;
use crate::qemu::{self, Accel, AccelChoice, Display, Forward, MachineOptions, RunError, Wire, kept_waiting};
use crate::session::control::{self, Connection, Dialer};
use crate::session::event::Why;
use crate::session::{self, Begin, Ended, Event, Finished, Outcome, SessionOptions, Snapshot, Streams, What};
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

/// Lines of console and output that a failure shows.
const LAST_LINES: usize = 15;
/// QEMU may lose a port to somebody else between our look and its own; so often it is tried again.
const ATTEMPTS: u32 = 3;
/// The warden looks at the clock at least this often.
const TICK: Duration = Duration::from_millis(200);

/// Boots the machine, and returns when there is a verdict and nothing is left of the machine. What `stop`
/// knows of ends it.
pub(super) fn drive(test: &Test, stop: &Stop) -> Report {
    again_without_port(|| {
        if let Some(start) = &test.snapshot
            && let Some(made) = start.ready()
        {
            match driven(test, Begin::From(made.snapshot), stop) {
                Ok(report) => return Report { snapshot: start.origin(), ..report },
                Err(refused) => start.without(&refused),
            }
        }
        // Nothing refuses to boot.
        driven(test, Begin::Boot, stop).unwrap_or_else(|error| test.unmade(Verdict::Error(error)))
    })
}

/// The report; or why the machine could not go on from its snapshot, before any of it ran.
fn driven(test: &Test, begin: Begin, stop: &Stop) -> Result<Report, String> {
    let mut drive = Drive { begin, ..Drive::new(test, None) };
    let board = Board::new(drive.expectations.clone());
    let mut watched = drive.watch_on(&board, stop);
    match watched.refused.take() {
        None => Ok(watched.report(test, board.into_state())),
        Some(refused) => Err(refused),
    }
}

/// Makes the snapshot that a test and others start from: boots its machine, and saves it when the point is reached.
pub(super) fn save(test: &Test, start: &Start, stop: &Stop) {
    if let Some(why) = qemu::cannot_be_saved(&test.machine) {
        return start.without(why);
    }
    let begun = Instant::now();
    let point = Test { expectations: vec![start.point.clone()], log_dir: None, ..test.clone() };
    let mut drive = Drive { begin: Begin::ToSave, ..Drive::new(&point, None) };
    let board = Board::new(drive.expectations.clone());
    let watched = drive.watch_on(&board, stop);
    match (watched.snapshot, watched.verdict) {
        (Some(Ok(snapshot)), _) => start.made(snapshot, begun.elapsed()),
        (_, Verdict::Interrupted(_) | Verdict::Late { .. }) => start.leave(),
        (Some(Err(why)), _) => start.without(&why),
        (None, verdict) => start.without(&verdict.reasons().join("; ")),
    }
}

/// Makes the test once more where QEMU did not get a port.
pub(super) fn again_without_port(make: impl Fn() -> Report) -> Report {
    let started = Instant::now();
    let mut attempt = 1;
    loop {
        let report = make();
        let lost_port = |text: &String| has_lost_port(text);
        let lost_port = report.verdict.class() == Class::Error && report.verdict.reasons().iter().any(lost_port);
        if !lost_port || attempt == ATTEMPTS {
            return Report { elapsed: started.elapsed(), ..report };
        }
        attempt += 1;
    }
}

/// Somebody else has the port by now that QEMU was to have.
fn has_lost_port(text: &str) -> bool {
    text.contains("host forwarding rule")
}

/// A machine's place among the others of its test.
pub(super) struct Membership<'a> {
    pub(super) company: &'a Company,
    /// Which of them it is.
    pub(super) number: usize,
    /// Its card on their network.
    pub(super) wire: Wire,
    /// The log of all.
    pub(super) together: Option<&'a Together>,
}

/// A machine that has ended, and how it is judged.
pub(super) struct Watched {
    verdict: Verdict,
    assumed: Option<&'static str>,
    end: Option<Duration>,
    screen: Option<PathBuf>,
    lost: Lost,
    /// What was asked for when it began, or why not.
    snapshot: Option<Result<Snapshot, String>>,
    /// Why it could not go on from a snapshot. Nothing of it has run.
    refused: Option<String>,
}

pub(super) struct Drive<'a> {
    test: &'a Test,
    begin: Begin,
    /// Where it is one of several.
    member: Option<Membership<'a>>,
    machine: MachineOptions,
    expectations: Vec<Expectation>,
    assumed: Option<&'static str>,
    /// For each expectation that needs one: the host's port and the guest's.
    ports: Vec<Option<(u16, u16)>>,
    /// What should have been kept and could not be.
    lost: Lost,
}

impl Watched {
    /// Of a machine of which there is only this to say.
    pub(super) fn new(verdict: Verdict) -> Watched {
        let (lost, snapshot) = (Lost::default(), None);
        Watched { verdict, assumed: None, end: None, screen: None, lost, snapshot, refused: None }
    }

    /// With what is on its board.
    pub(super) fn report(self, test: &Test, mut state: State) -> Report {
        state.phases.end = self.end;
        let quiet = matches!(self.verdict, Verdict::Passed);
        Report {
            expectations: state.held(),
            assumed: self.assumed,
            phases: state.phases,
            last_lines: if quiet { Vec::new() } else { state.last_lines(LAST_LINES) },
            hint: state.hint().filter(|_| !quiet).or_else(|| test.hint(&self.verdict)),
            screen: self.screen,
            lost: self.lost.sentence(),
            accel: state.accel.take(),
            logs: test.logs(),
            elapsed: self.end.unwrap_or_default(),
            ..test.unmade(self.verdict)
        }
    }
}

impl<'a> Drive<'a> {
    pub(super) fn new(test: &'a Test, member: Option<Membership<'a>>) -> Drive<'a> {
        let (expectations, assumed) = test.expected();
        let machine = test.machine.clone();
        let (begin, ports, lost) = (Begin::Boot, Vec::new(), Lost::default());
        Drive { test, begin, member, machine, expectations, assumed, ports, lost }
    }

    /// Boots the machine, watches it to its end, and judges that.
    pub(super) fn watch_on(&mut self, board: &Board, stop: &Stop) -> Watched {
        let driven = self
            .forward_ports()
            .map_err(|error| error.to_string())
            .and_then(|()| self.watch(board, stop).map_err(|error| crate::escape::chain(&error)));
        let watched = |verdict| Watched { assumed: self.assumed, lost: self.lost.clone(), ..Watched::new(verdict) };
        match driven {
            Ok((Ended { finished, snapshot }, screen)) => {
                let verdict = board.write(|state| self.verdict(state, &finished, stop));
                Watched { end: Some(finished.elapsed), screen, snapshot, ..watched(verdict) }
            }
            Err(message) => {
                let (fatal, ran) = board.write(|state| (state.fatal.take(), state.started.is_some()));
                let goes_on = matches!(self.begin, Begin::From(_)) && !ran && !has_lost_port(&message);
                let refused = (goes_on && fatal.is_none()).then(|| message.clone());
                Watched { refused, ..watched(self.told(fatal.unwrap_or(Verdict::Error(message)))) }
            }
        }
    }

    /// The verdict, of one among others in the light of what happened to them.
    fn verdict(&self, state: &mut State, finished: &Finished, stop: &Stop) -> Verdict {
        let Some(member) = &self.member else { return self.judge(state, finished) };
        match member.company.end() {
            Some(End::Held) => Verdict::Passed,
            Some(End::Failed(other)) if other != member.number => by_others(state),
            Some(End::Stopped) => {
                // Another machine's warden may have looked at the clock before ours.
                let why = state.fatal.take().or_else(|| self.time_is_up(state, member.company.begun, stop));
                match why {
                    None | Some(Verdict::Timeout { .. } | Verdict::Late { .. }) if state.all_held() => Verdict::Passed,
                    why => why.unwrap_or_else(|| by_others(state)),
                }
            }
            end => {
                let verdict = self.judge(state, finished);
                self.told(if end.is_none() { self.own_end(state, verdict) } else { verdict })
            }
        }
    }

    /// A machine that ended by itself while others were waited for: only where a status is expected of it that is as it
    /// should be.
    fn own_end(&self, state: &State, verdict: Verdict) -> Verdict {
        let may_end = self.expectations.iter().any(|one| matches!(one, Expectation::ExitCode(_)));
        match verdict {
            Verdict::Passed if !may_end => Verdict::Failed(vec![Unmet {
                expectation: "running until the test is over".into(),
                seen: state.how_it_ended().unwrap_or_else(|| "it switched itself off".into()),
            }]),
            other => other,
        }
    }

    /// The same verdict, which the others know of then.
    fn told(&self, verdict: Verdict) -> Verdict {
        if let Some(Membership { company, number, .. }) = &self.member {
            match &verdict {
                Verdict::Passed => company.holds(*number),
                Verdict::Timeout { .. } | Verdict::Late { .. } | Verdict::Interrupted(_) => company.ends(End::Stopped),
                _ => company.ends(End::Failed(*number)),
            }
        }
        verdict
    }

    /// A port of the host's for every one of the guest's that is looked at.
    fn forward_ports(&mut self) -> io::Result<()> {
        for expectation in &self.expectations {
            let guest = match expectation {
                Expectation::Tcp(port) => Some(*port),
                Expectation::Http(http) => Some(self.test.http_port(http)),
                _ => None,
            };
            let known = |guest| self.ports.iter().flatten().find(|(_, known)| *known == guest).copied();
            let pair = match guest {
                None => None,
                Some(guest) => Some(match known(guest) {
                    Some(pair) => pair,
                    None => {
                        let host = free_port()?;
                        let (protocol, address) = (qemu::forward::Protocol::Tcp, Ipv4Addr::LOCALHOST.into());
                        self.machine.forwards.push(Forward { protocol, address, host, guest });
                        (host, guest)
                    }
                }),
            };
            self.ports.push(pair);
        }
        Ok(())
    }

    fn watch(&self, board: &Board, stop: &Stop) -> Result<(Ended, Option<PathBuf>), RunError> {
        let host = |what| move |source| RunError::Host { what, source };
        let (stdout, stdout_writer) = io::pipe().map_err(host("make a pipe"))?;
        let (stderr, stderr_writer) = io::pipe().map_err(host("make a pipe"))?;
        let stdin = File::open("/dev/null").map_err(host("open /dev/null"))?;
        let streams = Streams { stdin: stdin.into(), stdout: stdout_writer.into(), stderr: stderr_writer.into() };
        let (endpoint, dialer) = control::endpoint().map_err(host("make a pair of sockets"))?;
        let logs = Logs::create(self.test, &self.lost).map_err(io::Error::other);
        let mut logs = logs.map_err(host("create a log"))?;
        let (out_log, err_log) = (logs.stdout.take(), logs.stderr.take());
        let screen = self.screen_path();
        let (overrides, mounts) = (self.test.overrides.clone(), self.test.mounts.clone());
        let wire = self.member.as_ref().map(|member| member.wire.clone());
        let handed = self.test.handed.clone();
        let options = SessionOptions { overrides, mounts, handed, wire, ..Default::default() };
        let (out_line, err_line) = (self.speaker("stdout"), self.speaker("stderr"));
        let mut console_line = self.speaker("console");

        let ended = thread::scope(|scope| {
            // However this ends, nobody waits for the machine any longer.
            let over = Over(board);
            let start = || {
                part(scope, board, move || read(board, Stream::Stdout, stdout, out_log, out_line))?;
                part(scope, board, move || read(board, Stream::Stderr, stderr, err_log, err_line))?;
                for (number, expectation) in self.expectations.iter().enumerate() {
                    let dialer = dialer.clone();
                    part(scope, board, move || self.check(board, number, expectation, &dialer))?;
                }
                let (dialer, screen) = (dialer.clone(), screen.as_deref());
                part(scope, board, move || self.guard(board, &dialer, screen, stop))
            };
            let mut sink = |event: Event| {
                logs.event(&event);
                console_line.iter_mut().for_each(|line| line.event(&event));
                observe(board, &event, self.machine.accel);
                ControlFlow::Continue(())
            };
            let begin = self.begin.clone();
            let ended = start()
                .map_err(host("start a thread"))
                .and_then(|()| session::run_from(begin, &self.machine, options, streams, endpoint, &mut sink));
            board.end_of(Stream::Console);
            drop(over);
            ended
        })?;
        Ok((ended, screen.filter(|path| path.exists())))
    }

    /// A stream's lines in the log of all machines, where there are several.
    fn speaker(&self, stream: &'static str) -> Option<Speaker<'_>> {
        Some(self.member.as_ref()?.together?.speaker(&self.test.name, stream))
    }

    fn check(&self, board: &Board, number: usize, expectation: &Expectation, dialer: &Dialer) {
        match (expectation, self.ports[number]) {
            (Expectation::Tcp(_), Some((host, guest))) => probe::tcp(board, number, dialer, host, guest),
            (Expectation::Http(http), Some((host, _))) => {
                probe::http(board, number, host, http, self.test.assumed_port(http).as_deref());
            }
            (Expectation::Exec(exec), _) => probe::exec(board, number, dialer, exec),
            (Expectation::Healthy, _) => match self.test.health() {
                Some(health) => probe::healthy(board, number, dialer, &health),
                None => board.write(|state| state.never(number, "the image has no HEALTHCHECK".into())),
            },
            // Text and status come by themselves.
            _ => {}
        }
    }

    /// Ends the machine when there is nothing left to wait for. A fault of its own is the end too.
    fn guard(&self, board: &Board, dialer: &Dialer, screen: Option<&Path>, stop: &Stop) {
        if let Err(why) = caught(|| self.watch_the_clock(board, dialer, screen, stop)) {
            board.write(|state| _ = state.fatal.get_or_insert(Verdict::Error(why)));
            _ = dialer.connect().and_then(|mut connection| connection.quit());
        }
    }

    fn watch_the_clock(&self, board: &Board, dialer: &Dialer, screen: Option<&Path>, stop: &Stop) {
        let begun = Instant::now();
        loop {
            let decided = board.wait(TICK, |state| self.decide(state, begun, stop));
            match decided {
                None => {}
                Some(Decision::Over) => return,
                Some(Decision::End { failed }) => {
                    let Ok(mut connection) = dialer.connect() else { return };
                    if let (true, Some(path)) = (failed, screen) {
                        self.keep_screen(&mut connection, path);
                    }
                    _ = match self.begin {
                        Begin::ToSave if !failed => connection.save(),
                        _ => connection.quit(),
                    };
                    return;
                }
            }
        }
    }

    /// Has QEMU draw the screen into a file that nobody knows, and publishes that. A machine without a picture has none.
    fn keep_screen(&self, connection: &mut Connection, path: &Path) {
        let folder = path.parent().unwrap_or(Path::new("."));
        let Ok(drawn) = tempfile::Builder::new().prefix(".screen").tempfile_in(folder) else { return };
        if connection.screendump(drawn.path()).is_err() {
            return;
        }
        let picture = std::fs::read(drawn.path()).unwrap_or_default();
        if let Err(error) = Document::at(path).and_then(|document| document.write(&picture)) {
            self.lost.note(&error);
        }
    }

    fn decide(&self, state: &mut State, begun: Instant, stop: &Stop) -> Option<Decision> {
        if state.over {
            return Some(Decision::Over);
        }
        if state.fatal.is_none() {
            state.fatal = self.time_is_up(state, begun, stop);
        }
        if let Some(member) = &self.member {
            return member.decide(state);
        }
        if state.fatal.is_some() {
            return Some(Decision::End { failed: true });
        }
        // A status is settled by the workload's end, which is the machine's own.
        state.all_held().then_some(Decision::End { failed: false })
    }

    fn time_is_up(&self, state: &State, begun: Instant, stop: &Stop) -> Option<Verdict> {
        if let Some(stopped) = stop.during(|| state.unmet()) {
            return Some(stopped);
        }
        // A disk's first instruction, and before it what the host needs to find out. Several machines have one time.
        let since = self.member.as_ref().map_or(state.started.unwrap_or(begun), |member| member.company.begun);
        if since.elapsed() >= self.test.timeout {
            return Some(Verdict::Timeout { after: self.test.timeout, unmet: state.unmet() });
        }
        let quiet = state.started.filter(|_| !state.heard).map_or(Duration::ZERO, |at| at.elapsed());
        // Of many machines on few processors each gets a small part of the time that passes.
        let limit = self.test.boot_timeout;
        let is_over = quiet >= limit && quiet.saturating_sub(state.pid.map_or(Duration::ZERO, kept_waiting)) >= limit;
        is_over.then_some(Verdict::Silent(limit))
    }

    /// What the end means, together with what is on the board.
    fn judge(&self, state: &mut State, finished: &Finished) -> Verdict {
        if let Some(fatal) = state.fatal.take() {
            return fatal;
        }
        let sentence = || finished.outcome.sentence().unwrap_or_else(|| "the machine ended".into());
        match &finished.outcome {
            Outcome::Panic { message, .. } => Verdict::Panic(message.clone()),
            Outcome::Init { message } => Verdict::Pid1(message.clone()),
            Outcome::QemuGone { .. } => Verdict::QemuGone(sentence()),
            Outcome::Older { .. } => Verdict::Error(sentence()),
            Outcome::GaveUp(_)
            | Outcome::NoResult { .. }
            | Outcome::Reset
            | Outcome::ResetLoop { .. }
            | Outcome::Protocol { .. } => Verdict::NoResult(sentence()),
            Outcome::Stopped(Why::Signal(signal)) => Verdict::Interrupted(*signal),
            Outcome::Workload { outcome, oom, .. } => self.judge_workload(state, outcome, *oom),
            Outcome::OwnInit | Outcome::Stopped(_) => by_expectations(state),
        }
    }

    fn judge_workload(&self, state: &State, outcome: &Workload, oom: bool) -> Verdict {
        if state.all_held() {
            return Verdict::Passed;
        }
        match outcome {
            // What a runtime gives 125 for is nothing the command could help.
            Workload::NotStarted { status: 125, reason } => Verdict::Pid1(crate::escape::escape(reason.as_bytes())),
            Workload::NotStarted { status, reason } => {
                Verdict::NotStarted { status: *status, reason: crate::escape::escape(reason.as_bytes()) }
            }
            _ => {
                let mut unmet = state.unmet();
                for one in &mut unmet {
                    if oom {
                        one.seen.push_str("; the machine ran out of memory");
                    } else if !one.expectation.starts_with("exit-code") {
                        one.seen = format!("{}; the workload ended: {}", one.seen, super::board::describe(outcome));
                    }
                }
                Verdict::Failed(unmet)
            }
        }
    }

    fn screen_path(&self) -> Option<PathBuf> {
        let dir = self.test.log_dir.as_ref().filter(|_| self.machine.display != Display::None)?;
        Some(dir.join(format!("{}.screen.png", self.test.log_name)))
    }
}

/// Says that the machine is over, also when what runs it panics.
struct Over<'a>(&'a Board);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.write(|state| state.over = true);
    }
}

/// A thread of a test, which a limit on processes or memory may forbid. A panic in it is the verdict, and ends the machine.
fn part<'scope>(
    scope: &'scope Scope<'scope, '_>,
    board: &'scope Board,
    work: impl FnOnce() + Send + 'scope,
) -> io::Result<()> {
    let whole = move || {
        if let Err(why) = caught(work) {
            board.write(|state| _ = state.fatal.get_or_insert(Verdict::Error(why)));
        }
    };
    thread::Builder::new().spawn_scoped(scope, whole).map(drop)
}

enum Decision {
    Over,
    End { failed: bool },
}

impl Membership<'_> {
    /// It ends when it is over for all.
    fn decide(&self, state: &State) -> Option<Decision> {
        match &state.fatal {
            None if state.all_held() => self.company.holds(self.number),
            None => {}
            Some(Verdict::Timeout { .. } | Verdict::Late { .. } | Verdict::Interrupted(_)) => {
                self.company.ends(End::Stopped);
            }
            Some(_) => self.company.ends(End::Failed(self.number)),
        }
        self.company.end().map(|end| Decision::End { failed: end != End::Held })
    }
}

/// The verdict on a machine that was ended because of another.
fn by_others(state: &State) -> Verdict {
    if state.all_held() { Verdict::Passed } else { Verdict::Skipped("ended with the test".into()) }
}

fn by_expectations(state: &State) -> Verdict {
    if state.all_held() { Verdict::Passed } else { Verdict::Failed(state.unmet()) }
}

/// Writes what happened on the board.
fn observe(board: &Board, event: &Event, choice: AccelChoice) {
    board.write(|state| match &event.what {
        What::Note(note) => state.note = Some(crate::escape::escape(note.as_bytes())),
        What::Started { pid, accel } => {
            state.started = Some(Instant::now() - event.at);
            state.pid = Some(*pid);
            state.accel = Some(accelerator(*accel, choice, state.note.as_deref()));
        }
        What::Firmware(bytes) => state.firmware_says(bytes),
        What::Restored => state.goes_on(event.at),
        What::FirmwareDone if state.boots() => drop(state.phases.loader.get_or_insert(event.at)),
        What::Hello(_) if !state.boots() => state.greet(),
        What::Hello(hello) => {
            state.greet();
            state.phases.pid1.get_or_insert(event.at);
            state.phases.kernel = state.phases.kernel.or_else(|| kernel_begin(state, event.at, hello.uptime?));
        }
        What::WorkloadStarted | What::HandedOver(_) => state.workload_began(event.at),
        What::Result { outcome, .. } => state.workload_ended(outcome),
        What::Log(log) => state.pid1_says(&log.text),
        What::Told(text) => state.pid1_says(text),
        What::Failed(text) => drop(state.fatal.get_or_insert(Verdict::Error(text.clone()))),
        // It may never go on, and a verdict about a machine that stands still would be about the host.
        What::NoSpace(scarce) => drop(state.fatal.get_or_insert(Verdict::Error(scarce.to_string()))),
        _ => {}
    });
    if let What::Console(bytes) = &event.what {
        board.text(Stream::Console, bytes);
    }
}

/// When the kernel began, by its own clock. Where that says that it began before its loader, the clock is wrong, and the
/// time of the two cannot be told apart.
fn kernel_begin(state: &State, hello: Duration, uptime: u64) -> Option<Duration> {
    let begin = hello.checked_sub(Duration::from_millis(uptime))?;
    (begin > state.phases.loader.unwrap_or_default()).then_some(begin)
}

/// What executes the guest, and why that.
fn accelerator(accel: Accel, choice: AccelChoice, note: Option<&str>) -> String {
    let why = match (choice, note) {
        (AccelChoice::Auto, Some(note)) => note.strip_prefix("using TCG, ").unwrap_or(note),
        (AccelChoice::Auto, None) => "it works here",
        _ => "asked for",
    };
    format!("{} ({why})", accel.name())
}

/// Reads a stream of the workload to its end.
fn read(board: &Board, stream: Stream, mut pipe: PipeReader, mut log: Option<LogFile>, mut line: Option<Speaker<'_>>) {
    let mut buffer = vec![0; 65_536];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                if let Some(log) = &mut log {
                    log.add(&buffer[..n]);
                }
                line.iter_mut().for_each(|line| line.add(&buffer[..n]));
                board.text(stream, &buffer[..n]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    board.end_of(stream);
}

/// A port that nobody listens on.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
