//! The control connection: what a client and the session of a running machine say to each other.
//!
//! The frames are those of the host channel ([`crate::guest::channel`]), with these streams and kinds:
//!
//! ```text
//! stream 0  control    kind 1  client to session: a Request, JSON
//!                      kind 2  session to client: a Reply, JSON
//!                      kind 255  a piece of a long one
//! stream 1  input      kind 3  data          kind 4  end, empty
//! stream 2  output     kind 5  credit: u32 LE, bytes
//! stream 3  error
//! ```
//!
//! The session begins with [`Reply::Hello`]. A client then asks for one process at a time ([`Request::Exec`]); streams 1
//! to 3 are that process's, from [`Reply::Started`] to [`Reply::Ended`]. As on the host channel the sender of a stream
//! may have [`WINDOW`] bytes outstanding, and the receiver gives credit back as it passes them on. An end from the
//! client on an output says that it reads no more of it.
//!
//! A client that goes takes its process with it: end of input, closed outputs, SIGHUP.

use super::error::ControlError;
use super::no_entry::NoEntry;
use crate::copy::Copy;
use crate::guest::channel::{Decoder, MAX_PAYLOAD, Outcome, Terminal, encode_raw};
use serde::{Deserialize, Serialize};

pub use crate::guest::channel::WINDOW;

/// Version of this protocol, in the hello.
pub const VERSION: u32 = 1;

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const DATA: u8 = 3;
const EOF: u8 = 4;
const CREDIT: u8 = 5;

/// A stream of the process a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard input, client to session.
    Stdin = 1,
    /// Standard output, or the terminal's.
    Stdout = 2,
    /// Standard error.
    Stderr = 3,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Start a process beside the workload. Before the workload has started, the answer waits for it.
    Exec(Exec),
    /// Send this signal to the connection's process.
    Signal(i32),
    /// The connection's terminal has this size now.
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// End the machine as its image says: stop signal, `timeout` seconds (absent: the image's), SIGKILL, power off. Asked
    /// again, a shorter timeout counts.
    Stop {
        /// Seconds before SIGKILL.
        timeout: Option<u32>,
    },
    /// Tell every change of the machine's state from here on.
    Watch,
    /// End the machine at once, as pulling its plug does. What it has not written is lost.
    Quit,
    /// Save the machine and end it, where that was prepared.
    Save,
    /// The last results of the health check. Answered by [`Reply::Health`].
    Health,
    /// Ask QEMU about the machine. Answered by [`Reply::Monitor`].
    Monitor(Question),
}

/// What QEMU can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// The connections of its user network, as the monitor's `info usernet` prints them.
    UserNetwork,
    /// To write a picture of the screen, as PNG, to this absolute path. Nothing is answered but that it is done.
    Screendump(String),
}

/// A process to start beside the workload. What is absent is the workload's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// `NAME=VALUE`, added to the workload's environment.
    pub env: Vec<String>,
    /// `user[:group]`, by name or number.
    pub user: Option<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Gets a terminal of this name and size.
    pub terminal: Option<Terminal>,
    /// Standard input will be sent; otherwise it is /dev/null.
    pub stdin: bool,
    /// Files are copied instead, as root.
    #[serde(default)]
    pub copy: Option<Copy>,
}

/// How far a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its workload has not started.
    Booting,
    /// Its workload runs, or its own init does.
    Running,
    /// It was asked to stop, or its workload has ended.
    Stopping,
}

impl Phase {
    /// One word for people.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Booting => "booting",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
        }
    }
}

/// What a machine is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far it is.
    pub phase: Phase,
    /// The image's own init has the machine.
    pub own_init: bool,
    /// What the health check says; absent without one, and where nothing can be started to ask.
    #[serde(default)]
    pub health: Option<Health>,
    /// How often the workload was started again.
    #[serde(default)]
    pub restarts: u32,
}

impl State {
    /// Nothing is known yet.
    pub fn unknown() -> State {
        State { phase: Phase::Booting, own_init: false, health: None, restarts: 0 }
    }

    /// One word for people.
    pub fn name(&self) -> &'static str {
        match self.phase {
            Phase::Booting if self.restarts > 0 => "restarting",
            phase => phase.name(),
        }
    }
}

/// What a health check says, in docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing is known yet.
    Starting,
    /// The last check succeeded, or not enough of them have failed since one did.
    Healthy,
    /// So many failed in a row that it counts.
    Unhealthy,
}

impl Health {
    /// One word for people.
    pub fn name(self) -> &'static str {
        match self {
            Health::Starting => "starting",
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        }
    }
}

/// What came of one health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Seconds since the epoch at its start.
    pub at: u64,
    /// Milliseconds that it took.
    pub took: u64,
    /// Its exit status; -1 for one that did not end by itself.
    pub exit_code: i32,
    /// The beginning of what it wrote to standard output and standard error. Not escaped.
    pub output: String,
}

/// What the session answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// First of all.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// Now.
        state: State,
    },
    /// The state has changed.
    State(State),
    /// The process runs.
    Started,
    /// The process has ended, or could not be started. All its output came before.
    Ended(Outcome),
    /// No, or no longer: one sentence.
    Refused(String),
    /// Nothing can be started beside the image's own init.
    NoEntry(NoEntry),
    /// The last results of the health check, the newest last.
    Health(Vec<Checked>),
    /// What QEMU answered; `Err` when it refused.
    Monitor(Result<String, String>),
    /// The machine has ended; the connection closes.
    Finished {
        /// Exit status of its `run`.
        status: u8,
        /// Why, where the status does not say it all.
        sentence: Option<String>,
    },
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Of the client.
    Request(Request),
    /// Of the session.
    Reply(Reply),
    /// Bytes of a stream, at most [`MAX_PAYLOAD`].
    Data(Stream, Vec<u8>),
    /// A stream's end.
    Eof(Stream),
    /// So many bytes more of a stream may come.
    Credit(Stream, u32),
}

impl Message {
    /// Appends the frame to `out`. The error is the length of a payload that does not fit.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), usize> {
        match self {
            Message::Request(request) => encode_raw(0, REQUEST, &json(request), out),
            Message::Reply(reply) => encode_raw(0, REPLY, &json(reply), out),
            Message::Data(stream, bytes) => encode_raw(*stream as u32, DATA, bytes, out),
            Message::Eof(stream) => encode_raw(*stream as u32, EOF, &[], out),
            Message::Credit(stream, bytes) => encode_raw(*stream as u32, CREDIT, &bytes.to_le_bytes(), out),
        }
    }
}

/// The types of this file have string keys and no maps, so they are always JSON.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Collects bytes and gives out whole messages.
pub struct Messages(Decoder);

/// Either end is this user's, so long commands are taken from both.
impl Default for Messages {
    fn default() -> Messages {
        Messages(Decoder::with_pieces())
    }
}

impl Messages {
    /// Adds what was read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.0.feed(bytes);
    }

    /// The next message, `None` when more bytes are needed. After an error the connection is of no more use.
    pub fn next_message(&mut self) -> Result<Option<Message>, ControlError> {
        let frame = self.0.next_raw(|kind| (REQUEST..=CREDIT).contains(&kind)).map_err(ControlError::protocol)?;
        frame.map(|(stream, kind, payload)| parse(stream, kind, payload)).transpose()
    }
}

fn parse(stream: u32, kind: u8, payload: Vec<u8>) -> Result<Message, ControlError> {
    let odd = || ControlError::protocol(format!("frame of kind {kind} on stream {stream}"));
    let which = match stream {
        0 if kind == REQUEST => {
            return serde_json::from_slice(&payload).map(Message::Request).map_err(ControlError::protocol);
        }
        0 if kind == REPLY => {
            return serde_json::from_slice(&payload).map(Message::Reply).map_err(ControlError::protocol);
        }
        1 => Stream::Stdin,
        2 => Stream::Stdout,
        3 => Stream::Stderr,
        _ => return Err(odd()),
    };
    match kind {
        DATA => Ok(Message::Data(which, payload)),
        EOF if payload.is_empty() => Ok(Message::Eof(which)),
        CREDIT => {
            let bytes = payload.as_slice().try_into().map_err(|_| odd())?;
            Ok(Message::Credit(which, u32::from_le_bytes(bytes)))
        }
        _ => Err(odd()),
    }
}

/// Most bytes of one message of data.
pub const MAX_DATA: usize = MAX_PAYLOAD;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_chunking() {
        let exec = Exec { command: vec!["cat".into()], stdin: true, ..Exec::default() };
        let long = Exec { env: vec!["x".repeat(300_000)], ..Exec::default() };
        let messages = [
            Message::Request(Request::Exec(exec)),
            Message::Request(Request::Exec(long)),
            Message::Request(Request::Watch),
            Message::Reply(Reply::Ended(Outcome::Signaled(9))),
            Message::Reply(Reply::State(State {
                phase: Phase::Running,
                own_init: false,
                health: Some(Health::Healthy),
                restarts: 3,
            })),
            Message::Data(Stream::Stdin, vec![1; MAX_DATA]),
            Message::Eof(Stream::Stderr),
            Message::Credit(Stream::Stdout, 70_000),
        ];
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut bytes).unwrap());
        for chunk in [1, 13, 4096, bytes.len()] {
            let (mut decoder, mut got) = (Messages::default(), Vec::new());
            for part in bytes.chunks(chunk) {
                decoder.feed(part);
                while let Some(message) = decoder.next_message().unwrap() {
                    got.push(message);
                }
            }
            assert!(got == messages, "chunks of {chunk}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (stream, kind, payload) in [
            (0, 1, &b"{}"[..]),
            (0, 2, b"\"watch\""),
            (0, 3, b"x"),
            (4, 3, b"x"),
            (2, 5, b"x"),
            (1, 4, b"x"),
            (1, 1, b""),
        ] {
            let (mut bytes, mut decoder) = (Vec::new(), Messages::default());
            encode_raw(stream, kind, payload, &mut bytes).unwrap();
            decoder.feed(&bytes);
            assert!(decoder.next_message().is_err(), "stream {stream}, kind {kind}");
        }
        let mut decoder = Messages::default();
        decoder.feed(b"GET / HTTP/1.1\r\n\r\n");
        assert!(decoder.next_message().is_err());
        assert!(Message::Data(Stream::Stdin, vec![0; MAX_DATA + 1]).encode(&mut Vec::new()).is_err());
    }
}
