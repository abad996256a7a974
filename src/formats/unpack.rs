//! Decompression of archives, package members, modules and kernel payloads, recognised by their first bytes.
//!
//! Every reader is bounded by its caller; decoders get a fixed memory limit of their own.

use super::lz4::frame;
use std::io::{self, Read};

/// The most memory an xz stream may ask for, in bytes: `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;
/// The largest zstd window accepted, as a power of two: that of `zstd --ultra -22`.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Bytes needed to recognise a format.
const MAGIC: usize = 6;

/// What something is packed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packer {
    /// RFC 1952.
    Gzip,
    /// xz.
    Xz,
    /// RFC 8878.
    Zstd,
    /// bzip2.
    Bzip2,
    /// LZ4's frames.
    Lz4,
}

/// What bytes that begin like this are packed by.
pub fn packer(start: &[u8]) -> Option<Packer> {
    Some(match start {
        [0x1f, 0x8b, ..] => Packer::Gzip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packer::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Packer::Zstd,
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Packer::Bzip2,
        [0x04, 0x22, 0x4d, 0x18, ..] => Packer::Lz4,
        _ => return None,
    })
}

/// Whether packed bytes begin with these.
pub fn is_packed(start: &[u8]) -> bool {
    packer(start).is_some()
}

/// A reader of the decompressed bytes of `input`; plain bytes pass through.
pub fn reader<'a, R: Read + 'a>(mut input: R) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::with_capacity(MAGIC);
    input.by_ref().take(MAGIC as u64).read_to_end(&mut magic)?;
    let packer = packer(&magic);
    let whole = io::Cursor::new(magic).chain(input);
    Ok(match packer {
        Some(Packer::Gzip) => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        Some(Packer::Xz) => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::read::XzDecoder::new_stream(whole, stream))
        }
        Some(Packer::Zstd) => {
            let mut decoder = zstd::Decoder::new(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Some(Packer::Bzip2) => Box::new(bzip2::read::MultiBzDecoder::new(whole)),
        Some(Packer::Lz4) => Box::new(frame::Decoder::new(whole)),
        None => Box::new(whole),
    })
}

/// Reads at most `limit` bytes to the end; `None` when there are more.
pub fn read_bounded(input: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    read_into(Vec::new(), input, limit)
}

/// As [`read_bounded`], into an empty buffer. With room for one byte more than there are it need not grow.
pub fn read_into(mut bytes: Vec<u8>, input: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    input.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        read_bounded(reader(bytes).unwrap(), 1 << 20).unwrap().unwrap()
    }

    #[test]
    fn each_format_is_told_by_its_first_bytes() {
        let text = b"some bytes, some bytes, some bytes";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
        xz.write_all(text).unwrap();
        assert_eq!(unpacked(text), text);
        assert_eq!(unpacked(b"ab"), b"ab");
        assert_eq!(unpacked(b""), b"");
        assert_eq!(unpacked(&gzip.finish().unwrap()), text);
        assert_eq!(unpacked(&xz.finish().unwrap()), text);
        assert_eq!(unpacked(&zstd::encode_all(&text[..], 3).unwrap()), text);
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(text).unwrap();
        let bzip2 = bzip2.finish().unwrap();
        assert_eq!(unpacked(&bzip2), text);
        assert_eq!(unpacked(&[&bzip2[..], &bzip2].concat()), [&text[..], text].concat());
    }

    #[test]
    fn a_limit_is_a_limit() {
        assert_eq!(read_bounded(&b"abc"[..], 3).unwrap().unwrap(), b"abc");
        assert_eq!(read_bounded(&b"abcd"[..], 3).unwrap(), None);
    }
}
