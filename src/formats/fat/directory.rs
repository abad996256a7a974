//! Entries of a directory.
//!
//! ```text
//! 0 name, 8 and 3   11 attributes   12 case   20 cluster, high half   22 time, date   26 cluster, low half   28 size
//! long name: entries before it, the last part first: 0 number, 11 = 0x0f, 13 checksum of the short name, 13 characters
//! ```

use super::ENTRY;
use super::names::{LONG_AT, short_text, sum_of};
use crate::formats::{u16_at, u32_at};

/// First byte of an entry that was removed; of one that is the last.
pub const DELETED: u8 = 0xe5;
/// See [`DELETED`].
pub const END: u8 = 0;
const LONG_NAME: u8 = 0x0f;
const DIRECTORY: u8 = 0x10;
const VOLUME: u8 = 0x08;
/// Mark of the last part of a long name.
const LAST_PART: u8 = 0x40;

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; the long one if it has one.
    pub name: String,
    /// Its other name, where it has two.
    pub alias: String,
    /// First cluster; 0 when empty.
    pub cluster: u32,
    /// Length in bytes; 0 of a directory.
    pub size: u32,
    /// Whether it is a directory.
    pub is_directory: bool,
    pub(super) short: [u8; 11],
    /// Where its entry is on the volume, and those of its long name.
    pub(super) at: u64,
    pub(super) long_at: Vec<u64>,
}

/// What a directory has.
#[derive(Default)]
pub struct Listing {
    /// Everything but `.`, `..` and the label.
    pub entries: Vec<Entry>,
    /// Places of parts of long names that belong to no entry.
    pub orphans: Vec<u64>,
}

impl Entry {
    /// Whether it answers to `name`, whatever its case.
    pub fn is_called(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.name.to_lowercase() == name || self.alias.to_lowercase() == name
    }
}

/// The directory in `bytes`, of which entry `n` lies at `at(n)` on a volume with `bits`.
pub fn list(bytes: &[u8], bits: u8, at: impl Fn(usize) -> u64) -> Listing {
    let mut listing = Listing::default();
    let mut long: Vec<(u64, &[u8])> = Vec::new();
    for (index, raw) in bytes.chunks_exact(ENTRY).enumerate().take_while(|(_, raw)| raw[0] != END) {
        if raw[0] != DELETED && raw[11] & 0x3f == LONG_NAME {
            long.push((at(index), raw));
            continue;
        }
        let mut parts = std::mem::take(&mut long);
        let whole = if raw[0] == DELETED { parts.len() } else { start_of_name(&parts, raw) };
        listing.orphans.extend(parts.drain(..whole).map(|(at, _)| at));
        if raw[0] != DELETED && raw[0] != b'.' && raw[11] & VOLUME == 0 {
            listing.entries.push(decode(raw, &parts, bits, at(index)));
        }
    }
    listing.orphans.extend(long.into_iter().map(|(at, _)| at));
    listing
}

/// Index of the first of these parts that belongs to the name of the entry `raw` behind them; their number if none does.
fn start_of_name(parts: &[(u64, &[u8])], raw: &[u8]) -> usize {
    let sum = sum_of(&raw[..11]);
    let belongs = |(number, (_, part)): &(u8, &(u64, &[u8]))| part[0] & !LAST_PART == *number && part[13] == sum;
    let run = (1u8..=20).zip(parts.iter().rev()).take_while(belongs).count();
    // It begins with the part that is marked so; what lies before that is of no name.
    let length = (1..=run).find(|length| parts[parts.len() - length].1[0] & LAST_PART != 0);
    parts.len() - length.unwrap_or(0)
}

fn decode(raw: &[u8], parts: &[(u64, &[u8])], bits: u8, at: u64) -> Entry {
    let word = |at| u32::from(u16_at(raw, at).unwrap_or_default());
    let alias = short_text(raw);
    let name = if parts.is_empty() { alias.clone() } else { long_text(parts) };
    let is_directory = raw[11] & DIRECTORY != 0;
    // Before FAT32 the high half is another system's field.
    let cluster = if bits == 32 { word(26) | word(20) << 16 } else { word(26) };
    Entry {
        name,
        alias,
        cluster,
        size: if is_directory { 0 } else { u32_at(raw, 28).unwrap_or_default() },
        is_directory,
        short: raw.first_chunk().copied().unwrap_or_default(),
        at,
        long_at: parts.iter().map(|(at, _)| *at).collect(),
    }
}

fn long_text(parts: &[(u64, &[u8])]) -> String {
    let units = parts.iter().rev().flat_map(|(_, part)| LONG_AT.map(|at| u16_at(part, at).unwrap_or_default()));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0 && *unit != 0xffff).collect();
    String::from_utf16_lossy(&units).replace('/', "_")
}
