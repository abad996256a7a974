//! Directory blocks: one plain block for few names, a hash tree for more.
//!
//! ```text
//!  plain     . │ .. │ entry │ entry │ …                        │ tail (12)
//!  hashed    block 0   . │ .. │ info │ limit,count │ (hash, block) …   │ tail (8)      at most 507 pointers
//!            nodes     fake entry    │ limit,count │ (hash, block) …   │ tail (8)      at most 510 pointers each
//!            leaves    entry │ entry │ …                       │ tail (12)
//! ```
//!
//! Leaves hold the names in the order of their hash, filled to the end. Two levels are built at most (the `largedir`
//! feature allows a third), which is room for more than three million names of any length.
//! Specification: Documentation/filesystems/ext4/directory.rst.

use super::checksum::InodeSeed;
use super::format::{BLOCK, DIR_TAIL_TYPE, DirEntry, DirTail, DxEntry, DxRootInfo, DxTail, HASH_HALF_MD4, file_type};
use super::hash::{NameHash, half_md4};
use std::io;
use std::ops::Range;
use zerocopy::IntoBytes;

const BLOCK_BYTES: usize = BLOCK as usize;
/// Bytes of a leaf before its checksum.
const LEAF_ROOM: usize = BLOCK_BYTES - size_of::<DirTail>();
/// `.` and `..` take 12 bytes each.
const DOTS: usize = 24;
const POINTER: usize = size_of::<DxEntry>();
/// Where the pointers of the root and of the other nodes begin.
const ROOT_POINTERS: usize = DOTS + size_of::<DxRootInfo>();
const NODE_POINTERS: usize = size_of::<DirEntry>();
/// Pointers of the root and of another node; one place is left to the checksum.
const ROOT_LIMIT: usize = (BLOCK_BYTES - ROOT_POINTERS) / POINTER - 1;
const NODE_LIMIT: usize = (BLOCK_BYTES - NODE_POINTERS) / POINTER - 1;

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    /// The bytes, 1 to 255.
    pub name: &'a [u8],
    /// Inode number.
    pub inode: u32,
    /// `file_type`.
    pub file_type: u8,
}

/// A directory's names in their order on the disk, and their division into blocks.
pub struct Directory<'a> {
    names: Vec<(NameHash, Name<'a>)>,
    /// Names of each leaf; empty for a plain directory.
    leaves: Vec<Range<usize>>,
    nodes: usize,
}

fn entry_size(name: usize) -> usize {
    (size_of::<DirEntry>() + name).next_multiple_of(4)
}

impl<'a> Directory<'a> {
    /// Sorts and divides the names, or returns `None` when there are too many.
    pub fn new(names: impl Iterator<Item = Name<'a>>, seed: [u32; 4]) -> Option<Self> {
        let mut names: Vec<_> = names.map(|name| (NameHash { major: 0, minor: 0 }, name)).collect();
        let total: usize = names.iter().map(|(_, name)| entry_size(name.name.len())).sum();
        if DOTS + total <= LEAF_ROOM {
            names.sort_unstable_by_key(|(_, name)| name.name);
            return Some(Directory { names, leaves: Vec::new(), nodes: 0 });
        }
        for (hash, name) in &mut names {
            *hash = half_md4(name.name, seed);
        }
        names.sort_unstable_by_key(|(hash, name)| (*hash, name.name));
        let leaves = fill_leaves(&names);
        let nodes = if leaves.len() <= ROOT_LIMIT { 0 } else { leaves.len().div_ceil(NODE_LIMIT) };
        (nodes <= ROOT_LIMIT).then_some(Directory { names, leaves, nodes })
    }

    /// Number of blocks.
    pub fn blocks(&self) -> u32 {
        (1 + self.nodes + self.leaves.len()) as u32
    }

    /// Whether it is a hash tree (`INDEX` in `i_flags`).
    pub fn is_hashed(&self) -> bool {
        !self.leaves.is_empty()
    }

    /// Encodes block after block, in order.
    pub fn encode(
        &self,
        own: u32,
        parent: u32,
        seed: InodeSeed,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut block = vec![0; BLOCK_BYTES];
        if self.leaves.is_empty() {
            let dots = [dot(b".", own), dot(b"..", parent)];
            fill_leaf(&mut block, dots.iter().chain(self.names.iter().map(|(_, name)| name)), seed);
            return write(&block);
        }
        let first_leaf = 1 + self.nodes;
        let pointers: Vec<DxEntry> = (0..self.leaves.len()).map(|leaf| self.pointer(leaf, first_leaf + leaf)).collect();
        let level: Vec<DxEntry> = match self.nodes {
            0 => pointers.clone(),
            _ => (1..)
                .zip(pointers.chunks(NODE_LIMIT))
                .map(|(at, node)| DxEntry { block: at.into(), ..node[0] })
                .collect(),
        };
        self.fill_root(&mut block, own, parent, &level, seed);
        write(&block)?;
        if self.nodes > 0 {
            for node in pointers.chunks(NODE_LIMIT) {
                fill_node(&mut block, node, seed);
                write(&block)?;
            }
        }
        for leaf in &self.leaves {
            fill_leaf(&mut block, self.names[leaf.clone()].iter().map(|(_, name)| name), seed);
            write(&block)?;
        }
        Ok(())
    }

    /// The pointer to a leaf. Its lowest bit says that the leaf begins with a hash the leaf before ends with.
    fn pointer(&self, leaf: usize, block: usize) -> DxEntry {
        let first = self.leaves[leaf].start;
        let hash = self.names[first].0.major;
        let continued = first > 0 && self.names[first - 1].0.major == hash;
        DxEntry { hash: (hash | u32::from(continued)).into(), block: (block as u32).into() }
    }

    fn fill_root(&self, block: &mut [u8], own: u32, parent: u32, pointers: &[DxEntry], seed: InodeSeed) {
        block.fill(0);
        put_entry(&mut block[..12], &dot(b".", own));
        put_entry(&mut block[12..], &dot(b"..", parent));
        let info = DxRootInfo {
            reserved_zero: 0.into(),
            hash_version: HASH_HALF_MD4,
            info_length: size_of::<DxRootInfo>() as u8,
            indirect_levels: u8::from(self.nodes > 0),
            unused_flags: 0,
        };
        block[DOTS..ROOT_POINTERS].copy_from_slice(info.as_bytes());
        put_pointers(block, ROOT_POINTERS, ROOT_LIMIT, pointers, seed);
    }
}

fn fill_leaves(names: &[(NameHash, Name)]) -> Vec<Range<usize>> {
    let (mut leaves, mut start, mut used) = (Vec::new(), 0, 0);
    for (i, (_, name)) in names.iter().enumerate() {
        let size = entry_size(name.name.len());
        if used + size > LEAF_ROOM {
            leaves.push(start..i);
            (start, used) = (i, 0);
        }
        used += size;
    }
    leaves.push(start..names.len());
    leaves
}

fn dot(name: &'static [u8], inode: u32) -> Name<'static> {
    Name { name, inode, file_type: file_type::DIRECTORY }
}

/// Writes an entry that fills all of `room`.
fn put_entry(room: &mut [u8], name: &Name) {
    let head = DirEntry {
        inode: name.inode.into(),
        rec_len: (room.len() as u16).into(),
        name_len: name.name.len() as u8,
        file_type: name.file_type,
    };
    room[..8].copy_from_slice(head.as_bytes());
    room[8..8 + name.name.len()].copy_from_slice(name.name);
}

fn fill_leaf<'n>(block: &mut [u8], names: impl Iterator<Item = &'n Name<'n>>, seed: InodeSeed) {
    block.fill(0);
    let (mut at, mut names) = (0, names.peekable());
    while let Some(name) = names.next() {
        let end = if names.peek().is_some() { at + entry_size(name.name.len()) } else { LEAF_ROOM };
        put_entry(&mut block[at..end], name);
        at = end;
    }
    let tail = DirTail {
        det_reserved_zero1: 0.into(),
        det_rec_len: (size_of::<DirTail>() as u16).into(),
        det_reserved_zero2: 0,
        det_reserved_ft: DIR_TAIL_TYPE,
        det_checksum: seed.block(&block[..LEAF_ROOM]).into(),
    };
    block[LEAF_ROOM..].copy_from_slice(tail.as_bytes());
}

fn fill_node(block: &mut [u8], pointers: &[DxEntry], seed: InodeSeed) {
    block.fill(0);
    // To a kernel without hash trees the whole block is one unused entry.
    block[4..6].copy_from_slice(&(BLOCK_BYTES as u16).to_le_bytes());
    put_pointers(block, NODE_POINTERS, NODE_LIMIT, pointers, seed);
}

fn put_pointers(block: &mut [u8], at: usize, limit: usize, pointers: &[DxEntry], seed: InodeSeed) {
    let used = at + pointers.len() * POINTER;
    block[at..used].copy_from_slice(pointers.as_bytes());
    block[at..at + 2].copy_from_slice(&(limit as u16).to_le_bytes());
    block[at + 2..at + 4].copy_from_slice(&(pointers.len() as u16).to_le_bytes());
    let mut tail = DxTail { dt_reserved: 0.into(), dt_checksum: 0.into() };
    tail.dt_checksum.set(seed.hash_node(block, used, &tail));
    block[at + limit * POINTER..][..POINTER].copy_from_slice(tail.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(count: usize, length: usize) -> Option<u32> {
        let names: Vec<String> = (0..count).map(|i| format!("{i:0length$}")).collect();
        let names = names.iter().map(|n| Name { name: n.as_bytes(), inode: 12, file_type: file_type::REGULAR });
        Directory::new(names, [1, 2, 3, 4]).map(|d| d.blocks())
    }

    #[test]
    fn a_directory_is_hashed_when_it_passes_one_block() {
        let fits = (LEAF_ROOM - DOTS) / 264;
        assert_eq!(directory(0, 1), Some(1));
        assert_eq!(directory(fits, 255), Some(1));
        assert_eq!(directory(fits + 1, 255), Some(1 + 2));
    }

    #[test]
    fn nodes_appear_when_the_root_is_full() {
        let per_leaf = LEAF_ROOM / 264;
        assert_eq!(directory(ROOT_LIMIT * per_leaf, 255), Some(1 + ROOT_LIMIT as u32));
        assert_eq!(directory(ROOT_LIMIT * per_leaf + 1, 255), Some(1 + 1 + ROOT_LIMIT as u32 + 1));
    }
}
