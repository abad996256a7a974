//! Blocks on their way to the output: joined into large writes, zeros left out, nothing beyond the end.
//!
//! Blocks that were written and then given back keep their old content until something else is written there. They
//! are remembered, and [`Stage::erase`] discards them, so that what a later layer deleted is nowhere on the disk,
//! and so that a block of zeros never has to be written.

use super::format::BLOCK;
use super::ranges::Ranges;
use crate::output::Output;
use std::io;

/// Bytes collected before a write.
const COLLECT: usize = 1 << 20;
/// Slices from this size on go to the output as they are.
const DIRECT: usize = 128 << 10;
const BLOCK_BYTES: usize = BLOCK as usize;
static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Writes whole blocks.
pub struct Stage<'a> {
    output: &'a dyn Output,
    /// Blocks from here on are not on the disk: they are counted and never written.
    end: u64,
    first: u64,
    pending: Vec<u8>,
    stale: Ranges,
}

impl<'a> Stage<'a> {
    /// For the blocks of `output` below `end`.
    pub fn new(output: &'a dyn Output, end: u64) -> Self {
        Stage { output, end, first: 0, pending: Vec::new(), stale: Ranges::default() }
    }

    /// The first block that is not on the disk.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Where the blocks go.
    pub fn output(&self) -> &'a dyn Output {
        self.output
    }

    /// Writes whole blocks from `block` on.
    pub fn put(&mut self, block: u64, data: &[u8]) -> io::Result<()> {
        let room = self.end.saturating_sub(block).saturating_mul(BLOCK);
        let mut rest = &data[..data.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        let mut at = block;
        while !rest.is_empty() {
            let zeros = rest.chunks(BLOCK_BYTES).take_while(|block| *block == ZEROS).count();
            rest = &rest[zeros * BLOCK_BYTES..];
            at += zeros as u64;
            let filled = rest.chunks(BLOCK_BYTES).take_while(|block| *block != ZEROS).count();
            if filled > 0 {
                let (now, later) = rest.split_at(filled * BLOCK_BYTES);
                self.append(at, now)?;
                rest = later;
                at += filled as u64;
            }
        }
        Ok(())
    }

    fn append(&mut self, block: u64, data: &[u8]) -> io::Result<()> {
        if !self.stale.is_empty() {
            self.stale.remove(block, data.len() as u64 / BLOCK);
        }
        let next = self.first + self.pending.len() as u64 / BLOCK;
        if data.len() >= DIRECT || next != block || self.pending.len() + data.len() > COLLECT {
            self.flush()?;
            self.first = block;
        }
        if data.len() >= DIRECT {
            return self.output.write_at(block * BLOCK, data);
        }
        self.pending.extend_from_slice(data);
        Ok(())
    }

    /// Notes that blocks were given back with whatever was written to them.
    pub fn abandon(&mut self, start: u64, count: u64) {
        let count = count.min(self.end.saturating_sub(start));
        if count > 0 {
            self.stale.insert(start, count);
        }
    }

    /// Writes what is pending.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.output.write_at(self.first * BLOCK, &self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }

    /// Writes what is pending and makes every abandoned block that was not written again read as zeros.
    pub fn erase(&mut self) -> io::Result<()> {
        self.flush()?;
        for (start, count) in self.stale.iter() {
            self.output.discard(start * BLOCK, count * BLOCK)?;
        }
        // Only now: who goes on after an error tries again.
        self.stale = Ranges::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Memory;

    fn block(byte: u8) -> Vec<u8> {
        vec![byte; BLOCK_BYTES]
    }

    /// Memory of which nothing can be discarded at first.
    struct Stubborn(Memory, std::sync::atomic::AtomicBool);

    impl Output for Stubborn {
        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.0.write_at(offset, bytes)
        }

        fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            self.0.read_at(offset, bytes)
        }

        fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
            match self.1.swap(false, std::sync::atomic::Ordering::Relaxed) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => self.0.discard(offset, length),
            }
        }
    }

    #[test]
    fn what_could_not_be_erased_is_erased_the_next_time() {
        let output = Stubborn(Memory::default(), true.into());
        let mut stage = Stage::new(&output, 100);
        stage.put(0, &[block(1), block(2), block(3), block(4)].concat()).unwrap();
        stage.abandon(0, 1);
        stage.abandon(2, 1);
        stage.erase().unwrap_err();
        stage.erase().unwrap();
        assert_eq!(output.0.0.into_inner().unwrap(), [block(0), block(2), block(0), block(4)].concat());
    }

    #[test]
    fn a_block_of_zeros_over_abandoned_data_reads_as_zeros() {
        let memory = Memory::default();
        let mut stage = Stage::new(&memory, 100);
        stage.put(1, &[block(1), block(2), block(3)].concat()).unwrap();
        stage.abandon(1, 3);
        stage.put(1, &[block(0), block(7)].concat()).unwrap();
        stage.erase().unwrap();
        let bytes = memory.0.into_inner().unwrap();
        assert_eq!(bytes[BLOCK_BYTES..], [block(0), block(7), block(0)].concat());
    }

    #[test]
    fn nothing_is_written_beyond_the_end() {
        let memory = Memory::default();
        let mut stage = Stage::new(&memory, 2);
        stage.put(1, &[block(1), block(2)].concat()).unwrap();
        stage.put(5, &block(3)).unwrap();
        stage.abandon(1, 100);
        stage.put(1, &block(9)).unwrap();
        stage.erase().unwrap();
        assert_eq!(memory.0.into_inner().unwrap().len(), 2 * BLOCK_BYTES);
    }

    #[test]
    fn large_slices_and_small_ones_keep_their_order() {
        let memory = Memory::default();
        let mut stage = Stage::new(&memory, 1000);
        stage.put(3, &block(1)).unwrap();
        let large: Vec<u8> = (0..40).flat_map(|i| block(i + 10)).collect();
        stage.put(3, &large).unwrap();
        stage.put(43, &block(2)).unwrap();
        stage.erase().unwrap();
        let bytes = memory.0.into_inner().unwrap();
        assert_eq!(bytes[3 * BLOCK_BYTES..], [large, block(2)].concat());
    }
}
