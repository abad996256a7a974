//! The workload's health: its check runs beside it as any other process does, and who asks is told what came of it.
//!
//! The session runs the checks, which lives as long as the machine does, detached or not. It waits for them in its one
//! poll; what they write is read at once, and its beginning kept. A check that fails says something and ends nothing.

mod checks;
mod schedule;
#[cfg(test)]
mod tests;

pub(super) use checks::Checks;
pub use schedule::Schedule;

use super::Session;
use super::clients::guests;
use super::control::Exec;
use super::event::What;
use crate::guest::spec::Healthcheck;
use crate::session::channel::{Incoming, WORKLOAD};
use std::time::Instant;

impl Checks {
    /// Those of a health check, unless it asks nothing.
    pub(super) fn of(check: Option<&Healthcheck>) -> Option<Checks> {
        check.and_then(Schedule::of).map(Checks::new)
    }
}

impl Session<'_> {
    /// When a check is to begin, or has taken too long.
    pub(super) fn health_at(&self) -> Option<Instant> {
        self.checks.as_ref().and_then(Checks::moment)
    }

    /// The workload has started, or an own init that can be entered: so do its checks.
    pub(super) fn begin_checks(&mut self) {
        if let Some(checks) = &mut self.checks {
            checks.begin(Instant::now());
        }
    }

    /// Begins a check that is due, ends one that takes too long.
    pub(super) fn look_after_health(&mut self, now: Instant) {
        let runs = self.takes_processes() && self.boot.result.is_none();
        let Some(checks) = &mut self.checks else { return };
        if !runs || self.stopping.is_some() || self.verdict.is_some() {
            return checks.rest();
        }
        let mut changed = false;
        if let Some((process, is_news)) = checks.overdue(now) {
            self.channel.signal(process, libc::SIGKILL);
            changed = is_news;
        }
        if checks.is_due(now) {
            let exec = Exec { command: checks.schedule.command.clone(), ..Exec::default() };
            match self.channel.exec(guests(exec)) {
                Ok(process) => checks.asked(process, now),
                Err(too_long) => changed |= checks.refused(too_long.to_string(), now),
            }
        }
        self.tell_health(changed);
    }

    /// Takes what the guest says of a check. What is about others is given back.
    pub(super) fn take_checks(&mut self, incoming: Incoming) -> Option<Incoming> {
        let process = match &incoming {
            Incoming::Started(process)
            | Incoming::Data { process, .. }
            | Incoming::Eof { process, .. }
            | Incoming::Credit { process, .. }
            | Incoming::Result { process, .. } => *process,
            _ => WORKLOAD,
        };
        let Some(checks) = self.checks.as_mut().filter(|checks| checks.owns(process)) else { return Some(incoming) };
        let now = Instant::now();
        match incoming {
            Incoming::Started(_) => checks.started(now),
            Incoming::Data { output, bytes, .. } => {
                checks.wrote(&bytes);
                self.channel.passed_on(process, output, bytes.len() as u32);
            }
            Incoming::Result { outcome, .. } => {
                let changed = checks.ended(&outcome, now);
                self.tell_health(changed);
            }
            _ => {}
        }
        None
    }

    fn tell_health(&mut self, changed: bool) {
        if let Some(checks) = self.checks.as_ref().filter(|_| changed) {
            self.tell(What::Health { status: checks.status(), sentence: checks.sentence() });
        }
    }
}
