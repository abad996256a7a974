//! A tree compared with the data it is over.

use super::geometry::Geometry;
use super::tree::{GROUP, Hasher, RootHash};
use crate::formats::ReadAt;
use crate::formats::verity::{BLOCK, DIGEST, Superblock};
use std::io;
use thiserror::Error;

const BYTES: usize = BLOCK as usize;

/// What is not as it was when the tree was made. Block numbers count from 0.
#[derive(Debug, Error)]
pub enum Fault {
    /// Data differ from their hash.
    #[error("data block {0} is corrupted")]
    Data(u64),
    /// A block of the tree differs from its hash, or is not filled with zeros.
    #[error("block {0} of the hash tree is corrupted")]
    Tree(u64),
    /// The tree is whole, and another.
    #[error("the root hash is another")]
    Root,
    /// Reading failed.
    #[error("cannot be read")]
    Io(#[from] io::Error),
}

/// Reads all of `data`, from byte `at`, and of the tree, whose superblock is at byte `tree` of `hashes`, from the top
/// down, and compares every hash. Memory: two groups of blocks.
///
/// # Errors
/// The first fault, from the top of the tree down to the data.
pub fn check(
    (data, at): (&dyn ReadAt, u64),
    (hashes, tree): (&dyn ReadAt, u64),
    superblock: &Superblock,
    root: &RootHash,
) -> Result<(), Fault> {
    let geometry = Geometry::of(superblock.blocks);
    let hasher = Hasher::new(&superblock.salt);
    let block = |source: &dyn ReadAt, start: u64, number: u64, buffer: &mut [u8]| {
        let place = number.checked_mul(BLOCK).and_then(|bytes| bytes.checked_add(start));
        source.read_at(place.ok_or(io::ErrorKind::UnexpectedEof)?, buffer)
    };
    let (mut page, mut found) = ([0; BYTES], [0; BYTES]);
    match geometry.levels.last() {
        Some(top) => block(hashes, tree, top.start, &mut page)?,
        None => block(data, at, 0, &mut page)?,
    }
    if hasher.one(&page) != *root {
        return Err(Fault::Root);
    }
    let mut blocks = vec![0; GROUP * BYTES];
    for (number, level) in geometry.levels.iter().enumerate().rev() {
        // What the hashes of this level are of.
        let below = number.checked_sub(1).map(|below| geometry.levels[below].clone());
        let (source, start, first, count) = match &below {
            Some(below) => (hashes, tree, below.start, below.end - below.start),
            None => (data, at, 0, superblock.blocks),
        };
        for group in 0..level.end - level.start {
            let from = group * GROUP as u64;
            let here = (count - from).min(GROUP as u64);
            block(hashes, tree, level.start + group, &mut page)?;
            let bytes = &mut blocks[..here as usize * BYTES];
            block(source, start, first + from, bytes)?;
            hasher.hash(bytes, &mut found);
            let differs =
                page.as_chunks::<DIGEST>().0.iter().zip(found.as_chunks::<DIGEST>().0).position(|(a, b)| a != b);
            match differs.map(|index| index as u64) {
                None => {}
                Some(index) if index >= here => return Err(Fault::Tree(level.start + group)),
                Some(index) if below.is_some() => return Err(Fault::Tree(first + from + index)),
                Some(index) => return Err(Fault::Data(from + index)),
            }
        }
    }
    Ok(())
}
