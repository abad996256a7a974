//! A process in a running machine whose output is collected: what a test wants.

use super::connection::{Connection, refused};
use super::error::ControlError;
use super::protocol::{Exec, MAX_DATA, Message, Reply, Request, Stream, WINDOW};
use crate::guest::channel::Outcome;
use std::time::Instant;

/// What a process wrote and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// How it ended, or why it could not be started.
    pub outcome: Outcome,
    /// Its standard output, the first bytes of it.
    pub stdout: Vec<u8>,
    /// Its standard error, the first bytes of it.
    pub stderr: Vec<u8>,
    /// It wrote more than was kept.
    pub cut: bool,
}

impl Connection {
    /// Runs a process to its end. `input` becomes its standard input; of each output at most `limit` bytes are kept, the
    /// rest is read and thrown away. A machine that still boots is waited for.
    ///
    /// # Errors
    /// When the machine refuses, ends first, or the deadline passes; the process is then sent SIGHUP as soon as this
    /// connection is dropped.
    pub fn capture(
        &mut self,
        exec: Exec,
        input: &[u8],
        limit: usize,
        deadline: Option<Instant>,
    ) -> Result<Captured, ControlError> {
        let exec = Exec { stdin: !input.is_empty(), ..exec };
        let mut captured = Captured { outcome: Outcome::Exited(0), stdout: vec![], stderr: vec![], cut: false };
        if let Some(Reply::Ended(outcome)) = self.exec(exec, deadline)? {
            return Ok(Captured { outcome, ..captured });
        }
        let (mut rest, mut room) = (input, WINDOW as usize);
        loop {
            self.send_some(&mut rest, &mut room)?;
            match self.receive(deadline)? {
                Some(Message::Data(stream, bytes)) => {
                    let kept = if stream == Stream::Stdout { &mut captured.stdout } else { &mut captured.stderr };
                    let n = bytes.len().min(limit.saturating_sub(kept.len()));
                    kept.extend_from_slice(&bytes[..n]);
                    captured.cut |= n < bytes.len();
                    self.send(&Message::Credit(stream, bytes.len() as u32))?;
                }
                Some(Message::Credit(Stream::Stdin, bytes)) => room += bytes as usize,
                Some(Message::Reply(Reply::Ended(outcome))) => return Ok(Captured { outcome, ..captured }),
                Some(Message::Reply(Reply::Refused(reason))) => return Err(refused(&reason)),
                Some(Message::Reply(Reply::NoEntry(why))) => return Err(why.into()),
                Some(Message::Reply(Reply::Finished { .. })) | None => return Err(ControlError::Ended),
                Some(_) => {}
            }
        }
    }

    /// Sends input as far as there is room, and its end with its last byte.
    fn send_some(&mut self, rest: &mut &[u8], room: &mut usize) -> Result<(), ControlError> {
        while !rest.is_empty() && *room > 0 {
            let (now, later) = rest.split_at(rest.len().min(*room).min(MAX_DATA));
            self.send(&Message::Data(Stream::Stdin, now.to_vec()))?;
            (*rest, *room) = (later, *room - now.len());
            if later.is_empty() {
                self.send(&Message::Eof(Stream::Stdin))?;
            }
        }
        Ok(())
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// When the machine has ended.
    pub fn signal(&mut self, signal: i32) -> Result<(), ControlError> {
        self.send(&Message::Request(Request::Signal(signal)))
    }
}
