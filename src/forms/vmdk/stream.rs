//! Writes `streamOptimized`: packed grains behind each other, the tables behind them, as an OVF package carries it.

use super::{AT_END, COMPRESSED, DESCRIPTOR_SECTORS, ENTRIES, GRAIN, Header, MARKERS, NEWLINES, SECTOR};
use crate::forms::deflate::{Around, Deflate};
use crate::forms::{Source, packed, units};
use crate::output::Output;
use std::io;

/// Bytes that are packed at a time.
const BATCH: usize = 8 << 20;
const WINDOW_BITS: u8 = 15;
/// Kinds of markers: the end, a table, the directory, the footer.
const END: u32 = 0;
const TABLE: u32 = 1;
const DIRECTORY: u32 = 2;
const FOOTER: u32 = 3;
/// `compressAlgorithm` of Deflate.
const DEFLATE: u16 = 1;

/// Writes a disk; see [`crate::forms::write`].
pub fn write(source: &dyn Source, output: &dyn Output, threads: usize) -> io::Result<u64> {
    let capacity = super::capacity(source)?;
    let mut stream =
        Stream { output, sector: GRAIN, tables: vec![0; capacity.div_ceil(GRAIN * ENTRIES) as usize], table: None };
    units::batches(source, (GRAIN * SECTOR) as usize, BATCH, &mut |batch| {
        let all = packed::all(batch, threads, &|| Deflate::new(WINDOW_BITS, Around::Zlib), &pack)?;
        batch.iter().zip(all).try_for_each(|((number, _), packed)| stream.grain(*number, &packed))
    })?;
    stream.write_table()?;
    let directory = super::little_endian(&stream.tables);
    stream.marker(directory.len() as u64 / SECTOR, DIRECTORY)?;
    let place = stream.sector;
    stream.put(&directory)?;
    let header = Header {
        version: 3,
        flags: NEWLINES | COMPRESSED | MARKERS,
        capacity,
        grain: GRAIN,
        descriptor: 1,
        descriptor_length: DESCRIPTOR_SECTORS,
        entries: ENTRIES as u32,
        redundant: 0,
        directory: place,
        overhead: GRAIN,
        compression: DEFLATE,
    };
    stream.marker(1, FOOTER)?;
    stream.put(&header.bytes())?;
    stream.marker(0, END)?;
    output.write_at(SECTOR, &super::descriptor(source, "streamOptimized", capacity)?)?;
    output.write_at(0, &Header { directory: AT_END, ..header }.bytes())?;
    Ok(stream.sector * SECTOR)
}

fn pack(deflate: &mut Deflate, bytes: &[u8]) -> io::Result<Vec<u8>> {
    // What cannot be packed grows by five bytes in each 16 KiB and the ends.
    let packed = deflate.pack(bytes, bytes.len() + bytes.len() / 1024 + 64)?;
    packed.ok_or_else(|| io::Error::other("a grain grew when it was packed"))
}

/// The file as it grows.
struct Stream<'a> {
    output: &'a dyn Output,
    /// Where the next thing goes.
    sector: u64,
    /// The place of each table; 0 for none.
    tables: Vec<u32>,
    /// The table that grains are put into.
    table: Option<(u64, Vec<u32>)>,
}

impl Stream<'_> {
    /// Writes whole sectors.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sectors = bytes.to_vec();
        sectors.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        self.output.write_at(self.sector * SECTOR, &sectors)?;
        self.sector += sectors.len() as u64 / SECTOR;
        match u32::try_from(self.sector) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::new(io::ErrorKind::FileTooLarge, "this form ends at 2 TiB")),
        }
    }

    fn marker(&mut self, sectors: u64, kind: u32) -> io::Result<()> {
        let size = 0u32;
        self.put(&[&sectors.to_le_bytes()[..], &size.to_le_bytes(), &kind.to_le_bytes()].concat())
    }

    fn grain(&mut self, number: u64, packed: &[u8]) -> io::Result<()> {
        if self.table.as_ref().is_none_or(|(table, _)| *table != number / ENTRIES) {
            self.write_table()?;
            self.table = Some((number / ENTRIES, vec![0; ENTRIES as usize]));
        }
        if let Some((_, entries)) = &mut self.table {
            entries[(number % ENTRIES) as usize] = self.sector as u32;
        }
        let length = packed.len() as u32;
        self.put(&[&(number * GRAIN).to_le_bytes()[..], &length.to_le_bytes(), packed].concat())
    }

    fn write_table(&mut self) -> io::Result<()> {
        let Some((number, entries)) = self.table.take() else { return Ok(()) };
        let bytes = super::little_endian(&entries);
        self.marker(bytes.len() as u64 / SECTOR, TABLE)?;
        self.tables[number as usize] = self.sector as u32;
        self.put(&bytes)
    }
}
