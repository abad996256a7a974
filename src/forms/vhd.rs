//! VHD: Virtual PC's form, which Azure takes.
//!
//! ```text
//! fixed    bodies, byte after byte ─ footer (512)
//! dynamic  copy of the footer ─ header (1024) ─ map: one u32 a block, its sector or -1 ─ blocks ─ footer
//!          block: which of its sectors are in use (512) ─ 2 MiB                             (big-endian)
//! ```
//!
//! Written: both, with the creator that makes readers believe the size and not a geometry of cylinders, which cannot say
//! every size. Read: both. Not supported: differencing disks.
//! Specification: Microsoft, Virtual Hard Disk Image Format Specification 1.0.

use super::identifier::identifier;
use super::mapped::{Map, Mapped, Place, Table};
use super::{Fault, Form, Raw, Source, raw, units};
use crate::formats::{be32_at, be64_at};
use crate::output::Output;
use std::io;

pub(super) const COOKIE: &[u8] = b"conectix";
const HEADER_COOKIE: &[u8] = b"cxsparse";
const SECTOR: u64 = 512;
const BLOCK: u64 = 2 << 20;
/// Where a dynamic disk has its header and its map.
const HEADER: u64 = 512;
const HEADER_BYTES: usize = 1024;
const MAP: u64 = HEADER + HEADER_BYTES as u64;
const ABSENT: u32 = u32::MAX;
const FIXED: u32 = 2;
const DYNAMIC: u32 = 3;
/// Places are sectors in 32 bits; Azure and Hyper-V end a little earlier.
const LARGEST: u64 = 2040 << 30;
/// Where footer and header have their checksums.
const FOOTER_SUM: usize = 64;
const HEADER_SUM: usize = 36;

/// Writes a disk that grows; see [`super::write`].
pub(super) fn write(source: &dyn Source, output: &dyn Output) -> io::Result<u64> {
    let size = source.size().next_multiple_of(SECTOR);
    let footer = footer(source, size, DYNAMIC)?;
    let mut map = vec![ABSENT; size.div_ceil(BLOCK) as usize];
    let mut next = (MAP + map.len() as u64 * 4).next_multiple_of(SECTOR);
    let in_use = [0xff; SECTOR as usize];
    let map_end = next;
    units::each(source, BLOCK as usize, &mut |number, bytes| {
        map[number as usize] = (next / SECTOR) as u32;
        output.write_at(next, &in_use)?;
        units::write_filled(output, next + SECTOR, bytes)?;
        next += SECTOR + BLOCK;
        Ok(())
    })?;
    let mut bytes: Vec<u8> = map.iter().flat_map(|place| place.to_be_bytes()).collect();
    bytes.resize((map_end - MAP) as usize, 0xff);
    output.write_at(MAP, &bytes)?;
    output.write_at(HEADER, &header(map.len() as u32))?;
    output.write_at(next, &footer)?;
    output.write_at(0, &footer)?;
    Ok(next + SECTOR)
}

/// Writes the bytes as they are, up to a whole MiB; see [`super::write`].
pub(super) fn write_fixed(source: &dyn Source, output: &dyn Output) -> io::Result<u64> {
    let size = source.size().next_multiple_of(1 << 20);
    let footer = footer(source, size, FIXED)?;
    raw::write(source, output)?;
    output.write_at(size, &footer)?;
    Ok(size + SECTOR)
}

fn footer(source: &dyn Source, size: u64, kind: u32) -> io::Result<[u8; SECTOR as usize]> {
    if size > LARGEST {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "a disk of more than 2040 GiB has no form of this kind",
        ));
    }
    let header = if kind == DYNAMIC { HEADER } else { u64::MAX };
    let mut bytes = COOKIE.to_vec();
    // Features (a bit that is always set), version 1.0.
    bytes.extend([2u32, 0x0001_0000].map(u32::to_be_bytes).concat());
    bytes.extend(header.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(b"win \x00\x0a\x00\x00Wi2k");
    bytes.extend([size, size].map(u64::to_be_bytes).concat());
    let (cylinders, heads, sectors) = geometry(size / SECTOR);
    bytes.extend(cylinders.to_be_bytes());
    bytes.extend([heads, sectors]);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(identifier(source, "vhd")?.as_bytes());
    let mut footer = [0; SECTOR as usize];
    footer[..bytes.len()].copy_from_slice(&bytes);
    let sum = checksum(&footer, FOOTER_SUM);
    footer[FOOTER_SUM..FOOTER_SUM + 4].copy_from_slice(&sum.to_be_bytes());
    Ok(footer)
}

fn header(blocks: u32) -> Vec<u8> {
    let mut header = HEADER_COOKIE.to_vec();
    header.extend([u64::MAX, MAP].map(u64::to_be_bytes).concat());
    header.extend([0x0001_0000, blocks, BLOCK as u32].map(u32::to_be_bytes).concat());
    header.resize(HEADER_BYTES, 0);
    let sum = checksum(&header, HEADER_SUM);
    header[HEADER_SUM..HEADER_SUM + 4].copy_from_slice(&sum.to_be_bytes());
    header
}

/// The complement of the sum of all bytes but the sum's own.
fn checksum(bytes: &[u8], sum_at: usize) -> u32 {
    let all = bytes.iter().enumerate().filter(|(at, _)| !(sum_at..sum_at + 4).contains(at));
    !all.map(|(_, byte)| u32::from(*byte)).fold(0, u32::wrapping_add)
}

/// Cylinders, heads and sectors, by the specification's appendix "CHS Calculation".
fn geometry(sectors: u64) -> (u16, u8, u8) {
    const MOST: u64 = 65_535 * 16 * 255;
    let sectors = sectors.min(MOST);
    if sectors >= 65_535 * 16 * 63 {
        return ((sectors / 255 / 16) as u16, 16, 255);
    }
    let (mut of_track, mut tracks) = (17, sectors / 17);
    let mut heads = tracks.div_ceil(1024).max(4);
    if tracks >= heads * 1024 || heads > 16 {
        (of_track, heads) = (31, 16);
        tracks = sectors / of_track;
    }
    if tracks >= heads * 1024 {
        (of_track, heads) = (63, 16);
        tracks = sectors / of_track;
    }
    ((tracks / heads) as u16, heads as u8, of_track as u8)
}

/// Whether it is this form, and which; what has no footer is raw.
pub(super) fn form_of(file: &Raw, start: &[u8]) -> Result<Form, Fault> {
    if start.starts_with(COOKIE) {
        return Ok(Form::Vhd);
    }
    let footer = file.bytes(file.size().saturating_sub(SECTOR), file.size().min(SECTOR) as usize)?;
    Ok(if footer.starts_with(COOKIE) { Form::VhdFixed } else { Form::Raw })
}

/// Opens a disk of this form by its footer; what has none is raw.
pub(super) fn open(file: Raw, start: &[u8]) -> Result<Box<dyn Source>, Fault> {
    let end = file.size().saturating_sub(SECTOR);
    let footer = file.bytes(end, (file.size() - end) as usize)?;
    let footer = match footer.starts_with(COOKIE) {
        true => footer,
        // The copy at the start stands for one that was lost with the file's end.
        false if start.starts_with(COOKIE) && start.len() >= SECTOR as usize => start[..SECTOR as usize].to_vec(),
        false => return Ok(Box::new(file)),
    };
    let number = |at| be32_at(&footer, at).unwrap_or_default();
    let long = |at| be64_at(&footer, at).unwrap_or_default();
    if number(FOOTER_SUM) != checksum(&footer, FOOTER_SUM) {
        return Err(Fault::Damaged("the checksum of its footer is wrong"));
    }
    let size = long(48);
    match number(60) {
        FIXED if size <= end => Ok(Box::new(file.within(0, size)?)),
        FIXED => Err(Fault::CutShort("a part of the disk")),
        DYNAMIC => Ok(Box::new(dynamic(file, long(16), size)?)),
        4 => Err(Fault::Refers("a parent")),
        _ => Err(Fault::Unsupported("is of an unknown kind")),
    }
}

fn dynamic(file: Raw, header: u64, size: u64) -> Result<Mapped<Blocks>, Fault> {
    let header = file.part("its header", header, HEADER_BYTES)?;
    let number = |at| be32_at(&header, at).unwrap_or_default();
    let long = |at| be64_at(&header, at).unwrap_or_default();
    if !header.starts_with(HEADER_COOKIE) || number(HEADER_SUM) != checksum(&header, HEADER_SUM) {
        return Err(Fault::Damaged("its header is not one"));
    }
    let (map, blocks, block) = (long(16), u64::from(number(28)), u64::from(number(32)));
    if !block.is_power_of_two() || !(SECTOR..=256 << 20).contains(&block) {
        return Err(Fault::Damaged("its blocks have an impossible size"));
    }
    if blocks * block < size {
        return Err(Fault::Damaged("its map is too short for its size"));
    }
    if map.checked_add(blocks * 4).is_none_or(|end| end > file.size()) {
        return Err(Fault::CutShort("its map"));
    }
    // A bit for each sector, in whole sectors.
    let bits = (block / SECTOR / 8).next_multiple_of(SECTOR);
    Ok(Mapped::new(file, Blocks { map, bits, pages: Table::new() }, size, block))
}

pub(super) struct Blocks {
    map: u64,
    bits: u64,
    pages: Table,
}

impl Map for Blocks {
    fn place(&self, file: &Raw, number: u64) -> Result<Place, Fault> {
        match u32::from_be_bytes(self.pages.entry("its map", file, self.map + number * 4)?) {
            ABSENT => Ok(Place::Zeros),
            sector => Ok(Place::At(u64::from(sector) * SECTOR + self.bits)),
        }
    }
}
