//! Names: the short one of eight and three characters that every file has, and the long one before it.

use super::{ENTRY, Error};

/// Characters of one part of a long name, and where they stand in it.
pub const LONG_AT: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// The checksum of a short name that the parts of its long one carry.
pub fn sum_of(short: &[u8]) -> u8 {
    short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// `NAME.EXT`; bits of byte 12 say which of both is meant in lower case.
pub fn short_text(entry: &[u8]) -> String {
    let part = |bytes: &[u8], lower: bool| {
        let text: String =
            bytes.trim_ascii_end().iter().map(|&byte| if byte < 0x80 { byte as char } else { '_' }).collect();
        if lower { text.to_lowercase() } else { text }
    };
    let (stem, end) = (part(&entry[..8], entry[12] & 8 != 0), part(&entry[8..11], entry[12] & 16 != 0));
    let name = if end.is_empty() { stem } else { format!("{stem}.{end}") };
    name.replace('/', "_")
}

/// A short name that no other entry has: letters and digits of the long one, and a number.
pub fn short_name(name: &str, is_taken: impl Fn(&[u8; 11]) -> bool) -> Result<[u8; 11], Error> {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let kept = |text: &str, most: usize| -> Vec<u8> {
        text.bytes().filter(u8::is_ascii_alphanumeric).take(most).map(|b| b.to_ascii_uppercase()).collect()
    };
    let numbered = |number: u32| {
        let tail = format!("~{number}");
        let mut short = [b' '; 11];
        let (stem, extension) = (kept(stem, 8 - tail.len()), kept(extension, 3));
        short[..stem.len()].copy_from_slice(&stem);
        short[stem.len()..stem.len() + tail.len()].copy_from_slice(tail.as_bytes());
        short[8..8 + extension.len()].copy_from_slice(&extension);
        short
    };
    (1..=999).map(numbered).find(|short| !is_taken(short)).ok_or_else(|| Error::DirectoryFull(name.to_owned()))
}

/// The parts of a long name, in the order they stand in: the last part first.
pub fn long_name(name: &str, short: &[u8; 11]) -> Vec<[u8; ENTRY]> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let count = units.len().div_ceil(LONG_AT.len());
    if units.len() < count * LONG_AT.len() {
        units.push(0);
    }
    units.resize(count * LONG_AT.len(), 0xffff);
    let encode = |(index, part): (usize, &[u16])| {
        let mut entry = [0; ENTRY];
        entry[0] = (index as u8 + 1) | if index + 1 == count { 0x40 } else { 0 };
        entry[11] = 0x0f;
        entry[13] = sum_of(short);
        for (at, unit) in LONG_AT.into_iter().zip(part) {
            entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        entry
    };
    let mut entries: Vec<_> = units.chunks(LONG_AT.len()).enumerate().map(encode).collect();
    entries.reverse();
    entries
}
