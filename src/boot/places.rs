//! Where on a disk a file lies, as the sectors that BIOS reads; and where a part of it lies.

use super::esp::Extent;
use crate::disk::gpt::SECTOR;
use crate::formats::scattered::within;
use std::ops::Range;

/// Places as runs of sectors, the last one filled.
pub(super) fn extents(places: &[(u64, u64)]) -> Vec<Extent> {
    let sectors = |length: u64| length.div_ceil(SECTOR) as u32;
    let used = places.iter().filter(|(_, length)| *length > 0);
    used.map(|(offset, length)| Extent { lba: offset / SECTOR, sectors: sectors(*length) }).collect()
}

/// The sectors of a part, which begins on one, of a file that lies in these.
pub(super) fn extents_within(whole: &[Extent], part: Range<usize>) -> Vec<Extent> {
    let bytes = |extent: &Extent| (extent.lba * SECTOR, u64::from(extent.sectors) * SECTOR);
    let part = part.start as u64..part.end as u64;
    extents(&within(&whole.iter().map(bytes).collect::<Vec<_>>(), part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_file_has_the_sectors_it_lies_in() {
        let extents = [Extent { lba: 100, sectors: 4 }, Extent { lba: 50, sectors: 10 }];
        let at = |lba, sectors| Extent { lba, sectors };
        for (within, expected) in [
            (0..512, vec![at(100, 1)]),
            (1024..2049, vec![at(102, 2), at(50, 1)]),
            (2048..2560, vec![at(50, 1)]),
            (512..7168, vec![at(101, 3), at(50, 10)]),
            (0..0, vec![]),
        ] {
            assert_eq!(extents_within(&extents, within.clone()), expected, "{within:?}");
        }
    }
}
