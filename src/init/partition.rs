//! Finds partitions by their GPT unique partition GUID, by reading the tables itself. It is unique until somebody copies
//! a disk: every disk with such a partition is found.
//!
//! Kernels before 6.10 do not tell user space a partition's PARTUUID, so every whole disk's primary GPT is read
//! (UEFI specification 2.10, section 5.3) and the entry is matched with the partition the kernel made of it.
//!
//! Not supported: the backup table alone (the kernel's own partition scan wants `gpt` on its command line for that),
//! MBR partitions.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Most partition entries that are looked at; the usual table has 128.
const MAX_ENTRIES: u32 = 1024;

/// A partition that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its disk's name in `/sys/class/block`, e.g. `vda`.
    pub disk: String,
    /// Its own node, e.g. `/dev/vda3`.
    pub node: PathBuf,
}

/// What the search saw.
pub struct Search {
    /// The partitions, in the order of their names.
    pub found: Vec<Found>,
    /// Names of all block devices with a size, for the message when nothing was found.
    pub seen: Vec<String>,
}

/// Looks through every block device once.
pub fn find(partuuid: &str) -> Search {
    let mut search = Search { found: Vec::new(), seen: Vec::new() };
    let Some(wanted) = guid_bytes(partuuid) else { return search };
    for entry in fs::read_dir("/sys/class/block").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let folder = entry.path();
        if number(&folder.join("size")).unwrap_or(0) == 0 || name.starts_with("loop") || name.starts_with("ram") {
            continue;
        }
        search.seen.push(name.clone());
        if !folder.join("partition").exists()
            && let Ok(Some(start)) = start_of(&node(&name), block_size(&folder), &wanted)
        {
            search.found.extend(partition_at(&folder, start).map(|node| Found { disk: name, node }));
        }
    }
    search.seen.sort();
    search.found.sort_by(|one, other| one.node.cmp(&other.node));
    search
}

/// The partition of this disk that begins at `start` bytes, as the kernel has it.
fn partition_at(disk: &Path, start: u64) -> Option<PathBuf> {
    fs::read_dir(disk).ok()?.flatten().find_map(|entry| {
        let folder = entry.path();
        let sectors = number(&folder.join("start"))?;
        (folder.join("partition").exists() && sectors.checked_mul(512) == Some(start))
            .then(|| node(&entry.file_name().to_string_lossy()))
    })
}

/// In sysfs a `/` of a device's name is written `!`.
pub fn node(name: &str) -> PathBuf {
    Path::new("/dev").join(name.replace('!', "/"))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn block_size(disk: &Path) -> u64 {
    number(&disk.join("queue/logical_block_size")).unwrap_or(512).clamp(512, 65_536)
}

fn start_of(node: &Path, block: u64, wanted: &[u8; 16]) -> io::Result<Option<u64>> {
    table_start(&File::open(node)?, block, wanted)
}

/// First byte of the partition with this GUID, from the primary GPT.
fn table_start(disk: &impl FileExt, block: u64, wanted: &[u8; 16]) -> io::Result<Option<u64>> {
    let mut header = [0u8; 92];
    disk.read_exact_at(&mut header, block)?;
    if &header[..8] != b"EFI PART" {
        return Ok(None);
    }
    let first = le64(&header[72..]).saturating_mul(block);
    let (count, size) = (le32(&header[80..]).min(MAX_ENTRIES), u64::from(le32(&header[84..])));
    if !(128..=4096).contains(&size) {
        return Ok(None);
    }
    let mut entry = [0u8; 128];
    for index in 0..u64::from(count) {
        disk.read_exact_at(&mut entry, first.saturating_add(index * size))?;
        if entry[16..32] == *wanted && entry[..16] != [0; 16] {
            return Ok(Some(le64(&entry[32..]).saturating_mul(block)));
        }
    }
    Ok(None)
}

fn le32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn le64(bytes: &[u8]) -> u64 {
    u64::from(le32(bytes)) | u64::from(le32(&bytes[4..])) << 32
}

/// A GUID as the table stores it: the first three fields little-endian, the rest as written.
pub fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    if digits.len() != 32 || text.len() != 36 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut plain = [0u8; 16];
    for (byte, pair) in plain.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    plain[..4].reverse();
    plain[4..6].reverse();
    plain[6..8].reverse();
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_stored_with_three_fields_reversed() {
        let bytes = guid_bytes("00112233-4455-6677-8899-aabbccddeeff").unwrap();
        assert_eq!(bytes[..8], [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66]);
        assert_eq!(bytes[8..], [0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]);
        for bad in ["", "00112233-4455-6677-8899-aabbccddeefg", "00112233445566778899aabbccddeeff"] {
            assert_eq!(guid_bytes(bad), None);
        }
    }

    #[test]
    fn the_entry_is_found_and_a_damaged_table_is_no_table() {
        let wanted = guid_bytes("c0ffee00-1111-2222-3333-444455556666").unwrap();
        let mut disk = vec![0u8; 8 * 512];
        disk[512..520].copy_from_slice(b"EFI PART");
        disk[512 + 72] = 2;
        disk[512 + 80] = 4;
        disk[512 + 84] = 128;
        let entry = 1024 + 128;
        disk[entry] = 1;
        disk[entry + 16..entry + 32].copy_from_slice(&wanted);
        disk[entry + 33] = 8;
        let file = temporary(&disk);
        assert_eq!(table_start(&file, 512, &wanted).unwrap(), Some(2048 * 512));
        assert_eq!(table_start(&file, 512, &[1; 16]).unwrap(), None);
        disk[512 + 87] = 0xff;
        assert_eq!(table_start(&temporary(&disk), 512, &wanted).unwrap(), None);
        disk[512] = 0;
        assert_eq!(table_start(&temporary(&disk), 512, &wanted).unwrap(), None);
    }

    fn temporary(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }
}
