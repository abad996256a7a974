//! The FAT itself: of every cluster what follows it.

use super::shape::Shape;
use super::{Fault, Why};
use crate::formats::{u16_at, u32_at};

/// Largest FAT that is held in memory, in bytes: that of a volume of 16 million clusters.
pub const MAX_FAT: u64 = 64 << 20;
/// The bits of a FAT32 entry that count; the others stay as they are.
const MASK: u32 = 0x0fff_ffff;
/// A chain's end, as it is written.
const END: u32 = MASK;

/// What the FAT says of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It belongs to nobody.
    Free,
    /// It is not to be used.
    Bad,
    /// It is the last of its chain.
    End,
    /// What follows it; no cluster need have this number.
    Next(u32),
}

/// A FAT in memory.
#[derive(Debug)]
pub struct Links {
    shape: Shape,
    bytes: Vec<u8>,
}

/// The clusters of a chain, and what is wrong with it.
pub struct Chain {
    /// In order.
    pub clusters: Vec<u32>,
    /// Why there are no more, if there should be, or why there should be none.
    pub fault: Option<Why>,
}

impl Links {
    /// Makes it of the bytes of a FAT, as many as [`Shape::used_fat`] says.
    pub fn new(shape: Shape, bytes: Vec<u8>) -> Result<Links, Fault> {
        if (bytes.len() as u64) < shape.used_fat() { Err(Fault::ShortFat) } else { Ok(Links { shape, bytes }) }
    }

    /// What follows a cluster; `None` when there is no such cluster.
    pub fn get(&self, cluster: u32) -> Option<Link> {
        let (value, n) = (self.raw(cluster)?, u32::from(self.shape.bits.min(28)));
        let bad = (1u32 << n) - 9;
        Some(match value {
            0 => Link::Free,
            _ if value == bad => Link::Bad,
            _ if value > bad => Link::End,
            _ => Link::Next(value),
        })
    }

    fn raw(&self, cluster: u32) -> Option<u32> {
        let n = Some(cluster as usize).filter(|_| self.shape.has(cluster))?;
        match self.shape.bits {
            12 => {
                let pair = u32::from(u16_at(&self.bytes, n + n / 2)?);
                Some(if n.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 })
            }
            16 => u16_at(&self.bytes, 2 * n).map(u32::from),
            _ => u32_at(&self.bytes, 4 * n).map(|value| value & MASK),
        }
    }

    /// Sets an entry of a FAT32. Clusters that are not there have none.
    pub fn set(&mut self, cluster: u32, link: Link) {
        let value = match link {
            Link::Free => 0,
            Link::Bad => END - 8,
            Link::End => END,
            Link::Next(next) => next & MASK,
        };
        let at = 4 * cluster as usize;
        let kept = u32_at(&self.bytes, at).unwrap_or_default() & !MASK;
        if let Some(place) = self.bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&(kept | value).to_le_bytes());
        }
    }

    /// Follows a chain that should have `wanted` clusters.
    pub fn chain(&self, first: u32, wanted: u64) -> Chain {
        let chain = self.follow(first, wanted);
        match chain.fault {
            None if (chain.clusters.len() as u64) < wanted => Chain { fault: Some(Why::Short), ..chain },
            _ => chain,
        }
    }

    /// Follows a chain of `most` clusters or fewer.
    pub fn follow(&self, first: u32, most: u64) -> Chain {
        let mut clusters = Vec::new();
        let mut link = if first == 0 { Link::End } else { Link::Next(first) };
        let fault = loop {
            match link {
                Link::End => break None,
                Link::Free => break Some(Why::Free),
                Link::Bad => break Some(Why::Bad),
                Link::Next(_) if clusters.len() as u64 >= most => break Some(Why::Long),
                Link::Next(next) => match self.get(next) {
                    None => break Some(Why::Leaves),
                    Some(Link::Free) => break Some(Why::Free),
                    Some(Link::Bad) => break Some(Why::Bad),
                    Some(after) => {
                        clusters.push(next);
                        link = after;
                    }
                },
            }
        };
        Chain { clusters, fault }
    }

    /// Every cluster there is.
    pub fn all(&self) -> impl Iterator<Item = u32> + use<> {
        2..self.shape.clusters + 2
    }

    /// The clusters that are free.
    pub fn free(&self) -> impl Iterator<Item = u32> {
        self.all().filter(|cluster| self.get(*cluster) == Some(Link::Free))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
