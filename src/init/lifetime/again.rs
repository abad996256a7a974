//! From one life of the workload to its next.
//!
//! ```text
//!  reaped, output sent ─▶ policy ─┬─ no more ─▶ the machine's end
//!                                 └─ pause ─▶ leftovers gone ─▶ started anew
//! ```
//!
//! Anew are its PID and mount namespaces, and so all mounts, `/dev/shm` and `/run` among them, its control group, and the
//! machine's name. What it wrote to its root and to volumes stays, and so does the network. Its outputs go on where they
//! were. A terminal is a new one for the same keyboard; input through a pipe was the first life's alone.

use super::Machine;
use crate::guest::channel::{Frame, Kind, Level, Outcome, Restarting};
use crate::init::failure::Failure;
use crate::init::processes::not_started;
use crate::init::start::{Place, Start, Streams, start};
use crate::init::{cgroup, leftovers, log, power};
use std::time::Instant;

impl Machine<'_> {
    /// After an end: whether there is another life, which is then announced.
    pub(super) fn lives_on(&mut self, outcome: &Outcome) -> bool {
        let ordered = self.stop_asked || self.ordered;
        let Some(pause) = self.lives.next(outcome, self.began.elapsed(), ordered) else { return false };
        self.next = Some(Instant::now() + pause);
        if self.host.knows_restarts() {
            let restarting = Restarting {
                nonce: self.host.nonce().to_owned(),
                outcome: outcome.clone(),
                pause: pause.as_millis() as u64,
                count: self.lives.count,
            };
            self.host.send(&Frame::control(Kind::Restarting, &restarting));
        }
        let level = if *outcome == Outcome::Exited(0) { Level::Info } else { Level::Warning };
        let (how, seconds) = (power::how(outcome), pause.as_secs_f64());
        self.host.tell(level, &format!("{how}, started again in {seconds} s ({})", self.lives.number()));
        true
    }

    /// Starts the next life, if its time has come.
    pub(super) fn live_again(&mut self, now: Instant) {
        if self.next.is_none_or(|at| now < at) {
            return;
        }
        self.next = None;
        if let Err(failure) = self.start_again() {
            // It is not started a third time, and the machine ends.
            log::error(&failure.reason);
            self.end = Some(not_started(failure));
        }
    }

    fn start_again(&mut self) -> Result<(), Failure> {
        power::kill_everything();
        cgroup::renew();
        leftovers::remove();
        _ = nix::unistd::sethostname(self.hostname);
        // A volume that was emptied stays so.
        self.plan.mounts.iter_mut().filter_map(|one| one.volume.as_mut()).for_each(|volume| volume.seed = false);
        if let Streams::Pipes { stdin } = &mut self.streams {
            *stdin = false;
        }
        let (process, hostname, place) = (self.process, self.hostname, Place::New(&self.plan));
        let child = start(&Start { process, hostname, streams: self.streams.clone(), place, copy: None })?;
        (self.workload_pid, self.own_pids) = (child.pid, child.own_pids);
        (self.end, self.oom, self.stopping, self.others_until) = (None, false, None, None);
        self.began = Instant::now();
        if let Some(workload) = self.processes.workload() {
            workload.again(child);
        }
        Ok(())
    }
}
