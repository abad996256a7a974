//! What a partition holds, told by its first bytes: enough to name what is not read.

use crate::formats::{ReadAt, bzimage};

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

/// Bytes looked at: btrfs has its superblock at 64 KiB.
const LOOKED_AT: usize = (64 << 10) + 4096;

/// Magic numbers and where they are.
const MAGICS: [(usize, &[u8], &str); 12] = [
    (0, b"XFSB", "XFS"),
    (65600, b"_BHRfS_M", "Btrfs"),
    (0, b"hsqs", "squashfs"),
    (1024, &[0xe2, 0xe1, 0xf5, 0xe0], "EROFS"),
    (4086, b"SWAPSPACE2", "swap"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (512, b"LABELONE", "LVM"),
    (3, b"NTFS    ", "NTFS"),
    (3, b"EXFAT   ", "exFAT"),
    (32769, b"CD001", "ISO 9660"),
    (1024, &[0x10, 0x20, 0xf5, 0xf2], "F2FS"),
    (0, b"bcache", "bcache"),
];

/// Looks at what begins at `offset`.
pub fn look(disk: &dyn ReadAt, offset: u64, length: u64) -> Content {
    let mut bytes = vec![0; LOOKED_AT.min(usize::try_from(length).unwrap_or(LOOKED_AT))];
    if disk.read_at(offset, &mut bytes).is_err() {
        return Content::Unknown;
    }
    let at = |at: usize, magic: &[u8]| bytes.get(at..at + magic.len()) == Some(magic);
    if at(1080, &[0x53, 0xef]) {
        return Content::Ext4;
    }
    if let Some((_, _, name)) = MAGICS.iter().find(|(place, magic, _)| at(*place, magic)) {
        return Content::Named(name);
    }
    // A bzImage has a boot signature too.
    if at(510, &[0x55, 0xaa]) && (at(54, b"FAT") || at(82, b"FAT32")) && !bzimage::is_bzimage(&bytes) {
        return Content::Fat;
    }
    if bytes.iter().all(|&byte| byte == 0) { Content::Empty } else { Content::Unknown }
}
