//! A client's end of a control connection.

use super::error::ControlError;
use super::protocol::{Checked, Exec, Message, Messages, Question, Reply, Request, State, VERSION};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// QEMU answers a question within this time.
const ANSWER: Duration = Duration::from_secs(10);

/// A conversation with the session of one machine. Dropping it ends the process it has.
pub struct Connection {
    socket: UnixStream,
    messages: Messages,
    state: State,
    closed: bool,
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// Exit status of its `run`.
    pub status: u8,
    /// Why, where the status does not say it all. Printable.
    pub sentence: Option<String>,
}

impl Connection {
    /// Takes a connected socket and waits for the session's hello, until the deadline if there is one.
    ///
    /// # Errors
    /// When the machine has ended, does not answer in time, or is of another version.
    pub fn over(socket: UnixStream, deadline: Option<Instant>) -> Result<Connection, ControlError> {
        let state = State::unknown();
        let mut connection = Connection { socket, messages: Messages::default(), state, closed: false };
        match connection.receive(deadline)? {
            Some(Message::Reply(Reply::Hello { version: VERSION, state })) => connection.state = state,
            Some(Message::Reply(Reply::Hello { version, .. })) => {
                return Err(ControlError::Version { theirs: version, ours: VERSION });
            }
            Some(Message::Reply(Reply::Refused(reason))) => return Err(refused(&reason)),
            Some(_) => return Err(ControlError::protocol("no hello")),
            None => return Err(ControlError::Ended),
        }
        Ok(connection)
    }

    /// The machine's state, as last told: at the hello, and while watching at every change.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Says something.
    ///
    /// # Errors
    /// When the machine has ended, or a request is longer than any machine takes.
    pub fn send(&mut self, message: &Message) -> Result<(), ControlError> {
        let mut bytes = Vec::new();
        let long = |length| ControlError::Refused(format!("command and environment are too long: {length} bytes"));
        message.encode(&mut bytes).map_err(long)?;
        self.socket.write_all(&bytes).map_err(ControlError::host("speak to the machine"))
    }

    /// The next message; `None` when the other end is closed.
    ///
    /// # Errors
    /// When the deadline passes, or what comes is not understood.
    pub fn receive(&mut self, deadline: Option<Instant>) -> Result<Option<Message>, ControlError> {
        loop {
            if let Some(message) = self.next_arrived()? {
                return Ok(Some(message));
            }
            if self.closed {
                return Ok(None);
            }
            wait_until_readable(self.socket.as_fd(), deadline)?;
            self.fill()?;
        }
    }

    /// A message that is here already.
    pub(super) fn next_arrived(&mut self) -> Result<Option<Message>, ControlError> {
        let message = self.messages.next_message()?;
        if let Some(Message::Reply(Reply::State(state))) = &message {
            self.state = state.clone();
        }
        Ok(message)
    }

    /// Reads once, what is there.
    pub(super) fn fill(&mut self) -> Result<(), ControlError> {
        let mut buffer = [0; 65_536];
        match self.socket.read(&mut buffer) {
            Ok(0) => self.closed = true,
            Ok(n) => self.messages.feed(&buffer[..n]),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.closed = true,
            Err(source) => return Err(ControlError::Host { what: "hear the machine", source }),
        }
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Asks for a process, and waits until it runs. A machine that still boots is waited for.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with the machine's reason. A command that cannot be started is no error but the first
    /// message after this, [`Reply::Ended`]; it is then returned.
    pub fn exec(&mut self, exec: Exec, deadline: Option<Instant>) -> Result<Option<Reply>, ControlError> {
        self.send(&Message::Request(Request::Exec(exec)))?;
        loop {
            match self.receive(deadline)? {
                Some(Message::Reply(Reply::Started)) => return Ok(None),
                Some(Message::Reply(ended @ Reply::Ended(_))) => return Ok(Some(ended)),
                Some(Message::Reply(Reply::Refused(reason))) => return Err(refused(&reason)),
                Some(Message::Reply(Reply::NoEntry(why))) => return Err(why.into()),
                Some(Message::Reply(Reply::Finished { .. })) | None => return Err(ControlError::Ended),
                // What is left of an earlier process.
                Some(_) => {}
            }
        }
    }

    /// Asks the machine to stop; see [`Request::Stop`]. Returns at once.
    ///
    /// # Errors
    /// When the machine has ended.
    pub fn stop(&mut self, timeout: Option<u32>) -> Result<(), ControlError> {
        self.send(&Message::Request(Request::Stop { timeout }))
    }

    /// Ends the machine at once, as pulling its plug does. Returns at once.
    ///
    /// # Errors
    /// When the machine has ended.
    pub fn quit(&mut self) -> Result<(), ControlError> {
        self.send(&Message::Request(Request::Quit))
    }

    /// Has the machine saved, which ends it: one that was started for that.
    ///
    /// # Errors
    /// When the machine has ended.
    pub fn save(&mut self) -> Result<(), ControlError> {
        self.send(&Message::Request(Request::Save))
    }

    /// The connections of QEMU's user network, as its monitor prints them: `info usernet`.
    ///
    /// # Errors
    /// When the machine ends first, or QEMU refuses.
    pub fn user_network(&mut self) -> Result<String, ControlError> {
        self.ask(Question::UserNetwork)
    }

    /// Has QEMU write a picture of the screen to an absolute path, as PNG.
    ///
    /// # Errors
    /// When there is no display, QEMU cannot write there, or the machine ends first.
    pub fn screendump(&mut self, path: &Path) -> Result<(), ControlError> {
        let path = path.to_str().ok_or_else(|| ControlError::Refused("a path that is not UTF-8".into()))?;
        self.ask(Question::Screendump(path.to_owned())).map(drop)
    }

    /// The last results of the health check, the newest last.
    ///
    /// # Errors
    /// When the machine ends first, or the deadline passes.
    pub fn health(&mut self, deadline: Option<Instant>) -> Result<Vec<Checked>, ControlError> {
        self.send(&Message::Request(Request::Health))?;
        loop {
            match self.receive(deadline)? {
                Some(Message::Reply(Reply::Health(results))) => return Ok(results),
                Some(Message::Reply(Reply::Finished { .. })) | None => return Err(ControlError::Ended),
                Some(_) => {}
            }
        }
    }

    fn ask(&mut self, question: Question) -> Result<String, ControlError> {
        self.send(&Message::Request(Request::Monitor(question)))?;
        let deadline = Some(Instant::now() + ANSWER);
        loop {
            match self.receive(deadline)? {
                Some(Message::Reply(Reply::Monitor(answer))) => return answer.map_err(|why| refused(&why)),
                Some(Message::Reply(Reply::Finished { .. })) | None => return Err(ControlError::Ended),
                Some(_) => {}
            }
        }
    }

    /// Waits until `wanted` is true of the machine's state.
    ///
    /// # Errors
    /// When the machine ends first, or the deadline passes.
    #[cfg(test)]
    pub fn wait_until(
        &mut self,
        wanted: impl Fn(&State) -> bool,
        deadline: Option<Instant>,
    ) -> Result<(), ControlError> {
        self.send(&Message::Request(Request::Watch))?;
        while !wanted(&self.state) {
            match self.receive(deadline)? {
                Some(Message::Reply(Reply::Finished { .. })) | None => return Err(ControlError::Ended),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Waits for the machine's end; `None` when its `run` was killed and nobody knows how it ended.
    ///
    /// # Errors
    /// When the deadline passes.
    pub fn wait_for_end(&mut self, deadline: Option<Instant>) -> Result<Option<Finish>, ControlError> {
        loop {
            match self.receive(deadline)? {
                Some(Message::Reply(Reply::Finished { status, sentence })) => {
                    return Ok(Some(Finish { status, sentence: sentence.map(|text| printable(&text)) }));
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }
}

/// What another program says is escaped once more than it should have done, and its backslashes kept.
fn printable(text: &str) -> String {
    crate::escape::escape(text.as_bytes()).replace("\\\\", "\\")
}

pub(super) fn refused(reason: &str) -> ControlError {
    ControlError::Refused(printable(reason))
}

fn wait_until_readable(fd: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<(), ControlError> {
    loop {
        let timeout = match deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(ControlError::TimedOut);
                }
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Ok(0) => {}
            Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(ControlError::Host { what: "wait for the machine", source: errno.into() }),
        }
    }
}
