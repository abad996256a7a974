//! Why a conversation with a running machine came to nothing.

use super::no_entry::NoEntry;
use crate::escape::printable;
use std::io;

/// Why a conversation with a running machine came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The machine is not there any more, or ended while it was spoken to.
    #[error("the machine has ended")]
    Ended,
    /// The machine will not do it: its reason, escaped.
    #[error("{0}")]
    Refused(String),
    /// Nothing can be started beside the image's own init.
    #[error(transparent)]
    NoEntry(#[from] NoEntry),
    /// It took longer than it was given.
    #[error("the machine did not answer in time")]
    TimedOut,
    /// The program at the other end is of another version.
    #[error("the machine belongs to another version of bootdisk, protocol {theirs} and not {ours}")]
    Version {
        /// Its protocol.
        theirs: u32,
        /// This program's.
        ours: u32,
    },
    /// The program at the other end does not keep to the protocol: how, escaped.
    #[error("the machine's control connection is not understood: {0}")]
    Protocol(String),
    /// Something of the host failed.
    #[error("cannot {what}: {source}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ControlError {
    pub(super) fn protocol(text: impl std::fmt::Display) -> ControlError {
        ControlError::Protocol(printable(&text.to_string()))
    }

    /// What can be done about it, for a `hint:` line.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ControlError::NoEntry(why) => Some(why.hint()),
            _ => None,
        }
    }

    /// For `map_err`: a closed connection is the machine's end, anything else is this host's trouble.
    pub(super) fn host(what: &'static str) -> impl FnOnce(io::Error) -> ControlError {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
        move |source| match source.kind() {
            BrokenPipe | ConnectionReset | ConnectionRefused | NotFound | UnexpectedEof => ControlError::Ended,
            _ => ControlError::Host { what, source },
        }
    }
}
