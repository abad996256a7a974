//! Maps of sparse files: which ranges of a file are in the archive, everything else being holes.
//!
//! ```text
//!  old GNU   type 'S': 4 slots in the header, 21 in each block that follows while isextended; real size in the header
//!  PAX 0.0   GNU.sparse.offset / GNU.sparse.numbytes, repeated        GNU.sparse.size  GNU.sparse.numblocks
//!  PAX 0.1   GNU.sparse.map=offset,numbytes,offset,numbytes…          the same, and GNU.sparse.name
//!  PAX 1.0   the map is decimal lines at the head of the body:        GNU.sparse.realsize  GNU.sparse.name
//!            count, offset, numbytes, … padded to a block             GNU.sparse.major=1  minor=0
//! ```
//!
//! A map must be in order, without overlap, inside the file, and account for every byte in the archive: readers
//! disagree on what anything else means.
//!
//! Source: GNU tar manual, "Storing Sparse Files" (formats 0.0, 0.1, 1.0) and "Old GNU Format".

use super::Limits;
use super::error::{Error, ErrorKind};
use super::header::{BLOCK, Header};
use super::input::Input;
use super::number::{self, decimal, of_record};

/// A valid map and the length of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Offset and length of each range of data, in bytes, ascending.
    pub ranges: Vec<(u64, u64)>,
    /// Length of the file.
    pub real_size: u64,
}

impl Map {
    /// Checks a map against the file's length and the bytes the archive has for it.
    pub fn new(ranges: Vec<(u64, u64)>, real_size: u64, stored: u64) -> Result<Map, ErrorKind> {
        let (mut end, mut data) = (0u64, 0u64);
        for &(offset, length) in &ranges {
            if offset < end {
                return Err(ErrorKind::Sparse("is out of order or overlaps itself"));
            }
            end = offset.checked_add(length).ok_or(ErrorKind::Sparse("goes past 2^64"))?;
            if end > real_size {
                return Err(ErrorKind::Sparse("goes past the end of the file"));
            }
            // Cannot overflow: the ranges do not overlap.
            data += length;
        }
        if data != stored {
            return Err(ErrorKind::Sparse("does not account for the bytes in the archive"));
        }
        Ok(Map { ranges, real_size })
    }
}

/// The `GNU.sparse.*` records of a member.
#[derive(Default)]
pub struct Records {
    any: bool,
    major: Option<u64>,
    minor: Option<u64>,
    size: Option<u64>,
    real_size: Option<u64>,
    count: Option<u64>,
    /// The file's true name, in formats 0.1 and 1.0.
    pub name: Option<Box<[u8]>>,
    map: Option<Vec<(u64, u64)>>,
    pairs: Vec<(u64, u64)>,
    offset: Option<u64>,
}

/// Where the map of a PAX sparse file is.
pub enum Format {
    /// In the records: 0.0 and 0.1.
    Records(Vec<(u64, u64)>),
    /// At the head of the body: 1.0.
    Body,
}

impl Records {
    /// One record; `key` without its `GNU.sparse.`.
    pub fn set(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<(), ErrorKind> {
        self.any = true;
        match key {
            b"major" => self.major = of_record("GNU.sparse.major", value)?,
            b"minor" => self.minor = of_record("GNU.sparse.minor", value)?,
            b"size" => self.size = of_record("GNU.sparse.size", value)?,
            b"realsize" => self.real_size = of_record("GNU.sparse.realsize", value)?,
            b"numblocks" => self.count = of_record("GNU.sparse.numblocks", value)?,
            b"name" if value.contains(&0) => return Err(ErrorKind::Nul("GNU.sparse.name")),
            b"name" => self.name = (!value.is_empty()).then(|| value.into()),
            b"map" => self.map = Some(parse_map(value, limits)?),
            b"offset" if self.offset.is_none() => self.offset = Some(required(value)?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or(ErrorKind::Sparse("has a length without an offset"))?;
                if self.pairs.len() == limits.sparse_entries {
                    return Err(ErrorKind::SparseMapTooLong(limits.sparse_entries));
                }
                self.pairs.push((offset, required(value)?));
            }
            _ => return Err(ErrorKind::Sparse("has records of an unknown kind")),
        }
        Ok(())
    }

    /// Which format the records announce, and the file's length; nothing if there are none.
    pub fn format(self) -> Result<Option<(Format, u64)>, ErrorKind> {
        if !self.any {
            return Ok(None);
        }
        let real_size = match (self.size, self.real_size) {
            (Some(a), Some(b)) if a != b => return Err(ErrorKind::Sparse("comes with two different sizes")),
            (Some(size), _) | (None, Some(size)) => size,
            (None, None) => return Err(ErrorKind::Sparse("comes without the size of the file")),
        };
        let ranges = match (self.major, self.minor, self.map) {
            (Some(1), Some(0), None) if self.pairs.is_empty() && self.offset.is_none() => {
                return Ok(Some((Format::Body, real_size)));
            }
            (Some(0), Some(0 | 1), Some(map)) | (None, None, Some(map)) if self.pairs.is_empty() => map,
            (Some(0), Some(0), None) | (None, None, None) if !self.pairs.is_empty() => self.pairs,
            _ => return Err(ErrorKind::Sparse("is missing, incomplete or of an unknown version")),
        };
        if self.offset.is_some() || self.count != Some(ranges.len() as u64) {
            return Err(ErrorKind::Sparse("has another number of entries than announced"));
        }
        Ok(Some((Format::Records(ranges), real_size)))
    }
}

fn required(value: &[u8]) -> Result<u64, ErrorKind> {
    decimal(value).ok_or(ErrorKind::Sparse("holds something that is not a number"))
}

/// `offset,numbytes,offset,numbytes…`
fn parse_map(value: &[u8], limits: &Limits) -> Result<Vec<(u64, u64)>, ErrorKind> {
    let mut ranges = Vec::new();
    let mut numbers = value.split(|&b| b == b',');
    while let Some(offset) = numbers.next() {
        let length = numbers.next().ok_or(ErrorKind::Sparse("has an offset without a length"))?;
        if ranges.len() == limits.sparse_entries {
            return Err(ErrorKind::SparseMapTooLong(limits.sparse_entries));
        }
        ranges.push((required(offset)?, required(length)?));
    }
    Ok(ranges)
}

/// The map of an old GNU sparse file: from its header and the blocks that follow it.
pub fn old_gnu(header: &Header, input: &mut Input, limits: &Limits) -> Result<Vec<(u64, u64)>, Error> {
    let mut ranges = Vec::new();
    let fail = |input: &Input, kind| Err(input.error(kind));
    if let Err(kind) = slots(header.sparse_slots(), &mut ranges, limits) {
        return fail(input, kind);
    }
    let mut extended = header.sparse_is_extended();
    while extended {
        let Some(block) = input.block()? else { return fail(input, ErrorKind::Truncated("a sparse map")) };
        let before = ranges.len();
        if let Err(kind) = slots(&block[..21 * 24], &mut ranges, limits) {
            return fail(input, kind);
        }
        extended = block[21 * 24] != 0;
        // An endless run of empty blocks would get past the limit on entries.
        if extended && ranges.len() == before {
            return fail(input, ErrorKind::Sparse("goes on after an empty block"));
        }
    }
    Ok(ranges)
}

/// Slots of 24 bytes up to the first that is empty.
fn slots(bytes: &[u8], ranges: &mut Vec<(u64, u64)>, limits: &Limits) -> Result<(), ErrorKind> {
    for slot in bytes.chunks_exact(24) {
        if slot[0] == 0 {
            break;
        }
        if ranges.len() == limits.sparse_entries {
            return Err(ErrorKind::SparseMapTooLong(limits.sparse_entries));
        }
        let value = |field: &[u8]| number::field(field).and_then(|n| u64::try_from(n).ok());
        match (value(&slot[..12]), value(&slot[12..])) {
            (Some(offset), Some(length)) => ranges.push((offset, length)),
            _ => return Err(ErrorKind::Sparse("holds something that is not a number")),
        }
    }
    Ok(())
}

/// The map at the head of a format 1.0 body, and how many of the body's `size` bytes it took.
pub fn from_body(input: &mut Input, size: u64, limits: &Limits) -> Result<(Vec<(u64, u64)>, u64), Error> {
    let mut lines = Lines { input, left: size, block: [0; BLOCK], at: BLOCK };
    let count = lines.number()?;
    if count > limits.sparse_entries as u64 {
        return Err(lines.input.error(ErrorKind::SparseMapTooLong(limits.sparse_entries)));
    }
    let mut ranges = Vec::new();
    for _ in 0..count {
        ranges.push((lines.number()?, lines.number()?));
    }
    let taken = size - lines.left;
    Ok((ranges, taken))
}

/// Decimal lines out of whole blocks.
struct Lines<'a, 'b> {
    input: &'a mut Input<'b>,
    left: u64,
    block: [u8; BLOCK],
    at: usize,
}

impl Lines<'_, '_> {
    fn number(&mut self) -> Result<u64, Error> {
        let mut digits = Vec::with_capacity(20);
        loop {
            match self.byte()? {
                b'\n' => break,
                byte if digits.len() < 20 => digits.push(byte),
                _ => return Err(self.input.error(ErrorKind::Sparse("holds something that is not a number"))),
            }
        }
        required(&digits).map_err(|kind| self.input.error(kind))
    }

    fn byte(&mut self) -> Result<u8, Error> {
        if self.at == BLOCK {
            let ends = ErrorKind::Sparse("goes past the body of its file");
            self.left = self.left.checked_sub(BLOCK as u64).ok_or_else(|| self.input.error(ends))?;
            let ends = ErrorKind::Truncated("a sparse map");
            self.block = self.input.block()?.ok_or_else(|| self.input.error(ends))?;
            self.at = 0;
        }
        self.at += 1;
        Ok(self.block[self.at - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_have_no_one_meaning_are_refused() {
        assert!(Map::new(vec![(0, 512), (1024, 10), (4096, 0)], 4096, 522).is_ok());
        assert!(Map::new(vec![], 1 << 40, 0).is_ok());
        for (ranges, real, stored) in [
            (vec![(512, 512), (0, 512)], 4096, 1024),
            (vec![(0, 513), (512, 512)], 4096, 1025),
            (vec![(0, 512)], 511, 512),
            (vec![(u64::MAX, 1)], u64::MAX, 1),
            (vec![(0, 512)], 4096, 511),
            (vec![(0, 512)], 4096, 1024),
        ] {
            assert!(Map::new(ranges.clone(), real, stored).is_err(), "{ranges:?}");
        }
    }

    #[test]
    fn records_announce_one_format() {
        let format = |records: &[(&str, &str)]| {
            let mut all = Records::default();
            for (key, value) in records {
                all.set(key.as_bytes(), value.as_bytes(), &Limits::default())?;
            }
            all.format()
        };
        assert!(matches!(format(&[]), Ok(None)));
        assert!(matches!(format(&[("major", "1"), ("minor", "0"), ("realsize", "5")]), Ok(Some((Format::Body, 5)))));
        assert!(matches!(
            format(&[("size", "9"), ("numblocks", "2"), ("map", "0,1,4,5")]),
            Ok(Some((Format::Records(_), 9)))
        ));
        let pairs = [("size", "9"), ("numblocks", "1"), ("offset", "0"), ("numbytes", "1")];
        assert!(matches!(format(&pairs), Ok(Some((Format::Records(_), 9)))));
        for bad in [
            &[("size", "9")][..],
            &[("numblocks", "1"), ("map", "0,1")],
            &[("size", "9"), ("realsize", "8"), ("numblocks", "1"), ("map", "0,1")],
            &[("size", "9"), ("map", "0,1,2")],
            &[("size", "9"), ("map", "")],
            &[("size", "9"), ("numblocks", "1"), ("map", "0,x")],
            &[("size", "9"), ("numblocks", "2"), ("map", "0,1")],
            &[("size", "9"), ("map", "0,1")],
            &[("size", "9"), ("offset", "0")],
            &[("size", "9"), ("numbytes", "0")],
            &[("size", "9"), ("offset", "0"), ("offset", "0"), ("numbytes", "0")],
            &[("major", "2"), ("minor", "0"), ("realsize", "9")],
            &[("major", "1"), ("minor", "0"), ("realsize", "9"), ("map", "0,1")],
            &[("name", "x")],
            &[("unheard", "x")],
        ] {
            assert!(format(bad).is_err(), "{bad:?}");
        }
    }
}
