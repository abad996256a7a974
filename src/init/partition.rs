//! Finds partitions by their GPT unique partition GUID, by reading the tables itself. It is unique until somebody copies
//! a disk: every disk with such a partition is found.
//!
//! Kernels before 6.10 do not tell user space a partition's PARTUUID, so every whole disk's primary GPT is read
//! and the entry is matched with the partition the kernel made of it.
//!
//! Not supported: the backup table alone (the kernel's own partition scan wants `gpt` on its command line for that),
//! MBR partitions.

use crate::formats::ReadAt;
use crate::formats::gpt::{Guid, PRIMARY, TableCopy};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

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
    /// Disks that have the partition in a table for sectors of 512 bytes, and sectors of this size.
    pub other_sectors: Vec<(String, u64)>,
}

/// Looks through every block device once.
pub fn find(partuuid: &str) -> Search {
    let mut search = Search { found: Vec::new(), seen: Vec::new(), other_sectors: Vec::new() };
    let Ok(wanted) = partuuid.parse::<Guid>() else { return search };
    for entry in fs::read_dir("/sys/class/block").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let folder = entry.path();
        if number(&folder.join("size")).unwrap_or(0) == 0 || name.starts_with("loop") || name.starts_with("ram") {
            continue;
        }
        search.seen.push(name.clone());
        if !folder.join("partition").exists()
            && let Ok(disk) = File::open(node(&name))
        {
            let block = block_size(&folder);
            match table_start(&disk, block, &wanted) {
                Some(start) => search.found.extend(partition_at(&folder, start).map(|node| Found { disk: name, node })),
                None if block != 512 && table_start(&disk, 512, &wanted).is_some() => {
                    search.other_sectors.push((name, block));
                }
                None => {}
            }
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

/// First byte of the partition with this GUID, from the primary GPT.
fn table_start(disk: &impl ReadAt, block: u64, wanted: &Guid) -> Option<u64> {
    let table = TableCopy::read(disk, PRIMARY, block).ok()?;
    let found = table.partitions().find(|partition| partition.guid == *wanted)?;
    found.bytes(block).map(|(offset, _)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::gpt::samples;

    #[test]
    fn the_entry_is_found_and_a_damaged_table_is_no_table() {
        let disk = samples::disk(&[samples::partition(1, 8, 15), samples::partition(2, 16, 31)]);
        let (second, absent) = (Guid([2; 16]), Guid([9; 16]));
        assert_eq!(table_start(&disk, 512, &second), Some(16 * 512));
        assert_eq!(table_start(&disk, 512, &absent), None);
        assert_eq!(table_start(&disk, 4096, &second), None);
        for at in [512, 512 + 87, 1024 + 33] {
            let mut damaged = disk.clone();
            damaged[at] ^= 0xff;
            assert_eq!(table_start(&damaged, 512, &second), None, "byte {at}");
        }
    }
}
