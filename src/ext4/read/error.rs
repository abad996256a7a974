//! Why a file system cannot be read.

use std::io;

/// What was being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The superblock.
    Superblock,
    /// The descriptor of this group.
    Descriptor(u64),
    /// The block or inode bitmap of this group.
    Bitmap(u64),
    /// This inode.
    Inode(u32),
    /// The extent tree of this inode.
    Extents(u32),
    /// A block of this directory.
    Directory(u32),
    /// The extended attributes of this inode.
    Attributes(u32),
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Superblock => write!(f, "superblock"),
            Part::Descriptor(group) => write!(f, "descriptor of group {group}"),
            Part::Bitmap(group) => write!(f, "bitmap of group {group}"),
            Part::Inode(number) => write!(f, "inode {number}"),
            Part::Extents(number) => write!(f, "extent tree of inode {number}"),
            Part::Directory(number) => write!(f, "directory of inode {number}"),
            Part::Attributes(number) => write!(f, "extended attributes of inode {number}"),
        }
    }
}

/// Why a file system cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The input failed, or ends too early.
    #[error("cannot read the file system")]
    Input(#[from] io::Error),
    /// No ext4 magic number.
    #[error("no ext4 file system")]
    NotExt4,
    /// Something this reader does not know.
    #[error("ext4 with {0} is not supported")]
    Unsupported(String),
    /// Its journal holds writes that are not in their places yet.
    #[error("ext4 that was not unmounted: its journal needs recovery")]
    Journal,
    /// A checksum that does not match.
    #[error("wrong checksum of the {0}")]
    Checksum(Part),
    /// A value that cannot be.
    #[error("damaged {0}")]
    Damaged(Part),
}
