//! The EFI System Partition: a sorted map from path to bytes, encoded as a FAT32 volume.
//!
//! ```text
//! sector 0   boot sector      1  FSInfo      6  copy of the boot sector
//! sector 8   first FAT, second FAT           (both mostly zero: never allocated)
//! then       clusters: root directory, other directories, then the files in order, each in one piece
//! ```
//!
//! The same files, size, identifiers and time give the same bytes. Only metadata is kept in memory; bodies are written
//! from where the caller has them, and what is zero is not written at all.
//!
//! Not supported: FAT12 and FAT16, sectors of 4096 bytes, names that differ only in case, empty directories.
//! Specification: "FAT: General Overview of On-Disk Format" 1.03; UEFI 2.10 section 13.3.

mod geometry;
mod mend;

mod sparse;

use crate::escape::escape;
use crate::formats::fat::time::Stamp;
use crate::output::Output;
pub use geometry::smallest_for;
use geometry::{Geometry, SECTOR};
use sparse::{PAGE, Sparse};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use thiserror::Error;

/// Where FSInfo has the number of free clusters (section 5, FSI_Free_Count).
const FREE_CLUSTERS: u64 = SECTOR + 488;

/// The files of an ESP: path with `/` and without one at its start, to contents.
pub type Files<'a> = BTreeMap<String, &'a [u8]>;

/// A run of sectors of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First sector, counted from the start of the disk.
    pub lba: u64,
    /// Number of sectors of 512 bytes; at least 1.
    pub sectors: u32,
}

/// What an ESP is besides its files.
#[derive(Clone, Copy, Debug)]
pub struct Volume {
    /// Where the partition begins on the disk, in sectors of 512 bytes.
    pub first_lba: u64,
    /// Bytes of the partition, a multiple of 512.
    pub size: u64,
    /// Serial number.
    pub id: u32,
    /// Label: 1 to 11 characters out of `A-Z0-9 _-`, padded with spaces.
    pub label: [u8; 11],
    /// Time of every file and directory, in seconds since 1970; brought into FAT's range of 1980 to 2107.
    pub time: i64,
}

/// Why files do not make an ESP.
#[derive(Debug, Error)]
pub enum EspError {
    /// FAT32 needs 65,525 clusters, and at most 32 bits of sectors.
    #[error("EFI system partition cannot be FAT32, which takes 33 MiB to 2047 GiB in whole sectors: {0} bytes")]
    Size(u64),
    /// The files do not fit.
    #[error("boot files do not fit the EFI system partition of {size} MiB; they need {needed} MiB")]
    Full {
        /// MiB there are.
        size: u64,
        /// MiB that would do.
        needed: u64,
    },
    /// Together beyond what FAT32 can hold.
    #[error("boot files are larger than any FAT32 volume")]
    TooMuch,
    /// One file beyond 4 GiB.
    #[error("boot file has 4 GiB or more, which FAT32 cannot store: {}", escape(.0.as_bytes()))]
    FileSize(String),
    /// A name FAT does not allow.
    #[error("path cannot be stored on FAT: {}", escape(.0.as_bytes()))]
    Name(String),
    /// Two names that FAT takes for one, or a file where a directory must be.
    #[error("two boot files have one name on FAT: {}", escape(.0.as_bytes()))]
    Twin(String),
    /// A label FAT does not allow.
    #[error("volume label cannot be stored on FAT: {}", escape(.0))]
    Label([u8; 11]),
    /// The FAT crate refused something that was checked before.
    #[error("cannot make the FAT32 volume")]
    Format(#[source] io::Error),
}

/// An encoded ESP: metadata in memory, bodies by reference.
pub struct EspImage<'a> {
    first_lba: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    bodies: Bodies<'a>,
}

/// Each file's contents and the ranges of the volume they go to, in order.
type Bodies<'a> = BTreeMap<String, (&'a [u8], Vec<Range<u64>>)>;

/// Encodes an ESP. Nothing is written yet.
pub fn encode<'a>(files: &Files<'a>, volume: &Volume) -> Result<EspImage<'a>, EspError> {
    check_names(files)?;
    check_label(&volume.label)?;
    let geometry = Geometry::of(volume.size / SECTOR).filter(|_| volume.size.is_multiple_of(SECTOR));
    let geometry = geometry.ok_or(EspError::Size(volume.size))?;
    if geometry.clusters_for(files) > geometry.clusters {
        let needed = geometry::smallest_for(files).ok_or(EspError::TooMuch)?;
        return Err(EspError::Full { size: volume.size >> 20, needed: needed >> 20 });
    }

    let sparse = Sparse::new(volume.size);
    let bodies = fill(&sparse, &geometry, files, volume).map_err(EspError::Format)?;
    mend::mend(&sparse, &geometry, Stamp::from_unix(volume.time), volume.first_lba);
    Ok(EspImage { first_lba: volume.first_lba, pages: sparse.into_pages(), bodies })
}

/// Formats the volume and writes the files with the FAT crate.
fn fill<'a>(sparse: &Sparse, geometry: &Geometry, files: &Files<'a>, volume: &Volume) -> io::Result<Bodies<'a>> {
    let format = fatfs::FormatVolumeOptions::new()
        .bytes_per_cluster(geometry.cluster_bytes() as u32)
        .fat_type(fatfs::FatType::Fat32)
        .volume_id(volume.id)
        .volume_label(volume.label);
    fatfs::format_volume(sparse.clone(), format)?;
    // The crate leaves the number of free clusters unknown, and then counts them through the whole table, which takes a
    // twentieth of a small build. The root directory has the only one in use.
    sparse.put(FREE_CLUSTERS, &(geometry.clusters as u32 - 1).to_le_bytes());
    let options = fatfs::FsOptions::new().update_accessed_date(false);
    let fat = fatfs::FileSystem::new(sparse.clone(), options)?;
    // The crate chooses the type and the layout again by its own rules: they must be the ones planned with.
    let stats = fat.stats()?;
    if fat.fat_type() != fatfs::FatType::Fat32 || u64::from(stats.total_clusters()) != geometry.clusters {
        return Err(io::Error::other("the volume was not laid out as planned"));
    }

    let root = fat.root_dir();
    for directory in geometry::directories(files) {
        root.create_dir(&directory)?;
    }
    // Every name before any body: directories then lie together, and each body in one piece behind them.
    for path in files.keys() {
        root.create_file(path)?;
    }
    let mut bodies = BTreeMap::new();
    for (path, body) in files {
        let mut file = root.open_file(path)?;
        sparse.begin_body(geometry.cluster_offset(2));
        let written = file.write_all(body);
        let ranges = sparse.end_body();
        written?;
        bodies.insert(path.clone(), (*body, ranges));
    }
    drop(root);
    fat.unmount()?;
    Ok(bodies)
}

impl EspImage<'_> {
    /// Writes the volume to `partition`, whose bytes must all be zero before. `partition` begins at the partition.
    pub fn write(&self, partition: &dyn Output) -> io::Result<()> {
        for (number, page) in &self.pages {
            partition.write_at(number * PAGE as u64, &page[..])?;
        }
        // Bodies come last: a page that a directory shares with a body has zeros in the body's place.
        for (body, ranges) in self.bodies.values() {
            let mut left = *body;
            for range in ranges {
                let (part, rest) = left.split_at((range.end - range.start) as usize);
                partition.write_at(range.start, part)?;
                left = rest;
            }
        }
        Ok(())
    }

    /// Where the file at `path` lies on the disk, in order; empty for an empty file, `None` when there is no such file.
    pub fn extents(&self, path: &str) -> Option<Vec<Extent>> {
        let (_, ranges) = self.bodies.get(path)?;
        let extent = |range: &Range<u64>| Extent {
            lba: self.first_lba + range.start / SECTOR,
            sectors: (range.end - range.start).div_ceil(SECTOR) as u32,
        };
        Some(ranges.iter().map(extent).collect())
    }
}

fn check_names(files: &Files) -> Result<(), EspError> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let directories = geometry::directories(files);
    for path in directories.iter().chain(files.keys()) {
        if !path.split('/').all(is_name) {
            return Err(EspError::Name(path.clone()));
        }
        // Directories of one spelling are one directory; anything else that folds to one name is a twin.
        if seen.insert(path.to_ascii_lowercase(), path).is_some() {
            return Err(EspError::Twin(path.clone()));
        }
    }
    match files.iter().find(|(_, body)| body.len() as u64 >= 1 << 32) {
        Some((path, _)) => Err(EspError::FileSize(path.clone())),
        None => Ok(()),
    }
}

/// What both FAT and a boot loader entry can hold: ASCII that needs no quoting, at most 255 characters, no dot or space
/// at the end (FAT drops them) and none at the start.
fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "$%'-_@~`!(){}^#&.+,;=[] ".contains(c);
    (1..=255).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with([' ', '.'])
        && !name.ends_with([' ', '.'])
}

fn check_label(label: &[u8; 11]) -> Result<(), EspError> {
    let allowed = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" _-".contains(byte);
    if label.iter().all(allowed) && label[0] != b' ' { Ok(()) } else { Err(EspError::Label(*label)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Memory;

    const VOLUME: Volume =
        Volume { first_lba: 4096, size: 34 << 20, id: 0x1234_abcd, label: *b"BOOTDISK   ", time: 1_700_000_000 };

    fn files<'a>(list: &[(&str, &'a [u8])]) -> Files<'a> {
        list.iter().map(|(path, body)| ((*path).to_owned(), *body)).collect()
    }

    fn bytes_of(image: &EspImage) -> Vec<u8> {
        let memory = Memory::default();
        image.write(&memory).unwrap();
        memory.0.into_inner().unwrap()
    }

    #[test]
    fn a_file_lies_where_its_extent_says() {
        let body: Vec<u8> = (0..100_001u32).map(|i| ((i * 31) >> 3) as u8).collect();
        let list = files(&[("EFI/BOOT/BOOTX64.EFI", &body[..700]), ("bootdisk/linux", &body), ("empty", &[])]);
        let image = encode(&list, &VOLUME).unwrap();
        let bytes = bytes_of(&image);
        for (path, body) in &list {
            let extents = image.extents(path).unwrap();
            assert_eq!(extents.len(), usize::from(!body.is_empty()), "{path} is in one piece");
            for extent in extents {
                let at = (extent.lba - VOLUME.first_lba) as usize * 512;
                assert_eq!(u64::from(extent.sectors), (body.len() as u64).div_ceil(512));
                assert!(bytes[at..].starts_with(body), "{path}");
            }
        }
        assert_eq!(image.extents("linux"), None);
    }

    #[test]
    fn fields_are_the_callers() {
        let bytes = bytes_of(&encode(&files(&[("a", b"1")]), &VOLUME).unwrap());
        for boot_sector in [&bytes[..512], &bytes[6 * 512..7 * 512]] {
            assert_eq!(boot_sector[0x1c..0x20], 4096u32.to_le_bytes(), "hidden sectors");
            assert_eq!(boot_sector[0x41], 0, "clean");
            assert_eq!(boot_sector[0x43..0x47], 0x1234_abcdu32.to_le_bytes());
            assert_eq!(&boot_sector[0x47..0x5a], b"BOOTDISK   FAT32   ");
        }
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let list = files(&[("EFI/BOOT/BOOTX64.EFI", b"MZ"), ("loader/entries/bootdisk.conf", b"title x\n")]);
        let (one, two) = (bytes_of(&encode(&list, &VOLUME).unwrap()), bytes_of(&encode(&list, &VOLUME).unwrap()));
        assert!(one == two);
        let later = Volume { time: VOLUME.time + 2, ..VOLUME };
        assert!(bytes_of(&encode(&list, &later).unwrap()) != one);
    }

    #[test]
    fn what_does_not_fit_says_what_would() {
        let body = vec![1; 40 << 20];
        let list = files(&[("bootdisk/initrd", &body)]);
        let needed = match encode(&list, &VOLUME).err() {
            Some(EspError::Full { size: 34, needed }) => needed,
            other => panic!("{other:?}"),
        };
        assert!((41..44).contains(&needed), "{needed} MiB");
        encode(&list, &Volume { size: needed << 20, ..VOLUME }).unwrap();
        let smaller = Volume { size: (needed - 1) << 20, ..VOLUME };
        assert!(matches!(encode(&list, &smaller).err(), Some(EspError::Full { .. })));
    }

    #[test]
    fn a_volume_can_be_filled_to_its_last_cluster() {
        let geometry = Geometry::of(VOLUME.size / SECTOR).unwrap();
        // One cluster is the root's.
        let body = vec![1; ((geometry.clusters - 1) * geometry.cluster_bytes()) as usize];
        encode(&files(&[("a", &body)]), &VOLUME).unwrap();
        let list = files(&[("a", &body), ("b", b"1")]);
        assert!(matches!(encode(&list, &VOLUME).err(), Some(EspError::Full { .. })));
    }

    #[test]
    fn what_fat_cannot_hold_is_refused() {
        let name = |path: &str| encode(&files(&[(path, b"1")]), &VOLUME).err();
        for path in ["", "/a", "a/", "a//b", "../a", "a/.", "a.", " a", "a:b", "a\\b", "a\nb", "ä", &"x".repeat(256)] {
            assert!(matches!(name(path), Some(EspError::Name(_))), "{path:?}");
        }
        for twins in [["a/B", "A/b"], ["x", "X"], ["a", "a/b"]] {
            let list = files(&[(twins[0], b"1"), (twins[1], b"2")]);
            assert!(matches!(encode(&list, &VOLUME).err(), Some(EspError::Twin(_))), "{twins:?}");
        }
        for size in [0, 32 << 20, (34 << 20) + 1, 1 << 42] {
            let volume = Volume { size, ..VOLUME };
            assert!(matches!(encode(&files(&[]), &volume).err(), Some(EspError::Size(_))), "{size}");
        }
        let volume = Volume { label: *b"bootdisk   ", ..VOLUME };
        assert!(matches!(encode(&files(&[]), &volume).err(), Some(EspError::Label(_))));
    }
}
