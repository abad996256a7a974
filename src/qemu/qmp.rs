//! QEMU Machine Protocol over one end of a socket pair, without ever blocking.
//!
//! Commands are the crate `qapi`'s types. Its client is not used: it blocks, and one event that a newer QEMU has and the
//! crate does not know ends the conversation. Here an event is a name, and a name that means nothing to us is ignored.
//!
//! Source: QEMU, docs/interop/qmp-spec.txt.

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use qapi::{Command, Execute};
use serde_json::Value;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// The longest line QEMU sends us is far below this.
const LONGEST: usize = 1 << 20;

/// A message of QEMU's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// It is ready for `qmp_capabilities`; its version.
    Greeting {
        /// Major version.
        major: u64,
        /// Minor version.
        minor: u64,
    },
    /// The answer to a command, `Err` with its description when the command failed.
    Answer {
        /// The command's number, given by [`Qmp::send`].
        id: u64,
        /// What it returned.
        result: Result<Value, String>,
    },
    /// Something happened.
    Event {
        /// Its name, such as `SHUTDOWN`.
        name: String,
        /// Its data, `Null` when it has none.
        data: Value,
    },
}

/// A connection.
pub struct Qmp {
    socket: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    next: u64,
}

impl Qmp {
    /// Speaks over `socket`, which must not block.
    pub fn new(socket: UnixStream) -> Qmp {
        Qmp { socket, input: Vec::new(), output: Vec::new(), next: 1 }
    }

    /// The socket, to poll for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Queues a command and returns its number; [`flush`](Self::flush) sends it.
    pub fn send<C: Command>(&mut self, command: C) -> io::Result<u64> {
        let id = self.next;
        self.next += 1;
        serde_json::to_writer(&mut self.output, &Execute::with_id(command, id))?;
        self.output.push(b'\n');
        Ok(id)
    }

    /// Sends a command at once, with a descriptor that `getfd` names; it begins a message, so that QEMU finds it there.
    pub fn send_with<C: Command>(&mut self, command: C, fd: BorrowedFd<'_>) -> io::Result<u64> {
        self.flush()?;
        if self.wants_to_write() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let id = self.send(command)?;
        let line = std::mem::take(&mut self.output);
        let fds = [fd.as_raw_fd()];
        let with = [ControlMessage::ScmRights(&fds)];
        let sent = sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(&line)], &with, MsgFlags::empty(), None)?;
        self.output = line[sent..].to_vec();
        Ok(id)
    }

    /// Whether there is something to send.
    pub fn wants_to_write(&self) -> bool {
        !self.output.is_empty()
    }

    /// Sends what the socket takes.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(n) => drop(self.output.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there; `false` when QEMU has closed the connection.
    pub fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                // QEMU went with bytes of ours unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            }
            if self.input.len() > LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of QEMU's is too long"));
            }
        }
    }

    /// The next message of what was read.
    pub fn next_message(&mut self) -> io::Result<Option<Message>> {
        while let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            if let Some(message) = parse(serde_json::from_slice(&line)?) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

/// `None` for what later protocols may add.
fn parse(mut value: Value) -> Option<Message> {
    if let Some(Value::String(name)) = value.get("event") {
        let name = name.clone();
        return Some(Message::Event { name, data: value["data"].take() });
    }
    if let Some(greeting) = value.get("QMP") {
        let version = &greeting["version"]["qemu"];
        return Some(Message::Greeting { major: version["major"].as_u64()?, minor: version["minor"].as_u64()? });
    }
    let id = value.get("id").and_then(Value::as_u64).unwrap_or(0);
    if let Some(error) = value.get("error") {
        let text = error["desc"].as_str().unwrap_or("unknown error").to_owned();
        return Some(Message::Answer { id, result: Err(text) });
    }
    let result = value.get_mut("return")?.take();
    Some(Message::Answer { id, result: Ok(result) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_any_chunks() {
        let text = concat!(
            r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}"#,
            "\r\n",
            r#"{"return": {}, "id": 1}"#,
            "\r\n",
            r#"{"event": "A_LATER_ONE", "data": {"x": [1]}, "timestamp": {"seconds": 1, "microseconds": 2}}"#,
            "\r\n",
            r#"{"something": "else"}"#,
            "\r\n",
            r#"{"id": 2, "error": {"class": "NewClass", "desc": "no"}}"#,
            "\r\n",
        );
        let expected = [
            Message::Greeting { major: 7, minor: 2 },
            Message::Answer { id: 1, result: Ok(serde_json::json!({})) },
            Message::Event { name: "A_LATER_ONE".into(), data: serde_json::json!({"x": [1]}) },
            Message::Answer { id: 2, result: Err("no".into()) },
        ];
        for chunk in [1, 7, 4096] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let (mut qmp, mut got) = (Qmp::new(ours), Vec::new());
            for part in text.as_bytes().chunks(chunk) {
                theirs.write_all(part).unwrap();
                assert!(qmp.fill().unwrap());
                while let Some(message) = qmp.next_message().unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, expected, "chunks of {chunk}");
        }
    }

    #[test]
    fn what_is_not_qmp_is_an_error_and_an_end_is_an_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut qmp = Qmp::new(ours);
        theirs.write_all(b"Segmentation fault\n").unwrap();
        assert!(qmp.fill().unwrap());
        assert!(qmp.next_message().is_err());
        drop(theirs);
        assert!(!qmp.fill().unwrap());
    }

    #[test]
    fn commands_are_lines_with_a_number() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut qmp = Qmp::new(ours);
        qmp.send(qapi::qmp::cont {}).unwrap();
        qmp.flush().unwrap();
        assert!(!qmp.wants_to_write());
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(theirs), &mut line).unwrap();
        assert_eq!(line, "{\"execute\":\"cont\",\"arguments\":{},\"id\":1}\n");
    }
}
