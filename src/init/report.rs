//! From a child that is being set up to PID 1: log lines, the terminal it made, and why it could not start.
//!
//! A sequenced-packet socket pair, closed on exec: its end without a failure means the program runs.
//!
//! ```text
//! byte 0   'L' log line: level (1 byte), text
//!          'T' terminal: the master's descriptor travels beside it
//!          'F' failure: status (1 byte), text
//! ```

use super::failure::Failure;
use crate::guest::channel::{Level, Log};
use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Bytes of text in one message; more is cut.
const TEXT_LIMIT: usize = 4096;

/// The child's end.
pub struct Reporter(OwnedFd);

/// PID 1's end, non-blocking.
pub struct Reports(OwnedFd);

/// One message.
#[derive(Debug)]
pub enum Report {
    /// A line for the log.
    Log(Log),
    /// The master side of the child's pseudo-terminal.
    Terminal(OwnedFd),
    /// The child ends without having become its program.
    Failed(Failure),
}

/// Both ends.
pub fn pair() -> nix::Result<(Reporter, Reports)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (child, parent) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    Ok((Reporter(child), Reports(parent)))
}

impl Reporter {
    /// Sends a log line.
    pub fn log(&self, entry: &Log) {
        let level = match entry.level {
            Level::Info => 0,
            Level::Warning => 1,
            Level::Error => 2,
        };
        self.send(&message(b'L', level, &entry.text), &[]);
    }

    /// Sends the master side of a terminal.
    pub fn terminal(&self, master: BorrowedFd) {
        self.send(b"T", &[ControlMessage::ScmRights(&[master.as_raw_fd()])]);
    }

    /// Sends why the program did not start.
    pub fn failed(&self, failure: &Failure) {
        self.send(&message(b'F', failure.status, &failure.reason), &[]);
    }

    fn send(&self, bytes: &[u8], control: &[ControlMessage]) {
        // A full socket or a parent that is gone: nobody is left to tell.
        _ = sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None);
    }

    /// A second handle on the same socket.
    pub fn duplicate(&self) -> std::io::Result<Reporter> {
        Ok(Reporter(self.0.try_clone()?))
    }
}

fn message(tag: u8, number: u8, text: &str) -> Vec<u8> {
    let mut end = text.len().min(TEXT_LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    [&[tag, number], &text.as_bytes()[..end]].concat()
}

impl Reports {
    /// The next message; `Ok(None)` at the end; `EAGAIN` when there is none yet.
    pub fn next(&self) -> nix::Result<Option<Report>> {
        let mut buffer = [0u8; TEXT_LIMIT + 2];
        let mut space = cmsg_space!(RawFd);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        let mut descriptor = None;
        for control in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = control {
                // SAFETY: the kernel has just made these descriptors for us; nobody else owns them.
                descriptor = raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).next();
            }
        }
        let length = received.bytes;
        Ok(decode(&buffer[..length], descriptor))
    }
}

fn decode(bytes: &[u8], descriptor: Option<OwnedFd>) -> Option<Report> {
    let text = |from: usize| String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned();
    let number = bytes.get(1).copied().unwrap_or(0);
    match (bytes.first()?, descriptor) {
        (b'L', _) => {
            let level = [Level::Info, Level::Warning, Level::Error][usize::from(number.min(2))];
            Some(Report::Log(Log { level, text: text(2), note: false }))
        }
        (b'T', Some(master)) => Some(Report::Terminal(master)),
        (b'F', _) => Some(Report::Failed(Failure { status: number, reason: text(2) })),
        _ => Some(Report::Failed(Failure::machine("the child's set-up sent a message PID 1 does not know"))),
    }
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn messages_and_descriptors_arrive_and_the_end_is_seen() {
        let (child, parent) = pair().unwrap();
        assert_eq!(parent.next().err(), Some(Errno::EAGAIN));
        child.log(&Log { level: Level::Warning, text: "no mqueue".into(), note: false });
        child.terminal(std::io::stdin().as_fd());
        child.failed(&Failure::not_found("command not found: x"));
        drop(child);
        assert!(matches!(parent.next(), Ok(Some(Report::Log(Log { level: Level::Warning, .. })))));
        assert!(matches!(parent.next(), Ok(Some(Report::Terminal(_)))));
        match parent.next() {
            Ok(Some(Report::Failed(failure))) => assert_eq!(failure.status, 127),
            other => panic!("{other:?}"),
        }
        assert!(matches!(parent.next(), Ok(None)));
    }
}
