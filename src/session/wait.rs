//! Waiting: which descriptors matter now, and until when.

use super::Session;
use super::clients::Door;
use super::decide::{LAST_WORDS, POWER_OFF, QUIET, TICK};
use crate::session::channel::WORKLOAD;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Something to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Qmp,
    Port,
    Console,
    Firmware,
    Stderr,
    /// What serves a folder of the host.
    Daemon(usize),
    Signals,
    Bell,
    Stdin,
    /// The user's terminal has gone.
    Hangup,
    Client(Door),
}

impl Session<'_> {
    // ---- waiting ----

    pub(super) fn wait(&self) -> io::Result<Vec<Source>> {
        let readable = PollFlags::POLLIN;
        let mut sources = vec![Source::Signals, Source::Bell];
        let mut fds = vec![PollFd::new(self.signals.fd(), readable), PollFd::new(self.bell.fd(), readable)];
        let mut add = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::new(fd, flags));
        };
        let also_write = |wants: bool| if wants { readable | PollFlags::POLLOUT } else { readable };
        if self.qmp_open {
            add(Source::Qmp, self.qmp.fd(), also_write(self.qmp.wants_to_write()));
        }
        let listens = !self.is_deaf();
        if self.port.open && listens {
            let says = self.may_send() && !self.channel.output().is_empty();
            add(Source::Port, self.port.socket.as_fd(), also_write(says));
        }
        if self.console_line.open && listens && self.console_has_room() {
            add(Source::Console, self.console_line.socket.as_fd(), also_write(!self.typed.is_empty()));
        }
        if let Some(line) = self.firmware_line.as_ref().filter(|line| line.open && listens) {
            add(Source::Firmware, line.socket.as_fd(), readable);
        }
        if self.complains {
            add(Source::Stderr, self.process.stderr(), readable);
        }
        for (number, fd) in self.daemons.speaking() {
            add(Source::Daemon(number), fd, readable);
        }
        let workload_reads = self.boot.started && self.channel.stdin_room(WORKLOAD) > Some(0);
        if workload_reads || self.own_init_reads() {
            add(Source::Stdin, self.stdin.as_fd(), readable);
        }
        // Who asks for something now asks in vain.
        if !self.is_saving() {
            for (door, fd) in self.clients.interests(self.channel.output().len()) {
                sources.push(Source::Client(door));
                fds.push(fd);
            }
        }
        if let Some(fd) = self.watched_terminal() {
            sources.push(Source::Hangup);
            fds.push(PollFd::new(fd, PollFlags::empty()));
        }
        let timeout = PollTimeout::try_from(self.patience()).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
        Ok(sources.into_iter().zip(&fds).filter(|(_, fd)| ready(fd)).map(|(source, _)| source).collect())
    }

    /// The terminal that must not go away, until it has: the one we read from, or else the one we write to.
    fn watched_terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal_fd.as_ref().filter(|_| !self.hung_up).map(AsFd::as_fd)
    }

    /// Until something must be decided even if nothing comes.
    pub(super) fn patience(&self) -> Duration {
        if !self.complains || self.daemons.is_one_ending() {
            // Something is about to end, and nothing will tell us.
            return Duration::from_millis(5);
        }
        let now = Instant::now();
        let moments = [
            self.deadline(),
            self.kill_at,
            self.stopping.as_ref().map(|stopping| stopping.until),
            self.press_at(),
            self.slow_at(),
            self.space_at(),
            self.health_at(),
            self.save_at(),
            self.boot.panic_at.map(|at| at + LAST_WORDS),
            self.boot.off_at.map(|at| at.max(self.heard) + QUIET),
            self.boot.clean_at.map(|at| at + POWER_OFF),
        ];
        let next = moments.into_iter().flatten().map(|at| at.saturating_duration_since(now)).min();
        // Poll counts whole milliseconds; one more, so that the moment has come.
        next.map_or(TICK, |next| next.min(TICK) + Duration::from_millis(1))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.options.timeout.and_then(|timeout| self.started.checked_add(timeout))
    }
}
