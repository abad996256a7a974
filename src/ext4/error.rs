//! Why a tree cannot become a file system.

use std::io;

/// Why [`Writer::seal`](super::Writer::seal) failed. Paths are printable text.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The output failed.
    #[error("cannot write the file system")]
    Output(#[from] io::Error),
    /// The partition is too small. `needed` bytes are enough, and 1 MiB less is not.
    #[error("the root file system needs {needed} bytes, the partition has {size}")]
    TooSmall {
        /// Bytes of the partition.
        size: u64,
        /// The smallest multiple of 1 MiB that is enough.
        needed: u64,
    },
    /// More than the descriptors' room can describe, or more inodes than 2^32.
    #[error("the root file system needs more than {0} bytes, the most without a given size")]
    TooLarge(u64),
    /// More names than ext4 counts.
    #[error("{links} hard links to one file, at most 65000 are possible: {path}")]
    TooManyLinks {
        /// One of the names.
        path: String,
        /// How many.
        links: u32,
    },
    /// More names than a hash tree of two levels holds.
    #[error("a directory with {entries} names, more than ext4 holds: {path}")]
    DirectoryTooLarge {
        /// The directory.
        path: String,
        /// How many names.
        entries: u32,
    },
    /// More than a block of attributes.
    #[error("names of extended attributes need {bytes} bytes, at most 4064 are possible: {path}")]
    XattrsTooLarge {
        /// The file.
        path: String,
        /// Bytes they need outside the inode.
        bytes: usize,
    },
    /// An attribute that no program could read.
    #[error("an extended attribute of {bytes} bytes, at most 65536 are possible: {path}")]
    XattrTooLarge {
        /// The file.
        path: String,
        /// Bytes of the value.
        bytes: usize,
    },
    /// A device number that Linux does not have.
    #[error("device number {major}:{minor}, at most 4095:1048575 is possible: {path}")]
    DeviceNumber {
        /// The device file.
        path: String,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A symbolic link that is empty or longer than a path can be.
    #[error("a symbolic link of {length} bytes, 1 to 4095 are possible: {path}")]
    SymlinkLength {
        /// The link.
        path: String,
        /// Bytes of its target.
        length: usize,
    },
    /// A label that does not fit.
    #[error("a label of {0} bytes, at most 16 are possible")]
    LabelTooLong(usize),
}
