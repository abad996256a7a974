//! A set of block numbers as ranges that neither touch nor overlap.

use std::collections::BTreeMap;

/// A set of block numbers. Every operation costs the logarithm of the number of ranges it meets.
#[derive(Clone, Debug, Default)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges as (start, length), ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(&start, &end)| (start, end - start))
    }

    /// Adds `length` blocks from `start` on.
    pub fn insert(&mut self, start: u64, length: u64) {
        let (mut start, mut end) = (start, start + length);
        while let Some((&s, &e)) = self.0.range(..=end).next_back().filter(|&(_, &e)| e >= start) {
            start = start.min(s);
            end = end.max(e);
            self.0.remove(&s);
        }
        if start < end {
            self.0.insert(start, end);
        }
    }

    /// Takes away `length` blocks from `start` on.
    pub fn remove(&mut self, start: u64, length: u64) {
        let end = start + length;
        while length > 0
            && let Some((&s, &e)) = self.0.range(..end).next_back().filter(|&(_, &e)| e > start)
        {
            self.0.remove(&s);
            if e > end {
                self.0.insert(end, e);
            }
            if s < start {
                self.0.insert(s, start);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_set_it_says(steps in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..20), 0..40)) {
            let (mut ranges, mut model) = (Ranges::default(), [false; 100]);
            for (add, start, length) in steps {
                if add { ranges.insert(start, length) } else { ranges.remove(start, length) }
                model[start as usize..(start + length) as usize].fill(add);
            }
            let mut found = [false; 100];
            let mut last_end = None;
            for (start, length) in ranges.iter() {
                prop_assert!(length > 0 && last_end.is_none_or(|end| end < start));
                found[start as usize..(start + length) as usize].fill(true);
                last_end = Some(start + length);
            }
            prop_assert_eq!(found, model);
        }
    }
}
