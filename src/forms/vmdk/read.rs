//! Reads VMDK.

use super::{AT_END, COMPRESSED, MARKERS, SECTOR};
use crate::formats::{u16_at, u32_at, u64_at};
use crate::forms::mapped::{Map, Mapped, Place, Table, each_once};
use crate::forms::{Fault, Packing, Raw, Source};

/// Bytes of a header that say something.
const HEADER: usize = 79;
/// Longest descriptor that is read, in bytes.
const LONGEST: u64 = 1 << 20;
/// Largest grain and most entries of a table.
const GRAIN_MAX: u64 = 32 << 20;
const ENTRIES_MAX: u64 = 1 << 20;
/// Bytes of a directory, at most: QEMU takes no longer one.
const DIRECTORY_MAX: u64 = 128 << 20;
/// Header flag: an entry of 1 means a grain of zeros.
const ZERO_GRAINS: u32 = 1 << 2;

pub struct Tables {
    grains: u64,
    directory: u64,
    entries: u64,
    zeros: bool,
    packed: bool,
    pages: [Table; 2],
}

/// Reads the header, or the footer that stands for it.
pub fn open(file: Raw) -> Result<Mapped<Tables>, Fault> {
    let mut header = file.part("its header", 0, HEADER)?;
    if u64_at(&header, 56) == Some(AT_END) {
        // The footer is the last but one of the file's sectors.
        let at = file.size().checked_sub(2 * SECTOR).ok_or(Fault::CutShort("its footer"))?;
        header = file.part("its footer", at, HEADER)?;
        if !header.starts_with(super::MAGIC) {
            return Err(Fault::CutShort("its footer"));
        }
    }
    let long = |at| u64_at(&header, at).unwrap_or_default();
    let flags = u32_at(&header, 8).unwrap_or_default();
    let (capacity, grain, entries) = (long(12), long(20), u64::from(u32_at(&header, 44).unwrap_or_default()));
    let packed = flags & COMPRESSED != 0;
    match () {
        () if !matches!(u32_at(&header, 4), Some(1..=3)) => return Err(Fault::Unsupported("has an unknown version")),
        () if packed && (u16_at(&header, 77) != Some(1) || flags & MARKERS == 0) => {
            return Err(Fault::Unsupported("is compressed in an unknown way"));
        }
        () if !grain.is_power_of_two() || !(SECTOR..=GRAIN_MAX).contains(&(grain.saturating_mul(SECTOR))) => {
            return Err(Fault::Damaged("its grains have an impossible size"));
        }
        () if !(1..=ENTRIES_MAX).contains(&entries) => {
            return Err(Fault::Damaged("its tables have an impossible length"));
        }
        () => {}
    }
    check_descriptor(&file, long(28), long(36))?;
    let size = capacity.checked_mul(SECTOR).ok_or(Fault::Damaged("its size is not one"))?;
    let grains = capacity.div_ceil(grain);
    let directory = long(56).checked_mul(SECTOR).ok_or(Fault::CutShort("its directory"))?;
    let length = grains.div_ceil(entries) * 4;
    if length > DIRECTORY_MAX {
        return Err(Fault::Damaged("its directory is too long"));
    }
    if directory.checked_add(length).is_none_or(|end| end > file.size()) {
        return Err(Fault::CutShort("its directory"));
    }
    let zeros = flags & ZERO_GRAINS != 0;
    let tables = Tables { grains, directory, entries, zeros, packed, pages: [Table::new(), Table::new()] };
    each_once((0..grains.div_ceil(entries)).map(|index| tables.table(&file, index * entries)))?;
    Ok(Mapped::new(file, tables, size, grain * SECTOR))
}

/// Whether the descriptor, where there is one, speaks of this file alone.
fn check_descriptor(file: &Raw, place: u64, length: u64) -> Result<(), Fault> {
    if place == 0 {
        return Err(Fault::Refers("a descriptor of several extents"));
    }
    let (at, length) = (place.saturating_mul(SECTOR), length.saturating_mul(SECTOR));
    if length > LONGEST {
        return Err(Fault::Damaged("its descriptor is too long"));
    }
    let text = String::from_utf8_lossy(&file.part("its descriptor", at, length as usize)?).into_owned();
    let lines = || text.trim_end_matches('\0').lines().map(str::trim);
    let extents = lines().filter(|line| ["RW ", "RDONLY ", "NOACCESS "].iter().any(|word| line.starts_with(word)));
    let parent =
        lines().filter_map(|line| line.strip_prefix("parentCID=")).any(|id| !id.eq_ignore_ascii_case("ffffffff"));
    if parent || lines().any(|line| line.starts_with("parentFileNameHint")) {
        return Err(Fault::Refers("a parent"));
    }
    match extents.count() {
        1 => Ok(()),
        _ => Err(Fault::Refers("other extents")),
    }
}

impl Tables {
    fn table(&self, file: &Raw, number: u64) -> Result<u64, Fault> {
        let at = self.directory + number / self.entries * 4;
        let place = u32::from_le_bytes(self.pages[0].entry("its directory", file, at)?);
        Ok(u64::from(place) * SECTOR)
    }
}

impl Map for Tables {
    fn place(&self, file: &Raw, number: u64) -> Result<Place, Fault> {
        let table = self.table(file, number)?;
        if table == 0 {
            return Ok(Place::Zeros);
        }
        let at = table + number % self.entries * 4;
        let grain = u64::from(u32::from_le_bytes(self.pages[1].entry("a table", file, at)?));
        match grain {
            0 => Ok(Place::Zeros),
            1 if self.zeros => Ok(Place::Zeros),
            grain if !self.packed => Ok(Place::At(grain * SECTOR)),
            grain => {
                let marker = file.part("a grain", grain * SECTOR, 12)?;
                let length = u64::from(u32_at(&marker, 8).unwrap_or_default());
                Ok(Place::Packed { offset: grain * SECTOR + 12, length, packing: Packing::Zlib, header: true })
            }
        }
    }

    fn skip(&self, file: &Raw, mut number: u64) -> Result<u64, Fault> {
        while number < self.grains && self.table(file, number)? == 0 {
            number = (number / self.entries + 1) * self.entries;
        }
        Ok(number)
    }
}
