//! A disk that exists, as far as booting it needs: its partitions, and the boot files on its ESP.

use super::esp::read::read_file;
use super::loader;
use crate::arch::Architecture;
use crate::disk::gpt::Role;
use crate::disk::table::{self, Found, ReadTableError};
use crate::ext4::read::ReadAt;
use crate::inputs::{self, FileId};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use thiserror::Error;

/// Longest kernel or initramfs that is taken from an ESP, in bytes.
const MAX_FILE: u64 = 1 << 30;
/// Longest boot entry.
const MAX_ENTRY: u64 = 65_536;

/// Why a disk cannot be booted.
#[derive(Debug, Error)]
pub enum ExistingError {
    /// It cannot be opened.
    #[error("cannot open disk {path}")]
    Open {
        /// The path, escaped.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Its partition table.
    #[error(transparent)]
    Table(#[from] ReadTableError),
    /// It has no root partition of a known type.
    #[error("disk has no root partition that says what processor it is for")]
    NoRoot,
    /// A boot file is missing.
    #[error("disk has no boot file {} on an EFI System Partition", crate::escape::escape(.0.as_bytes()))]
    NoBootFile(String),
    /// The ESP cannot be read.
    #[error("cannot read {} on the EFI System Partition", crate::escape::escape(.file.as_bytes()))]
    Esp {
        /// The file.
        file: String,
        /// What was wrong.
        source: io::Error,
    },
}

impl ExistingError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ExistingError::Open { .. } => None,
            _ => Some("the disk is damaged, or bootdisk build did not make it: build it again"),
        }
    }
}

/// An open disk.
#[derive(Debug)]
pub struct Existing {
    file: File,
    partitions: Vec<Found>,
}

/// What a direct boot hands to QEMU.
#[derive(Debug)]
pub struct BootFiles {
    /// The kernel's file.
    pub kernel: Vec<u8>,
    /// The initramfs.
    pub initramfs: Vec<u8>,
    /// The kernel's command line.
    pub command_line: String,
}

impl ReadAt for Existing {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl Existing {
    /// Opens the disk and reads its partition table.
    pub fn open(path: &Path) -> Result<Existing, ExistingError> {
        let file =
            inputs::open(path).map_err(|source| ExistingError::Open { path: crate::escape::path(path), source })?;
        Existing::of(file)
    }

    /// The same of a file that is open.
    pub fn of(file: File) -> Result<Existing, ExistingError> {
        let partitions = table::read(&file)?;
        Ok(Existing { file, partitions })
    }

    /// The processor the root partition's type names.
    pub fn architecture(&self) -> Result<Architecture, ExistingError> {
        self.partitions.iter().find_map(|partition| partition.architecture).ok_or(ExistingError::NoRoot)
    }

    /// Whether a BIOS finds a boot stage.
    pub fn boots_under_bios(&self) -> bool {
        self.partition(Role::BiosBoot).is_some_and(|partition| {
            let mut start = [0; 16];
            self.file.read_exact_at(&mut start, partition.offset).is_ok() && start != [0; 16]
        })
    }

    /// Kernel, initramfs and command line.
    pub fn boot_files(&self) -> Result<BootFiles, ExistingError> {
        let entry = self.entry()?;
        Ok(BootFiles {
            kernel: self.read(&entry.linux, MAX_FILE)?,
            initramfs: self.read(&entry.initrd, MAX_FILE)?,
            command_line: entry.options,
        })
    }

    /// The entry that says what is booted how.
    pub fn entry(&self) -> Result<loader::Entry, ExistingError> {
        let text = self.read(loader::ENTRY_PATH, MAX_ENTRY)?;
        let entry = loader::Entry::parse(&String::from_utf8_lossy(&text));
        entry.ok_or_else(|| ExistingError::NoBootFile(loader::ENTRY_PATH.to_owned()))
    }

    /// Whether UEFI finds a loader.
    pub fn boots_under_uefi(&self) -> Result<bool, ExistingError> {
        match self.read(loader::fallback_path(self.architecture()?), MAX_FILE) {
            Ok(_) => Ok(true),
            Err(ExistingError::NoBootFile(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Which file it is.
    pub fn id(&self) -> io::Result<FileId> {
        Ok(FileId::of(&self.file.metadata()?))
    }

    /// Its partitions.
    pub fn partitions(&self) -> &[Found] {
        &self.partitions
    }

    fn partition(&self, role: Role) -> Option<&Found> {
        self.partitions.iter().find(|partition| partition.role == Some(role))
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, ExistingError> {
        let esp = self.partition(Role::Esp).ok_or_else(|| ExistingError::NoBootFile(path.to_owned()))?;
        read_file(&self.file, esp.offset, esp.length, path, limit)
            .map_err(|source| ExistingError::Esp { file: path.to_owned(), source })?
            .ok_or_else(|| ExistingError::NoBootFile(path.to_owned()))
    }
}
