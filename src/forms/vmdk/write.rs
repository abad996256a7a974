//! Writes `monolithicSparse`: all tables lie before the grains, as hosts that write to the disk expect them.

use super::{DESCRIPTOR_SECTORS, ENTRIES, GRAIN, Header, NEWLINES, REDUNDANT, SECTOR};
use crate::forms::{Source, units};
use crate::output::Output;
use std::io;

/// Sectors of a table.
const TABLE: u64 = ENTRIES * 4 / SECTOR;

/// Writes a disk; see [`crate::forms::write`].
pub fn write(source: &dyn Source, output: &dyn Output) -> io::Result<u64> {
    let capacity = super::capacity(source)?;
    let tables = capacity.div_ceil(GRAIN * ENTRIES);
    let directory_sectors = (tables * 4).div_ceil(SECTOR);
    let redundant = 1 + DESCRIPTOR_SECTORS;
    let directory = redundant + directory_sectors + tables * TABLE;
    let overhead = (directory + directory_sectors + tables * TABLE).next_multiple_of(GRAIN);

    let mut next = overhead;
    let mut table = Table { number: 0, entries: vec![0; ENTRIES as usize], used: false };
    let tables_of = [redundant, directory].map(|directory| directory + directory_sectors);
    units::each(source, (GRAIN * SECTOR) as usize, &mut |number, bytes| {
        if number / ENTRIES != table.number {
            table.write(output, tables_of)?;
            table.number = number / ENTRIES;
        }
        units::write_filled(output, next * SECTOR, bytes)?;
        // Below 2^32 by the limit of the capacity.
        table.entries[(number % ENTRIES) as usize] = next as u32;
        table.used = true;
        next += GRAIN;
        Ok(())
    })?;
    table.write(output, tables_of)?;

    for first in tables_of {
        let places: Vec<u32> = (0..tables).map(|table| (first + table * TABLE) as u32).collect();
        output.write_at((first - directory_sectors) * SECTOR, &super::little_endian(&places))?;
    }
    output.write_at(SECTOR, &super::descriptor(source, "monolithicSparse", capacity)?)?;
    let header = Header {
        version: 1,
        flags: NEWLINES | REDUNDANT,
        capacity,
        grain: GRAIN,
        descriptor: 1,
        descriptor_length: DESCRIPTOR_SECTORS,
        entries: ENTRIES as u32,
        redundant,
        directory,
        overhead,
        compression: 0,
    };
    // Up to its last sector there is a file, also where no grain is.
    if next == overhead {
        output.write_at(next * SECTOR - 1, &[0])?;
    }
    output.write_at(0, &header.bytes())?;
    Ok(next * SECTOR)
}

/// The table that grains are put into.
struct Table {
    number: u64,
    entries: Vec<u32>,
    used: bool,
}

impl Table {
    /// Writes it into both places and begins an empty one. One without a grain is a hole already.
    fn write(&mut self, output: &dyn Output, places: [u64; 2]) -> io::Result<()> {
        if self.used {
            let bytes = super::little_endian(&self.entries);
            for place in places {
                output.write_at((place + self.number * TABLE) * SECTOR, &bytes)?;
            }
        }
        self.entries.fill(0);
        self.used = false;
        Ok(())
    }
}
