//! Reading the partition table of a disk that exists.
//!
//! Not supported: sectors of 4096 bytes, disks with a damaged primary and backup table.

use super::gpt::{MODULES_NAME, Role, SECTOR};
use crate::arch::Architecture;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use thiserror::Error;
use uuid::Uuid;

/// The GPT header's signature, at the start of LBA 1 (UEFI 2.10, table 5.5).
const SIGNATURE: &[u8; 8] = b"EFI PART";
/// Bytes of a table's entries: 128 of 128.
const ENTRIES: usize = 16 << 10;

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
    /// Neither table is whole.
    #[error("no whole partition table: {0}")]
    Damaged(String),
    /// The disk cannot be read.
    #[error("cannot read the partition table")]
    Io(#[from] io::Error),
}

/// Whether `path` is a file or block device with a GPT header in its second sector. Never waits: a FIFO is no disk.
pub fn is_disk(path: &Path) -> bool {
    let Ok(file) = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) else { return false };
    let Ok(kind) = file.metadata().map(|facts| facts.file_type()) else { return false };
    let mut signature = [0; 8];
    (kind.is_file() || kind.is_block_device())
        && file.read_exact_at(&mut signature, SECTOR).is_ok()
        && signature == *SIGNATURE
}

/// The partitions of a disk in order of their numbers.
pub fn read(disk: &File) -> Result<Vec<Found>, ReadTableError> {
    let table = config().open_from_device(disk.try_clone()?).map_err(|error| match error {
        ::gpt::GptError::Io(error) => ReadTableError::Io(error),
        other => ReadTableError::Damaged(other.to_string()),
    })?;
    Ok(table.partitions().values().filter(|entry| entry.is_used()).filter_map(found).collect())
}

/// Whether both tables are whole and say the same, of a disk that ends with the second; [`read`] is content with one.
pub fn both_are_whole(disk: &File) -> Result<bool, ReadTableError> {
    if config().only_valid_headers(true).open_from_device(disk.try_clone()?).is_err() {
        return Ok(false);
    }
    let (mut first, mut second) = ([0; ENTRIES], [0; ENTRIES]);
    disk.read_exact_at(&mut first, 2 * SECTOR)?;
    let header = disk.metadata()?.len().saturating_sub(SECTOR);
    disk.read_exact_at(&mut second, header.saturating_sub(ENTRIES as u64))?;
    Ok(first == second)
}

fn config() -> ::gpt::GptConfig {
    ::gpt::GptConfig::new().writable(false).logical_block_size(::gpt::disk::LogicalBlockSize::Lb512)
}

fn found(entry: &::gpt::partition::Partition) -> Option<Found> {
    use ::gpt::partition_types::{BIOS, EFI, LINUX_FS, LINUX_ROOT_ARM_64, LINUX_ROOT_X64};
    let kind = &entry.part_type_guid;
    let (role, architecture) = match kind {
        kind if *kind == BIOS => (Some(Role::BiosBoot), None),
        kind if *kind == EFI => (Some(Role::Esp), None),
        kind if *kind == LINUX_FS && entry.name == MODULES_NAME => (Some(Role::Modules), None),
        kind if *kind == LINUX_ROOT_X64 => (Some(Role::Root), Some(Architecture::X86_64)),
        kind if *kind == LINUX_ROOT_ARM_64 => (Some(Role::Root), Some(Architecture::Aarch64)),
        _ => (None, None),
    };
    let sectors = entry.last_lba.checked_sub(entry.first_lba)?.checked_add(1)?;
    Some(Found {
        role,
        architecture,
        guid: entry.part_guid,
        offset: entry.first_lba.checked_mul(SECTOR)?,
        length: sectors.checked_mul(SECTOR)?,
    })
}
