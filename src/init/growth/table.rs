//! A partition table as PID 1 needs it for growth: believed only when it is one that bootdisk wrote.
//!
//! Not supported: anything that bootdisk does not write, such as another number of entries, other partitions, or a root
//! that is not the last.

use crate::formats::ReadAt;
use crate::formats::gpt::{
    BIOS_BOOT, ENTRY_SIZE, ESP, Fault, Guid, HEADER_SIZE, Header, LINUX, PRIMARY, Partition, ROOT_ARM64, ROOT_X86_64,
    TableCopy, crc32,
};

/// The header's LBA.
pub const HEADER: u64 = PRIMARY;
/// Where the entries are when nothing is being changed.
pub const HOME: u64 = 2;
/// Bytes of all entries.
pub const ENTRIES_SIZE: usize = (ENTRY_COUNT * ENTRY_SIZE) as usize;

const ENTRY_COUNT: u32 = 128;
/// Where partitions begin and end, in bytes.
pub const ALIGNMENT: u64 = 1 << 20;

/// The primary table of a disk of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Bytes of a sector.
    pub sector: u64,
    /// The header.
    pub header: Header,
    /// All entries.
    pub entries: Vec<u8>,
    /// The root's entry.
    pub root: Partition,
}

impl Table {
    /// The table of `disk`, if it is whole and ours and its last partition is the root with this GUID.
    pub fn read(disk: &impl ReadAt, sector: u64, root: &Guid) -> Result<Option<Table>, Fault> {
        let TableCopy { header, entries } = TableCopy::read(disk, HEADER, sector)?;
        Ok(Table::of(header, entries, sector, root))
    }

    fn of(header: Header, entries: Vec<u8>, sector: u64, root: &Guid) -> Option<Table> {
        // Where entries of ours can be: at home, or on their way (see `plan`).
        let home = header.entries == HOME || header.entries == away(sector);
        let usual = (HEADER_SIZE as u32, ENTRY_COUNT, ENTRY_SIZE);
        let copy = TableCopy { header, entries };
        let root = root_of(&copy, sector, root)?;
        let ours = home && (header.size, header.count, header.entry_size) == usual;
        ours.then_some(Table { sector, header, entries: copy.entries, root })
    }

    /// LBA of the other header.
    pub fn other(&self) -> u64 {
        self.header.other
    }

    /// LBA of the entries.
    pub fn entries_at(&self) -> u64 {
        self.header.entries
    }

    /// First and last LBA of the root.
    pub fn root_range(&self) -> (u64, u64) {
        (self.root.first, self.root.last)
    }

    /// The same with another last LBA of the root.
    pub fn with_root_last(&self, last: u64) -> Table {
        let mut table = self.clone();
        let at = (self.root.number - 1) as usize * ENTRY_SIZE as usize + 40;
        table.entries[at..at + 8].copy_from_slice(&last.to_le_bytes());
        table.root.last = last;
        table
    }

    /// A header for these entries, at `own` with the entries at `entries`, the other header at `other`, and what may be
    /// used from `usable.0` to `usable.1`.
    pub fn header(&self, own: u64, other: u64, entries: u64, usable: (u64, u64)) -> [u8; HEADER_SIZE] {
        Header { own, other, usable, entries, entries_crc: crc32(&self.entries), ..self.header }.encode()
    }
}

/// Sectors of all entries.
pub fn entries_length(sector: u64) -> u64 {
    ENTRIES_SIZE as u64 / sector
}

/// Where the entries are while those at home are written: behind them, in the gap before the first partition.
pub fn away(sector: u64) -> u64 {
    HOME + entries_length(sector)
}

/// The root's entry when the partitions are those of a disk of ours, in their order on the disk.
fn root_of(copy: &TableCopy, sector: u64, wanted: &Guid) -> Option<Partition> {
    let used: Vec<Partition> = copy.partitions().collect();
    let (root, before) = used.split_last()?;
    let kinds: Vec<Guid> = before.iter().map(|partition| partition.kind).collect();
    let kinds = kinds.strip_prefix(&[BIOS_BOOT]).unwrap_or(&kinds);
    let known = kinds == [ESP] || kinds == [ESP, LINUX];
    let in_order = (1..).zip(&used).all(|(number, partition)| partition.number == number);
    let apart =
        used.windows(2).all(|pair| pair[0].last < pair[1].first) && used.iter().all(|one| one.first <= one.last);
    // The gap before the first partition holds the entries twice.
    let gap = used[0].first >= away(sector) + entries_length(sector);
    let is_root = [ROOT_X86_64, ROOT_ARM64].contains(&root.kind) && root.guid == *wanted;
    (known && in_order && apart && gap && is_root).then(|| root.clone())
}
