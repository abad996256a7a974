//! The host channel: frames on the virtio-serial port `org.bootdisk.0` between `bootdisk run` and PID 1.
//!
//! ```text
//! offset  0        4      5         8          12
//!         stream   kind   zero (3)  length     payload (length bytes, at most 65,536)
//!         u32 LE   u8               u32 LE
//! ```
//!
//! Stream 0 is the control stream: its payloads are JSON documents. A document longer than a payload comes in pieces:
//! frames of kind 255 ([`PIECE`]) with its beginning, then one of its own kind with the rest; nothing else is on stream 0
//! in between. Only the host sends such documents, because only a user's words are that long.
//!
//! A process has a number (the workload is 0, each `exec` takes the next) and three streams: `4 n + 1` standard input
//! (host to guest), `4 n + 2` standard output and `4 n + 3` standard error (guest to host). With a terminal, output and
//! error are one: `4 n + 2`.
//!
//! Flow control: the sender of a stream may have [`WINDOW`] bytes of [`Kind::Data`] outstanding; the receiver gives
//! credit back with [`Kind::Credit`] (payload: u32 LE, bytes) as it passes them on. Control frames need no credit.
//!
//! Order of a session: the guest opens the port and sends [`Kind::Hello`]; the host answers [`Kind::Welcome`]; the
//! guest starts the workload ([`Kind::Started`]), data flows, the workload ends: the guest sends what is left of its
//! output, [`Kind::Eof`] on each output stream, then [`Kind::Result`] with the nonce of the welcome; when every file
//! system is synced and unmounted it sends [`Kind::Done`] and powers off. Where the image's own init takes PID 1's
//! place, [`Kind::HandedOver`] comes instead of [`Kind::Started`]. What follows is of the processes that the host asks
//! for, from the caretaker that stays beside the init, unless the init cannot be executed: then its [`Kind::Result`]
//! follows.
//!
//! A machine that goes on from a saved state goes on with its conversation: the host sends [`Kind::Resumed`] first, to a
//! guest whose hello says that it knows this.
//!
//! Not supported: more than one host on the port; reconnection of a host within one boot.

use super::health::Healthcheck;
use super::mounts::Mount;
use super::network::{Card, Network};
use super::restart::Restart;
use super::spec::Process;
use super::surroundings::{Limit, Surroundings};
use crate::copy::Copy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name of the virtio-serial port, as `/sys/class/virtio-ports/*/name` has it.
pub const PORT: &str = "org.bootdisk.0";
/// Version of the protocol in hello and welcome. Either side refuses a different one.
pub const VERSION: u32 = 1;
/// Bytes of a frame's header.
pub const HEADER: usize = 12;
/// Largest payload of a frame, in bytes.
pub const MAX_PAYLOAD: usize = 65_536;
/// Largest document in pieces, in bytes. Linux takes 2 MiB of arguments and environment together beside a stack of
/// 8 MiB (execve(2)), and JSON makes up to six bytes of one.
pub const MAX_DOCUMENT: usize = 16 << 20;
/// The kind of a frame with a piece of a document that is not the last one.
pub const PIECE: u8 = 255;
/// Bytes of data a sender may have outstanding on one stream before it needs credit.
pub const WINDOW: u32 = 262_144;
/// The control stream.
pub const CONTROL: u32 = 0;

/// Standard input of process `n`.
pub const fn stdin_of(n: u32) -> u32 {
    4 * n + 1
}
/// Standard output of process `n`, and its terminal's output.
pub const fn stdout_of(n: u32) -> u32 {
    4 * n + 2
}
/// Standard error of process `n`.
pub const fn stderr_of(n: u32) -> u32 {
    4 * n + 3
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Guest to host, control: [`Hello`].
    Hello = 1,
    /// Host to guest, control: [`Welcome`].
    Welcome = 2,
    /// Bytes of a stream.
    Data = 3,
    /// No more data will come on this stream. Empty payload. From the host on an output stream: nobody reads it any
    /// more, and the guest closes it, so that its writer meets a closed pipe.
    Eof = 4,
    /// Credit for a stream: u32 LE, bytes.
    Credit = 5,
    /// Guest to host, control: [`Started`].
    Started = 6,
    /// Guest to host, control: [`Ended`].
    Result = 7,
    /// Guest to host, control: every file system is clean, power-off follows. Empty payload.
    Done = 8,
    /// Guest to host, control: [`Log`], a line of PID 1 itself.
    Log = 9,
    /// Host to guest, control: [`Signal`].
    Signal = 10,
    /// Host to guest, control: [`Resize`].
    Resize = 11,
    /// Host to guest, control: stop the workload as its stop signal and timeout say, then power off. [`Stop`].
    Stop = 12,
    /// Host to guest, control: start another process, [`Exec`].
    Exec = 13,
    /// Guest to host, control: the image's own init takes PID 1's place, [`HandedOver`]. No result of it follows; the
    /// machine's power-off is its end.
    HandedOver = 14,
    /// Guest to host, control: the workload has ended and starts again, [`Restarting`]. [`Kind::Started`] follows, or a
    /// result. Only to a host whose welcome says that it knows this.
    Restarting = 15,
    /// Host to guest, control: the machine was saved and goes on now, [`Resumed`].
    Resumed = 16,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub fn from_u8(value: u8) -> Option<Kind> {
        use Kind::*;
        [
            Hello, Welcome, Data, Eof, Credit, Started, Result, Done, Log, Signal, Resize, Stop, Exec, HandedOver,
            Restarting, Resumed,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == value)
    }
}

/// First frame of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u32,
    /// Version of the bootdisk that wrote the disk.
    pub bootdisk: String,
    /// `uname -r` of the running kernel.
    pub kernel: String,
    /// Milliseconds since the kernel began.
    #[serde(default)]
    pub uptime: Option<u64>,
    /// It knows restart policies.
    #[serde(default)]
    pub restarts: bool,
    /// It knows [`Kind::Resumed`].
    #[serde(default)]
    pub resumes: bool,
}

/// First frame of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`VERSION`].
    pub version: u32,
    /// 32 hexadecimal digits the workload cannot know; every result carries them.
    pub nonce: String,
    /// Seconds since the epoch on the host, for a guest whose clock is wrong.
    #[serde(default)]
    pub time: u64,
    /// Serial number of the disk that was booted, where the host gave it one.
    #[serde(default)]
    pub disk_serial: Option<String>,
    /// What differs from the disk's own boot specification.
    #[serde(default)]
    pub overrides: Overrides,
    /// The workload gets a pseudo-terminal as its standard streams.
    #[serde(default)]
    pub terminal: Option<Terminal>,
    /// The host will send the workload's standard input; otherwise it is /dev/null.
    #[serde(default)]
    pub stdin: bool,
    /// Value for /proc/sys/kernel/panic: what the kernel does after a panic; absent leaves it alone.
    #[serde(default)]
    pub panic: Option<i32>,
    /// The host knows [`Kind::Restarting`].
    #[serde(default)]
    pub restarts: bool,
}

/// Changes to the boot specification for this boot only. An absent field changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Replaces the entrypoint and clears the command, as `docker run --entrypoint` does.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the command.
    #[serde(default)]
    pub cmd: Option<Vec<String>>,
    /// Put before the environment, whose values of the same names go; of equal names here the last one counts. A name
    /// without `=` only takes that value away.
    #[serde(default)]
    pub env: Vec<String>,
    /// Replaces the user.
    #[serde(default)]
    pub user: Option<String>,
    /// Replaces the working directory.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Replaces the host name.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Replaces the stop signal.
    #[serde(default)]
    pub stop_signal: Option<String>,
    /// Replaces the stop timeout, in seconds.
    #[serde(default)]
    pub stop_timeout: Option<u32>,
    /// Mounts the root read-only, whatever the specification says.
    #[serde(default)]
    pub read_only: Option<bool>,
    /// Keeps every write in memory, whatever the specification says.
    #[serde(default)]
    pub ephemeral: Option<bool>,
    /// Replaces the configuration of the network.
    #[serde(default)]
    pub network: Option<Network>,
    /// Replaces how long the workload waits for the network, in seconds.
    #[serde(default)]
    pub wait_online: Option<u32>,
    /// Put on top of what the workload finds around it.
    #[serde(default)]
    pub surroundings: Surroundings,
    /// Put on top of its resource limits.
    #[serde(default)]
    pub ulimits: BTreeMap<String, Limit>,
    /// Mounted in its root for this boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Cards beside the first, configured before anything starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<Card>,
    /// Put on top of the image's health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Replaces what follows the workload's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
}

impl Overrides {
    /// The health check, where the specification has this one.
    pub fn health(&self, specified: Option<&Healthcheck>) -> Option<Healthcheck> {
        match &self.healthcheck {
            Some(given) => Some(given.clone().over(specified)),
            None => specified.cloned(),
        }
    }

    /// An option that was given and that older disks know nothing of.
    pub fn unknown_to_older_disks(&self) -> Option<&'static str> {
        self.surroundings.given().or((!self.ulimits.is_empty()).then_some("--ulimit"))
    }
}

/// A terminal's name and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Value of `TERM`.
    pub term: String,
    /// Rows; 0 when unknown.
    pub rows: u16,
    /// Columns; 0 when unknown.
    pub cols: u16,
}

/// A process began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its number; the workload is 0.
    pub process: u32,
}

/// A process ended, or could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its number; the workload is 0.
    pub process: u32,
    /// The nonce of the welcome.
    pub nonce: String,
    /// What happened to it.
    pub outcome: Outcome,
    /// The kernel's out-of-memory killer ended it or something in its machine.
    #[serde(default)]
    pub oom: bool,
}

/// PID 1 is about to execute the image's own init.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// The nonce of the welcome.
    pub nonce: String,
    /// Path of that init in the image.
    pub init: String,
    /// Nobody there listens to the power button; Ctrl-Alt-Del is understood.
    #[serde(default)]
    pub no_button: bool,
    /// A process of ours stays, which starts others and asks the init to switch off. Disks of older versions leave none.
    #[serde(default)]
    pub caretaker: bool,
}

/// The workload has ended, and starts again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarting {
    /// The nonce of the welcome.
    pub nonce: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Milliseconds until it starts.
    pub pause: u64,
    /// How often it was started again, this time with it.
    pub count: u32,
}

/// Why a process beside the workload has no status of its own: it went with the workload.
pub const WORKLOAD_HAS_ENDED: &str = "the workload has ended, and every process beside it with it";

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// exit(status), 0 to 255.
    Exited(u8),
    /// Killed by this signal.
    Signaled(u8),
    /// Never started. `status` is a runtime's: 127 command not found, 126 not executable, 125 anything else.
    NotStarted {
        /// 125, 126 or 127.
        status: u8,
        /// One sentence, lower case, with the offending value.
        reason: String,
    },
}

impl Outcome {
    /// The exit status a shell or container runtime would report: the status, or 128 + signal.
    pub fn status(&self) -> u8 {
        match *self {
            Outcome::Exited(status) => status,
            Outcome::Signaled(signal) => 128u8.saturating_add(signal),
            Outcome::NotStarted { status, .. } => status,
        }
    }
}

/// A line of PID 1 about the machine, never about the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// How much it matters.
    pub level: Level,
    /// One line.
    pub text: String,
    /// Somebody who waits for the workload wants to see it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub note: bool,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Progress of the boot.
    Info,
    /// Something is missing or odd, and the boot goes on.
    Warning,
    /// The machine cannot do its work.
    Error,
}

/// A signal for a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Which process.
    pub process: u32,
    /// Signal number.
    pub signal: i32,
}

/// New size of a process's terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// Which process.
    pub process: u32,
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// What a machine that was saved cannot know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// Milliseconds since the epoch on the host.
    pub time: u64,
    /// Randomness of the host's for the kernel: every machine that goes on from one state has the same of its own.
    pub seed: Vec<u8>,
}

/// Stop the workload and the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Seconds to wait before SIGKILL, instead of the specification's.
    #[serde(default)]
    pub timeout: Option<u32>,
}

/// Another process beside the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Its number, chosen by the host, never used before in this boot.
    pub process: u32,
    /// What to start; the environment is the workload's with this one's added.
    pub what: Process,
    /// A pseudo-terminal, if wanted.
    #[serde(default)]
    pub terminal: Option<Terminal>,
    /// The host will send standard input.
    #[serde(default)]
    pub stdin: bool,
    /// Files are copied instead, and `what` is [`crate::copy::COMMAND`].
    #[serde(default)]
    pub copy: Option<Copy>,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The stream it belongs to.
    pub stream: u32,
    /// What it is.
    pub kind: Kind,
    /// At most [`MAX_PAYLOAD`] bytes; of a control frame at most [`MAX_DOCUMENT`].
    pub payload: Vec<u8>,
}

impl Frame {
    /// A control frame with a JSON document.
    ///
    /// # Panics
    /// Never for the types of this file: their keys are strings.
    pub fn control<T: Serialize>(kind: Kind, message: &T) -> Frame {
        let payload = serde_json::to_vec(message).expect("a message of this file is always JSON");
        Frame { stream: CONTROL, kind, payload }
    }

    /// Appends header and payload to `out`, in pieces if need be. The error is the payload's length when it is too long.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), usize> {
        encode_raw(self.stream, self.kind as u8, &self.payload, out)
    }
}

/// Appends a frame of any kind: the control connection of a running machine has the same frames with kinds of its own.
/// The error is the payload's length when it is above [`MAX_DOCUMENT`] on the control stream, or [`MAX_PAYLOAD`].
pub fn encode_raw(stream: u32, kind: u8, payload: &[u8], out: &mut Vec<u8>) -> Result<(), usize> {
    if payload.len() > if stream == CONTROL { MAX_DOCUMENT } else { MAX_PAYLOAD } {
        return Err(payload.len());
    }
    let mut rest = payload;
    while let Some((piece, more)) = rest.split_at_checked(MAX_PAYLOAD).filter(|(_, more)| !more.is_empty()) {
        append(stream, PIECE, piece, out);
        rest = more;
    }
    append(stream, kind, rest, out);
    Ok(())
}

fn append(stream: u32, kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&stream.to_le_bytes());
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// No kind has this number.
    UnknownKind(u8),
    /// The header's zero bytes are not zero.
    Reserved,
    /// The header announces more than [`MAX_PAYLOAD`] bytes.
    TooLong(u32),
    /// The pieces of a document are together more than [`MAX_DOCUMENT`] bytes.
    DocumentTooLong,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::UnknownKind(kind) => write!(f, "frame of unknown kind {kind}"),
            FrameError::Reserved => write!(f, "frame with non-zero reserved bytes"),
            FrameError::TooLong(len) => write!(f, "frame of {len} bytes, more than {MAX_PAYLOAD}"),
            FrameError::DocumentTooLong => write!(f, "document of more than {MAX_DOCUMENT} bytes"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Collects bytes as they arrive and gives out whole frames.
#[derive(Clone, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    takes_pieces: bool,
    document: Vec<u8>,
}

impl Decoder {
    /// One that takes documents in pieces too, and so may hold [`MAX_DOCUMENT`] bytes.
    pub fn with_pieces() -> Decoder {
        Decoder { takes_pieces: true, ..Decoder::default() }
    }

    /// Adds what was read from the port.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > MAX_PAYLOAD {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, `None` when more bytes are needed. After an error the connection is of no more use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let frame = self.next_raw(|kind| Kind::from_u8(kind).is_some())?;
        Ok(frame.and_then(|(stream, kind, payload)| Some(Frame { stream, kind: Kind::from_u8(kind)?, payload })))
    }

    /// The next whole frame's stream, kind and payload, where the kinds are those that `known` knows.
    pub fn next_raw(&mut self, known: impl Fn(u8) -> bool) -> Result<Option<(u32, u8, Vec<u8>)>, FrameError> {
        while let Some((stream, kind, payload)) = self.next_piece(&known)? {
            if stream != CONTROL || !self.takes_pieces {
                return Ok(Some((stream, kind, payload)));
            }
            if self.document.len() + payload.len() > MAX_DOCUMENT {
                return Err(FrameError::DocumentTooLong);
            }
            self.document.extend(payload);
            if kind != PIECE {
                return Ok(Some((stream, kind, std::mem::take(&mut self.document))));
            }
        }
        Ok(None)
    }

    fn next_piece(&mut self, known: impl Fn(u8) -> bool) -> Result<Option<(u32, u8, Vec<u8>)>, FrameError> {
        let bytes = &self.buffer[self.start..];
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (stream, kind) = (word(0), header[4]);
        let is_piece = kind == PIECE && stream == CONTROL && self.takes_pieces;
        if !is_piece && !known(kind) {
            return Err(FrameError::UnknownKind(kind));
        }
        if header[5..8] != [0; 3] {
            return Err(FrameError::Reserved);
        }
        let length = word(8);
        if length as usize > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        let end = HEADER + length as usize;
        if bytes.len() < end {
            return Ok(None);
        }
        let frame = (stream, kind, bytes[HEADER..end].to_vec());
        self.start += end;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_chunking() {
        let frames = [
            Frame::control(Kind::Signal, &Signal { process: 0, signal: 15 }),
            Frame { stream: stdout_of(0), kind: Kind::Data, payload: vec![7; MAX_PAYLOAD] },
            Frame { stream: stderr_of(3), kind: Kind::Eof, payload: vec![] },
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.encode(&mut bytes).unwrap();
        }
        for chunk in [1, 5, 11, 12, 13, 4096, bytes.len()] {
            let (mut decoder, mut got) = (Decoder::default(), Vec::new());
            for part in bytes.chunks(chunk) {
                decoder.feed(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, frames, "chunks of {chunk}");
        }
    }

    #[test]
    fn damaged_headers_are_named() {
        let mut header = [0u8; HEADER];
        header[4] = 99;
        let mut decoder = Decoder::default();
        decoder.feed(&header);
        assert_eq!(decoder.next_frame(), Err(FrameError::UnknownKind(99)));

        header[4] = Kind::Data as u8;
        header[8..].copy_from_slice(&65_537u32.to_le_bytes());
        let mut decoder = Decoder::default();
        decoder.feed(&header);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(65_537)));
    }

    #[test]
    fn long_documents_come_in_pieces_and_have_an_end() {
        let long = |length| Frame { stream: CONTROL, kind: Kind::Welcome, payload: vec![b'x'; length] };
        let short = Frame { stream: stdout_of(0), kind: Kind::Eof, payload: vec![] };
        for length in [0, 1, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 3 * MAX_PAYLOAD, 300_001, MAX_DOCUMENT] {
            let (mut decoder, mut bytes) = (Decoder::with_pieces(), Vec::new());
            long(length).encode(&mut bytes).unwrap();
            short.encode(&mut bytes).unwrap();
            for part in bytes.chunks(50_000) {
                decoder.feed(part);
            }
            // Not by assert_eq!, whose message would be all of it.
            assert!(decoder.next_frame() == Ok(Some(long(length))), "{length}");
            assert_eq!(decoder.next_frame(), Ok(Some(short.clone())));
            assert_eq!(decoder.next_frame(), Ok(None));
        }
        assert_eq!(long(MAX_DOCUMENT + 1).encode(&mut Vec::new()), Err(MAX_DOCUMENT + 1));
        let data = Frame { stream: stdin_of(0), kind: Kind::Data, payload: vec![0; MAX_PAYLOAD + 1] };
        assert_eq!(data.encode(&mut Vec::new()), Err(MAX_PAYLOAD + 1));

        let mut endless = Decoder::with_pieces();
        let mut piece = Vec::new();
        append(CONTROL, PIECE, &[0; MAX_PAYLOAD], &mut piece);
        let refused = (0..=MAX_DOCUMENT / MAX_PAYLOAD).find_map(|_| {
            endless.feed(&piece);
            endless.next_frame().err()
        });
        assert_eq!(refused, Some(FrameError::DocumentTooLong));
    }

    #[test]
    fn pieces_are_for_those_who_asked_for_them_and_on_the_control_stream_only() {
        for (stream, mut decoder) in [(CONTROL, Decoder::default()), (stdin_of(0), Decoder::with_pieces())] {
            let mut bytes = Vec::new();
            append(stream, PIECE, b"x", &mut bytes);
            decoder.feed(&bytes);
            assert_eq!(decoder.next_frame(), Err(FrameError::UnknownKind(PIECE)));
        }
    }
}
