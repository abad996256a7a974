//! Master boot records, of a disk and of each logical partition.
//!
//! ```text
//! 0 boot code (440)   440 disk (4)   446 entries: 4 of 16 bytes   510 signature 0x55 0xaa
//! entry: 0 flag, 0x80 or 0   4 type   8 first sector (u32 LE)   12 sectors (u32 LE)
//! ```
//!
//! Places in cylinders, heads and sectors are not looked at. Specification: UEFI 2.10, 5.2.1.

use super::u32_at;

/// Bytes of boot code before everything else.
pub const BOOT_CODE: usize = 440;
/// Bytes of a record.
pub const RECORD: usize = 512;
const DISK: usize = 440;
const ENTRIES: usize = 446;
const ENTRY: usize = 16;
const SIGNATURE: usize = 510;
/// Types of an entry that leads to more records.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

/// An entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// 0x80 where a BIOS is to start it, else 0; no other value is sound.
    pub flag: u8,
    /// Type; 0 is none.
    pub kind: u8,
    /// First sector; of a logical partition from its own record on.
    pub first: u32,
    /// Sectors.
    pub sectors: u32,
}

impl Entry {
    fn decode(bytes: &[u8]) -> Option<Entry> {
        let (flag, kind) = (*bytes.first()?, *bytes.get(4)?);
        Some(Entry { flag, kind, first: u32_at(bytes, 8)?, sectors: u32_at(bytes, 12)? })
    }

    /// Whether it leads to a chain of records.
    pub fn is_extended(&self) -> bool {
        EXTENDED.contains(&self.kind)
    }
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Identifier of the disk.
    pub disk: u32,
    /// All four.
    pub entries: [Entry; 4],
}

/// Whether a sector ends as a record does; a boot sector of a file system and of a kernel does so too.
pub fn is_signed(sector: &[u8]) -> bool {
    sector.get(SIGNATURE..RECORD) == Some(&[0x55, 0xaa])
}

/// The record in a sector; `None` without its signature.
pub fn read(sector: &[u8]) -> Option<Record> {
    let record = sector.get(..RECORD).filter(|record| is_signed(record))?;
    let mut entries = [Entry::default(); 4];
    for (entry, bytes) in entries.iter_mut().zip(record.get(ENTRIES..SIGNATURE)?.chunks_exact(ENTRY)) {
        *entry = Entry::decode(bytes)?;
    }
    Some(Record { disk: u32_at(record, DISK)?, entries })
}

impl Record {
    /// Whether the entries can be some, and are not what a boot sector of another kind has there.
    pub fn is_table(&self) -> bool {
        let used = |entry: &Entry| entry.kind != 0 && entry.sectors != 0;
        self.entries.iter().all(|entry| entry.flag & 0x7f == 0) && self.entries.iter().any(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(entry: [u8; ENTRY]) -> [u8; RECORD] {
        let mut sector = [0; RECORD];
        sector[DISK..DISK + 4].copy_from_slice(&[4, 3, 2, 1]);
        sector[ENTRIES..ENTRIES + ENTRY].copy_from_slice(&entry);
        sector[SIGNATURE..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    #[test]
    fn a_record_is_told_from_other_boot_sectors() {
        let entry = [0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0];
        let record = read(&sector(entry)).unwrap();
        assert_eq!(record.entries[0], Entry { flag: 0x80, kind: 0x83, first: 2048, sectors: 4096 });
        assert_eq!(record.disk, 0x0102_0304);
        assert!(record.is_table() && !record.entries[0].is_extended());
        for (at, value) in [(0, 0x33), (4, 0), (13, 0)] {
            let mut other = entry;
            other[at] = value;
            assert!(!read(&sector(other)).unwrap().is_table(), "{at}");
        }
        assert_eq!(read(&sector(entry)[..511]), None);
        assert_eq!(read(&[0; RECORD]), None);
    }
}
