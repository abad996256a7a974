//! Everything between kernel and initramfs on one side and a disk that boots on the other.
//!
//! ```text
//!  kernel, initramfs ─▶ esp (with loader's files) ─▶ extents ─▶ bios ─▶ boot code ─▶ partition table
//! ```
//!
//! One disk boots under both firmwares from one copy of kernel and initramfs: UEFI finds systemd-boot on the ESP, BIOS
//! finds our boot stage, which reads the same files by the sectors they lie in.

pub mod bios;
pub mod command_line;
pub mod esp;
pub mod existing;
pub mod initramfs;
pub mod loader;

use crate::disk::gpt::{Architecture, Guids, Layout, Role, TableError};
use crate::output::{Output, Slice};
use std::io;
use thiserror::Error;

/// Which firmware a disk boots under; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// BIOS; x86_64 only.
    pub bios: bool,
    /// UEFI.
    pub uefi: bool,
}

impl Firmware {
    /// Every firmware this architecture has.
    pub fn all(architecture: Architecture) -> Firmware {
        Firmware { bios: architecture == Architecture::X86_64, uefi: true }
    }
}

/// What a disk boots, and how.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// Under which firmware.
    pub firmware: Firmware,
    /// The whole kernel file.
    pub kernel: &'a [u8],
    /// The kernel's release, as `uname -r` will say it.
    pub release: &'a str,
    /// The whole initramfs.
    pub initramfs: &'a [u8],
    /// The EFI loader of [`loader::open`]; needed for UEFI.
    pub efi_loader: Option<&'a [u8]>,
    /// The line of [`command_line::command_line`].
    pub command_line: &'a str,
    /// Title of the boot entry; made harmless by [`loader::title`].
    pub title: &'a str,
    /// Serial number of the ESP's file system.
    pub volume_id: u32,
    /// Time of the ESP's files, in seconds since 1970.
    pub time: i64,
}

/// Why a disk cannot be made to boot.
#[derive(Debug, Error)]
pub enum BootError {
    /// Neither firmware was chosen.
    #[error("no firmware to boot under")]
    NoFirmware,
    /// BIOS exists for x86_64 alone.
    #[error("this architecture has no BIOS")]
    NoBios,
    /// UEFI without a loader.
    #[error("no EFI loader was given")]
    NoLoader,
    /// The layout lacks a partition.
    #[error("disk layout has no partition for the boot files")]
    NoPartition,
    /// The boot entry.
    #[error(transparent)]
    Entry(#[from] loader::EntryError),
    /// The ESP.
    #[error(transparent)]
    Esp(#[from] esp::EspError),
    /// The BIOS boot stage.
    #[error(transparent)]
    Bios(#[from] bios::BiosError),
    /// The partition table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The output.
    #[error("cannot write the boot files")]
    Io(#[from] io::Error),
}

/// Writes everything but the root partition: ESP, boot stage, partition table. What it writes over must be zero.
pub fn write(boot: &Boot, layout: &Layout, guids: &Guids, output: &dyn Output) -> Result<(), BootError> {
    let Firmware { bios, uefi } = boot.firmware;
    let architecture = layout.architecture();
    if !bios && !uefi {
        return Err(BootError::NoFirmware);
    }
    if bios && architecture != Architecture::X86_64 {
        return Err(BootError::NoBios);
    }
    let partition = layout.partition(Role::Esp).ok_or(BootError::NoPartition)?;

    let config = loader::config();
    let entry = loader::Entry {
        title: loader::title(boot.title),
        version: boot.release.to_owned(),
        options: boot.command_line.to_owned(),
    }
    .encode()?;
    let mut files = esp::Files::new();
    files.insert(loader::KERNEL_PATH.to_owned(), boot.kernel);
    files.insert(loader::INITRAMFS_PATH.to_owned(), boot.initramfs);
    // Also without a loader that reads it: it is where the disk says its command line.
    files.insert(loader::ENTRY_PATH.to_owned(), entry.as_bytes());
    if uefi {
        let efi_loader = boot.efi_loader.ok_or(BootError::NoLoader)?;
        files.insert(loader::fallback_path(architecture).to_owned(), efi_loader);
        files.insert(loader::CONFIG_PATH.to_owned(), config.as_bytes());
    }
    let volume = esp::Volume {
        first_lba: partition.first_lba,
        size: partition.bytes(),
        id: boot.volume_id,
        label: *b"BOOTDISK   ",
        time: boot.time,
    };
    let image = esp::encode(&files, &volume)?;
    let boot_code = if bios {
        write_stage(boot, layout, &image, output)?
    } else if architecture == Architecture::X86_64 {
        bios::refusal()
    } else {
        [0; bios::MBR_BYTES]
    };
    image.write(&Slice::new(output, partition.offset()))?;
    layout.write(guids, &boot_code, output)?;
    Ok(())
}

/// Writes the second stage and returns the first.
fn write_stage(
    boot: &Boot,
    layout: &Layout,
    image: &esp::EspImage,
    output: &dyn Output,
) -> Result<[u8; bios::MBR_BYTES], BootError> {
    let partition = layout.partition(Role::BiosBoot).ok_or(BootError::NoPartition)?;
    let extents = |path: &str| image.extents(path).unwrap_or_default();
    let stage = bios::encode(&bios::Boot {
        stage2_lba: partition.first_lba,
        stage2_sectors: partition.sectors,
        kernel: boot.kernel,
        kernel_extents: &extents(loader::KERNEL_PATH),
        initramfs: boot.initramfs,
        initramfs_extents: &extents(loader::INITRAMFS_PATH),
        command_line: boot.command_line,
    })?;
    output.write_at(partition.offset(), &stage.stage2)?;
    Ok(stage.mbr)
}
