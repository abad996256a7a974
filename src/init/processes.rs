//! The processes that were started for the host: their frames, their streams, and how they end.
//!
//! Whoever has them decides what their ends mean, and beside whom the next one is started.

use super::failure::Failure;
use super::host::Host;
use super::log;
use super::namespaces::Workload;
use super::running::{Part, Running};
use super::signals;
use super::start::{Place, Start, Streams, start};
use crate::copy::Copy;
use crate::guest::channel::{Ended, Exec, Frame, Kind, Outcome, Resize, Signal, Terminal};
use crate::guest::overrides;
use crate::guest::signal;
use crate::guest::spec::Process;
use nix::poll::PollFlags;
use std::os::fd::BorrowedFd;

/// Processes besides the workload that may run at once.
const MOST: usize = 256;

/// All of them that have not been told of as ended.
#[derive(Default)]
pub struct Processes(Vec<Running>);

/// Beside whom a further process is started.
pub struct Neighbour<'a> {
    /// What that one was started with.
    pub process: &'a Process,
    /// Value of HOSTNAME.
    pub hostname: &'a str,
    /// Where it is.
    pub namespaces: Workload,
}

impl Processes {
    /// One more, which was just forked.
    pub fn add(&mut self, running: Running) {
        self.0.push(running);
    }

    /// The one with this number on the channel.
    pub fn find(&self, number: u32) -> Option<&Running> {
        self.0.iter().find(|running| running.number == number)
    }

    /// The workload.
    pub fn workload(&mut self) -> Option<&mut Running> {
        self.0.iter_mut().find(|running| running.number == 0)
    }

    /// All but the workload.
    pub fn others(&mut self) -> impl Iterator<Item = &mut Running> {
        self.0.iter_mut().filter(|running| running.number != 0)
    }

    /// What to poll, and whose it is.
    pub fn interests(&self, host: &Host) -> Vec<(u32, Part, BorrowedFd<'_>, PollFlags)> {
        let of = |running: &Running| running.number;
        let all = self.0.iter().map(|running| (of(running), running.interests(host)));
        all.flat_map(|(number, list)| list.into_iter().map(move |(part, fd, flags)| (number, part, fd, flags)))
            .collect()
    }

    /// Serves a descriptor that polled ready.
    pub fn ready(&mut self, number: u32, part: Part, host: &mut Host) {
        if let Some(running) = self.0.iter_mut().find(|running| running.number == number) {
            running.ready(part, host);
        }
    }

    /// A frame about a process that was started.
    pub fn frame(&mut self, frame: &Frame, host: &mut Host) {
        let number = frame.stream.wrapping_sub(1) / 4;
        let running = self.0.iter_mut().find(|running| running.number == number);
        match (frame.kind, running) {
            (Kind::Data, Some(running)) => running.feed(&frame.payload, host),
            (Kind::Eof, Some(running)) => running.end_of(frame.stream, host),
            (Kind::Credit, Some(running)) => {
                if let Some(bytes) = frame.payload.first_chunk::<4>() {
                    running.credit(frame.stream, u32::from_le_bytes(*bytes));
                }
            }
            (Kind::Signal, _) => self.signal_asked(&frame.payload),
            (Kind::Resize, _) => self.resize_asked(&frame.payload),
            _ => {}
        }
    }

    fn signal_asked(&self, payload: &[u8]) {
        let Ok(Signal { process, signal }) = serde_json::from_slice(payload) else { return };
        let target = self.find(process).filter(|running| !running.has_ended());
        if let (Some(target), true) = (target, (1..=signal::LAST).contains(&signal)) {
            _ = signals::send(target.pid, signal);
        }
    }

    fn resize_asked(&self, payload: &[u8]) {
        let Ok(Resize { process, rows, cols }) = serde_json::from_slice(payload) else { return };
        if let Some(target) = self.find(process) {
            target.resize(rows, cols);
        }
    }

    /// The host asks for one more process, beside this neighbour, or there is a reason why there is none.
    pub fn exec_asked(&mut self, payload: &[u8], neighbour: Result<Neighbour, Failure>, host: &mut Host) {
        let exec: Exec = match serde_json::from_slice(payload) {
            Ok(exec) => exec,
            Err(error) => return log::warning(format!("the host asked for a process in a way unknown here: {error}")),
        };
        if self.find(exec.process).is_some() {
            return log::warning(format!("the host used a process number twice: {}", exec.process));
        }
        if let Err(failure) = neighbour.and_then(|neighbour| self.exec(&exec, &neighbour)) {
            let nonce = host.nonce().to_owned();
            let ended = Ended { process: exec.process, nonce, outcome: not_started(failure), oom: false };
            host.send(&Frame::control(Kind::Result, &ended));
        }
    }

    fn exec(&mut self, exec: &Exec, neighbour: &Neighbour) -> Result<(), Failure> {
        if self.0.len() > MOST {
            return Err(Failure::machine(format!("more than {MOST} processes were asked for at once")));
        }
        let streams = streams_for(exec.terminal.clone(), exec.stdin);
        self.start(exec.process, &exec.what, streams, exec.copy.as_ref(), neighbour)
    }

    /// Starts one more, with this number, beside this neighbour.
    pub fn start(
        &mut self,
        number: u32,
        what: &Process,
        streams: Streams,
        copy: Option<&Copy>,
        neighbour: &Neighbour,
    ) -> Result<(), Failure> {
        let process = &beside(neighbour.process, what);
        let place = Place::Beside(&neighbour.namespaces);
        let child = start(&Start { process, hostname: neighbour.hostname, streams: streams.clone(), place, copy })?;
        self.add(Running::new(number, child, &streams));
        Ok(())
    }

    /// A child was collected: the number of the process that it was, if it was one.
    pub fn reaped(&mut self, pid: i32, outcome: Outcome, host: &mut Host) -> Option<u32> {
        let running = self.0.iter_mut().find(|running| running.pid == pid)?;
        running.reaped(outcome, host);
        Some(running.number)
    }

    /// The number of the process that has this one in PID 1's namespace.
    pub fn number_of(&self, pid: i32) -> Option<u32> {
        self.0.iter().find(|running| running.pid == pid).map(|running| running.number)
    }

    /// Those that have ended and whose output is with the host, and how they ended.
    pub fn take_ended(&mut self, host: &mut Host) -> Vec<(Running, Outcome)> {
        let (mut ended, mut left) = (Vec::new(), Vec::new());
        for mut running in std::mem::take(&mut self.0) {
            match running.outcome(host) {
                Some(outcome) => ended.push((running, outcome)),
                None => left.push(running),
            }
        }
        self.0 = left;
        ended
    }
}

/// The outcome of what could not be started.
pub fn not_started(failure: Failure) -> Outcome {
    Outcome::NotStarted { status: failure.status, reason: failure.reason }
}

/// What a process beside another inherits from it: the environment, and the user and folder it does not name.
fn beside(neighbour: &Process, what: &Process) -> Process {
    let mut process = what.clone();
    process.env = overrides::beside(&neighbour.env, &what.env);
    if process.user.is_empty() {
        process.user.clone_from(&neighbour.user);
    }
    if process.working_dir.is_empty() {
        process.working_dir.clone_from(&neighbour.working_dir);
    }
    process
}

/// The streams a host wants.
pub fn streams_for(terminal: Option<Terminal>, stdin: bool) -> Streams {
    match terminal {
        Some(terminal) => Streams::Terminal(terminal),
        None => Streams::Pipes { stdin },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_beside_the_workload_inherits_what_it_does_not_name() {
        let workload =
            Process { env: vec!["A=1".into()], user: "www".into(), working_dir: "/srv".into(), ..Process::default() };
        let what = Process { cmd: vec!["id".into()], env: vec!["B=2".into()], ..Process::default() };
        let process = beside(&workload, &what);
        assert_eq!(process.env, ["A=1", "B=2"]);
        assert_eq!((process.user.as_str(), process.working_dir.as_str()), ("www", "/srv"));
        let root = beside(&workload, &Process { user: "0".into(), working_dir: "/".into(), ..what });
        assert_eq!((root.user.as_str(), root.working_dir.as_str()), ("0", "/"));
    }
}
