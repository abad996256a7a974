//! One unit of a disk, packed on its own; and what stands before the first and behind the last.

use super::Compression;
use flate2::{Compress, Crc, FlushCompress};
use std::io::{self, Write};

/// Level of Deflate, as gzip has it.
const GZIP_LEVEL: u32 = 6;
/// Preset of xz: its dictionary is as large as a unit, and an encoder takes 32 MiB.
const XZ_PRESET: u32 = 3;
/// Level of Zstandard, as zstd has it.
const ZSTD_LEVEL: i32 = 3;
/// Deflate, no flags, no time, no level, no system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The last block of a Deflate stream, empty.
const DEFLATE_END: [u8; 2] = [3, 0];

/// A packed unit.
pub struct Packed {
    pub bytes: Vec<u8>,
    /// Sum of what was packed, where the format wants it.
    sum: Crc,
}

/// Packs one unit after the other.
pub enum Packer {
    Deflate(Compress),
    Xz,
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Packer {
    pub fn new(how: Compression) -> io::Result<Packer> {
        Ok(match how {
            Compression::Gzip => Packer::Deflate(Compress::new(flate2::Compression::new(GZIP_LEVEL), false)),
            Compression::Xz => Packer::Xz,
            Compression::Zstd => Packer::Zstd(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        })
    }

    pub fn pack(&mut self, bytes: &[u8]) -> io::Result<Packed> {
        let mut sum = Crc::new();
        let bytes = match self {
            Packer::Zstd(compressor) => compressor.compress(bytes)?,
            Packer::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), XZ_PRESET);
                encoder.write_all(bytes)?;
                encoder.finish()?
            }
            Packer::Deflate(deflate) => {
                sum.update(bytes);
                deflated(deflate, bytes)?
            }
        };
        Ok(Packed { bytes, sum })
    }
}

/// Up to a whole byte, with nothing that looks back before it: whatever follows may be packed elsewhere.
fn deflated(deflate: &mut Compress, bytes: &[u8]) -> io::Result<Vec<u8>> {
    deflate.reset();
    // What cannot be packed grows by five bytes in each 16 KiB and the ends.
    let mut packed = Vec::with_capacity(bytes.len() + bytes.len() / 1024 + 64);
    deflate.compress_vec(bytes, &mut packed, FlushCompress::Full)?;
    match deflate.total_in() == bytes.len() as u64 && packed.len() < packed.capacity() {
        true => Ok(packed),
        false => Err(io::Error::other("a unit grew while it was packed")),
    }
}

/// What is not in any unit.
#[derive(Default)]
pub struct Ends {
    sum: Crc,
    length: u64,
}

impl Ends {
    /// What stands before the first unit.
    pub fn header(how: Compression) -> &'static [u8] {
        if how == Compression::Gzip { &GZIP_HEADER } else { &[] }
    }

    /// A unit of so many bytes was put behind the others.
    pub fn count(&mut self, packed: &Packed, bytes: u64) {
        self.sum.combine(&packed.sum);
        self.length += bytes;
    }

    /// Bytes of all units.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What stands behind the last.
    pub fn trailer(&self, how: Compression) -> Vec<u8> {
        match how {
            // The length's lower half: the format has no more.
            Compression::Gzip => {
                [&DEFLATE_END[..], &self.sum.sum().to_le_bytes(), &(self.length as u32).to_le_bytes()].concat()
            }
            Compression::Xz | Compression::Zstd => Vec::new(),
        }
    }
}
