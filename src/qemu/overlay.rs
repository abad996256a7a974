//! An empty qcow2 overlay: four clusters that say "read everything from the backing file".
//!
//! ```text
//! cluster 0   header (104 bytes)
//!         1   refcount table: one entry, cluster 2
//!         2   refcount block: 1 for each cluster of this file
//!         3…  L1 table: all zeros, so every read falls through to the backing node
//! ```
//!
//! Made here, because QEMU can only make one while it runs and a device must have its disk when QEMU starts; a few
//! hundred bytes save a second QEMU before every boot. The header names no backing file: the command line does, by node
//! name. Source: QEMU, docs/interop/qcow2.txt, version 3.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: u32 = 0x5146_49fb;
const VERSION: u32 = 3;
const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
const HEADER: usize = 104;
/// log2 of a refcount's width in bits.
const REFCOUNT_ORDER: u32 = 4;
const REFCOUNT_TABLE: u64 = 1;
const REFCOUNT_BLOCK: u64 = 2;
const L1: u64 = 3;

/// Makes `file` an empty overlay for a disk of `size` bytes.
pub(super) fn write_empty(file: &File, size: u64) -> io::Result<()> {
    // One L1 entry stands for a cluster of L2 entries of eight bytes, each for a cluster of the disk.
    let l1_entries = size.div_ceil(CLUSTER * (CLUSTER / 8)).max(1);
    let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER);
    // One refcount block counts 32,768 clusters: an L1 table of 2 GiB, a disk of 128 EiB.
    let used = L1 + l1_clusters;
    if used > CLUSTER / 2 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("disk is too large for an overlay: {size}")));
    }
    file.set_len(used * CLUSTER)?;
    file.write_all_at(&header(size, l1_entries as u32), 0)?;
    file.write_all_at(&(REFCOUNT_BLOCK * CLUSTER).to_be_bytes(), REFCOUNT_TABLE * CLUSTER)?;
    let refcounts: Vec<u8> = (0..used).flat_map(|_| 1u16.to_be_bytes()).collect();
    file.write_all_at(&refcounts, REFCOUNT_BLOCK * CLUSTER)
}

fn header(size: u64, l1_entries: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER);
    out.extend(MAGIC.to_be_bytes());
    out.extend(VERSION.to_be_bytes());
    out.extend(0u64.to_be_bytes()); // backing_file_offset: none
    out.extend(0u32.to_be_bytes()); // backing_file_size
    out.extend(CLUSTER_BITS.to_be_bytes());
    out.extend(size.to_be_bytes());
    out.extend(0u32.to_be_bytes()); // crypt_method: none
    out.extend(l1_entries.to_be_bytes()); // l1_size
    out.extend((L1 * CLUSTER).to_be_bytes()); // l1_table_offset
    out.extend((REFCOUNT_TABLE * CLUSTER).to_be_bytes());
    out.extend(1u32.to_be_bytes()); // refcount_table_clusters
    out.extend(0u32.to_be_bytes()); // nb_snapshots
    out.extend(0u64.to_be_bytes()); // snapshots_offset
    out.extend(0u64.to_be_bytes()); // incompatible_features
    out.extend(0u64.to_be_bytes()); // compatible_features
    out.extend(0u64.to_be_bytes()); // autoclear_features
    out.extend(REFCOUNT_ORDER.to_be_bytes());
    out.extend((HEADER as u32).to_be_bytes()); // header_length
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn qemu_img_finds_nothing_wrong_and_finds_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("overlay.qcow2");
        let check = || {
            let output = Command::new("qemu-img").arg("check").arg(&path).output();
            output.expect("qemu-img must be installed (Debian: qemu-utils)").status.success()
        };
        for size in [0, 512, 1 << 20, 1 << 30, (20 << 30) + 512, 64 << 40] {
            let file = File::create(&path).unwrap();
            write_empty(&file, size).unwrap();
            assert!(check(), "size {size}");
            file.write_all_at(&7u16.to_be_bytes(), REFCOUNT_BLOCK * CLUSTER).unwrap();
            assert!(!check(), "size {size}, damaged");
        }
    }

    #[test]
    fn impossible_sizes_are_an_error() {
        assert!(write_empty(&tempfile::tempfile().unwrap(), u64::MAX).is_err());
    }
}
