//! The inode table, written front to back.

use super::checksum::Seed;
use super::format::{BLOCK, INODE_SIZE, INODES_PER_BLOCK, Inode};
use super::inode;
use super::plan::Plan;
use super::stage::Stage;
use std::io;
use zerocopy::IntoBytes;

/// Collects inodes into blocks. Numbers must ascend.
pub struct InodeTable<'p, 's, 'o> {
    plan: &'p Plan,
    stage: &'s mut Stage<'o>,
    seed: Seed,
    place: Option<u64>,
    block: Vec<u8>,
}

impl<'p, 's, 'o> InodeTable<'p, 's, 'o> {
    /// The table of a plan.
    pub fn new(plan: &'p Plan, stage: &'s mut Stage<'o>, seed: Seed) -> Self {
        InodeTable { plan, stage, seed, place: None, block: vec![0; BLOCK as usize] }
    }

    /// Group of an inode.
    pub fn group(&self, number: u32) -> usize {
        ((number - 1) / self.plan.geometry.inodes_per_group) as usize
    }

    /// Seals an inode and puts it at its place.
    pub fn put(&mut self, number: u32, mut inode: Inode) -> io::Result<()> {
        inode::seal(&mut inode, number, self.seed);
        let in_group = (number - 1) % self.plan.geometry.inodes_per_group;
        let place = self.plan.places[self.group(number)].inode_table + u64::from(in_group / INODES_PER_BLOCK);
        if self.place != Some(place) {
            self.end_block()?;
            self.place = Some(place);
        }
        let at = (in_group % INODES_PER_BLOCK) as usize * INODE_SIZE;
        self.block[at..at + INODE_SIZE].copy_from_slice(inode.as_bytes());
        Ok(())
    }

    /// Writes the block at hand.
    pub fn end_block(&mut self) -> io::Result<()> {
        if let Some(place) = self.place.take() {
            self.stage.put(place, &self.block)?;
            self.block.fill(0);
        }
        Ok(())
    }
}
