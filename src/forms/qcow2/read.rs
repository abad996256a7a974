//! Reads qcow2.

use super::{COMPRESSION, DIRTY, PACKED, PLACE, SECTOR, ZEROS};
use crate::formats::{be32_at, be64_at};
use crate::forms::mapped::{Map, Mapped, Place, Table, each_once};
use crate::forms::{Fault, Packing, Raw, Source};

/// Bytes of the header that every version has, and of all that is read of version 3.
const HEADER_2: usize = 72;
const HEADER_3: usize = 105;
/// Incompatible features that are known: the two, and a file that was marked corrupt.
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const EXTENDED: u64 = 1 << 4;
/// Largest disk: 2^60 bytes, far beyond what the tables of any size of cluster can name.
const LARGEST: u64 = 1 << 60;
/// Entries of an L1 table, at most: QEMU takes 32 MiB of them.
const L1_MAX: u64 = (32 << 20) / 8;

pub struct Tables {
    cluster_bits: u32,
    l1: u64,
    l1_entries: u64,
    packing: Packing,
    entries: [Table; 2],
}

/// Reads the header.
pub fn open(file: Raw) -> Result<Mapped<Tables>, Fault> {
    let start = file.start(HEADER_3)?;
    if start.len() < HEADER_2 {
        return Err(Fault::CutShort("its header"));
    }
    // What a header of version 2 does not have is 0.
    let u32_at = |at| be32_at(&start, at).unwrap_or_default();
    let u64_at = |at| be64_at(&start, at).unwrap_or_default();
    let version = u32_at(4);
    if !matches!(version, 2 | 3) {
        return Err(Fault::Unsupported("has another version than 2 and 3"));
    }
    if u64_at(8) != 0 {
        return Err(Fault::Refers("a backing file"));
    }
    if u32_at(32) != 0 {
        return Err(Fault::Unsupported("is encrypted"));
    }
    let features = if version == 3 { u64_at(72) } else { 0 };
    let packing = features & COMPRESSION != 0 && u32_at(100) > 104 && start.get(104) == Some(&1);
    match () {
        () if features & DATA_FILE != 0 => return Err(Fault::Refers("a data file")),
        () if features & CORRUPT != 0 => return Err(Fault::Damaged("it is marked as corrupt")),
        () if features & EXTENDED != 0 => return Err(Fault::Unsupported("has extended entries of tables")),
        () if features & !(DIRTY | COMPRESSION) != 0 => {
            return Err(Fault::Unsupported("has unknown features"));
        }
        () if features & COMPRESSION != 0 && !packing => {
            return Err(Fault::Unsupported("is compressed in an unknown way"));
        }
        () => {}
    }
    let cluster_bits = u32_at(20);
    if !(9..=21).contains(&cluster_bits) {
        return Err(Fault::Damaged("its clusters have an impossible size"));
    }
    let (size, l1, l1_entries) = (u64_at(24), u64_at(40), u64::from(u32_at(36)));
    let covered = l1_entries.saturating_mul(1 << (2 * cluster_bits - 3));
    if size > LARGEST || covered < size {
        return Err(Fault::Damaged("its table is too short for its size"));
    }
    if l1_entries > L1_MAX {
        return Err(Fault::Damaged("its table is too long"));
    }
    if l1 % (1 << cluster_bits) != 0 {
        return Err(Fault::Damaged("its table does not begin at a cluster"));
    }
    let packing = if packing { Packing::Zstd } else { Packing::Zlib };
    let tables = Tables { cluster_bits, l1, l1_entries, packing, entries: [Table::new(), Table::new()] };
    if size > 0 && (l1 == 0 || l1.checked_add(l1_entries * 8).is_none_or(|end| end > file.size())) {
        return Err(Fault::CutShort("its table"));
    }
    let used = size.div_ceil(1 << cluster_bits).div_ceil(1 << tables.l2_bits());
    each_once((0..used).map(|index| Ok(tables.l2(&file, index << tables.l2_bits())?.unwrap_or_default())))?;
    Ok(Mapped::new(file, tables, size, 1 << cluster_bits))
}

impl Tables {
    /// Entries of an L2 table, as a power of two.
    fn l2_bits(&self) -> u32 {
        self.cluster_bits - 3
    }

    /// Where the L2 table for a cluster is; `None` when there is none.
    fn l2(&self, file: &Raw, number: u64) -> Result<Option<u64>, Fault> {
        let index = number >> self.l2_bits();
        if index >= self.l1_entries {
            return Err(Fault::Damaged("a cluster is behind the end of its table"));
        }
        let entry = self.entries[0].entry("its table", file, self.l1 + index * 8)?;
        let place = u64::from_be_bytes(entry) & PLACE;
        match place {
            0 => Ok(None),
            place if place % (1 << self.cluster_bits) == 0 => Ok(Some(place)),
            _ => Err(Fault::Damaged("a table does not begin at a cluster")),
        }
    }
}

impl Map for Tables {
    fn place(&self, file: &Raw, number: u64) -> Result<Place, Fault> {
        let Some(table) = self.l2(file, number)? else { return Ok(Place::Zeros) };
        let index = number & ((1 << self.l2_bits()) - 1);
        let entry = u64::from_be_bytes(self.entries[1].entry("a table", file, table + index * 8)?);
        if entry & PACKED != 0 {
            let bits = 62 - (self.cluster_bits - 8);
            let offset = entry & ((1 << bits) - 1);
            let sectors = (entry & (PACKED - 1)) >> bits;
            let end = (offset / SECTOR + sectors + 1) * SECTOR;
            return Ok(Place::Packed { offset, length: end - offset, packing: self.packing, header: false });
        }
        let place = entry & PLACE;
        match place {
            _ if entry & ZEROS != 0 => Ok(Place::Zeros),
            0 => Ok(Place::Zeros),
            place if place % (1 << self.cluster_bits) == 0 => Ok(Place::At(place)),
            _ => Err(Fault::Damaged("a cluster is at a place where none begins")),
        }
    }

    fn skip(&self, file: &Raw, mut number: u64) -> Result<u64, Fault> {
        while number >> self.l2_bits() < self.l1_entries && self.l2(file, number)?.is_none() {
            number = ((number >> self.l2_bits()) + 1) << self.l2_bits();
        }
        Ok(number)
    }
}
