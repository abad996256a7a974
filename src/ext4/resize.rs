//! The resize inode: owner of the blocks kept after each descriptor table, so that a file system can grow.
//!
//! ```text
//!  inode 7 ─▶ double indirect block ─▶ kept block 1 of group 0 ─▶ kept block 1 of group 1, 3, 5, 7, 9, …
//!                                   ─▶ kept block 2 of group 0 ─▶ kept block 2 of group 1, 3, 5, 7, 9, …
//! ```
//!
//! The kept blocks of group 0 serve as indirect blocks. The pointers of the first level lie at the number the block
//! would have in the table. Old block maps, 32-bit numbers, no checksums. Source: the kernel's `fs/ext4/resize.c`
//! (`reserve_backup_gdb`, `add_new_gdb`).

use super::format::{BLOCK, Inode, RESIZE_INO, mode};
use super::geometry::Geometry;
use super::inode;
use super::stage::Stage;
use crate::rootfs::Time;
use crate::rootfs::tree::Attrs;
use std::io;

/// Pointers of an indirect block.
const POINTERS: u64 = BLOCK / 4;
/// Where the double indirect pointer is in `i_block`.
const DOUBLE_INDIRECT: usize = 13 * 4;
/// Direct pointers before the indirect ones.
const DIRECT: u64 = 12;

/// Writes the blocks, the double indirect one at `root`, and returns the inode, not sealed yet.
pub fn write(stage: &mut Stage, geometry: &Geometry, root: u64, made_at: Time) -> io::Result<Inode> {
    let first = 1 + geometry.table_blocks();
    let copies: Vec<u64> = geometry.superblock_groups().skip(1).map(|group| geometry.start(group)).collect();
    let mut roots = vec![0; BLOCK as usize];
    for kept in first..first + geometry.reserved() {
        set_pointer(&mut roots, (kept - 1) % POINTERS, kept);
        if !copies.is_empty() {
            let mut block = vec![0; BLOCK as usize];
            for (i, start) in (0..).zip(&copies) {
                set_pointer(&mut block, i, start + kept);
            }
            stage.put(kept, &block)?;
        }
    }
    stage.put(root, &roots)?;
    let attrs = Attrs { mode: 0o600, mtime: made_at, ..Attrs::default() };
    let mut inode = inode::with_attrs(mode::REGULAR, &attrs);
    inode.i_links_count.set(1);
    inode.i_block[DOUBLE_INDIRECT..][..4].copy_from_slice(&(root as u32).to_le_bytes());
    inode::set_size(&mut inode, (DIRECT + POINTERS + POINTERS * POINTERS) * BLOCK);
    inode::set_blocks(&mut inode, 1 + geometry.reserved() * (1 + copies.len() as u64));
    Ok(inode)
}

/// Number of the resize inode.
pub const NUMBER: u32 = RESIZE_INO;

fn set_pointer(block: &mut [u8], index: u64, to: u64) {
    block[index as usize * 4..][..4].copy_from_slice(&(to as u32).to_le_bytes());
}
