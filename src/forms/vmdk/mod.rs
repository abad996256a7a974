//! VMDK: VMware's form, one file of it.
//!
//! ```text
//! monolithicSparse  header ─ descriptor ─ redundant directory and tables ─ directory and tables ─ grains
//! streamOptimized   header ─ descriptor ─ (marker ─ packed grain)… ─ tables ─ directory ─ footer ─ end
//!
//! directory ─▶ table of 512 entries ─▶ grain of 64 KiB         (places in sectors of 512 bytes, little-endian)
//! ```
//!
//! Written: both. Read: both, and what other programs make of them with other sizes of grains. Not supported: disks in
//! several files (their descriptor is a text), disks with a parent, the older COWD.
//! Specification: VMware, Virtual Disk Format 5.0, "Hosted Sparse Extents" and "Stream-Optimized Compressed Sparse Extents".

mod read;
mod stream;
mod write;

pub(super) use read::open;
pub(super) use stream::write as write_stream;
pub(super) use write::write;

use super::Source;
use super::identifier::identifier;
use std::io;

/// The first bytes of an extent.
pub(super) const MAGIC: &[u8] = b"KDMV";
/// The first bytes of a descriptor that is a file of its own.
pub(super) const DESCRIPTOR: &[u8] = b"# Disk DescriptorFile";
/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Sectors of a grain.
const GRAIN: u64 = 128;
/// Entries of a table.
const ENTRIES: u64 = 512;
/// Sectors that the descriptor has.
const DESCRIPTOR_SECTORS: u64 = 20;
/// Places are sectors in 32 bits.
const LARGEST: u64 = (u32::MAX as u64) * SECTOR / 2;
/// Header flags: a test for line ends that were changed, a second directory, packed grains, markers.
const NEWLINES: u32 = 1;
const REDUNDANT: u32 = 1 << 1;
const COMPRESSED: u32 = 1 << 16;
const MARKERS: u32 = 1 << 17;
/// In the header of a stream: the directory is found through the footer.
const AT_END: u64 = u64::MAX;

/// What a header says, and all that we write in one. Places and lengths in sectors.
#[derive(Clone, Copy, Default)]
struct Header {
    version: u32,
    flags: u32,
    capacity: u64,
    grain: u64,
    descriptor: u64,
    descriptor_length: u64,
    entries: u32,
    redundant: u64,
    directory: u64,
    overhead: u64,
    compression: u16,
}

impl Header {
    fn bytes(&self) -> [u8; SECTOR as usize] {
        let mut bytes = Vec::with_capacity(SECTOR as usize);
        bytes.extend(MAGIC);
        bytes.extend([self.version, self.flags].map(u32::to_le_bytes).concat());
        let places = [self.capacity, self.grain, self.descriptor, self.descriptor_length];
        bytes.extend(places.map(u64::to_le_bytes).concat());
        bytes.extend(self.entries.to_le_bytes());
        bytes.extend([self.redundant, self.directory, self.overhead].map(u64::to_le_bytes).concat());
        // Whether it was shut down uncleanly, and four bytes that a transfer as text would change.
        bytes.extend([0, b'\n', b' ', b'\r', b'\n']);
        bytes.extend(self.compression.to_le_bytes());
        let mut sector = [0; SECTOR as usize];
        sector[..bytes.len()].copy_from_slice(&bytes);
        sector
    }
}

/// Sectors of a disk, which a VMDK counts in whole grains.
fn capacity(source: &dyn Source) -> io::Result<u64> {
    match source.size() <= LARGEST {
        true => Ok(source.size().div_ceil(SECTOR)),
        false => Err(io::Error::new(io::ErrorKind::FileTooLarge, "a disk of more than 1 TiB has no form of this kind")),
    }
}

/// The text with what a virtual machine wants to know of the disk, in its sectors.
fn descriptor(source: &dyn Source, kind: &str, capacity: u64) -> io::Result<Vec<u8>> {
    // Where no old BIOS asks for it, the geometry says no more than the size.
    const HEADS: u64 = 255;
    const SECTORS: u64 = 63;
    let cylinders = capacity / (HEADS * SECTORS);
    let cid = identifier(source, "vmdk")?.as_fields().0 & 0xffff_fffe;
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID={cid:08x}\nparentCID=ffffffff\ncreateType=\"{kind}\"\n\n\
         # Extent description\nRW {capacity} SPARSE \"disk.vmdk\"\n\n\
         # The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"10\"\nddb.adapterType = \"lsilogic\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\nddb.geometry.heads = \"{HEADS}\"\nddb.geometry.sectors = \"{SECTORS}\"\n"
    );
    let mut bytes = text.into_bytes();
    bytes.resize((DESCRIPTOR_SECTORS * SECTOR) as usize, 0);
    Ok(bytes)
}

fn little_endian(entries: &[u32]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
    bytes
}
