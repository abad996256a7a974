//! From the start of the workload to its end: one loop over signals, the host, the power button, the network and the
//! streams of every process.
//!
//! ```text
//!  stop asked (host, power button, Ctrl-Alt-Del) ──▶ stop signal ──▶ timeout ──▶ SIGKILL
//!  workload reaped ──▶ everything else killed ──▶ output sent ──▶ End, or the next life
//! ```

mod again;
mod lives;

use self::lives::Lives;
use crate::guest::channel::{Frame, Kind, Outcome, Resize, Stop, WORKLOAD_HAS_ENDED};
use crate::guest::restart::Restart;
use crate::guest::signal;
use crate::guest::spec::Process;
use crate::init::buttons::{self, Button};
use crate::init::cgroup;
use crate::init::children;
use crate::init::consoles;
use crate::init::failure::{Doing, Failure};
use crate::init::host::Host;
use crate::init::log;
use crate::init::logins::{self, Logins};
use crate::init::namespaces;
use crate::init::network::Uplink;
use crate::init::processes::{Neighbour, Processes, not_started};
use crate::init::running::{Part, Running};
use crate::init::signals::{self, Incoming, Received};
use crate::init::start::{Place, Start, Streams, start};
use crate::init::userland::Plan;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::set_cad_enabled;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Once the workload has ended, others' output waits no longer than this for a reader.
const OTHERS: Duration = Duration::from_secs(5);

/// What becomes of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It is switched off.
    PowerOff,
    /// The workload asked for a restart.
    Restart,
}

/// How the workload ended.
#[derive(Clone, Debug)]
pub struct End {
    /// Its status, or why it never ran.
    pub outcome: Outcome,
    /// The kernel killed in it for lack of memory.
    pub oom: bool,
    /// Somebody had asked it to stop.
    pub asked: bool,
    /// What the machine does next.
    pub afterwards: Afterwards,
}

/// What the machine is for.
pub struct Workload<'a> {
    /// What is started.
    pub process: &'a Process,
    /// Value of HOSTNAME.
    pub hostname: &'a str,
    /// What it finds around it.
    pub plan: Plan,
    /// Its standard streams.
    pub streams: Streams,
    /// What follows its end.
    pub restart: Restart,
}

/// The running machine.
pub struct Machine<'a> {
    host: &'a mut Host,
    signals: Incoming,
    buttons: Vec<Button>,
    network: Option<Uplink>,
    process: &'a Process,
    hostname: &'a str,
    plan: Plan,
    streams: Streams,
    /// The workload, between two lives too, and what runs beside it.
    processes: Processes,
    workload_pid: i32,
    own_pids: bool,
    /// When the workload is killed, once it was asked to stop.
    stopping: Option<Instant>,
    stop_asked: bool,
    /// When processes beside the workload are not waited for any more, once it has ended.
    others_until: Option<Instant>,
    /// Shells for people, where somebody may come.
    logins: Logins,
    afterwards: Afterwards,
    /// How its last life ended.
    end: Option<Outcome>,
    oom: bool,
    lives: Lives,
    began: Instant,
    /// When its next life begins.
    next: Option<Instant>,
    /// The workload itself has asked for the machine's end.
    ordered: bool,
}

enum Source {
    Signals,
    Host,
    Button(usize),
    Network,
    Process(u32, Part),
}

impl<'a> Machine<'a> {
    /// Starts the workload.
    pub fn start(host: &'a mut Host, network: Option<Uplink>, workload: Workload<'a>) -> Result<Machine<'a>, Failure> {
        // Ctrl-Alt-Del becomes SIGINT for PID 1 instead of a sudden restart.
        _ = set_cad_enabled(false);
        let signals = Incoming::open().doing("receive signals")?;
        let Workload { process, hostname, plan, streams, restart } = workload;
        let place = Place::New(&plan);
        let child = start(&Start { process, hostname, streams: streams.clone(), place, copy: None })?;
        let (pid, own_pids) = (child.pid, child.own_pids);
        let mut processes = Processes::default();
        processes.add(Running::new(0, child, &streams));
        Ok(Machine {
            host,
            signals,
            buttons: buttons::find(),
            network,
            process,
            hostname,
            plan,
            streams,
            workload_pid: pid,
            own_pids,
            processes,
            stopping: None,
            stop_asked: false,
            others_until: None,
            logins: Logins::default(),
            afterwards: Afterwards::PowerOff,
            end: None,
            oom: false,
            lives: Lives::new(restart),
            began: Instant::now(),
            next: None,
            ordered: false,
        })
    }

    /// Whoever is at a console gets a shell.
    pub fn let_people_in(&mut self) {
        self.logins = Logins::here();
        consoles::say("this console has a shell of the image's, for whoever is here; it ends with the workload");
    }

    /// Runs until the workload has ended and everything it wrote is with the host.
    pub fn run(mut self) -> End {
        // Input may have come with the welcome, when nobody polled yet.
        self.serve(Source::Host);
        loop {
            self.host.send_log();
            if let Some(outcome) = self.finished() {
                self.host.drain();
                return End { outcome, oom: self.oom, asked: self.stop_asked, afterwards: self.afterwards };
            }
            self.host.flush();
            for source in self.wait() {
                self.serve(source);
            }
            self.keep_time();
        }
    }

    /// Waits for anything to do.
    fn wait(&self) -> Vec<Source> {
        let mut sources = vec![Source::Signals];
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let mut add = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::new(fd, flags));
        };
        if let Some((fd, flags)) = self.host.interest() {
            add(Source::Host, fd, flags);
        }
        for (index, button) in self.buttons.iter().enumerate() {
            add(Source::Button(index), button.as_fd(), PollFlags::POLLIN);
        }
        for fd in self.network.iter().flat_map(Uplink::fds) {
            add(Source::Network, fd, PollFlags::POLLIN);
        }
        for (number, part, fd, flags) in self.processes.interests(self.host) {
            add(Source::Process(number, part), fd, flags);
        }
        _ = poll(&mut fds, self.timeout());
        let ready = |fd: &PollFd| fd.revents().is_none_or(|events| !events.is_empty());
        sources.into_iter().zip(&fds).filter(|(_, fd)| ready(fd)).map(|(source, _)| source).collect()
    }

    fn timeout(&self) -> PollTimeout {
        let logins = self.is_up().then(|| self.logins.deadline(&|number| self.runs(number))).flatten();
        let network = self.network.as_ref().map(Uplink::deadline);
        let deadlines = [self.stopping, self.others_until, self.next, network, logins];
        match deadlines.into_iter().flatten().min() {
            // Rounded up, so that the deadline has passed when poll returns.
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        }
    }

    fn serve(&mut self, source: Source) {
        match source {
            Source::Signals => {
                while let Some(received) = self.signals.next() {
                    self.signal(received);
                }
                self.reap();
            }
            Source::Host => {
                for frame in self.host.receive() {
                    self.frame(frame);
                }
            }
            Source::Button(index) => {
                if self.buttons[index].pressed() {
                    log::info("the power button was pressed");
                    self.stop(None);
                }
            }
            Source::Network => _ = self.network.as_mut().map(Uplink::readable),
            Source::Process(number, part) => self.processes.ready(number, part, self.host),
        }
    }

    fn keep_time(&mut self) {
        if let Some(network) = &mut self.network {
            network.tick();
        }
        self.live_again(Instant::now());
        if self.stopping.is_some_and(|deadline| Instant::now() >= deadline) {
            self.stopping = None;
            log::warning("the workload did not stop in time and is killed");
            self.signal_workload(libc::SIGKILL);
        }
        if self.is_up() {
            self.start_logins();
        }
        if self.others_until.is_some_and(|deadline| Instant::now() >= deadline) {
            self.others_until = None;
            self.processes.others().for_each(|process| process.abandon(self.host));
        }
    }

    fn runs(&self, number: u32) -> bool {
        self.processes.find(number).is_some()
    }

    /// Whether the workload runs, so that something can be started beside it.
    fn is_up(&self) -> bool {
        let workload = self.processes.find(0);
        workload.is_some_and(|workload| !workload.is_being_set_up() && !workload.has_ended())
    }

    fn start_logins(&mut self) {
        let processes = &self.processes;
        for login in self.logins.due(&|number| processes.find(number).is_some()) {
            let streams = Streams::Login(login.console.clone());
            let started = self
                .neighbour()
                .and_then(|neighbour| self.processes.start(login.number, &logins::shell(), streams, None, &neighbour));
            if let Err(failure) = started {
                log::warning(format!("no shell on {}: {}", login.console, failure.reason));
            }
        }
    }

    /// A signal to PID 1: its own business, a wish to stop, or one to pass on.
    fn signal(&mut self, received: Received) {
        match received.signal {
            // Children, and PID 1's own writes to closed pipes.
            libc::SIGCHLD | libc::SIGPIPE => {}
            libc::SIGPWR | signals::POWER_BUTTON if received.from_kernel => self.stop(None),
            libc::SIGINT if received.from_kernel => {
                self.afterwards = Afterwards::Restart;
                self.stop(None);
            }
            signal => self.signal_workload(signal),
        }
    }

    /// Asks the workload to end, once; a later wish can only shorten the time it has.
    fn stop(&mut self, timeout: Option<u32>) {
        let seconds = timeout.unwrap_or(self.process.stop_timeout);
        let deadline = Instant::now() + Duration::from_secs(seconds.into());
        if self.stop_asked {
            self.stopping = self.stopping.map(|earlier| earlier.min(deadline));
            return;
        }
        self.stop_asked = true;
        if self.next.take().is_some() {
            // Between two lives there is nobody to ask.
            return;
        }
        self.stopping = Some(deadline);
        self.signal_workload(self.stop_signal());
    }

    /// Never once it was reaped: its number may be somebody else's then.
    fn signal_workload(&self, signal: i32) {
        if self.processes.find(0).is_some_and(|workload| !workload.has_ended()) {
            _ = signals::send(self.workload_pid, signal);
        }
    }

    fn stop_signal(&self) -> i32 {
        let Some(text) = self.process.stop_signal.as_deref().filter(|text| !text.is_empty()) else {
            return libc::SIGTERM;
        };
        signal::parse(text).unwrap_or_else(|| {
            log::warning(format!("not a signal, SIGTERM is used to stop: {text}"));
            libc::SIGTERM
        })
    }

    fn frame(&mut self, frame: Frame) {
        match frame.kind {
            Kind::Stop => {
                let stop: Stop = serde_json::from_slice(&frame.payload).unwrap_or_default();
                self.stop(stop.timeout);
            }
            Kind::Exec => self.processes.exec_asked(&frame.payload, self.neighbour(), self.host),
            kind => {
                if kind == Kind::Resize {
                    self.remember_size(&frame.payload);
                }
                self.processes.frame(&frame, self.host);
            }
        }
    }

    /// A terminal's size is that of its next life's too.
    fn remember_size(&mut self, payload: &[u8]) {
        if let (Ok(Resize { process: 0, rows, cols }), Streams::Terminal(terminal)) =
            (serde_json::from_slice(payload), &mut self.streams)
        {
            (terminal.rows, terminal.cols) = (rows, cols);
        }
    }

    /// The workload, for what is started beside it.
    fn neighbour(&self) -> Result<Neighbour<'a>, Failure> {
        match self.processes.find(0) {
            Some(workload) if workload.is_being_set_up() => Err(Failure::machine("the workload has not started yet")),
            Some(workload) if !workload.has_ended() => {
                // Now and not earlier: the workload makes its mount namespace after the fork.
                let namespaces = namespaces::Workload::of(self.workload_pid, self.own_pids);
                Ok(Neighbour { process: self.process, hostname: self.hostname, namespaces })
            }
            _ => Err(workload_has_ended()),
        }
    }

    /// Collects every child that has ended: processes we started, and orphans that came to PID 1.
    fn reap(&mut self) {
        while let Some((pid, outcome)) = children::next_ended() {
            self.reaped(pid, outcome);
        }
    }

    fn reaped(&mut self, pid: i32, outcome: Outcome) {
        let outcome = if self.ended_with_workload(pid, &outcome) { not_started(workload_has_ended()) } else { outcome };
        if self.processes.reaped(pid, outcome, self.host) == Some(0) {
            self.stopping = None;
            self.others_until = Some(Instant::now() + OTHERS);
            if !self.own_pids {
                // The namespace's end does this otherwise.
                _ = signals::send(-1, libc::SIGKILL);
            }
        }
    }

    /// Whether a process beside the workload was killed because its PID namespace ends: its status would say that
    /// somebody killed it. The namespace's first process, which is the workload, is collected after all others.
    fn ended_with_workload(&self, pid: i32, outcome: &Outcome) -> bool {
        let beside = self.processes.number_of(pid).is_some_and(|number| number != 0);
        let killed = *outcome == Outcome::Signaled(libc::SIGKILL as u8);
        let is_over = self.processes.find(0).is_none_or(Running::has_ended);
        beside && killed && (is_over || children::is_ending(self.workload_pid))
    }

    /// Tells the host of every process whose output has been sent. The workload's end, once nothing else is left and it
    /// does not start again.
    fn finished(&mut self) -> Option<Outcome> {
        for (process, outcome) in self.processes.take_ended(self.host) {
            if process.number != 0 {
                process.tell(outcome, false, self.host);
                continue;
            }
            if self.end.is_none() {
                let outcome = self.interpret(outcome);
                self.oom = cgroup::oom_kills() > 0 && outcome != Outcome::Exited(0);
                self.end = Some(outcome);
            }
            // It may live once more.
            self.processes.add(process);
        }
        let alone = self.next.is_none() && self.processes.others().next().is_none();
        let outcome = self.end.clone().filter(|_| alone)?;
        if self.lives_on(&outcome) {
            return None;
        }
        self.processes.workload().into_iter().for_each(|workload| workload.close(self.host));
        Some(outcome)
    }

    /// reboot(2) in a PID namespace ends its first process by a signal that nothing else can end it by: SIGHUP for a
    /// restart, SIGINT for halt and power-off (pid_namespaces(7)).
    fn interpret(&mut self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Signaled(signal) if self.own_pids && i32::from(signal) == libc::SIGHUP => {
                self.afterwards = Afterwards::Restart;
                self.ordered = true;
                Outcome::Exited(0)
            }
            Outcome::Signaled(signal) if self.own_pids && i32::from(signal) == libc::SIGINT => {
                self.ordered = true;
                Outcome::Exited(0)
            }
            other => other,
        }
    }
}

fn workload_has_ended() -> Failure {
    Failure::machine(WORKLOAD_HAS_ENDED)
}
