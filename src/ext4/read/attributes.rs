//! Extended attributes of an inode, by their full names and with access control lists in the form tools know.

use super::error::{Part, ReadError};
use super::inode::{Inode, Kind};
use super::superblock::FileSystem;
use crate::ext4::format::{XATTR_MAGIC, XattrEntry, XattrHeader, inode_flag};
use crate::ext4::xattrs::{NameAndValue, in_full};
use std::borrow::Cow;
use zerocopy::FromBytes;

const HEADER: usize = size_of::<XattrHeader>();
const ENTRY: usize = size_of::<XattrEntry>();
/// Longest value that the kernel hands out (`XATTR_SIZE_MAX`).
const LONGEST: u32 = 1 << 16;
/// Bytes of such values that are read of one file system: files may share one, so that a small disk could have any number.
const MOST_VALUES: u64 = 256 << 20;

impl FileSystem<'_> {
    /// All attributes of an inode, sorted by name.
    pub fn attributes(&self, inode: &Inode) -> Result<Vec<NameAndValue>, ReadError> {
        let part = Part::Attributes(inode.number);
        let mut found = Vec::new();
        if inode.extra.starts_with(&XATTR_MAGIC.to_le_bytes()) {
            let room = &inode.extra[4..];
            self.read_entries(room, 0, part, &mut found)?;
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
            self.read_entries(&block, HEADER, part, &mut found)?;
        }
        found.sort();
        Ok(found)
    }

    /// Reads entries from `at` on; offsets of values count from the start of `room`.
    fn read_entries(&self, room: &[u8], at: usize, part: Part, found: &mut Vec<NameAndValue>) -> Result<(), ReadError> {
        let damaged = || ReadError::Damaged(part);
        let mut at = at;
        while room.get(at..at + 4).ok_or_else(damaged)? != [0; 4] {
            let (entry, rest) = XattrEntry::read_from_prefix(&room[at..]).map_err(|_| damaged())?;
            let name = rest.get(..entry.e_name_len.into()).ok_or_else(damaged)?;
            let value = match entry.e_value_inum.get() {
                0 => Cow::Borrowed(value_in(room, &entry).ok_or_else(damaged)?),
                number => Cow::Owned(self.value(number, entry.e_value_size.get(), part)?),
            };
            found.push(in_full(entry.e_name_index, name, &value).ok_or_else(damaged)?);
            at += ENTRY + name.len().next_multiple_of(4);
        }
        Ok(())
    }

    /// A value that has an inode of its own, verified.
    fn value(&self, number: u32, size: u32, part: Part) -> Result<Vec<u8>, ReadError> {
        let inode = self.inode(number)?;
        if !inode.has(inode_flag::EA_INODE)
            || inode.kind != Kind::File
            || inode.size != u64::from(size)
            || size > LONGEST
        {
            return Err(ReadError::Damaged(part));
        }
        self.values_read.set(self.values_read.get() + u64::from(size));
        if self.values_read.get() > MOST_VALUES {
            return Err(ReadError::Unsupported(format!("more than {} MiB of long attributes", MOST_VALUES >> 20)));
        }
        let mut value = vec![0; size as usize];
        self.read_file(&inode, 0, &mut value)?;
        if self.seed.is_some_and(|seed| seed.attribute_value(&value) != inode.raw.i_atime.get()) {
            return Err(ReadError::Checksum(part));
        }
        Ok(value)
    }
}

/// A value that is in the room of its entry.
fn value_in<'a>(room: &'a [u8], entry: &XattrEntry) -> Option<&'a [u8]> {
    let (at, size) = (usize::from(entry.e_value_offs.get()), entry.e_value_size.get() as usize);
    if size == 0 { Some(&[]) } else { room.get(at..at.checked_add(size)?) }
}
