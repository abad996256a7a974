//! Reads ext4 file systems, ours and those of mke2fs, from a file or from memory.
//!
//! ```text
//!  open ─▶ superblock ─▶ descriptor ─▶ inode ─▶ extents ─▶ file bytes, directory, link target
//!                                          └──▶ attributes
//! ```
//!
//! Every checksum on the way is verified where the file system has them, and everything read is checked against the
//! bounds it must keep: damaged or hostile input is an error, never a panic and never endless work.
//!
//! Not supported: journals that need recovery, files with old block maps, blocks of 64 KiB, and the features
//! `inline_data`, `ea_inode`, `encrypt`, `casefold`, `bigalloc` and `journal_dev`.

mod attributes;
mod directory;
mod error;
mod inode;
mod map;
mod superblock;
mod usage;
mod walk;

pub use directory::Name;
pub use error::{Part, ReadError};
pub use inode::{Inode, Kind};
pub use map::Mapping;
pub use superblock::FileSystem;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Random access to bytes.
pub trait ReadAt {
    /// Reads exactly `buffer.len()` bytes at `offset`; an end before that is an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(buffer.len()));
        let found = start.zip(end).and_then(|(start, end)| self.get(start..end));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
