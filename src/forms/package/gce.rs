//! Google's form: `disk.raw` of whole GiB in a gzip of a tar, with a map of what is no hole.
//!
//! ```text
//! header ─ 4 entries (offset, bytes: 12 digits each), whether more follow, the whole size
//!        ─ blocks of 21 entries each ─ what the entries tell of, one behind the other ─ zeros
//! ```
//!
//! The last entry is empty and lies at the end: GNU tar makes the file that long by it.
//! Specifications: "Manually import boot disks" of Compute Engine; GNU tar manual, "Storing Sparse Files".

use super::GIB;
use super::tar::{BLOCK, Dialect, END, header, number, sealed};
use crate::forms::compressed::{self, Compression};
use crate::forms::pieces::{From, Piece, Pieces};
use crate::forms::{Source, units};
use crate::output::Output;
use std::io;

/// Unit that is stored or a hole.
const UNIT: usize = 64 << 10;
/// Entries of the header, and of each block behind it.
const FIRST: usize = 4;
const MORE: usize = 21;
/// What GNU tar fills an archive up to.
const RECORD: u64 = 20 * BLOCK;

/// Writes a disk; see [`crate::forms::write`].
pub fn write(source: &dyn Source, output: &dyn Output, threads: usize) -> io::Result<u64> {
    let size = source.size().next_multiple_of(GIB);
    let ranges = ranges(source)?;
    let map = map(&ranges, size);
    let mut at = map.len() as u64;
    let mut pieces = vec![Piece { at: 0, length: at, from: From::Bytes(map) }];
    for (offset, length) in ranges {
        // The disk may end within its last unit.
        let there = length.min(source.size() - offset);
        pieces.push(Piece { at, length: there, from: From::Source(offset) });
        at += length;
    }
    let tar = Pieces { source, size: (at + END).next_multiple_of(RECORD), pieces };
    compressed::write(&tar, output, Compression::Gzip, threads)
}

/// What is no hole: offset and length of each range, in whole units.
fn ranges(source: &dyn Source) -> io::Result<Vec<(u64, u64)>> {
    let mut ranges = Vec::<(u64, u64)>::new();
    units::each(source, UNIT, &mut |number, _| {
        let at = number * UNIT as u64;
        match ranges.last_mut().filter(|(offset, length)| offset + length == at) {
            Some((_, length)) => *length += UNIT as u64,
            None => ranges.push((at, UNIT as u64)),
        }
        Ok(())
    })?;
    Ok(ranges)
}

/// The header and all blocks of the map.
fn map(ranges: &[(u64, u64)], size: u64) -> Vec<u8> {
    let stored = ranges.iter().map(|(_, length)| length).sum();
    let entries: Vec<[u8; 24]> = ranges.iter().chain([&(size, 0)]).map(|range| entry(*range)).collect();
    let (first, more) = entries.split_at(entries.len().min(FIRST));
    let mut header = header(Dialect::OldGnuSparse, "disk.raw", stored);
    header[386..386 + first.len() * 24].copy_from_slice(&first.concat());
    header[482] = u8::from(!more.is_empty());
    header[483..495].copy_from_slice(&number(size));
    let mut bytes = sealed(header).to_vec();
    let blocks = more.len().div_ceil(MORE);
    for (index, entries) in more.chunks(MORE).enumerate() {
        let mut block = entries.concat();
        block.resize(BLOCK as usize, 0);
        block[MORE * 24] = u8::from(index + 1 < blocks);
        bytes.extend(block);
    }
    bytes
}

fn entry((offset, length): (u64, u64)) -> [u8; 24] {
    let mut entry = [0; 24];
    entry[..12].copy_from_slice(&number(offset));
    entry[12..].copy_from_slice(&number(length));
    entry
}
