//! A process beside the workload, and its exit status.

use super::super::board::{Board, describe};
use super::super::expect::Exec;
use super::EXEC_PAUSE;
use crate::session::control::{self, Captured, ControlError, Dialer};
use std::time::{Duration, Instant};

/// Bytes of a process's output that are kept.
const KEPT: usize = 64 << 10;

/// A command that takes longer has not ended with its status.
const LOOK: Duration = Duration::from_secs(60);

/// Runs the command until it ends with the status.
pub(in crate::smoke) fn watch(board: &Board, number: usize, dialer: &Dialer, exec: &Exec) {
    while board.wait_for_workload() {
        board.begin(number, "the command has not ended");
        match run(dialer, &exec.command, LOOK) {
            Ok(captured) => {
                let holds = captured.outcome.status() == exec.status;
                board.check(number, holds, said(&captured));
                if holds {
                    return;
                }
            }
            Err(ControlError::Ended) => return,
            Err(ControlError::TimedOut) => {
                board.check(number, false, format!("the command did not end within {} s", LOOK.as_secs()));
            }
            Err(error) => board.check(number, false, error.to_string()),
        }
        if !board.sleep(EXEC_PAUSE) {
            return;
        }
    }
}

/// Runs a command beside the workload to its end.
pub(super) fn run(dialer: &Dialer, command: &[String], timeout: Duration) -> Result<Captured, ControlError> {
    let exec = control::Exec { command: command.to_vec(), ..Default::default() };
    dialer.connect()?.capture(exec, b"", KEPT, Some(Instant::now() + timeout))
}

/// How it ended, and the last line it wrote.
pub(super) fn said(captured: &Captured) -> String {
    let last = |bytes: &[u8]| crate::session::console::lines(bytes, 1).pop();
    let line = last(&captured.stderr).or_else(|| last(&captured.stdout));
    let line = line.map(|line| format!(", its last line: {line}"));
    format!("{}{}", describe(&captured.outcome), line.unwrap_or_default())
}
