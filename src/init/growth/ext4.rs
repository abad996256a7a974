//! Enlarging a mounted ext4: how large it can be, from its superblock, and the call that makes it so.
//!
//! ```text
//! superblock (byte 1024)  4 blocks  24 log2(block) - 10  32 blocks per group  40 inodes per group  56 magic
//!                         88 bytes per inode  96 incompatible features  206 kept for descriptors  254 descriptor
//!                         336 blocks, high half
//! ```
//!
//! Source: the kernel's Documentation/filesystems/ext4/super.rst and fs/ext4/resize.c.

use nix::errno::Errno;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SUPERBLOCK: u64 = 1024;
const MAGIC: u16 = 0xef53;
/// Incompatible feature: numbers of blocks have 64 bits.
const WIDE: u32 = 0x80;
/// A last group that has less than this to give, beyond what it costs, is left away, as resize2fs does.
const LEAST_USE: u64 = 50;
/// Less than this is not worth a change: partitions are larger than what is in them by up to their alignment.
const LEAST_GAIN: u64 = 1 << 20;
/// EXT4_IOC_RESIZE_FS: write, 8 bytes, 'f', 16.
const RESIZE: u32 = (1 << 30) | (8 << 16) | ((b'f' as u32) << 8) | 16;

/// Enlarges the file system on `device`, mounted at `mounted_at`, to what `length` bytes hold. Whether it grew.
pub fn grow(device: &Path, mounted_at: &str, length: u64) -> Result<bool, String> {
    let mut superblock = [0; 1024];
    let read = File::open(device).and_then(|file| file.read_exact_at(&mut superblock, SUPERBLOCK));
    read.map_err(|error| format!("its superblock cannot be read: {error}"))?;
    let Some(blocks) = blocks_for(&superblock, length) else { return Ok(false) };
    let root = File::open(mounted_at).map_err(|error| format!("it cannot be opened: {error}"))?;
    // SAFETY: the kernel reads one number of 8 bytes, which lives during the call.
    Errno::result(unsafe { libc::ioctl(root.as_raw_fd(), RESIZE as _, &raw const blocks) })
        .map_err(|errno| format!("the kernel does not enlarge it to {blocks} blocks: {}", errno.desc()))?;
    Ok(true)
}

/// How many blocks a file system with this superblock can have in `length` bytes, when that is worth it.
fn blocks_for(superblock: &[u8; 1024], length: u64) -> Option<u64> {
    let half = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
    let word = |at: usize| u64::from(half(at)) | u64::from(half(at + 2)) << 16;
    if half(56) != MAGIC || word(24) > 6 || word(32) == 0 {
        return None;
    }
    let wide = word(96) & u64::from(WIDE) != 0;
    let (block, per_group) = (1024 << word(24), word(32));
    let now = word(4) | if wide { word(336) << 32 } else { 0 };
    let descriptor = if wide { u64::from(half(254)).max(32) } else { 32 };

    let mut blocks = length / block;
    if !wide {
        blocks = blocks.min(u32::MAX.into());
    }
    let descriptors = (blocks.div_ceil(per_group) * descriptor).div_ceil(block);
    let inodes = (word(40) * u64::from(half(88))).div_ceil(block);
    // Superblock, descriptors, both bitmaps, inodes.
    let cost = 1 + descriptors + u64::from(half(206)) + 2 + inodes;
    let tail = blocks % per_group;
    if tail < cost + LEAST_USE {
        blocks -= tail;
    }
    (blocks >= now.checked_add(LEAST_GAIN / block)?).then_some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 32 groups of 4 KiB blocks, 4096 inodes of 256 bytes a group, one block of descriptors and 127 kept.
    fn superblock(blocks: u32) -> [u8; 1024] {
        let mut bytes = [0; 1024];
        let fields: [(usize, u32); 8] =
            [(4, blocks), (24, 2), (32, 32_768), (40, 4096), (56, MAGIC.into()), (88, 256), (96, WIDE), (254, 64)];
        for (at, value) in fields {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes[206..208].copy_from_slice(&127u16.to_le_bytes());
        bytes
    }

    #[test]
    fn it_grows_to_all_there_is_but_a_last_group_of_no_use() {
        let group = 32_768 * 4096;
        let blocks = |length| blocks_for(&superblock(262_144), length);
        assert_eq!(blocks(20 << 30), Some(5 << 20));
        assert_eq!(blocks((20 << 30) + 100 * 4096), Some(5 << 20));
        assert_eq!(blocks((20 << 30) + 1000 * 4096), Some((5 << 20) + 1000));
        assert_eq!(blocks(group * 9), Some(32_768 * 9));
    }

    #[test]
    fn it_never_shrinks_and_ignores_crumbs() {
        let blocks = |length| blocks_for(&superblock(262_144), length);
        for length in [0, 4096, 1 << 30, (1 << 30) - (1 << 20), (1 << 30) + (1 << 20) - 4096] {
            assert_eq!(blocks(length), None, "{length}");
        }
    }

    #[test]
    fn what_is_no_superblock_is_left_alone() {
        let mut bytes = superblock(262_144);
        bytes[56] = 0;
        assert_eq!(blocks_for(&bytes, 20 << 30), None);
        assert_eq!(blocks_for(&[0; 1024], 20 << 30), None);
        assert_eq!(blocks_for(&[0xff; 1024], u64::MAX), None);
    }
}
