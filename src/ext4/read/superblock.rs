//! The file system as a whole: superblock, group descriptors, bitmaps, single blocks.

use super::error::{Part, ReadError};
use crate::ext4::checksum::{self, Seed};
use crate::ext4::format::{self, GroupDescriptor, SUPERBLOCK_OFFSET, Superblock};
use crate::ext4::format::{compat, group_flag, incompat, ro_compat};
use crate::ext4::geometry::has_superblock;
use crate::formats::ReadAt;
use std::cell::Cell;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Features a reader must know, and knows.
const KNOWN: u32 = incompat::FILETYPE
    | incompat::META_BG
    | incompat::EXTENTS
    | incompat::BITS64
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::CSUM_SEED
    | incompat::LARGEDIR;
/// The old name for 32-byte descriptors.
const MIN_DESCRIPTOR: usize = 32;

/// An opened file system.
pub struct FileSystem<'a> {
    source: &'a dyn ReadAt,
    start: u64,
    sb: Superblock,
    pub(super) block_size: usize,
    pub(super) blocks: u64,
    /// Where checksums are kept (`metadata_csum`).
    pub(super) seed: Option<Seed>,
    /// Bytes read of attributes that have inodes of their own.
    pub(super) values_read: Cell<u64>,
}

impl<'a> FileSystem<'a> {
    /// Opens the file system that begins at byte `start`.
    pub fn open(source: &'a dyn ReadAt, start: u64) -> Result<Self, ReadError> {
        let mut sb = Superblock::new_zeroed();
        source.read_at(start.checked_add(SUPERBLOCK_OFFSET).ok_or(ReadError::NotExt4)?, sb.as_mut_bytes())?;
        if sb.s_magic.get() != format::MAGIC {
            return Err(ReadError::NotExt4);
        }
        let seed = seed_of(&sb)?;
        check_features(&sb)?;
        let wide = sb.s_feature_incompat.get() & incompat::BITS64 != 0;
        let high = if wide { u64::from(sb.s_blocks_count_hi.get()) } else { 0 };
        let this = FileSystem {
            source,
            start,
            sb,
            block_size: 1024usize << sb.s_log_block_size.get().min(6),
            blocks: u64::from(sb.s_blocks_count_lo.get()) | high << 32,
            seed,
            values_read: Cell::new(0),
        };
        this.check_numbers()?;
        Ok(this)
    }

    fn check_numbers(&self) -> Result<(), ReadError> {
        let sb = &self.sb;
        let bits = 8 * self.block_size as u32;
        let sane = sb.s_log_block_size.get() <= 5
            && (1..=bits).contains(&sb.s_blocks_per_group.get())
            && (1..=bits).contains(&sb.s_inodes_per_group.get())
            && self.inode_size() >= 128
            && self.inode_size() <= self.block_size
            && self.inode_size().is_power_of_two()
            && (MIN_DESCRIPTOR..=self.block_size).contains(&self.descriptor_size())
            && self.descriptor_size().is_power_of_two()
            && self.blocks > u64::from(sb.s_first_data_block.get())
            && self.blocks < 1 << 48;
        if sane { Ok(()) } else { Err(ReadError::Damaged(Part::Superblock)) }
    }

    /// `s_uuid`.
    pub fn uuid(&self) -> [u8; 16] {
        self.sb.s_uuid
    }

    /// `s_volume_name` without the zeros after it.
    pub fn label(&self) -> &[u8] {
        let name = &self.sb.s_volume_name;
        &name[..name.iter().position(|&byte| byte == 0).unwrap_or(name.len())]
    }

    /// Bytes the file system covers.
    pub fn size(&self) -> u64 {
        self.blocks * self.block_size as u64
    }

    /// Bytes of free blocks, as the superblock counts them.
    pub fn free(&self) -> u64 {
        let blocks =
            u64::from(self.sb.s_free_blocks_count_lo.get()) | u64::from(self.sb.s_free_blocks_count_hi.get()) << 32;
        blocks.min(self.blocks) * self.block_size as u64
    }

    /// Inodes, and how many of them are free.
    pub fn inodes(&self) -> (u32, u32) {
        (self.sb.s_inodes_count.get(), self.sb.s_free_inodes_count.get())
    }

    /// The superblock.
    pub fn superblock(&self) -> &Superblock {
        &self.sb
    }

    /// Verifies all descriptors and bitmaps.
    pub fn verify_groups(&self) -> Result<(), ReadError> {
        for group in 0..self.groups() {
            let descriptor = self.descriptor(group)?;
            let Some(seed) = self.seed else { continue };
            let flags = descriptor.bg_flags.get();
            let d = &descriptor;
            let bitmaps = [
                (
                    d.bg_block_bitmap_lo,
                    d.bg_block_bitmap_hi,
                    d.bg_block_bitmap_csum_lo,
                    d.bg_block_bitmap_csum_hi,
                    group_flag::BLOCK_UNINIT,
                    self.sb.s_blocks_per_group.get(),
                ),
                (
                    d.bg_inode_bitmap_lo,
                    d.bg_inode_bitmap_hi,
                    d.bg_inode_bitmap_csum_lo,
                    d.bg_inode_bitmap_csum_hi,
                    group_flag::INODE_UNINIT,
                    self.sb.s_inodes_per_group.get(),
                ),
            ];
            for (low, high, sum_low, sum_high, uninit, bits) in bitmaps {
                if flags & uninit != 0 {
                    continue;
                }
                let place = u64::from(low.get()) | u64::from(high.get()) << 32;
                let block = self.block(place, Part::Bitmap(group))?;
                let sum = seed.bitmap(&block[..(bits as usize / 8).min(block.len())]);
                let mut stored = u32::from(sum_low.get());
                let mut expected = sum & 0xffff;
                if self.descriptor_size() >= size_of::<GroupDescriptor>() {
                    stored |= u32::from(sum_high.get()) << 16;
                    expected = sum;
                }
                if stored != expected {
                    return Err(ReadError::Checksum(Part::Bitmap(group)));
                }
            }
        }
        Ok(())
    }

    pub(super) fn inode_size(&self) -> usize {
        // The first revision had no such field.
        if self.sb.s_rev_level.get() == 0 { 128 } else { self.sb.s_inode_size.get().into() }
    }

    pub(super) fn inodes_per_group(&self) -> u32 {
        self.sb.s_inodes_per_group.get()
    }

    fn descriptor_size(&self) -> usize {
        match self.sb.s_feature_incompat.get() & incompat::BITS64 {
            0 => MIN_DESCRIPTOR,
            _ => self.sb.s_desc_size.get().into(),
        }
    }

    /// First block of a group, and how many it has: the last one may be shorter.
    pub(super) fn group_blocks(&self, group: u64) -> (u64, u64) {
        let size = u64::from(self.sb.s_blocks_per_group.get());
        let start = u64::from(self.sb.s_first_data_block.get()) + group * size;
        (start, size.min(self.blocks.saturating_sub(start)))
    }

    /// Blocks of one copy of the descriptor table; of a meta group each copy has one.
    pub(super) fn descriptor_blocks(&self) -> u64 {
        let meta = self.sb.s_feature_incompat.get() & incompat::META_BG != 0;
        let all = (self.groups() * self.descriptor_size() as u64).div_ceil(self.block_size as u64);
        if meta { all.min(self.sb.s_first_meta_bg.get().into()) } else { all }
    }

    pub(super) fn groups(&self) -> u64 {
        let first = u64::from(self.sb.s_first_data_block.get());
        (self.blocks - first).div_ceil(self.sb.s_blocks_per_group.get().into())
    }

    /// Reads a block that must be inside the file system.
    pub(super) fn block(&self, number: u64, part: Part) -> Result<Vec<u8>, ReadError> {
        let mut block = vec![0; self.block_size];
        self.read(number, 0, &mut block, part)?;
        Ok(block)
    }

    /// Reads bytes that lie `skip` bytes after the start of a block.
    pub(super) fn read(&self, block: u64, skip: u64, bytes: &mut [u8], part: Part) -> Result<(), ReadError> {
        let at = block.checked_mul(self.block_size as u64).and_then(|at| at.checked_add(skip));
        let end = at.and_then(|at| at.checked_add(bytes.len() as u64)).filter(|&end| end <= self.size());
        let (Some(at), Some(_)) = (at, end) else { return Err(ReadError::Damaged(part)) };
        let place = self.start.checked_add(at).ok_or(ReadError::Damaged(part))?;
        Ok(self.source.read_at(place, bytes)?)
    }

    /// The descriptor of a group, verified.
    pub(super) fn descriptor(&self, group: u64) -> Result<GroupDescriptor, ReadError> {
        let part = Part::Descriptor(group);
        if group >= self.groups() {
            return Err(ReadError::Damaged(part));
        }
        let size = self.descriptor_size();
        let per_block = (self.block_size / size) as u64;
        let mut bytes = vec![0; size.max(size_of::<GroupDescriptor>())];
        let skip = group % per_block * size as u64;
        self.read(self.table_block(group / per_block, per_block), skip, &mut bytes[..size], part)?;
        let (descriptor, _) = GroupDescriptor::read_from_prefix(&bytes).map_err(|_| ReadError::Damaged(part))?;
        if let Some(seed) = self.seed {
            let known = size.min(size_of::<GroupDescriptor>());
            if size == known && seed.descriptor(group as u32, &descriptor, known) != descriptor.bg_checksum.get() {
                return Err(ReadError::Checksum(part));
            }
        }
        Ok(descriptor)
    }

    /// Where a block of the descriptor table is: after the superblock, or in its own meta group (`meta_bg`).
    fn table_block(&self, index: u64, per_block: u64) -> u64 {
        let first = u64::from(self.sb.s_first_data_block.get());
        let meta = self.sb.s_feature_incompat.get() & incompat::META_BG != 0;
        if !meta || index < u64::from(self.sb.s_first_meta_bg.get()) {
            return first + 1 + index;
        }
        let group = index * per_block;
        first + group * u64::from(self.sb.s_blocks_per_group.get()) + u64::from(self.holds_superblock(group))
    }

    pub(super) fn holds_superblock(&self, group: u64) -> bool {
        if self.sb.s_feature_compat.get() & compat::SPARSE_SUPER2 != 0 {
            return group == 0 || self.sb.s_backup_bgs.iter().any(|backup| u64::from(backup.get()) == group);
        }
        self.sb.s_feature_ro_compat.get() & ro_compat::SPARSE_SUPER == 0 || has_superblock(group)
    }
}

fn seed_of(sb: &Superblock) -> Result<Option<Seed>, ReadError> {
    if sb.s_feature_ro_compat.get() & ro_compat::METADATA_CSUM == 0 {
        return Ok(None);
    }
    if sb.s_checksum.get() != checksum::superblock(sb) {
        return Err(ReadError::Checksum(Part::Superblock));
    }
    Ok(Some(match sb.s_feature_incompat.get() & incompat::CSUM_SEED {
        0 => Seed::new(&sb.s_uuid),
        _ => Seed(sb.s_checksum_seed.get()),
    }))
}

fn check_features(sb: &Superblock) -> Result<(), ReadError> {
    let features = sb.s_feature_incompat.get();
    if features & incompat::RECOVER != 0 {
        return Err(ReadError::Journal);
    }
    if features & !KNOWN != 0 {
        return Err(ReadError::Unsupported(format!("incompatible features {:#x}", features & !KNOWN)));
    }
    if sb.s_feature_ro_compat.get() & ro_compat::BIGALLOC != 0 {
        return Err(ReadError::Unsupported("bigalloc".into()));
    }
    if features & incompat::FILETYPE == 0 {
        return Err(ReadError::Unsupported("directories without file types".into()));
    }
    Ok(())
}
