//! Clients of a session, against a guest in this process.

use super::tests::{Guest, exited, hello, options, pattern, with_client};
use crate::guest::channel::{
    Ended, Exec as GuestExec, Frame, Hello, Kind, MAX_DOCUMENT, MAX_PAYLOAD, Outcome as Workload, Overrides, Resize,
    Restarting, Signal, Started, Stop, WINDOW, Welcome, stderr_of, stdin_of, stdout_of,
};
use crate::guest::restart::Restart;
use crate::session::SessionOptions;
use crate::session::control::protocol::{Message, Reply, Request, Stream};
use crate::session::control::{Connection, ControlError, Dialer, Endpoint, Exec, NoEntry, Phase};
use crate::session::event::{Outcome, What, Why};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

fn cat() -> Exec {
    Exec { command: vec!["cat".into()], ..Exec::default() }
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(60))
}

/// The guest's part of a process: its number, and what was asked for.
fn accept(guest: &mut Guest) -> GuestExec {
    let exec = refuse(guest);
    guest.send(Frame::control(Kind::Started, &Started { process: exec.process }));
    exec
}

fn refuse(guest: &mut Guest) -> GuestExec {
    let frame = guest.receive().unwrap();
    assert_eq!(frame.kind, Kind::Exec);
    serde_json::from_slice(&frame.payload).unwrap()
}

fn end(guest: &mut Guest, process: u32, outcome: Workload) {
    let nonce = guest.nonce.clone();
    guest.send(Frame::control(Kind::Result, &Ended { process, nonce, outcome, oom: false }));
}

fn end_outputs(guest: &mut Guest, process: u32) {
    for stream in [stdout_of(process), stderr_of(process)] {
        guest.send(Frame { stream, kind: Kind::Eof, payload: vec![] });
    }
}

fn credit(guest: &mut Guest, stream: u32, bytes: usize) {
    guest.send(Frame { stream, kind: Kind::Credit, payload: (bytes as u32).to_le_bytes().to_vec() });
}

#[test]
fn a_process_is_started_fed_and_heard_to_its_end() {
    let client = |dialer: Dialer| {
        let mut connection = dialer.connect().unwrap();
        let asked = Exec { env: vec!["A=b".into()], user: Some("7".into()), working_dir: Some("/x".into()), ..cat() };
        let first = connection.capture(asked, b"in", 3, soon()).unwrap();
        assert_eq!((first.outcome, first.cut), (Workload::Exited(5), true));
        assert_eq!((first.stdout, first.stderr), (b"out".to_vec(), b"err".to_vec()));
        // The same connection once more; and one that cannot be started.
        let second = connection.capture(cat(), b"", 100, soon()).unwrap();
        assert_eq!((second.outcome, second.stdout), (Workload::Signaled(9), b"second".to_vec()));
        let reason = "no such file in this userland: bash".to_owned();
        let third = connection.capture(cat(), b"", 100, soon()).unwrap();
        assert_eq!(third.outcome, Workload::NotStarted { status: 127, reason });
    };
    let (ran, ()) = with_client(options(), client, |guest| {
        guest.greet();
        let exec = accept(guest);
        let what = &exec.what;
        assert_eq!((&what.cmd, &what.env), (&vec!["cat".to_owned()], &vec!["A=b".to_owned()]));
        assert_eq!((what.user.as_str(), what.working_dir.as_str(), exec.stdin), ("7", "/x", true));
        let (input, eof) = (guest.receive().unwrap(), guest.receive().unwrap());
        assert_eq!((input.stream, input.payload.as_slice()), (stdin_of(1), b"in".as_slice()));
        assert_eq!((eof.stream, eof.kind), (stdin_of(1), Kind::Eof));
        guest.data(stdout_of(1), b"output");
        guest.data(stderr_of(1), b"err");
        // What the workload writes is not the process's.
        guest.data(stdout_of(0), b"workload");
        end_outputs(guest, 1);
        // Nobody but PID 1 ends it.
        let guessed = Ended { process: 1, nonce: "0".repeat(32), outcome: Workload::Exited(0), oom: false };
        guest.send(Frame::control(Kind::Result, &guessed));
        end(guest, 1, Workload::Exited(5));
        while guest.receive().unwrap().kind != Kind::Exec {}
        guest.send(Frame::control(Kind::Started, &Started { process: 2 }));
        guest.data(stdout_of(2), b"second");
        end(guest, 2, Workload::Signaled(9));
        while guest.receive().unwrap().kind != Kind::Exec {}
        let reason = "no such file in this userland: bash".to_owned();
        end(guest, 3, Workload::NotStarted { status: 127, reason });
        guest.finish(7);
    });
    assert_eq!((ran.finished.outcome, ran.stdout), (exited(7), b"workload".to_vec()));
}

/// More than the window, and no multiple of a frame.
const MUCH: usize = 20_000_001;

#[test]
fn twenty_megabytes_go_round_byte_for_byte_and_no_faster_than_they_are_read() {
    let client = |dialer: Dialer| {
        let mut connection = dialer.connect().unwrap();
        let captured = connection.capture(cat(), &pattern(MUCH), MUCH, soon()).unwrap();
        assert!(captured.stdout == pattern(MUCH) && !captured.cut);
    };
    let (ran, ()) = with_client(options(), client, |guest| {
        guest.greet();
        assert!(accept(guest).stdin);
        let (mut waiting, mut room, mut outstanding) = (Vec::new(), WINDOW as usize, 0);
        let mut ended = false;
        while !ended || !waiting.is_empty() {
            let n = room.min(MAX_PAYLOAD).min(waiting.len());
            if n > 0 {
                guest.data(stdout_of(1), &waiting[..n]);
                drop(waiting.drain(..n));
                room -= n;
                credit(guest, stdin_of(1), n);
                outstanding -= n;
                continue;
            }
            let frame = guest.receive().unwrap();
            match (frame.stream, frame.kind) {
                (stream, Kind::Data) if stream == stdin_of(1) => {
                    outstanding += frame.payload.len();
                    assert!(outstanding <= WINDOW as usize);
                    waiting.extend(frame.payload);
                }
                (stream, Kind::Credit) if stream == stdout_of(1) => {
                    room += u32::from_le_bytes(frame.payload.try_into().unwrap()) as usize;
                    assert!(room <= WINDOW as usize);
                }
                (_, Kind::Eof) => ended = true,
                other => panic!("{other:?}"),
            }
        }
        end_outputs(guest, 1);
        end(guest, 1, Workload::Exited(0));
        guest.finish(0);
    });
    assert_eq!(ran.finished.outcome, exited(0));
}

#[test]
fn a_client_that_goes_takes_its_process_along_and_nothing_else() {
    let client = |dialer: Dialer| {
        let mut connection = dialer.connect().unwrap();
        assert_eq!(connection.exec(Exec { stdin: true, ..cat() }, soon()).unwrap(), None);
        connection.send(&Message::Request(Request::Resize { rows: 3, cols: 4 })).unwrap();
        connection.signal(10).unwrap();
    };
    let (ran, ()) = with_client(options(), client, |guest| {
        guest.greet();
        accept(guest);
        let mut kinds = Vec::new();
        loop {
            let frame = guest.receive().unwrap();
            kinds.push((frame.stream, frame.kind));
            match frame.kind {
                Kind::Resize => {
                    let resize: Resize = serde_json::from_slice(&frame.payload).unwrap();
                    assert_eq!(resize, Resize { process: 1, rows: 3, cols: 4 });
                }
                Kind::Signal => {
                    let signal: Signal = serde_json::from_slice(&frame.payload).unwrap();
                    assert_eq!(signal.process, 1);
                    if signal.signal == libc::SIGHUP {
                        break;
                    }
                    assert_eq!(signal.signal, 10);
                }
                _ => {}
            }
        }
        let ends = [(stdin_of(1), Kind::Eof), (stdout_of(1), Kind::Eof), (stderr_of(1), Kind::Eof)];
        assert!(ends.iter().all(|end| kinds.contains(end)), "{kinds:?}");
        // Bytes that were under way are nobody's, and the guest gets its credit back.
        guest.data(stdout_of(1), b"late");
        assert_eq!(guest.receive().unwrap().kind, Kind::Credit);
        end(guest, 1, Workload::Signaled(1));
        guest.finish(0);
    });
    assert_eq!(ran.finished.outcome, exited(0));
}

#[test]
fn a_process_waits_for_the_workload_and_does_not_outlive_a_reset() {
    let (go, gone) = channel();
    let client = move |dialer: Dialer| {
        let mut connection = dialer.connect().unwrap();
        assert_eq!(connection.state().phase, Phase::Booting);
        go.send(()).unwrap();
        let error = connection.capture(cat(), b"", 10, soon()).unwrap_err();
        assert_eq!(error.to_string(), "the machine was reset");
        assert_eq!(connection.capture(cat(), b"", 10, soon()).unwrap().stdout, b"again");
        let too_long = Exec { command: vec!["x".repeat(MAX_DOCUMENT)], ..Exec::default() };
        assert!(matches!(connection.capture(too_long, b"", 10, soon()), Err(ControlError::Refused(_))));
        let never = dialer.connect().unwrap().capture(cat(), b"", 10, Some(Instant::now() + Duration::from_millis(50)));
        assert!(matches!(never, Err(ControlError::TimedOut)));
        // The machine ends while this one waits.
        let error = dialer.connect().unwrap().capture(cat(), b"", 10, soon()).unwrap_err();
        assert_eq!(error.to_string(), "the machine has ended");
        dialer
    };
    let (ran, dialer) = with_client(options(), client, move |guest| {
        gone.recv().unwrap();
        guest.greet();
        accept(guest);
        // The workload asked for a restart.
        let nonce = guest.nonce.clone();
        guest.result(&nonce, Workload::Signaled(1));
        guest.reboot();
        guest.greet();
        let exec = accept(guest);
        assert_eq!(exec.process, 1, "numbers begin again with the boot");
        guest.data(stdout_of(1), b"again");
        end(guest, 1, Workload::Exited(0));
        while guest.receive().unwrap().kind != Kind::Exec {}
        while guest.receive().unwrap().kind != Kind::Exec {}
        guest.finish(0);
    });
    assert_eq!(ran.finished.outcome, exited(0));
    assert!(matches!(dialer.connect(), Err(ControlError::Ended)));
}

/// PID 1's announcement of another life.
fn restart(guest: &mut Guest, nonce: &str, count: u32) {
    let outcome = Workload::Exited(3);
    let restarting = Restarting { nonce: nonce.into(), outcome, pause: 200, count };
    guest.send(Frame::control(Kind::Restarting, &restarting));
}

#[test]
fn a_workload_that_starts_again_is_waited_for_and_its_restarts_are_told() {
    let (go, gone) = channel();
    let client = move |dialer: Dialer| {
        let mut watching = dialer.connect().unwrap();
        watching.wait_until(|state| state.name() == "running", soon()).unwrap();
        go.send(()).unwrap();
        watching.wait_until(|state| state.name() == "restarting" && state.restarts == 2, soon()).unwrap();
        let mut connection = dialer.connect().unwrap();
        assert_eq!((connection.state().name(), connection.state().restarts), ("restarting", 2));
        connection.send(&Message::Request(Request::Exec(cat()))).unwrap();
        go.send(()).unwrap();
        let mut heard = Vec::new();
        loop {
            match connection.receive(soon()).unwrap() {
                Some(Message::Data(_, bytes)) => heard.extend(bytes),
                Some(Message::Reply(Reply::Ended(outcome))) => return (heard, outcome),
                Some(Message::Reply(Reply::Refused(why))) => panic!("{why}"),
                Some(_) => {}
                None => panic!("the machine has ended"),
            }
        }
    };
    let (ran, (heard, outcome)) = with_client(options(), client, move |guest| {
        guest.greet();
        gone.recv().unwrap();
        guest.data(stdout_of(0), b"one ");
        // Nobody but PID 1 says so.
        restart(guest, &"0".repeat(32), 1);
        let nonce = guest.nonce.clone();
        restart(guest, &nonce, 2);
        gone.recv().unwrap();
        guest.send(Frame::control(Kind::Started, &Started { process: 0 }));
        while guest.receive().unwrap().kind != Kind::Exec {}
        guest.send(Frame::control(Kind::Started, &Started { process: 1 }));
        guest.data(stdout_of(1), b"beside");
        end(guest, 1, Workload::Exited(0));
        guest.data(stdout_of(0), b"two");
        guest.finish(4);
    });
    assert_eq!((ran.finished.outcome, ran.stdout), (exited(4), b"one two".to_vec()));
    assert_eq!((heard, outcome), (b"beside".to_vec(), Workload::Exited(0)));
    let again = ran.events.iter().filter(|what| matches!(what, What::Restarting { count: 2, .. })).count();
    let starts = ran.events.iter().filter(|what| **what == What::WorkloadStarted).count();
    assert_eq!((again, starts), (1, 2));
}

#[test]
fn a_policy_is_refused_by_a_disk_whose_pid_1_knows_none() {
    for (policy, restarts, refused) in
        [(Restart::Always, false, true), (Restart::Always, true, false), (Restart::No, false, false)]
    {
        let overrides = Overrides { restart: Some(policy), ..Overrides::default() };
        let (ran, ()) = with_client(
            SessionOptions { overrides, ..options() },
            |_| {},
            move |guest| {
                guest.send(Frame::control(Kind::Hello, &Hello { restarts, ..hello() }));
                let Some(welcome) = guest.receive() else { return };
                guest.nonce = serde_json::from_slice::<Welcome>(&welcome.payload).unwrap().nonce;
                guest.finish(0);
            },
        );
        let outcome = if refused { Outcome::Older { option: "--restart" } } else { exited(0) };
        assert_eq!(ran.finished.outcome, outcome, "{policy} {restarts}");
    }
}

#[test]
fn a_client_stops_the_machine_and_learns_how_it_ended() {
    let client = |dialer: Dialer| {
        let mut connection = dialer.connect().unwrap();
        connection.wait_until(|state| state.phase == Phase::Running, soon()).unwrap();
        connection.stop(Some(25)).unwrap();
        connection.wait_until(|state| state.phase == Phase::Stopping, soon()).unwrap();
        let error = dialer.connect().unwrap().capture(cat(), b"", 10, soon()).unwrap_err();
        assert_eq!(error.to_string(), "the machine is about to end");
        // Once more is no hurry.
        dialer.connect().unwrap().stop(Some(3)).unwrap();
        connection.wait_for_end(soon()).unwrap().unwrap()
    };
    let (ran, finish) = with_client(options(), client, |guest| {
        guest.greet();
        for timeout in [25, 3] {
            let frame = guest.receive().unwrap();
            let stop: Stop = serde_json::from_slice(&frame.payload).unwrap();
            assert_eq!((frame.kind, stop.timeout), (Kind::Stop, Some(timeout)));
        }
        guest.finish(143);
    });
    assert_eq!(ran.finished.outcome, exited(143));
    assert_eq!((finish.status, finish.sentence), (143, None));

    // Before PID 1 is there, there is nothing to ask.
    let client = |dialer: Dialer| {
        let mut connection = dialer.connect().unwrap();
        connection.stop(None).unwrap();
        connection.wait_for_end(soon()).unwrap().unwrap()
    };
    let (ran, finish) = with_client(options(), client, |_| {});
    assert_eq!(ran.finished.outcome, Outcome::Stopped(Why::Asked));
    let sentence = "the machine was stopped before the workload's result".to_owned();
    assert_eq!((finish.status, finish.sentence), (143, Some(sentence)));
}

#[test]
fn who_asks_how_it_ended_when_it_has_ended_still_learns_it() {
    let client = |dialer: Dialer| {
        let mut connection = dialer.connect().unwrap();
        connection.stop(None).unwrap();
        while dialer.connect().is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
        connection.wait_for_end(soon()).unwrap().unwrap().status
    };
    let (_, status) = with_client(options(), client, |_| {});
    assert_eq!(status, 143);
}

#[test]
fn an_own_init_of_an_older_disk_can_be_stopped_and_not_entered() {
    let client = |dialer: Dialer| {
        let mut connection = dialer.connect().unwrap();
        connection.wait_until(|state| state.own_init, soon()).unwrap();
        let refused = connection.capture(cat(), b"", 10, soon());
        assert!(matches!(refused, Err(ControlError::NoEntry(NoEntry::OldDisk))), "{refused:?}");
        connection.stop(None).unwrap();
        connection.wait_for_end(soon()).unwrap().unwrap().status
    };
    let (ran, status) = with_client(options(), client, |guest| {
        guest.hand_over();
        guest.wait_for_button();
        guest.power_off();
    });
    assert_eq!((ran.finished.outcome, status), (Outcome::OwnInit, 0));
}

#[test]
fn an_own_init_is_entered_while_its_caretaker_is_there() {
    let losses: [fn(&mut Guest); 2] = [
        Guest::lose_the_caretaker,
        // Whoever speaks there now is not one of ours.
        |guest| guest.data(0, b"login: "),
    ];
    for lose in losses {
        let client = |dialer: Dialer| {
            let connect = || dialer.connect().unwrap();
            let captured = connect().capture(cat(), b"", 10, soon()).unwrap();
            assert_eq!(captured.outcome, Workload::Exited(5));
            // One that runs when the caretaker goes, and one that comes later.
            for _ in 0..2 {
                let lost = connect().capture(cat(), b"", 10, soon());
                assert!(matches!(lost, Err(ControlError::NoEntry(NoEntry::Ended))), "{lost:?}");
            }
            connect().quit().unwrap();
        };
        let (ran, ()) = with_client(options(), client, move |guest| {
            guest.leave_a_caretaker();
            let process = accept(guest).process;
            end_outputs(guest, process);
            end(guest, process, Workload::Exited(5));
            let running = accept(guest).process;
            guest.data(stdout_of(running), b"cut short");
            lose(guest);
        });
        assert_eq!(ran.finished.outcome, Outcome::Stopped(Why::Asked));
    }
}

#[test]
fn clients_that_break_the_rules_are_cut_off_and_the_machine_goes_on() {
    let client = |dialer: Dialer| {
        let offences: [fn(&mut Connection); 4] = [
            |client| {
                for _ in 0..=WINDOW as usize / MAX_PAYLOAD {
                    // It may be cut off before the last one.
                    _ = client.send(&Message::Data(Stream::Stdin, vec![0; MAX_PAYLOAD]));
                }
            },
            |client| client.send(&Message::Request(Request::Exec(Exec::default()))).unwrap(),
            |client| client.send(&Message::Credit(Stream::Stdin, 1)).unwrap(),
            |client| client.send(&Message::Reply(Reply::Started)).unwrap(),
        ];
        for offend in offences {
            let mut connection = dialer.connect().unwrap();
            assert_eq!(connection.exec(Exec { stdin: true, ..cat() }, soon()).unwrap(), None);
            offend(&mut connection);
            while connection.receive(soon()).unwrap().is_some() {}
        }
    };
    let (ran, ()) = with_client(options(), client, |guest| {
        guest.greet();
        for process in 1..=4 {
            while guest.receive().unwrap().kind != Kind::Exec {}
            guest.send(Frame::control(Kind::Started, &Started { process }));
            // Its data may come first; then it is gone.
            while guest.receive().unwrap().kind != Kind::Signal {}
            end(guest, process, Workload::Signaled(1));
        }
        guest.finish(0);
    });
    assert_eq!(ran.finished.outcome, exited(0));
}

#[test]
fn another_program_comes_through_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let mut endpoint = Endpoint::default();
    endpoint.listen(UnixListener::bind(&path).unwrap()).unwrap();
    let client = thread::spawn(move || {
        let mut connection = Connection::over(UnixStream::connect(&path).unwrap(), soon()).unwrap();
        connection.capture(cat(), b"", 10, soon()).unwrap().stdout
    });
    let ran = super::tests::with_clients_from(endpoint, |guest| {
        guest.greet();
        accept(guest);
        guest.data(stdout_of(1), b"hello");
        end(guest, 1, Workload::Exited(0));
        guest.finish(0);
    });
    assert_eq!((ran.finished.outcome, client.join().unwrap()), (exited(0), b"hello".to_vec()));
}
