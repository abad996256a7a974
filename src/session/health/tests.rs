//! Health checks of a session, against a guest in this process.

use super::super::tests::{Guest, exited, options, with_client};
use crate::guest::channel::{Ended, Exec, Frame, Kind, Outcome, Signal, Started, stderr_of, stdout_of};
use crate::guest::spec::Healthcheck;
use crate::session::SessionOptions;
use crate::session::control::{Connection, Dialer, Health, Phase};
use crate::session::event::What;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(60))
}

fn checked(retries: i64, timeout: i64) -> SessionOptions {
    let test = vec!["CMD".into(), "check".into(), "it".into()];
    let healthcheck = Healthcheck { test, interval: 1_000_000, retries, timeout, ..Healthcheck::default() };
    SessionOptions { healthcheck: Some(healthcheck), ..options() }
}

/// The next process that is asked for, which is then started.
fn accept(guest: &mut Guest) -> u32 {
    let frame = std::iter::from_fn(|| guest.receive()).find(|frame| frame.kind == Kind::Exec).unwrap();
    let exec: Exec = serde_json::from_slice(&frame.payload).unwrap();
    assert_eq!((exec.what.cmd.join(" ").as_str(), exec.stdin, exec.terminal), ("check it", false, None));
    assert_eq!((exec.what.user.as_str(), exec.what.working_dir.as_str()), ("", ""), "the workload's");
    guest.send(Frame::control(Kind::Started, &Started { process: exec.process }));
    exec.process
}

fn end(guest: &mut Guest, process: u32, outcome: Outcome) {
    let nonce = guest.nonce.clone();
    guest.send(Frame::control(Kind::Result, &Ended { process, nonce, outcome, oom: false }));
}

fn wait_for(connection: &mut Connection, health: Health) {
    connection.wait_until(|state| state.health == Some(health), soon()).unwrap();
}

#[test]
fn whoever_watches_is_told_the_workloads_health_and_whoever_asks_what_the_checks_said() {
    let (go, gone) = channel();
    let client = move |dialer: Dialer| {
        let mut connection = dialer.connect().unwrap();
        assert_eq!(connection.state().health, Some(Health::Starting));
        // It watches before there is anything to see.
        wait_for(&mut connection, Health::Starting);
        go.send(()).unwrap();
        wait_for(&mut connection, Health::Healthy);
        wait_for(&mut connection, Health::Unhealthy);
        wait_for(&mut connection, Health::Healthy);
        wait_for(&mut connection, Health::Unhealthy);
        let results = connection.health(soon()).unwrap();
        connection.stop(None).unwrap();
        connection.wait_until(|state| state.phase == Phase::Stopping, soon()).unwrap();
        results
    };
    let (ran, results) = with_client(checked(2, 300_000_000), client, move |guest| {
        gone.recv().unwrap();
        guest.greet();
        for (outcome, says) in [(0, "fine\n"), (1, ""), (3, "no \u{1b}answer"), (0, "")] {
            let process = accept(guest);
            guest.data(stdout_of(process), says.as_bytes());
            guest.data(stderr_of(process), b"");
            end(guest, process, Outcome::Exited(outcome));
        }
        // Those that hang are killed, and the next one waits for the end of the one before.
        for _ in 0..2 {
            let process = accept(guest);
            guest.data(stderr_of(process), b"half");
            let killed = std::iter::from_fn(|| guest.receive()).find(|frame| frame.kind != Kind::Credit).unwrap();
            assert_eq!(killed.kind, Kind::Signal);
            let signal: Signal = serde_json::from_slice(&killed.payload).unwrap();
            assert_eq!(signal, Signal { process, signal: libc::SIGKILL });
            end(guest, process, Outcome::Signaled(9));
        }
        // Nothing is checked that was asked to end.
        while guest.receive().unwrap().kind != Kind::Stop {}
        guest.finish(0);
    });
    assert_eq!(ran.finished.outcome, exited(0));
    let results: Vec<_> = results.iter().rev().skip_while(|one| one.exit_code != -1).collect();
    let said = |number: usize| (results[number].exit_code, results[number].output.as_str());
    let late = "the check did not end within 300ms: half";
    assert_eq!((said(0), said(1), said(2)), ((-1, late), (-1, late), (0, "")));
    assert_eq!((said(3), results[0].took >= 300), ((3, "no \u{1b}answer"), true));
    let told: Vec<&str> = ran
        .events
        .iter()
        .filter_map(|what| if let What::Health { sentence, .. } = what { Some(sentence.as_str()) } else { None })
        .collect();
    assert_eq!(
        told,
        [
            "the workload is healthy",
            "the workload is unhealthy: checks that failed in a row: 2, the last with status 3: no \\x1banswer",
            "the workload is healthy",
            "the workload is unhealthy: checks that failed in a row: 2, the last: the check did not end within 300ms: half",
        ]
    );
}

#[test]
fn without_a_check_and_beside_an_own_init_that_cannot_be_entered_there_is_no_health() {
    let none = SessionOptions { healthcheck: Some(Healthcheck::none()), ..options() };
    let client = |dialer: Dialer, go: Sender<()>| {
        let mut connection = dialer.connect().unwrap();
        let health = connection.state().health;
        go.send(()).unwrap();
        connection.wait_until(|state| state.phase == Phase::Running, soon()).unwrap();
        let results = connection.health(soon()).unwrap();
        connection.stop(None).unwrap();
        (health, connection.state().health, results)
    };
    let (go, gone) = channel();
    let (ran, seen) = with_client(
        none,
        move |dialer| client(dialer, go),
        move |guest| {
            gone.recv().unwrap();
            guest.greet();
            assert_eq!(guest.receive().unwrap().kind, Kind::Stop);
            guest.finish(0);
        },
    );
    assert_eq!((ran.finished.outcome, seen), (exited(0), (None, None, vec![])));
    let (go, gone) = channel();
    let asks = move |dialer| client(dialer, go);
    let (_, (before, after, _)) = with_client(checked(1, 0), asks, move |guest| {
        gone.recv().unwrap();
        guest.hand_over();
        guest.wait_for_button();
        guest.power_off();
    });
    assert_eq!((before, after), (Some(Health::Starting), None));
}

#[test]
fn an_own_init_has_a_health_while_its_caretaker_is_there() {
    let client = |dialer: Dialer| {
        let mut connection = dialer.connect().unwrap();
        connection.wait_until(|state| state.health == Some(Health::Healthy), soon()).unwrap();
        connection.wait_until(|state| state.health.is_none(), soon()).unwrap();
        connection.quit().unwrap();
    };
    with_client(checked(1, 0), client, |guest| {
        guest.leave_a_caretaker();
        let process = accept(guest);
        end(guest, process, Outcome::Exited(0));
        guest.wait_for(|what| matches!(what, What::Health { .. }));
        guest.lose_the_caretaker();
    });
}
