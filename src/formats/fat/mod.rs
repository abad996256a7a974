//! FAT12, FAT16 and FAT32: a reader of anybody's volume, and an editor that changes a FAT32 volume in place.
//!
//! ```text
//!  boot sector   reserved sectors   FATs   root directory (FAT12, FAT16)   clusters from number 2
//!  shape                            links  directory
//! ```
//!
//! [`Volume`] reads single files and walks all of them, [`edit::Editor`] builds on it. A chain of clusters is followed as
//! far as the file or directory can be long; what a walk finds wrong is kept as a [`Fault`] and told, and nothing is
//! edited that has one. New volumes are made in [`crate::boot::esp`].
//!
//! Specification: "FAT: General Overview of On-Disk Format" 1.03; long names are Microsoft's "FAT Long Name" addition.

mod directory;
pub mod edit;
mod fault;
mod links;
mod names;
mod shape;
#[cfg(test)]
mod tests;
pub mod time;
mod volume;
mod walk;

pub use directory::Entry;
pub use fault::{Error, Fault, Why};
pub use volume::Volume;
pub use walk::{File, Walk};

/// Bytes of a directory entry.
const ENTRY: usize = 32;
/// Largest directory, in bytes: the specification's 65,536 entries.
const MAX_DIRECTORY: u64 = 65_536 * ENTRY as u64;
/// Deepest directory. Paths of more than 260 characters are read by few systems, so that none is deeper than 130.
const MAX_DEPTH: usize = 130;
