//! LZ4 as Linux packs itself with it: the legacy frame.
//!
//! ```text
//! 0x184C2102 ─ block length (u32 LE) ─ block ─ block length ─ block ─ ...
//! block: token (literal length 4 bits, match length - 4 in 4 bits) ─ literals ─ match offset (u16 LE) ─ token ...
//! ```
//!
//! Each block unpacks to at most 8 MiB and refers only to itself. What the program lz4 writes is [`frame`].
//! Specification: LZ4 Frame Format Description, "Legacy frame"; LZ4 Block Format Description.

pub mod frame;
mod xxh32;

use std::io::{self, Read};

/// Magic of a legacy frame.
const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// What a block unpacks to at most, in bytes.
const BLOCK: usize = 8 << 20;
/// The shortest match there is.
const MIN_MATCH: usize = 4;

/// A reader of the unpacked bytes.
pub struct Decoder<'a> {
    input: &'a [u8],
    block: Vec<u8>,
    given: usize,
}

impl<'a> Decoder<'a> {
    /// `None` when `input` is no legacy frame.
    pub fn new(input: &'a [u8]) -> Option<Decoder<'a>> {
        Some(Decoder { input: input.strip_prefix(&MAGIC)?, block: Vec::new(), given: 0 })
    }

    /// Unpacks the next block; false at the end. A length that the rest cannot hold is what the kernel's build
    /// appends: the unpacked length.
    fn next_block(&mut self) -> io::Result<bool> {
        let Some((length, rest)) = self.input.split_first_chunk::<4>() else { return Ok(false) };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || length > rest.len() {
            return Ok(false);
        }
        let (packed, rest) = rest.split_at(length);
        self.input = rest;
        self.block.clear();
        self.given = 0;
        unpack_block(packed, &mut self.block, BLOCK)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "damaged LZ4 block"))?;
        Ok(true)
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let n = buffer.len().min(self.block.len() - self.given);
        buffer[..n].copy_from_slice(&self.block[self.given..self.given + n]);
        self.given += n;
        Ok(n)
    }
}

/// Appends a block's bytes to `out`, which it may refer back to, up to a length of `most`; `None` when it is damaged or
/// longer than that.
fn unpack_block(mut input: &[u8], out: &mut Vec<u8>, most: usize) -> Option<()> {
    loop {
        let (&token, rest) = input.split_first()?;
        input = rest;
        let literals = length(usize::from(token >> 4), &mut input)?;
        if out.len() + literals > most {
            return None;
        }
        out.extend_from_slice(input.get(..literals)?);
        input = &input[literals..];
        // The last sequence has literals only.
        if input.is_empty() {
            return Some(());
        }
        let (offset, rest) = input.split_first_chunk::<2>()?;
        input = rest;
        let offset = usize::from(u16::from_le_bytes(*offset));
        let count = length(usize::from(token & 15), &mut input)? + MIN_MATCH;
        let start = out.len().checked_sub(offset).filter(|_| offset > 0)?;
        if out.len() + count > most {
            return None;
        }
        // Source and destination may overlap: a match of offset 1 repeats a byte.
        let mut left = count;
        while left > 0 {
            let n = left.min(out.len() - start);
            out.extend_from_within(start..start + n);
            left -= n;
        }
    }
}

/// A length of four bits, continued in whole bytes while they are 255.
fn length(nibble: usize, input: &mut &[u8]) -> Option<usize> {
    let mut length = nibble;
    if nibble == 15 {
        loop {
            let (&byte, rest) = input.split_first()?;
            *input = rest;
            length += usize::from(byte);
            if byte != 255 {
                break;
            }
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_overlapping_matches_are_unpacked() {
        // "ab", then 4 + 15 + 3 bytes from 2 back, then "c".
        let mut out = Vec::new();
        unpack_block(&[0x2f, b'a', b'b', 2, 0, 3, 0x10, b'c'], &mut out, BLOCK).unwrap();
        assert_eq!(out, b"abababababababababababababc".iter().copied().skip(2).collect::<Vec<_>>());
    }

    #[test]
    fn damaged_blocks_are_refused() {
        for block in [&[][..], &[0xf0], &[0x10], &[0x00, 0, 0], &[0x10, b'a', 2, 0, 0], &[0x10, b'a', 0, 0, 0]] {
            assert_eq!(unpack_block(block, &mut Vec::new(), BLOCK), None, "{block:?}");
        }
        // A bomb: matches without end stop at the block size.
        let mut bomb = vec![0x1f, b'a', 1, 0];
        bomb.extend_from_slice(&[255; 40_000]);
        bomb.push(0);
        assert_eq!(unpack_block(&bomb, &mut Vec::new(), BLOCK), None);
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut seed = 9u64;
        for _ in 0..2_000 {
            let mut frame = MAGIC.to_vec();
            for _ in 0..40 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                frame.push((seed >> 40) as u8 & if seed >> 63 == 0 { 0x1f } else { 0xff });
            }
            frame[5..8].fill(0);
            frame[4] = 30;
            _ = Decoder::new(&frame).unwrap().read_to_end(&mut Vec::new());
        }
    }
}
