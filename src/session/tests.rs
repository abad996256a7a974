//! Sessions against a guest in this process: a thread speaks QMP, another one the protocol of the host channel, and a
//! sleeping child stands in for QEMU.

use super::decide::LAST_WORDS;
use super::*;
use crate::arch::Architecture;
use crate::guest::channel::{
    Decoder, Ended as End, Frame, HandedOver, Hello, Kind, Level, Log, MAX_PAYLOAD, Outcome as Workload, Resize,
    Restarting, Started, VERSION, WINDOW, Welcome, stderr_of, stdin_of, stdout_of,
};
use crate::qemu::Kept;
use crate::qemu::machine::Access;
use crate::session::control::{Dialer, endpoint};
use crate::session::terminal;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader};
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// The guest's side of everything.
pub(super) struct Guest {
    pub(super) port: UnixStream,
    console: UnixStream,
    qmp: UnixStream,
    decoder: Decoder,
    pub(super) nonce: String,
    pid: Pid,
    pub(super) button: Receiver<&'static str>,
    /// Gets something each time the machine is told to go on, the first time aside.
    continued: Receiver<()>,
    /// What the session has seen.
    seen: Receiver<What>,
}

/// What a PID 1 of today says first.
pub(super) fn hello() -> Hello {
    Hello { version: VERSION, bootdisk: "0".into(), kernel: "6.1".into(), uptime: None, restarts: true, resumes: true }
}

impl Guest {
    /// The next frame, `None` when the host has gone.
    pub(super) fn receive(&mut self) -> Option<Frame> {
        let mut buffer = [0; 65_536];
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            match self.port.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.decoder.feed(&buffer[..n]),
            }
        }
    }

    pub(super) fn send(&mut self, frame: Frame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes).unwrap();
        // A host that has seen enough does not read any more.
        _ = self.port.write_all(&bytes);
    }

    pub(super) fn greet(&mut self) -> Welcome {
        let welcome = self.be_welcomed();
        self.send(Frame::control(Kind::Started, &Started { process: 0 }));
        welcome
    }

    fn be_welcomed(&mut self) -> Welcome {
        self.send(Frame::control(Kind::Hello, &hello()));
        // Until the welcome, frames are for the machine before the last reset.
        let frame = std::iter::from_fn(|| self.receive()).find(|frame| frame.kind == Kind::Welcome).unwrap();
        let welcome: Welcome = serde_json::from_slice(&frame.payload).unwrap();
        self.nonce.clone_from(&welcome.nonce);
        welcome
    }

    pub(super) fn data(&mut self, stream: u32, bytes: &[u8]) {
        self.send(Frame { stream, kind: Kind::Data, payload: bytes.to_vec() });
    }

    pub(super) fn result(&mut self, nonce: &str, outcome: Workload) {
        self.send(Frame::control(Kind::Result, &End { process: 0, nonce: nonce.into(), outcome, oom: false }));
    }

    /// What PID 1 of an older disk does when the image's own init takes its place.
    pub(super) fn hand_over(&mut self) {
        self.hand_over_to(false, false);
    }

    /// What PID 1 does then, for an init that hears no power button.
    pub(super) fn leave_a_caretaker(&mut self) {
        self.hand_over_to(true, true);
    }

    /// The caretaker's end, as QEMU tells of it.
    pub(super) fn lose_the_caretaker(&mut self) {
        self.event("VSERPORT_CHANGE", r#"{"open": false, "id": "port"}"#);
    }

    fn hand_over_to(&mut self, no_button: bool, caretaker: bool) {
        let nonce = self.be_welcomed().nonce;
        let guessed = HandedOver { nonce: "0".repeat(32), init: "/forged".into(), no_button: false, caretaker };
        self.send(Frame::control(Kind::HandedOver, &guessed));
        let handed_over = HandedOver { nonce, init: "/sbin/init".into(), no_button, caretaker };
        self.send(Frame::control(Kind::HandedOver, &handed_over));
        self.wait_for(|what| matches!(what, What::HandedOver(_)));
    }

    /// Waits until the session has seen something: what follows comes through another socket than that did.
    pub(super) fn wait_for(&mut self, wanted: impl Fn(&What) -> bool) {
        while !wanted(&self.seen.recv().unwrap()) {}
    }

    pub(super) fn wait_for_button(&mut self) {
        self.button.recv().unwrap();
    }

    pub(super) fn power_off(&mut self) {
        self.event("SHUTDOWN", r#"{"guest": true, "reason": "guest-shutdown"}"#);
    }

    /// What PID 1 does when its workload has exited.
    pub(super) fn finish(&mut self, status: u8) {
        for stream in [stdout_of(0), stderr_of(0)] {
            self.send(Frame { stream, kind: Kind::Eof, payload: vec![] });
        }
        let nonce = self.nonce.clone();
        self.result(&nonce, Workload::Exited(status));
        self.send(Frame { stream: 0, kind: Kind::Done, payload: vec![] });
        self.event("SHUTDOWN", r#"{"guest": true, "reason": "guest-shutdown"}"#);
    }

    fn event(&mut self, name: &str, data: &str) {
        say_line(&mut self.qmp, &format!("{{\"event\": \"{name}\", \"data\": {data}}}"));
    }

    pub(super) fn reset(&mut self) {
        self.event("RESET", r#"{"guest": true, "reason": "guest-reset"}"#);
    }

    /// A reset that another boot follows.
    pub(super) fn reboot(&mut self) {
        self.reset();
        self.wait_for(|what| *what == What::Reset);
    }

    pub(super) fn say(&mut self, text: &str) {
        _ = self.console.write_all(text.as_bytes());
    }
}

/// A line of QEMU's monitor, in one write: two threads say them.
fn say_line(socket: &mut UnixStream, line: &str) {
    _ = socket.write_all(format!("{line}\n").as_bytes());
}

/// QEMU's monitor: agrees to everything, dies when asked to, and tells of every button that is pressed. A migration ends
/// with this status.
fn monitor(
    mut socket: UnixStream,
    pid: Pid,
    migrated: &'static str,
    begin: &Sender<()>,
    pressed: &Sender<&'static str>,
) {
    say_line(&mut socket, r#"{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}}}"#);
    for line in BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok) {
        let command: Value = serde_json::from_str(&line).unwrap();
        say_line(&mut socket, &format!(r#"{{"return": {{}}, "id": {}}}"#, command["id"]));
        match command["execute"].as_str() {
            Some("cont") => _ = begin.send(()),
            Some("system_powerdown") => _ = pressed.send("power"),
            Some("send-key") => _ = pressed.send("keys"),
            Some("migrate" | "migrate-incoming") => {
                say_line(&mut socket, &format!(r#"{{"event": "MIGRATION", "data": {{"status": "{migrated}"}}}}"#));
            }
            Some("quit") => _ = kill(pid, Signal::SIGTERM),
            _ => {}
        }
    }
}

pub(super) struct Ran {
    pub(super) finished: Finished,
    pub(super) snapshot: Option<Result<Snapshot, String>>,
    pub(super) events: Vec<What>,
    pub(super) stdout: Vec<u8>,
    stderr: Vec<u8>,
    took: Duration,
}

/// Long before the timeout of [`options`], on the busiest host.
const SOON: Duration = Duration::from_secs(20);

pub(super) fn options() -> SessionOptions {
    SessionOptions { timeout: Some(Duration::from_secs(60)), ..SessionOptions::default() }
}

fn collect(mut reader: PipeReader) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Runs a session with this guest, and everything its reader lets through.
fn with_guest(options: SessionOptions, guest: impl FnOnce(&mut Guest) + Send + 'static) -> Ran {
    with_streams(options, File::open("/dev/null").unwrap().into(), collect, guest)
}

fn with_streams(
    options: SessionOptions,
    stdin: OwnedFd,
    read_stdout: impl FnOnce(PipeReader) -> thread::JoinHandle<Vec<u8>>,
    guest: impl FnOnce(&mut Guest) + Send + 'static,
) -> Ran {
    let machine = MachineOptions::new(Architecture::X86_64, "unused".into());
    with_machine(&machine, options, stdin, read_stdout, guest)
}

fn with_machine(
    machine: &MachineOptions,
    options: SessionOptions,
    stdin: OwnedFd,
    read_stdout: impl FnOnce(PipeReader) -> thread::JoinHandle<Vec<u8>>,
    guest: impl FnOnce(&mut Guest) + Send + 'static,
) -> Ran {
    with_endpoint(machine, options, stdin, read_stdout, Endpoint::default(), guest)
}

/// Runs a session with this guest and these clients.
pub(super) fn with_client<T: Send + 'static>(
    options: SessionOptions,
    client: impl FnOnce(Dialer) -> T + Send + 'static,
    guest: impl FnOnce(&mut Guest) + Send + 'static,
) -> (Ran, T) {
    let (endpoint, dialer) = endpoint().unwrap();
    let client = thread::spawn(move || client(dialer));
    let ran = with_null(options, endpoint, guest);
    (ran, client.join().unwrap())
}

pub(super) fn with_clients_from(endpoint: Endpoint, guest: impl FnOnce(&mut Guest) + Send + 'static) -> Ran {
    with_null(options(), endpoint, guest)
}

fn with_null(options: SessionOptions, endpoint: Endpoint, guest: impl FnOnce(&mut Guest) + Send + 'static) -> Ran {
    let machine = MachineOptions::new(Architecture::X86_64, "unused".into());
    let null = File::open("/dev/null").unwrap().into();
    with_endpoint(&machine, options, null, collect, endpoint, guest)
}

fn with_endpoint(
    machine: &MachineOptions,
    options: SessionOptions,
    stdin: OwnedFd,
    read_stdout: impl FnOnce(PipeReader) -> thread::JoinHandle<Vec<u8>>,
    endpoint: Endpoint,
    guest: impl FnOnce(&mut Guest) + Send + 'static,
) -> Ran {
    with_everything((machine, stdin, read_stdout), options, endpoint, (Begin::Boot, "completed"), guest).unwrap()
}

/// Runs a session that begins like this, whose QEMU comes to this end with a migration.
pub(super) fn with_migration<T: Send + 'static>(
    (begin, migrated): (Begin, &'static str),
    client: impl FnOnce(Dialer) -> T + Send + 'static,
    guest: impl FnOnce(&mut Guest) + Send + 'static,
) -> (Result<Ran, RunError>, T) {
    let (endpoint, dialer) = endpoint().unwrap();
    let client = thread::spawn(move || client(dialer));
    let machine = MachineOptions::new(Architecture::X86_64, "unused".into());
    let null = File::open("/dev/null").unwrap().into();
    let ran = with_everything((&machine, null, collect), options(), endpoint, (begin, migrated), guest);
    (ran, client.join().unwrap())
}

fn with_everything(
    (machine, stdin, read_stdout): (&MachineOptions, OwnedFd, impl FnOnce(PipeReader) -> thread::JoinHandle<Vec<u8>>),
    options: SessionOptions,
    endpoint: Endpoint,
    (begin, migrated): (Begin, &'static str),
    guest: impl FnOnce(&mut Guest) + Send + 'static,
) -> Result<Ran, RunError> {
    let pair = || UnixStream::pair().unwrap();
    let ((qmp, their_qmp), (to_guest, port), (console, their_console)) = (pair(), pair(), pair());
    let process = Process::start(Path::new("/bin/sleep"), &["600".into()], &[]).unwrap();
    let pid = Pid::from_raw(process.id() as i32);
    let events = their_qmp.try_clone().unwrap();
    let ((go, began), (pressed, button), (see, seen)) = (channel(), channel(), channel());
    let monitor = thread::spawn(move || monitor(their_qmp, pid, migrated, &go, &pressed));
    let guest = thread::spawn(move || {
        // A machine that is stopped before it begins has no guest.
        if began.recv().is_err() {
            return;
        }
        let decoder = Decoder::default();
        let (console, qmp, nonce) = (their_console, events, String::new());
        let mut end = Guest { port, console, qmp, decoder, nonce, pid, button, continued: began, seen };
        guest(&mut end);
        // A machine stays until it is told to go.
        while end.receive().is_some() {}
    });
    let (stdout, stdout_end) = std::io::pipe().unwrap();
    let (stderr, stderr_end) = std::io::pipe().unwrap();
    let (stdout, stderr) = (read_stdout(stdout), collect(stderr));
    let streams = Streams { stdin, stdout: stdout_end.into(), stderr: stderr_end.into() };
    let terminal = options.terminal.then(|| terminal::describe(&streams.stdin));
    let start = Instant::now();
    let links = Links { qmp, channel: to_guest, console, firmware_log: None };
    let session = Session::new(machine, options, terminal, process, links, streams, start)
        .unwrap()
        .controlled(endpoint)
        .beside(vec![("more0".to_owned(), "/volumes/data.img".into())], Daemons::default())
        .keeping(matches!(begin, Begin::ToSave).then(Kept::empty))
        .from(begin);
    let mut events = Vec::new();
    let finished = session.run(Path::new("/bin/sleep"), Accel::Tcg, &mut |event: Event| {
        // A guest that has done its part does not look.
        _ = see.send(event.what.clone());
        events.push(event.what);
        ControlFlow::Continue(())
    });
    let took = start.elapsed();
    guest.join().unwrap();
    monitor.join().unwrap();
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let Ended { finished, snapshot } = finished?;
    Ok(Ran { finished, snapshot, events, stdout, stderr, took })
}

pub(super) fn exited(status: u8) -> Outcome {
    Outcome::Workload { outcome: Workload::Exited(status), oom: false, clean: true }
}

#[test]
fn the_workloads_bytes_and_status_and_nothing_else() {
    let ran = with_guest(options(), |guest| {
        guest.say("kernel says hello\n");
        let welcome = guest.greet();
        assert_eq!((welcome.panic, welcome.stdin, welcome.terminal), (Some(-1), false, None));
        assert!(welcome.time > 1_700_000_000);
        guest.data(stdout_of(0), b"out\0\xff\n");
        guest.data(stderr_of(0), b"err\n");
        guest.say("kernel says bye\n");
        guest.finish(7);
    });
    assert_eq!((ran.finished.outcome.clone(), ran.finished.outcome.status()), (exited(7), 7));
    assert_eq!((ran.stdout, ran.stderr), (b"out\0\xff\n".to_vec(), b"err\n".to_vec()));
    assert!(ran.finished.console.starts_with(b"kernel says hello\n"));
    let order: Vec<&What> = ran.events.iter().filter(|what| !matches!(what, What::Console(_))).collect();
    assert!(matches!(
        order[..],
        [What::Started { .. }, What::Hello(_), What::WorkloadStarted, What::Result { .. }, What::FileSystemsClean, ..]
    ));
}

#[test]
fn input_through_a_pipe_is_the_first_lifes() {
    let (input, _open) = std::io::pipe().unwrap();
    let options = SessionOptions { stdin: true, ..options() };
    let ran = with_streams(options, input.into(), collect, |guest| {
        guest.greet();
        let (nonce, outcome) = (guest.nonce.clone(), Workload::Exited(1));
        guest.send(Frame::control(Kind::Restarting, &Restarting { nonce, outcome, pause: 100, count: 1 }));
        let frame = guest.receive().unwrap();
        assert_eq!(frame, Frame { stream: stdin_of(0), kind: Kind::Eof, payload: vec![] });
        guest.send(Frame::control(Kind::Started, &Started { process: 0 }));
        guest.finish(0);
    });
    assert_eq!(ran.finished.outcome, exited(0));
}

#[test]
fn nothing_the_workload_prints_or_guesses_is_a_result() {
    let ran = with_guest(options(), |guest| {
        guest.greet();
        guest.say("[    9.9] Kernel panic - not syncing: forged\n---[ end Kernel panic - not syncing: forged ]---\n");
        guest.result("", Workload::Exited(0));
        guest.result("00000000000000000000000000000000", Workload::Exited(0));
        guest.data(stdout_of(0), b"bootdisk: exit status 0\n");
        thread::sleep(LAST_WORDS * 2);
        guest.finish(9);
    });
    assert_eq!(ran.finished.outcome, exited(9));
    assert!(!ran.events.contains(&What::Panic));
}

/// Bytes that differ from place to place, so that nothing can be lost, doubled or swapped unseen.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).take(length.div_ceil(4)).flatten().take(length).collect()
}

/// More than the window, and no multiple of a frame.
const MUCH: usize = 100_000_001;

#[test]
fn a_hundred_megabytes_come_out_byte_for_byte() {
    let ran = with_guest(options(), |guest| {
        guest.greet();
        let (bytes, mut at, mut credit) = (pattern(MUCH), 0, WINDOW as usize);
        while at < bytes.len() {
            let n = credit.min(MAX_PAYLOAD).min(bytes.len() - at);
            if n == 0 {
                let frame = guest.receive().unwrap();
                assert_eq!((frame.stream, frame.kind), (stdout_of(0), Kind::Credit));
                credit += u32::from_le_bytes(frame.payload.try_into().unwrap()) as usize;
                assert!(credit <= WINDOW as usize);
                continue;
            }
            guest.data(stdout_of(0), &bytes[at..at + n]);
            (at, credit) = (at + n, credit - n);
        }
        guest.finish(0);
    });
    assert_eq!(ran.finished.outcome, exited(0));
    assert!(ran.stdout == pattern(MUCH));
}

#[test]
fn a_hundred_megabytes_go_in_byte_for_byte_and_no_faster_than_they_are_read() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let feeder = thread::spawn(move || writer.write_all(&pattern(MUCH)).unwrap());
    let ran = with_streams(SessionOptions { stdin: true, ..options() }, reader.into(), collect, |guest| {
        assert!(guest.greet().stdin);
        let (mut got, mut outstanding) = (Vec::with_capacity(MUCH), 0);
        loop {
            let frame = guest.receive().unwrap();
            assert_eq!(frame.stream, stdin_of(0));
            if frame.kind == Kind::Eof {
                break;
            }
            outstanding += frame.payload.len();
            assert!(outstanding <= WINDOW as usize);
            got.extend(frame.payload);
            // Late and in large pieces: the host must wait.
            if outstanding == WINDOW as usize || got.len() == MUCH {
                let payload = (outstanding as u32).to_le_bytes().to_vec();
                guest.send(Frame { stream: stdin_of(0), kind: Kind::Credit, payload });
                outstanding = 0;
            }
        }
        guest.finish(u8::from(got != pattern(MUCH)));
    });
    assert_eq!(ran.finished.outcome, exited(0));
    feeder.join().unwrap();
}

#[test]
fn without_i_no_byte_of_standard_input_is_touched() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"mine").unwrap();
    drop(writer);
    let ran = with_streams(options(), reader.try_clone().unwrap().into(), collect, |guest| {
        guest.greet();
        thread::sleep(Duration::from_millis(50));
        guest.finish(0);
    });
    assert_eq!(ran.finished.outcome, exited(0));
    let mut left = String::new();
    reader.read_to_string(&mut left).unwrap();
    assert_eq!(left, "mine");
}

#[test]
fn a_guest_that_breaks_the_protocol_is_stopped() {
    let ran = with_guest(options(), |guest| {
        guest.greet();
        for _ in 0..100 {
            guest.data(stdout_of(0), &[b'x'; MAX_PAYLOAD]);
            // Nobody gives credit for bytes that are not read.
        }
        guest.data(7, b"no such stream");
    });
    assert!(matches!(ran.finished.outcome, Outcome::Protocol { .. }), "{:?}", ran.finished.outcome);
    let ran = with_guest(options(), |guest| {
        _ = guest.port.write_all(b"login: \x1b[31mthis is no frame\n");
    });
    let Outcome::Protocol { message } = &ran.finished.outcome else { panic!("{:?}", ran.finished.outcome) };
    assert_eq!(message, "frame of unknown kind 110");
    assert_eq!(ran.finished.outcome.status(), 125);
}

#[test]
fn a_panic_is_believed_from_the_console_before_the_hello_and_from_the_machine_after_it() {
    let text = "[ 1.0] Kernel panic - not syncing: Attempted to kill init!\n";
    let before = with_guest(options(), move |guest| guest.say(text));
    let message = "Kernel panic - not syncing: Attempted to kill init!".to_owned();
    assert_eq!(before.finished.outcome, Outcome::Panic { message: message.clone(), after_hello: false });
    assert!(before.took < SOON);

    // By pvpanic, and by a reset without a result.
    for by_reset in [false, true] {
        let after = with_guest(options(), move |guest| {
            guest.greet();
            guest.data(stdout_of(0), b"so far");
            guest.say(text);
            thread::sleep(Duration::from_millis(50));
            if by_reset { guest.reset() } else { guest.event("GUEST_PANICKED", r#"{"action": "pause"}"#) }
        });
        assert_eq!(after.finished.outcome, Outcome::Panic { message: message.clone(), after_hello: true });
        assert_eq!(after.stdout, b"so far");
        assert!(after.took < SOON);
    }
    // A reset without a word is somebody else's, also where the firmware adds one.
    for resets in [1, 2] {
        let reset = with_guest(options(), move |guest| {
            guest.greet();
            (0..resets).for_each(|_| guest.reset());
        });
        assert_eq!(reset.finished.outcome, Outcome::Reset);
        assert!(reset.finished.outcome.sentence().unwrap().contains("sysrq"));
    }
    // With a result there is nothing left to decide, only that the file systems were not cleaned.
    let late = with_guest(options(), |guest| {
        guest.greet();
        let nonce = guest.nonce.clone();
        guest.result(&nonce, Workload::Exited(4));
        guest.event("GUEST_PANICKED", r#"{"action": "pause"}"#);
    });
    assert_eq!(late.finished.outcome, Outcome::Workload { outcome: Workload::Exited(4), oom: false, clean: false });
}

#[test]
fn a_reboot_after_the_result_boots_again_and_the_last_result_counts() {
    let ran = with_guest(options(), |guest| {
        guest.greet();
        guest.data(stdout_of(0), b"one ");
        let nonce = guest.nonce.clone();
        guest.result(&nonce, Workload::Signaled(1));
        // Half a frame is lost with the machine that sent it.
        _ = guest.port.write_all(&[2, 0, 0, 0, 3]);
        guest.reboot();
        guest.greet();
        assert_ne!(guest.nonce, nonce);
        guest.data(stdout_of(0), b"two");
        guest.finish(5);
    });
    assert_eq!((ran.finished.outcome, ran.stdout), (exited(5), b"one two".to_vec()));
    assert!(ran.events.contains(&What::Reset));
}

/// Restarts are the workload's right, and the firmware's own resets between them no boots; but it must end some time.
#[test]
fn a_workload_that_always_restarts_the_machine_ends_with_its_result() {
    let ran = with_guest(options(), |guest| {
        for turn in 1..=5 {
            guest.greet();
            let nonce = guest.nonce.clone();
            guest.result(&nonce, Workload::Exited(0));
            guest.send(Frame { stream: 0, kind: Kind::Done, payload: vec![] });
            if turn == 5 {
                return guest.reset();
            }
            guest.reboot();
            guest.reboot();
        }
    });
    assert_eq!(ran.finished.outcome, exited(0));
    assert!(ran.events.contains(&What::NotRestarted { times: 5 }));
}

#[test]
fn what_pid_1_says_before_it_gives_up_is_the_reason() {
    let ran = with_guest(options(), |guest| {
        guest.greet();
        let text = "cannot mount the root file system: \x1b]0;x".to_owned();
        guest.send(Frame::control(Kind::Log, &Log { level: Level::Error, text, note: false }));
        guest.event("SHUTDOWN", r#"{"guest": true, "reason": "guest-shutdown"}"#);
    });
    let message = "cannot mount the root file system: \\x1b]0;x".to_owned();
    assert_eq!((ran.finished.outcome.status(), ran.finished.outcome), (125, Outcome::Init { message }));
    let silent = with_guest(options(), |guest| {
        guest.greet();
        guest.event("SHUTDOWN", r#"{"guest": true, "reason": "guest-shutdown"}"#);
    });
    assert_eq!(silent.finished.outcome, Outcome::NoResult { after_hello: true });
}

#[test]
fn a_qemu_that_goes_takes_no_result_with_it() {
    let with = |result: bool| {
        with_guest(options(), move |guest| {
            guest.greet();
            if result {
                let nonce = guest.nonce.clone();
                guest.result(&nonce, Workload::Exited(3));
            }
            kill(guest.pid, Signal::SIGKILL).unwrap();
        })
    };
    assert!(matches!(with(false).finished.outcome, Outcome::QemuGone { .. }));
    assert_eq!(
        with(true).finished.outcome,
        Outcome::Workload { outcome: Workload::Exited(3), oom: false, clean: false }
    );
}

#[test]
fn a_timeout_ends_what_does_not_end() {
    let options = SessionOptions { timeout: Some(Duration::from_millis(300)), ..options() };
    let ran = with_guest(options, |guest| drop(guest.greet()));
    assert_eq!((ran.finished.outcome.status(), ran.finished.outcome), (124, Outcome::Stopped(Why::Timeout)));
    assert!(ran.took < SOON);
}

#[test]
fn a_machine_that_writes_its_disk_is_asked_before_it_is_ended() {
    let machine =
        MachineOptions { access: Access::Write, ..MachineOptions::new(Architecture::X86_64, "unused".into()) };
    let options = SessionOptions { timeout: Some(Duration::from_millis(300)), ..options() };
    let null = File::open("/dev/null").unwrap().into();
    let ran = with_machine(&machine, options, null, collect, |guest| {
        guest.greet();
        assert_eq!(guest.receive().unwrap().kind, Kind::Stop);
        guest.data(stdout_of(0), b"saved");
        guest.finish(143);
    });
    assert_eq!((ran.finished.outcome, ran.stdout), (Outcome::Stopped(Why::Timeout), b"saved".to_vec()));
    assert!(ran.events.contains(&What::FileSystemsClean));
}

#[test]
fn a_reader_that_goes_is_told_to_the_guest_which_may_go_on() {
    let gone = |reader: PipeReader| {
        drop(reader);
        thread::spawn(Vec::new)
    };
    let null = || File::open("/dev/null").unwrap().into();
    let ran = with_streams(options(), null(), gone, |guest| {
        guest.greet();
        guest.data(stdout_of(0), b"nobody reads this");
        let told = std::iter::from_fn(|| guest.receive()).find(|frame| frame.kind == Kind::Eof).unwrap();
        assert_eq!(told.stream, stdout_of(0));
        guest.data(stderr_of(0), b"broken pipe\n");
        guest.finish(1);
    });
    assert_eq!((ran.finished.outcome, ran.stderr), (exited(1), b"broken pipe\n".to_vec()));

    // A guest that does not know this and writes for ever is stopped.
    let ran = with_streams(options(), null(), gone, |guest| {
        guest.greet();
        let mut stopped = false;
        while !stopped {
            guest.data(stdout_of(0), b"y\n");
            thread::sleep(Duration::from_millis(1));
            guest.port.set_nonblocking(true).unwrap();
            stopped = std::iter::from_fn(|| guest.receive()).any(|frame| frame.kind == Kind::Stop);
            guest.port.set_nonblocking(false).unwrap();
        }
        // What it says on its way to the end does not hurry it.
        for _ in 0..3 {
            guest.data(stdout_of(0), b"y\n");
            thread::sleep(Duration::from_millis(20));
        }
        let nonce = guest.nonce.clone();
        guest.result(&nonce, Workload::Signaled(15));
        guest.event("SHUTDOWN", r#"{"guest": true, "reason": "guest-shutdown"}"#);
    });
    assert_eq!(ran.finished.outcome.status(), 143);
    assert!(ran.events.contains(&What::Stopping(Why::OutputClosed)));
}

#[test]
fn a_terminal_is_raw_while_the_workload_has_it() {
    use nix::pty::{Winsize, openpty};
    use nix::sys::termios::tcgetattr;
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).unwrap();
    let before = tcgetattr(&pty.slave).unwrap();
    let (master, slave) = (File::from(pty.master), pty.slave);
    // Its other end must stay open to the end: a terminal that is hung up has no mode.
    let _kept = master.try_clone().unwrap();
    let (theirs, cooked) = (slave.try_clone().unwrap(), before.clone());
    let options = SessionOptions { stdin: true, terminal: true, ..options() };
    let ran = with_streams(options, slave.try_clone().unwrap(), collect, move |guest| {
        assert_eq!(tcgetattr(&theirs).unwrap(), cooked, "Ctrl-C is ours until the workload has started");
        let terminal = guest.greet().terminal.unwrap();
        assert_eq!((terminal.rows, terminal.cols), (24, 80));
        while tcgetattr(&theirs).unwrap() == cooked {
            thread::sleep(Duration::from_millis(1));
        }
        (&master).write_all(b"\x03\x04\r").unwrap();
        let mut typed = Vec::new();
        while typed.len() < 3 {
            typed.extend(guest.receive().unwrap().payload);
        }
        assert_eq!(typed, b"\x03\x04\r");
        let larger = Winsize { ws_row: 50, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCSWINSZ reads one winsize.
        assert_eq!(unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&master), libc::TIOCSWINSZ, &larger) }, 0);
        nix::sys::signal::raise(Signal::SIGWINCH).unwrap();
        let frame = guest.receive().unwrap();
        let resize: Resize = serde_json::from_slice(&frame.payload).unwrap();
        assert_eq!((frame.kind, resize), (Kind::Resize, Resize { process: 0, rows: 50, cols: 132 }));
        guest.data(stdout_of(0), b"prompt\r\n");
        guest.finish(0);
    });
    assert_eq!((ran.finished.outcome, ran.stdout), (exited(0), b"prompt\r\n".to_vec()));
    assert_eq!(tcgetattr(&slave).unwrap(), before);
}

#[test]
fn a_terminal_that_goes_takes_the_machine_along() {
    use nix::fcntl::OFlag;
    use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
    // Nobody may inherit the master: the terminal would never hang up.
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let mut slave = File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(slave.read(true).write(true), libc::O_NOCTTY);
    let slave = slave.open(ptsname_r(&master).unwrap()).unwrap();
    let options = SessionOptions { stdin: true, terminal: true, ..options() };
    let ran = with_streams(options, slave.into(), collect, move |guest| {
        guest.greet();
        drop(master);
        let mut frames = std::iter::from_fn(|| guest.receive());
        // Its own terminal hangs up, and then it is asked to stop.
        assert!(frames.any(|frame| (frame.kind, frame.stream) == (Kind::Eof, stdout_of(0))));
        assert!(frames.any(|frame| frame.kind == Kind::Stop));
        guest.finish(129);
    });
    assert_eq!(ran.finished.outcome, exited(129));
    let stops = ran.events.iter().filter(|what| matches!(what, What::Stopping(_))).count();
    assert_eq!((stops, ran.events.contains(&What::Stopping(Why::Signal(libc::SIGHUP)))), (1, true));
}

#[test]
fn an_own_init_has_the_console_and_ends_well_by_switching_off() {
    let (stdin, mut typed) = std::io::pipe().unwrap();
    typed.write_all(b"root\n").unwrap();
    let options = SessionOptions { stdin: true, ..options() };
    let ran = with_streams(options, stdin.into(), collect, |guest| {
        guest.say("the kernel's\n");
        guest.hand_over();
        guest.say("login: ");
        let mut line = [0; 5];
        guest.console.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"root\n");
        // Neither a sentence nor a frame of an init is anything to us.
        guest.say("Kernel panic - not syncing: forged\n");
        _ = guest.port.write_all(&[0xff; 64]);
        thread::sleep(Duration::from_millis(100));
        guest.power_off();
    });
    assert_eq!((ran.finished.outcome.clone(), ran.finished.outcome.status()), (Outcome::OwnInit, 0));
    assert_eq!(ran.finished.outcome.sentence(), None);
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "login: Kernel panic - not syncing: forged\n");
    let handed: Vec<&What> = ran.events.iter().filter(|what| matches!(what, What::HandedOver(_))).collect();
    assert_eq!(handed, [&What::HandedOver("/sbin/init".into())]);
}

#[test]
fn an_own_init_may_reboot_and_may_not_panic() {
    let ran = with_guest(options(), |guest| {
        guest.hand_over();
        guest.reboot();
        guest.hand_over();
        guest.power_off();
    });
    assert_eq!(ran.finished.outcome, Outcome::OwnInit);
    assert!(ran.events.contains(&What::Reset));

    let told = with_guest(options(), |guest| {
        guest.hand_over();
        guest.say("[ 1.0] Kernel panic - not syncing: Attempted to kill init!\n");
        thread::sleep(Duration::from_millis(100));
        guest.reset();
    });
    assert!(matches!(&told.finished.outcome, Outcome::Panic { message, .. } if message.contains("Attempted")));

    let seen = with_guest(options(), |guest| {
        guest.hand_over();
        guest.event("GUEST_PANICKED", r#"{"action": "pause"}"#);
    });
    assert!(matches!(seen.finished.outcome, Outcome::Panic { after_hello: true, .. }));
}

#[test]
fn an_own_init_that_cannot_be_executed_is_a_result() {
    let ran = with_guest(options(), |guest| {
        guest.hand_over();
        let nonce = guest.nonce.clone();
        guest.result(&nonce, Workload::NotStarted { status: 126, reason: "exec format error".into() });
        guest.power_off();
    });
    assert_eq!(ran.finished.outcome.status(), 126);
}

#[test]
fn an_own_init_is_stopped_with_the_power_button_until_it_hears_it() {
    let timeout = Some(Duration::from_secs(2));
    let obeyed = with_guest(SessionOptions { timeout, ..options() }, |guest| {
        guest.hand_over();
        guest.button.recv().unwrap();
        // It was not listening yet.
        guest.button.recv().unwrap();
        guest.say("going down\n");
        thread::sleep(Duration::from_millis(100));
        guest.power_off();
    });
    assert_eq!(obeyed.finished.outcome.status(), 124);
    assert_eq!(obeyed.stdout, b"going down\n");
    assert!(obeyed.took > Duration::from_secs(6), "{:?}", obeyed.took);
}

/// Asks an image's own init to stop, and returns the status it ends with.
fn stop_own_init(dialer: Dialer) -> u8 {
    let mut connection = dialer.connect().unwrap();
    connection.wait_until(|state| state.own_init, None).unwrap();
    connection.stop(None).unwrap();
    connection.wait_for_end(None).unwrap().unwrap().status
}

#[test]
fn an_own_init_that_knows_no_power_button_gets_ctrl_alt_del() {
    let (ran, status) = with_client(options(), stop_own_init, |guest| {
        guest.hand_over();
        let pressed: Vec<&str> = guest.button.iter().take(4).collect();
        assert_eq!(pressed, ["power", "power", "power", "keys"]);
        // Its answer is to restart.
        guest.reset();
    });
    assert_eq!((ran.finished.outcome, status), (Outcome::OwnInit, 0));
    assert!(!ran.events.contains(&What::Reset));
}

#[test]
fn an_own_init_that_is_known_to_hear_no_button_gets_ctrl_alt_del_at_once() {
    let (ran, status) = with_client(options(), stop_own_init, |guest| {
        guest.hand_over_to(true, false);
        assert_eq!(guest.button.iter().take(2).collect::<Vec<_>>(), ["power", "keys"]);
        guest.reset();
    });
    assert_eq!((ran.finished.outcome, status), (Outcome::OwnInit, 0));
    assert!(ran.took < Duration::from_secs(5), "{:?}", ran.took);
}

#[test]
fn an_own_init_beside_which_a_caretaker_is_is_asked_by_it_and_not_by_keys_that_mean_restart() {
    let (ran, status) = with_client(options(), stop_own_init, |guest| {
        guest.leave_a_caretaker();
        // What an init is told before it listens is lost, so it is told again.
        for _ in 0..2 {
            while guest.receive().unwrap().kind != Kind::Stop {}
        }
        guest.power_off();
        assert!(guest.button.iter().all(|pressed| pressed == "power"));
    });
    assert_eq!((ran.finished.outcome, status), (Outcome::OwnInit, 0));
    assert!(ran.took > super::own_init::PRESS_AGAIN, "{:?}", ran.took);

    // Once it has gone, the keys are what is left.
    let (ran, status) = with_client(options(), stop_own_init, |guest| {
        guest.leave_a_caretaker();
        guest.lose_the_caretaker();
        while guest.button.recv().unwrap() != "keys" {}
        guest.reset();
    });
    assert_eq!((ran.finished.outcome, status), (Outcome::OwnInit, 0));
}

#[test]
fn an_own_init_whose_console_nobody_reads_is_stopped() {
    let gone = |reader: PipeReader| {
        drop(reader);
        thread::spawn(Vec::new)
    };
    let ran = with_streams(options(), File::open("/dev/null").unwrap().into(), gone, |guest| {
        guest.hand_over();
        guest.say("anybody?\n");
        guest.button.recv().unwrap();
        guest.power_off();
    });
    assert_eq!(ran.finished.outcome, Outcome::Stopped(Why::OutputClosed));
}

#[test]
fn the_last_words_of_a_boot_end_it_before_the_hello_and_are_text_after_it() {
    let words = "BdsDxe: failed to load Boot0001 \"Disk\": Access Denied\r\nBdsDxe: No bootable option or device was found.\r\n";
    let before = with_guest(options(), move |guest| {
        for piece in words.as_bytes().chunks(5) {
            _ = guest.console.write_all(piece);
        }
    });
    let sentence = before.finished.outcome.sentence().unwrap();
    assert!(
        sentence.ends_with("the firmware says: BdsDxe: failed to load Boot0001 \"Disk\": Access Denied"),
        "{sentence}"
    );
    assert!(before.finished.outcome.hint().unwrap().contains("Secure Boot"));
    assert_eq!(before.finished.outcome.status(), 125);
    assert!(before.took < SOON);

    let after = with_guest(options(), move |guest| {
        guest.greet();
        guest.wait_for(|what| matches!(what, What::Hello(_)));
        guest.say(words);
        guest.wait_for(|what| matches!(what, What::Console(_)));
        guest.finish(3);
    });
    assert_eq!(after.finished.outcome, exited(3));
}

#[test]
fn a_boot_that_takes_long_is_told_once_with_what_was_said_last() {
    let ran = with_guest(options(), |guest| {
        guest.say("loading\r\nthe kernel\x1b[2J\x07");
        guest.wait_for(|what| matches!(what, What::Slow { .. }));
        guest.greet();
        guest.finish(0);
    });
    assert_eq!(ran.finished.outcome, exited(0));
    let slow: Vec<&What> = ran.events.iter().filter(|what| matches!(what, What::Slow { .. })).collect();
    let last = Some("the kernel\\x07".to_owned());
    assert_eq!(slow, [&What::Slow { after: Duration::from_secs(10), last }]);
}

/// QEMU tells of each write that finds no space; the user is told once, and once that it goes on.
#[test]
fn a_machine_that_the_host_has_no_space_for_stands_still_and_goes_on() {
    let full = r#"{"device": "", "operation": "write", "action": "stop", "nospace": true}"#;
    let ran = with_guest(options(), move |guest| {
        guest.greet();
        guest.event("BLOCK_IO_ERROR", full);
        guest.event("STOP", "{}");
        guest.wait_for(|what| matches!(what, What::NoSpace(_)));
        guest.continued.recv().unwrap();
        guest.event("BLOCK_IO_ERROR", full);
        guest.continued.recv().unwrap();
        guest.wait_for(|what| *what == What::SpaceAgain);
        guest.finish(0);
    });
    assert_eq!(ran.finished.outcome, exited(0));
    let told = |wanted: fn(&What) -> bool| ran.events.iter().filter(|what| wanted(what)).count();
    assert_eq!([told(|what| matches!(what, What::NoSpace(_))), told(|what| *what == What::SpaceAgain)], [1, 1]);
    let scarce = ran.events.iter().find_map(|what| if let What::NoSpace(scarce) = what { Some(scarce) } else { None });
    assert!(scarce.unwrap().to_string().starts_with("the host has no space left for the temporary overlay in /"));

    // It says which.
    let full_volume = r#"{"node-name": "more0", "operation": "write", "action": "stop", "nospace": true}"#;
    let ran = with_guest(options(), move |guest| {
        guest.greet();
        guest.event("BLOCK_IO_ERROR", full_volume);
        guest.wait_for(|what| {
            matches!(what, What::NoSpace(scarce) if scarce.to_string() == "the host has no space left for the volume in /volumes")
        });
        guest.continued.recv().unwrap();
        guest.finish(0);
    });
    assert_eq!(ran.finished.outcome, exited(0));

    // Its overlay is lost with it: a machine that stands still is not asked to stop.
    let (stand_still, stands_still) = channel();
    let stopped = with_client(
        options(),
        move |dialer| {
            stands_still.recv().unwrap();
            let mut connection = dialer.connect().unwrap();
            _ = connection.quit();
        },
        move |guest| {
            guest.greet();
            guest.event("BLOCK_IO_ERROR", full);
            stand_still.send(()).unwrap();
        },
    );
    assert!(stopped.0.took < SOON);
}
