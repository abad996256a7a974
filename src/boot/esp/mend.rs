//! What the FAT crate leaves wrong, set right in the finished volume.
//!
//! fatfs 0.3.6, its last release, writes long-name entries for `.` and `..` (the specification knows none), lets `..`
//! of a first-level directory point to the root's cluster instead of 0, and does not know the partition's start.
//! fsck.fat reports the first two. The times of all entries are set here too: the crate takes its clock from a
//! `'static`, and what it stamped is the epoch of FAT.
//!
//! Specification: "FAT: General Overview of On-Disk Format" 1.03, "FAT Directory Structure".

use super::geometry::Geometry;
use super::sparse::Sparse;
use crate::formats::fat::time::Stamp;

const ENTRY: usize = 32;
const ATTRIBUTES: usize = 11;
const ATTRIBUTES_LONG_NAME: u8 = 0x0f;
const ATTRIBUTE_VOLUME: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ROOT_CLUSTER: u32 = 2;
/// Byte offset of "hidden sectors" in the boot sector, and where the boot sector and its copy lie.
const HIDDEN_SECTORS: u64 = 0x1c;
const BOOT_SECTORS: [u64; 2] = [0, 6 * 512];

/// Mends the volume. `first_lba` is where the partition begins on the disk; larger ones do not fit the field and
/// leave it zero, as "unknown".
pub fn mend(volume: &Sparse, geometry: &Geometry, stamp: Stamp, first_lba: u64) {
    for sector in BOOT_SECTORS {
        volume.put(sector + HIDDEN_SECTORS, &u32::try_from(first_lba).unwrap_or(0).to_le_bytes());
    }
    let mut left = vec![ROOT_CLUSTER];
    while let Some(directory) = left.pop() {
        left.extend(mend_directory(volume, geometry, stamp, directory));
    }
}

/// The clusters of a chain, in order.
fn chain(volume: &Sparse, geometry: &Geometry, first: u32) -> Vec<u32> {
    let (mut clusters, mut next) = (Vec::new(), first);
    let valid = |cluster: u32| (2..geometry.clusters + 2).contains(&u64::from(cluster));
    // A chain longer than the volume would be a loop.
    while valid(next) && (clusters.len() as u64) < geometry.clusters {
        clusters.push(next);
        let mut entry = [0; 4];
        volume.get(geometry.fat_offset() + u64::from(next) * 4, &mut entry);
        next = u32::from_le_bytes(entry) & 0x0fff_ffff;
    }
    clusters
}

/// Mends one directory and returns the first clusters of those in it.
fn mend_directory(volume: &Sparse, geometry: &Geometry, stamp: Stamp, first: u32) -> Vec<u32> {
    let clusters = chain(volume, geometry, first);
    let cluster_bytes = geometry.cluster_bytes() as usize;
    let mut bytes = vec![0; clusters.len() * cluster_bytes];
    for (cluster, part) in clusters.iter().zip(bytes.chunks_mut(cluster_bytes)) {
        volume.get(geometry.cluster_offset(u64::from(*cluster)), part);
    }

    let (mended, subdirectories) = mend_entries(&bytes, stamp);
    for (cluster, part) in clusters.iter().zip(mended.chunks(cluster_bytes)) {
        volume.put(geometry.cluster_offset(u64::from(*cluster)), part);
    }
    subdirectories
}

/// The directory's bytes without long names of `.` and `..`, of the same length, and the subdirectories' clusters.
fn mend_entries(bytes: &[u8], stamp: Stamp) -> (Vec<u8>, Vec<u32>) {
    let (mut mended, mut subdirectories) = (Vec::with_capacity(bytes.len()), Vec::new());
    let mut long_name_from = 0;
    for entry in bytes.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0) {
        let start = mended.len();
        mended.extend_from_slice(entry);
        if entry[ATTRIBUTES] == ATTRIBUTES_LONG_NAME {
            continue;
        }
        let is_dots = entry.starts_with(b".          ") || entry.starts_with(b"..         ");
        if is_dots {
            mended.drain(long_name_from..start);
        }
        long_name_from = mended.len();
        let entry = &mut mended[long_name_from - ENTRY..];
        stamp.put(entry);
        let cluster = cluster_of(entry);
        if is_dots && entry[1] == b'.' && cluster == ROOT_CLUSTER {
            set_cluster(entry, 0);
        } else if !is_dots && entry[ATTRIBUTES] & (ATTRIBUTE_DIRECTORY | ATTRIBUTE_VOLUME) == ATTRIBUTE_DIRECTORY {
            subdirectories.push(cluster);
        }
    }
    mended.resize(bytes.len(), 0);
    (mended, subdirectories)
}

fn cluster_of(entry: &[u8]) -> u32 {
    u32::from_le_bytes([entry[26], entry[27], entry[20], entry[21]])
}

fn set_cluster(entry: &mut [u8], cluster: u32) {
    let bytes = cluster.to_le_bytes();
    entry[26..28].copy_from_slice(&bytes[..2]);
    entry[20..22].copy_from_slice(&bytes[2..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8; 11], attributes: u8, cluster: u32) -> Vec<u8> {
        let mut entry = name.to_vec();
        entry.push(attributes);
        entry.resize(ENTRY, 0);
        set_cluster(&mut entry, cluster);
        entry
    }

    #[test]
    fn dots_lose_their_long_names_and_others_keep_them() {
        let directory = [
            entry(b"long-of-dot", ATTRIBUTES_LONG_NAME, 0),
            entry(b".          ", ATTRIBUTE_DIRECTORY, 0x10005),
            entry(b"long-of-..x", ATTRIBUTES_LONG_NAME, 0),
            entry(b"..         ", ATTRIBUTE_DIRECTORY, ROOT_CLUSTER),
            entry(b"long-name-2", ATTRIBUTES_LONG_NAME, 0),
            entry(b"long-name-1", ATTRIBUTES_LONG_NAME, 0),
            entry(b"LOADER     ", ATTRIBUTE_DIRECTORY, 0x20007),
            entry(b"LINUX      ", 0, 9),
            vec![0; 64],
        ]
        .concat();
        let stamp = Stamp::from_unix(1_700_000_000);
        let (mended, subdirectories) = mend_entries(&directory, stamp);
        assert_eq!(mended.len(), directory.len());
        assert_eq!(subdirectories, [0x20007]);
        let names: Vec<&[u8]> = mended.chunks(ENTRY).map(|entry| &entry[..11]).collect();
        let expected: [&[u8; 11]; 6] =
            [b".          ", b"..         ", b"long-name-2", b"long-name-1", b"LOADER     ", b"LINUX      "];
        assert_eq!(names[..6], expected);
        assert!(mended[6 * ENTRY..].iter().all(|&byte| byte == 0));
        assert_eq!(cluster_of(&mended[..ENTRY]), 0x10005);
        assert_eq!(cluster_of(&mended[ENTRY..2 * ENTRY]), 0, "the root is cluster 0 to its children");
        let mut stamped = entry(b"LINUX      ", 0, 9);
        stamp.put(&mut stamped);
        assert_eq!(mended[5 * ENTRY..6 * ENTRY], stamped);
    }
}
