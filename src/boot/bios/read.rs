//! Reading boot slots back: which one a BIOS starts, and what it loads.
//!
//! As `slots.s` and `stage2.s` do it, so that a kernel is exchanged without touching what a BIOS may need, and so that
//! tests can say what a machine would start.

use super::{GENERATION, MBR_LBA, MBR_SECTORS, SECTOR, SECTORS, SLOT_LBA, STAGE2_SECTORS_MAX, checksum, word_sum};
use crate::boot::esp::Extent;
use crate::output::Output;
use std::io;

/// First bytes of chooser and slot.
const MAGIC: &[u8; 4] = b"BDS2";
/// Where a slot is loaded, as its addresses count from.
const BASE: usize = super::BASE;
/// The parts of a slot's table: setup sectors, protected-mode kernel, initramfs.
const PARTS: [usize; 3] = [0x20, 0x2c, 0x38];

/// A slot that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// 0 for A, 1 for B.
    pub number: usize,
    /// The higher one is started.
    pub generation: u32,
    /// Extents and checksum of setup sectors, protected-mode kernel and initramfs.
    pub parts: [(Vec<Extent>, u32); 3],
    /// Bytes of the initramfs.
    pub initramfs: u32,
    /// The command line.
    pub command_line: String,
}

/// Whether LBA 0 starts a chooser of ours that is whole, and where its slots begin, in sectors of the disk.
pub fn slots(disk: &dyn Output) -> io::Result<Option<[u64; 2]>> {
    let mut mbr = [0; 512];
    disk.read_at(0, &mut mbr)?;
    let sectors = usize::from(u16::from_le_bytes([mbr[MBR_SECTORS], mbr[MBR_SECTORS + 1]]));
    if !(1..=STAGE2_SECTORS_MAX).contains(&sectors) {
        return Ok(None);
    }
    let mut chooser = vec![0; sectors * SECTOR as usize];
    let Some(at) = u64_at(&mbr, MBR_LBA).checked_mul(SECTOR) else { return Ok(None) };
    disk.read_at(at, &mut chooser)?;
    // Disks of older versions have a second stage there and no chooser.
    let same = chooser.len() == super::code::slots().len() && chooser[0x50..] == super::code::slots()[0x50..];
    Ok((same && word_sum(&chooser) == 0).then(|| SLOT_LBA.map(|at| u64_at(&chooser, at))))
}

/// The slot that a BIOS starts; `None` when neither is whole.
pub fn active(disk: &dyn Output) -> io::Result<Option<Slot>> {
    let Some(places) = slots(disk)? else { return Ok(None) };
    let mut found: Vec<Slot> = Vec::new();
    for (number, lba) in places.into_iter().enumerate() {
        found.extend(read(disk, number, lba)?);
    }
    // Of two equal ones the first, as the chooser has it.
    Ok(found.into_iter().rev().max_by_key(|slot| slot.generation))
}

/// The slot at `lba`; `None` when it is not whole.
fn read(disk: &dyn Output, number: usize, lba: u64) -> io::Result<Option<Slot>> {
    let mut head = [0; SECTOR as usize];
    let Some(at) = lba.checked_mul(SECTOR) else { return Ok(None) };
    disk.read_at(at, &mut head)?;
    let sectors = usize::from(u16_at(&head, SECTORS));
    if !head.starts_with(MAGIC) || !(1..=STAGE2_SECTORS_MAX).contains(&sectors) {
        return Ok(None);
    }
    let mut bytes = vec![0; sectors * SECTOR as usize];
    disk.read_at(at, &mut bytes)?;
    Ok((word_sum(&bytes) == 0).then(|| decode(&bytes, number)).flatten())
}

fn decode(bytes: &[u8], number: usize) -> Option<Slot> {
    let place = |at: usize| usize::from(u16_at(bytes, at)).checked_sub(BASE);
    let part = |at: usize| {
        let count = usize::from(u16_at(bytes, at + 10));
        let table = bytes.get(place(at + 8)?..)?.get(..count * 12)?;
        let extent = |entry: &[u8]| Extent { lba: u64_at(entry, 0), sectors: u32_at(entry, 8) };
        Some((table.chunks_exact(12).map(extent).collect(), u32_at(bytes, at + 4)))
    };
    let line = bytes.get(place(0x18)?..)?.get(..usize::from(u16_at(bytes, 0x1a)).checked_sub(1)?)?;
    let [setup, kernel, initramfs] = PARTS.map(part);
    Some(Slot {
        number,
        generation: u32_at(bytes, GENERATION),
        parts: [setup?, kernel?, initramfs?],
        initramfs: u32_at(bytes, 0x14),
        command_line: String::from_utf8_lossy(line).into_owned(),
    })
}

impl Slot {
    /// What it loads: kernel and initramfs; `None` when a checksum is wrong, so that the stage would stop.
    pub fn load(&self, disk: &dyn Output) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let mut parts = Vec::new();
        for (extents, sum) in &self.parts {
            let mut bytes = Vec::new();
            for extent in extents {
                let start = bytes.len();
                bytes.resize(start + extent.sectors as usize * SECTOR as usize, 0);
                disk.read_at(extent.lba.saturating_mul(SECTOR), &mut bytes[start..])?;
            }
            if checksum(&bytes) != *sum {
                return Ok(None);
            }
            parts.push(bytes);
        }
        let mut initramfs = parts.pop().unwrap_or_default();
        initramfs.truncate(self.initramfs as usize);
        Ok(Some((parts.concat(), initramfs)))
    }
}

/// A little-endian field. Callers know that it is there.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
