//! How a file system is divided: groups, and what lies at the start of the groups that hold a copy of the superblock.
//!
//! ```text
//!  group 0, 1, and powers of 3, 5, 7     │ superblock │ descriptors │ kept for more descriptors │ free …
//!  any other group                       │ free …
//!                                         └ 1 block ─┘└──── `room` blocks, the same in all ────┘
//! ```
//!
//! `room` is fixed before the first file body is placed, so that places do not depend on the final size.

use super::format::{BLOCK, BLOCKS_PER_GROUP, INODES_PER_BLOCK};

/// Room for descriptors where the size is not known or not huge: 1 TiB with 64-byte descriptors.
const ROOM: u64 = 128;
/// Most blocks kept for more descriptors: what one indirect block of the resize inode can name.
const MAX_RESERVED: u64 = 1024;
/// Least usable blocks of a last group that holds a backup; a shorter one is left out, as mke2fs does.
const LAST_GROUP_MIN: u64 = 50;

/// Bytes of a group descriptor, which is also what the `64bit` feature says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Descriptors {
    /// 32 bytes: up to 2^32 blocks (16 TiB).
    Narrow,
    /// 64 bytes: the `64bit` feature, the default of mke2fs.
    #[default]
    Wide,
}

impl Descriptors {
    /// Bytes of one descriptor.
    pub fn size(self) -> u64 {
        match self {
            Descriptors::Narrow => 32,
            Descriptors::Wide => 64,
        }
    }
}

/// Blocks for descriptors, present and future, in every group with a superblock, for a file system of `size` bytes
/// (or of a size found at the end).
pub fn descriptor_room(size: Option<u64>, descriptors: Descriptors) -> u64 {
    let Some(size) = size else { return ROOM };
    let blocks = size / BLOCK;
    let table = blocks.div_ceil(BLOCKS_PER_GROUP).div_ceil(BLOCK / descriptors.size());
    match table {
        0..=64 => ROOM,
        // The resize inode names blocks with 32 bits.
        _ if blocks > u64::from(u32::MAX) => table,
        _ => table + table.min(MAX_RESERVED),
    }
}

/// Whether a group holds a superblock and descriptors (the `sparse_super` feature).
pub fn has_superblock(group: u64) -> bool {
    let power = |base: u64| {
        let mut n = base;
        while n < group {
            n *= base;
        }
        n == group
    };
    group <= 1 || (!group.is_multiple_of(2) && (power(3) || power(5) || power(7)))
}

/// The first group at or after `group` that holds a superblock.
pub fn next_with_superblock(group: u64) -> u64 {
    if group <= 1 {
        return group;
    }
    let at_least = |base: u64| {
        let mut n = base;
        while n < group {
            n *= base;
        }
        n
    };
    at_least(3).min(at_least(5)).min(at_least(7))
}

/// The division of one file system.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// All blocks.
    pub blocks: u64,
    /// Inodes of a group: a multiple of 16.
    pub inodes_per_group: u32,
    /// See [`descriptor_room`].
    pub room: u64,
    /// Size of a descriptor.
    pub descriptors: Descriptors,
}

impl Geometry {
    /// A file system in `size` bytes, or `None` when its descriptors do not fit into `room`.
    pub fn new(size: u64, room: u64, descriptors: Descriptors) -> Option<Self> {
        let mut blocks = size / BLOCK;
        let tail = blocks % BLOCKS_PER_GROUP;
        if tail > 0 && has_superblock(blocks / BLOCKS_PER_GROUP) && tail < 1 + room + LAST_GROUP_MIN {
            blocks -= tail;
        }
        let geometry = Geometry { blocks, inodes_per_group: 16, room, descriptors };
        let narrow_enough = descriptors == Descriptors::Wide || blocks <= u64::from(u32::MAX);
        (blocks > 0 && narrow_enough && geometry.table_blocks() <= room).then_some(geometry)
    }

    /// Number of groups.
    pub fn groups(&self) -> u64 {
        self.blocks.div_ceil(BLOCKS_PER_GROUP)
    }

    /// First block of a group.
    pub fn start(&self, group: u64) -> u64 {
        group * BLOCKS_PER_GROUP
    }

    /// Blocks of a group: all but the last have the full number.
    pub fn length(&self, group: u64) -> u64 {
        BLOCKS_PER_GROUP.min(self.blocks - self.start(group))
    }

    /// Blocks at the start of a group for superblock and descriptors.
    pub fn base(&self, group: u64) -> u64 {
        if has_superblock(group) { 1 + self.room } else { 0 }
    }

    /// Groups that hold a superblock, the first included.
    pub fn superblock_groups(&self) -> impl Iterator<Item = u64> {
        let groups = self.groups();
        std::iter::successors(Some(0), |&group| Some(next_with_superblock(group + 1)))
            .take_while(move |&group| group < groups)
    }

    /// Blocks the descriptor table fills.
    pub fn table_blocks(&self) -> u64 {
        (self.groups() * self.descriptors.size()).div_ceil(BLOCK)
    }

    /// `s_reserved_gdt_blocks`: blocks kept for a longer table.
    pub fn reserved(&self) -> u64 {
        if self.blocks > u64::from(u32::MAX) { 0 } else { (self.room - self.table_blocks()).min(MAX_RESERVED) }
    }

    /// Blocks of one group's inode table.
    pub fn inode_table_blocks(&self) -> u64 {
        u64::from(self.inodes_per_group / INODES_PER_BLOCK)
    }

    /// All inodes.
    pub fn inodes(&self) -> u64 {
        self.groups() * u64::from(self.inodes_per_group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_in_0_1_and_powers_of_3_5_7() {
        let listed: Vec<u64> = (0..400).filter(|&g| has_superblock(g)).collect();
        assert_eq!(listed, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343]);
        for group in 0..400 {
            assert_eq!(next_with_superblock(group), (group..).find(|&g| has_superblock(g)).unwrap());
        }
    }

    #[test]
    fn a_last_group_without_room_for_its_backup_is_left_out() {
        let size = (BLOCKS_PER_GROUP + 100) * BLOCK;
        assert_eq!(Geometry::new(size, ROOM, Descriptors::Wide).unwrap().blocks, BLOCKS_PER_GROUP);
        let size = (2 * BLOCKS_PER_GROUP + 100) * BLOCK;
        assert_eq!(Geometry::new(size, ROOM, Descriptors::Wide).unwrap().blocks, 2 * BLOCKS_PER_GROUP + 100);
    }

    #[test]
    fn room_for_descriptors_covers_the_size_it_was_made_for() {
        for shift in 20..47 {
            let size = 1u64 << shift;
            let room = descriptor_room(Some(size), Descriptors::Wide);
            assert!(Geometry::new(size, room, Descriptors::Wide).is_some(), "2^{shift}");
        }
    }
}
