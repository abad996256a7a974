//! The names of a directory, plain or hashed: all blocks are read in order, nodes of the hash tree are skipped.

use super::error::{Part, ReadError};
use super::inode::{Inode, Kind};
use super::superblock::FileSystem;
use crate::ext4::format::{DIR_TAIL_TYPE, DirEntry, DirTail, DxTail, inode_flag};
use zerocopy::FromBytes;

/// Largest directory that is read, in blocks.
const MAX_BLOCKS: u64 = 1 << 22;
const HEAD: usize = size_of::<DirEntry>();
/// Where limit and count of the pointers are, in the root and in other nodes.
const ROOT_COUNT: usize = 32;
const NODE_COUNT: usize = 8;

/// A directory entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The bytes: not empty, without `/` and NUL, never `.` or `..`.
    pub name: Vec<u8>,
    /// Inode number.
    pub inode: u32,
    /// `file_type`.
    pub file_type: u8,
}

impl FileSystem<'_> {
    /// The names of a directory in the order of its blocks, without `.` and `..`.
    pub fn names(&self, inode: &Inode) -> Result<Vec<Name>, ReadError> {
        let part = Part::Directory(inode.number);
        let mappings = self.mappings(inode)?;
        let blocks: u64 = mappings.iter().map(|mapping| u64::from(mapping.length)).sum();
        if inode.kind != Kind::Directory || blocks > MAX_BLOCKS.min(self.blocks) {
            return Err(ReadError::Damaged(part));
        }
        let mut names = Vec::new();
        for mapping in mappings {
            for i in 0..u64::from(mapping.length) {
                let block = self.block(mapping.start + i, part)?;
                let node = if inode.has(inode_flag::INDEX) { node_count_at(&block) } else { None };
                self.verify_directory_block(inode, &block, node)?;
                read_names(&block, &mut names).ok_or(ReadError::Damaged(part))?;
            }
        }
        Ok(names)
    }

    fn verify_directory_block(&self, inode: &Inode, block: &[u8], node: Option<usize>) -> Result<(), ReadError> {
        let Some(seed) = self.seed else { return Ok(()) };
        let seed = seed.inode(inode.number, inode.raw.i_generation.get());
        let part = Part::Directory(inode.number);
        let (expected, stored) = match node {
            Some(at) => {
                let word = |at: usize| usize::from(u16::from_le_bytes([block[at], block[at + 1]]));
                let (limit, count) = (word(at), word(at + 2));
                let (tail_at, used) = (at + 8 * limit, at + 8 * count);
                if count > limit || tail_at + size_of::<DxTail>() > block.len() {
                    return Err(ReadError::Damaged(part));
                }
                let (tail, _) = DxTail::read_from_prefix(&block[tail_at..]).map_err(|_| ReadError::Damaged(part))?;
                (seed.hash_node(block, used, &tail), tail.dt_checksum.get())
            }
            None => {
                let at = block.len() - size_of::<DirTail>();
                let tail = DirTail::read_from_bytes(&block[at..]).map_err(|_| ReadError::Damaged(part))?;
                if tail.det_reserved_ft != DIR_TAIL_TYPE {
                    return Err(ReadError::Checksum(part));
                }
                (seed.block(&block[..at]), tail.det_checksum.get())
            }
        };
        if expected == stored { Ok(()) } else { Err(ReadError::Checksum(part)) }
    }
}

/// Where a node of a hash tree has its count, or `None` for a leaf.
fn node_count_at(block: &[u8]) -> Option<usize> {
    let record = |at: usize| usize::from(u16::from_le_bytes([block[at + 4], block[at + 5]]));
    if record(0) == block.len() && block[6] == 0 {
        return Some(NODE_COUNT);
    }
    (record(0) == 12 && record(12) == block.len() - 12).then_some(ROOT_COUNT)
}

/// Reads the entries of a block; `None` when they do not fill it exactly or a name cannot be.
fn read_names(block: &[u8], names: &mut Vec<Name>) -> Option<()> {
    let mut at = 0;
    while at < block.len() {
        let (head, _) = DirEntry::read_from_prefix(&block[at..]).ok()?;
        let (length, name_length) = (usize::from(head.rec_len.get()), usize::from(head.name_len));
        if length < HEAD || !length.is_multiple_of(4) || at + length > block.len() || HEAD + name_length > length {
            return None;
        }
        let name = &block[at + HEAD..][..name_length];
        if head.inode.get() != 0 && name != b"." && name != b".." {
            if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
                return None;
            }
            names.push(Name { name: name.to_vec(), inode: head.inode.get(), file_type: head.file_type });
        }
        at += length;
    }
    Some(())
}
