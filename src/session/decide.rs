//! Deciding: what has taken too long, what an end means, and how a machine is stopped.

use super::boot::Boot;
use super::last_words::SLOW;
use super::own_init::PRESS_AGAIN;
use super::resets::{Ended, Next};
use super::{Phase, Session, Stopping};
use crate::qemu::machine::Access;
use crate::session::event::{Outcome, What, Why};
use qapi::qmp as command;
use std::time::{Duration, Instant};

/// QEMU must speak QMP after this long, on the busiest host.
const START: Duration = Duration::from_secs(60);
/// QEMU must have quit after this long, or it is killed.
const QUIT: Duration = Duration::from_secs(3);
/// The console may add to a panic for this long.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(500);
/// A machine that is off is read until nothing came for this long.
pub(super) const QUIET: Duration = Duration::from_millis(30);
/// From PID 1's last frame to the power button.
pub(super) const POWER_OFF: Duration = Duration::from_secs(2);
/// From the workload's result to PID 1's last frame: the slowest disk has synced by then.
const SHUTDOWN: Duration = Duration::from_secs(60);
/// Beyond the workload's own stop timeout, for sync and unmount.
const STOP_MARGIN: Duration = Duration::from_secs(20);
/// The stop timeout when the host does not know the image's.
const STOP_TIMEOUT: u32 = 10;
/// The stop timeout of an image's own init: it has services to stop, and may have to be asked twice.
const OWN_INIT_TIMEOUT: u32 = 70;
/// QEMU is looked after at least this often.
pub(super) const TICK: Duration = Duration::from_millis(250);

impl Session<'_> {
    // ---- deciding ----

    pub(super) fn decide(&mut self, now: Instant) {
        let past = |at: Option<Instant>, wait: Duration| at.is_some_and(|at| now >= at + wait);
        if past(self.kill_at, Duration::ZERO) {
            _ = self.process.kill();
        }
        if self.verdict.is_some() {
            return;
        }
        if past(self.press_at(), Duration::ZERO) {
            self.press_power_button();
        }
        if past(self.space_at(), Duration::ZERO) {
            self.look_for_space();
        }
        if past(self.slow_at(), Duration::ZERO) {
            self.boot.last_words.slow_told = true;
            self.tell(What::Slow { after: SLOW, last: self.boot.last_words.last() });
        }
        if self.phase != Phase::Running && now >= self.started + START {
            // Its standard error says why, if anything does.
            _ = self.process.kill();
        } else if past(self.deadline(), Duration::ZERO) && !self.stopping_for(Why::Timeout) {
            self.stop(Why::Timeout);
        } else if past(self.boot.panic_at, LAST_WORDS) {
            let after_hello = self.boot.hello;
            self.conclude(match (self.console.last_panic(), self.boot.panic_is_a_guess) {
                (Some(message), _) => Outcome::Panic { message: message.to_owned(), after_hello },
                (None, false) => Outcome::Panic { message: "it said nothing about it".into(), after_hello },
                (None, true) => Outcome::Reset,
            });
        } else if past(self.boot.off_at.map(|at| at.max(self.heard)), QUIET)
            || past(self.boot.off_at, SHUTDOWN)
            || past(self.boot.clean_at, POWER_OFF)
            || past(self.boot.result_at, SHUTDOWN)
            || past(self.stopping.as_ref().map(|stopping| stopping.until), Duration::ZERO)
        {
            let outcome = self.natural_end();
            self.conclude(outcome);
        }
    }

    /// When it is to be told that this boot takes long to PID 1.
    pub(super) fn slow_at(&self) -> Option<Instant> {
        let boots = self.phase == Phase::Running && !self.boot.hello && self.verdict.is_none();
        self.boot.last_words.slow_at(self.boot.since).filter(|_| boots)
    }

    fn stopping_for(&self, why: Why) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.why == why)
    }

    /// What a machine that ended of its own accord has to say for itself.
    pub(super) fn natural_end(&mut self) -> Outcome {
        let why = self.stopping.as_ref().map(|stopping| stopping.why);
        match (self.boot.result.take(), why) {
            (_, Some(Why::Timeout)) => Outcome::Stopped(Why::Timeout),
            (Some((outcome, oom)), _) => Outcome::Workload { outcome, oom, clean: self.boot.clean_at.is_some() },
            // Asked to switch the machine off, the own init did.
            (None, Some(Why::Signal(_) | Why::Asked) | None) if self.boot.handed_over && self.boot.off_at.is_some() => {
                Outcome::OwnInit
            }
            (None, Some(why)) => Outcome::Stopped(why),
            (None, None) => match self.boot.complaint.take() {
                Some(message) => Outcome::Init { message },
                None => Outcome::NoResult { after_hello: self.boot.hello },
            },
        }
    }

    /// PID 1 has told the kernel to reset after a panic, and itself only resets after a result. An own init resets the
    /// machine as it likes.
    pub(super) fn reset_is_a_panic(&mut self) -> bool {
        // What the guest sent before the reset is here by now.
        while self.read_port() {}
        while self.read_console() {}
        if self.boot.handed_over {
            return self.boot.panic_at.is_some() || self.boot.panic_told;
        }
        self.boot.panic_at.is_some() || self.boot.hello && self.boot.result.is_none() && self.boot.complaint.is_none()
    }

    pub(super) fn panicked(&mut self) {
        if self.boot.panic_at.is_none() {
            self.boot.panic_at = Some(Instant::now());
            self.tell(What::Panic);
        }
        if let Some((outcome, oom)) = self.boot.result.take() {
            // The workload had ended: its result stands.
            self.conclude(Outcome::Workload { outcome, oom, clean: false });
        }
    }

    pub(super) fn reset(&mut self) {
        if self.reset_is_a_panic() {
            // A panicked kernel resets the machine as well. It says so on the console before, and sysrq's b does not.
            // SeaBIOS adds a reset of its own to it.
            self.boot.panic_is_a_guess |= self.boot.panic_at.is_none();
            return self.panicked();
        }
        if self.stopping.is_some() {
            if self.boot.handed_over {
                // It was asked to stop, and this is how it stops.
                self.boot.off_at = Some(Instant::now());
            }
            let outcome = self.natural_end();
            return self.conclude(outcome);
        }
        match self.resets.next(self.boot_that_ended(), self.boot.since.elapsed()) {
            Next::Boot => {}
            Next::Loop(resets) => return self.conclude(Outcome::ResetLoop { resets }),
            Next::Enough(times) => {
                self.tell(What::NotRestarted { times });
                let outcome = self.natural_end();
                return self.conclude(outcome);
            }
        }
        self.tell(What::Reset);
        self.channel.restart();
        self.clients_lost_their_processes();
        self.boot = Boot::new();
    }

    fn boot_that_ended(&self) -> Ended {
        match &self.boot {
            _ if self.heard <= self.boot.since => Ended::Unheard,
            boot if boot.handed_over => Ended::OwnInit,
            boot if boot.result.is_some() => Ended::Orderly,
            _ => Ended::Failed,
        }
    }

    /// Asks the guest to stop; asked twice, or with a guest that cannot lose anything, ends the machine at once.
    pub(super) fn stop(&mut self, why: Why) {
        self.stop_within(why, None);
    }

    /// As [`stop`](Self::stop), with so many seconds from the stop signal to SIGKILL instead of the image's.
    fn stop_within(&mut self, why: Why, timeout: Option<u32>) {
        if self.verdict.is_some() {
            self.hurry = true;
            return;
        }
        let expendable = self.machine.access == Access::Overlay && (!self.boot.hello || why == Why::Timeout);
        let expendable = expendable && !self.boot.handed_over;
        // A machine that stands still hears nothing, and its overlay is lost anyway.
        let expendable = expendable || self.machine.access == Access::Overlay && self.stands_still();
        if self.stopping.is_some() || expendable || self.phase != Phase::Running {
            self.tell(What::Stopping(why));
            self.hurry = true;
            let why = self.stopping.as_ref().map_or(why, |stopping| stopping.why);
            return self.conclude(Outcome::Stopped(why));
        }
        self.tell(What::Stopping(why));
        let mut patience = STOP_MARGIN;
        if self.boot.hello {
            let usual = if self.boot.handed_over { OWN_INIT_TIMEOUT } else { STOP_TIMEOUT };
            let seconds = timeout.or(self.options.overrides.stop_timeout).unwrap_or(usual);
            patience += Duration::from_secs(seconds.into());
        }
        let now = Instant::now();
        self.stopping = Some(Stopping { why, until: now + patience, press_at: now + PRESS_AGAIN, presses: 0 });
        if self.boot.hello && !self.boot.handed_over {
            self.channel.stop(timeout);
        } else {
            self.press_power_button();
        }
    }

    /// A client asks for the stop. Asked again it is not hurried, as by a second signal, but a shorter timeout counts.
    pub(super) fn asked_to_stop(&mut self, timeout: Option<u32>) {
        if self.verdict.is_some() {
            return;
        }
        let Some(stopping) = &mut self.stopping else { return self.stop_within(Why::Asked, timeout) };
        if let (Some(seconds), true, false) = (timeout, self.boot.hello, self.boot.handed_over) {
            let patience = Duration::from_secs(seconds.into()) + STOP_MARGIN;
            stopping.until = stopping.until.min(Instant::now() + patience);
            self.channel.stop(timeout);
        }
    }

    /// A client pulls the plug: no signal, no sync.
    pub(super) fn unplugged(&mut self) {
        self.tell(What::Stopping(Why::Asked));
        self.hurry = true;
        self.conclude(Outcome::Stopped(Why::Asked));
    }

    /// Settles the outcome, once, and makes QEMU quit.
    pub(super) fn conclude(&mut self, outcome: Outcome) {
        if self.verdict.is_none() {
            self.verdict = Some(outcome);
            // Before its greeting is answered QEMU takes no command, and there is no machine yet.
            let patience = if self.phase == Phase::Running { QUIT } else { Duration::ZERO };
            if self.phase == Phase::Running {
                _ = self.command(command::quit {});
            }
            self.kill_at = Some(Instant::now() + patience);
        }
    }
}
