//! Where the blocks of a file are: runs of blocks, and how the writer's users hold them.

use super::format::BLOCK;
use crate::output::Output;
use std::io;

/// Consecutive blocks of a file in consecutive blocks of the disk. All numbers are blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First block of the file.
    pub logical: u32,
    /// Number of blocks, at least 1. May be longer than one extent.
    pub length: u32,
    /// First block of the disk.
    pub start: u64,
}

/// A stored file body: nothing, one run from the file's beginning, or a list. 16 bytes in the tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Body(Blocks);

#[derive(Debug, Default, PartialEq, Eq)]
enum Blocks {
    #[default]
    None,
    One {
        length: u32,
        start: u64,
    },
    #[allow(clippy::box_collection, reason = "a box of a slice is two words, and the body would be three")]
    Many(Box<Vec<Run>>),
}
const _: () = assert!(size_of::<Body>() <= 16);

impl Body {
    /// From runs in the order of the file.
    pub(super) fn new(runs: &[Run]) -> Self {
        Body(match *runs {
            [] => Blocks::None,
            [Run { logical: 0, length, start }] => Blocks::One { length, start },
            _ => Blocks::Many(Box::new(runs.to_vec())),
        })
    }

    /// The file's `size` bytes from where they were written.
    pub fn read(&self, output: &dyn Output, size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        for Run { logical, length, start } in self.runs() {
            let from = bytes.len().min((u64::from(logical) * BLOCK) as usize);
            let to = bytes.len().min((u64::from(logical + length) * BLOCK) as usize);
            output.read_at(start * BLOCK, &mut bytes[from..to])?;
        }
        Ok(bytes)
    }

    /// The runs in the order of the file; what lies between them is a hole.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = Run> + '_ {
        let (one, many): (_, &[Run]) = match &self.0 {
            Blocks::None => (None, &[]),
            &Blocks::One { length, start } => (Some(Run { logical: 0, length, start }), &[]),
            Blocks::Many(runs) => (None, runs),
        };
        Runs { one, many: many.iter() }
    }
}

struct Runs<'a> {
    one: Option<Run>,
    many: std::slice::Iter<'a, Run>,
}

impl Iterator for Runs<'_> {
    type Item = Run;
    fn next(&mut self) -> Option<Run> {
        self.one.take().or_else(|| self.many.next().copied())
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = usize::from(self.one.is_some()) + self.many.len();
        (n, Some(n))
    }
}
impl ExactSizeIterator for Runs<'_> {}

/// Adds blocks to a list of runs, to the last run where they continue it.
pub(super) fn push_run(runs: &mut Vec<Run>, run: Run) {
    if let Some(last) = runs.last_mut()
        && last.logical.checked_add(last.length) == Some(run.logical)
        && last.start + u64::from(last.length) == run.start
        && let Some(length) = last.length.checked_add(run.length)
    {
        last.length = length;
        return;
    }
    runs.push(run);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_continue_each_other_become_one() {
        let mut runs = Vec::new();
        push_run(&mut runs, Run { logical: 0, length: 2, start: 10 });
        push_run(&mut runs, Run { logical: 2, length: 3, start: 12 });
        push_run(&mut runs, Run { logical: 6, length: 1, start: 15 });
        push_run(&mut runs, Run { logical: 7, length: 1, start: 99 });
        assert_eq!(runs.len(), 3);
        assert_eq!(runs[0], Run { logical: 0, length: 5, start: 10 });
        assert_eq!(Body::new(&runs).runs().collect::<Vec<_>>(), runs);
        assert_eq!(Body::new(&runs[..1]).runs().collect::<Vec<_>>(), runs[..1]);
        assert_eq!(Body::new(&[]).runs().len(), 0);
    }
}
