//! Which sectors are written, and in which order, to make a partition table fit a disk that has grown.
//!
//! ```text
//!  1  entries, then header, of the backup table at the new end      nothing refers to them yet
//!  2  entries into the gap behind those in use                      nothing refers to them yet
//!  3  primary header: new backup, entries in the gap                one sector: the change itself
//!  4  entries at their usual place, which is unused now
//!  5  primary header: entries at their usual place                  one sector
//!  6  protective MBR: the disk's new size                           one sector
//! ```
//!
//! A kernel takes the backup table only when it was told to, so the primary one must be whole at every moment. Here it
//! is: what a whole table refers to is never written, and a header is a sector, which a disk writes wholly or not at
//! all. Where power was cut, the next boot begins again: every step's outcome is one that `plan` starts from.
//!
//! Not supported: shrinking. What is not 33 sectors larger is left as it is, so that no two tables overlap.

use super::table::{ALIGNMENT, HEADER, HOME, Table, away, entries_length};
use crate::formats::gpt::HEADER_SIZE;

/// Whole sectors that must be on the disk before the next are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// First LBA.
    pub lba: u64,
    /// Whole sectors.
    pub bytes: Vec<u8>,
}

/// What there is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order; none when the table fits.
    pub writes: Vec<Write>,
    /// First and last LBA of the root afterwards.
    pub root: (u64, u64),
}

/// The plan for a disk of `sectors` sectors with this table and this first sector.
pub fn plan(table: &Table, mbr: &[u8], sectors: u64) -> Plan {
    let (first, old_last) = table.root_range();
    let unchanged = Plan { writes: Vec::new(), root: (first, old_last) };
    let Some(end) = End::of(table, sectors) else { return unchanged };
    let last = end.root_last.max(old_last);
    let mut writes = Vec::new();
    if last != old_last || end.header != table.other() || table.entries_at() != HOME {
        let grown = table.with_root_last(last);
        writes.extend(backup(&grown, &end));
        writes.extend(primary(&grown, &end));
    }
    writes.extend(protective(mbr, end.header));
    Plan { writes, root: (first, last) }
}

/// What the disk's end decides, in LBAs.
struct End {
    /// The backup header: the last sector.
    header: u64,
    /// The backup's entries.
    entries: u64,
    /// Last LBA for partitions.
    usable: u64,
    /// Last LBA of a root that takes all there is.
    root_last: u64,
}

impl End {
    /// `None` when the table had better stay.
    fn of(table: &Table, sectors: u64) -> Option<End> {
        let length = entries_length(table.sector);
        let header = sectors.checked_sub(1)?;
        let entries = header.checked_sub(length)?;
        let usable = entries.checked_sub(1)?;
        let alignment = ALIGNMENT / table.sector;
        let root_last = ((usable + 1) / alignment * alignment).checked_sub(1)?;
        let apart = entries > table.other() || header == table.other();
        (apart && usable >= table.root_range().1).then_some(End { header, entries, usable, root_last })
    }
}

fn backup(table: &Table, end: &End) -> [Write; 2] {
    let usable = (away(table.sector), end.usable);
    let header = table.header(end.header, HEADER, end.entries, usable);
    [Write { lba: end.entries, bytes: table.entries.clone() }, sector(table, end.header, &header)]
}

/// By way of the gap, unless the entries are there already.
fn primary(table: &Table, end: &End) -> Vec<Write> {
    let places = if table.entries_at() == HOME { &[away(table.sector), HOME][..] } else { &[HOME] };
    let at = |place: &u64| {
        let usable = (place + entries_length(table.sector), end.usable);
        let header = table.header(HEADER, end.header, *place, usable);
        [Write { lba: *place, bytes: table.entries.clone() }, sector(table, HEADER, &header)]
    };
    places.iter().flat_map(at).collect()
}

fn sector(table: &Table, lba: u64, header: &[u8; HEADER_SIZE]) -> Write {
    let mut bytes = header.to_vec();
    bytes.resize(table.sector as usize, 0);
    Write { lba, bytes }
}

/// The first sector with the size that the protective partition has to have (UEFI 2.10, table 5.4); the boot code in
/// it stays. `None` when it has, or when it is no protective MBR.
fn protective(mbr: &[u8], last: u64) -> Option<Write> {
    const ENTRY: usize = 446;
    const SIZE: usize = ENTRY + 12;
    let is_protective =
        mbr.get(510..512)? == [0x55, 0xaa] && mbr[ENTRY + 4] == 0xee && mbr[ENTRY + 8..SIZE] == [1, 0, 0, 0];
    let size = u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes();
    if !is_protective || mbr[SIZE..SIZE + 4] == size {
        return None;
    }
    let mut bytes = mbr.to_vec();
    bytes[SIZE..SIZE + 4].copy_from_slice(&size);
    Some(Write { lba: 0, bytes })
}

#[cfg(test)]
mod tests;
