//! Clients of a running machine: each a control connection, and through it at most one process in the guest.
//!
//! Streams pass through with their flow control: a client's credit becomes the guest's and the guest's becomes the
//! client's, so that what waits here is bounded by the window. A client that goes beyond its room, or does not read
//! what it gave credit for, is cut off. A process whose client has gone gets its end of input, closed outputs and
//! SIGHUP.

use super::Session;
use super::health::Checks;
use super::line::Line;
use crate::guest::channel::{Exec as GuestExec, Outcome as Workload};
use crate::guest::spec::Process;
use crate::session::channel::Output;
use crate::session::control::protocol::{Message, Messages, Question, Reply, Request, Stream, VERSION, WINDOW};
use crate::session::control::{Endpoint, Exec, NoEntry, Phase, State};
use crate::session::event::Finished;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use qapi::qmp as command;
use serde_json::Value;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Clients at once: as many as PID 1 starts processes.
const MOST: usize = 256;
/// Bytes that may wait for the guest before clients have to.
const PORT_BACKLOG: usize = 1 << 20;
/// Bytes that may wait for a client: both outputs' windows, and then as much.
const CLIENT_BACKLOG: usize = 4 * WINDOW as usize;
/// A client that reads nothing for so long at the machine's end does not get the rest.
const LAST_READ: Duration = Duration::from_secs(5);

/// All of them, and where they come from.
pub(super) struct Clients {
    endpoint: Endpoint,
    list: Vec<Client>,
    next: u64,
    /// What those who watch were told.
    told: State,
    /// Commands to QEMU by number, and whose question each is.
    questions: Vec<(u64, u64)>,
}

struct Client {
    id: u64,
    line: Line,
    messages: Messages,
    output: Vec<u8>,
    sent: usize,
    task: Task,
    watches: bool,
}

enum Task {
    None,
    /// For the workload's start.
    Waits(Exec),
    Runs(u32),
}

/// Something of theirs to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Endpoint,
    Client(u64),
}

/// A client that does not keep to the protocol.
struct Offence;

impl Clients {
    pub(super) fn new(endpoint: Endpoint) -> Clients {
        let told = State::unknown();
        Clients { endpoint, list: Vec::new(), next: 0, told, questions: Vec::new() }
    }

    fn find(&mut self, id: u64) -> Option<&mut Client> {
        self.list.iter_mut().find(|client| client.id == id)
    }

    fn of(&mut self, process: u32) -> Option<&mut Client> {
        self.list.iter_mut().find(|client| matches!(client.task, Task::Runs(number) if number == process))
    }

    /// What to poll, where `port_backlog` bytes wait for the guest.
    pub(super) fn interests(&self, port_backlog: usize) -> Vec<(Door, PollFd<'_>)> {
        let listening = self.endpoint.fds().map(|fd| (Door::Endpoint, PollFd::new(fd, PollFlags::POLLIN)));
        let talking = self.list.iter().filter(|client| client.line.open).map(|client| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, port_backlog < PORT_BACKLOG);
            flags.set(PollFlags::POLLOUT, client.backlog() > 0);
            (Door::Client(client.id), PollFd::new(client.line.socket.as_fd(), flags))
        });
        listening.chain(talking).collect()
    }

    /// Whether anything runs for them, or is to.
    pub(super) fn have_processes(&self) -> bool {
        self.list.iter().any(|client| !matches!(client.task, Task::None))
    }

    /// Writes what they take now.
    pub(super) fn write(&mut self) {
        self.list.iter_mut().for_each(Client::write);
    }
}

impl Client {
    fn backlog(&self) -> usize {
        self.output.len() - self.sent
    }

    fn say(&mut self, message: &Message) {
        // What fits into a frame of the guest fits here, and replies are short.
        _ = message.encode(&mut self.output);
    }

    fn reply(&mut self, reply: Reply) {
        self.say(&Message::Reply(reply));
    }

    fn refuse(&mut self, reason: &str) {
        self.task = Task::None;
        self.reply(Reply::Refused(reason.to_owned()));
    }

    fn turn_away(&mut self, why: NoEntry) {
        self.task = Task::None;
        self.reply(Reply::NoEntry(why));
    }

    fn write(&mut self) {
        while self.line.open && self.backlog() > 0 {
            match (&self.line.socket).write(&self.output[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.line.open = false,
            }
        }
        if self.backlog() == 0 {
            self.output.clear();
            self.sent = 0;
        } else if self.sent > WINDOW as usize {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }
}

impl Session<'_> {
    /// The machine's state as clients are told it.
    fn state(&self) -> State {
        let phase = if self.stopping.is_some() || self.verdict.is_some() || self.boot.result.is_some() {
            Phase::Stopping
        } else if self.boot.started || self.boot.handed_over {
            Phase::Running
        } else {
            Phase::Booting
        };
        let health = self.checks.as_ref().filter(|_| self.boot.no_entry.is_none()).map(Checks::status);
        State { phase, own_init: self.boot.handed_over, health, restarts: self.boot.restarts }
    }

    /// Serves what polled ready.
    pub(super) fn serve_client(&mut self, door: Door) {
        match door {
            Door::Endpoint => {
                for socket in self.clients.endpoint.arrived() {
                    self.admit(socket);
                }
            }
            Door::Client(id) => self.read_client(id),
        }
    }

    fn admit(&mut self, socket: UnixStream) {
        let state = self.state();
        let clients = &mut self.clients;
        let Ok(line) = Line::new(socket) else { return };
        let (id, messages, output) = (clients.next, Messages::default(), Vec::new());
        clients.next += 1;
        let mut client = Client { id, line, messages, output, sent: 0, task: Task::None, watches: false };
        if clients.list.len() >= MOST {
            client.refuse("too many clients are connected to the machine");
            return client.write();
        }
        client.reply(Reply::Hello { version: VERSION, state });
        clients.list.push(client);
    }

    fn read_client(&mut self, id: u64) {
        let Some(client) = self.clients.find(id) else { return };
        let n = client.line.read(&mut self.buffer);
        client.messages.feed(&self.buffer[..n]);
        while let Some(client) = self.clients.find(id) {
            let request = match client.messages.next_message() {
                Ok(Some(message)) => self.client_says(id, message),
                Ok(None) => break,
                Err(_) => Err(Offence),
            };
            if request.is_err() {
                self.clients.find(id).into_iter().for_each(|client| client.line.open = false);
                break;
            }
        }
    }

    fn client_says(&mut self, id: u64, message: Message) -> Result<(), Offence> {
        let state = self.state();
        let client = self.clients.find(id).ok_or(Offence)?;
        let process = match client.task {
            Task::Runs(process) => Some(process),
            _ => None,
        };
        match (message, process) {
            (Message::Request(Request::Exec(exec)), None) => {
                if matches!(client.task, Task::Waits(_)) {
                    return Err(Offence);
                }
                client.task = Task::Waits(exec);
                self.start_waiting();
            }
            (Message::Request(Request::Exec(_)), Some(_)) => return Err(Offence),
            (Message::Request(Request::Watch), _) => {
                client.watches = true;
                client.reply(Reply::State(state));
            }
            (Message::Request(Request::Stop { timeout }), _) => self.asked_to_stop(timeout),
            (Message::Request(Request::Quit), _) => self.unplugged(),
            (Message::Request(Request::Save), _) => self.asked_to_save(),
            (Message::Request(Request::Health), _) => {
                let results = self.checks.as_ref().map(Checks::results).unwrap_or_default();
                client.reply(Reply::Health(results));
            }
            (Message::Request(Request::Monitor(question)), _) => self.ask_qemu(id, &question),
            (Message::Request(Request::Signal(signal)), Some(process)) => self.channel.signal(process, signal),
            (Message::Request(Request::Resize { rows, cols }), Some(process)) => {
                self.channel.resize(process, rows, cols);
            }
            (Message::Data(Stream::Stdin, bytes), Some(process)) => {
                let room = self.channel.stdin_room(process).unwrap_or(WINDOW);
                if bytes.len() > room as usize {
                    return Err(Offence);
                }
                self.channel.send_stdin(process, &bytes);
            }
            (Message::Eof(Stream::Stdin), Some(process)) => self.channel.close_stdin(process),
            (Message::Eof(stream), Some(process)) => self.channel.reader_gone(process, output(stream)?),
            (Message::Credit(stream, bytes), Some(process)) => {
                if client.backlog() > CLIENT_BACKLOG {
                    return Err(Offence);
                }
                self.channel.passed_on(process, output(stream)?, bytes);
            }
            // About a process that has ended meanwhile.
            (Message::Request(_) | Message::Data(..) | Message::Eof(_) | Message::Credit(..), None) => {}
            (Message::Reply(_) | Message::Data(..), _) => return Err(Offence),
        }
        Ok(())
    }

    /// Starts the processes that wait, if there is anything to start them beside.
    pub(super) fn start_waiting(&mut self) {
        let state = self.state();
        let (ready, over) = (state.phase == Phase::Running, state.phase == Phase::Stopping);
        let no_entry = self.boot.no_entry;
        if !ready && !over {
            return;
        }
        for client in &mut self.clients.list {
            let Task::Waits(exec) = &client.task else { continue };
            if over {
                client.refuse("the machine is about to end");
            } else if let Some(why) = no_entry {
                client.turn_away(why);
            } else {
                match self.channel.exec(guests(exec.clone())) {
                    Ok(process) => client.task = Task::Runs(process),
                    Err(too_long) => client.refuse(&format!("cannot start the process: {too_long}")),
                }
            }
        }
    }

    // ---- what QEMU says to them ----

    fn ask_qemu(&mut self, client: u64, question: &Question) {
        let sent = match question {
            _ if self.phase != super::Phase::Running || !self.qmp_open => Err("QEMU is not to be asked now".to_owned()),
            Question::UserNetwork => self
                .qmp
                .send(command::human_monitor_command { cpu_index: None, command_line: "info usernet".into() })
                .map_err(|error| error.to_string()),
            Question::Screendump(path) => self
                .qmp
                .send(command::screendump {
                    filename: path.clone(),
                    device: None,
                    head: None,
                    format: Some(qapi::qmp::ImageFormat::png),
                })
                .map_err(|error| error.to_string()),
        };
        match sent {
            Ok(number) => self.clients.questions.push((number, client)),
            Err(why) => self.clients.find(client).into_iter().for_each(|c| c.reply(Reply::Monitor(Err(why.clone())))),
        }
    }

    /// QEMU's answer to one of its commands, which may be a client's question.
    pub(super) fn answered(&mut self, number: u64, result: Result<Value, String>) {
        let questions = &mut self.clients.questions;
        let Some(at) = questions.iter().position(|(known, _)| *known == number) else { return };
        let (_, client) = questions.swap_remove(at);
        let text = result.map(|value| value.as_str().unwrap_or_default().to_owned());
        if let Some(client) = self.clients.find(client) {
            client.reply(Reply::Monitor(text));
        }
    }

    // ---- what the guest says of their processes ----

    pub(super) fn client_started(&mut self, process: u32) {
        if let Some(client) = self.clients.of(process) {
            client.reply(Reply::Started);
        }
    }

    pub(super) fn client_data(&mut self, process: u32, output: Output, bytes: Vec<u8>) {
        match self.clients.of(process) {
            Some(client) => client.say(&Message::Data(stream(output), bytes)),
            None => self.channel.passed_on(process, output, bytes.len() as u32),
        }
    }

    pub(super) fn client_eof(&mut self, process: u32, output: Output) {
        if let Some(client) = self.clients.of(process) {
            client.say(&Message::Eof(stream(output)));
        }
    }

    pub(super) fn client_credit(&mut self, process: u32, bytes: u32) {
        if let Some(client) = self.clients.of(process) {
            client.say(&Message::Credit(Stream::Stdin, bytes));
        }
    }

    pub(super) fn client_ended(&mut self, process: u32, outcome: Workload) {
        if let Some(client) = self.clients.of(process) {
            client.task = Task::None;
            client.reply(Reply::Ended(outcome));
        }
    }

    // ---- once a turn ----

    /// Tells those who watch what has changed, and lets go of those who have gone.
    pub(super) fn look_after_clients(&mut self) {
        let state = self.state();
        if state != self.clients.told {
            self.clients.told = state.clone();
            for client in self.clients.list.iter_mut().filter(|client| client.watches) {
                client.reply(Reply::State(state.clone()));
            }
            self.start_waiting();
        }
        let Session { clients, channel, .. } = self;
        clients.list.retain(|client| {
            if client.line.open && client.backlog() <= CLIENT_BACKLOG + WINDOW as usize {
                return true;
            }
            if let Task::Runs(process) = client.task {
                channel.close_stdin(process);
                channel.reader_gone(process, Output::Stdout);
                channel.reader_gone(process, Output::Stderr);
                channel.signal(process, libc::SIGHUP);
            }
            false
        });
    }

    /// The machine was reset, and their processes are gone. Those who wait for a start wait for the next one.
    pub(super) fn clients_lost_their_processes(&mut self) {
        for client in self.clients.list.iter_mut().filter(|client| matches!(client.task, Task::Runs(_))) {
            client.refuse("the machine was reset");
        }
    }

    /// Nobody in the machine starts processes any more, or knows of those that run.
    pub(super) fn turn_clients_away(&mut self, why: NoEntry) {
        for client in self.clients.list.iter_mut().filter(|client| matches!(client.task, Task::Runs(_))) {
            client.turn_away(why);
        }
    }

    /// The machine has ended: they are told, and given what is left as long as they take it. All of them, those who
    /// do not watch too: a request that comes now is not read any more.
    pub(super) fn dismiss_clients(&mut self, finished: &Finished) {
        let (status, sentence) = (finished.outcome.status(), finished.outcome.sentence());
        for client in &mut self.clients.list {
            if !matches!(client.task, Task::None) {
                client.refuse("the machine has ended");
            }
            client.reply(Reply::Finished { status, sentence: sentence.clone() });
        }
        let mut patience = Instant::now() + LAST_READ;
        loop {
            let before: usize = self.clients.list.iter().map(Client::backlog).sum();
            self.clients.write();
            self.clients.list.retain(|client| client.line.open && client.backlog() > 0);
            let left: usize = self.clients.list.iter().map(Client::backlog).sum();
            if left < before {
                patience = Instant::now() + LAST_READ;
            }
            if left == 0 || self.hurry || Instant::now() >= patience {
                return;
            }
            let writable =
                |client: &Client| PollFlags::from_bits_retain(if client.backlog() > 0 { libc::POLLOUT } else { 0 });
            let clients = self.clients.list.iter();
            let mut fds: Vec<PollFd> =
                clients.map(|client| PollFd::new(client.line.socket.as_fd(), writable(client))).collect();
            _ = poll(&mut fds, PollTimeout::from(250u16));
            drop(fds);
            self.hurry = self.signals.arrived().iter().any(|&signal| signal != libc::SIGWINCH);
        }
    }
}

/// What PID 1 is asked for; the number is chosen by the channel.
pub(super) fn guests(exec: Exec) -> GuestExec {
    let what = Process {
        cmd: exec.command,
        env: exec.env,
        user: exec.user.unwrap_or_default(),
        working_dir: exec.working_dir.unwrap_or_default(),
        ..Process::default()
    };
    GuestExec { process: 0, what, terminal: exec.terminal, stdin: exec.stdin, copy: exec.copy }
}

fn stream(output: Output) -> Stream {
    match output {
        Output::Stdout => Stream::Stdout,
        Output::Stderr => Stream::Stderr,
    }
}

fn output(stream: Stream) -> Result<Output, Offence> {
    match stream {
        Stream::Stdin => Err(Offence),
        Stream::Stdout => Ok(Output::Stdout),
        Stream::Stderr => Ok(Output::Stderr),
    }
}
