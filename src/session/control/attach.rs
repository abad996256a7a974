//! A process in a running machine with this program's own standard streams, as `bootdisk exec` has it.
//!
//! Signals: SIGINT, SIGTERM and SIGQUIT go to the process, a second one ends this end of it; SIGHUP and a terminal that
//! has gone end it at once. Whenever this end goes first, the process gets SIGHUP.

use super::connection::{Connection, refused};
use super::error::ControlError;
use super::protocol::{Exec, MAX_DATA, Message, Reply, Request, Stream, WINDOW};
use crate::guest::channel::Outcome;
use crate::session::signals::Signals;
use crate::session::streams::{self, Bell, Streams, Writer, read_ready};
use crate::session::terminal::{self, Raw};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// How it came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// The process ended, or could not be started.
    Ended(Outcome),
    /// Its output could not be passed on whole: which stream, and why.
    Lost(String),
    /// This signal (or a terminal that has gone, as SIGHUP) ended our part of it.
    Left(i32),
}

/// Runs a process with these streams. What `exec` says about a terminal and standard input counts; a machine that still
/// boots is waited for.
///
/// # Errors
/// When the machine refuses or ends first.
pub fn attach(connection: Connection, exec: Exec, streams: Streams) -> Result<Attached, ControlError> {
    let host = |error| ControlError::Host { what: "use the standard streams", source: error };
    let mut attachment = Attachment::new(connection, &exec, streams).map_err(host)?;
    attachment.connection.send(&Message::Request(Request::Exec(exec)))?;
    let attached = attachment.run();
    attachment.flush();
    let lost = streams::lost(&attachment.writers);
    attached.map(|attached| if lost.is_empty() { attached } else { Attached::Lost(lost.join("; ")) })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Machine,
    Signals,
    Bell,
    Stdin,
}

struct Attachment {
    connection: Connection,
    stdin: OwnedFd,
    stdin_open: bool,
    is_terminal: bool,
    room: usize,
    started: bool,
    writers: [Writer; 2],
    reader_gone: [bool; 2],
    bell: Bell,
    signals: Signals,
    signalled: bool,
    raw: Option<Raw>,
    end: Option<Attached>,
}

const OUTPUTS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

impl Attachment {
    fn new(connection: Connection, exec: &Exec, streams: Streams) -> io::Result<Attachment> {
        let bell = Bell::new()?;
        Ok(Attachment {
            connection,
            stdin: streams.stdin,
            stdin_open: exec.stdin,
            is_terminal: exec.terminal.is_some(),
            room: WINDOW as usize,
            started: false,
            writers: [Writer::new(streams.stdout, &bell)?, Writer::new(streams.stderr, &bell)?],
            reader_gone: [false; 2],
            bell,
            signals: Signals::listen()?,
            signalled: false,
            raw: None,
            end: None,
        })
    }

    fn run(&mut self) -> Result<Attached, ControlError> {
        loop {
            for source in self.wait().map_err(|source| ControlError::Host { what: "wait for the machine", source })? {
                match source {
                    Source::Machine => self.hear()?,
                    Source::Signals => self.read_signals()?,
                    Source::Bell => self.bell.quiet(),
                    Source::Stdin => self.read_stdin()?,
                }
            }
            if let Some(end) = self.end.take() {
                return Ok(end);
            }
            self.give_credit()?;
        }
    }

    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = vec![
            (Source::Machine, self.connection.fd()),
            (Source::Signals, self.signals.fd()),
            (Source::Bell, self.bell.fd()),
        ];
        if self.started && self.stdin_open && self.room > 0 {
            sources.push((Source::Stdin, self.stdin.as_fd()));
        }
        let mut fds: Vec<PollFd> = sources.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
        let ready = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
        Ok(sources.iter().zip(&fds).filter(|(_, fd)| ready(fd)).map(|((source, _), _)| *source).collect())
    }

    fn hear(&mut self) -> Result<(), ControlError> {
        self.connection.fill()?;
        while self.end.is_none() {
            match self.connection.next_arrived()? {
                Some(Message::Data(stream, bytes)) => match OUTPUTS.iter().position(|&output| output == stream) {
                    Some(output) => self.writers[output].write(bytes),
                    None => return Err(ControlError::protocol("data of standard input")),
                },
                Some(Message::Credit(Stream::Stdin, bytes)) => self.room += bytes as usize,
                Some(Message::Reply(Reply::Started)) => self.begin(),
                Some(Message::Reply(Reply::Ended(outcome))) => self.end = Some(Attached::Ended(outcome)),
                Some(Message::Reply(Reply::Refused(reason))) => return Err(refused(&reason)),
                Some(Message::Reply(Reply::NoEntry(why))) => return Err(why.into()),
                Some(Message::Reply(Reply::Finished { .. })) => return Err(ControlError::Ended),
                Some(_) => {}
                None if self.connection.is_closed() => return Err(ControlError::Ended),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Raw mode, and only now: until here, Ctrl-C is for us.
    fn begin(&mut self) {
        self.started = true;
        if self.is_terminal && self.stdin_open {
            match Raw::enter(self.stdin.as_fd()) {
                Ok(raw) => self.raw = Some(raw),
                Err(_) => self.end = Some(Attached::Left(libc::SIGHUP)),
            }
        }
    }

    fn read_signals(&mut self) -> Result<(), ControlError> {
        for signal in self.signals.arrived() {
            if signal == libc::SIGWINCH {
                if let (true, Some((rows, cols))) = (self.is_terminal, terminal::size(self.stdin.as_fd())) {
                    self.connection.send(&Message::Request(Request::Resize { rows, cols }))?;
                }
            } else if signal == libc::SIGHUP || self.signalled || !self.started {
                self.end = Some(Attached::Left(signal));
            } else {
                self.signalled = true;
                self.connection.signal(signal)?;
            }
        }
        Ok(())
    }

    fn read_stdin(&mut self) -> Result<(), ControlError> {
        let mut buffer = [0; MAX_DATA];
        let n = self.room.min(buffer.len());
        match read_ready(self.stdin.as_fd(), &mut buffer[..n]) {
            Some(0) => Ok(()),
            Some(n) => {
                self.room -= n;
                self.connection.send(&Message::Data(Stream::Stdin, buffer[..n].to_vec()))
            }
            // A raw terminal has no end of file but its own.
            None if self.raw.is_some() => {
                self.end = Some(Attached::Left(libc::SIGHUP));
                Ok(())
            }
            None => {
                self.stdin_open = false;
                self.connection.send(&Message::Eof(Stream::Stdin))
            }
        }
    }

    /// What was written, the machine may send again; what nobody reads any more, it need not send.
    fn give_credit(&mut self) -> Result<(), ControlError> {
        for (output, stream) in OUTPUTS.into_iter().enumerate() {
            let n = self.writers[output].passed_on();
            if n > 0 {
                self.connection.send(&Message::Credit(stream, n as u32))?;
            }
            if self.writers[output].broken() && !self.reader_gone[output] {
                self.reader_gone[output] = true;
                self.connection.send(&Message::Eof(stream))?;
            }
        }
        Ok(())
    }

    /// Waits until the output is out, or a signal says that nobody waits for it.
    fn flush(&mut self) {
        while !self.writers.iter().all(Writer::idle) {
            if streams::wait_for_writers(&mut self.writers, &mut self.bell, &mut self.signals) {
                return;
            }
        }
    }
}
