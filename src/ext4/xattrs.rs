//! Extended attributes: as many as fit in the inode, the others in one block, and of those the longest values in inodes
//! of their own where the block has no room for them (`ea_inode`).
//!
//! ```text
//!  in the inode   magic │ entry entry … 0000 │            … value value │      offsets count from the first entry
//!  in a block     header (32) │ entry entry … 0000 │      … value value │      offsets count from the block
//! ```
//!
//! Entries are sorted by prefix, length of the name, name; each is padded to four bytes, as are the values, which
//! fill the room from its end. Not supported: more names than a block has room for, blocks and values that several
//! files share.
//! Specification: Documentation/filesystems/ext4/attributes.rst.

use super::acl;
use super::checksum::Seed;
use super::format::{BLOCK, INLINE_XATTRS, XATTR_MAGIC, XattrEntry, XattrHeader, xattr_index};
use crate::rootfs::tree::Xattrs;
use std::borrow::Cow;
use std::cmp::Reverse;
use zerocopy::IntoBytes;

/// Room in the inode after the magic number.
const INLINE_ROOM: usize = INLINE_XATTRS - 4;
const HEADER: usize = size_of::<XattrHeader>();
const BLOCK_ROOM: usize = BLOCK as usize - HEADER;
const ENTRY: usize = size_of::<XattrEntry>();
/// Longest value that the kernel hands out (`XATTR_SIZE_MAX`).
const LONGEST: usize = 1 << 16;
/// Zeros that end the entries.
const END: usize = 4;

/// Prefixes that stand for a number on the disk; the two ACL names have nothing after theirs.
const PREFIXES: [(u8, &[u8]); 5] = [
    (xattr_index::USER, b"user."),
    (xattr_index::ACL_ACCESS, b"system.posix_acl_access"),
    (xattr_index::ACL_DEFAULT, b"system.posix_acl_default"),
    (xattr_index::TRUSTED, b"trusted."),
    (xattr_index::SECURITY, b"security."),
];

/// One attribute as ext4 stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    index: u8,
    name: &'a [u8],
    value: Cow<'a, [u8]>,
    /// Whether the value is in an inode of its own.
    outside: bool,
}

/// Why an attribute is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A namespace ext4 has no number for, or an empty or overlong name.
    Name,
    /// Not an access control list the kernel accepts, or a default one on something that is no directory.
    Acl,
}

/// What ext4 stores of a file's attributes, sorted; `dropped` hears of each that it cannot.
pub fn select<'a>(
    xattrs: &'a Xattrs,
    is_directory: bool,
    mut dropped: impl FnMut(&'a [u8], Dropped),
) -> Vec<Attribute<'a>> {
    let mut kept: Vec<Attribute> = Vec::new();
    for (name, value) in xattrs.iter().flatten() {
        match attribute(name, value, is_directory) {
            Ok(attribute) => kept.push(attribute),
            Err(why) => dropped(name, why),
        }
    }
    kept.sort_by(|a, b| (a.index, a.name.len(), a.name).cmp(&(b.index, b.name.len(), b.name)));
    kept.dedup_by(|a, b| (a.index, a.name) == (b.index, b.name));
    kept
}

fn attribute<'a>(full: &'a [u8], value: &'a [u8], is_directory: bool) -> Result<Attribute<'a>, Dropped> {
    let found = PREFIXES.iter().find_map(|&(index, prefix)| Some((index, full.strip_prefix(prefix)?)));
    let (index, name) = found.ok_or(Dropped::Name)?;
    let is_acl = matches!(index, xattr_index::ACL_ACCESS | xattr_index::ACL_DEFAULT);
    if name.is_empty() != is_acl || full.len() > 255 || name.contains(&0) {
        return Err(Dropped::Name);
    }
    if !is_acl {
        return Ok(Attribute { index, name, value: Cow::Borrowed(value), outside: false });
    }
    if index == xattr_index::ACL_DEFAULT && !is_directory {
        return Err(Dropped::Acl);
    }
    let value = acl::to_ext4(value).ok_or(Dropped::Acl)?;
    Ok(Attribute { index, name, value: Cow::Owned(value), outside: false })
}

impl Attribute<'_> {
    /// As a reader finds it.
    pub fn in_full(&self) -> NameAndValue {
        in_full(self.index, self.name, &self.value).expect("made from a full name")
    }

    fn size(&self) -> usize {
        ENTRY + self.name.len().next_multiple_of(4) + self.value_size()
    }

    /// What the value takes of the room that its entry is in.
    fn value_size(&self) -> usize {
        if self.outside { 0 } else { self.value.len().next_multiple_of(4) }
    }

    /// `e_hash`: over the name's bytes and the padded value's words, or the checksum of a value that is elsewhere.
    fn hash(&self, seed: Seed) -> u32 {
        let name = self.name.iter().fold(0u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
        if self.outside {
            return name.rotate_left(16) ^ seed.attribute_value(&self.value);
        }
        self.value.chunks(4).fold(name, |hash, bytes| {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// A full name, and a value in the form that tools know.
pub type NameAndValue = (Vec<u8>, Vec<u8>);

/// From what ext4 stores, or `None` when it is nothing that ext4 stores.
pub fn in_full(index: u8, name: &[u8], value: &[u8]) -> Option<NameAndValue> {
    let (_, prefix) = PREFIXES.iter().find(|(known, _)| *known == index)?;
    let value = match index {
        xattr_index::ACL_ACCESS | xattr_index::ACL_DEFAULT => acl::from_ext4(value)?,
        _ => value.to_vec(),
    };
    Some(([prefix, name].concat(), value))
}

/// The attributes of one file, divided between its inode and its block.
#[derive(Debug, PartialEq, Eq)]
pub struct Division<'a> {
    inline: Vec<Attribute<'a>>,
    block: Vec<Attribute<'a>>,
}

/// Why attributes cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLarge {
    /// Bytes of names and what goes with them, and of values too short for an inode of their own.
    Names(usize),
    /// Bytes of one value.
    Value(usize),
}

/// Divides sorted attributes.
pub fn divide(attributes: Vec<Attribute>) -> Result<Division, TooLarge> {
    if let Some(long) = attributes.iter().map(|attribute| attribute.value.len()).find(|size| *size > LONGEST) {
        return Err(TooLarge::Value(long));
    }
    let mut inline_left = INLINE_ROOM - END;
    let (inline, mut block): (Vec<_>, Vec<_>) = attributes.into_iter().partition(|attribute| {
        let size = attribute.size();
        let fits = size <= inline_left;
        if fits {
            inline_left -= size
        }
        fits
    });
    match END + move_out(&mut block) {
        size if size > BLOCK_ROOM => Err(TooLarge::Names(size)),
        _ => Ok(Division { inline, block }),
    }
}

/// Gives the longest values inodes of their own until the others fit the block. Returns what the block's entries take.
fn move_out(block: &mut [Attribute]) -> usize {
    let mut size = block.iter().map(Attribute::size).sum();
    let mut by_size: Vec<&mut Attribute> = block.iter_mut().collect();
    by_size.sort_by_key(|attribute| Reverse(attribute.value.len()));
    for attribute in by_size.into_iter().filter(|attribute| !attribute.value.is_empty()) {
        if END + size <= BLOCK_ROOM {
            break;
        }
        size -= attribute.value_size();
        attribute.outside = true;
    }
    size
}

impl Division<'_> {
    /// Whether a block is needed.
    pub fn needs_block(&self) -> bool {
        !self.block.is_empty()
    }

    /// The values that need inodes of their own, in the order of the block's entries.
    pub fn outside(&self) -> impl Iterator<Item = &[u8]> {
        self.block.iter().filter(|attribute| attribute.outside).map(|attribute| &*attribute.value)
    }

    /// The last bytes of the inode.
    pub fn encode_inline(&self) -> [u8; INLINE_XATTRS] {
        let mut room = [0; INLINE_XATTRS];
        if !self.inline.is_empty() {
            room[..4].copy_from_slice(&XATTR_MAGIC.to_le_bytes());
            fill(&mut room[4..], 0, &self.inline, |_| (0, 0));
        }
        room
    }

    /// The block, for its place on the disk; the first value that is elsewhere is in inode `first`, the next in the next.
    pub fn encode_block(&self, place: u64, seed: Seed, first: u32) -> Vec<u8> {
        let mut block = vec![0; BLOCK as usize];
        let mut numbers = first..;
        fill(&mut block, HEADER, &self.block, |attribute| {
            let number = if attribute.outside { numbers.next().unwrap_or_default() } else { 0 };
            (attribute.hash(seed), number)
        });
        let hash = self.block.iter().map(|attribute| attribute.hash(seed)).try_fold(0u32, |hash, entry| {
            // One entry without a hash makes the whole block one that is never shared.
            (entry != 0).then_some(hash.rotate_left(16) ^ entry)
        });
        let mut header = XattrHeader {
            h_magic: XATTR_MAGIC.into(),
            h_refcount: 1.into(),
            h_blocks: 1.into(),
            h_hash: hash.unwrap_or(0).into(),
            h_checksum: 0.into(),
            h_reserved: [0.into(); 3],
        };
        block[..HEADER].copy_from_slice(header.as_bytes());
        header.h_checksum.set(seed.xattr_block(place, &block));
        block[..HEADER].copy_from_slice(header.as_bytes());
        block
    }
}

/// Fills `room` with entries from `at` on and with their values from its end backwards. `elsewhere` has the hash of each
/// and the inode of its value, 0 for none.
fn fill(room: &mut [u8], mut at: usize, attributes: &[Attribute], mut elsewhere: impl FnMut(&Attribute) -> (u32, u32)) {
    let mut value_at = room.len();
    for attribute in attributes {
        let size = attribute.value.len();
        let (hash, inode) = elsewhere(attribute);
        value_at -= attribute.value_size();
        if !attribute.outside {
            room[value_at..value_at + size].copy_from_slice(&attribute.value);
        }
        let entry = XattrEntry {
            e_name_len: attribute.name.len() as u8,
            e_name_index: attribute.index,
            e_value_offs: (if attribute.value_size() == 0 { 0 } else { value_at as u16 }).into(),
            e_value_inum: inode.into(),
            e_value_size: (size as u32).into(),
            e_hash: hash.into(),
        };
        room[at..at + ENTRY].copy_from_slice(entry.as_bytes());
        room[at + ENTRY..][..attribute.name.len()].copy_from_slice(attribute.name);
        at += ENTRY + attribute.name.len().next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattrs(list: &[(&str, &[u8])]) -> Xattrs {
        Some(list.iter().map(|(n, v)| (n.as_bytes().into(), Box::from(*v))).collect())
    }

    #[test]
    fn entries_are_sorted_by_prefix_length_and_name() {
        let given =
            xattrs(&[("user.b", b""), ("security.a", b"1"), ("user.aa", b""), ("user.a", b""), ("trusted.x", b"")]);
        let kept = select(&given, false, |_, _| panic!("nothing is dropped"));
        let order: Vec<_> = kept.iter().map(|a| (a.index, a.name)).collect();
        assert_eq!(order, [(1, &b"a"[..]), (1, b"b"), (1, b"aa"), (4, b"x"), (6, b"a")]);
    }

    #[test]
    fn what_ext4_cannot_name_is_dropped() {
        let long = format!("user.{}", "x".repeat(251));
        let given = xattrs(&[
            ("btrfs.compression", b"zlib"),
            ("user.", b""),
            ("system.posix_acl_access", b"junk"),
            ("system.posix_acl_accessx", b""),
            ("system.posix_acl_default", &[2, 0, 0, 0]),
            (&long, b""),
        ]);
        let mut dropped = Vec::new();
        assert!(select(&given, false, |_, why| dropped.push(why)).is_empty());
        use Dropped::{Acl, Name};
        assert_eq!(dropped, [Name, Name, Acl, Name, Acl, Name]);
    }

    #[test]
    fn the_inode_is_filled_before_a_block_is_taken() {
        let given = xattrs(&[("user.a", &[1; 40]), ("user.b", &[2; 100])]);
        let division = divide(select(&given, false, |_, _| ())).unwrap();
        assert_eq!((division.inline.len(), division.block.len()), (1, 1));
        let exact = xattrs(&[("user.a", &[1; INLINE_ROOM - END - ENTRY - 4])]);
        assert!(!divide(select(&exact, false, |_, _| ())).unwrap().needs_block());
        let full = xattrs(&[("user.a", &[1; BLOCK_ROOM - END - ENTRY - 4])]);
        assert!(divide(select(&full, false, |_, _| ())).unwrap().needs_block());
        assert_eq!(divide(select(&full, false, |_, _| ())).unwrap().outside().count(), 0);
    }

    #[test]
    fn the_longest_values_have_inodes_of_their_own_where_the_block_has_no_room() {
        let lengths = |list: &[(&str, &[u8])]| {
            let given = xattrs(list);
            let division = divide(select(&given, false, |_, _| ()))?;
            Ok(division.outside().map(<[u8]>::len).collect::<Vec<_>>())
        };
        let over = BLOCK_ROOM - END - ENTRY - 3;
        assert_eq!(lengths(&[("user.a", &vec![1; over])]), Ok(vec![over]));
        assert_eq!(lengths(&[("user.a", &[1; 3000]), ("user.b", &[1; 500]), ("user.c", &[1; 2000])]), Ok(vec![3000]));
        assert_eq!(lengths(&[("user.a", &[1; 5000]), ("user.b", &[1; 1 << 16])]), Ok(vec![5000, 1 << 16]));
        assert_eq!(lengths(&[("user.a", &[1; (1 << 16) + 1])]), Err(TooLarge::Value((1 << 16) + 1)));
        let names: Vec<String> = (0..16).map(|n| format!("user.{n:0250}")).collect();
        let names: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &b"x"[..])).collect();
        assert_eq!(lengths(&names), Err(TooLarge::Names(END + 16 * (ENTRY + 252))));
    }
}
