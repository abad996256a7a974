//! Tables for tests, with whatever size of entries and sectors; checksums are right.

use super::{Guid, Header, LINUX, Partition, crc32};

/// Sectors of a disk of [`disk`].
pub const SECTORS: u64 = 256;

/// A partition whose number is its GUID too.
pub fn partition(number: u32, first: u64, last: u64) -> Partition {
    let guid = Guid([number as u8; 16]);
    Partition { number, kind: LINUX, guid, first, last, attributes: 0, name: format!("part{number}") }
}

/// A disk with these partitions, as everybody writes it.
pub fn disk(partitions: &[Partition]) -> Vec<u8> {
    disk_with(partitions, 512, 128, 128)
}

/// The same with sectors of another size, and `count` entries of `size` bytes each. Entries that are too small hold the
/// start of what they should.
pub fn disk_with(partitions: &[Partition], sector: u64, count: u32, size: u32) -> Vec<u8> {
    let bytes = (u64::from(count) * u64::from(size)).min(64 << 10) as usize;
    let mut entries = vec![0; bytes];
    for partition in partitions {
        let at = (partition.number - 1) as usize * size as usize;
        let entry = encode(partition);
        let room = entries.len().saturating_sub(at).min(entry.len()).min(size as usize);
        entries.get_mut(at..at + room).unwrap_or_default().copy_from_slice(&entry[..room]);
    }
    let mut disk = vec![0; (SECTORS * sector) as usize];
    let table = (entries.len() as u64).div_ceil(sector);
    let last = SECTORS - 1;
    for (own, other, at) in [(1, last, 2), (last, 1, last - table)] {
        let usable = (2, last);
        let (disk_guid, entries_crc) = (Guid([0xd1; 16]), crc32(&entries));
        let header =
            Header { size: 92, own, other, usable, disk: disk_guid, entries: at, count, entry_size: size, entries_crc };
        put(&mut disk, own * sector, &header.encode());
        put(&mut disk, at * sector, &entries);
    }
    disk
}

/// Writes a header's checksum anew.
pub fn sign(disk: &mut [u8], header: usize) {
    disk[header + 16..header + 20].fill(0);
    let crc = crc32(&disk[header..header + 92]);
    put(disk, header as u64 + 16, &crc.to_le_bytes());
}

fn put(disk: &mut [u8], at: u64, bytes: &[u8]) {
    disk[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
}

fn encode(partition: &Partition) -> [u8; 128] {
    let mut entry = [0; 128];
    entry[..16].copy_from_slice(&partition.kind.0);
    entry[16..32].copy_from_slice(&partition.guid.0);
    for (at, value) in [(32, partition.first), (40, partition.last), (48, partition.attributes)] {
        entry[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    for (unit, place) in partition.name.encode_utf16().zip(entry[56..].chunks_exact_mut(2)) {
        place.copy_from_slice(&unit.to_le_bytes());
    }
    entry
}
