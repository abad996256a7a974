//! Sessions that save their machine, and sessions that go on from there, against a guest in this process.

use super::control::protocol::{Message, Request};
use super::control::{Dialer, Exec, Phase};
use super::tests::{Guest, Ran, exited, with_migration};
use super::*;
use crate::guest::channel::{
    Ended as End, Exec as GuestExec, Frame, Kind, Outcome as Workload, Resumed, Started, stdout_of,
};
use std::time::{Duration, SystemTime};

/// Starts a process, sees it end, and has the machine saved.
fn exec_and_save(dialer: Dialer) {
    let exec = Exec { command: vec!["true".into()], ..Exec::default() };
    let deadline = Instant::now() + Duration::from_secs(20);
    let captured = dialer.connect().unwrap().capture(exec, b"", 100, Some(deadline)).unwrap();
    assert_eq!(captured.outcome, Workload::Exited(0));
    dialer.connect().unwrap().save().unwrap();
}

/// The bytes of a process's end.
fn ended(process: u32, nonce: &str) -> Vec<u8> {
    let outcome = Workload::Exited(0);
    let mut bytes = Vec::new();
    Frame::control(Kind::Result, &End { process, nonce: nonce.into(), outcome, oom: false })
        .encode(&mut bytes)
        .unwrap();
    bytes
}

/// Ends the process that the host asks for, whose number is told, and says more at once. Credit that came before it.
fn serve_exec(guest: &mut Guest, more: &[u8]) -> (u32, u32) {
    let mut credit = 0;
    loop {
        let frame = guest.receive().unwrap();
        match frame.kind {
            Kind::Exec => {
                let exec: GuestExec = serde_json::from_slice(&frame.payload).unwrap();
                guest.send(Frame::control(Kind::Started, &Started { process: exec.process }));
                let bytes = [&ended(exec.process, &guest.nonce)[..], more].concat();
                std::io::Write::write_all(&mut guest.port, &bytes).unwrap();
                return (exec.process, credit);
            }
            Kind::Credit => credit += u32::from_le_bytes(frame.payload[..].try_into().unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

/// Half a frame of output, and the other half.
fn halves() -> (Vec<u8>, Vec<u8>) {
    let mut bytes = Vec::new();
    Frame { stream: stdout_of(0), kind: Kind::Data, payload: b"in two\n".to_vec() }.encode(&mut bytes).unwrap();
    let rest = bytes.split_off(15);
    (bytes, rest)
}

/// A machine that was saved in the middle of a frame; its nonce, and the credit that it had got.
fn saved() -> (Ran, String, u32) {
    let (tell, told) = std::sync::mpsc::channel();
    let (ran, ()) = with_migration((Begin::ToSave, "completed"), exec_and_save, move |guest| {
        guest.say("a kernel\n");
        guest.greet();
        guest.data(stdout_of(0), b"before\n");
        let (process, credit) = serve_exec(guest, &halves().0);
        assert_eq!(process, 1);
        let rest = std::iter::from_fn(|| guest.receive()).map(|frame| (frame.kind, frame.payload));
        let rest: u32 = rest
            .map(|(kind, payload)| match kind {
                Kind::Credit => u32::from_le_bytes(payload[..].try_into().unwrap()),
                other => panic!("{other:?}"),
            })
            .sum();
        tell.send((guest.nonce.clone(), credit + rest)).unwrap();
    });
    let (nonce, credit) = told.recv().unwrap();
    (ran.unwrap(), nonce, credit)
}

#[test]
fn what_was_said_is_said_again_and_the_conversation_goes_on() {
    let (ran, nonce, credited) = saved();
    assert_eq!(ran.stdout, b"before\n");
    let snapshot = Arc::new(ran.snapshot.unwrap().unwrap());
    for _ in 0..2 {
        let client = |dialer: Dialer| {
            let exec = Exec { command: vec!["true".into()], ..Exec::default() };
            dialer.connect().unwrap().capture(exec, b"", 100, None).unwrap().outcome
        };
        let nonce = nonce.clone();
        let guest = move |guest: &mut Guest| {
            guest.nonce = nonce;
            let frame = guest.receive().unwrap();
            assert_eq!(frame.kind, Kind::Resumed, "before anything else");
            let Resumed { time, seed } = serde_json::from_slice(&frame.payload).unwrap();
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
            assert!(now.abs_diff(time) < 600_000 && seed.len() == 32 && seed.iter().any(|&byte| byte != 0));
            std::io::Write::write_all(&mut guest.port, &halves().1).unwrap();
            let (process, credit) = serve_exec(guest, b"");
            assert_eq!(process, 2, "a number is used once");
            // All of the credit, and none of it twice.
            let mut credit = credited + credit;
            while credit < 14 {
                let frame = guest.receive().unwrap();
                assert_eq!((frame.stream, frame.kind), (stdout_of(0), Kind::Credit));
                credit += u32::from_le_bytes(frame.payload[..].try_into().unwrap());
            }
            assert_eq!(credit, 14);
            guest.say("another line\n");
            guest.finish(7);
        };
        let (ran, outcome) = with_migration((Begin::From(snapshot.clone()), "completed"), client, guest);
        let ran = ran.unwrap();
        assert_eq!((ran.finished.outcome, outcome), (exited(7), Workload::Exited(0)));
        assert_eq!(ran.stdout, b"before\nin two\n");
        assert!(ran.finished.console.starts_with(b"a kernel\n") && ran.snapshot.is_none());
        let told: Vec<&What> = ran.events.iter().filter(|what| !matches!(what, What::Console(_))).collect();
        assert!(
            matches!(
                told[..],
                [What::Started { .. }, What::Restored, What::Hello(_), What::WorkloadStarted, What::Result { .. }, ..]
            ),
            "{told:?}"
        );
        let texts = ran.events.iter().filter(|what| matches!(what, What::Console(_)));
        assert_eq!(texts.count(), 2, "once what was written before, once what was written now");
    }
}

#[test]
fn who_is_not_asked_to_save_is_not_saved() {
    let (ran, ()) = with_migration(
        (Begin::ToSave, "completed"),
        |_| (),
        |guest| {
            guest.greet();
            guest.finish(0);
        },
    );
    let ran = ran.unwrap();
    assert_eq!(ran.finished.outcome, exited(0));
    assert!(ran.snapshot.is_none());
}

#[test]
fn a_machine_that_cannot_be_saved_says_why() {
    let why = |migrated, client: fn(Dialer), guest: fn(&mut Guest)| {
        let (ran, ()) = with_migration((Begin::ToSave, migrated), client, guest);
        ran.unwrap().snapshot.unwrap().unwrap_err()
    };
    let runs = |guest: &mut Guest| {
        guest.greet();
        serve_exec(guest, b"");
    };
    let save = |dialer: Dialer| dialer.connect().unwrap().save().unwrap();
    assert_eq!(why("failed", exec_and_save, runs), "QEMU could not write its state");
    assert_eq!(why("completed", save, |_| ()), "its disk was made by an older bootdisk, whose PID 1 cannot be saved");
    let another = |dialer: Dialer| {
        let mut first = dialer.connect().unwrap();
        first.wait_until(|state| state.phase == Phase::Running, None).unwrap();
        let exec = Exec { command: vec!["sleep".into()], ..Exec::default() };
        first.send(&Message::Request(Request::Exec(exec))).unwrap();
        let mut second = dialer.connect().unwrap();
        second.save().unwrap();
        _ = second.wait_for_end(None);
    };
    assert_eq!(why("completed", another, |guest| drop(guest.greet())), "processes run beside its workload");
}

#[test]
fn a_qemu_that_does_not_take_the_state_has_run_nothing() {
    let (ran, ..) = saved();
    let snapshot = Arc::new(ran.snapshot.unwrap().unwrap());
    let (ran, ()) = with_migration((Begin::From(snapshot), "failed"), |_| (), |_| panic!("nobody said cont"));
    let error = ran.map(|ran| ran.events).unwrap_err().to_string();
    assert_eq!(error, "QEMU does not answer: it cannot take the saved state");
}
