//! The part that all readers share: a disk in blocks of one size, each of which is somewhere in a file.

use super::source::{Raw, Source};
use super::{Fault, Packing};
use crate::formats::ReadAt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Where a block's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: they are zeros.
    Zeros,
    /// From this byte of the file on.
    At(u64),
    /// Packed, in this range of the file or the beginning of it.
    Packed {
        /// The first byte.
        offset: u64,
        /// Bytes, at most.
        length: u64,
        /// How.
        packing: Packing,
        /// Deflate has the header and the checksum of RFC 1950.
        header: bool,
    },
}

/// A form's tables.
pub(super) trait Map: Send + Sync {
    /// Where block `number` is, which is below the number of blocks.
    fn place(&self, file: &Raw, number: u64) -> Result<Place, Fault>;
    /// The first block at or behind `number` that may have a place: whole tables that are absent are passed over.
    fn skip(&self, _file: &Raw, number: u64) -> Result<u64, Fault> {
        Ok(number)
    }
}

/// A disk that a map tells the places of.
pub(super) struct Mapped<M> {
    pub file: Raw,
    pub map: M,
    /// Bytes of the disk.
    pub size: u64,
    /// Bytes of a block.
    pub block: u64,
    /// The block that was unpacked last.
    unpacked: Mutex<Option<(u64, Vec<u8>)>>,
}

impl<M: Map> Mapped<M> {
    pub fn new(file: Raw, map: M, size: u64, block: u64) -> Mapped<M> {
        Mapped { file, map, size, block, unpacked: Mutex::default() }
    }

    /// How the disk's blocks are packed, as far as the first of them tell: one that does not pack is kept as it is.
    pub fn packing(&self) -> Result<Packing, Fault> {
        const LOOKED_AT: usize = 256;
        let mut at = 0;
        for _ in 0..LOOKED_AT {
            let Some(range) = self.data(at)? else { break };
            if let Place::Packed { packing, .. } = self.map.place(&self.file, range.start / self.block)? {
                return Ok(packing);
            }
            at = range.end;
        }
        Ok(Packing::Plain)
    }

    /// Reads within one block, `within` bytes behind its start.
    fn read_block(&self, number: u64, within: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        match self.map.place(&self.file, number)? {
            Place::Zeros => buffer.fill(0),
            Place::At(offset) => self.read_plain(offset, within, buffer)?,
            Place::Packed { offset, length, packing, header } => {
                // A panic while it was held left nothing half done: the block is put in when it is whole.
                let mut last = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
                if last.as_ref().is_none_or(|(of, _)| *of != number) {
                    let needed = (self.size - number * self.block).min(self.block);
                    *last = Some((number, self.unpack(offset, length, packing, header, needed)?));
                }
                let bytes = last.as_ref().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
                let from = bytes.get(within as usize..).and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(from.ok_or(Fault::Damaged("a packed block is too short"))?);
            }
        }
        Ok(())
    }

    /// The file's last block may end before its end; the rest of it is zeros.
    fn read_plain(&self, offset: u64, within: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let start = offset.checked_add(within).filter(|_| offset < self.file.size());
        let start = start.ok_or(Fault::CutShort("a block"))?;
        let there = self.file.size().saturating_sub(start).min(buffer.len() as u64) as usize;
        self.file.read_at(start, &mut buffer[..there])?;
        buffer[there..].fill(0);
        Ok(())
    }

    /// A whole block. The disk's last one may have been packed without what is behind the disk's end: `needed` bytes.
    fn unpack(&self, offset: u64, length: u64, packing: Packing, header: bool, needed: u64) -> Result<Vec<u8>, Fault> {
        let there = self.file.size().checked_sub(offset).filter(|there| *there > 0);
        let length = length.min(there.ok_or(Fault::CutShort("a packed block"))?);
        // A packed block is never much larger than the block: whoever writes it keeps the smaller one.
        let length = length.min(2 * self.block + 4096) as usize;
        let packed = self.file.bytes(offset, length)?;
        let mut reader: Box<dyn Read> = match (packing, header) {
            (Packing::Zstd, _) => Box::new(zstd::Decoder::new(packed.as_slice())?),
            (_, true) => Box::new(flate2::read::ZlibDecoder::new(packed.as_slice())),
            (_, false) => Box::new(flate2::read::DeflateDecoder::new(packed.as_slice())),
        };
        let (mut bytes, mut have) = (vec![0; self.block as usize], 0);
        // What stands behind the packed bytes, up to the end of a sector, is not looked at.
        while have < bytes.len() {
            match reader.read(&mut bytes[have..]) {
                Ok(0) => break,
                Ok(length) => have += length,
                Err(_) if have as u64 >= needed => break,
                Err(_) => return Err(Fault::Damaged("a packed block cannot be unpacked")),
            }
        }
        if (have as u64) < needed {
            return Err(Fault::Damaged("a packed block is too short"));
        }
        Ok(bytes)
    }
}

impl<M: Map> ReadAt for Mapped<M> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let within = at % self.block;
            let length = (self.block - within).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at_mut(length);
            self.read_block(at / self.block, within, now)?;
            (at, rest) = (at + length as u64, later);
        }
        Ok(())
    }
}

impl<M: Map> Source for Mapped<M> {
    fn size(&self) -> u64 {
        self.size
    }

    fn data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        if from >= self.size {
            return Ok(None);
        }
        let blocks = self.size.div_ceil(self.block);
        let mut number = from / self.block;
        loop {
            number = self.map.skip(&self.file, number)?;
            if number >= blocks {
                return Ok(None);
            }
            if self.map.place(&self.file, number)? != Place::Zeros {
                let start = (number * self.block).max(from);
                return Ok(Some(start..(number + 1).saturating_mul(self.block).min(self.size)));
            }
            number += 1;
        }
    }
}

/// Whether tables, of which each has its own place or none (0), are each named once. What is named again and again would be
/// a disk without an end in a small file.
///
/// # Errors
/// When one is named twice, or a place cannot be read.
pub(super) fn each_once(places: impl Iterator<Item = Result<u64, Fault>>) -> Result<(), Fault> {
    let mut there = places.filter(|place| !matches!(place, Ok(0))).collect::<Result<Vec<u64>, Fault>>()?;
    there.sort_unstable();
    match there.array_windows().any(|[one, next]| one == next) {
        true => Err(Fault::Damaged("two of its tables are one")),
        false => Ok(()),
    }
}

/// A table of numbers in a file: the page that was looked at last is kept.
pub(super) struct Table {
    last: Mutex<Option<(u64, Vec<u8>)>>,
}

/// Bytes of a page.
const PAGE: u64 = 64 << 10;

impl Table {
    pub fn new() -> Table {
        Table { last: Mutex::default() }
    }

    /// `N` bytes at `offset` of the file, which is a multiple of `N`.
    pub fn entry<const N: usize>(&self, what: &'static str, file: &Raw, offset: u64) -> Result<[u8; N], Fault> {
        let page = offset / PAGE * PAGE;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(of, _)| *of != page) {
            let length = file.size().saturating_sub(page).min(PAGE) as usize;
            *last = Some((page, file.bytes(page, length)?));
        }
        let bytes = last.as_ref().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
        bytes.get((offset - page) as usize..).and_then(|rest| rest.first_chunk()).copied().ok_or(Fault::CutShort(what))
    }
}
