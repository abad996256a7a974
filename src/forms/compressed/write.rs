//! Writes a compressed disk: units behind each other, those of zeros without reading them.

use super::Compression;
use super::packer::{Ends, Packed, Packer};
use crate::forms::{Source, packed, units};
use crate::output::Output;
use std::io;

/// Bytes that are packed at a time.
const BATCH: usize = 32 << 20;

/// Writes a disk; see [`crate::forms::write`].
pub fn write(source: &dyn Source, output: &dyn Output, how: Compression, threads: usize) -> io::Result<u64> {
    let (size, unit) = (source.size(), how.unit());
    let mut stream = Stream::begin(output, how)?;
    units::batches(source, unit, BATCH, &mut |batch| {
        // The disk's last unit ends with the disk.
        let there = |number: u64| (size - number * unit as u64).min(unit as u64) as usize;
        let batch: Vec<units::Unit<'_>> =
            batch.iter().map(|(number, bytes)| (*number, &bytes[..there(*number)])).collect();
        let all = packed::all(&batch, threads, &|| Packer::new(how), &Packer::pack)?;
        batch.iter().zip(all).try_for_each(|((number, bytes), packed)| {
            stream.zeros_up_to(number * unit as u64)?;
            stream.put(&packed, bytes.len() as u64)
        })
    })?;
    stream.zeros_up_to(size)?;
    stream.end()
}

/// The file as it grows.
struct Stream<'a> {
    output: &'a dyn Output,
    how: Compression,
    /// Where the next unit goes.
    at: u64,
    ends: Ends,
    /// A whole unit of zeros.
    zeros: Packed,
}

impl<'a> Stream<'a> {
    fn begin(output: &'a dyn Output, how: Compression) -> io::Result<Stream<'a>> {
        let header = Ends::header(how);
        output.write_at(0, header)?;
        let zeros = Packer::new(how)?.pack(&vec![0; how.unit()])?;
        Ok(Stream { output, how, at: header.len() as u64, ends: Ends::default(), zeros })
    }

    fn put(&mut self, packed: &Packed, bytes: u64) -> io::Result<()> {
        self.ends.count(packed, bytes);
        self.write(&packed.bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Fills up with zeros to byte `end` of the disk.
    fn zeros_up_to(&mut self, end: u64) -> io::Result<()> {
        let unit = self.how.unit() as u64;
        while end - self.ends.length() >= unit {
            self.ends.count(&self.zeros, unit);
            self.output.write_at(self.at, &self.zeros.bytes)?;
            self.at += self.zeros.bytes.len() as u64;
        }
        match end - self.ends.length() {
            0 => Ok(()),
            rest => self.put(&Packer::new(self.how)?.pack(&vec![0; rest as usize])?, rest),
        }
    }

    fn end(mut self) -> io::Result<u64> {
        self.write(&self.ends.trailer(self.how))?;
        Ok(self.at)
    }
}
