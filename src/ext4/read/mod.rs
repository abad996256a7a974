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
