//! Where a disk came from, as a statement that other programs read, and whether a disk is still what a statement says.
//!
//! ```text
//!  disk ─▶ parts (digests: of all of it, of each area; boot files) ─┬─▶ statement ─▶ JSON
//!                                                                   └─▶ compare ◀─ read ◀─ JSON of anybody
//! ```
//!
//! A statement is an in-toto Statement v1 with a predicate of SLSA Provenance v1. It has no time and no random number: one
//! disk built again from the same gives the same bytes. Not supported: envelopes and signatures around a statement; who
//! signs it signs its bytes.
//!
//! Specifications: in-toto attestation framework v1 (Statement, ResourceDescriptor, DigestSet); slsa.dev/provenance/v1.

mod compare;
mod digests;
mod parts;
mod read;
mod statement;

pub use compare::{Comparison, Difference, compare};
pub use parts::{Area, File, Parts, PartsError};
pub use read::{Claims, MAX as MAX_STATEMENT, StatementError, read};
pub use statement::{Facts, Resource, render, sha256_of};

/// `_type` of a statement.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a statement of ours.
const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// What an annotation `kind` says that a resource is.
mod kind {
    /// The whole disk, raw.
    pub const DISK: &str = "disk";
    /// The file that it is kept in, where that is not raw.
    pub const FILE: &str = "file";
    /// A range of the disk's bytes.
    pub const AREA: &str = "area";
    /// A file on the EFI System Partition.
    pub const BOOT_FILE: &str = "boot-file";
    /// The kernel's command line.
    pub const COMMAND_LINE: &str = "command-line";
    /// PID 1 in the initramfs.
    pub const PID1: &str = "pid1";
}
