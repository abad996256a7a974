//! dm-verity's hash tree over a file system that nobody writes to any more: written once, and read back to be compared.
//!
//! ```text
//!  hash partition   superblock │ top block │ … │ blocks of the level below │ … │ hashes of the data blocks
//!                                   │  128 hashes in a block, each of a block of the level below it
//!                                   ▼
//!  root hash        of the top block, or of the only data block there is
//! ```
//!
//! A level is made from the one below it, which is read back from where it was written: memory is some buffers, whatever
//! the size of the disk. Blocks are hashed two at a time on each thread, as that is nearly twice as fast.
//!
//! Specification: the kernel's Documentation/admin-guide/device-mapper/verity.rst; hash type 1, SHA-256, blocks of 4096
//! bytes, salt in front.

mod check;
mod geometry;
mod tree;

pub use check::{Fault, check};
pub use geometry::Geometry;
pub use tree::{RootHash, write};
