//! The blocks left for metadata once the bodies are placed, handed out from the lowest on.

use super::body::Run;

/// Free ranges, ascending; those before `at` are used up.
#[derive(Clone, Debug, Default)]
pub struct Supply {
    ranges: Vec<(u64, u64)>,
    at: usize,
}

impl Supply {
    /// Of free ranges as (start, length), ascending.
    pub fn new(ranges: Vec<(u64, u64)>) -> Self {
        Supply { ranges, at: 0 }
    }

    /// Number of blocks left.
    pub fn blocks(&self) -> u64 {
        self.iter().map(|(_, length)| length).sum()
    }

    /// The ranges left, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges[self.at..].iter().copied().filter(|&(_, length)| length > 0)
    }

    /// Appends the next `count` free blocks to `runs`, which then hold blocks 0 to `count` of a file; `None` when
    /// there are not so many.
    pub fn take(&mut self, count: u64, runs: &mut Vec<Run>) -> Option<()> {
        let mut left = count;
        while left > 0 {
            let (start, length) = self.ranges.get_mut(self.at)?;
            let now = left.min(*length);
            if now > 0 {
                runs.push(Run { logical: (count - left) as u32, length: now as u32, start: *start });
            }
            *start += now;
            *length -= now;
            left -= now;
            if *length == 0 {
                self.at += 1;
            }
        }
        Some(())
    }

    /// The next free block.
    pub fn take_one(&mut self) -> Option<u64> {
        let mut runs = Vec::with_capacity(1);
        self.take(1, &mut runs)?;
        runs.first().map(|run| run.start)
    }

    /// Takes `count` consecutive blocks from the lowest range that has them.
    pub fn take_consecutive(&mut self, count: u64) -> Option<u64> {
        let (start, length) = self.ranges[self.at..].iter_mut().find(|(_, length)| *length >= count)?;
        let taken = *start;
        *start += count;
        *length -= count;
        Some(taken)
    }
}
