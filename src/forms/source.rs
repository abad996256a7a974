//! What is read: a disk of so many bytes, some ranges of which hold something.

use super::Fault;
use crate::formats::{ReadAt, Reading};
use crate::holes;
use nix::errno::Errno;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;

/// A disk.
pub trait Source: ReadAt + Send + Sync {
    /// Its bytes.
    fn size(&self) -> u64;
    /// The first range at or behind `from` that may hold something else than zeros; `None` when the rest is zeros.
    fn data(&self, from: u64) -> io::Result<Option<Range<u64>>>;
}

/// A file, byte after byte, or a part of one.
pub struct Raw {
    file: File,
    /// Where it begins in the file.
    start: u64,
    size: u64,
}

impl Raw {
    /// A file or a block device.
    pub fn new(mut file: File) -> io::Result<Raw> {
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Raw { file, start: 0, size })
    }

    /// The part of it that has `size` bytes from `offset` on, without what is around it.
    pub(super) fn within(self, offset: u64, size: u64) -> Result<Raw, Fault> {
        match offset.checked_add(size).is_some_and(|end| end <= self.size) {
            true => Ok(Raw { file: self.file, start: self.start + offset, size }),
            false => Err(Fault::CutShort("a part of the disk")),
        }
    }

    /// All of it, front to back.
    pub(super) fn reading(&self) -> Reading<'_, Raw> {
        Reading::new(self, self.size)
    }

    /// Its first bytes, `most` of them or all there are.
    pub(super) fn start(&self, most: usize) -> io::Result<Vec<u8>> {
        self.bytes(0, self.size.min(most as u64) as usize)
    }

    /// `length` bytes from `offset` on.
    pub(super) fn bytes(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// As [`Raw::bytes`], of something with a name.
    pub(super) fn part(&self, what: &'static str, offset: u64, length: usize) -> Result<Vec<u8>, Fault> {
        match offset.checked_add(length as u64).is_some_and(|end| end <= self.size) {
            true => Ok(self.bytes(offset, length)?),
            false => Err(Fault::CutShort(what)),
        }
    }
}

impl ReadAt for Raw {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        ReadAt::read_at(&self.file, self.start + offset, buffer)
    }
}

impl Source for Raw {
    fn size(&self) -> u64 {
        self.size
    }

    fn data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let (start, end) = (self.start, self.start + self.size);
        match holes::data(&self.file, start.saturating_add(from), end) {
            // A device, or a file system that knows no holes.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOTTY) => Ok(Some(from..self.size)),
            found => Ok(found?.map(|range| range.start - start..range.end.min(end) - start)),
        }
    }
}
