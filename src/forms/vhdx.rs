//! VHDX: Hyper-V's form.
//!
//! ```text
//! 0       name of the format          64, 128 KiB  two headers, the later one counts
//! 192, 256 KiB  region tables ─▶ metadata: size, blocks, sectors
//!                              └▶ block allocation table: one u64 a block ─▶ blocks          (little-endian)
//! ```
//!
//! After each `chunk ratio` blocks the table has an entry for a bitmap, which only differencing disks use. Written: disks
//! that grow, blocks of 2 MiB, with an empty log. Not supported: differencing disks, a log that must be replayed.
//! Specification: Microsoft, [MS-VHDX] Virtual Hard Disk v2 File Format.

use super::identifier::identifier;
use super::mapped::{Map, Mapped, Place, Table};
use super::{Fault, Raw, Source, units};
use crate::formats::{u16_at, u32_at, u64_at};
use crate::output::Output;
use std::io;
use uuid::Uuid;

/// The first bytes.
pub(super) const MAGIC: &[u8] = b"vhdxfile";
const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;
const HEADERS: [u64; 2] = [64 * KIB, 128 * KIB];
const HEADER: usize = 4096;
const REGIONS: [u64; 2] = [192 * KIB, 256 * KIB];
const REGION_TABLE: usize = 64 << 10;
const LOG: u64 = MIB;
const METADATA: u64 = 2 * MIB;
const ALLOCATION: u64 = 3 * MIB;
const BLOCK: u64 = 2 * MIB;
const SECTOR: u32 = 512;
/// The specification's largest disk.
const LARGEST: u64 = 64 << 40;
/// Sectors that one bitmap is about.
const CHUNK: u64 = 1 << 23;
/// Most entries of the two tables.
const ENTRIES: u16 = 2047;
/// Where the metadata's values begin, in their region.
const VALUES: usize = 64 << 10;
/// State of a block: all of it is there.
const PRESENT: u64 = 6;
const PARTLY: u64 = 7;

const ALLOCATION_REGION: Uuid = Uuid::from_u128(0x2dc27766_f623_4200_9d64_115e9bfd4a08);
const METADATA_REGION: Uuid = Uuid::from_u128(0x8b7ca206_4790_4b9a_b8fe_575f050f886e);
const FILE_PARAMETERS: Uuid = Uuid::from_u128(0xcaa16737_fa36_4d43_b3b6_33f0aa44e76b);
const DISK_SIZE: Uuid = Uuid::from_u128(0x2fa54224_cd1b_4876_b211_5dbed83bf4b8);
const DISK_ID: Uuid = Uuid::from_u128(0xbeca12ab_b2e6_4523_93ef_c309e000c746);
const LOGICAL_SECTOR: Uuid = Uuid::from_u128(0x8141bf1d_a96f_4709_ba47_f233a8faab5f);
const PHYSICAL_SECTOR: Uuid = Uuid::from_u128(0xcda348c7_445d_4471_9cc9_e9885251c556);

/// Writes a disk; see [`super::write`].
pub(super) fn write(source: &dyn Source, output: &dyn Output) -> io::Result<u64> {
    let size = source.size().next_multiple_of(u64::from(SECTOR));
    if size > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a disk of more than 64 TiB has no form of this kind"));
    }
    let ratio = CHUNK * u64::from(SECTOR) / BLOCK;
    let blocks = size.div_ceil(BLOCK);
    let mut table = vec![0u64; (blocks + blocks.saturating_sub(1) / ratio) as usize];
    let table_length = (table.len() as u64 * 8).next_multiple_of(MIB).max(MIB);
    let mut next = ALLOCATION + table_length;
    units::each(source, BLOCK as usize, &mut |number, bytes| {
        table[(number + number / ratio) as usize] = next | PRESENT;
        units::write_filled(output, next, bytes)?;
        next += BLOCK;
        Ok(())
    })?;
    let bytes: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    output.write_at(ALLOCATION, &bytes)?;
    // Up to the end of the last region there is a file, also where no block is.
    if next == ALLOCATION + table_length {
        output.write_at(next - 1, &[0])?;
    }
    output.write_at(METADATA, &metadata(source, size)?)?;
    for place in REGIONS {
        output.write_at(place, &regions(table_length))?;
    }
    for (place, sequence) in HEADERS.into_iter().zip(1..) {
        output.write_at(place, &header(source, sequence)?)?;
    }
    let name: Vec<u8> = "bootdisk".encode_utf16().flat_map(u16::to_le_bytes).collect();
    output.write_at(0, &[MAGIC, &name].concat())?;
    Ok(next)
}

fn header(source: &dyn Source, sequence: u64) -> io::Result<Vec<u8>> {
    let mut header = b"head\0\0\0\0".to_vec();
    header.extend(sequence.to_le_bytes());
    header.extend(identifier(source, "vhdx file")?.to_bytes_le());
    header.extend(identifier(source, "vhdx data")?.to_bytes_le());
    // No log: its identifier is zeros.
    header.extend([0; 16]);
    header.extend([0u16, 1].map(u16::to_le_bytes).concat());
    header.extend((MIB as u32).to_le_bytes());
    header.extend(LOG.to_le_bytes());
    header.resize(HEADER, 0);
    Ok(summed(header))
}

fn regions(table_length: u64) -> Vec<u8> {
    let mut table = b"regi\0\0\0\0".to_vec();
    table.extend([2u32, 0].map(u32::to_le_bytes).concat());
    for (id, place, length) in [(ALLOCATION_REGION, ALLOCATION, table_length), (METADATA_REGION, METADATA, MIB)] {
        table.extend(id.to_bytes_le());
        table.extend(place.to_le_bytes());
        table.extend([length as u32, 1].map(u32::to_le_bytes).concat());
    }
    table.resize(REGION_TABLE, 0);
    summed(table)
}

fn metadata(source: &dyn Source, size: u64) -> io::Result<Vec<u8>> {
    const REQUIRED: u32 = 4;
    const OF_THE_DISK: u32 = 2;
    let sector = SECTOR.to_le_bytes().to_vec();
    let values = [
        (FILE_PARAMETERS, REQUIRED, [(BLOCK as u32).to_le_bytes(), [0; 4]].concat()),
        (DISK_SIZE, REQUIRED | OF_THE_DISK, size.to_le_bytes().to_vec()),
        (DISK_ID, REQUIRED | OF_THE_DISK, identifier(source, "vhdx disk")?.to_bytes_le().to_vec()),
        (LOGICAL_SECTOR, REQUIRED | OF_THE_DISK, sector.clone()),
        (PHYSICAL_SECTOR, REQUIRED | OF_THE_DISK, sector),
    ];
    let mut table = b"metadata".to_vec();
    table.extend([0u16, values.len() as u16].map(u16::to_le_bytes).concat());
    table.resize(32, 0);
    let mut bodies = Vec::new();
    for (id, flags, value) in values {
        table.extend(id.to_bytes_le());
        table.extend([(VALUES + bodies.len()) as u32, value.len() as u32, flags, 0].map(u32::to_le_bytes).concat());
        bodies.extend(value);
    }
    table.resize(VALUES, 0);
    table.extend(bodies);
    table.resize(MIB as usize, 0);
    Ok(table)
}

/// Enters the checksum, at byte 4 of every structure that has one.
fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc32c::crc32c(&bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Whether a structure has its signature and the right checksum.
fn is_whole(bytes: &[u8], signature: &[u8]) -> bool {
    let mut copy = bytes.to_vec();
    copy[4..8].fill(0);
    bytes.starts_with(signature) && u32_at(bytes, 4) == Some(crc32c::crc32c(&copy))
}

fn guid(bytes: &[u8], at: usize) -> Option<Uuid> {
    bytes.get(at..)?.first_chunk().map(|bytes| Uuid::from_bytes_le(*bytes))
}

pub(super) struct Blocks {
    table: u64,
    ratio: u64,
    pages: Table,
}

/// Reads the header, the regions and the metadata.
pub(super) fn open(file: Raw) -> Result<Mapped<Blocks>, Fault> {
    let header = HEADERS.iter().filter_map(|place| file.part("its header", *place, HEADER).ok());
    let header = header.filter(|header| is_whole(header, b"head")).max_by_key(|header| u64_at(header, 8));
    let header = header.ok_or(Fault::Damaged("it has no complete header"))?;
    if u16_at(&header, 66) != Some(1) {
        return Err(Fault::Unsupported("has an unknown version"));
    }
    if guid(&header, 48) != Some(Uuid::nil()) {
        return Err(Fault::Unsupported("has a log that must be replayed"));
    }
    let (table, table_length) = region(&file, ALLOCATION_REGION)?;
    let (metadata, metadata_length) = region(&file, METADATA_REGION)?;
    let values = file.part("its metadata", metadata, metadata_length.min(MIB) as usize)?;
    let parameters = value(&values, FILE_PARAMETERS, 8)?;
    let (block, flags) = (u64::from(u32_at(parameters, 0).unwrap_or_default()), u32_at(parameters, 4));
    let size = u64_at(value(&values, DISK_SIZE, 8)?, 0).unwrap_or_default();
    let sector = u64::from(u32_at(value(&values, LOGICAL_SECTOR, 4)?, 0).unwrap_or_default());
    match () {
        () if flags.is_none_or(|flags| flags & 2 != 0) => return Err(Fault::Refers("a parent")),
        () if !block.is_power_of_two() || !(MIB..=256 * MIB).contains(&block) => {
            return Err(Fault::Damaged("its blocks have an impossible size"));
        }
        () if sector != 512 && sector != 4096 => {
            return Err(Fault::Damaged("its sectors have an impossible size"));
        }
        () if size > LARGEST => return Err(Fault::Damaged("its size is not one")),
        () => {}
    }
    let (ratio, blocks) = (CHUNK * sector / block, size.div_ceil(block));
    let entries = blocks + blocks.saturating_sub(1) / ratio;
    if entries * 8 > table_length {
        return Err(Fault::Damaged("its table is too short for its size"));
    }
    Ok(Mapped::new(file, Blocks { table, ratio, pages: Table::new() }, size, block))
}

/// Place and length of a region.
fn region(file: &Raw, wanted: Uuid) -> Result<(u64, u64), Fault> {
    let tables = REGIONS.iter().filter_map(|place| file.part("its regions", *place, REGION_TABLE).ok());
    let table = tables.into_iter().find(|table| is_whole(table, b"regi"));
    let table = table.ok_or(Fault::Damaged("it has no complete table of regions"))?;
    let count = u32_at(&table, 8).unwrap_or_default().min(ENTRIES.into());
    let entry = (0..count as usize).map(|entry| 16 + entry * 32).find(|at| guid(&table, *at) == Some(wanted));
    let at = entry.ok_or(Fault::Damaged("a region is not there"))?;
    let (place, length) = (u64_at(&table, at + 16), u32_at(&table, at + 24).map(u64::from));
    place.zip(length).filter(|(place, _)| *place >= MIB).ok_or(Fault::Damaged("a region is not where one can be"))
}

/// A value of the metadata, of at least `least` bytes.
fn value(values: &[u8], wanted: Uuid, least: usize) -> Result<&[u8], Fault> {
    let count = if values.starts_with(b"metadata") { u16_at(values, 10).unwrap_or_default() } else { 0 };
    let entry = (0..usize::from(count.min(ENTRIES))).map(|entry| 32 + entry * 32);
    let found = entry.into_iter().find(|at| guid(values, *at) == Some(wanted));
    let place = found.and_then(|at| u32_at(values, at + 16)).map(|place| place as usize);
    let bytes = place.and_then(|place| values.get(place..place.checked_add(least)?));
    bytes.ok_or(Fault::Damaged("a value of its metadata is not there"))
}

impl Map for Blocks {
    fn place(&self, file: &Raw, number: u64) -> Result<Place, Fault> {
        let at = self.table + (number + number / self.ratio) * 8;
        let entry = u64::from_le_bytes(self.pages.entry("its table", file, at)?);
        match entry & 7 {
            PRESENT => Ok(Place::At(entry & !(MIB - 1))),
            PARTLY => Err(Fault::Refers("a parent")),
            _ => Ok(Place::Zeros),
        }
    }
}
