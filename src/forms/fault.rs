//! Why a disk of some form cannot be read.

use std::io;
use thiserror::Error;

/// Why a disk cannot be read.
#[derive(Debug, Error)]
pub enum Fault {
    /// It is only a part: the rest is in a file that somebody else names.
    #[error("it refers to another file ({0}), which bootdisk does not open")]
    Refers(&'static str),
    /// It is whole, and this program does not know how to read it.
    #[error("it {0}, which is not supported")]
    Unsupported(&'static str),
    /// It contradicts itself.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It ends before something that it has.
    #[error("it is cut short: {0} is behind its end")]
    CutShort(&'static str),
    /// The system's.
    #[error("{}", crate::escape::os_error(.0))]
    Io(#[from] io::Error),
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        match fault {
            Fault::Io(error) => error,
            fault => io::Error::new(io::ErrorKind::InvalidData, fault.to_string()),
        }
    }
}
