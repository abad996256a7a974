//! Extended attributes of an inode, by their full names and with access control lists in the form tools know.

use super::error::{Part, ReadError};
use super::inode::Inode;
use super::superblock::FileSystem;
use crate::ext4::format::{XATTR_MAGIC, XattrEntry, XattrHeader};
use crate::ext4::xattrs::{NameAndValue, in_full};
use zerocopy::FromBytes;

const HEADER: usize = size_of::<XattrHeader>();
const ENTRY: usize = size_of::<XattrEntry>();

impl FileSystem<'_> {
    /// All attributes of an inode, sorted by name.
    pub fn attributes(&self, inode: &Inode) -> Result<Vec<NameAndValue>, ReadError> {
        let part = Part::Attributes(inode.number);
        let mut found = Vec::new();
        if inode.extra.starts_with(&XATTR_MAGIC.to_le_bytes()) {
            let room = &inode.extra[4..];
            read_entries(room, 0, &mut found).ok_or(ReadError::Damaged(part))?;
        }
        let place = u64::from(inode.raw.i_file_acl_lo.get()) | u64::from(inode.raw.i_file_acl_high.get()) << 32;
        if place != 0 {
            let block = self.block(place, part)?;
            let (header, _) = XattrHeader::read_from_prefix(&block).map_err(|_| ReadError::Damaged(part))?;
            if header.h_magic.get() != XATTR_MAGIC || header.h_blocks.get() != 1 {
                return Err(ReadError::Damaged(part));
            }
            if self.seed.is_some_and(|seed| seed.xattr_block(place, &block) != header.h_checksum.get()) {
                return Err(ReadError::Checksum(part));
            }
            read_entries(&block, HEADER, &mut found).ok_or(ReadError::Damaged(part))?;
        }
        found.sort();
        Ok(found)
    }
}

/// Reads entries from `at` on; offsets of values count from the start of `room`.
fn read_entries(room: &[u8], mut at: usize, found: &mut Vec<NameAndValue>) -> Option<()> {
    while room.get(at..at + 4)? != [0; 4] {
        let (entry, rest) = XattrEntry::read_from_prefix(&room[at..]).ok()?;
        let name = rest.get(..entry.e_name_len.into())?;
        let (value_at, size) = (usize::from(entry.e_value_offs.get()), entry.e_value_size.get() as usize);
        if entry.e_value_inum.get() != 0 {
            return None;
        }
        let value = if size == 0 { &[] } else { room.get(value_at..value_at.checked_add(size)?)? };
        found.push(in_full(entry.e_name_index, name, value)?);
        at += ENTRY + name.len().next_multiple_of(4);
    }
    Some(())
}
