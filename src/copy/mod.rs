//! Files and folders on their way: both sides of `bootdisk cp`, of which one may be PID 1.
//!
//! ```text
//!  take (a file system) ─┐                        ┌─▶ put (a file system)
//!  a tar ────────────────┼─▶ records, one a name ─┤
//!  a disk's root ────────┘                        └─▶ a tar
//! ```
//!
//! Between machine and host the records are a stream of their own ([`record`]), as PID 1 has no tar. What a record stands
//! for was said by a stranger on whichever side it arrives: [`put`] follows no link of theirs.
//!
//! Kept: bodies, modes, owners where asked for, times of modification, links of both kinds, fifos and devices in a machine,
//! `security.capability`. Not kept: other attributes, times of access, holes. Sockets are left out.

pub mod put;
pub mod record;
pub mod take;

use serde::{Deserialize, Serialize};
use std::io::{self, Read};

/// What PID 1 is asked to do beside the workload, instead of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Copy {
    /// Records of this path go to standard output.
    Out {
        /// As the user wrote it: how it ends says what of it.
        path: String,
        /// A link is followed to what is copied.
        follow: bool,
    },
    /// Records from standard input go to this path.
    In {
        /// As the user wrote it.
        path: String,
    },
}

/// The command that stands for a [`Copy`]: a PID 1 that knows of none finds no such program.
pub const COMMAND: &str = "bootdisk-cp";

/// What is said before the first record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preface {
    /// Name of what is copied; empty where that has none.
    pub name: Vec<u8>,
    /// What is in the folder is copied, and not the folder itself.
    pub contents: bool,
    /// There is no record of a folder itself, as in a tar: one must be there already.
    pub loose: bool,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Below what is copied, without a slash at either end; empty for that itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions: the lower twelve bits.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of modification: seconds since 1970, nanoseconds.
    pub mtime: (i64, u32),
    /// Value of `security.capability`; empty without one.
    pub capability: Vec<u8>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of so many bytes, which follow.
    File(u64),
    /// A folder; what is in it follows.
    Directory,
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// Another name of what had this path before.
    HardLink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A character device: major and minor number.
    Character(u32, u32),
    /// A block device: major and minor number.
    Block(u32, u32),
}

/// Where records go.
pub trait Sink {
    /// What will follow. Called once, first.
    ///
    /// # Errors
    /// When it cannot be taken.
    fn begin(&mut self, preface: &Preface) -> io::Result<()>;
    /// One name, and the bytes of a file: of a body that ends early the rest is zeros.
    ///
    /// # Errors
    /// When it cannot be written, or not read.
    fn put(&mut self, record: &Record, body: &mut dyn Read) -> io::Result<()>;
    /// That was all.
    ///
    /// # Errors
    /// When something that was left for the end cannot be done.
    fn end(&mut self) -> io::Result<()>;
}

/// An error with its place.
pub(crate) fn at(what: &str, path: &[u8], error: &io::Error) -> io::Error {
    let shown = crate::escape::escape(path);
    let why = error
        .raw_os_error()
        .map_or_else(|| error.to_string(), |number| nix::errno::Errno::from_raw(number).desc().to_lowercase());
    io::Error::new(error.kind(), format!("cannot {what} {shown}: {why}"))
}
