//! A partition table (GPT), read: anybody's, of a disk with sectors of 512 or of 4096 bytes.
//!
//! ```text
//! sector 1   header ─▶ entries, usually from sector 2 on           last sector   copy of the header ─▶ its own entries
//!
//! header     0 signature  8 revision  12 bytes of it  16 its CRC  24 its own LBA  32 LBA of the other
//!            40 first usable LBA  48 last  56 GUID of the disk  72 LBA of the entries  80 their number  84 bytes of one
//!            88 CRC of all
//! entry      0 type  16 GUID  32 first LBA  40 last LBA  48 attributes  56 name, UTF-16
//! ```
//!
//! A table is taken when every checksum is right and every field is one that can be; the copy at the end when the one at
//! the start is not. Where partitions lie is not judged while reading: [`problems`] says what is wrong with it. New
//! tables are written in [`crate::disk::gpt`], and changed by PID 1 when a disk has grown.
//!
//! Not supported: more than [`MAX_ENTRIES`] bytes of entries, which no kernel reads either.
//! Specification: UEFI 2.10, sections 5.3.2 and 5.3.3.

mod crc;
mod fault;
mod guid;
mod header;
pub mod ranges;
#[cfg(test)]
pub mod samples;
#[cfg(test)]
mod tests;

pub use fault::{Fault, Problem};
pub use guid::{BIOS_BOOT, ESP, Guid, LINUX, ROOT_ARM64, ROOT_X86_64, VERITY_ARM64, VERITY_X86_64};
pub use header::{HEADER_SIZE, Header};
pub use ranges::problems;

use super::{ReadAt, u16_at, u64_at};
pub use crc::crc32;

/// First bytes of a header.
pub const SIGNATURE: &[u8; 8] = b"EFI PART";
/// LBA of the header at the start.
pub const PRIMARY: u64 = 1;
/// Bytes of all entries that are read. The kernel's limit (block/partitions/efi.c), 256 times what is usual.
pub const MAX_ENTRIES: u64 = 4 << 20;
/// Bytes of the smallest entry, and of every one whose table Linux reads.
pub const ENTRY_SIZE: u32 = 128;
/// Sizes of sectors that tables are looked for with.
const SECTORS: [u64; 2] = [512, 4096];

/// One of a disk's two tables: a header and its entries, whose checksums are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableCopy {
    /// Its header.
    pub header: Header,
    /// All entries, as they lie on the disk.
    pub entries: Vec<u8>,
}

/// A partition that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// From 1.
    pub number: u32,
    /// What it is for.
    pub kind: Guid,
    /// Its own identifier.
    pub guid: Guid,
    /// First LBA.
    pub first: u64,
    /// Last LBA, which belongs to it.
    pub last: u64,
    /// Bits 0 to 47 are everybody's, the others the type's.
    pub attributes: u64,
    /// What it is called.
    pub name: String,
}

/// The table of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Bytes of a sector.
    pub sector: u64,
    /// The copy that counts: that at the start, if it is whole.
    pub copy: TableCopy,
    /// What is wrong with the copy at the start; the other is in [`Table::copy`] then.
    pub primary: Option<Fault>,
    /// What is wrong with the copy at the end.
    pub backup: Option<Fault>,
}

/// Whether a GPT begins here, whole or not; and the size of sectors it is for.
pub fn sector_of(disk: &(impl ReadAt + ?Sized)) -> Option<u64> {
    let mut signature = [0; 8];
    SECTORS.into_iter().find(|sector| disk.read_at(*sector, &mut signature).is_ok() && signature == *SIGNATURE)
}

/// Reads the table of a disk of `size` bytes.
///
/// # Errors
/// When neither copy is whole: what is wrong with the first. [`Fault::Absent`] when there is none at all.
pub fn read(disk: &(impl ReadAt + ?Sized), size: u64) -> Result<Table, Fault> {
    let mut worst = Fault::Absent;
    for sector in SECTORS {
        match read_with(disk, size, sector) {
            Err(Fault::Absent) => {}
            Err(fault) if worst == Fault::Absent => worst = fault,
            Err(_) => {}
            table => return table,
        }
    }
    Err(worst)
}

/// As [`read`], of a disk with sectors of this size.
fn read_with(disk: &(impl ReadAt + ?Sized), size: u64, sector: u64) -> Result<Table, Fault> {
    let last = (size / sector).checked_sub(1).ok_or(Fault::Absent)?;
    let primary = match TableCopy::read(disk, PRIMARY, sector) {
        Ok(copy) => {
            let backup = TableCopy::read(disk, copy.header.other, sector);
            let backup = backup.and_then(|other| copy.agrees_with(&other));
            return Ok(Table { sector, copy, primary: None, backup: backup.err() });
        }
        Err(fault) => fault,
    };
    match TableCopy::read(disk, last, sector) {
        Ok(copy) => Ok(Table { sector, copy, primary: Some(primary), backup: None }),
        Err(backup) => Err(if primary == Fault::Absent { backup } else { primary }),
    }
}

impl TableCopy {
    /// Reads the copy whose header is at `lba`.
    pub fn read(disk: &(impl ReadAt + ?Sized), lba: u64, sector: u64) -> Result<TableCopy, Fault> {
        let mut bytes = [0; 512];
        let at = lba.checked_mul(sector).ok_or(Fault::Absent)?;
        disk.read_at(at, &mut bytes).map_err(|_| Fault::Absent)?;
        let header = Header::decode(&bytes, lba)?;
        let mut entries = vec![0; header.entries_bytes()? as usize];
        let at = header.entries.checked_mul(sector).ok_or(Fault::EntriesMissing)?;
        disk.read_at(at, &mut entries).map_err(|_| Fault::EntriesMissing)?;
        if crc32(&entries) != header.entries_crc {
            return Err(Fault::EntriesChecksum);
        }
        Ok(TableCopy { header, entries })
    }

    /// The partitions that are used, in order of their numbers.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> {
        let entries = self.entries.chunks_exact(self.header.entry_size as usize);
        (1..).zip(entries).filter_map(|(number, entry)| Partition::decode(number, entry))
    }

    fn agrees_with(&self, other: &TableCopy) -> Result<(), Fault> {
        let same = self.entries == other.entries && self.header.disk == other.header.disk;
        if same { Ok(()) } else { Err(Fault::Differs) }
    }
}

impl Partition {
    /// `None` when the entry is not used.
    fn decode(number: u32, entry: &[u8]) -> Option<Partition> {
        let guid = |at: usize| entry.get(at..)?.first_chunk().map(|bytes| Guid(*bytes));
        let units = (56..ENTRY_SIZE as usize).step_by(2).map_while(|at| u16_at(entry, at));
        let name = char::decode_utf16(units.take_while(|unit| *unit != 0));
        let kind = guid(0).filter(|kind| !kind.is_nil())?;
        Some(Partition {
            number,
            kind,
            guid: guid(16)?,
            first: u64_at(entry, 32)?,
            last: u64_at(entry, 40)?,
            attributes: u64_at(entry, 48)?,
            name: name.map(|c| c.unwrap_or('\u{fffd}')).collect(),
        })
    }

    /// First byte and bytes on a disk with these sectors; `None` when it ends before it begins, or behind all disks.
    pub fn bytes(&self, sector: u64) -> Option<(u64, u64)> {
        let sectors = self.last.checked_sub(self.first)?.checked_add(1)?;
        let (offset, length) = (self.first.checked_mul(sector)?, sectors.checked_mul(sector)?);
        offset.checked_add(length).map(|_| (offset, length))
    }
}

impl Table {
    /// The partitions that are used, in order of their numbers.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> {
        self.copy.partitions()
    }

    /// Whether the kernel of the guest reads it: Linux knows entries of 128 bytes alone.
    pub fn linux_reads_it(&self) -> bool {
        self.copy.header.entry_size == ENTRY_SIZE
    }
}
