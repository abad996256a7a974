//! rpm's header: values by their tags, at the start of a package and in the database of those that are installed.
//!
//! ```text
//! package    8e ad e8 01 │ 0 (4) │ entries n │ bytes m │ n × (tag, type, offset, count) │ m bytes     (all big-endian)
//! database                         entries n │ bytes m │ …
//! ```
//!
//! Specification: rpm's manual, "RPM V4 Package format"; rpmtag.h; lib/header.c.

use super::body::ends_early;
use std::io::{self, Read};

/// First bytes of a header in a package, the version 1 included.
const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// Size of a header's beginning, and of each of its entries.
const ENTRY: usize = 16;
/// Most entries and most bytes of a header; a kernel's has 2 MiB.
const MAX_ENTRIES: usize = 1 << 16;
const MAX_STORE: usize = 64 << 20;

/// Types of an entry's value: 32-bit numbers, a string, bytes, an array of strings.
const INT32: u32 = 4;
const STRING: u32 = 6;
const BIN: u32 = 7;
const STRING_ARRAY: u32 = 8;

/// A header: its bytes as they are hashed, and where its values begin.
pub struct Header {
    bytes: Vec<u8>,
    values: usize,
}

impl Header {
    /// Reads a header of a package; the input is behind it then.
    ///
    /// # Errors
    /// When there is none, or it claims more than any has.
    pub fn read(input: &mut impl Read) -> io::Result<Header> {
        let mut bytes = vec![0; ENTRY];
        input.read_exact(&mut bytes)?;
        if bytes[..4] != MAGIC {
            return Err(invalid("no rpm header where one should be"));
        }
        let (entries, size) = (u32_at(&bytes, 8) as usize, u32_at(&bytes, 12) as usize);
        if entries > MAX_ENTRIES || size > MAX_STORE {
            return Err(invalid(format!("an rpm header of {entries} entries and {size} bytes")));
        }
        let rest = (entries * ENTRY + size) as u64;
        let read = input.take(rest).read_to_end(&mut bytes)? as u64;
        if read < rest { Err(ends_early()) } else { Ok(Header { bytes, values: ENTRY + entries * ENTRY }) }
    }

    /// A row of the database; `None` when it is no header.
    pub fn of_database(row: &[u8]) -> Option<Header> {
        Header::read(&mut MAGIC.chain(&[0; 4][..]).chain(row)).ok()
    }

    /// All of its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Type, value's bytes from its start to the header's end, and count.
    fn value(&self, tag: u32) -> Option<(u32, &[u8], usize)> {
        let entries = self.bytes[ENTRY..self.values].chunks_exact(ENTRY);
        let entry = entries.into_iter().find(|entry| u32_at(entry, 0) == tag)?;
        let value = self.bytes[self.values..].get(u32_at(entry, 8) as usize..)?;
        Some((u32_at(entry, 4), value, u32_at(entry, 12) as usize))
    }

    /// A string, or several; none where there is no such value.
    pub fn strings(&self, tag: u32) -> Vec<String> {
        let Some((kind @ (STRING | STRING_ARRAY), value, count)) = self.value(tag) else { return Vec::new() };
        let count = if kind == STRING { 1 } else { count };
        value.split(|&b| b == 0).take(count).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    /// The first of them.
    pub fn string(&self, tag: u32) -> Option<String> {
        self.strings(tag).into_iter().next()
    }

    /// Bytes.
    pub fn binary(&self, tag: u32) -> Option<&[u8]> {
        let (kind, value, count) = self.value(tag)?;
        value.get(..count).filter(|_| kind == BIN)
    }

    /// A number, the first of several.
    pub fn number(&self, tag: u32) -> Option<u32> {
        let (kind, value, count) = self.value(tag)?;
        (kind == INT32 && count > 0 && value.len() >= 4).then(|| u32_at(value, 0))
    }
}

/// A big-endian field. The caller made sure that it is there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A header with these entries: tag, type, offset, count.
    pub fn header(entries: &[(u32, u32, u32, u32)], values: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(entries.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&(values.len() as u32).to_be_bytes());
        for (tag, kind, offset, count) in entries {
            for field in [tag, kind, offset, count] {
                bytes.extend_from_slice(&field.to_be_bytes());
            }
        }
        bytes.extend_from_slice(values);
        bytes
    }

    #[test]
    fn values_are_found_by_tag_and_kept_in_bounds() {
        let bytes = header(
            &[(1000, STRING, 0, 1), (1049, STRING_ARRAY, 2, 2), (5093, INT32, 6, 1), (7, STRING, 99, 1)],
            b"k\0a\0b\0\0\0\0\x08",
        );
        let row = Header::of_database(&bytes[8..]).unwrap();
        assert_eq!(row.string(1000).as_deref(), Some("k"));
        let header = Header::read(&mut bytes.as_slice()).unwrap();
        assert_eq!(header.strings(1000), ["k"]);
        assert_eq!(header.strings(1049), ["a", "b"]);
        assert_eq!(header.number(5093), Some(8));
        assert_eq!((header.strings(7), header.number(1000)), (Vec::new(), None));
        for length in 0..bytes.len() {
            assert!(Header::read(&mut &bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_header_larger_than_any_is_refused_before_it_is_read() {
        let mut bytes = header(&[], b"");
        bytes[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
        let error = Header::read(&mut bytes.as_slice()).err().unwrap().to_string();
        assert_eq!(error, "an rpm header of 0 entries and 4294967295 bytes");
    }
}
