//! Extent trees: which blocks of the disk hold which blocks of a file.
//!
//! ```text
//!  i_block (60 bytes)   header │ up to 4 entries        depth 0: extents; else: indexes
//!  node (one block)     header │ up to 340 entries │ checksum
//! ```
//!
//! Trees are built full and from the leaves up. Specification: Documentation/filesystems/ext4/ifork.rst.

use super::body::Run;
use super::checksum::InodeSeed;
use super::format::{BLOCK, EXTENT_MAGIC, EXTENT_MAX, EXTENTS_IN_BLOCK, EXTENTS_IN_INODE};
use super::format::{Extent, ExtentHeader, ExtentIndex};
use std::io;
use zerocopy::IntoBytes;

/// Bytes of a header, an extent and an index entry.
const ENTRY: usize = 12;

/// Number of extents that runs need: one holds at most 32768 blocks.
pub fn count(runs: impl Iterator<Item = Run>) -> u64 {
    runs.map(|run| u64::from(run.length.div_ceil(EXTENT_MAX))).sum()
}

/// Number of blocks a tree of this many extents needs outside the inode.
pub fn node_blocks(extents: u64) -> u64 {
    let (mut entries, mut blocks) = (extents, 0);
    while entries > EXTENTS_IN_INODE as u64 {
        entries = entries.div_ceil(EXTENTS_IN_BLOCK as u64);
        blocks += entries;
    }
    blocks
}

/// Encodes a tree. Its nodes go to the blocks `nodes` gives, through `write`; the root is returned for `i_block`.
pub fn encode(
    runs: impl Iterator<Item = Run>,
    mut nodes: impl Iterator<Item = u64>,
    seed: InodeSeed,
    mut write: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<[u8; 60]> {
    // Entries of the level at hand, as (first block of the file, encoded entry).
    let mut level: Vec<(u32, [u8; ENTRY])> = runs.flat_map(split).map(encode_extent).collect();
    let mut depth = 0;
    while level.len() > EXTENTS_IN_INODE {
        let mut above = Vec::with_capacity(level.len().div_ceil(EXTENTS_IN_BLOCK));
        for entries in level.chunks(EXTENTS_IN_BLOCK) {
            let at = nodes.next().expect("as many nodes as node_blocks says");
            let mut block = vec![0; BLOCK as usize];
            fill_node(&mut block, entries, EXTENTS_IN_BLOCK, depth);
            let tail = ENTRY * (1 + EXTENTS_IN_BLOCK);
            let sum = seed.block(&block[..tail]);
            block[tail..].copy_from_slice(&sum.to_le_bytes());
            write(at, &block)?;
            above.push(encode_index(entries[0].0, at));
        }
        level = above;
        depth += 1;
    }
    let mut root = [0; 60];
    fill_node(&mut root, &level, EXTENTS_IN_INODE, depth);
    Ok(root)
}

/// Cuts a run into extents that are not too long.
fn split(run: Run) -> impl Iterator<Item = Run> {
    (0..run.length).step_by(EXTENT_MAX as usize).map(move |skip| Run {
        logical: run.logical + skip,
        length: EXTENT_MAX.min(run.length - skip),
        start: run.start + u64::from(skip),
    })
}

fn encode_extent(run: Run) -> (u32, [u8; ENTRY]) {
    let extent = Extent {
        ee_block: run.logical.into(),
        ee_len: (run.length as u16).into(),
        ee_start_hi: ((run.start >> 32) as u16).into(),
        ee_start_lo: (run.start as u32).into(),
    };
    (run.logical, zerocopy::transmute!(extent))
}

fn encode_index(first: u32, node: u64) -> (u32, [u8; ENTRY]) {
    let index = ExtentIndex {
        ei_block: first.into(),
        ei_leaf_lo: (node as u32).into(),
        ei_leaf_hi: ((node >> 32) as u16).into(),
        ei_unused: 0.into(),
    };
    (first, zerocopy::transmute!(index))
}

fn fill_node(node: &mut [u8], entries: &[(u32, [u8; ENTRY])], max: usize, depth: u16) {
    let header = ExtentHeader {
        eh_magic: EXTENT_MAGIC.into(),
        eh_entries: (entries.len() as u16).into(),
        eh_max: (max as u16).into(),
        eh_depth: depth.into(),
        eh_generation: 0.into(),
    };
    node[..ENTRY].copy_from_slice(header.as_bytes());
    for (place, (_, entry)) in node[ENTRY..].chunks_exact_mut(ENTRY).zip(entries) {
        place.copy_from_slice(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext4::checksum::Seed;

    #[test]
    fn nodes_are_counted_as_they_are_written() {
        for extents in [0u32, 1, 4, 5, 340, 341, 1360, 1361, 462_400, 462_401] {
            let runs = (0..extents).map(|i| Run { logical: 2 * i, length: 1, start: 10 + 2 * u64::from(i) });
            let mut written = 0;
            let root = encode(runs, 1000.., Seed(1).inode(12, 0), |_, _| {
                written += 1;
                Ok(())
            });
            assert_eq!(written, node_blocks(extents.into()), "{extents}");
            let depth = match extents {
                0..=4 => 0,
                5..=1360 => 1,
                1361..=462_400 => 2,
                _ => 3,
            };
            assert_eq!(root.unwrap()[6], depth, "{extents}");
        }
    }

    #[test]
    fn long_runs_are_cut() {
        let run = Run { logical: 5, length: 70_000, start: 100 };
        let parts: Vec<_> = split(run).collect();
        assert_eq!(parts.iter().map(|p| p.length).collect::<Vec<_>>(), [32_768, 32_768, 4464]);
        assert_eq!(parts[2], Run { logical: 65_541, length: 4464, start: 65_636 });
        assert_eq!(count([run].into_iter()), 3);
    }
}
