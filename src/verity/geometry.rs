//! Where the levels of a tree lie.

use crate::formats::verity::{BLOCK, DIGEST};
use std::ops::Range;

/// Hashes in a block.
const PER_BLOCK: u64 = BLOCK / DIGEST as u64;

/// The levels of a tree over so many data blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks of each level on the hash partition, the lowest level first; none over one data block.
    pub levels: Vec<Range<u64>>,
    /// Blocks of the hash partition, the superblock's included.
    pub blocks: u64,
}

impl Geometry {
    /// Of a tree over `data` blocks, at least one.
    pub fn of(data: u64) -> Geometry {
        let (mut counts, mut below) = (Vec::new(), data);
        while below > 1 {
            below = below.div_ceil(PER_BLOCK);
            counts.push(below);
        }
        // The top is the first behind the superblock.
        let mut next = 1;
        let mut levels: Vec<_> = counts
            .iter()
            .rev()
            .map(|count| {
                next += count;
                next - count..next
            })
            .collect();
        levels.reverse();
        Geometry { levels, blocks: next }
    }

    /// Bytes of the hash partition.
    pub fn bytes(&self) -> u64 {
        self.blocks * BLOCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted_at_every_boundary() {
        let of = |data| Geometry::of(data).levels;
        let (none, top): ([Range<u64>; 0], Range<u64>) = ([], 1..2);
        assert_eq!(of(1), none);
        assert_eq!((of(2), of(128)), (vec![top.clone()], vec![top]));
        assert_eq!(of(129), [2..4, 1..2]);
        assert_eq!(of(128 * 128), [2..130, 1..2]);
        assert_eq!(of(128 * 128 + 1), [4..133, 2..4, 1..2]);
        assert_eq!(Geometry::of(1).bytes(), BLOCK);
        assert_eq!(Geometry::of(128 * 128 + 1).bytes(), 133 * BLOCK);
        // The largest file: eight levels, and no overflow.
        let largest = Geometry::of(i64::MAX as u64 / BLOCK);
        assert_eq!(largest.levels.len(), 8);
    }
}
