//! Where on a disk a file lies: as bytes, and as the sectors that BIOS reads; and where a part of it lies.

use super::esp::Extent;
use crate::disk::gpt::SECTOR;
use std::ops::Range;

/// The places of a part of a file that lies at these: offset and bytes of each piece.
pub(super) fn within(whole: &[(u64, u64)], part: Range<usize>) -> Vec<(u64, u64)> {
    let (start, end) = (part.start as u64, part.end as u64);
    let (mut found, mut at) = (Vec::new(), 0);
    for (offset, length) in whole {
        let (from, to) = (start.max(at), end.min(at + length));
        if from < to {
            found.push((offset + (from - at), to - from));
        }
        at += length;
    }
    found
}

/// Places as runs of sectors, the last one filled.
pub(super) fn extents(places: &[(u64, u64)]) -> Vec<Extent> {
    let sectors = |length: u64| length.div_ceil(SECTOR) as u32;
    let used = places.iter().filter(|(_, length)| *length > 0);
    used.map(|(offset, length)| Extent { lba: offset / SECTOR, sectors: sectors(*length) }).collect()
}

/// The sectors of a part, which begins on one, of a file that lies in these.
pub(super) fn extents_within(whole: &[Extent], part: Range<usize>) -> Vec<Extent> {
    let bytes = |extent: &Extent| (extent.lba * SECTOR, u64::from(extent.sectors) * SECTOR);
    extents(&within(&whole.iter().map(bytes).collect::<Vec<_>>(), part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_file_is_cut_out_of_its_places() {
        let whole = [(1000, 512), (9000, 1024)];
        assert_eq!(within(&whole, 0..512), [(1000, 512)]);
        assert_eq!(within(&whole, 500..600), [(1500, 12), (9000, 88)]);
        assert_eq!(within(&whole, 512..1536), [(9000, 1024)]);
        assert_eq!(within(&whole, 7..7), []);
    }

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
