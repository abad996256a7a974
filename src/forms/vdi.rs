//! VDI: VirtualBox's form.
//!
//! ```text
//! header (512) ─▶ map: one u32 a block of 1 MiB, the number of its body or -1 ─▶ bodies      (little-endian)
//! ```
//!
//! Written: the form that grows ("dynamic"). Read: that and the fixed one. Not supported: differencing disks.
//! Source: VirtualBox's VDICore.h; QEMU's block/vdi.c.

use super::identifier::identifier;
use super::mapped::{Map, Mapped, Place, Table};
use super::{Fault, Raw, Source, units};
use crate::formats::{u32_at, u64_at};
use crate::output::Output;
use std::io;

const SIGNATURE: u32 = 0xbeda_107f;
const VERSION: u32 = 0x0001_0001;
const BLOCK: u32 = 1 << 20;
/// Where the map begins, and what it is rounded to.
const MAP: u64 = 512;
/// A block that is nowhere, and one that was discarded.
const ABSENT: u32 = u32::MAX;
const DISCARDED: u32 = u32::MAX - 1;
/// Length of the header behind its first 72 bytes.
const HEADER: u32 = 0x190;
const DYNAMIC: u32 = 1;
const FIXED: u32 = 2;

/// Whether a file begins as one.
pub(super) fn is_vdi(start: &[u8]) -> bool {
    u32_at(start, 64) == Some(SIGNATURE)
}

/// Writes a disk; see [`super::write`].
pub(super) fn write(source: &dyn Source, output: &dyn Output) -> io::Result<u64> {
    let blocks = u32::try_from(source.size().div_ceil(u64::from(BLOCK))).ok().filter(|blocks| *blocks < DISCARDED / 4);
    let too_large =
        || io::Error::new(io::ErrorKind::FileTooLarge, "a disk of more than 1 PiB has no form of this kind");
    let blocks = blocks.ok_or_else(too_large)?;
    let data = (MAP + u64::from(blocks) * 4).next_multiple_of(u64::from(BLOCK));
    let mut map = vec![ABSENT; blocks as usize];
    let mut used = 0u32;
    units::each(source, BLOCK as usize, &mut |number, bytes| {
        map[number as usize] = used;
        units::write_filled(output, data + u64::from(used) * u64::from(BLOCK), bytes)?;
        used += 1;
        Ok(())
    })?;
    let bytes: Vec<u8> = map.iter().flat_map(|place| place.to_le_bytes()).collect();
    output.write_at(MAP, &bytes)?;
    let end = data + u64::from(used) * u64::from(BLOCK);
    if used == 0 {
        output.write_at(end - 1, &[0])?;
    }
    output.write_at(0, &header(source, blocks, used, data)?)?;
    Ok(end)
}

fn header(source: &dyn Source, blocks: u32, used: u32, data: u64) -> io::Result<Vec<u8>> {
    let mut header = b"<<< Oracle VM VirtualBox Disk Image >>>\n".to_vec();
    header.resize(64, 0);
    let mut words = |words: &[u32]| words.iter().for_each(|word| header.extend(word.to_le_bytes()));
    words(&[SIGNATURE, VERSION, HEADER, DYNAMIC, 0]);
    words(&[0; 64]);
    // Cylinders, heads and sectors are for those who ask no size.
    words(&[MAP as u32, data as u32, 0, 0, 0, 512, 0]);
    let size = source.size().next_multiple_of(512);
    words(&[size as u32, (size >> 32) as u32, BLOCK, 0, blocks, used]);
    // Its own identifier and that of its last change; no parent.
    header.extend(identifier(source, "vdi")?.to_bytes_le());
    header.extend(identifier(source, "vdi change")?.to_bytes_le());
    header.resize(MAP as usize, 0);
    Ok(header)
}

pub(super) struct Blocks {
    map: u64,
    data: u64,
    block: u64,
    extra: u64,
    pages: Table,
}

/// Reads the header.
pub(super) fn open(file: Raw) -> Result<Mapped<Blocks>, Fault> {
    let header = file.part("its header", 0, MAP as usize)?;
    let word = |at| u32_at(&header, at).unwrap_or_default();
    if word(68) >> 16 != 1 {
        return Err(Fault::Unsupported("has an unknown version"));
    }
    match word(76) {
        DYNAMIC | FIXED => {}
        _ => return Err(Fault::Refers("a parent")),
    }
    let (map, data, size) = (u64::from(word(340)), u64::from(word(344)), u64_at(&header, 368).unwrap_or_default());
    let (block, extra, blocks) = (u64::from(word(376)), u64::from(word(380)), u64::from(word(384)));
    if !block.is_power_of_two() || !(4096..=256 << 20).contains(&block) || extra > block {
        return Err(Fault::Damaged("its blocks have an impossible size"));
    }
    if blocks.checked_mul(block).is_none_or(|covered| covered < size) {
        return Err(Fault::Damaged("its map is too short for its size"));
    }
    if map + blocks * 4 > file.size() {
        return Err(Fault::CutShort("its map"));
    }
    Ok(Mapped::new(file, Blocks { map, data, block, extra, pages: Table::new() }, size, block))
}

impl Map for Blocks {
    fn place(&self, file: &Raw, number: u64) -> Result<Place, Fault> {
        let at = self.map + number * 4;
        match u32::from_le_bytes(self.pages.entry("its map", file, at)?) {
            ABSENT | DISCARDED => Ok(Place::Zeros),
            body => Ok(Place::At(self.data + u64::from(body) * (self.block + self.extra) + self.extra)),
        }
    }
}
