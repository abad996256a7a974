//! Which blocks file bodies get, while the size of the file system is still unknown.
//!
//! ```text
//!  ███ used ░ free ███ used ░░ free █ │ frontier … nothing given out from here on
//! ```
//!
//! A request is met by the smallest free range that holds it, the lowest of several, or at the frontier. Places
//! depend only on the order of requests and returns, never on the size of the file system, and step over every
//! place where some size would need a copy of the superblock.

use super::format::BLOCKS_PER_GROUP;
use super::geometry::{has_superblock, next_with_superblock};
use std::collections::{BTreeMap, BTreeSet};

/// Most blocks in one request: 32 MiB.
pub const CLAIM_MAX: u64 = 8192;

/// Free and used blocks of an endless disk.
#[derive(Clone, Debug)]
pub struct Allocator {
    by_start: BTreeMap<u64, u64>,
    by_length: BTreeSet<(u64, u64)>,
    frontier: u64,
    /// Blocks at the start of a group with a superblock: it and the room for descriptors.
    base: u64,
}

impl Allocator {
    /// Nothing used but the superblocks and `room` blocks after each.
    pub fn new(room: u64) -> Self {
        Allocator { by_start: BTreeMap::new(), by_length: BTreeSet::new(), frontier: 1 + room, base: 1 + room }
    }

    /// Blocks at the start of a group with a superblock.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The free ranges below the frontier as (start, length), ascending.
    pub fn holes(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + '_ {
        self.by_start.iter().map(|(&start, &length)| (start, length))
    }

    /// As it was with this frontier and these free ranges below it; `None` when they are none that it can have had.
    pub fn resumed(room: u64, frontier: u64, holes: &[(u64, u64)]) -> Option<Allocator> {
        let mut this = Allocator::new(room);
        let mut end = this.base;
        for &(start, length) in holes {
            let is_right = start >= end && length > 0 && start.checked_add(length)? <= frontier;
            is_right.then_some(())?;
            this.add(start, length);
            end = start + length;
        }
        this.frontier = Some(frontier).filter(|&frontier| frontier >= this.base)?;
        Some(this)
    }

    /// No block from here on was given out and is not back yet.
    pub fn frontier(&self) -> u64 {
        self.frontier
    }

    /// One more than the last used block: at most the frontier, less the free range and the superblock before it.
    pub fn end(&self) -> u64 {
        let mut end = self.frontier;
        loop {
            let before = self.by_start.range(..end).next_back().filter(|&(&start, &length)| start + length == end);
            let copy = end.checked_sub(self.base).filter(|&start| start > 0 && is_superblock(start));
            match (before, copy) {
                (Some((&start, _)), _) => end = start,
                (None, Some(start)) => end = start,
                (None, None) => return end,
            }
        }
    }

    /// Takes `count` consecutive blocks, at most [`CLAIM_MAX`], and returns the first.
    pub fn take(&mut self, count: u64) -> u64 {
        debug_assert!(count > 0 && count <= CLAIM_MAX);
        if let Some(&(length, start)) = self.by_length.range((count, 0)..).next() {
            self.remove(start, length);
            if length > count {
                self.add(start + count, length - count);
            }
            return start;
        }
        loop {
            let group = self.frontier.div_ceil(BLOCKS_PER_GROUP);
            let wall = next_with_superblock(group) * BLOCKS_PER_GROUP;
            let start = self.frontier;
            if wall - start >= count {
                self.frontier += count;
                return start;
            }
            if wall > start {
                self.add(start, wall - start);
            }
            self.frontier = wall + self.base;
        }
    }

    /// Gives `count` blocks back that were taken.
    pub fn give(&mut self, start: u64, count: u64) {
        if count == 0 {
            return;
        }
        let (mut start, mut count) = (start, count);
        if let Some((&before, &length)) = self.by_start.range(..start).next_back()
            && before + length == start
        {
            self.remove(before, length);
            (start, count) = (before, count + length);
        }
        if let Some(&length) = self.by_start.get(&(start + count)) {
            self.remove(start + count, length);
            count += length;
        }
        if start + count == self.frontier {
            self.frontier = start;
        } else {
            self.add(start, count);
        }
    }

    /// The free ranges of a file system of `blocks` blocks as (start, length), ascending.
    pub fn free(&self, blocks: u64) -> Vec<(u64, u64)> {
        let mut free: Vec<_> = self.by_start.range(..blocks).map(|(&s, &l)| (s, l.min(blocks - s))).collect();
        let mut at = self.frontier;
        while at < blocks {
            if is_superblock(at) {
                at += self.base;
                continue;
            }
            let wall = next_with_superblock(at / BLOCKS_PER_GROUP + 1) * BLOCKS_PER_GROUP;
            let end = wall.min(blocks);
            free.push((at, end - at));
            at = end;
        }
        free
    }

    fn add(&mut self, start: u64, length: u64) {
        self.by_start.insert(start, length);
        self.by_length.insert((length, start));
    }

    fn remove(&mut self, start: u64, length: u64) {
        self.by_start.remove(&start);
        self.by_length.remove(&(length, start));
    }
}

fn is_superblock(block: u64) -> bool {
    block.is_multiple_of(BLOCKS_PER_GROUP) && has_superblock(block / BLOCKS_PER_GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn returned_blocks_are_used_again() {
        let mut blocks = Allocator::new(128);
        let a = blocks.take(10);
        let b = blocks.take(10);
        assert_eq!((a, b), (129, 139));
        blocks.give(a, 10);
        assert_eq!(blocks.take(11), 149);
        assert_eq!(blocks.take(4), 129);
        assert_eq!(blocks.take(6), 133);
    }

    #[test]
    fn the_frontier_goes_back_when_the_last_blocks_return() {
        let mut blocks = Allocator::new(128);
        let (a, b) = (blocks.take(5), blocks.take(5));
        blocks.give(a, 5);
        blocks.give(b, 5);
        assert_eq!(blocks.frontier(), 129);
    }

    proptest! {
        #[test]
        fn no_block_has_two_owners(steps in prop::collection::vec((any::<prop::sample::Index>(), 1u64..CLAIM_MAX, any::<bool>()), 1..200)) {
            let mut blocks = Allocator::new(128);
            let mut owned: Vec<(u64, u64)> = Vec::new();
            for (pick, count, give) in steps {
                if give && !owned.is_empty() {
                    let (start, length) = owned.swap_remove(pick.index(owned.len()));
                    blocks.give(start, length);
                } else {
                    owned.push((blocks.take(count), count));
                }
            }
            let end = 40 * BLOCKS_PER_GROUP;
            let mut all = owned;
            all.extend(blocks.free(end));
            all.extend((0..40).filter(|&g| has_superblock(g)).map(|g| (g * BLOCKS_PER_GROUP, 129)));
            all.sort_unstable();
            let mut at = 0;
            for (start, length) in all {
                prop_assert_eq!(start, at);
                at = start + length;
            }
            prop_assert_eq!(at, end);
        }
    }
}
