//! Bitmaps, group descriptors and superblocks: what the plan decided, written down.
//!
//! A group with no inode in use has no inode bitmap, a group with nothing but its own metadata no block bitmap:
//! their flags say so, and the kernel makes the bitmap up. What inode tables do not use reads as zeros, so every
//! group is marked as zeroed.

use super::body::Run;
use super::checksum::{self, Seed};
use super::format::{self, BLOCK, BLOCKS_PER_GROUP, GroupDescriptor, Superblock, group_flag};
use super::format::{compat, incompat, ro_compat};
use super::geometry::{Descriptors, Geometry};
use super::plan::{Place, Plan};
use super::stage::Stage;
use super::writer::Params;
use crate::rootfs::Time;
use std::io;
use zerocopy::{FromZeros, IntoBytes};

const BLOCK_BYTES: usize = BLOCK as usize;

/// What is known once every inode is written.
pub struct Usage<'a> {
    /// The highest inode number in use; all below it are in use too.
    pub last_inode: u32,
    /// Whether attributes have inodes of their own.
    pub values: bool,
    /// Directories by group.
    pub directories: &'a [u32],
    /// Free ranges, ascending.
    pub free: &'a [(u64, u64)],
}

/// Writes all bitmaps and returns the descriptor table.
pub fn write_groups(stage: &mut Stage, plan: &Plan, usage: &Usage, seed: Seed) -> io::Result<Vec<u8>> {
    let geometry = &plan.geometry;
    let size = geometry.descriptors.size() as usize;
    let mut table = Vec::with_capacity(plan.places.len() * size);
    let mut bits = vec![0; BLOCK_BYTES];
    let mut free = usage.free;
    for (group, place) in plan.places.iter().enumerate() {
        let mut descriptor = GroupDescriptor::new_zeroed();
        set_places(&mut descriptor, place);
        let free_blocks = block_bits(geometry, group as u64, &mut free, &mut bits);
        set_free_blocks(&mut descriptor, free_blocks);
        let mut flags = group_flag::INODE_ZEROED;
        if is_untouched(geometry, group as u64, place, free_blocks) {
            flags |= group_flag::BLOCK_UNINIT;
        } else {
            stage.put(place.block_bitmap, &bits)?;
            let sum = seed.bitmap(&bits);
            descriptor.bg_block_bitmap_csum_lo.set(sum as u16);
            descriptor.bg_block_bitmap_csum_hi.set((sum >> 16) as u16);
        }
        let used = used_inodes(geometry, group, usage.last_inode);
        set_inodes(&mut descriptor, geometry.inodes_per_group - used, usage.directories[group]);
        if used == 0 {
            flags |= group_flag::INODE_UNINIT;
        } else {
            bits.fill(0xff);
            clear_bits(&mut bits, used as usize, geometry.inodes_per_group as usize);
            stage.put(place.inode_bitmap, &bits)?;
            let sum = seed.bitmap(&bits[..geometry.inodes_per_group as usize / 8]);
            descriptor.bg_inode_bitmap_csum_lo.set(sum as u16);
            descriptor.bg_inode_bitmap_csum_hi.set((sum >> 16) as u16);
        }
        descriptor.bg_flags.set(flags);
        if geometry.descriptors == Descriptors::Narrow {
            descriptor.as_mut_bytes()[size..].fill(0);
        }
        descriptor.bg_checksum.set(seed.descriptor(group as u32, &descriptor, size));
        table.extend_from_slice(&descriptor.as_bytes()[..size]);
    }
    table.resize(table.len().next_multiple_of(BLOCK_BYTES), 0);
    Ok(table)
}

/// Fills the bitmap of a group: all used but the free ranges. Returns the number of free blocks.
fn block_bits(geometry: &Geometry, group: u64, free: &mut &[(u64, u64)], bits: &mut [u8]) -> u64 {
    let (start, end) = (geometry.start(group), geometry.start(group) + geometry.length(group));
    bits.fill(0xff);
    let mut count = 0;
    while let Some(&(at, length)) = free.first() {
        let (from, to) = (at.max(start), (at + length).min(end));
        if from < to {
            clear_bits(bits, (from - start) as usize, (to - start) as usize);
            count += to - from;
        }
        if at + length > end {
            break;
        }
        *free = &free[1..];
    }
    count
}

fn clear_bits(bits: &mut [u8], from: usize, to: usize) {
    let (first, last) = (from.next_multiple_of(8).min(to), (to / 8 * 8).max(from.next_multiple_of(8)).min(to));
    for bit in (from..first).chain(last..to) {
        bits[bit / 8] &= !(1 << (bit % 8));
    }
    if first < last {
        bits[first / 8..last / 8].fill(0);
    }
}

/// Whether all of a group but its own metadata is free, so that the kernel can make up its bitmap. The last group
/// always has a bitmap, as mke2fs has it: it also says where the file system ends.
fn is_untouched(geometry: &Geometry, group: u64, place: &Place, free_blocks: u64) -> bool {
    let own = place.block_bitmap / BLOCKS_PER_GROUP == group
        && place.inode_bitmap / BLOCKS_PER_GROUP == group
        && place.inode_table / BLOCKS_PER_GROUP == group;
    let metadata = geometry.base(group) + 2 + geometry.inode_table_blocks();
    own && group + 1 < geometry.groups() && free_blocks + metadata == geometry.length(group)
}

fn used_inodes(geometry: &Geometry, group: usize, last: u32) -> u32 {
    let before = group as u64 * u64::from(geometry.inodes_per_group);
    u64::from(last).saturating_sub(before).min(geometry.inodes_per_group.into()) as u32
}

fn set_places(descriptor: &mut GroupDescriptor, place: &Place) {
    descriptor.bg_block_bitmap_lo.set(place.block_bitmap as u32);
    descriptor.bg_block_bitmap_hi.set((place.block_bitmap >> 32) as u32);
    descriptor.bg_inode_bitmap_lo.set(place.inode_bitmap as u32);
    descriptor.bg_inode_bitmap_hi.set((place.inode_bitmap >> 32) as u32);
    descriptor.bg_inode_table_lo.set(place.inode_table as u32);
    descriptor.bg_inode_table_hi.set((place.inode_table >> 32) as u32);
}

/// At most 32768, so the high half is always 0.
fn set_free_blocks(descriptor: &mut GroupDescriptor, blocks: u64) {
    descriptor.bg_free_blocks_count_lo.set(blocks as u16);
}

/// Used inodes come first, so the free ones are also the unused end of the table.
fn set_inodes(descriptor: &mut GroupDescriptor, free: u32, directories: u32) {
    descriptor.bg_free_inodes_count_lo.set(free as u16);
    descriptor.bg_itable_unused_lo.set(free as u16);
    descriptor.bg_used_dirs_count_lo.set(directories as u16);
}

/// The superblock, but for the group it is in and its checksum.
pub fn superblock(plan: &Plan, params: &Params, usage: &Usage, journal_i_block: &[u8; 60]) -> Superblock {
    let geometry = &plan.geometry;
    let mut sb = Superblock::new_zeroed();
    let made_at = seconds(params.made_at);
    sb.s_inodes_count.set(geometry.inodes() as u32);
    sb.s_blocks_count_lo.set(geometry.blocks as u32);
    sb.s_blocks_count_hi.set((geometry.blocks >> 32) as u32);
    sb.s_free_blocks_count_lo.set(plan.free as u32);
    sb.s_free_blocks_count_hi.set((plan.free >> 32) as u32);
    sb.s_free_inodes_count.set((geometry.inodes() - u64::from(usage.last_inode)) as u32);
    sb.s_log_block_size.set(2);
    sb.s_log_cluster_size.set(2);
    sb.s_blocks_per_group.set(BLOCKS_PER_GROUP as u32);
    sb.s_clusters_per_group.set(BLOCKS_PER_GROUP as u32);
    sb.s_inodes_per_group.set(geometry.inodes_per_group);
    sb.s_wtime.set(made_at);
    sb.s_max_mnt_count.set(u16::MAX);
    sb.s_magic.set(format::MAGIC);
    // Cleanly unmounted; go on when an error is found.
    sb.s_state.set(1);
    sb.s_errors.set(1);
    sb.s_lastcheck.set(made_at);
    sb.s_rev_level.set(1);
    sb.s_first_ino.set(format::FIRST_INO);
    sb.s_inode_size.set(format::INODE_SIZE as u16);
    set_features(&mut sb, geometry, usage.values);
    sb.s_uuid = params.uuid;
    sb.s_volume_name[..params.label.len()].copy_from_slice(&params.label);
    sb.s_reserved_gdt_blocks.set(geometry.reserved() as u16);
    sb.s_hash_seed.as_mut_bytes().copy_from_slice(&params.hash_seed);
    sb.s_def_hash_version = format::HASH_HALF_MD4;
    sb.s_default_mount_opts.set(format::MOUNT_XATTR_USER_ACL);
    sb.s_mkfs_time.set(made_at);
    sb.s_min_extra_isize.set(format::EXTRA_ISIZE);
    sb.s_want_extra_isize.set(format::EXTRA_ISIZE);
    sb.s_flags.set(format::FLAG_UNSIGNED_HASH);
    sb.s_log_groups_per_flex = 4;
    sb.s_checksum_type = format::CHECKSUM_CRC32C;
    sb.s_overhead_clusters.set(u32::try_from(overhead(plan)).unwrap_or(0));
    set_journal(&mut sb, &plan.journal, journal_i_block);
    sb
}

fn set_features(sb: &mut Superblock, geometry: &Geometry, values: bool) {
    let (mut compatible, mut incompatible) = (
        compat::HAS_JOURNAL | compat::EXT_ATTR | compat::DIR_INDEX,
        incompat::FILETYPE | incompat::EXTENTS | incompat::FLEX_BG,
    );
    if geometry.reserved() > 0 {
        compatible |= compat::RESIZE_INODE;
    }
    if geometry.descriptors == Descriptors::Wide {
        incompatible |= incompat::BITS64;
        sb.s_desc_size.set(geometry.descriptors.size() as u16);
    }
    if values {
        incompatible |= incompat::EA_INODE;
    }
    sb.s_feature_compat.set(compatible);
    sb.s_feature_incompat.set(incompatible);
    sb.s_feature_ro_compat.set(
        ro_compat::SPARSE_SUPER
            | ro_compat::LARGE_FILE
            | ro_compat::HUGE_FILE
            | ro_compat::DIR_NLINK
            | ro_compat::EXTRA_ISIZE
            | ro_compat::METADATA_CSUM,
    );
}

/// The journal's inode and a copy of its extents and size, for when the inode is damaged.
fn set_journal(sb: &mut Superblock, journal: &[Run], i_block: &[u8; 60]) {
    sb.s_journal_inum.set(format::JOURNAL_INO);
    sb.s_jnl_backup_type = format::JOURNAL_BACKUP_BLOCKS;
    sb.s_jnl_blocks.as_mut_bytes()[..60].copy_from_slice(i_block);
    let size: u64 = journal.iter().map(|run| u64::from(run.length) * BLOCK).sum();
    sb.s_jnl_blocks[15].set((size >> 32) as u32);
    sb.s_jnl_blocks[16].set(size as u32);
}

/// Blocks that never hold file data, as statfs counts them.
fn overhead(plan: &Plan) -> u64 {
    let geometry = &plan.geometry;
    let copies: u64 = geometry.superblock_groups().map(|group| geometry.base(group)).sum();
    let journal: u64 = plan.journal.iter().map(|run| u64::from(run.length)).sum();
    copies + geometry.groups() * (2 + geometry.inode_table_blocks()) + journal
}

/// Seconds for the superblock's 32-bit times.
fn seconds(time: Time) -> u32 {
    time.secs.clamp(0, u32::MAX.into()) as u32
}

/// Writes the descriptor table and the superblock into every group that has them.
pub fn write_superblocks(stage: &mut Stage, geometry: &Geometry, sb: &mut Superblock, table: &[u8]) -> io::Result<()> {
    for group in geometry.superblock_groups() {
        sb.s_block_group_nr.set(group as u16);
        sb.s_checksum.set(checksum::superblock(sb));
        let mut block = vec![0; BLOCK_BYTES];
        let at = if group == 0 { format::SUPERBLOCK_OFFSET as usize } else { 0 };
        block[at..at + size_of::<Superblock>()].copy_from_slice(sb.as_bytes());
        stage.put(geometry.start(group), &block)?;
        stage.put(geometry.start(group) + 1, table)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_cleared_exactly() {
        for from in 0..40 {
            for to in from..40 {
                let mut bits = [0xff; 5];
                clear_bits(&mut bits, from, to);
                for bit in 0..40 {
                    assert_eq!(bits[bit / 8] >> (bit % 8) & 1 == 0, (from..to).contains(&bit), "{from}..{to}: {bit}");
                }
            }
        }
    }
}
