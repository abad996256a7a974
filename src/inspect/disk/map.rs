//! The map: every byte of a disk and whose it is.
//!
//! Claims are made in any order; where two are about the same bytes the later one counts. What nobody claims is free
//! outside of partitions and not known inside of them.

use crate::inspect::model::{Owner, Range};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Most ranges that a report lists; beyond it neighbours are joined under the larger one's owner.
const MAX_RANGES: usize = 4096;
/// Most pieces held while a map is drawn; claims beyond it are left out, and [`Map::is_full`] says so.
const MAX_PIECES: usize = 1 << 20;

/// A map that is being drawn.
pub struct Map {
    size: u64,
    /// By first byte; each reaches to the next one's start.
    starts: BTreeMap<u64, Claim>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    owner: Owner,
    what: Rc<str>,
    partition: Option<u32>,
}

impl Map {
    /// A disk of which nothing is claimed.
    pub fn new(size: u64) -> Map {
        let nobody = Claim { owner: Owner::Free, what: "not partitioned".into(), partition: None };
        Map { size, starts: BTreeMap::from([(0, nobody)]) }
    }

    /// Says whose `length` bytes at `offset` are.
    pub fn claim(&mut self, (offset, length): (u64, u64), owner: Owner, what: &str, partition: Option<u32>) {
        let end = offset.saturating_add(length).min(self.size);
        if offset >= end || self.is_full() {
            return;
        }
        let after = self.starts.range(..=end).next_back().map(|(_, claim)| claim.clone());
        let covered: Vec<u64> = self.starts.range(offset..end).map(|(at, _)| *at).collect();
        covered.iter().for_each(|at| _ = self.starts.remove(at));
        self.starts.insert(offset, Claim { owner, what: what.into(), partition });
        if end < self.size
            && let Some(after) = after
        {
            self.starts.entry(end).or_insert(after);
        }
    }

    /// Whether claims were left out.
    pub fn is_full(&self) -> bool {
        self.starts.len() >= MAX_PIECES
    }

    /// All ranges in order, neighbours of one kind together.
    pub fn finish(self) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        let ends = self.starts.keys().skip(1).copied().chain([self.size]);
        for ((offset, claim), end) in self.starts.iter().zip(ends) {
            let length = end.saturating_sub(*offset);
            match ranges.last_mut() {
                _ if length == 0 => {}
                Some(last)
                    if (last.owner, last.what.as_str(), last.partition)
                        == (claim.owner, &*claim.what, claim.partition) =>
                {
                    last.length += length;
                }
                _ => ranges.push(Range {
                    offset: *offset,
                    length,
                    owner: claim.owner,
                    what: claim.what.to_string(),
                    partition: claim.partition,
                }),
            }
        }
        // Never more than 63 times, whatever cannot be joined: partitions stay apart.
        for least in (12..63).map(|bits| 1 << bits) {
            if ranges.len() > MAX_RANGES {
                ranges = joined(ranges, least);
            }
        }
        ranges
    }
}

/// Joins ranges smaller than `least` with the one before them in the same partition.
fn joined(ranges: Vec<Range>, least: u64) -> Vec<Range> {
    let mut out: Vec<Range> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if last.partition == range.partition && range.length.min(last.length) < least => {
                let length = last.length + range.length;
                if range.length > last.length {
                    (last.owner, last.what) = (range.owner, range.what);
                }
                last.length = length;
            }
            _ => out.push(range),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(map: Map) -> Vec<(u64, u64, Owner)> {
        map.finish().into_iter().map(|range| (range.offset, range.length, range.owner)).collect()
    }

    #[test]
    fn later_claims_count_and_the_rest_stays() {
        let mut map = Map::new(100);
        map.claim((10, 50), Owner::Unknown, "partition", Some(1));
        map.claim((20, 10), Owner::Kernel, "kernel", Some(1));
        map.claim((90, 1000), Owner::Firmware, "table", None);
        map.claim((200, 10), Owner::Files, "beyond", None);
        assert_eq!(
            shown(map),
            [
                (0, 10, Owner::Free),
                (10, 10, Owner::Unknown),
                (20, 10, Owner::Kernel),
                (30, 30, Owner::Unknown),
                (60, 30, Owner::Free),
                (90, 10, Owner::Firmware),
            ]
        );
    }

    #[test]
    fn a_claim_over_several_leaves_what_follows() {
        let mut map = Map::new(100);
        map.claim((0, 10), Owner::Kernel, "a", None);
        map.claim((10, 80), Owner::Loader, "b", None);
        map.claim((5, 20), Owner::Userland, "c", None);
        assert_eq!(
            shown(map),
            [(0, 5, Owner::Kernel), (5, 20, Owner::Userland), (25, 65, Owner::Loader), (90, 10, Owner::Free)]
        );
    }

    #[test]
    fn very_many_ranges_are_joined_and_add_up() {
        let mut map = Map::new(1 << 30);
        map.claim((0, 1 << 30), Owner::Free, "free", Some(3));
        for i in 0..20_000u64 {
            map.claim((i * 50_000, 20_000), Owner::Userland, "files", Some(3));
        }
        let ranges = map.finish();
        assert!(ranges.len() <= MAX_RANGES + 1, "{}", ranges.len());
        assert_eq!(ranges.iter().map(|range| range.length).sum::<u64>(), 1 << 30);
    }
}
