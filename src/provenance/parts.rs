//! What a disk is made of, by digest: all of it, each area of it, and the files that boot it.
//!
//! ```text
//!  boot code │ partition table │ partition 1 │ partition 2 … │ backup partition table
//!                                    └─ EFI System Partition: every file; the entry's command line; PID 1 in the initramfs
//! ```
//!
//! Where a unified kernel image has kernel, initramfs and command line in itself, the latter two are read from it. What lies
//! between areas is only in the digest of the whole. Not read: disks without a GPT, and PID 1 in an initramfs that is packed.

use super::digests;
use crate::escape::escape;
use crate::formats::fat::{Volume, Walk};
use crate::formats::gpt::{self, ESP, Fault, Table};
use crate::formats::uki::Uki;
use crate::formats::{ReadAt, boot_entry, cpio};
use crate::forms::Source;
use crate::hex::hex;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::ops::Range;

/// Bytes of boot code in front of the table's first sector.
const BOOT_CODE: u64 = 440;
/// Sectors of a table at the start, the protective MBR included, and of its copy at the end.
const TABLE: u64 = 34;
const BACKUP: u64 = 33;
/// Longest initramfs in which PID 1 is looked for, in bytes, and the most files of it.
const MAX_INITRAMFS: u64 = 512 << 20;
const MAX_MEMBERS: u64 = 1_000_000;
/// Most EFI programs in which a unified kernel image is looked for.
const MAX_PROGRAMS: usize = 16;
/// Bytes of files read at once.
const CHUNK: u64 = 1 << 20;
/// Where the boot entries are, and ours.
const ENTRIES: &str = "loader/entries/";
const ENTRY: &str = "loader/entries/bootdisk.conf";

/// Why the parts of a disk cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    /// No whole table.
    #[error("the disk has no whole partition table (GPT): {0}")]
    Table(Fault),
    /// Reading failed.
    #[error("cannot read the disk")]
    Io(#[from] io::Error),
}

/// See the module. Texts are as the disk has them, not escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Bytes of the disk, raw.
    pub size: u64,
    /// SHA-256 of these.
    pub sha256: String,
    /// Areas in the order of the disk.
    pub areas: Vec<Area>,
    /// Files on the EFI System Partition, by path.
    pub files: Vec<File>,
    /// The kernel's command line, as the boot entry has it.
    pub command_line: Option<String>,
    /// SHA-256 of PID 1.
    pub pid1: Option<String>,
}

/// An area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// `boot code`, `partition table`, `partition 2 (esp)`, `backup partition table`.
    pub name: String,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256; empty while that is not known.
    pub sha256: String,
    /// A partition's number.
    pub number: Option<u32>,
    /// A partition's type, as a GUID.
    pub type_id: Option<String>,
    /// Its own GUID.
    pub guid: Option<String>,
}

impl Area {
    /// Its bytes on the disk, the end excluded.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.bytes)
    }
}

/// A file on the EFI System Partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Its path, without a `/` at the start.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: String,
}

impl Parts {
    /// Reads a disk: once from front to back, and its boot files.
    ///
    /// # Errors
    /// When it cannot be read, or has no GPT.
    pub fn read(disk: &dyn Source) -> Result<Parts, PartsError> {
        let table = gpt::read(disk, disk.size()).map_err(PartsError::Table)?;
        let mut areas = areas(&table, disk.size());
        let ranges: Vec<_> = areas.iter().map(Area::range).collect();
        let found = digests::of(disk, &ranges)?;
        areas.iter_mut().zip(found.areas).for_each(|(area, digest)| area.sha256 = digest.unwrap_or_default());
        Ok(Parts { size: disk.size(), sha256: found.whole, areas, ..Parts::boot_files(disk, &table) })
    }

    /// The same with the areas of somebody else's choice, each with its digest or none; beside it, those of the disk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_beside(disk: &dyn Source, ranges: &[Range<u64>]) -> Result<(Parts, Vec<Option<String>>), PartsError> {
        let table = gpt::read(disk, disk.size());
        let found = digests::of(disk, ranges)?;
        let of_table = |table: &Table| (areas(table, disk.size()), Parts::boot_files(disk, table));
        let (areas, rest) = table.as_ref().map(of_table).unwrap_or_default();
        Ok((Parts { size: disk.size(), sha256: found.whole, areas, ..rest }, found.areas))
    }

    /// Files, command line and PID 1. What cannot be read is not there.
    fn boot_files(disk: &dyn Source, table: &Table) -> Parts {
        let mut parts = Parts::default();
        let esp = table.partitions().find(|partition| partition.kind == ESP);
        let Some((offset, bytes)) = esp.and_then(|partition| partition.bytes(table.sector)) else { return parts };
        let Ok(volume) = Volume::open(disk, offset, bytes) else { return parts };
        let walk = volume.walk();
        for file in walk.files.iter().filter(|file| !file.entry.is_directory) {
            let Some(sha256) = digest_of(disk, &file.places, file.entry.size.into()) else { continue };
            parts.files.push(File { path: file.path.clone(), bytes: file.entry.size.into(), sha256 });
        }
        let entry = entry_of(&volume, &walk).unwrap_or_default();
        let initramfs = entry.initrd.first().and_then(|path| walk.find(path));
        let initramfs = initramfs.and_then(|file| volume.read(&file.entry, MAX_INITRAMFS).ok());
        parts.pid1 = initramfs.and_then(|bytes| pid1_in(&bytes));
        parts.command_line = entry.options;
        if parts.pid1.is_none() {
            parts.take_unified(&volume, &walk);
        }
        parts
    }
}

impl Parts {
    /// Command line and PID 1 of the first unified kernel image on the EFI System Partition.
    fn take_unified(&mut self, volume: &Volume<impl ReadAt>, walk: &Walk) {
        let is_program = |path: &str| path.starts_with("efi/") && path.ends_with(".efi");
        let programs =
            walk.files.iter().filter(|file| !file.entry.is_directory && is_program(&file.path.to_lowercase()));
        for file in programs.take(MAX_PROGRAMS) {
            let Ok(bytes) = volume.read(&file.entry, MAX_INITRAMFS) else { continue };
            let Some(unified) = Uki::parse(&bytes) else { continue };
            let text = unified.text(b".cmdline").map(|text| String::from_utf8_lossy(text).into_owned());
            self.command_line = self.command_line.take().or(text);
            self.pid1 = unified.section(b".initrd").and_then(pid1_in);
            return;
        }
    }
}

/// The areas of a disk of `size` bytes, without digests, in its order.
fn areas(table: &Table, size: u64) -> Vec<Area> {
    let mut found: Vec<Area> = Vec::new();
    for partition in table.partitions() {
        let Some((offset, bytes)) = partition.bytes(table.sector) else { continue };
        let what = match partition.name.trim() {
            "" => String::new(),
            name => format!(" ({})", escape(name.as_bytes())),
        };
        found.push(Area {
            name: format!("partition {}{what}", partition.number),
            offset,
            bytes,
            number: Some(partition.number),
            type_id: Some(partition.kind.to_string()),
            guid: Some(partition.guid.to_string()),
            ..Area::default()
        });
    }
    found.sort_by_key(|area| area.offset);
    let first = found.first().map_or(size, |area| area.offset).min(TABLE * table.sector);
    let last = found.iter().map(|area| area.range().end).max().unwrap_or(0);
    let named = |name: &str, range: Range<u64>| Area {
        name: name.into(),
        offset: range.start,
        bytes: range.end.saturating_sub(range.start),
        ..Area::default()
    };
    let mut all = vec![named("boot code", 0..BOOT_CODE), named("partition table", BOOT_CODE..first.max(BOOT_CODE))];
    all.append(&mut found);
    let backup = size.saturating_sub(BACKUP * table.sector).max(last);
    all.push(named("backup partition table", backup..size.max(backup)));
    all
}

/// SHA-256 of the first `size` bytes that lie at these places of the disk.
fn digest_of(disk: &dyn Source, places: &[(u64, u64)], size: u64) -> Option<String> {
    let (mut hasher, mut left) = (Sha256::new(), size);
    let mut buffer = vec![0; CHUNK.min(size) as usize];
    for (offset, length) in places {
        let (mut at, mut here) = (*offset, left.min(*length));
        left -= here;
        while here > 0 {
            let part = &mut buffer[..here.min(CHUNK) as usize];
            disk.read_at(at, part).ok()?;
            hasher.update(&*part);
            (at, here) = (at + part.len() as u64, here - part.len() as u64);
        }
    }
    (left == 0).then(|| hex(hasher.finalize()))
}

/// Our boot entry, or the first there is.
fn entry_of(volume: &Volume<impl ReadAt>, walk: &Walk) -> Option<boot_entry::Entry> {
    let is_entry = |path: &str| path.starts_with(ENTRIES) && path.ends_with(".conf");
    let any = || walk.files.iter().find(|file| !file.entry.is_directory && is_entry(&file.path.to_lowercase()));
    let file = walk.find(ENTRY).or_else(any)?;
    Some(boot_entry::Entry::parse(&volume.read(&file.entry, boot_entry::LONGEST).ok()?))
}

/// SHA-256 of `init` in an archive that is not packed.
fn pid1_in(initramfs: &[u8]) -> Option<String> {
    let mut walk = cpio::Walk::new(initramfs, MAX_MEMBERS);
    while let Some(entry) = walk.next_entry().ok()? {
        let name = entry.name.strip_prefix(b"./").or(entry.name.strip_prefix(b"/")).unwrap_or(&entry.name);
        if name == b"init" && entry.is_regular() {
            let mut bytes = Vec::new();
            walk.body().read_to_end(&mut bytes).ok()?;
            return Some(hex(Sha256::digest(&bytes)));
        }
    }
    None
}
