//! Where partitions lie: over each other, beyond the disk, in the table's own sectors.

use super::{Problem, Table};

/// What is wrong with the places of a table's partitions on a disk of `size` bytes.
pub fn problems(table: &Table, size: u64) -> Vec<Problem> {
    let (first, last) = table.copy.header.usable;
    let mut found = Vec::new();
    let mut places = Vec::new();
    for partition in table.partitions() {
        match partition.bytes(table.sector) {
            None => found.push(Problem::Nowhere(partition.number)),
            Some((offset, length)) => places.push((partition.number, offset, length)),
        }
        if partition.first < first || partition.last > last {
            found.push(Problem::Unusable(partition.number));
        }
    }
    found.extend(of_places(&mut places, size));
    found
}

/// The same of any table: number, first byte and bytes of each partition. They are sorted by their places.
pub fn of_places(places: &mut [(u32, u64, u64)], size: u64) -> Vec<Problem> {
    places.sort_by_key(|(number, offset, _)| (*offset, *number));
    let end = |(_, offset, length): &(u32, u64, u64)| offset.saturating_add(*length);
    let mut found = Vec::new();
    let mut widest: Option<&(u32, u64, u64)> = None;
    for place in places.iter() {
        if let Some(before) = widest.filter(|before| end(before) > place.1) {
            found.push(Problem::Overlap(before.0, place.0));
        }
        if widest.is_none_or(|before| end(place) > end(before)) {
            widest = Some(place);
        }
    }
    found.extend(places.iter().filter(|place| end(place) > size).map(|place| Problem::Beyond(place.0)));
    found
}
