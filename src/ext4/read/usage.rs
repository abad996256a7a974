//! Which blocks are free, and how large a block is.

use super::error::{Part, ReadError};
use super::superblock::FileSystem;
use crate::ext4::format::group_flag;

/// Most block groups whose bitmaps are read: those of 512 TiB with blocks of 4 KiB.
const MAX_GROUPS: u64 = 1 << 22;

impl FileSystem<'_> {
    /// Bytes of a block.
    pub fn block_bytes(&self) -> u64 {
        self.block_size as u64
    }

    /// Runs of free blocks in ascending order, as first block and length. A bitmap that was never written (its group
    /// is marked so) means that all of the group but metadata is free.
    pub fn free_runs(&self) -> Result<Vec<(u64, u64)>, ReadError> {
        if self.groups() > MAX_GROUPS {
            return Err(ReadError::Unsupported(format!("{} block groups", self.groups())));
        }
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let mut metadata = None;
        for group in 0..self.groups() {
            let descriptor = self.descriptor(group)?;
            let (start, length) = self.group_blocks(group);
            if descriptor.bg_flags.get() & group_flag::BLOCK_UNINIT != 0 {
                if metadata.is_none() {
                    metadata = Some(self.metadata_runs()?);
                }
                let (mut at, end) = (start, start + length);
                let used = metadata.as_deref().unwrap_or_default();
                let first = used.partition_point(|(_, end)| *end <= start);
                for (from, to) in used[first..].iter().take_while(|(from, _)| *from < end) {
                    push(&mut runs, at, from.saturating_sub(at));
                    at = at.max(*to);
                }
                push(&mut runs, at, end.saturating_sub(at));
                continue;
            }
            let low = u64::from(descriptor.bg_block_bitmap_lo.get());
            let place = low | u64::from(descriptor.bg_block_bitmap_hi.get()) << 32;
            // Zeros say nothing of a group: no bitmap is where the first superblock is.
            if place <= u64::from(self.superblock().s_first_data_block.get()) {
                return Err(ReadError::Damaged(Part::Descriptor(group)));
            }
            let bitmap = self.block(place, Part::Bitmap(group))?;
            free_in(&bitmap, start, length, &mut runs);
        }
        Ok(runs)
    }

    /// Superblocks, descriptor tables, bitmaps and inode tables of all groups: first blocks and the blocks after the
    /// last, in ascending order, none touching another.
    fn metadata_runs(&self) -> Result<Vec<(u64, u64)>, ReadError> {
        let sb = self.superblock();
        let table = (u64::from(self.inodes_per_group()) * self.inode_size() as u64).div_ceil(self.block_size as u64);
        let mut runs = Vec::new();
        for group in 0..self.groups() {
            let d = self.descriptor(group)?;
            let place = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
            runs.push((place(d.bg_block_bitmap_lo.get(), d.bg_block_bitmap_hi.get()), 1));
            runs.push((place(d.bg_inode_bitmap_lo.get(), d.bg_inode_bitmap_hi.get()), 1));
            runs.push((place(d.bg_inode_table_lo.get(), d.bg_inode_table_hi.get()), table));
            if self.holds_superblock(group) {
                let descriptors = self.descriptor_blocks() + u64::from(sb.s_reserved_gdt_blocks.get());
                runs.push((self.group_blocks(group).0, 1 + descriptors));
            }
        }
        runs.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (start, length) in runs {
            let end = start.saturating_add(length);
            match joined.last_mut() {
                Some((_, last)) if *last >= start => *last = end.max(*last),
                _ => joined.push((start, end)),
            }
        }
        Ok(joined)
    }
}

/// Adds the free blocks among `length` from `start` on, by their bitmap. Most of a file system is all free or all used, so
/// eight are looked at together.
fn free_in(bitmap: &[u8], start: u64, length: u64, runs: &mut Vec<(u64, u64)>) {
    for (byte, first) in bitmap.iter().zip((0..length).step_by(8)) {
        let count = (length - first).min(8);
        match byte {
            0 => push(runs, start + first, count),
            0xff => {}
            _ => (0..count).filter(|bit| byte & 1 << bit == 0).for_each(|bit| push(runs, start + first + bit, 1)),
        }
    }
}

/// Adds a run, together with the one before if they touch.
fn push(runs: &mut Vec<(u64, u64)>, start: u64, length: u64) {
    match runs.last_mut() {
        _ if length == 0 => {}
        Some((last, count)) if *last + *count == start => *count += length,
        _ => runs.push((start, length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_blocks_are_those_whose_bits_are_zero_up_to_the_end_of_the_group() {
        let free = |bitmap: &[u8], length| {
            let mut runs = Vec::new();
            free_in(bitmap, 100, length, &mut runs);
            runs
        };
        assert_eq!(free(&[0xff, 0x00, 0xf0, 0x01], 32), [(108, 12), (125, 7)]);
        assert_eq!(free(&[0x00, 0x00], 11), [(100, 11)]);
        assert_eq!(free(&[0xff, 0x05], 12), [(109, 1), (111, 1)]);
        assert_eq!(free(&[0x00], 0), []);
        // A bitmap that is shorter than its group says nothing of the rest.
        assert_eq!(free(&[0x00], 32), [(100, 8)]);
    }
}
