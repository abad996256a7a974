//! The superblock of an ext4 file system, as far as PID 1 has to know it: how large the file system is and can become,
//! and whether its journal has something to tell.
//!
//! ```text
//! byte 1024   4 blocks  24 log2(block) - 10  32 blocks per group  40 inodes per group  56 magic  88 bytes per inode
//!             96 incompatible features  206 kept for descriptors  254 descriptor  336 blocks, high half
//!             372 log2(groups of a flexible group)
//! ```
//!
//! Source: the kernel's Documentation/filesystems/ext4/super.rst and fs/ext4/resize.c.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PLACE: u64 = 1024;
const SIZE: usize = 1024;
const MAGIC: u64 = 0xef53;
/// Incompatible feature: the journal is to be replayed.
const RECOVER: u64 = 4;
/// Incompatible feature: numbers of blocks have 64 bits.
const WIDE: u64 = 0x80;
/// Incompatible feature: bitmaps and inode tables of several groups lie together.
const FLEXIBLE: u64 = 0x200;
/// A last group that has less than this to give, beyond what it costs, is left away, as resize2fs does.
const LEAST_USE: u64 = 50;
/// Less than this is not worth a change: partitions are larger than what is in them by up to their alignment.
const LEAST_GAIN: u64 = 1 << 20;
/// The resize inode names blocks with 32 bits.
const NARROW_BLOCKS: u64 = 1 << 32;

/// What a superblock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// All blocks.
    pub blocks: u64,
    /// Bytes of a block.
    pub block: u64,
    /// Blocks that are added together at best: a flexible group.
    pub unit: u64,
    /// Bytes of an inode.
    pub inode: u64,
    /// The file system was not unmounted, and its journal may be ahead of it.
    pub needs_recovery: bool,
    per_group: u64,
    inodes_per_group: u64,
    /// Blocks of a group's inode table.
    inodes: u64,
    /// Bytes of a group descriptor.
    descriptor: u64,
    /// Blocks kept for more descriptors.
    kept: u64,
    wide: bool,
}

impl Superblock {
    /// That of the file system on `device`; `None` when it is no ext4.
    pub fn read(device: &Path) -> io::Result<Option<Superblock>> {
        Superblock::of(&File::open(device)?)
    }

    /// The same of an open device.
    pub fn of(device: &File) -> io::Result<Option<Superblock>> {
        let mut bytes = [0; SIZE];
        device.read_exact_at(&mut bytes, PLACE)?;
        Ok(Superblock::parse(&bytes))
    }

    /// Where the inodes of the first group are: its descriptor is in the block behind the superblock's.
    pub fn inode_table_of_first_group(&self, device: &File) -> io::Result<u64> {
        let mut descriptor = [0; 64];
        let block = if self.block == 1024 { 2 } else { 1 };
        device.read_exact_at(&mut descriptor, block * self.block)?;
        let word = |at: usize| descriptor[at..].first_chunk().map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)));
        Ok(word(8) | if self.descriptor >= 64 { word(40) << 32 } else { 0 })
    }

    fn parse(bytes: &[u8; SIZE]) -> Option<Superblock> {
        let half = |at: usize| u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let word = |at: usize| half(at) | half(at + 2) << 16;
        let (features, per_group) = (word(96), word(32));
        if half(56) != MAGIC || word(24) > 6 || per_group == 0 || word(40) == 0 {
            return None;
        }
        let wide = features & WIDE != 0;
        let block = 1024 << word(24);
        let together = if features & FLEXIBLE != 0 { 1 << bytes[372].min(31) } else { 1 };
        Some(Superblock {
            blocks: word(4) | if wide { word(336) << 32 } else { 0 },
            block,
            unit: per_group * together,
            inode: half(88),
            needs_recovery: features & RECOVER != 0,
            per_group,
            inodes_per_group: word(40),
            inodes: (word(40) * half(88)).div_ceil(block),
            descriptor: if wide { half(254).max(32) } else { 32 },
            kept: half(206),
            wide,
        })
    }

    /// How many blocks the file system can have in `length` bytes, when that is worth a change.
    pub fn blocks_for(&self, length: u64) -> Option<u64> {
        let mut blocks = (length / self.block).min(self.most());
        // Superblock, descriptors, both bitmaps, inodes.
        let cost = 1 + self.descriptors(blocks) + self.kept + 2 + self.inodes;
        let tail = blocks % self.per_group;
        if tail < cost + LEAST_USE {
            blocks -= tail;
        }
        (blocks >= self.blocks.checked_add(LEAST_GAIN / self.block)?).then_some(blocks)
    }

    /// What no ext4 with these properties goes beyond: its numbers of blocks and of inodes have an end, and what is
    /// kept for descriptors must not be used where the resize inode cannot name it.
    fn most(&self) -> u64 {
        let by_inodes = (u64::from(u32::MAX) / self.inodes_per_group).saturating_mul(self.per_group);
        let reach = (self.descriptors(self.blocks) + self.kept)
            .saturating_mul(self.block / self.descriptor)
            .saturating_mul(self.per_group);
        match (self.wide, self.kept > 0 && reach > NARROW_BLOCKS) {
            (false, _) => by_inodes.min(NARROW_BLOCKS - 1),
            (true, true) => by_inodes.min(NARROW_BLOCKS),
            (true, false) => by_inodes,
        }
    }

    /// Blocks of the descriptors of a file system of `blocks` blocks.
    fn descriptors(&self, blocks: u64) -> u64 {
        (blocks.div_ceil(self.per_group).saturating_mul(self.descriptor)).div_ceil(self.block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: u64 = 32_768 * 4096;
    const TIB: u64 = 1 << 40;

    /// 4 KiB blocks, 4096 inodes of 256 bytes a group, 16 groups together, 127 blocks kept for descriptors.
    fn bytes(blocks: u32) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let incompatible = (WIDE | FLEXIBLE) as u32;
        let fields: [(usize, u32); 9] = [
            (4, blocks),
            (24, 2),
            (32, 32_768),
            (40, 4096),
            (56, MAGIC as u32),
            (88, 256),
            (96, incompatible),
            (254, 64),
            (372, 4),
        ];
        for (at, value) in fields {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes[206..208].copy_from_slice(&127u16.to_le_bytes());
        bytes
    }

    fn superblock(blocks: u32, change: impl FnOnce(&mut [u8; SIZE])) -> Superblock {
        let mut bytes = bytes(blocks);
        change(&mut bytes);
        Superblock::parse(&bytes).unwrap()
    }

    #[test]
    fn it_grows_to_all_there_is_but_a_last_group_of_no_use() {
        let blocks = |length| superblock(262_144, |_| {}).blocks_for(length);
        assert_eq!(blocks(20 << 30), Some(5 << 20));
        assert_eq!(blocks((20 << 30) + 100 * 4096), Some(5 << 20));
        assert_eq!(blocks((20 << 30) + 1000 * 4096), Some((5 << 20) + 1000));
        assert_eq!(blocks(GROUP * 9), Some(32_768 * 9));
    }

    #[test]
    fn it_never_shrinks_and_ignores_crumbs() {
        let blocks = |length| superblock(262_144, |_| {}).blocks_for(length);
        for length in [0, 4096, 1 << 30, (1 << 30) - (1 << 20), (1 << 30) + (1 << 20) - 4096] {
            assert_eq!(blocks(length), None, "{length}");
        }
    }

    #[test]
    fn it_stops_where_a_number_of_the_format_ends() {
        let set = |at: usize, value: u16| {
            move |bytes: &mut [u8; SIZE]| bytes[at..at + 2].copy_from_slice(&value.to_le_bytes())
        };
        // 32,768 inodes a group: 2^32 of them are 16 TiB. 32-bit numbers of blocks: the same, but for a last group.
        let many_inodes = superblock(262_144, set(40, 32_768)).blocks_for(40 * TIB);
        assert_eq!(many_inodes, Some(131_071 * 32_768));
        let narrow = superblock(262_144, set(96, FLEXIBLE as u16)).blocks_for(40 * TIB);
        assert_eq!(narrow, Some(u64::from(u32::MAX)));
        // Kept for descriptors up to 24 TiB, of which the resize inode can name what lies within 16.
        let kept = |at_most| superblock(at_most, set(206, 1024)).blocks_for(40 * TIB);
        assert_eq!(kept(4_294_000_640), Some(NARROW_BLOCKS));
        // Used up before that, they are no limit any more.
        assert_eq!(kept(262_144), Some(40 * TIB / 4096));
    }

    #[test]
    fn what_is_added_together_is_a_flexible_group_or_one() {
        assert_eq!(superblock(262_144, |_| {}).unit, 16 * 32_768);
        assert_eq!(superblock(262_144, |bytes| bytes[97] = 0).unit, 32_768);
    }

    #[test]
    fn what_is_no_superblock_is_left_alone() {
        let mut other = bytes(262_144);
        other[56] = 0;
        assert_eq!(Superblock::parse(&other), None);
        assert_eq!(Superblock::parse(&[0; SIZE]), None);
        assert_eq!(Superblock::parse(&[0xff; SIZE]), None);
    }
}
