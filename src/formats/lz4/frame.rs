//! LZ4's frames, as the program lz4 writes them.
//!
//! ```text
//!  0x184D2204 ─ FLG ─ BD ─ [content size (8)] ─ HC ─ blocks ─ 0 (u32) ─ [content checksum (u32)]
//!  FLG: version 01 (2 bits), blocks independent, block checksums, content size, content checksum, reserved, dictionary id
//!  BD:  reserved, largest block (3 bits: 4 = 64 KiB … 7 = 4 MiB), reserved
//!  block: length (u32, top bit: not compressed) ─ data ─ [checksum (u32)]
//!  0x184D2A5x ─ length (u32) ─ bytes to pass over
//! ```
//!
//! Frames may follow each other. All checksums are xxHash (32 bits) and are compared. Memory: one block, packed and
//! unpacked, and 64 KiB before it. Not supported: dictionaries, and legacy frames behind others.
//! Specification: LZ4 Frame Format Description 1.6.

use super::unpack_block;
use super::xxh32::Xxh32;
use std::io::{self, Read};

const MAGIC: u32 = 0x184d_2204;
const SKIPPABLE: u32 = 0x184d_2a50;
/// How far a block may refer back.
const WINDOW: usize = 64 << 10;
/// Bit of a block's length: it is stored as it is.
const STORED: u32 = 1 << 31;

/// A reader of the unpacked bytes.
pub struct Decoder<R> {
    input: R,
    frame: Option<Frame>,
    /// The end of what was given, and behind it what is to be given.
    block: Vec<u8>,
    given: usize,
    packed: Vec<u8>,
}

/// What a frame's header says.
struct Frame {
    independent: bool,
    block_checksums: bool,
    content_size: Option<u64>,
    content_checksum: bool,
    largest: usize,
    unpacked: u64,
    hash: Xxh32,
}

impl<R: Read> Decoder<R> {
    /// At the beginning of the first frame.
    pub fn new(input: R) -> Decoder<R> {
        Decoder { input, frame: None, block: Vec::new(), given: 0, packed: Vec::new() }
    }

    /// Unpacks more; false at the end of the last frame.
    fn more(&mut self) -> io::Result<bool> {
        let Some(frame) = &mut self.frame else { return self.next_frame() };
        let length = u32_of(&mut self.input)?;
        if length == 0 {
            frame.check_end(&mut self.input)?;
            self.frame = None;
            return Ok(true);
        }
        let (stored, length) = (length & STORED != 0, (length & !STORED) as usize);
        if length > frame.largest {
            return Err(damaged("a block that is longer than its frame allows"));
        }
        self.packed.resize(length, 0);
        self.input.read_exact(&mut self.packed)?;
        if frame.block_checksums && u32_of(&mut self.input)? != Xxh32::of(&self.packed) {
            return Err(damaged("a block does not match its checksum"));
        }
        let kept = if frame.independent { 0 } else { WINDOW };
        self.block.drain(..self.block.len().saturating_sub(kept));
        self.given = self.block.len();
        match stored {
            true => self.block.extend_from_slice(&self.packed),
            false => unpack_block(&self.packed, &mut self.block, self.given + frame.largest)
                .ok_or_else(|| damaged("a block that is damaged"))?,
        }
        frame.hash.update(&self.block[self.given..]);
        frame.unpacked += (self.block.len() - self.given) as u64;
        Ok(true)
    }

    /// Begins the next frame, and passes over what is none; false where there is no more.
    fn next_frame(&mut self) -> io::Result<bool> {
        let mut first = [0];
        if self.input.read(&mut first)? == 0 {
            return Ok(false);
        }
        let mut rest = [0; 3];
        self.input.read_exact(&mut rest)?;
        match u32::from_le_bytes([first[0], rest[0], rest[1], rest[2]]) {
            MAGIC => {
                self.frame = Some(Frame::read(&mut self.input)?);
                self.block.clear();
                self.given = 0;
            }
            magic if magic & !0xf == SKIPPABLE => {
                let length = u64::from(u32_of(&mut self.input)?);
                if io::copy(&mut (&mut self.input).take(length), &mut io::sink())? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            _ => return Err(damaged("what follows a frame is not a frame")),
        }
        Ok(true)
    }
}

impl Frame {
    fn read(input: &mut impl Read) -> io::Result<Frame> {
        let mut descriptor = vec![0; 2];
        input.read_exact(&mut descriptor)?;
        let (flags, sizes) = (descriptor[0], descriptor[1]);
        let is = |bit: u8| flags & 1 << bit != 0;
        if flags >> 6 != 1 || is(1) || sizes & 0x8f != 0 || sizes >> 4 < 4 {
            return Err(damaged("a header that no frame has"));
        }
        if is(0) {
            return Err(damaged("a frame that wants a dictionary"));
        }
        if is(3) {
            descriptor.resize(10, 0);
            input.read_exact(&mut descriptor[2..])?;
        }
        let mut check = [0];
        input.read_exact(&mut check)?;
        if check[0] != (Xxh32::of(&descriptor) >> 8) as u8 {
            return Err(damaged("a header does not match its checksum"));
        }
        Ok(Frame {
            independent: is(5),
            block_checksums: is(4),
            content_size: descriptor.get(2..).and_then(|size| size.first_chunk()).map(|size| u64::from_le_bytes(*size)),
            content_checksum: is(2),
            largest: 64 << 10 << (2 * (usize::from(sizes >> 4) - 4)),
            unpacked: 0,
            hash: Xxh32::new(),
        })
    }

    /// Behind the last block.
    fn check_end(&self, input: &mut impl Read) -> io::Result<()> {
        if self.content_checksum && u32_of(input)? != self.hash.finish() {
            return Err(damaged("the content does not match its checksum"));
        }
        match self.content_size {
            Some(size) if size != self.unpacked => Err(damaged("the content has another size than was said")),
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.block.len() {
            if !self.more()? {
                return Ok(0);
            }
        }
        let length = buffer.len().min(self.block.len() - self.given);
        buffer[..length].copy_from_slice(&self.block[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

fn u32_of(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// What the program lz4 makes of `bytes`.
    fn packed(options: &[&str], bytes: &[u8]) -> Vec<u8> {
        let mut command = Command::new("lz4");
        let mut child = command.args(options).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
        let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    fn unpacked(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Decoder::new(packed).read_to_end(&mut bytes).map(|_| bytes)
    }

    fn sample() -> Vec<u8> {
        let text: Vec<u8> = (0..300_000u32).flat_map(|i| format!("{} ", i % 1013).into_bytes()).collect();
        let noise = (0..200_000u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
        text.into_iter().chain(noise).collect()
    }

    #[test]
    fn what_lz4_packs_is_unpacked() {
        let sample = sample();
        for options in
            [&[][..], &["-9"], &["-B4"], &["-B4", "-BD"], &["-B5", "-BX"], &["--no-frame-crc"], &["-BD", "-B7"]]
        {
            assert!(unpacked(&packed(options, &sample)).unwrap() == sample, "{options:?}");
        }
        assert_eq!(unpacked(&packed(&[], b"")).unwrap(), b"");
        let skippable = [0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let several = [packed(&[], b"one "), skippable.to_vec(), packed(&["-9"], b"two"), packed(&[], b"")].concat();
        assert_eq!(unpacked(&several).unwrap(), b"one two");
    }

    #[test]
    fn whatever_is_cut_or_changed_is_noticed() {
        let whole = packed(&["-B4", "-BX"], &sample()[..100_000]);
        for cut in (0..whole.len()).step_by(97).skip(1).chain([whole.len() - 1]) {
            assert_eq!(unpacked(&whole[..cut]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{cut}");
        }
        for at in (0..whole.len()).step_by(89) {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(unpacked(&changed).is_err(), "{at}");
        }
        assert!(unpacked(&[&whole[..], b"more"].concat()).is_err());
    }
}
