//! What a partition holds, told by its first bytes: enough to name what is not read.

use crate::formats::ReadAt;
use crate::recognise::{START, file_system};

/// What is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// ext2, ext3 or ext4.
    Ext4,
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// Nothing but zeros in its first bytes.
    Empty,
    /// Known by name and not read.
    Named(&'static str),
    /// Not known.
    Unknown,
}

/// Looks at what begins at `offset`.
pub fn look(disk: &dyn ReadAt, offset: u64, length: u64) -> Content {
    let mut bytes = vec![0; START.min(usize::try_from(length).unwrap_or(START))];
    if disk.read_at(offset, &mut bytes).is_err() {
        return Content::Unknown;
    }
    match file_system(&bytes) {
        Some("ext4") => Content::Ext4,
        Some("FAT") => Content::Fat,
        Some(name) => Content::Named(name),
        None if bytes.iter().all(|&byte| byte == 0) => Content::Empty,
        None => Content::Unknown,
    }
}
