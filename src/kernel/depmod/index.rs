//! kmod's binary index: a trie from keys to values with priorities, as modprobe searches it on disk.
//!
//! ```text
//! header   magic 0xb007f457, version 2.1, offset of the root node         each 4 bytes, big-endian
//! node     [prefix NUL]  [first last  offset of each child in between]  [count  (priority value NUL) ...]
//! ```
//!
//! The upper four bits of an offset say which of the three parts its node has. Children are written before their
//! parent, so that the offsets are known. Specification: kmod, tools/depmod.c and libkmod/libkmod-index.h.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xb007_f457;
/// Major and minor, 16 bits each.
const VERSION: u32 = 0x0002_0001;

const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;
/// Offsets have the other 28 bits.
const MAX_OFFSET: usize = 0x0fff_ffff;

/// Longest key, in bytes, which bounds how deep the trie is; those of Linux have a hundred.
const MAX_KEY: usize = 1000;

/// An index in the making.
#[derive(Default)]
pub struct Index(BTreeMap<Vec<u8>, Vec<(u32, Vec<u8>)>>);

impl Index {
    /// Adds a value; lower priorities come first. A key that is empty, not ASCII, or too long leads nowhere: the format
    /// has no place for it.
    pub fn insert(&mut self, key: &str, value: &str, priority: u32) {
        let fits = |text: &str| text.bytes().all(|byte| byte.is_ascii() && byte != 0);
        if key.is_empty() || key.len() > MAX_KEY || !fits(key) || value.contains('\0') {
            return;
        }
        let values = self.0.entry(key.as_bytes().to_vec()).or_default();
        // Of one priority, the last comes first.
        let place = values.partition_point(|(other, _)| *other < priority);
        values.insert(place, (priority, value.as_bytes().to_vec()));
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let entries: Vec<Entry<'_>> = self.0.iter().map(|(key, values)| (key.as_slice(), values.as_slice())).collect();
        let mut bytes = [MAGIC, VERSION, 0].iter().flat_map(|number| number.to_be_bytes()).collect();
        // The root has no prefix, even if all keys begin alike.
        let root = write_node(&entries, 0, 0, &mut bytes);
        bytes[8..12].copy_from_slice(&root.to_be_bytes());
        bytes
    }
}

type Entry<'a> = (&'a [u8], &'a [(u32, Vec<u8>)]);

/// Writes the node of `entries`, sorted, which agree in their first `from` bytes and have the prefix up to `to`.
/// Returns its offset with the bits of its parts.
fn write_node(entries: &[Entry<'_>], from: usize, to: usize, bytes: &mut Vec<u8>) -> u32 {
    let (own, rest) = match entries.first() {
        Some((key, values)) if key.len() == to => (Some(*values), &entries[1..]),
        _ => (None, entries),
    };
    let mut children = BTreeMap::new();
    let mut left = rest;
    while let Some((key, _)) = left.first() {
        let byte = key[to];
        let (child, others) = left.split_at(left.partition_point(|(key, _)| key[to] == byte));
        let shared = shared_length(child);
        children.insert(byte, write_node(child, to + 1, shared, bytes));
        left = others;
    }
    let mut offset = bytes.len().min(MAX_OFFSET) as u32;
    if let Some((key, _)) = entries.first().filter(|_| to > from) {
        bytes.extend_from_slice(&key[from..to]);
        bytes.push(0);
        offset |= HAS_PREFIX;
    }
    if let (Some((&first, _)), Some((&last, _))) = (children.first_key_value(), children.last_key_value()) {
        bytes.extend_from_slice(&[first, last]);
        let offsets = (first..=last).map(|byte| children.get(&byte).copied().unwrap_or(0));
        bytes.extend(offsets.flat_map(u32::to_be_bytes));
        offset |= HAS_CHILDREN;
    }
    if let Some(values) = own {
        bytes.extend_from_slice(&(values.len() as u32).to_be_bytes());
        for (priority, value) in values {
            bytes.extend_from_slice(&priority.to_be_bytes());
            bytes.extend_from_slice(value);
            bytes.push(0);
        }
        offset |= HAS_VALUES;
    }
    offset
}

/// How many bytes all keys of a sorted list have in common: those of its first and last.
fn shared_length(entries: &[Entry<'_>]) -> usize {
    match (entries.first(), entries.last()) {
        (Some((first, _)), Some((last, _))) => first.iter().zip(*last).take_while(|(a, b)| a == b).count(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_index_has_the_bytes_of_kmods() {
        let mut index = Index::default();
        index.insert("ab", "x", 2);
        index.insert("ab", "y", 1);
        index.insert("acd", "z", 3);
        let mut expected = b"\xb0\x07\xf4\x57\0\x02\0\x01\x20\0\0\x32".to_vec(); // the root is at 50
        expected.extend_from_slice(b"\0\0\0\x02\0\0\0\x01y\0\0\0\0\x02x\0"); // "b" at 12
        expected.extend_from_slice(b"d\0\0\0\0\x01\0\0\0\x03z\0"); // "cd" at 28
        expected.extend_from_slice(b"bc\x40\0\0\x0c\xc0\0\0\x1c"); // "a" at 40
        expected.extend_from_slice(b"aa\x20\0\0\x28");
        assert_eq!(index.encode(), expected);
    }

    #[test]
    fn what_the_format_cannot_hold_is_left_out_and_depth_is_bounded() {
        let mut index = Index::default();
        for key in ["", "\u{e4}", "a\0b", &"x".repeat(MAX_KEY + 1)] {
            index.insert(key, "v", 0);
        }
        assert_eq!(index.encode(), Index::default().encode());
        (1..=MAX_KEY).for_each(|length| index.insert(&"x".repeat(length), "v", 0));
        assert!(index.encode().len() > MAX_KEY * 10);
    }
}
