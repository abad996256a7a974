//! The end of the machine: the host is told, the root is left clean, the power goes off.

use super::failure::Failure;
use super::host::{self, Host};
use super::lifetime::{Afterwards, End};
use super::{children, consoles, log, mounts, root, signals};
use crate::guest::channel::{Ended, Frame, Kind, Outcome};
use crate::guest::signal;
use nix::sys::reboot::{RebootMode, reboot};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long killed processes may take to be gone. The kernel finishes their disk writes first.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// The end of a machine whose workload could not be started.
pub fn not_started(failure: Failure) -> End {
    log::error(&failure.reason);
    let outcome = Outcome::NotStarted { status: failure.status, reason: failure.reason };
    End { outcome, oom: false, asked: false, afterwards: Afterwards::PowerOff }
}

/// Sends the result, stops whatever runs, syncs, unmounts, says done, and switches off.
pub fn off(end: End, host: &mut Host) -> ! {
    host.send_log();
    let unseen = !host.is_there();
    if unseen {
        consoles::say(&describe(&end));
    }
    let shown = unseen && wants_to_be_read(&end);
    let nonce = host.nonce().to_owned();
    host.send(&Frame::control(Kind::Result, &Ended { process: 0, nonce, outcome: end.outcome, oom: end.oom }));
    host.drain();
    leave(host);
    if shown {
        consoles::let_it_be_read();
    }
    switch(end.afterwards)
}

/// Whether somebody before a screen must be given time: for a failure, and for output that was nowhere else. Whoever
/// asked for the end waits for it.
fn wants_to_be_read(end: &End) -> bool {
    let failed = end.outcome != Outcome::Exited(0);
    end.afterwards == Afterwards::PowerOff && !end.asked && (failed || consoles::is_screen_alone())
}

/// The end of a machine that the host stopped before there was a workload: there is no result to send.
pub fn stopped(host: &mut Host) -> ! {
    log::info("asked to stop before the workload began");
    leave(host);
    switch(Afterwards::PowerOff)
}

fn leave(host: &mut Host) {
    kill_everything();
    mounts::leave();
    root::leave();
    host.send_log();
    host.send(&Frame { stream: 0, kind: Kind::Done, payload: Vec::new() });
    host.drain();
}

/// One line for a console that nobody but a person reads.
fn describe(end: &End) -> String {
    let oom = if end.oom { " after the machine ran out of memory" } else { "" };
    format!("{}{oom}", how(&end.outcome))
}

/// How a workload ended, in words.
pub fn how(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited(status) => format!("workload exited with status {status}"),
        Outcome::Signaled(signal) => format!("workload killed by {}", signal::name(i32::from(*signal))),
        Outcome::NotStarted { status, reason } => format!("workload not started (status {status}): {reason}"),
    }
}

/// All but PID 1, and waits until they are gone.
pub fn kill_everything() {
    _ = signals::send(-1, libc::SIGKILL);
    let deadline = Instant::now() + KILL_PATIENCE;
    loop {
        while children::next_ended().is_some() {}
        if !children::any() {
            return;
        }
        if Instant::now() > deadline {
            return log::warning("a killed process does not go away");
        }
        sleep(Duration::from_millis(5));
    }
}

fn switch(afterwards: Afterwards) -> ! {
    let mode = match afterwards {
        Afterwards::PowerOff => RebootMode::RB_POWER_OFF,
        Afterwards::Restart => RebootMode::RB_AUTOBOOT,
    };
    loop {
        // A machine that cannot switch itself off halts here, with everything written.
        _ = reboot(mode);
        sleep(Duration::from_secs(1));
    }
}

/// PID 1 itself has failed: says so everywhere, saves what can be saved, and switches off.
pub fn panicked(text: &str) -> ! {
    log::error(text);
    consoles::say(text);
    let told = host::emergency(|nonce| {
        let outcome = Outcome::NotStarted { status: 125, reason: text.to_owned() };
        Frame::control(Kind::Result, &Ended { process: 0, nonce: nonce.to_owned(), outcome, oom: false })
    });
    _ = signals::send(-1, libc::SIGKILL);
    mounts::leave();
    root::leave();
    if !told {
        consoles::let_it_be_read();
    }
    switch(Afterwards::PowerOff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_says_how_it_ended() {
        let end = |outcome, oom| End { outcome, oom, asked: false, afterwards: Afterwards::PowerOff };
        assert_eq!(describe(&end(Outcome::Exited(7), false)), "workload exited with status 7");
        let killed = end(Outcome::Signaled(9), true);
        assert_eq!(describe(&killed), "workload killed by SIGKILL after the machine ran out of memory");
    }
}
