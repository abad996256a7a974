//! The end of writing: numbers, sizes and places are decided, then all metadata is written.
//!
//! 1. number the inodes and look at each (nothing is written, most errors come from here)
//! 2. find a size and a plan that fits
//! 3. erase what was given back
//! 4. inodes with their directories, links, trees and attributes, then those of long attributes
//! 5. journal and resize inode
//! 6. bitmaps, descriptors, superblocks

use super::body::{Body, Run};
use super::checksum::Seed;
use super::error::SealError;
use super::extents;
use super::format::{self, BLOCK, Inode, JOURNAL_INO, ROOT_INO, inode_flag, mode};
use super::groups::{self, Usage};
use super::numbering::Numbering;
use super::plan::{Comfort, Demand, Need, Plan, take_need};
use super::stage::Stage;
use super::supply::Supply;
use super::survey::{self, Survey};
use super::table::InodeTable;
use super::warnings::Warnings;
use super::writer::{Free, Params, Writer};
use super::xattrs::Division;
use super::{inode, journal, resize};
use crate::rootfs::tree::Attrs;
use crate::rootfs::{BodySink, InodeId, Kind, Tree};
use std::io;

const MIB: u64 = 1 << 20;
/// Free space of an automatic size, at least.
const FREE_MIN: u64 = 512 * MIB;
/// Bytes and inodes that are left in the smallest.
const FREE_LEAST: u64 = MIB;
const SPARE_INODES: u32 = 64;

/// What was written.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Bytes of the partition: a multiple of 1 MiB when the size was automatic.
    pub size: u64,
    /// Blocks of 4096 bytes that are free.
    pub free_blocks: u64,
    /// Inodes in use, those of the file system itself included.
    pub inodes: u32,
    /// What is stored otherwise than the tree has it.
    pub warnings: Warnings,
}

impl Writer<'_> {
    /// Writes everything but the bodies, which must all have come from this writer. The tree's files then are on the
    /// output, and what was given back is not.
    pub fn seal(mut self, tree: &Tree<Body>) -> Result<Sealed, SealError> {
        self.abandon();
        if self.params.label.len() > 16 {
            return Err(SealError::LabelTooLong(self.params.label.len()));
        }
        let numbering = Numbering::new(tree)?;
        let hash_seed = hash_seed(&self.params);
        let Survey { needs, values, warnings } = survey::survey(tree, &numbering, hash_seed)?;
        let last_inode = numbering.last().saturating_add(values);
        let demand = Demand {
            bodies: &self.blocks,
            needs: &needs,
            last_inode,
            room: self.room,
            descriptors: self.params.descriptors,
        };
        let (size, mut plan) = match self.params.size {
            Some(size) => (size, fixed(&demand, size)?),
            None => match self.params.free {
                Free::Usual => automatic(&demand, |used| FREE_MIN.max(used / 4))?,
                Free::Bytes(bytes) => automatic(&demand, |_| bytes)?,
                Free::Least => least(&demand)?,
            },
        };
        self.stage.erase()?;
        let supply = std::mem::take(&mut plan.supply);
        let metadata = Metadata {
            tree,
            numbering: &numbering,
            plan: &plan,
            hash_seed,
            seed: Seed::new(&self.params.uuid),
            stage: Stage::new(self.output, plan.geometry.blocks),
            supply,
            last_inode: numbering.last(),
        };
        metadata.write(&self.params, &needs)?;
        Ok(Sealed { size, free_blocks: plan.free, inodes: last_inode, warnings })
    }
}

fn hash_seed(params: &Params) -> [u32; 4] {
    let word = |i: usize| u32::from_le_bytes([0, 1, 2, 3].map(|b| params.hash_seed[4 * i + b]));
    [word(0), word(1), word(2), word(3)]
}

/// A plan for the size that was asked for, or the error that names the one that would do.
fn fixed(demand: &Demand, size: u64) -> Result<Plan, SealError> {
    if let Some(plan) = demand.fit(size) {
        return Ok(plan);
    }
    Err(SealError::TooSmall { size, needed: smallest(demand, size)? })
}

/// The smallest size above `size` that is enough.
fn smallest(demand: &Demand, size: u64) -> Result<u64, SealError> {
    let fits = |mib: u64| demand.fit(mib * MIB).is_some();
    let most = largest(demand) / MIB;
    let mut too_small = size / MIB;
    let mut enough = (too_small + 1).max((demand.bodies.end() * BLOCK).div_ceil(MIB));
    while !fits(enough) {
        too_small = enough;
        enough = enough + (enough / 8).max(1);
        if enough > most {
            return Err(SealError::TooLarge(most * MIB));
        }
    }
    while enough - too_small > 1 {
        let middle = too_small + (enough - too_small) / 2;
        if fits(middle) { enough = middle } else { too_small = middle }
    }
    Ok(enough * MIB)
}

/// The smallest size, with what a boot writes: names of mount points, and a few files.
fn least(demand: &Demand) -> Result<(u64, Plan), SealError> {
    let demand = Demand { last_inode: demand.last_inode.saturating_add(SPARE_INODES), ..*demand };
    let mut size = smallest(&demand, 0)?;
    while size <= largest(&demand) {
        match demand.fit(size).filter(|plan| plan.free * BLOCK >= FREE_LEAST) {
            Some(plan) => return Ok((size, plan)),
            None => size += MIB,
        }
    }
    Err(SealError::TooLarge(largest(&demand)))
}

/// The largest size the room for descriptors allows.
fn largest(demand: &Demand) -> u64 {
    demand.room * (BLOCK / demand.descriptors.size()) * format::BLOCKS_PER_GROUP * BLOCK
}

/// The smallest size with comfort and the free space wanted.
fn automatic(demand: &Demand, free: impl Fn(u64) -> u64) -> Result<(u64, Plan), SealError> {
    let end = demand.bodies.end();
    let unused: u64 = demand.bodies.free(end).iter().map(|(_, length)| length).sum();
    let needs: u64 = demand.needs.iter().map(|n| u64::from(n.content) + u64::from(n.nodes) + u64::from(n.xattr)).sum();
    let used = (end - unused + needs) * BLOCK;
    let wanted = free(used);
    let most = largest(demand);
    let mut size = (end * BLOCK).max(used.saturating_add(wanted)).div_ceil(MIB) * MIB;
    loop {
        if size > most {
            return Err(SealError::TooLarge(most));
        }
        let missing = match demand.plan(size, Comfort::Usual) {
            Some(plan) if plan.free * BLOCK >= wanted => return Ok((size, plan)),
            Some(plan) => wanted - plan.free * BLOCK,
            None => size / 64,
        };
        size += missing.max(1).div_ceil(MIB) * MIB;
    }
}

/// Everything the metadata is written from.
struct Metadata<'t> {
    tree: &'t Tree<Body>,
    numbering: &'t Numbering,
    plan: &'t Plan,
    hash_seed: [u32; 4],
    seed: Seed,
    stage: Stage<'t>,
    supply: Supply,
    /// The highest number in use so far.
    last_inode: u32,
}

/// The blocks an inode was given.
#[derive(Default)]
struct Given {
    content: Vec<Run>,
    nodes: Vec<u64>,
    xattr: Option<u64>,
}

impl<'t> Metadata<'t> {
    fn write(mut self, params: &Params, needs: &[Need]) -> Result<(), SealError> {
        let mut directories = vec![0; self.plan.places.len()];
        let mut table_stage = Stage::new(self.stage.output(), self.plan.geometry.blocks);
        let mut table = InodeTable::new(self.plan, &mut table_stage, self.seed);
        let journal = self.journal(params)?;
        let resize = match self.plan.resize {
            Some(root) => Some(resize::write(&mut self.stage, &self.plan.geometry, root, params.made_at)?),
            None => None,
        };
        let mut needs = needs.iter().peekable();
        let mut named = self.numbering.directories.iter();
        let mut long = Vec::new();
        for (index, &id) in self.numbering.order.iter().enumerate() {
            let given = match needs.next_if(|need| need.index as usize == index) {
                Some(need) => self.give(need),
                None => Given::default(),
            };
            let number = Numbering::at(index);
            let values = self.last_inode;
            let mut inode = self.inode(number, id, given)?;
            if self.last_inode > values {
                long.push(id);
            }
            if self.tree.inode(id).is_directory() {
                directories[table.group(number)] += 1;
                let links = named.next().map_or(1, |directory| directory.links());
                inode.i_links_count.set(links);
            }
            table.put(number, inode)?;
            if number == ROOT_INO {
                if let Some(resize) = resize {
                    table.put(resize::NUMBER, resize)?;
                }
                table.put(JOURNAL_INO, journal)?;
            }
        }
        let mut numbers = self.numbering.last() + 1..;
        for id in long {
            let division = survey::divide(self.tree, id)?;
            for value in division.iter().flat_map(Division::outside) {
                let (Some(number), Some(need)) = (numbers.next(), needs.next()) else { break };
                let inode = self.value(number, id, value, need)?;
                table.put(number, inode)?;
            }
        }
        table.end_block()?;
        table_stage.flush()?;
        let free: Vec<_> = self.supply.iter().collect();
        let values = self.last_inode > self.numbering.last();
        let usage = Usage { last_inode: self.last_inode, values, directories: &directories, free: &free };
        let descriptors = groups::write_groups(&mut self.stage, self.plan, &usage, self.seed)?;
        let mut sb = groups::superblock(self.plan, params, &usage, &journal.i_block);
        groups::write_superblocks(&mut self.stage, &self.plan.geometry, &mut sb, &descriptors)?;
        Ok(self.stage.flush()?)
    }

    /// The blocks planned for an inode.
    fn give(&mut self, need: &Need) -> Given {
        let (mut content, mut others) = (Vec::new(), Vec::new());
        take_need(&mut self.supply, need, &mut content, &mut others).expect("the plan met all needs in this order");
        let mut nodes: Vec<u64> = blocks_of(&others).collect();
        let xattr = if need.xattr { nodes.pop() } else { None };
        Given { content, nodes, xattr }
    }

    /// Writes what an inode has outside the table, and returns it, not sealed yet.
    fn inode(&mut self, number: u32, id: InodeId, given: Given) -> Result<Inode, SealError> {
        let tree = self.tree;
        let source = tree.inode(id);
        let mut inode = inode::with_attrs(inode::type_bits(&source.kind), &source.attrs);
        inode.i_links_count.set(source.names() as u16);
        let nodes = given.nodes.len() as u64;
        let mut blocks = nodes + u64::from(given.xattr.is_some());
        match &source.kind {
            Kind::Directory(_) => {
                blocks += self.directory(&mut inode, number, id, &given)?;
            }
            Kind::File { size, body } => {
                inode::set_size(&mut inode, *size);
                blocks += body.runs().map(|run| u64::from(run.length)).sum::<u64>();
                self.map(&mut inode, number, body.runs(), &given.nodes)?;
            }
            Kind::Symlink(target) => {
                inode::set_size(&mut inode, target.len() as u64);
                match inline_or_block(&mut inode, target) {
                    None => {}
                    Some(block) => {
                        blocks += 1;
                        self.put_content(&given.content, &block)?;
                        self.map(&mut inode, number, given.content.iter().copied(), &given.nodes)?;
                    }
                }
            }
            &Kind::CharDevice { major, minor } | &Kind::BlockDevice { major, minor } => {
                inode.i_block = inode::device(major, minor).unwrap_or([0; 60]);
            }
            Kind::Fifo => {}
        }
        if let Some(division) = survey::divide(tree, id)? {
            inode.xattrs = division.encode_inline();
            if let Some(place) = given.xattr {
                self.stage.put(place, &division.encode_block(place, self.seed, self.last_inode + 1))?;
                inode::set_xattr_block(&mut inode, place);
            }
            // A file pays for its values, wherever they are.
            blocks += division.outside().map(|value| (value.len() as u64).div_ceil(BLOCK)).sum::<u64>();
            self.last_inode += division.outside().count() as u32;
        }
        inode::set_blocks(&mut inode, blocks);
        Ok(inode)
    }

    /// Writes an attribute's value and returns its inode, not sealed yet.
    fn value(&mut self, number: u32, owner: InodeId, value: &[u8], need: &Need) -> io::Result<Inode> {
        let Given { content, nodes, .. } = self.give(need);
        let mut inode =
            inode::of_value(&self.tree.inode(owner).attrs, self.seed.attribute_value(value), value.len() as u64);
        inode::set_blocks(&mut inode, u64::from(need.content) + nodes.len() as u64);
        let mut bytes = value.to_vec();
        bytes.resize(need.content as usize * BLOCK as usize, 0);
        for run in &content {
            self.stage.put(
                run.start,
                &bytes[run.logical as usize * BLOCK as usize..][..run.length as usize * BLOCK as usize],
            )?;
        }
        self.map(&mut inode, number, content.iter().copied(), &nodes)?;
        Ok(inode)
    }

    /// Writes a directory's blocks and returns their number.
    fn directory(&mut self, inode: &mut Inode, number: u32, id: InodeId, given: &Given) -> Result<u64, SealError> {
        let directory = survey::directory(self.tree, self.numbering, id, self.hash_seed)?;
        let blocks = u64::from(directory.blocks());
        inode::set_size(inode, blocks * BLOCK);
        if directory.is_hashed() {
            inode.i_flags.set(inode_flag::INDEX);
        }
        let parent = self.numbering.parent(number);
        let mut places = blocks_of(&given.content);
        let stage = &mut self.stage;
        directory.encode(number, parent, self.seed.inode(number, 0), |block| {
            let place = places.next().expect("the plan has a place for every block");
            stage.put(place, block)
        })?;
        self.map(inode, number, given.content.iter().copied(), &given.nodes)?;
        Ok(blocks)
    }

    /// Encodes the extent tree into the inode and its nodes.
    fn map(
        &mut self,
        inode: &mut Inode,
        number: u32,
        runs: impl Iterator<Item = Run>,
        nodes: &[u64],
    ) -> io::Result<()> {
        let seed = self.seed.inode(number, 0);
        let stage = &mut self.stage;
        inode.i_block = extents::encode(runs, nodes.iter().copied(), seed, |at, node| stage.put(at, node))?;
        inode.i_flags.set(inode.i_flags.get() | inode_flag::EXTENTS);
        Ok(())
    }

    fn put_content(&mut self, places: &[Run], block: &[u8]) -> io::Result<()> {
        places.iter().try_for_each(|run| self.stage.put(run.start, block))
    }

    /// Writes the journal's first block and returns its inode, not sealed yet.
    fn journal(&mut self, params: &Params) -> io::Result<Inode> {
        let runs = &self.plan.journal;
        let nodes: Vec<u64> = blocks_of(&self.plan.journal_nodes).collect();
        let blocks: u64 = runs.iter().map(|run| u64::from(run.length)).sum();
        if let Some(first) = runs.first() {
            self.stage.put(first.start, &journal::superblock(blocks, &params.uuid))?;
        }
        let attrs = Attrs { mode: 0o600, mtime: params.made_at, ..Attrs::default() };
        let mut inode = inode::with_attrs(mode::REGULAR, &attrs);
        inode.i_links_count.set(1);
        inode::set_size(&mut inode, blocks * BLOCK);
        inode::set_blocks(&mut inode, blocks + nodes.len() as u64);
        self.map(&mut inode, JOURNAL_INO, runs.iter().copied(), &nodes)?;
        Ok(inode)
    }
}

/// Puts a short target into the inode, or returns the block for a long one.
fn inline_or_block(inode: &mut Inode, target: &[u8]) -> Option<Vec<u8>> {
    match inode::inline_link(target) {
        Some(block) => {
            inode.i_block = block;
            None
        }
        None => {
            let mut block = target.to_vec();
            block.resize(BLOCK as usize, 0);
            Some(block)
        }
    }
}

/// Every block of runs, one by one.
fn blocks_of(runs: &[Run]) -> impl Iterator<Item = u64> + '_ {
    runs.iter().flat_map(|run| run.start..run.start + u64::from(run.length))
}
