//! The host's end of the host channel, as a value: bytes in, bytes out, no IO.
//!
//! The protocol is [`crate::guest::channel`]. This end keeps the credit of every stream, believes a result only when it
//! carries the nonce, and refuses a guest that breaks the rules: what it may make us hold in memory is
//! [`WINDOW`] a stream.
//!
//! One addition to the protocol, which a guest may ignore: [`Kind::Eof`] from the host on an output stream says that
//! nobody reads it any more. The guest closes its end of the pipe, so that the writer gets EPIPE as it would from a
//! shell's pipeline.

use crate::guest::channel::{
    CONTROL, Decoder, Ended, Exec, Frame, FrameError, HandedOver, Hello, Kind, Log, MAX_DOCUMENT, Outcome, Resize,
    Restarting, Resumed, Signal, Started, Stop, VERSION, WINDOW, Welcome, stderr_of, stdin_of, stdout_of,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// The workload's number.
pub const WORKLOAD: u32 = 0;

/// Which of a process's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Output {
    /// Standard output, or the terminal's.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Output {
    fn of(self, process: u32) -> u32 {
        match self {
            Output::Stdout => stdout_of(process),
            Output::Stderr => stderr_of(process),
        }
    }
}

/// What the guest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// PID 1 is there and waits for [`Channel::welcome`].
    Hello(Hello),
    /// A process began.
    Started(u32),
    /// A process wrote. [`Channel::passed_on`] gives the credit back.
    Data {
        /// Its number.
        process: u32,
        /// Where to.
        output: Output,
        /// What.
        bytes: Vec<u8>,
    },
    /// A process will write no more there.
    Eof {
        /// Its number.
        process: u32,
        /// Where.
        output: Output,
    },
    /// So many more bytes of standard input may be sent to a process: [`Channel::stdin_room`] has grown by them.
    Credit {
        /// Its number.
        process: u32,
        /// How many.
        bytes: u32,
    },
    /// A process ended, proven by the nonce.
    Result {
        /// Its number.
        process: u32,
        /// How it ended.
        outcome: Outcome,
        /// The kernel's out-of-memory killer was at work.
        oom: bool,
    },
    /// PID 1's place goes to the image's own init, proven by the nonce.
    HandedOver {
        /// Path of that init, as the guest tells it.
        init: String,
        /// It hears no power button, and understands Ctrl-Alt-Del.
        no_button: bool,
        /// A process of ours stays beside it.
        caretaker: bool,
    },
    /// The workload has ended and starts again, proven by the nonce.
    Restarting {
        /// How it ended.
        outcome: Outcome,
        /// How often it was started again, this time with it.
        count: u32,
        /// The time until then.
        pause: Duration,
    },
    /// Every file system is clean.
    Done,
    /// A line of PID 1.
    Log(Log),
}

/// How a guest broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Not a frame.
    #[error("{0}")]
    Frame(FrameError),
    /// A control frame whose document is not what its kind says.
    #[error("message of kind {0} is not understood: {1}")]
    Message(u8, String),
    /// Another version.
    #[error("it speaks version {0} of the protocol and this program version {VERSION}")]
    Version(u32),
    /// Something before the hello.
    #[error("frame of kind {0} before the hello")]
    BeforeHello(u8),
    /// A frame that only the host sends, or on a stream that is not the guest's.
    #[error("frame of kind {0} on stream {1}")]
    Unexpected(u8, u32),
    /// More data than there was credit for.
    #[error("more data than credit on stream {0}")]
    Overrun(u32),
}

/// A message of ours that no guest takes: its length in bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message to the guest is longer than {MAX_DOCUMENT} bytes: {0}")]
pub struct TooLong(pub usize);

/// One conversation with one PID 1.
#[derive(Clone, Default)]
pub struct Channel {
    decoder: Decoder,
    output: Vec<u8>,
    sent: usize,
    hello: bool,
    nonce: Option<String>,
    next_process: u32,
    /// Data we have and have not passed on, by output stream; closed streams are not in it.
    held: BTreeMap<u32, u32>,
    /// Data we may still send, by input stream; closed streams are not in it.
    room: BTreeMap<u32, u32>,
}

impl Channel {
    /// A conversation that the guest will open.
    pub fn new() -> Channel {
        Channel { next_process: WORKLOAD + 1, ..Channel::default() }
    }

    /// Adds bytes of the port.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// The next thing the guest says, `None` when more bytes are needed. After an error the conversation is over.
    pub fn next_incoming(&mut self) -> Result<Option<Incoming>, ProtocolError> {
        while let Some(frame) = self.decoder.next_frame().map_err(ProtocolError::Frame)? {
            if let Some(incoming) = self.accept(frame)? {
                return Ok(Some(incoming));
            }
        }
        Ok(None)
    }

    /// What one frame means; `None` for credit that came too late and for what is not believed.
    fn accept(&mut self, frame: Frame) -> Result<Option<Incoming>, ProtocolError> {
        let unexpected = ProtocolError::Unexpected(frame.kind as u8, frame.stream);
        if !self.hello && frame.kind != Kind::Hello {
            return Err(ProtocolError::BeforeHello(frame.kind as u8));
        }
        let control = frame.stream == CONTROL;
        Ok(match frame.kind {
            Kind::Hello if control && !self.hello => {
                let hello: Hello = document(&frame)?;
                if hello.version != VERSION {
                    return Err(ProtocolError::Version(hello.version));
                }
                self.hello = true;
                Some(Incoming::Hello(hello))
            }
            Kind::Started if control => Some(Incoming::Started(document::<Started>(&frame)?.process)),
            Kind::Result if control => {
                let Ended { process, nonce, outcome, oom } = document(&frame)?;
                let believed = self.nonce.as_deref() == Some(nonce.as_str());
                if believed && process != WORKLOAD {
                    // Its number is never used again, and not every stream was ended.
                    self.forget(process);
                }
                believed.then_some(Incoming::Result { process, outcome, oom })
            }
            Kind::HandedOver if control => {
                let HandedOver { nonce, init, no_button, caretaker } = document(&frame)?;
                let believed = self.nonce.as_deref() == Some(nonce.as_str());
                believed.then_some(Incoming::HandedOver { init, no_button, caretaker })
            }
            Kind::Restarting if control => {
                let Restarting { nonce, outcome, pause, count } = document(&frame)?;
                let pause = Duration::from_millis(pause);
                let believed = self.nonce.as_deref() == Some(nonce.as_str());
                believed.then_some(Incoming::Restarting { outcome, count, pause })
            }
            Kind::Done if control => Some(Incoming::Done),
            Kind::Log if control => Some(Incoming::Log(document(&frame)?)),
            Kind::Data => {
                let held = self.held.get_mut(&frame.stream).ok_or(unexpected)?;
                *held = held.saturating_add(frame.payload.len() as u32);
                if *held > WINDOW {
                    return Err(ProtocolError::Overrun(frame.stream));
                }
                let (process, output) = owner(frame.stream);
                Some(Incoming::Data { process, output, bytes: frame.payload })
            }
            Kind::Eof => {
                self.held.remove(&frame.stream).ok_or(unexpected)?;
                let (process, output) = owner(frame.stream);
                Some(Incoming::Eof { process, output })
            }
            Kind::Credit => {
                let bytes = u32::from_le_bytes(frame.payload.as_slice().try_into().map_err(|_| unexpected.clone())?);
                // Credit may cross our own end of the stream on its way.
                let Some(room) = self.room.get_mut(&frame.stream) else { return Ok(None) };
                *room = room.checked_add(bytes).filter(|&room| room <= WINDOW).ok_or(unexpected)?;
                Some(Incoming::Credit { process: owner(frame.stream).0, bytes })
            }
            _ => return Err(unexpected),
        })
    }

    /// Answers the hello. The nonce is made here, from the system's randomness; `welcome.nonce` is ignored.
    pub fn welcome(&mut self, mut welcome: Welcome) -> io::Result<Result<(), TooLong>> {
        // 128 bits nobody in the guest can guess.
        let nonce = crate::random::text()?;
        welcome.version = VERSION;
        welcome.nonce.clone_from(&nonce);
        self.nonce = Some(nonce);
        self.open_streams(WORKLOAD, welcome.stdin);
        Ok(self.control(Kind::Welcome, &welcome))
    }

    /// Starts another process; its number is chosen here.
    pub fn exec(&mut self, mut exec: Exec) -> Result<u32, TooLong> {
        exec.process = self.next_process;
        self.control(Kind::Exec, &exec)?;
        self.next_process += 1;
        self.open_streams(exec.process, exec.stdin);
        Ok(exec.process)
    }

    /// Standard error too where a terminal leaves it silent: a guest may end it all the same.
    fn open_streams(&mut self, process: u32, stdin: bool) {
        self.held.insert(stdout_of(process), 0);
        self.held.insert(stderr_of(process), 0);
        if stdin {
            self.room.insert(stdin_of(process), WINDOW);
        }
    }

    fn forget(&mut self, process: u32) {
        self.held.remove(&stdout_of(process));
        self.held.remove(&stderr_of(process));
        self.room.remove(&stdin_of(process));
    }

    /// Bytes of standard input that may be sent now; `None` when it is closed or was never open.
    pub fn stdin_room(&self, process: u32) -> Option<u32> {
        self.room.get(&stdin_of(process)).copied()
    }

    /// Sends standard input, at most [`stdin_room`](Self::stdin_room) and 65,536 bytes; returns how many were taken.
    pub fn send_stdin(&mut self, process: u32, bytes: &[u8]) -> usize {
        let stream = stdin_of(process);
        let Some(room) = self.room.get_mut(&stream) else { return 0 };
        let n = bytes.len().min(*room as usize).min(crate::guest::channel::MAX_PAYLOAD);
        if n > 0 {
            *room -= n as u32;
            self.frame(stream, Kind::Data, bytes[..n].to_vec());
        }
        n
    }

    /// Ends standard input.
    pub fn close_stdin(&mut self, process: u32) {
        if self.room.remove(&stdin_of(process)).is_some() {
            self.frame(stdin_of(process), Kind::Eof, Vec::new());
        }
    }

    /// `bytes` of an output have been passed on: the guest may send as many more.
    pub fn passed_on(&mut self, process: u32, output: Output, bytes: u32) {
        let stream = output.of(process);
        let Some(held) = self.held.get_mut(&stream) else { return };
        let bytes = bytes.min(*held);
        *held -= bytes;
        if bytes > 0 {
            self.frame(stream, Kind::Credit, bytes.to_le_bytes().to_vec());
        }
    }

    /// Nobody reads an output any more.
    pub fn reader_gone(&mut self, process: u32, output: Output) {
        if self.held.contains_key(&output.of(process)) {
            self.frame(output.of(process), Kind::Eof, Vec::new());
        }
    }

    /// Sends a signal to a process.
    pub fn signal(&mut self, process: u32, signal: i32) {
        self.small(Kind::Signal, &Signal { process, signal });
    }

    /// Tells the new size of a process's terminal.
    pub fn resize(&mut self, process: u32, rows: u16, cols: u16) {
        self.small(Kind::Resize, &Resize { process, rows, cols });
    }

    /// Tells a machine that goes on what it cannot know.
    pub fn resumed(&mut self, resumed: &Resumed) {
        self.small(Kind::Resumed, resumed);
    }

    /// Asks for the end of the workload and the machine.
    pub fn stop(&mut self, timeout: Option<u32>) {
        self.small(Kind::Stop, &Stop { timeout });
    }

    /// Forgets the guest: the machine was reset and another PID 1 will say hello. What was not sent yet is still sent,
    /// because half a frame may be on its way: until its welcome, a guest skips what was meant for its predecessor.
    pub fn restart(&mut self) {
        let (output, sent) = (std::mem::take(&mut self.output), self.sent);
        *self = Channel { output, sent, ..Channel::new() };
    }

    /// What is to be written to the port.
    pub fn output(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// `n` bytes of [`output`](Self::output) were written.
    pub fn wrote(&mut self, n: usize) {
        self.sent += n;
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        } else if self.sent > WINDOW as usize {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn control<T: serde::Serialize>(&mut self, kind: Kind, message: &T) -> Result<(), TooLong> {
        Frame::control(kind, message).encode(&mut self.output).map_err(TooLong)
    }

    /// A control message of a few numbers, which always fits.
    fn small<T: serde::Serialize>(&mut self, kind: Kind, message: &T) {
        _ = self.control(kind, message);
    }

    /// A frame whose payload the caller has kept within limits.
    fn frame(&mut self, stream: u32, kind: Kind, payload: Vec<u8>) {
        _ = Frame { stream, kind, payload }.encode(&mut self.output);
    }
}

fn owner(stream: u32) -> (u32, Output) {
    let process = stream / 4;
    (process, if stream == stdout_of(process) { Output::Stdout } else { Output::Stderr })
}

fn document<T: DeserializeOwned>(frame: &Frame) -> Result<T, ProtocolError> {
    serde_json::from_slice(&frame.payload).map_err(|error| ProtocolError::Message(frame.kind as u8, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes).unwrap());
        bytes
    }

    fn hello(version: u32) -> Frame {
        Frame::control(
            Kind::Hello,
            &Hello { version, bootdisk: "0".into(), kernel: "6".into(), uptime: None, restarts: true, resumes: true },
        )
    }

    fn data(stream: u32, bytes: usize) -> Frame {
        Frame { stream, kind: Kind::Data, payload: vec![b'x'; bytes] }
    }

    fn ended(nonce: &str) -> Frame {
        let outcome = Outcome::Exited(3);
        Frame::control(Kind::Result, &Ended { process: 0, nonce: nonce.into(), outcome, oom: false })
    }

    /// A conversation past its welcome, and the nonce.
    fn open(stdin: bool) -> (Channel, String) {
        let mut channel = Channel::new();
        channel.feed(&guest(&[hello(VERSION)]));
        assert!(matches!(channel.next_incoming(), Ok(Some(Incoming::Hello(_)))));
        channel.welcome(Welcome { stdin, ..Welcome::default() }).unwrap().unwrap();
        let frame = sent(&mut channel).remove(0);
        let welcome: Welcome = serde_json::from_slice(&frame.payload).unwrap();
        assert_eq!((frame.kind, welcome.version, welcome.nonce.len()), (Kind::Welcome, VERSION, 32));
        (channel, welcome.nonce)
    }

    fn sent(channel: &mut Channel) -> Vec<Frame> {
        let mut decoder = Decoder::default();
        decoder.feed(channel.output());
        channel.wrote(channel.output().len());
        std::iter::from_fn(|| decoder.next_frame().unwrap()).collect()
    }

    #[test]
    fn a_result_needs_the_nonce() {
        let (mut channel, nonce) = open(false);
        let other = open(false).1;
        assert_ne!(nonce, other);
        channel.feed(&guest(&[ended(""), ended(&other), ended(&nonce.to_uppercase().replace('0', "g"))]));
        assert_eq!(channel.next_incoming(), Ok(None));
        channel.feed(&guest(&[ended(&nonce)]));
        let expected = Incoming::Result { process: 0, outcome: Outcome::Exited(3), oom: false };
        assert_eq!(channel.next_incoming(), Ok(Some(expected)));
    }

    #[test]
    fn rules_that_end_the_conversation() {
        let signal = Frame::control(Kind::Signal, &Signal { process: 0, signal: 9 });
        let short = Frame { stream: CONTROL, kind: Kind::Log, payload: b"{}".to_vec() };
        let credit = Frame { stream: stdin_of(0), kind: Kind::Credit, payload: 1u32.to_le_bytes().to_vec() };
        let eof = Frame { stream: stdout_of(0), kind: Kind::Eof, payload: vec![] };
        type Check = fn(&ProtocolError) -> bool;
        let cases: [(&str, Vec<Frame>, Check); 8] = [
            ("a host's frame", vec![signal], |e| matches!(e, ProtocolError::Unexpected(10, 0))),
            ("a second hello", vec![hello(VERSION)], |e| matches!(e, ProtocolError::Unexpected(1, 0))),
            ("data of no process", vec![data(stdout_of(7), 1)], |e| matches!(e, ProtocolError::Unexpected(3, 30))),
            ("data on the control stream", vec![data(CONTROL, 1)], |e| matches!(e, ProtocolError::Unexpected(3, 0))),
            ("data on an input", vec![data(stdin_of(0), 1)], |e| matches!(e, ProtocolError::Unexpected(3, 1))),
            ("data after its end", vec![eof, data(stdout_of(0), 1)], |e| matches!(e, ProtocolError::Unexpected(3, 2))),
            ("half a message", vec![short], |e| matches!(e, ProtocolError::Message(9, _))),
            ("credit above the window", vec![credit], |e| matches!(e, ProtocolError::Unexpected(5, 1))),
        ];
        for (what, frames, check) in cases {
            let (mut channel, _) = open(true);
            channel.feed(&guest(&frames));
            let error = std::iter::from_fn(|| channel.next_incoming().transpose()).find_map(Result::err);
            assert!(error.as_ref().is_some_and(check), "{what}: {error:?}");
        }
        for (frame, expected) in
            [(hello(VERSION + 1), ProtocolError::Version(VERSION + 1)), (data(2, 1), ProtocolError::BeforeHello(3))]
        {
            let mut channel = Channel::new();
            channel.feed(&guest(&[frame]));
            assert_eq!(channel.next_incoming(), Err(expected));
        }
    }

    #[test]
    fn the_guest_may_send_a_window_and_no_byte_more() {
        let (mut channel, _) = open(false);
        let full = vec![data(stdout_of(0), 65_536); 4];
        channel.feed(&guest(&full));
        for _ in 0..4 {
            assert!(matches!(channel.next_incoming(), Ok(Some(Incoming::Data { .. }))));
        }
        channel.passed_on(0, Output::Stdout, 10);
        let credit = sent(&mut channel);
        assert_eq!((credit[0].stream, credit[0].kind, &credit[0].payload[..]), (2, Kind::Credit, &[10, 0, 0, 0][..]));
        // The other stream has a window of its own.
        channel.feed(&guest(&[data(stderr_of(0), 65_536), data(stdout_of(0), 10)]));
        assert!(matches!(channel.next_incoming(), Ok(Some(Incoming::Data { output: Output::Stderr, .. }))));
        assert!(matches!(channel.next_incoming(), Ok(Some(Incoming::Data { output: Output::Stdout, .. }))));
        channel.feed(&guest(&[data(stdout_of(0), 1)]));
        assert_eq!(channel.next_incoming(), Err(ProtocolError::Overrun(2)));
    }

    #[test]
    fn standard_input_waits_for_credit() {
        let (mut channel, _) = open(true);
        let bytes = vec![1; WINDOW as usize + 1];
        let mut taken = 0;
        while channel.stdin_room(0) > Some(0) {
            taken += channel.send_stdin(0, &bytes[taken..]);
        }
        assert_eq!(taken, WINDOW as usize);
        assert_eq!(channel.send_stdin(0, b"x"), 0);
        channel.feed(&guest(&[Frame { stream: 1, kind: Kind::Credit, payload: 5u32.to_le_bytes().to_vec() }]));
        assert_eq!(channel.next_incoming(), Ok(Some(Incoming::Credit { process: 0, bytes: 5 })));
        assert_eq!(channel.stdin_room(0), Some(5));
        sent(&mut channel);
        channel.close_stdin(0);
        channel.close_stdin(0);
        let frames = sent(&mut channel);
        assert_eq!(frames, [Frame { stream: 1, kind: Kind::Eof, payload: vec![] }]);
        assert_eq!((channel.stdin_room(0), channel.send_stdin(0, b"x")), (None, 0));
        // Credit that was under way is no offence.
        channel.feed(&guest(&[Frame { stream: 1, kind: Kind::Credit, payload: 9u32.to_le_bytes().to_vec() }]));
        assert_eq!(channel.next_incoming(), Ok(None));
    }

    #[test]
    fn exec_opens_streams_of_its_own() {
        let (mut channel, nonce) = open(false);
        let exec = || Exec { process: 0, what: Default::default(), terminal: None, stdin: true, copy: None };
        assert_eq!((channel.exec(exec()), channel.exec(exec())), (Ok(1), Ok(2)));
        let frames = sent(&mut channel);
        let second: Exec = serde_json::from_slice(&frames[1].payload).unwrap();
        assert_eq!((frames[1].kind, second.process), (Kind::Exec, 2));
        let result = Ended { process: 2, nonce, outcome: Outcome::Signaled(9), oom: false };
        channel.feed(&guest(&[data(stderr_of(2), 3), Frame::control(Kind::Result, &result)]));
        let bytes = b"xxx".to_vec();
        assert_eq!(channel.next_incoming(), Ok(Some(Incoming::Data { process: 2, output: Output::Stderr, bytes })));
        let result = Incoming::Result { process: 2, outcome: Outcome::Signaled(9), oom: false };
        assert_eq!(channel.next_incoming(), Ok(Some(result)));
        assert_eq!((channel.stdin_room(1), channel.stdin_room(2)), (Some(WINDOW), None));

        let mut long = exec();
        long.what.cmd = vec!["x".repeat(MAX_DOCUMENT)];
        assert!(matches!(channel.exec(long), Err(TooLong(n)) if n > MAX_DOCUMENT));
        assert_eq!(channel.output(), b"");
    }
}
