//! Where the metadata of a file system of a given size goes, or that it does not fit.
//!
//! Bodies are placed already. A group's bitmaps and inode table go into the group itself where it has the room, and
//! anywhere else otherwise (the `flex_bg` feature allows it); then journal, directories and all other blocks follow
//! from the lowest free block on. Planning writes nothing, so any number of sizes can be tried.

use super::allocator::Allocator;
use super::body::Run;
use super::extents;
use super::format::{BLOCK, BLOCKS_PER_GROUP, MAX_INODES_PER_GROUP};
use super::geometry::{Descriptors, Geometry};
use super::journal;
use super::supply::Supply;

/// Places of a group's own metadata. All are block numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The block bitmap.
    pub block_bitmap: u64,
    /// The inode bitmap.
    pub inode_bitmap: u64,
    /// First block of the inode table.
    pub inode_table: u64,
}

/// Blocks an inode needs that no body has.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Which inode, as an index of the numbering's order.
    pub index: u32,
    /// Blocks of content: of a directory or a symbolic link.
    pub content: u32,
    /// Other blocks: nodes of a file's extent tree.
    pub nodes: u32,
    /// A block of extended attributes.
    pub xattr: bool,
}

/// What has to fit.
#[derive(Clone, Copy)]
pub struct Demand<'a> {
    /// Bodies.
    pub bodies: &'a Allocator,
    /// Everything else of the inodes, in the order of their numbers.
    pub needs: &'a [Need],
    /// The highest inode number.
    pub last_inode: u32,
    /// Blocks for descriptors in every group with a superblock.
    pub room: u64,
    /// Size of a descriptor.
    pub descriptors: Descriptors,
}

/// A file system that fits.
pub struct Plan {
    /// Its division.
    pub geometry: Geometry,
    /// One for each group.
    pub places: Vec<Place>,
    /// The journal's blocks, and those of its extent tree.
    pub journal: Vec<Run>,
    /// Nodes of the journal's extent tree.
    pub journal_nodes: Vec<Run>,
    /// The block of the resize inode, where there is one.
    pub resize: Option<u64>,
    /// What is free once all above is taken: the needs are met from here, in order.
    pub supply: Supply,
    /// Blocks that stay free in the end.
    pub free: u64,
}

/// How much is spent on what a guest may need later.
#[derive(Clone, Copy)]
pub enum Comfort {
    /// Inodes and journal as mke2fs would choose.
    Usual,
    /// Inodes for what is there, the usual journal.
    FewInodes,
    /// Inodes for what is there, the smallest journal.
    Least,
}

impl Demand<'_> {
    /// The most comfortable plan for `size` bytes, if any fits.
    pub fn fit(&self, size: u64) -> Option<Plan> {
        [Comfort::Usual, Comfort::FewInodes, Comfort::Least].into_iter().find_map(|comfort| self.plan(size, comfort))
    }

    /// A plan for `size` bytes.
    pub fn plan(&self, size: u64, comfort: Comfort) -> Option<Plan> {
        let mut geometry = Geometry::new(size, self.room, self.descriptors)?;
        if self.bodies.end() > geometry.blocks {
            return None;
        }
        geometry.inodes_per_group = inodes_per_group(&geometry, self.last_inode, comfort)?;
        let free = self.bodies.free(geometry.blocks);
        let (places, mut supply) = place_groups(&geometry, free)?;
        let journal_blocks = match comfort {
            Comfort::Least => journal::LEAST,
            _ => journal::usual_blocks(geometry.blocks),
        };
        let (mut journal, mut journal_nodes) = (Vec::new(), Vec::new());
        match supply.take_consecutive(journal_blocks) {
            Some(start) => journal.push(Run { logical: 0, length: journal_blocks as u32, start }),
            None => supply.take(journal_blocks, &mut journal)?,
        }
        supply.take(extents::node_blocks(extents::count(journal.iter().copied())), &mut journal_nodes)?;
        let resize = if geometry.reserved() > 0 { Some(supply.take_one()?) } else { None };
        let free = self.meet_needs(supply.clone())?;
        Some(Plan { geometry, places, journal, journal_nodes, resize, supply, free })
    }

    /// Takes what the inodes need, and returns how many blocks are left.
    fn meet_needs(&self, mut supply: Supply) -> Option<u64> {
        let (mut content, mut others) = (Vec::new(), Vec::new());
        for need in self.needs {
            take_need(&mut supply, need, &mut content, &mut others)?;
        }
        Some(supply.blocks())
    }
}

/// Takes the blocks of one inode: its content, then all others (nodes of the tree, attributes) in `others`.
pub fn take_need(supply: &mut Supply, need: &Need, content: &mut Vec<Run>, others: &mut Vec<Run>) -> Option<()> {
    content.clear();
    others.clear();
    supply.take(need.content.into(), content)?;
    let nodes = extents::node_blocks(extents::count(content.iter().copied()));
    supply.take(nodes + u64::from(need.nodes) + u64::from(need.xattr), others)
}

/// Bytes for each inode, as mke2fs has it for "default", "big" and "huge" file systems.
fn inode_ratio(blocks: u64) -> u64 {
    const TIB: u64 = 1 << 40;
    match blocks * BLOCK {
        bytes if bytes < 4 * TIB => 16_384,
        bytes if bytes < 16 * TIB => 32_768,
        _ => 65_536,
    }
}

fn inodes_per_group(geometry: &Geometry, last_inode: u32, comfort: Comfort) -> Option<u32> {
    let used = u64::from(last_inode);
    let wanted = match comfort {
        Comfort::Usual => (geometry.blocks * BLOCK / inode_ratio(geometry.blocks)).max(used + used / 4),
        _ => used,
    };
    let most = u64::from(MAX_INODES_PER_GROUP).min(u64::from(u32::MAX) / geometry.groups() / 16 * 16);
    let enough = |inodes: u64| inodes.div_ceil(geometry.groups()).next_multiple_of(16);
    (enough(used) <= most).then(|| enough(wanted).min(most) as u32)
}

/// Places bitmaps and inode tables. Groups without room get theirs from the lowest free blocks of others.
fn place_groups(geometry: &Geometry, free: Vec<(u64, u64)>) -> Option<(Vec<Place>, Supply)> {
    let table = geometry.inode_table_blocks();
    let mut places = vec![Place::default(); geometry.groups() as usize];
    let mut left: Vec<(u64, u64)> = Vec::with_capacity(free.len());
    let mut placed = None;
    for (group, start, length) in free.into_iter().flat_map(cut_at_groups) {
        let fits = length >= table + 2 && placed != Some(group);
        if fits {
            places[group as usize] = Place { block_bitmap: start, inode_bitmap: start + 1, inode_table: start + 2 };
            placed = Some(group);
        }
        let taken = if fits { table + 2 } else { 0 };
        push_range(&mut left, start + taken, length - taken);
    }
    let mut homeless: Vec<&mut Place> = places.iter_mut().filter(|place| place.inode_table == 0).collect();
    let mut ranges = left.iter_mut();
    let mut range = ranges.next();
    for place in &mut homeless {
        while range.as_ref().is_some_and(|(_, length)| *length < table) {
            range = ranges.next();
        }
        let (start, length) = range.as_mut()?;
        place.inode_table = *start;
        *start += table;
        *length -= table;
    }
    let mut supply = Supply::new(left);
    for place in homeless {
        place.block_bitmap = supply.take_one()?;
        place.inode_bitmap = supply.take_one()?;
    }
    Some((places, supply))
}

/// Cuts a range where groups begin, into (group, start, length).
fn cut_at_groups((start, length): (u64, u64)) -> impl Iterator<Item = (u64, u64, u64)> {
    let end = start + length;
    let mut at = start;
    std::iter::from_fn(move || {
        let group = at / BLOCKS_PER_GROUP;
        let cut = ((group + 1) * BLOCKS_PER_GROUP).min(end);
        let part = (group, at, cut - at);
        at = cut;
        (part.2 > 0).then_some(part)
    })
}

fn push_range(ranges: &mut Vec<(u64, u64)>, start: u64, length: u64) {
    match ranges.last_mut() {
        Some((last, count)) if *last + *count == start => *count += length,
        _ if length > 0 => ranges.push((start, length)),
        _ => {}
    }
}
