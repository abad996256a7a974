//! Blocks packed by Deflate (RFC 1951), as small as zlib makes them at its usual level.
//!
//! zlib-rs finds repetitions of three bytes at its level 9 alone, and there it searches for so long that it takes ten times
//! the time of level 5. Such repetitions are 3 % of a disk. The level's method with a search of a usual length has both: the
//! size of zlib's level 6, in less than its time. Only zlib's C interface lets a caller set that (`deflateTune`).

use libz_rs_sys as z;
use std::io;
use std::ptr;

/// The level whose method is wanted.
const LEVEL: i32 = 9;
/// How long it searches: shortened from this length of what it has on, no second search from this length on, enough at this
/// length, and places looked at.
const SEARCH: [i32; 4] = [8, 16, 128, 96];
/// Memory of symbols until a block of Deflate ends, 2^(7 + 6) of them. Shorter ones follow a disk's changes better.
const MEMORY: i32 = 7;
const DEFLATED: i32 = 8;

/// What is around the packed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Around {
    /// Nothing.
    Nothing,
    /// A header and a checksum (RFC 1950).
    Zlib,
}

/// Packs one block after the other.
pub(super) struct Deflate {
    /// It is pointed to by what it points to.
    stream: Box<z::z_stream>,
}

impl Deflate {
    /// Repetitions are at most 2^`window_bits` bytes apart: 9 to 15.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(window_bits: u8, around: Around) -> io::Result<Deflate> {
        let mut stream = Box::<z::z_stream>::default();
        let bits = match around {
            Around::Nothing => -i32::from(window_bits),
            Around::Zlib => i32::from(window_bits),
        };
        let size = size_of::<z::z_stream>() as i32;
        // SAFETY: the stream is a new one, stays where it is, and version and size are this library's own.
        let code = unsafe {
            z::deflateInit2_(
                &raw mut *stream,
                LEVEL,
                DEFLATED,
                bits,
                MEMORY,
                z::Z_DEFAULT_STRATEGY,
                z::zlibVersion(),
                size,
            )
        };
        match code {
            z::Z_OK => Ok(Deflate { stream }),
            _ => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    /// The packed bytes; `None` when there would be more than `most`.
    ///
    /// # Errors
    /// For blocks of 4 GiB and more.
    pub fn pack(&mut self, bytes: &[u8], most: usize) -> io::Result<Option<Vec<u8>>> {
        let length = |length: usize| u32::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        let (there, room) = (length(bytes.len())?, length(most)?);
        let mut packed = Vec::with_capacity(most);
        let stream = &raw mut *self.stream;
        let [good, lazy, nice, chain] = SEARCH;
        // SAFETY: `new` has made the stream whole. It reads `there` bytes of `bytes` and writes at most `room` into the
        // memory of `packed`, both of which outlive the calls; then it has no pointer to them any more. What it says it
        // has written is written.
        let ended = unsafe {
            z::deflateReset(stream);
            z::deflateTune(stream, good, lazy, nice, chain);
            (*stream).next_in = bytes.as_ptr().cast_mut();
            (*stream).avail_in = there;
            (*stream).next_out = packed.as_mut_ptr();
            (*stream).avail_out = room;
            let code = z::deflate(stream, z::Z_FINISH);
            packed.set_len(most - (*stream).avail_out as usize);
            ((*stream).next_in, (*stream).next_out) = (ptr::null_mut(), ptr::null_mut());
            code == z::Z_STREAM_END
        };
        Ok(ended.then_some(packed))
    }
}

impl Drop for Deflate {
    fn drop(&mut self) {
        // SAFETY: it is whole until here, and nobody has it afterwards.
        unsafe { z::deflateEnd(&raw mut *self.stream) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::bufread::{DeflateDecoder, ZlibDecoder};
    use std::io::Read;

    /// Repetitions of three bytes and longer ones, near and far, between bytes that repeat nothing.
    fn block(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let back = (state >> 8) as usize % bytes.len().max(1);
            let again = bytes[back..(back + 3 + (state >> 28) as usize).min(bytes.len())].to_vec();
            bytes.extend(again);
            bytes.push((state >> 16) as u8);
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn a_block_is_unpacked_by_another_reader_and_packed_the_same_again() {
        for around in [Around::Nothing, Around::Zlib] {
            let mut deflate = Deflate::new(12, around).unwrap();
            for length in [0, 1, 3, 4096, 65_536] {
                let bytes = block(length);
                let packed = deflate.pack(&bytes, length + 64).unwrap().unwrap();
                let mut unpacked = Vec::new();
                match around {
                    Around::Nothing => DeflateDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap(),
                    Around::Zlib => ZlibDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap(),
                };
                assert_eq!(unpacked, bytes, "{length}");
                assert_eq!(deflate.pack(&bytes, length + 64).unwrap().unwrap(), packed, "{length}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_said_and_the_next_block_is_as_if_it_had_never_been() {
        let mut deflate = Deflate::new(15, Around::Zlib).unwrap();
        let bytes = block(4096);
        let packed = deflate.pack(&bytes, 8192).unwrap().unwrap();
        for most in [0, 1, 100, packed.len() - 1] {
            assert_eq!(deflate.pack(&bytes, most).unwrap(), None, "{most}");
        }
        assert_eq!(deflate.pack(&bytes, packed.len()).unwrap(), Some(packed));
    }

    #[test]
    fn repetitions_of_three_bytes_are_found() {
        // Each of 4096 words of three bytes twice, in another order: nothing longer repeats.
        let word = |number: u32| [(number >> 6) as u8, (number as u8) << 2, 0xa5 ^ number as u8];
        let order = |number: u32| (number * 1_237 + 11) % 4096;
        let bytes: Vec<u8> = (0..4096).chain((0..4096).map(order)).flat_map(word).collect();
        let packed = Deflate::new(15, Around::Nothing).unwrap().pack(&bytes, 1 << 16).unwrap().unwrap();
        let usual = {
            let mut compress = flate2::Compress::new_with_window_bits(flate2::Compression::new(6), false, 15);
            let mut packed = Vec::with_capacity(1 << 16);
            compress.compress_vec(&bytes, &mut packed, flate2::FlushCompress::Finish).unwrap();
            packed
        };
        assert!(packed.len() < usual.len(), "{} of {}", packed.len(), usual.len());
    }
}
