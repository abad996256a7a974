//! One process that PID 1 started: its streams with their credit, and how it ended.

use super::host::Host;
use super::report::{Report, Reports};
use super::start::{Child, Streams};
use super::{log, terminal};
use crate::guest::channel::{
    Ended, Frame, Kind, MAX_PAYLOAD, Outcome, Started, WINDOW, stderr_of, stdin_of, stdout_of,
};
use nix::errno::Errno;
use nix::poll::PollFlags;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A started process.
pub struct Running {
    /// Its number on the channel; the workload is 0.
    pub number: u32,
    /// Its number in PID 1's namespace.
    pub pid: i32,
    reports: Option<Reports>,
    failed: Option<Outcome>,
    outputs: Vec<Output>,
    input: Option<Input>,
    /// Input for a terminal that the child has not made yet.
    early_input: Vec<u8>,
    is_terminal: bool,
    ended: Option<Outcome>,
}

struct Output {
    stream: u32,
    /// Absent before a terminal is made, and between two lives of the workload.
    fd: Option<OwnedFd>,
    credit: u32,
}

struct Input {
    fd: OwnedFd,
    pending: VecDeque<u8>,
    closing: bool,
}

/// Which descriptor of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The report socket of its set-up.
    Reports,
    /// Its standard input.
    Input,
    /// The stream with this number.
    Output(u32),
}

impl Running {
    /// A process that was just forked.
    pub fn new(number: u32, child: Child, streams: &Streams) -> Running {
        let outputs = match streams {
            Streams::Console | Streams::Messages | Streams::Login(_) => vec![],
            Streams::Terminal(_) => vec![Output::new(stdout_of(number), None)],
            Streams::Pipes { .. } => {
                vec![Output::new(stdout_of(number), child.stdout), Output::new(stderr_of(number), child.stderr)]
            }
        };
        Running {
            number,
            pid: child.pid,
            reports: Some(child.reports),
            failed: None,
            outputs,
            input: child.stdin.map(Input::new),
            early_input: Vec::new(),
            is_terminal: matches!(streams, Streams::Terminal(_)),
            ended: None,
        }
    }

    /// The workload's next life. Its outputs go where the last one's went, with the credit that is left; one that the host
    /// has ended is a closed pipe.
    pub fn again(&mut self, child: Child) {
        for (stream, fd) in [(stdout_of(self.number), child.stdout), (stderr_of(self.number), child.stderr)] {
            if let Some(output) = self.output(stream) {
                output.fd = fd;
            }
        }
        (self.pid, self.reports, self.failed, self.ended) = (child.pid, Some(child.reports), None, None);
        (self.input, self.early_input) = (child.stdin.map(Input::new), Vec::new());
    }

    fn output(&mut self, stream: u32) -> Option<&mut Output> {
        self.outputs.iter_mut().find(|output| output.stream == stream)
    }

    /// What to poll. A stream without credit, or with a host that is behind, is not asked for.
    pub fn interests(&self, host: &Host) -> Vec<(Part, BorrowedFd<'_>, PollFlags)> {
        let mut interests = Vec::new();
        if let Some(reports) = &self.reports {
            interests.push((Part::Reports, reports.as_fd(), PollFlags::POLLIN));
        }
        if let Some(input) = &self.input
            && !input.pending.is_empty()
        {
            interests.push((Part::Input, input.fd.as_fd(), PollFlags::POLLOUT));
        }
        for output in self.outputs.iter().filter(|output| output.may_be_read(host)) {
            interests.extend(output.fd.iter().map(|fd| (Part::Output(output.stream), fd.as_fd(), PollFlags::POLLIN)));
        }
        interests
    }

    /// Serves a descriptor that polled ready.
    pub fn ready(&mut self, part: Part, host: &mut Host) {
        match part {
            Part::Reports => self.read_reports(host),
            Part::Input => self.write_input(host),
            Part::Output(stream) => self.read_output(stream, host),
        }
    }

    fn read_reports(&mut self, host: &mut Host) {
        while let Some(reports) = &self.reports {
            match reports.next() {
                Ok(Some(Report::Log(entry))) => log::line(entry.level, &entry.text),
                Ok(Some(Report::Terminal(master))) => self.attach(master, host),
                Ok(Some(Report::Failed(failure))) => {
                    self.failed = Some(Outcome::NotStarted { status: failure.status, reason: failure.reason });
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                Ok(None) | Err(_) => {
                    self.reports = None;
                    if self.failed.is_none() {
                        host.send(&Frame::control(Kind::Started, &Started { process: self.number }));
                    }
                }
            }
        }
    }

    fn attach(&mut self, master: OwnedFd, host: &mut Host) {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        _ = fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK | OFlag::O_RDWR));
        // Ended by the host: without its master the terminal hangs up.
        if self.output(stdout_of(self.number)).is_none() {
            return;
        }
        if let Ok(second) = master.try_clone() {
            let mut input = Input::new(second);
            input.pending = std::mem::take(&mut self.early_input).into();
            self.input = Some(input);
            self.write_input(host);
        }
        if let Some(output) = self.output(stdout_of(self.number)) {
            output.fd = Some(master);
        }
    }

    /// Takes standard input from the host. Input for nobody is credited at once, so that the host never waits.
    pub fn feed(&mut self, bytes: &[u8], host: &mut Host) {
        let awaits_terminal = self.awaits_terminal();
        match &mut self.input {
            Some(input) if !input.closing && input.pending.len() + bytes.len() <= WINDOW as usize => {
                input.pending.extend(bytes);
                self.write_input(host);
            }
            None if awaits_terminal && self.early_input.len() + bytes.len() <= WINDOW as usize => {
                self.early_input.extend(bytes);
            }
            _ => give_credit(host, self.number, bytes.len()),
        }
    }

    fn awaits_terminal(&self) -> bool {
        self.is_terminal && self.reports.is_some() && self.failed.is_none()
    }

    /// The host has ended a stream: it sends no more input, or reads no more of an output. A writer to that output
    /// then meets a closed pipe, as in a shell's pipeline.
    pub fn end_of(&mut self, stream: u32, host: &mut Host) {
        if stream == stdin_of(self.number) {
            return self.end_input(host);
        }
        if let Some(place) = self.outputs.iter().position(|output| output.stream == stream) {
            self.outputs.swap_remove(place);
            if self.is_terminal {
                // Its last descriptor: the kernel hangs the terminal up, and the session that has it gets SIGHUP.
                self.input = None;
            }
            host.send(&Frame { stream, kind: Kind::Eof, payload: Vec::new() });
        }
    }

    /// Nobody waits for the rest of its output any more.
    pub fn abandon(&mut self, host: &mut Host) {
        while let Some(output) = self.outputs.first() {
            self.end_of(output.stream, host);
        }
    }

    fn end_input(&mut self, host: &mut Host) {
        if let Some(input) = &mut self.input {
            if self.is_terminal {
                // End of file on a terminal is a character.
                input.pending.push_back(4);
            } else {
                input.closing = true;
            }
            self.write_input(host);
        } else if self.awaits_terminal() {
            self.early_input.push(4);
        }
    }

    fn write_input(&mut self, host: &mut Host) {
        let Some(input) = &mut self.input else { return };
        while !input.pending.is_empty() {
            let (bytes, _) = input.pending.as_slices();
            match nix::unistd::write(&input.fd, bytes) {
                Ok(count) => {
                    input.pending.drain(..count);
                    give_credit(host, self.number, count);
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Err(_) => {
                    // Nobody reads any more.
                    let left = input.pending.len();
                    self.input = None;
                    return give_credit(host, self.number, left);
                }
            }
        }
        if input.closing {
            self.input = None;
        }
    }

    fn read_output(&mut self, stream: u32, host: &mut Host) {
        let Some(place) = self.outputs.iter().position(|output| output.stream == stream) else { return };
        let output = &mut self.outputs[place];
        let Some(fd) = &output.fd else { return };
        // Without a host output is read and dropped, so that the workload does not wait for ever.
        let limit = if host.is_there() { output.credit as usize } else { MAX_PAYLOAD };
        let mut buffer = vec![0u8; limit.min(MAX_PAYLOAD)];
        match nix::unistd::read(fd, &mut buffer) {
            Ok(count) if count > 0 => {
                buffer.truncate(count);
                if host.is_there() {
                    output.credit -= count as u32;
                    host.send(&Frame { stream, kind: Kind::Data, payload: buffer });
                }
            }
            Err(Errno::EINTR) => {}
            // What is left of an ended process has been read; whoever else holds the pipe is not waited for.
            Err(Errno::EAGAIN) if self.ended.is_none() => {}
            // The workload may live once more. EIO is the end of a terminal.
            _ if self.number == 0 => output.fd = None,
            _ => {
                self.outputs.swap_remove(place);
                host.send(&Frame { stream, kind: Kind::Eof, payload: Vec::new() });
            }
        }
    }

    /// Credit from the host.
    pub fn credit(&mut self, stream: u32, bytes: u32) {
        if let Some(output) = self.outputs.iter_mut().find(|output| output.stream == stream) {
            output.credit = output.credit.saturating_add(bytes).min(WINDOW);
        }
    }

    /// A new size of its terminal.
    pub fn resize(&self, rows: u16, cols: u16) {
        if let (Some(input), true) = (&self.input, self.is_terminal) {
            terminal::resize(&input.fd, rows, cols);
        }
    }

    /// It has been reaped.
    pub fn reaped(&mut self, outcome: Outcome, host: &mut Host) {
        self.read_reports(host);
        self.ended = Some(self.failed.take().unwrap_or(outcome));
        self.input = None;
    }

    /// Whether it has not become its program yet.
    pub fn is_being_set_up(&self) -> bool {
        self.reports.is_some()
    }

    /// Whether it was reaped.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Its end, once all its output is with the host. Reads what is left, as far as credit goes.
    pub fn outcome(&mut self, host: &mut Host) -> Option<Outcome> {
        self.ended.as_ref()?;
        while let Some(output) = self.outputs.iter().find(|output| output.may_be_read(host)) {
            let stream = output.stream;
            self.read_output(stream, host);
        }
        if self.outputs.iter().all(|output| output.fd.is_none()) { self.ended.clone() } else { None }
    }

    /// No life follows: its outputs end.
    pub fn close(&mut self, host: &mut Host) {
        for output in self.outputs.drain(..) {
            host.send(&Frame { stream: output.stream, kind: Kind::Eof, payload: Vec::new() });
        }
    }

    /// Tells the host how it ended.
    pub fn tell(&self, outcome: Outcome, oom: bool, host: &mut Host) {
        let ended = Ended { process: self.number, nonce: host.nonce().to_owned(), outcome, oom };
        host.send(&Frame::control(Kind::Result, &ended));
    }
}

impl Output {
    fn new(stream: u32, fd: Option<OwnedFd>) -> Output {
        Output { stream, fd, credit: WINDOW }
    }

    fn may_be_read(&self, host: &Host) -> bool {
        self.fd.is_some() && (!host.is_there() || (self.credit > 0 && host.has_room()))
    }
}

impl Input {
    fn new(fd: OwnedFd) -> Input {
        Input { fd, pending: VecDeque::new(), closing: false }
    }
}

fn give_credit(host: &mut Host, number: u32, bytes: usize) {
    if bytes > 0 {
        let payload = (bytes as u32).to_le_bytes().to_vec();
        host.send(&Frame { stream: stdin_of(number), kind: Kind::Credit, payload });
    }
}
