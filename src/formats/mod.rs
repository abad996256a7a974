//! Formats of disks and boot files: for each its types, one reader, and its writer or editor where there is one.
//!
//! ```text
//!  gpt, mbr    partition tables          fat         FAT12, FAT16, FAT32: a reader, an editor of FAT32
//!  boot_entry  boot menu entries         bzimage     the header of an x86 kernel
//!  elf         what programs say         sqlite, ndb rows of rpm's databases; rpm_header what a row says
//!  ar, cpio    archives, file by file    unpack, lz4 packed streams
//!  authenticode, cms, der, x509   signatures of EFI programs
//!  signature_list, variable_store firmware's keys and variables
//!  pe, uki     EFI programs, kernels in them          os_release  what a system says of itself; loader_info systemd's loaders
//!  verity      the superblock of a hash tree
//!  scattered   a file in pieces, read where it is asked; Reading the same from front to back
//! ```
//!
//! What is read was written by strangers. So every reader is bounded: no field of the input decides how much memory or
//! time is taken, what cannot be is a typed fault, and nothing panics. No policy is here: what a command does about a
//! fault is its own affair. PID 1 uses [`gpt`] and [`verity`]; everything else is for the host.

#[cfg(feature = "host")]
pub mod ar;
#[cfg(feature = "host")]
pub mod authenticode;
#[cfg(feature = "host")]
pub mod body;
#[cfg(feature = "host")]
pub mod boot_entry;
#[cfg(feature = "host")]
pub mod bzimage;
#[cfg(feature = "host")]
mod calendar;
#[cfg(feature = "host")]
pub mod cms;
#[cfg(feature = "host")]
pub mod cpio;
#[cfg(feature = "host")]
pub mod der;
#[cfg(feature = "host")]
pub mod elf;
#[cfg(feature = "host")]
pub mod fat;
pub mod gpt;
#[cfg(feature = "host")]
pub mod loader_info;
#[cfg(feature = "host")]
pub mod lz4;
#[cfg(feature = "host")]
pub mod mbr;
#[cfg(feature = "host")]
pub mod ndb;
#[cfg(feature = "host")]
pub mod os_release;
#[cfg(feature = "host")]
pub mod pe;
#[cfg(feature = "host")]
mod reading;
#[cfg(feature = "host")]
pub mod rpm_header;
#[cfg(feature = "host")]
pub mod scattered;
#[cfg(feature = "host")]
pub mod signature_list;
#[cfg(feature = "host")]
pub mod sqlite;
#[cfg(feature = "host")]
pub mod uki;
#[cfg(feature = "host")]
pub mod unpack;
#[cfg(feature = "host")]
pub mod variable_store;
pub mod verity;
#[cfg(feature = "host")]
pub mod x509;

#[cfg(feature = "host")]
pub use reading::Reading;
#[cfg(feature = "host")]
pub use scattered::Scattered;

use std::fs::File;
use std::io;
#[cfg(feature = "host")]
use std::io::Read;
use std::os::unix::fs::FileExt;
#[cfg(feature = "host")]
use std::sync::Arc;

/// Fills `buffer` as far as the input goes, and says how far that is.
#[cfg(feature = "host")]
pub fn read_start(from: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match from.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Bytes that can be read from any place: a file, a device, a slice, a part of one of these.
pub trait ReadAt {
    /// Reads exactly `buffer.len()` bytes at `offset`; an end before that is an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(buffer.len()));
        let found = start.zip(end).and_then(|(start, end)| self.get(start..end));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self[..].read_at(offset, buffer)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }
}

#[cfg(feature = "host")]
impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }
}

/// A part of something larger: a partition of a disk.
#[derive(Clone, Debug)]
pub struct Window<S> {
    /// What it is a part of.
    pub source: S,
    /// Where it begins there.
    pub start: u64,
    /// Bytes of it.
    pub length: u64,
}

impl<S: ReadAt> ReadAt for Window<S> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.length);
        let at = end.and_then(|_| self.start.checked_add(offset));
        self.source.read_at(at.ok_or(io::ErrorKind::UnexpectedEof)?, buffer)
    }
}

/// Little-endian fields; `None` beyond the end.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|field| u16::from_le_bytes(*field))
}

/// See [`u16_at`].
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|field| u32::from_le_bytes(*field))
}

/// See [`u16_at`].
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|field| u64::from_le_bytes(*field))
}

/// Big-endian fields; `None` beyond the end.
pub fn be16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|field| u16::from_be_bytes(*field))
}

/// See [`be16_at`].
pub fn be32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|field| u32::from_be_bytes(*field))
}

/// See [`be16_at`].
pub fn be64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|field| u64::from_be_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_where_it_ends() {
        let window = Window { source: &b"0123456789"[..], start: 4, length: 3 };
        let read = |offset, length| {
            let mut buffer = vec![0; length];
            window.read_at(offset, &mut buffer).map(|()| buffer).map_err(|error| error.kind())
        };
        assert_eq!(read(0, 3).unwrap(), b"456");
        assert_eq!(read(3, 0).unwrap(), b"");
        for (offset, length) in [(0, 4), (2, 2), (4, 0), (u64::MAX, 1)] {
            assert_eq!(read(offset, length), Err(io::ErrorKind::UnexpectedEof), "{offset} {length}");
        }
    }
}
