//! A partition table as PID 1 needs it for growth: read and believed only when it is one that bootdisk wrote.
//!
//! ```text
//! header (LBA 1)  0 signature  8 revision  12 size  16 CRC  24 my LBA  32 other LBA  40 first usable  48 last usable
//!                 56 disk GUID  72 LBA of the entries  80 count  84 bytes of one  88 CRC of all
//! entry           0 type  16 GUID  32 first LBA  40 last LBA  48 attributes  56 name
//! ```
//!
//! Specification: UEFI 2.10, sections 5.3.2 and 5.3.3. Not supported: anything that bootdisk does not write, such as
//! another number of entries, other partitions, or a root that is not the last.

use std::io;
use std::os::unix::fs::FileExt;

/// The header's LBA.
pub const HEADER: u64 = 1;
/// Where the entries are when nothing is being changed.
pub const HOME: u64 = 2;
/// Bytes of the header, and of all entries.
pub const HEADER_SIZE: usize = 92;
pub const ENTRIES_SIZE: usize = ENTRY_COUNT * ENTRY_SIZE;

const ENTRY_COUNT: usize = 128;
const ENTRY_SIZE: usize = 128;
const SIGNATURE: &[u8; 8] = b"EFI PART";
/// Where partitions begin and end, in bytes.
pub const ALIGNMENT: u64 = 1 << 20;

/// Types of partitions, as the table stores them: BIOS boot (GRUB's "Hah!IdontNeedEFI"), EFI System Partition, Linux
/// data, which the modules' partition is, and the Discoverable Partitions Specification's root for x86-64 and for arm64.
const BIOS_BOOT: [u8; 16] = *b"Hah!IdontNeedEFI";
const ESP: [u8; 16] = [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
const DATA: [u8; 16] = [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4];
const ROOTS: [[u8; 16]; 2] = [
    [0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09],
    [0x45, 0xb0, 0x21, 0xb9, 0xf0, 0x1d, 0xc3, 0x41, 0xaf, 0x44, 0x4c, 0x6f, 0x28, 0x0d, 0x3f, 0xae],
];

/// The primary table of a disk of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Bytes of a sector.
    pub sector: u64,
    pub header: [u8; HEADER_SIZE],
    pub entries: Vec<u8>,
    /// Index of the root's entry.
    pub root: usize,
}

impl Table {
    /// The table of `disk`, if it is whole and ours and its last partition is the root with this GUID.
    pub fn read(disk: &impl FileExt, sector: u64, root: &[u8; 16]) -> io::Result<Option<Table>> {
        let mut header = [0; HEADER_SIZE];
        disk.read_exact_at(&mut header, HEADER * sector)?;
        let at = le64(&header, 72);
        // Where entries of ours can be: at home, or on their way (see `plan`).
        if !is_header(&header) || (at != HOME && at != away(sector)) {
            return Ok(None);
        }
        let mut entries = vec![0; ENTRIES_SIZE];
        disk.read_exact_at(&mut entries, at * sector)?;
        if crc32(&entries) != le32(&header, 88) {
            return Ok(None);
        }
        Ok(root_of(&entries, sector, root).map(|root| Table { sector, header, entries, root }))
    }

    /// LBA of the other header.
    pub fn other(&self) -> u64 {
        le64(&self.header, 32)
    }

    /// LBA of the entries.
    pub fn entries_at(&self) -> u64 {
        le64(&self.header, 72)
    }

    /// First and last LBA of the root.
    pub fn root_range(&self) -> (u64, u64) {
        let entry = self.root * ENTRY_SIZE;
        (le64(&self.entries, entry + 32), le64(&self.entries, entry + 40))
    }

    /// The same with another last LBA of the root.
    pub fn with_root_last(&self, last: u64) -> Table {
        let mut table = self.clone();
        put64(&mut table.entries, self.root * ENTRY_SIZE + 40, last);
        table
    }

    /// A header for these entries, at `my` with the entries at `entries`, the other header at `other`, and what may be
    /// used from `usable.0` to `usable.1`.
    pub fn header(&self, my: u64, other: u64, entries: u64, usable: (u64, u64)) -> [u8; HEADER_SIZE] {
        let mut header = self.header;
        for (at, value) in [(24, my), (32, other), (40, usable.0), (48, usable.1), (72, entries)] {
            put64(&mut header, at, value);
        }
        header[88..].copy_from_slice(&crc32(&self.entries).to_le_bytes());
        header[16..20].fill(0);
        let crc = crc32(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        header
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

fn is_header(header: &[u8; HEADER_SIZE]) -> bool {
    let mut unsigned = *header;
    unsigned[16..20].fill(0);
    header[..8] == *SIGNATURE
        && le32(header, 8) == 0x0001_0000
        && le32(header, 12) == HEADER_SIZE as u32
        && crc32(&unsigned) == le32(header, 16)
        && le64(header, 24) == HEADER
        && le32(header, 80) == ENTRY_COUNT as u32
        && le32(header, 84) == ENTRY_SIZE as u32
}

/// Index of the root's entry when the partitions are those of a disk of ours, in their order on the disk.
fn root_of(entries: &[u8], sector: u64, wanted: &[u8; 16]) -> Option<usize> {
    let used: Vec<(usize, &[u8])> =
        entries.chunks_exact(ENTRY_SIZE).enumerate().filter(|(_, entry)| entry[..16] != [0; 16]).collect();
    let (&(root, last), before) = used.split_last()?;
    let types: Vec<&[u8]> = before.iter().map(|(_, entry)| &entry[..16]).collect();
    let types = types.strip_prefix(&[&BIOS_BOOT[..]]).unwrap_or(&types);
    let known = types == [&ESP[..]] || types == [&ESP[..], &DATA[..]];
    let in_order = used.iter().enumerate().all(|(place, (index, _))| place == *index);
    let ranges: Vec<(u64, u64)> = used.iter().map(|(_, entry)| (le64(entry, 32), le64(entry, 40))).collect();
    let apart = ranges.windows(2).all(|pair| pair[0].1 < pair[1].0) && ranges.iter().all(|(from, to)| from <= to);
    // The gap before the first partition holds the entries twice.
    let gap = ranges[0].0 >= away(sector) + entries_length(sector);
    let is_root = ROOTS.iter().any(|kind| last[..16] == *kind) && last[16..32] == *wanted;
    (known && in_order && apart && gap && is_root).then_some(root)
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from(le32(bytes, at)) | u64::from(le32(bytes, at + 4)) << 32
}

fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// CRC-32 of IEEE 802.3, as the header wants it. Bit by bit: it is asked for 16 KiB a boot.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_everybody_knows() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
