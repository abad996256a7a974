//! Extent trees, and the bytes of files through them.

use super::error::{Part, ReadError};
use super::inode::{Inode, Kind};
use super::superblock::FileSystem;
use crate::ext4::format::{EXTENT_MAGIC, EXTENT_MAX, Extent, ExtentHeader, ExtentIndex, inode_flag};
use zerocopy::FromBytes;

const ENTRY: usize = size_of::<Extent>();
/// Deepest tree the kernel makes.
const MAX_DEPTH: u16 = 5;
/// Extents read of one file; a file system that needs more is not read.
const MAX_EXTENTS: usize = 1 << 24;

/// Consecutive blocks of a file in consecutive blocks of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First block of the file.
    pub logical: u32,
    /// Number of blocks.
    pub length: u32,
    /// First block of the disk.
    pub start: u64,
    /// Whether the blocks were written; others read as zeros.
    pub written: bool,
}

struct Walk<'f, 'a> {
    fs: &'f FileSystem<'a>,
    inode: &'f Inode,
    found: Vec<Mapping>,
    /// No extent may begin before this block of the file.
    next: u64,
    nodes: usize,
}

impl FileSystem<'_> {
    /// The mappings of an inode in the order of the file; what lies between them is a hole.
    pub fn mappings(&self, inode: &Inode) -> Result<Vec<Mapping>, ReadError> {
        inode.check_readable()?;
        if !inode.has(inode_flag::EXTENTS) {
            return Err(ReadError::Unsupported(format!("block maps (inode {})", inode.number)));
        }
        let mut walk = Walk { fs: self, inode, found: Vec::new(), next: 0, nodes: 0 };
        walk.node(&inode.raw.i_block, None)?;
        Ok(walk.found)
    }

    /// Reads bytes of a file or of a long link; all of them must be below its size.
    pub fn read_file(&self, inode: &Inode, offset: u64, bytes: &mut [u8]) -> Result<(), ReadError> {
        let mappings = self.mappings(inode)?;
        self.read_mapped(inode, &mappings, offset, bytes)
    }

    /// [`FileSystem::read_file`] with mappings that were read before.
    pub fn read_mapped(
        &self,
        inode: &Inode,
        mappings: &[Mapping],
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<(), ReadError> {
        let damaged = || ReadError::Damaged(Part::Extents(inode.number));
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= inode.size).ok_or_else(damaged)?;
        let block = self.block_size as u64;
        bytes.fill(0);
        let first = mappings.partition_point(|m| (u64::from(m.logical) + u64::from(m.length)) * block <= offset);
        for mapping in &mappings[first..] {
            let start = u64::from(mapping.logical) * block;
            let (from, to) = (start.max(offset), (start + u64::from(mapping.length) * block).min(end));
            if from >= end {
                break;
            }
            if mapping.written && from < to {
                let part = &mut bytes[(from - offset) as usize..(to - offset) as usize];
                self.read(mapping.start, from - start, part, Part::Extents(inode.number))?;
            }
        }
        Ok(())
    }

    /// The target of a symbolic link.
    pub fn target(&self, inode: &Inode) -> Result<Vec<u8>, ReadError> {
        let damaged = ReadError::Damaged(Part::Inode(inode.number));
        if inode.kind != Kind::Symlink || inode.size == 0 || inode.size > 4096 {
            return Err(damaged);
        }
        let length = inode.size as usize;
        if inode.has(inode_flag::EXTENTS) {
            let mut target = vec![0; length];
            self.read_file(inode, 0, &mut target)?;
            return Ok(target);
        }
        inode.check_readable()?;
        inode.raw.i_block.get(..length).map(<[u8]>::to_vec).ok_or(damaged)
    }
}

impl Walk<'_, '_> {
    fn damaged(&self) -> ReadError {
        ReadError::Damaged(Part::Extents(self.inode.number))
    }

    /// Reads a node whose depth must be `depth`; the root says its own.
    fn node(&mut self, node: &[u8], depth: Option<u16>) -> Result<(), ReadError> {
        let (header, entries) = ExtentHeader::read_from_prefix(node).map_err(|_| self.damaged())?;
        let count = usize::from(header.eh_entries.get());
        let own_depth = header.eh_depth.get();
        let sound = header.eh_magic.get() == EXTENT_MAGIC
            && depth.map_or(own_depth <= MAX_DEPTH, |depth| depth == own_depth)
            && count <= usize::from(header.eh_max.get())
            && count * ENTRY <= entries.len();
        if !sound {
            return Err(self.damaged());
        }
        for entry in entries.chunks_exact(ENTRY).take(count) {
            if own_depth == 0 { self.extent(entry)? } else { self.index(entry, own_depth - 1)? }
        }
        Ok(())
    }

    fn extent(&mut self, entry: &[u8]) -> Result<(), ReadError> {
        let extent = Extent::read_from_bytes(entry).map_err(|_| self.damaged())?;
        let raw_length = u32::from(extent.ee_len.get());
        let (length, written) =
            if raw_length <= EXTENT_MAX { (raw_length, true) } else { (raw_length - EXTENT_MAX, false) };
        let logical = extent.ee_block.get();
        let start = u64::from(extent.ee_start_lo.get()) | u64::from(extent.ee_start_hi.get()) << 32;
        let end = u64::from(logical) + u64::from(length);
        let sound = length > 0
            && u64::from(logical) >= self.next
            && end <= u64::from(u32::MAX)
            && start > 0
            && start + u64::from(length) <= self.fs.blocks
            && self.found.len() < MAX_EXTENTS;
        if !sound {
            return Err(self.damaged());
        }
        self.next = end;
        self.found.push(Mapping { logical, length, start, written });
        Ok(())
    }

    fn index(&mut self, entry: &[u8], depth: u16) -> Result<(), ReadError> {
        let index = ExtentIndex::read_from_bytes(entry).map_err(|_| self.damaged())?;
        let place = u64::from(index.ei_leaf_lo.get()) | u64::from(index.ei_leaf_hi.get()) << 32;
        let before = self.found.len();
        self.nodes += 1;
        if u64::from(index.ei_block.get()) < self.next || self.nodes > MAX_EXTENTS {
            return Err(self.damaged());
        }
        let part = Part::Extents(self.inode.number);
        let block = self.fs.block(place, part)?;
        self.verify(&block)?;
        self.node(&block, Some(depth))?;
        // A node that leads to nothing could be named again and again.
        if self.found.len() == before { Err(self.damaged()) } else { Ok(()) }
    }

    fn verify(&self, block: &[u8]) -> Result<(), ReadError> {
        let Some(seed) = self.fs.seed else { return Ok(()) };
        let (header, _) = ExtentHeader::read_from_prefix(block).map_err(|_| self.damaged())?;
        let tail = ENTRY * (1 + usize::from(header.eh_max.get()));
        let stored = block.get(tail..tail + 4).ok_or_else(|| self.damaged())?;
        let seed = seed.inode(self.inode.number, self.inode.raw.i_generation.get());
        if stored == seed.block(&block[..tail]).to_le_bytes() {
            Ok(())
        } else {
            Err(ReadError::Checksum(Part::Extents(self.inode.number)))
        }
    }
}
