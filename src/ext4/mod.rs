//! An ext4 file system, written in one pass and read back.
//!
//! ```text
//!  bodies, as they arrive        seal
//!  writer ─▶ allocator, stage    numbering ─▶ survey ─▶ plan ─▶ table, directory, extents, xattrs, journal, groups
//!  └─────────── format, checksum, hash, geometry ───────────┘
//! ```
//!
//! A file's blocks are written before anybody knows how many files there will be: only the superblock and the room
//! for descriptors have fixed places, and everything else goes to what the bodies left free.
//!
//! Blocks are 4096 bytes, inodes 256. The features are those of `mke2fs -t ext4` of e2fsprogs 1.47, with `ea_inode` where a
//! file has attributes that fit no block. Not supported, by
//! design: other block sizes, a file system without journal, inline data, quota, encryption, case folding.
//!
//! Specification: Documentation/filesystems/ext4 of the Linux kernel.

mod acl;
mod allocator;
mod body;
mod checksum;
mod directory;
mod error;
mod extents;
pub mod format;
mod geometry;
mod groups;
pub mod hash;
mod inode;
mod journal;
mod keep;
mod numbering;
mod paths;
mod plan;
mod ranges;
pub mod read;
mod resize;
mod seal;
mod stage;
mod stored;
mod supply;
mod survey;
mod table;
mod warnings;
mod writer;
mod xattrs;

pub use body::{Body, Run};
pub use error::SealError;
pub use geometry::Descriptors;
pub use keep::{Blocks, Refused, Resumed, has_usual_room, is_whole, live_bytes, resume};
pub use seal::Sealed;
pub use stored::stored;
pub use warnings::Warnings;
pub use writer::{BodyError, Free, Params, Writer};
