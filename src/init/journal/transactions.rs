//! A journal of ext4 as it lies on the disk: which transactions are whole, and what belongs where.
//!
//! ```text
//!  superblock │ descriptor: tags │ a block for each tag │ … │ revoked numbers │ commit │ descriptor … commit │ old or nothing
//!
//!  superblock (big-endian)  0 magic  4 kind  12 bytes of a block  16 blocks  20 first  24 sequence  28 start
//!                           40 incompatible features
//!  any other block of ours  0 magic  4 kind  8 sequence
//!  tag       0 block  6 flags        8 block, high half (64 bits)
//!  v3 tag    0 block  4 flags        8 block, high half  12 checksum
//! ```
//!
//! A transaction is whole when its commit is there: the kernel writes that when everything else is on the disk.
//! Checksums are not looked at. Not supported: journals of other devices, commits that do not wait (async, fast), and
//! checksums of the second version. Source: the kernel's Documentation/filesystems/ext4/journal.rst.

use std::collections::BTreeMap;
use std::io;

const MAGIC: u32 = 0xc03b_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK: u32 = 4;
const REVOKE: u32 = 5;
const HEADER: usize = 12;
/// Features: numbers are revoked, have 64 bits, checksums of the third version.
const REVOKES: u32 = 1;
const WIDE: u32 = 2;
const CHECKSUMS: u32 = 16;
/// Flags of a tag: its block began with the magic, it has the UUID of the one before, it is the last.
const ESCAPED: u32 = 1;
const SAME_UUID: u32 = 2;
const LAST: u32 = 8;

/// Where a journal's blocks come from, by their number in it.
pub trait Blocks {
    fn block(&self, index: u32) -> io::Result<Vec<u8>>;
}

/// A block that belongs elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Where it belongs.
    pub block: u64,
    /// Its number in the journal.
    pub index: u32,
    /// Its first four bytes are zero in the journal and the magic where it belongs.
    pub escaped: bool,
}

impl Tag {
    /// What belongs there.
    pub fn bytes(&self, journal: &impl Blocks) -> io::Result<Vec<u8>> {
        let mut bytes = journal.block(self.index)?;
        if self.escaped {
            bytes[..4].copy_from_slice(&MAGIC.to_be_bytes());
        }
        Ok(bytes)
    }
}

/// What a replay writes: of every block the last state, and none that was revoked later.
pub fn to_write(journal: &impl Blocks) -> io::Result<Vec<Tag>> {
    let mut tags: BTreeMap<u64, (Tag, u64)> = BTreeMap::new();
    let mut revoked: BTreeMap<u64, u64> = BTreeMap::new();
    for (number, transaction) in (0..).zip(transactions(journal)?) {
        revoked.extend(transaction.revoked.into_iter().map(|block| (block, number)));
        tags.extend(transaction.tags.into_iter().map(|tag| (tag.block, (tag, number))));
    }
    let stands = |(tag, number): &(Tag, u64)| revoked.get(&tag.block).is_none_or(|revoked| number > revoked);
    Ok(tags.into_values().filter(stands).map(|(tag, _)| tag).collect())
}

#[derive(Default)]
struct Transaction {
    tags: Vec<Tag>,
    revoked: Vec<u64>,
}

fn transactions(journal: &impl Blocks) -> io::Result<Vec<Transaction>> {
    let layout = Layout::of(&journal.block(0)?)?;
    let (mut whole, mut current) = (Vec::new(), Transaction::default());
    let (mut index, mut sequence) = (layout.start, layout.sequence);
    // Once around at most: what is behind its own start is old.
    let mut left = if index == 0 { 0 } else { layout.end - layout.first };
    while left > 0 {
        let block = journal.block(index)?;
        if word(&block, 0) != MAGIC || word(&block, 8) != sequence {
            break;
        }
        let mut used = 1;
        match word(&block, 4) {
            DESCRIPTOR => {
                let tags = layout.tags(&block, index);
                used += tags.len() as u32;
                current.tags.extend(tags);
            }
            REVOKE => current.revoked.extend(layout.revoked(&block)),
            COMMIT => {
                whole.push(std::mem::take(&mut current));
                sequence = sequence.wrapping_add(1);
            }
            _ => break,
        }
        index = layout.after(index, used);
        left = left.saturating_sub(used);
    }
    Ok(whole)
}

/// What the journal's superblock says.
struct Layout {
    first: u32,
    /// Behind the last block.
    end: u32,
    start: u32,
    sequence: u32,
    features: u32,
}

impl Layout {
    fn of(block: &[u8]) -> io::Result<Layout> {
        let [first, end, start] = [20, 16, 28].map(|at| word(block, at));
        let features = word(block, 40);
        let is_known =
            word(block, 0) == MAGIC && word(block, 4) == SUPERBLOCK && word(block, 12) as usize == block.len();
        let in_bounds = first > 0 && first < end && (start == 0 || (first..end).contains(&start));
        if !is_known || !in_bounds || features & !(REVOKES | WIDE | CHECKSUMS) != 0 {
            return Err(io::Error::other("the journal is of an unknown kind"));
        }
        Ok(Layout { first, end, start, sequence: word(block, 24), features })
    }

    /// The block so many blocks after this one; the first comes after the last.
    fn after(&self, index: u32, blocks: u32) -> u32 {
        let length = u64::from(self.end - self.first);
        let offset = u64::from(index - self.first) + u64::from(blocks);
        self.first + (offset % length) as u32
    }

    fn has(&self, feature: u32) -> bool {
        self.features & feature != 0
    }

    fn tags(&self, descriptor: &[u8], index: u32) -> Vec<Tag> {
        let size = if self.has(CHECKSUMS) { 16 } else { 8 + 4 * usize::from(self.has(WIDE)) };
        let end = descriptor.len() - 4 * usize::from(self.has(CHECKSUMS));
        let (mut tags, mut at) = (Vec::new(), HEADER);
        while at + size <= end {
            let flags = if self.has(CHECKSUMS) { word(descriptor, at + 4) } else { word(descriptor, at + 4) & 0xffff };
            let high = if self.has(WIDE) { word(descriptor, at + 8) } else { 0 };
            let block = u64::from(word(descriptor, at)) | u64::from(high) << 32;
            let index = self.after(index, 1 + tags.len() as u32);
            tags.push(Tag { block, index, escaped: flags & ESCAPED != 0 });
            at += size + if flags & SAME_UUID == 0 { 16 } else { 0 };
            if flags & LAST != 0 {
                break;
            }
        }
        tags
    }

    fn revoked(&self, block: &[u8]) -> Vec<u64> {
        let end = (word(block, HEADER) as usize).min(block.len());
        let list = block.get(HEADER + 4..end).unwrap_or_default();
        if self.has(WIDE) {
            list.chunks_exact(8).map(|entry| u64::from(word(entry, 0)) << 32 | u64::from(word(entry, 4))).collect()
        } else {
            list.chunks_exact(4).map(|entry| word(entry, 0).into()).collect()
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
