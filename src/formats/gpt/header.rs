//! The header of a table: decoded with every check that needs nothing but itself, and encoded.

use super::{ENTRY_SIZE, Fault, Guid, MAX_ENTRIES, SIGNATURE, crc32};
use crate::formats::{u32_at, u64_at};

/// Bytes of a header without what later specifications may add.
pub const HEADER_SIZE: usize = 92;
/// Revision 1.0.
const REVISION: u32 = 0x0001_0000;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of it that its checksum covers.
    pub size: u32,
    /// LBA of itself.
    pub own: u64,
    /// LBA of the disk's other header.
    pub other: u64,
    /// First and last LBA that partitions may use.
    pub usable: (u64, u64),
    /// Identifier of the disk.
    pub disk: Guid,
    /// LBA of its entries.
    pub entries: u64,
    /// Number of its entries, used or not.
    pub count: u32,
    /// Bytes of one.
    pub entry_size: u32,
    /// Checksum of all of them.
    pub entries_crc: u32,
}

impl Header {
    /// The header in the first bytes of the sector `lba`.
    pub fn decode(sector: &[u8; 512], lba: u64) -> Result<Header, Fault> {
        if !sector.starts_with(SIGNATURE) {
            return Err(Fault::Absent);
        }
        let u32 = |at| u32_at(sector, at).unwrap_or_default();
        let u64 = |at| u64_at(sector, at).unwrap_or_default();
        let size = u32(12);
        if !(HEADER_SIZE..=sector.len()).contains(&(size as usize)) {
            return Err(Fault::HeaderSize(size));
        }
        let mut unsigned = *sector;
        unsigned[16..20].fill(0);
        if crc32(&unsigned[..size as usize]) != u32(16) {
            return Err(Fault::HeaderChecksum);
        }
        let header = Header {
            size,
            own: u64(24),
            other: u64(32),
            usable: (u64(40), u64(48)),
            disk: sector[56..].first_chunk().map(|bytes| Guid(*bytes)).unwrap_or_default(),
            entries: u64(72),
            count: u32(80),
            entry_size: u32(84),
            entries_crc: u32(88),
        };
        if header.own != lba {
            return Err(Fault::Elsewhere { says: header.own, is: lba });
        }
        header.entries_bytes().map(|_| header)
    }

    /// Bytes of all entries.
    pub fn entries_bytes(&self) -> Result<u64, Fault> {
        let Header { count, entry_size: size, .. } = *self;
        if size < ENTRY_SIZE || !size.is_power_of_two() {
            return Err(Fault::EntrySize(size));
        }
        let bytes = u64::from(count) * u64::from(size);
        if bytes > MAX_ENTRIES { Err(Fault::TooMany { count, size }) } else { Ok(bytes) }
    }

    /// The bytes of a header of [`HEADER_SIZE`], with its checksum.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, SIGNATURE);
        put(8, &REVISION.to_le_bytes());
        put(12, &(HEADER_SIZE as u32).to_le_bytes());
        for (at, value) in
            [(24, self.own), (32, self.other), (40, self.usable.0), (48, self.usable.1), (72, self.entries)]
        {
            put(at, &value.to_le_bytes());
        }
        put(56, &self.disk.0);
        for (at, value) in [(80, self.count), (84, self.entry_size), (88, self.entries_crc)] {
            put(at, &value.to_le_bytes());
        }
        let crc = crc32(&bytes);
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}
