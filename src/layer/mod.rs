//! Tar layers as container tools really write them: a stream of entries, every dialect, every limit.
//!
//! ```text
//!  input     blocks and bytes of a stream, counted
//!  header    one 512-byte block: fields, checksum, dialect        number   octal, base-256, decimal
//!  pax       extended header records                              acl      text ACLs → kernel form
//!  sparse    maps of data and holes, four encodings               xattr    names and values from records
//!  reader    headers → Entry, then its body → BodySink            entry    what a member is
//!  writer    Entry and body → an archive in one form
//! ```
//!
//! A layer is read once, front to back, in memory that does not depend on what is in it: an extension header has at
//! most 1 MiB, a sparse map 10,000 entries ([`Limits`]). The input is the *uncompressed* stream; it is read to its
//! very end, so that a digest over it covers what follows the end marker too.
//!
//! Read: v7, ustar, GNU (long names, base-256 numbers, old sparse files), PAX (extended attributes, ACLs, sparse
//! formats 0.0, 0.1 and 1.0), star, Solaris `X` headers. Not supported, and refused: multi-volume archives, incremental
//! dumps (`D`, `N`), per-file records in a global header, members other than files with a body.
//!
//! Sources: POSIX.1-2017 `pax` (ustar and pax interchange formats); GNU tar manual, "Tar Internals"; star(5).
//! Where readers disagree, [`reader`] says what is chosen; what would be ambiguous is refused.

mod acl;
mod entry;
mod error;
mod header;
mod input;
mod number;
mod pax;
pub mod reader;
mod sparse;
mod warnings;
mod writer;
mod xattr;

pub use entry::{Entry, EntryKind};
pub use error::{Error, ErrorKind};
pub use header::is_archive;
pub(crate) use header::{Header, seal};
pub use reader::Reader;
pub use warnings::{WarningKind, Warnings};
pub use writer::{Ranges, Writer};

/// What one layer may make the reader hold in memory, and the largest file it may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one extension header (PAX records, GNU long name).
    pub extension_bytes: u64,
    /// Extension headers before one member.
    pub extension_headers: u32,
    /// Entries of one sparse map.
    pub sparse_entries: usize,
    /// Length of one file, holes included. The default is that of ext4 with 4 KiB blocks: 2^32 - 1 blocks.
    pub file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { extension_bytes: 1 << 20, extension_headers: 16, sparse_entries: 10_000, file_bytes: (1 << 44) - 4096 }
    }
}
