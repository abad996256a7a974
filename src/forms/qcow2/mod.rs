//! qcow2: QEMU's form.
//!
//! ```text
//! header ─▶ L1 table ─▶ L2 table ─▶ cluster            (all in clusters of 2^cluster_bits bytes, big-endian)
//!        └▶ refcount table ─▶ refcount block ─▶ how often each cluster of the file is used
//!
//! L2 entry  bits 9..55 the cluster   bit 0 zeros   bit 62 packed: x bits of place, then sectors of 512 bytes
//! ```
//!
//! Written: version 3, clusters of 64 KiB, refcounts of 16 bits. Packed with Deflate as QEMU does it, raw and with a
//! window of 4 KiB, or with Zstandard. Read: versions 2 and 3, any size of cluster. Not supported: encryption, data
//! files, extended L2 entries; snapshots are passed over. Specification: QEMU's docs/interop/qcow2.txt.

mod growing;
mod read;
mod write;

pub use growing::Growing;
pub(super) use read::open;
pub(super) use write::write;

/// The first bytes.
pub(super) const MAGIC: &[u8] = b"QFI\xfb";
/// Bits of the header's incompatible features: a bit map that is dirty, packed with something else than Deflate.
const DIRTY: u64 = 1;
const COMPRESSION: u64 = 1 << 3;
/// Bits of an entry of a table.
const PLACE: u64 = 0x00ff_ffff_ffff_fe00;
const COPIED: u64 = 1 << 63;
const PACKED: u64 = 1 << 62;
const ZEROS: u64 = 1;
/// Bytes of a sector, in which the length of packed clusters is counted.
const SECTOR: u64 = 512;
