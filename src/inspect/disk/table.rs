//! The partition table of any disk: GPT with sectors of 512 or 4096 bytes, MBR with logical partitions, or none.
//!
//! ```text
//!  sector 0   MBR
//!  sector 1   GPT header ─▶ entries (usually sectors 2 to 33)      last sectors: the copy of both
//!  extended partition ─▶ a chain of MBRs, each with one logical partition and the next link
//! ```
//!
//! [`crate::formats::gpt`] and [`crate::formats::mbr`] read them. A primary GPT that is damaged is read from its copy,
//! and said to be. Not read: BSD labels, Apple partition maps.

use crate::escape::escape;
use crate::formats::ReadAt;
use crate::formats::gpt::{self, Fault, Problem};
use crate::formats::mbr::{self, BOOT_CODE, RECORD, Record};

/// Attribute of a GPT's partition: what a BIOS is to start.
const LEGACY_BOOT: u64 = 4;
/// Most logical partitions.
const MAX_LOGICAL: u32 = 128;

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// `gpt`, `mbr`, `none`.
    pub kind: &'static str,
    /// Bytes of a sector.
    pub sector: u64,
    /// Identifier of the disk.
    pub id: Option<String>,
    /// What is odd, one sentence each.
    pub notes: Vec<String>,
    /// The partitions that are used, by number.
    pub entries: Vec<Entry>,
    /// Where tables are: offset, bytes, what.
    pub places: Vec<(u64, u64, &'static str)>,
    /// Whose code is in the MBR, if there is any.
    pub boot_code: Option<&'static str>,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// From 1.
    pub number: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// GUID, or two hexadecimal digits of an MBR.
    pub type_id: String,
    /// Of a GPT.
    pub guid: Option<String>,
    /// Of a GPT; escaped.
    pub name: Option<String>,
    /// Marked to be started (MBR).
    pub active: bool,
}

/// Reads the table of a disk of `size` bytes. A disk without one has the kind `none`.
pub fn read(disk: &dyn ReadAt, size: u64) -> Table {
    let mut first = [0; RECORD];
    if disk.read_at(0, &mut first).is_err() {
        return Table { kind: "none", sector: 512, ..Table::default() };
    }
    let boot_code = boot_code(&first[..BOOT_CODE]);
    let of_mbr = || mbr::read(&first).filter(Record::is_table).map(|record| of_mbr(disk, &record));
    let Some(mut table) = of_gpt(disk, size).or_else(of_mbr) else {
        return Table { kind: "none", sector: 512, ..Table::default() };
    };
    table.boot_code = boot_code;
    table.places.insert(0, (0, 512, if table.kind == "gpt" { "protective MBR" } else { "MBR" }));
    check(&mut table, size);
    table
}

/// GRUB's names itself, in what it prints when it cannot read on (grub, grub-core/boot/i386/pc/boot.S).
fn boot_code(code: &[u8]) -> Option<&'static str> {
    let is_grub = code.windows(4).any(|word| word == b"GRUB");
    code.iter().any(|&byte| byte != 0).then_some(if is_grub { "GRUB" } else { "boot code" })
}

/// Partitions that lie over each other or beyond the disk are told, and read as far as they go.
fn check(table: &mut Table, size: u64) {
    let place = |entry: &Entry| (entry.number, entry.offset, entry.length);
    let mut places: Vec<(u32, u64, u64)> = table.entries.iter().map(place).collect();
    table.notes.extend(gpt::ranges::of_places(&mut places, size).iter().map(ToString::to_string));
    table.notes.dedup();
    table.notes.truncate(16);
}

/// The report of a GPT; `None` when there is none.
fn of_gpt(disk: &dyn ReadAt, size: u64) -> Option<Table> {
    let table = match gpt::read(disk, size) {
        Ok(table) => table,
        Err(Fault::Absent) => return None,
        Err(fault) => {
            let sector = gpt::sector_of(disk).unwrap_or(512);
            let notes = vec![format!("the partition table {fault}")];
            return Some(Table { kind: "gpt", sector, notes, ..Table::default() });
        }
    };
    let id = Some(table.copy.header.disk.to_string());
    let (notes, places) = (gpt_notes(&table, size), gpt_places(&table, size));
    let entries = table.partitions().filter_map(|partition| gpt_entry(&partition, table.sector)).collect();
    Some(Table { kind: "gpt", sector: table.sector, id, notes, entries, places, boot_code: None })
}

fn gpt_notes(table: &gpt::Table, size: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(fault) = table.primary {
        notes.push(format!("the table at the start {fault}; its copy is read"));
    }
    match table.backup {
        None => {}
        Some(Fault::Differs) => notes.push("the copy of the table at the end differs".to_owned()),
        Some(_) if table.copy.header.other >= size / table.sector => {
            notes.push("the disk is shorter than its table says, the copy is not there".to_owned());
        }
        Some(_) => notes.push("the copy of the table is damaged".to_owned()),
    }
    if !table.linux_reads_it() {
        let size = table.copy.header.entry_size;
        notes.push(format!("the table has entries of {size} bytes, and Linux reads only those of 128"));
    }
    let of_gpt = gpt::problems(table, size).into_iter().filter(|problem| matches!(problem, Problem::Nowhere(_)));
    notes.extend(of_gpt.map(|problem| problem.to_string()));
    notes
}

/// Where both copies are, as far as they are on the disk.
fn gpt_places(table: &gpt::Table, size: u64) -> Vec<(u64, u64, &'static str)> {
    let (header, sector) = (&table.copy.header, table.sector);
    let bytes = (table.copy.entries.len() as u64).next_multiple_of(sector);
    let (own, entries) = (header.own.saturating_mul(sector), header.entries.saturating_mul(sector));
    let mut places = vec![(own, sector, "GPT header"), (entries, bytes, "GPT entries")];
    if table.primary.is_none()
        && let Some(at) = header.other.checked_mul(sector).filter(|at| *at < size && *at >= bytes)
    {
        places.push((at - bytes, bytes, "copy of the GPT entries"));
        places.push((at, sector, "copy of the GPT header"));
    }
    places
}

fn gpt_entry(partition: &gpt::Partition, sector: u64) -> Option<Entry> {
    let (offset, length) = partition.bytes(sector)?;
    Some(Entry {
        number: partition.number,
        offset,
        length,
        type_id: partition.kind.to_string(),
        guid: Some(partition.guid.to_string()),
        name: Some(&partition.name).filter(|name| !name.is_empty()).map(|name| escape(name.as_bytes())),
        active: partition.attributes & LEGACY_BOOT != 0,
    })
}

fn of_mbr(disk: &dyn ReadAt, record: &Record) -> Table {
    let id = Some(format!("{:08x}", record.disk));
    let mut table = Table { kind: "mbr", sector: 512, id, ..Table::default() };
    for (number, entry) in (1..).zip(&record.entries) {
        match entry.kind {
            0 => {}
            _ if entry.is_extended() => logical(disk, u64::from(entry.first), &mut table),
            _ if entry.sectors == 0 => {}
            _ => table.entries.push(mbr_entry(number, entry, 0)),
        }
    }
    table.entries.sort_by_key(|entry| entry.number);
    table
}

/// A partition whose first sector counts from the sector `from`.
fn mbr_entry(number: u32, entry: &mbr::Entry, from: u64) -> Entry {
    Entry {
        number,
        offset: (from + u64::from(entry.first)) * 512,
        length: u64::from(entry.sectors) * 512,
        type_id: format!("{:02x}", entry.kind),
        active: entry.flag & 0x80 != 0,
        ..Entry::default()
    }
}

/// Follows the chain of an extended partition, whose links count from its own start.
fn logical(disk: &dyn ReadAt, extended: u64, table: &mut Table) {
    let mut at = extended;
    for number in 5..5 + MAX_LOGICAL {
        let mut sector = [0; RECORD];
        let record = disk.read_at(at * 512, &mut sector).ok().and_then(|()| mbr::read(&sector));
        let Some(Record { entries: [partition, link, ..], .. }) = record else {
            // An extended partition that was never filled has no record at all.
            if number > 5 {
                table.notes.push(format!("the chain of logical partitions ends before number {number}"));
            }
            return;
        };
        table.places.push((at * 512, 512, "extended boot record"));
        if partition.sectors > 0 {
            table.entries.push(mbr_entry(number, &partition, at));
        }
        // Each link leads on, or a chain might be a ring.
        let next = extended + u64::from(link.first);
        if link.sectors == 0 || next <= at {
            return;
        }
        at = next;
    }
}

/// What a partition type is called; the table's own text when nobody here knows it.
pub fn type_name(id: &str) -> String {
    let known = KNOWN.iter().find(|(known, _)| *known == id);
    known.map_or_else(|| format!("type {id}"), |(_, name)| (*name).to_owned())
}

/// Whether a type is that of a root file system.
pub fn is_root(id: &str) -> bool {
    type_name(id).starts_with("root (")
}

/// Whether a type is that of an EFI System Partition.
pub fn is_esp(id: &str) -> bool {
    matches!(id, ESP | "ef")
}

/// The EFI System Partition.
const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
/// GRUB's core image, or a second stage of ours.
pub const BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";

/// Types: UEFI, the Discoverable Partitions Specification, and what MBRs have.
const KNOWN: [(&str, &str); 33] = [
    (ESP, "EFI System Partition"),
    (BIOS_BOOT, "BIOS boot"),
    ("4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "root (x86-64)"),
    ("44479540-f297-41b2-9af7-d131d5f0458a", "root (x86)"),
    ("b921b045-1df0-41c3-af44-4c6f280d3fae", "root (arm64)"),
    ("69dad710-2ce4-4e3c-b16c-21a1d49abed3", "root (arm)"),
    ("72ec70a6-cf74-40e6-bd49-4bda08e8f224", "root (riscv64)"),
    ("8484680c-9521-48c6-9c11-b0720656f69e", "/usr (x86-64)"),
    ("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5", "verity of root (x86-64)"),
    ("df3300ce-d69f-4c92-978c-9bfb0f38d820", "verity of root (arm64)"),
    ("77ff5f63-e7b6-4633-acf4-1565b864c0e6", "verity of /usr (x86-64)"),
    ("bc13c2ff-59e6-4262-a352-b275fd6f7172", "boot loader's (XBOOTLDR)"),
    ("0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux file system"),
    ("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "Linux swap"),
    ("e6d6d379-f507-44c2-a23c-238f2a3df928", "Linux LVM"),
    ("a19d880f-05fc-4d3b-a006-743f0f84911e", "Linux RAID"),
    ("ca7d7ccb-63ed-4c53-861c-1742536059cc", "LUKS"),
    ("933ac7e1-2eb4-4f13-b844-0e14e2aef915", "/home"),
    ("3b8f8425-20e0-4f3b-907f-1a25a76f98e8", "/srv"),
    ("4d21b016-b534-45c2-a9fb-5c16e091fd2d", "/var"),
    ("7ec6f557-3bc5-4aca-b293-16ef5df639d1", "/var/tmp"),
    ("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "Microsoft basic data"),
    ("e3c9e316-0b5c-4db8-817d-f92df00215ae", "Microsoft reserved"),
    ("83", "Linux"),
    ("82", "Linux swap"),
    ("8e", "Linux LVM"),
    ("fd", "Linux RAID"),
    ("ef", "EFI System Partition"),
    ("ee", "protective entry of a GPT"),
    ("0b", "FAT32"),
    ("0c", "FAT32"),
    ("0e", "FAT16"),
    ("07", "NTFS or exFAT"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_disk_has_no_table() {
        assert_eq!(read(&vec![0; 4096], 4096).kind, "none");
        assert_eq!(read(&vec![0; 100], 100).kind, "none");
    }

    #[test]
    fn logical_partitions_are_followed_and_rings_end() {
        let mut disk = vec![0u8; 64 * 512];
        let entry = |disk: &mut Vec<u8>, sector: usize, slot: usize, kind: u8, first: u32, count: u32| {
            let at = sector * 512 + 446 + 16 * slot;
            disk[at + 4] = kind;
            disk[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
            disk[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
            disk[sector * 512 + 510..sector * 512 + 512].copy_from_slice(&[0x55, 0xaa]);
        };
        entry(&mut disk, 0, 0, 0x83, 1, 4);
        entry(&mut disk, 0, 1, 0x05, 8, 40);
        entry(&mut disk, 8, 0, 0x83, 1, 5);
        entry(&mut disk, 8, 1, 0x05, 10, 20);
        entry(&mut disk, 18, 0, 0x82, 2, 100);
        entry(&mut disk, 18, 1, 0x05, 0, 20);
        let table = read(&disk, disk.len() as u64);
        let found: Vec<_> = table.entries.iter().map(|e| (e.number, e.offset / 512, e.length / 512)).collect();
        assert_eq!((table.kind, found), ("mbr", vec![(1, 1, 4), (5, 9, 5), (6, 20, 100)]));
        assert_eq!(table.notes, ["partition 6 ends beyond the disk"]);
        for at in 0..disk.len().min(512 * 20) {
            let old = disk[at];
            disk[at] = 0xff;
            _ = read(&disk, disk.len() as u64);
            disk[at] = old;
        }
    }
}
