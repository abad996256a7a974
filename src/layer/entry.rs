//! One member of a layer, dialect and headers behind it.

use crate::rootfs::Attrs;

/// A member as the archive names it. Paths are raw bytes: nothing is cleaned or resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, without NUL; may be absolute, hold `..` or be empty.
    pub path: Vec<u8>,
    /// Mode (07777), owner, time and extended attributes.
    pub attrs: Attrs,
    /// What it is.
    pub kind: EntryKind,
    /// Byte offset of its header in the layer.
    pub offset: u64,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file of `size` bytes, holes included. Its body follows: [`crate::layer::Reader::body`].
    File {
        /// Length in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link and its target, 1 to 4095 bytes.
    Symlink(Vec<u8>),
    /// Another name for the file at this path of the image.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// 0 to 4095.
        major: u32,
        /// 0 to 1,048,575.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// 0 to 4095.
        major: u32,
        /// 0 to 1,048,575.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

impl EntryKind {
    /// Its name in messages.
    pub fn name(&self) -> &'static str {
        match self {
            EntryKind::File { .. } => "regular file",
            EntryKind::Directory => "directory",
            EntryKind::Symlink(_) => "symbolic link",
            EntryKind::HardLink(_) => "hard link",
            EntryKind::CharDevice { .. } => "character device",
            EntryKind::BlockDevice { .. } => "block device",
            EntryKind::Fifo => "named pipe",
        }
    }
}
