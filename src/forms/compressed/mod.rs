//! A disk byte after byte, compressed: gzip, xz, Zstandard.
//!
//! ```text
//! disk   unit ─ unit ─ zeros … zeros ─ unit          (every unit is packed on its own, on all processors)
//! gzip   header ─ deflate of each, ended at a whole byte ─ empty block, CRC-32, length        one member
//! xz     one stream each       zst   one frame each                   (readers take them as one file)
//! ```
//!
//! Holes are not read: a unit of zeros is packed once and repeated. What is read may be packed in any way that
//! [`crate::formats::unpack`] knows; it is unpacked, holes kept, into a temporary file without a name.
//! Specifications: RFC 1951, RFC 1952, RFC 8878; The .xz File Format 1.1.

mod packer;
mod read;
mod write;

pub(super) use read::unpacked;
pub(super) use write::write;

use crate::formats::unpack;

/// How a whole disk is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// What a file that begins with these bytes is compressed by, of those that are written.
    pub(super) fn of(start: &[u8]) -> Option<Compression> {
        Some(match unpack::packer(start)? {
            unpack::Packer::Gzip => Compression::Gzip,
            unpack::Packer::Xz => Compression::Xz,
            unpack::Packer::Zstd => Compression::Zstd,
            unpack::Packer::Bzip2 | unpack::Packer::Lz4 => return None,
        })
    }

    /// Bytes of a unit: what is packed on its own. Larger ones pack better, and take more memory.
    fn unit(self) -> usize {
        match self {
            Compression::Gzip => 1 << 20,
            Compression::Xz | Compression::Zstd => 4 << 20,
        }
    }
}
