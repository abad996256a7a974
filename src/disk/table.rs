//! The partitions of a disk that exists, by what they are for.
//!
//! [`crate::formats::gpt`] reads the table; here is what the types of our disks mean. Not supported: disks with sectors
//! of 4096 bytes, whose boot files would lie elsewhere; tables whose partitions overlap or leave the disk.

use super::gpt::{MODULES_NAME, Role, SECTOR};
use crate::arch::Architecture;
use crate::formats::gpt::{self, Fault, Problem};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use thiserror::Error;
use uuid::Uuid;

/// One partition as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is for, if its type is one that our disks have.
    pub role: Option<Role>,
    /// The processor, when the type says it: the types of root partitions do.
    pub architecture: Option<Architecture>,
    /// Unique partition GUID.
    pub guid: Uuid,
    /// First byte on the disk.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

/// Why a table cannot be read.
#[derive(Debug, Error)]
pub enum ReadTableError {
    /// Neither copy is whole.
    #[error("no valid partition table: it {0}")]
    Damaged(Fault),
    /// Partitions lie where none can.
    #[error("no valid partition table: {0}")]
    Places(Problem),
    /// Entries of another size. It is checked here, as no partition of such a table is ever found by the guest.
    #[error("partition table has entries of {0} bytes, and Linux reads only those of 128")]
    Entries(u32),
    /// Sectors of another size.
    #[error("disk has sectors of {0} bytes, and only disks with sectors of 512 bytes can be booted or changed")]
    Sector(u64),
    /// The disk cannot be read.
    #[error("cannot read the partition table")]
    Io(#[from] io::Error),
}

/// The table of a disk, sound, with sectors of 512 bytes, and one that a guest finds its partitions by.
pub fn open(disk: &File) -> Result<gpt::Table, ReadTableError> {
    let size = size(disk)?;
    let table = gpt::read(disk, size).map_err(ReadTableError::Damaged)?;
    if table.sector != SECTOR {
        return Err(ReadTableError::Sector(table.sector));
    }
    if !table.linux_reads_it() {
        return Err(ReadTableError::Entries(table.copy.header.entry_size));
    }
    match gpt::problems(&table, size).into_iter().next() {
        Some(problem) => Err(ReadTableError::Places(problem)),
        None => Ok(table),
    }
}

/// The partitions of a table in order of their numbers.
pub fn partitions(table: &gpt::Table) -> Vec<Found> {
    table.partitions().filter_map(|partition| found(&partition)).collect()
}

/// Whether both copies are whole and say the same, the second at the disk's end; [`open`] is content with one.
pub fn both_are_whole(disk: &File) -> Result<bool, ReadTableError> {
    let table = open(disk)?;
    let ends = table.copy.header.other.checked_add(1) == Some(size(disk)? / SECTOR);
    Ok(ends && table.primary.is_none() && table.backup.is_none())
}

/// Of a file or a device.
fn size(mut disk: &File) -> io::Result<u64> {
    disk.seek(SeekFrom::End(0))
}

fn found(partition: &gpt::Partition) -> Option<Found> {
    let (role, architecture) = match partition.kind {
        gpt::BIOS_BOOT => (Some(Role::BiosBoot), None),
        gpt::ESP => (Some(Role::Esp), None),
        gpt::LINUX if partition.name == MODULES_NAME => (Some(Role::Modules), None),
        gpt::ROOT_X86_64 => (Some(Role::Root), Some(Architecture::X86_64)),
        gpt::ROOT_ARM64 => (Some(Role::Root), Some(Architecture::Aarch64)),
        gpt::VERITY_X86_64 | gpt::VERITY_ARM64 => (Some(Role::Verity), None),
        _ => (None, None),
    };
    let (offset, length) = partition.bytes(SECTOR)?;
    Some(Found { role, architecture, guid: Uuid::from_bytes_le(partition.guid.0), offset, length })
}
