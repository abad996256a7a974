//! An empty journal: how long it is and its first block.
//!
//! Written clean (`s_start` 0) and without features of its own: like mke2fs, the kernel turns on its checksums when
//! it mounts. The other blocks of the journal are never read before they are written, and stay holes in the output.
//! Specification: Documentation/filesystems/ext4/journal.rst.

use super::format::{BLOCK, JOURNAL_MAGIC, JOURNAL_SUPERBLOCK_V2, JournalSuperblock};
use zerocopy::{FromZeros, IntoBytes};

/// Fewest blocks jbd2 accepts.
pub const LEAST: u64 = 1024;

/// Blocks of the journal mke2fs gives a file system of this many blocks.
pub fn usual_blocks(blocks: u64) -> u64 {
    const K: u64 = 1024;
    match blocks {
        b if b < 32 * K => LEAST,
        b if b < 256 * K => 4 * K,
        b if b < 512 * K => 8 * K,
        b if b < 4096 * K => 16 * K,
        b if b < 8192 * K => 32 * K,
        b if b < 16_384 * K => 64 * K,
        b if b < 32_768 * K => 128 * K,
        _ => 256 * K,
    }
}

/// The first block of a journal of `blocks` blocks.
pub fn superblock(blocks: u64, uuid: &[u8; 16]) -> Vec<u8> {
    let mut sb = JournalSuperblock::new_zeroed();
    sb.h_magic.set(JOURNAL_MAGIC);
    sb.h_blocktype.set(JOURNAL_SUPERBLOCK_V2);
    sb.s_blocksize.set(BLOCK as u32);
    sb.s_maxlen.set(blocks as u32);
    sb.s_first.set(1);
    sb.s_sequence.set(1);
    sb.s_nr_users.set(1);
    sb.s_uuid = *uuid;
    let mut block = sb.as_bytes().to_vec();
    block.resize(BLOCK as usize, 0);
    block
}
