//! Everything between kernel and initramfs on one side and a disk that boots on the other.
//!
//! ```text
//!  kernel, initramfs ─▶ esp (with loader's files) ─▶ extents ─▶ bios ─▶ boot code, for the partition table
//! ```
//!
//! One disk boots under both firmwares from one copy of kernel and initramfs: UEFI finds systemd-boot on the ESP, BIOS
//! finds our boot stage, which reads the same files by the sectors they lie in.

pub mod bios;
mod collect;
pub mod command_line;
pub mod esp;
pub mod exchange;
pub mod existing;
pub mod initramfs;
pub mod loader;

use crate::arch::Architecture;
use crate::disk::gpt::{Layout, Role};
use crate::output::{Output, Slice};
use std::io;
use thiserror::Error;

/// Which firmware a disk boots under. With neither it is for direct boot alone: nothing on it is executed before the
/// kernel.
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
    /// The output.
    #[error("cannot write the boot files")]
    Io(#[from] io::Error),
}

impl BootError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        let fixed = match self {
            BootError::Esp(esp::EspError::Full { needed, .. }) => return Some(format!("give --esp-size {needed}M")),
            BootError::Esp(esp::EspError::Size(_)) => "omit --esp-size, or give 128M",
            BootError::NoLoader => "install the package systemd-boot-efi, or give a loader with --efi-loader FILE",
            BootError::NoBios => "choose --firmware uefi",
            BootError::Bios(bios::BiosError::Setup(_)) => {
                "BIOS needs a bzImage of Linux 3.8 or later; --firmware uefi does without"
            }
            _ => return None,
        };
        Some(fixed.into())
    }
}

/// Bytes of the smallest ESP for these boot files; with room for another kernel beside them if there is to be `another`.
pub fn esp_size(boot: &Boot, architecture: Architecture, another: bool) -> Result<u64, BootError> {
    let texts = Texts::of(boot)?;
    let mut files = texts.files(boot, architecture)?;
    if another {
        // Until the new ones are whole the old ones stay.
        files.insert("another/linux".into(), boot.kernel);
        files.insert("another/initramfs".into(), boot.initramfs);
    }
    Ok(esp::smallest_for(&files).ok_or(esp::EspError::TooMuch)?)
}

/// Files of the ESP that are written here.
struct Texts {
    config: String,
    entry: String,
}

impl Texts {
    fn of(boot: &Boot) -> Result<Texts, BootError> {
        let entry = loader::Entry {
            title: loader::title(boot.title),
            version: boot.release.to_owned(),
            linux: loader::KERNEL_PATH.to_owned(),
            initrd: loader::INITRAMFS_PATH.to_owned(),
            options: boot.command_line.to_owned(),
        };
        Ok(Texts { config: loader::config(), entry: entry.encode()? })
    }

    /// All files of the ESP.
    fn files<'a>(&'a self, boot: &Boot<'a>, architecture: Architecture) -> Result<esp::Files<'a>, BootError> {
        let mut files = esp::Files::new();
        files.insert(loader::KERNEL_PATH.to_owned(), boot.kernel);
        files.insert(loader::INITRAMFS_PATH.to_owned(), boot.initramfs);
        // Also without a loader that reads it: it is where the disk says its command line.
        files.insert(loader::ENTRY_PATH.to_owned(), self.entry.as_bytes());
        if boot.firmware.uefi {
            let efi_loader = boot.efi_loader.ok_or(BootError::NoLoader)?;
            files.insert(loader::fallback_path(architecture).to_owned(), efi_loader);
            files.insert(loader::CONFIG_PATH.to_owned(), self.config.as_bytes());
        }
        Ok(files)
    }
}

/// Writes ESP and BIOS boot partition, which must be zero before. Returns the boot code for the table's first sector
/// ([`Layout::write`]). Of the layout only these two count.
pub fn write(boot: &Boot, layout: &Layout, output: &dyn Output) -> Result<[u8; bios::MBR_BYTES], BootError> {
    let bios = boot.firmware.bios;
    let architecture = layout.architecture();
    if bios && architecture != Architecture::X86_64 {
        return Err(BootError::NoBios);
    }
    let partition = layout.partition(Role::Esp).ok_or(BootError::NoPartition)?;

    let texts = Texts::of(boot)?;
    let files = texts.files(boot, architecture)?;
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
    Ok(boot_code)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::gpt::Guids;
    use crate::output::Memory;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use uuid::Uuid;

    const BOTH: Firmware = Firmware { bios: true, uefi: true };
    const GUIDS: Guids = Guids {
        disk: Uuid::from_u128(1),
        bios_boot: Uuid::from_u128(2),
        esp: Uuid::from_u128(3),
        modules: Uuid::nil(),
        root: Uuid::from_u128(4),
    };

    fn boot<'a>(kernel: &'a [u8]) -> Boot<'a> {
        Boot {
            firmware: BOTH,
            kernel,
            release: "6.1.0",
            initramfs: b"070701",
            efi_loader: Some(b"MZ"),
            command_line: "quiet",
            title: "an image\noptions init=/bin/sh",
            volume_id: 1,
            time: 0,
        }
    }

    fn layout(architecture: Architecture) -> Layout {
        Layout::around_root(architecture, 33 << 20, 1).unwrap()
    }

    /// Everything in front of the root, and the table.
    fn write_all(boot: &Boot, layout: &Layout, output: &dyn Output) -> anyhow::Result<()> {
        let code = write(boot, layout, output)?;
        Ok(layout.write(&GUIDS, &code, output)?)
    }

    fn bytes_of(boot: &Boot) -> Vec<u8> {
        let memory = Memory::default();
        write_all(boot, &layout(Architecture::X86_64), &memory).unwrap();
        memory.0.into_inner().unwrap()
    }

    /// An output whose n-th write fails, and every one after it.
    struct Full {
        inner: Memory,
        left: AtomicUsize,
    }

    impl Output for Full {
        fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            let left = self.left.load(Ordering::Relaxed);
            self.left.store(left.saturating_sub(1), Ordering::Relaxed);
            if left == 0 { Err(io::ErrorKind::StorageFull.into()) } else { self.inner.write_at(offset, data) }
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.inner.read_at(offset, buffer)
        }
        fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
            self.inner.discard(offset, length)
        }
    }

    #[test]
    fn no_failed_write_stays_unnoticed() {
        let kernel = bios::bzimage(20);
        let layout = layout(Architecture::X86_64);
        let mut failures = 0;
        loop {
            let output = Full { inner: Memory::default(), left: AtomicUsize::new(failures) };
            match write_all(&boot(&kernel), &layout, &output) {
                Ok(()) => break,
                Err(error) => {
                    let chain = format!("{error:?}");
                    assert!(chain.contains("no storage space"), "{chain}");
                }
            }
            failures += 1;
        }
        assert!(failures > 15, "only {failures} writes");
    }

    #[test]
    fn the_same_boot_files_give_the_same_disk() {
        let kernel = bios::bzimage(20);
        let one = bytes_of(&boot(&kernel));
        assert!(one == bytes_of(&boot(&kernel)));
        assert!(one != bytes_of(&Boot { command_line: "loglevel=7", ..boot(&kernel) }));
        assert_eq!(&one[510..520], b"\x55\xaaEFI PART");
    }

    #[test]
    fn the_firmware_decides_what_is_on_the_disk() {
        let kernel = bios::bzimage(20);
        let holds = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
        let both = bytes_of(&boot(&kernel));
        assert!(holds(&both, b"BDS2") && holds(&both, b"title an imageoptions initbinsh\nversion 6.1.0\n"));
        let bios =
            bytes_of(&Boot { firmware: Firmware { bios: true, uefi: false }, efi_loader: None, ..boot(&kernel) });
        assert!(holds(&bios, b"BDS2") && !holds(&bios, b"BOOTX64") && !holds(&bios, b"timeout 0"));
        assert!(holds(&bios, b"title "), "the entry is where a disk says its command line, whoever reads it");
        // Without BIOS any EFI program will do for a kernel; it need not be a bzImage.
        let uefi = bytes_of(&Boot { firmware: Firmware { bios: false, uefi: true }, ..boot(b"MZ") });
        assert!(uefi[1 << 20..2 << 20].iter().all(|&byte| byte == 0) && holds(&uefi, b"BOOTX64"));
        // For direct boot a kernel of any form is there, and where its command line is said.
        let neither = Firmware { bios: false, uefi: false };
        let direct = bytes_of(&Boot { firmware: neither, efi_loader: None, ..boot(b"\x7fELF") });
        assert!(holds(&direct, b"\x7fELF") && holds(&direct, b"title "));
        assert!(direct[1 << 20..2 << 20].iter().all(|&byte| byte == 0) && !holds(&direct, b"BOOTX64"));
    }

    #[test]
    fn what_cannot_boot_is_refused() {
        let kernel = bios::bzimage(20);
        let refused = |boot: Boot, architecture| write(&boot, &layout(architecture), &Memory::default()).unwrap_err();
        let x86 = Architecture::X86_64;
        assert!(matches!(refused(Boot { efi_loader: None, ..boot(&kernel) }, x86), BootError::NoLoader));
        assert!(matches!(refused(boot(&kernel), Architecture::Aarch64), BootError::NoBios));
        assert!(matches!(refused(boot(b"not a kernel"), x86), BootError::Bios(_)));
        let large = vec![0; 40 << 20];
        let error = refused(Boot { initramfs: &large, ..boot(&kernel) }, x86);
        let hint = error.hint().unwrap();
        assert!(hint.starts_with("give --esp-size ") && hint.ends_with('M'), "{hint}");
        let error = error.to_string();
        assert!(error.starts_with("boot files do not fit the EFI system partition of 33 MiB; they need 4"), "{error}");
    }
}
