//! What can be wrong with a volume, and why it cannot be read or changed.

use crate::escape::escape;
use std::io;
use thiserror::Error;

/// What is wrong with a volume.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// No boot sector of a FAT volume.
    #[error("it has no boot sector of a FAT volume")]
    NotFat,
    /// The boot sector has no room for clusters.
    #[error("it has no clusters")]
    NoClusters,
    /// More clusters than FAT32 can number.
    #[error("it has more clusters than FAT can number")]
    ManyClusters,
    /// The FAT has no entry for some clusters.
    #[error("its FAT is too small for its clusters")]
    ShortFat,
    /// Larger than the partition it is in.
    #[error("it is larger than its partition")]
    TooLarge,
    /// The copies of the FAT say different things.
    #[error("its FATs differ")]
    FatsDiffer,
    /// A file or directory whose clusters cannot be followed.
    #[error("the clusters of {} {why}", escape(.path.as_bytes()))]
    Chain {
        /// Whose.
        path: String,
        /// In which way.
        why: Why,
    },
    /// A directory below too many others.
    #[error("{} lies below more than {} folders", escape(.0.as_bytes()), super::MAX_DEPTH)]
    TooDeep(String),
    /// More names, or longer ones, than are read.
    #[error("it has more files and folders than are read")]
    TooMany,
}

/// Why a chain of clusters cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Why {
    /// It leads to a number no cluster has.
    #[error("lead out of the volume")]
    Leaves,
    /// It leads to a cluster that is free.
    #[error("are partly marked free")]
    Free,
    /// It leads to a cluster that is marked bad.
    #[error("are partly marked bad")]
    Bad,
    /// It ends before the file does.
    #[error("end before it does")]
    Short,
    /// It goes on where the file has ended, or is a ring.
    #[error("go on behind its end")]
    Long,
    /// It is met a second time.
    #[error("are those of another file too")]
    Shared,
    /// The disk does not give them.
    #[error("cannot be read")]
    Unreadable,
}

/// Why something is not read or not changed.
#[derive(Debug, Error)]
pub enum Error {
    /// The volume is damaged.
    #[error("FAT volume is damaged: {0}")]
    Damaged(#[from] Fault),
    /// The volume is of a kind that is only read.
    #[error("FAT volume cannot be changed: {0}")]
    Unsupported(&'static str),
    /// The file is longer than what was asked for.
    #[error("file of more than {0} bytes")]
    TooLong(u64),
    /// There is no such directory.
    #[error("no folder {}", escape(.0.as_bytes()))]
    NoDirectory(String),
    /// The directory has no room for another name.
    #[error("folder {} is full", escape(.0.as_bytes()))]
    DirectoryFull(String),
    /// There are no free clusters.
    #[error("no free clusters")]
    Full,
    /// The disk cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}
