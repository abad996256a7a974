//! Everything between kernel and initramfs on one side and a disk that boots on the other.
//!
//! ```text
//!  kernel, initramfs ─▶ esp (with loader's files) ─▶ extents ─▶ bios ─▶ boot code, for the partition table
//! ```
//!
//! One disk boots under both firmwares from one copy of kernel and initramfs: UEFI finds systemd-boot on the ESP, BIOS
//! finds our boot stage, which reads the same files by the sectors they lie in. In a unified kernel image they are sections
//! of one file, and the sectors are those of the sections.

pub mod bios;
mod collect;
pub mod command_line;
pub mod esp;
pub mod exchange;
pub mod existing;
pub mod initramfs;
pub mod loader;
mod places;
pub mod signed;
pub mod uki;

use crate::arch::Architecture;
use crate::disk::gpt::{Layout, Role};
use crate::formats::pe;
use crate::output::{Output, Slice};
use crate::signing::SigningError;
use signed::Signed;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use thiserror::Error;
use uki::{Inside, Unified};

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
    /// The EFI loader of [`loader::open`]; needed for UEFI, unless a unified kernel image is started by itself.
    pub efi_loader: Option<&'a [u8]>,
    /// Kernel, initramfs and command line are one program; for UEFI.
    pub unified: Option<Unified<'a>>,
    /// The line of [`command_line::command_line`].
    pub command_line: &'a str,
    /// Title of the boot entry; made harmless by [`loader::title`].
    pub title: &'a str,
    /// Serial number of the ESP's file system.
    pub volume_id: u32,
    /// Time of the ESP's files, in seconds since 1970.
    pub time: i64,
    /// Who signs the EFI programs, for Secure Boot.
    pub signed: Option<Signed<'a>>,
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
    /// A unified kernel image where nothing starts one.
    #[error("a unified kernel image is for UEFI")]
    NoUefi,
    /// The stub of a unified kernel image.
    #[error("EFI stub {0}")]
    Stub(pe::Fault),
    /// The layout lacks a partition.
    #[error("disk layout has no partition for the boot files")]
    NoPartition,
    /// A signature.
    #[error(transparent)]
    Signing(#[from] SigningError),
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
            BootError::Signing(error) => return error.hint(),
            BootError::Esp(esp::EspError::Full { needed, .. }) => return Some(format!("give --esp-size {needed}M")),
            BootError::Esp(esp::EspError::Size(_)) => "omit --esp-size, or give 128M",
            BootError::NoLoader => "install the package systemd-boot-efi, or give a loader with --efi-loader FILE",
            BootError::NoBios => "choose --firmware uefi",
            BootError::NoUefi => "omit --uki, or give --firmware uefi,bios",
            BootError::Stub(_) => "give systemd's stub with --efi-stub FILE, or a package of systemd-boot",
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
    let gathered = Gathered::of(boot, architecture, Stage::Size)?;
    let mut files = gathered.files();
    if another {
        // Until the new ones are whole the old ones stay.
        for part in [&gathered.kernel, &gathered.initramfs] {
            files.insert(format!("another/{}", part.path), &gathered.files[&part.path]);
        }
    }
    Ok(esp::smallest_for(&files).ok_or(esp::EspError::TooMuch)?)
}

/// All files of the ESP with their bytes, and where kernel and initramfs are among them.
struct Gathered<'a> {
    files: BTreeMap<String, Cow<'a, [u8]>>,
    kernel: Part,
    initramfs: Part,
}

/// A file, or a part of one that begins on a sector.
struct Part {
    path: String,
    within: Option<Range<usize>>,
}

/// What files are gathered for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To know how large they will be: what a unified kernel image says of the root is not known yet.
    Size,
    /// To be written.
    Bytes,
}

impl<'a> Gathered<'a> {
    /// Gathers them. Sizes and places are taken from what is returned.
    fn of(boot: &Boot<'a>, architecture: Architecture, stage: Stage) -> Result<Gathered<'a>, BootError> {
        let mut gathered = match &boot.unified {
            Some(unified) => Gathered::unified(boot, unified, architecture)?,
            None => Gathered::apart(boot)?,
        };
        match boot.efi_loader.filter(|_| boot.firmware.uefi) {
            Some(efi_loader) => {
                let default = if boot.unified.is_some() { uki::NAME } else { loader::ENTRY_NAME };
                gathered.add(loader::fallback_path(architecture), efi_loader.into());
                gathered.add(loader::CONFIG_PATH, loader::config(default).into_bytes().into());
            }
            None if boot.firmware.uefi && boot.unified.is_none() => return Err(BootError::NoLoader),
            None => {}
        }
        // Behind everything: a signature goes to the end of a program, and moves no section.
        if let Some(signed) = &boot.signed {
            let unknown = gathered.kernel.path.as_str();
            let unknown = (stage == Stage::Size && boot.unified.is_some()).then_some(unknown);
            signed::sign(signed, &mut gathered.files, unknown)?;
        }
        Ok(gathered)
    }

    /// Kernel and initramfs as files, and an entry that names them.
    fn apart(boot: &Boot<'a>) -> Result<Gathered<'a>, BootError> {
        let entry = loader::Entry {
            title: loader::title(boot.title),
            version: boot.release.to_owned(),
            linux: loader::KERNEL_PATH.to_owned(),
            initrd: loader::INITRAMFS_PATH.to_owned(),
            options: boot.command_line.to_owned(),
        };
        let whole = |path: &str| Part { path: path.to_owned(), within: None };
        let mut gathered = Gathered {
            files: BTreeMap::new(),
            kernel: whole(loader::KERNEL_PATH),
            initramfs: whole(loader::INITRAMFS_PATH),
        };
        gathered.add(loader::KERNEL_PATH, boot.kernel.into());
        gathered.add(loader::INITRAMFS_PATH, boot.initramfs.into());
        // Also without a loader that reads it: it is where the disk says its command line.
        gathered.add(loader::ENTRY_PATH, entry.encode()?.into_bytes().into());
        Ok(gathered)
    }

    /// Both as sections of one program.
    fn unified(boot: &Boot<'a>, unified: &Unified<'_>, architecture: Architecture) -> Result<Gathered<'a>, BootError> {
        if !boot.firmware.uefi {
            return Err(BootError::NoUefi);
        }
        let parts = uki::Parts { kernel: boot.kernel, release: boot.release, initramfs: boot.initramfs };
        let file = uki::encode(unified, &parts, boot.command_line).map_err(BootError::Stub)?;
        let Inside { kernel, initramfs, .. } = Inside::of(&file).ok_or(BootError::Stub(pe::Fault::NoProgram))?;
        let path = uki::path(architecture, boot.efi_loader.is_some());
        let part = |within| Part { path: path.to_owned(), within };
        let mut gathered = Gathered { files: BTreeMap::new(), kernel: part(Some(kernel)), initramfs: part(initramfs) };
        gathered.add(path, file.into());
        Ok(gathered)
    }

    fn add(&mut self, path: &str, bytes: Cow<'a, [u8]>) {
        self.files.insert(path.to_owned(), bytes);
    }

    /// The files as a volume takes them.
    fn files(&self) -> esp::Files<'_> {
        self.files.iter().map(|(path, bytes)| (path.clone(), &bytes[..])).collect()
    }

    /// The bytes of a part.
    fn bytes(&self, part: &Part) -> &[u8] {
        let file = self.files.get(&part.path).map(|bytes| &bytes[..]).unwrap_or_default();
        part.within.clone().map_or(file, |within| &file[within])
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

    let gathered = Gathered::of(boot, architecture, Stage::Bytes)?;
    let files = gathered.files();
    let volume = esp::Volume {
        first_lba: partition.first_lba,
        size: partition.bytes(),
        id: boot.volume_id,
        label: *b"BOOTDISK   ",
        time: boot.time,
    };
    let image = esp::encode(&files, &volume)?;
    let boot_code = if bios {
        write_stage(boot, &gathered, layout, &image, output)?
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
    gathered: &Gathered<'_>,
    layout: &Layout,
    image: &esp::EspImage,
    output: &dyn Output,
) -> Result<[u8; bios::MBR_BYTES], BootError> {
    let partition = layout.partition(Role::BiosBoot).ok_or(BootError::NoPartition)?;
    let extents = |part: &Part| {
        let file = image.extents(&part.path).unwrap_or_default();
        match &part.within {
            Some(within) => places::extents_within(&file, within.clone()),
            None => file,
        }
    };
    let stage = bios::encode(&bios::Boot {
        stage2_lba: partition.first_lba,
        stage2_sectors: partition.sectors,
        kernel: gathered.bytes(&gathered.kernel),
        kernel_extents: &extents(&gathered.kernel),
        initramfs: gathered.bytes(&gathered.initramfs),
        initramfs_extents: &extents(&gathered.initramfs),
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
        verity: Uuid::nil(),
    };

    fn boot<'a>(kernel: &'a [u8]) -> Boot<'a> {
        Boot {
            firmware: BOTH,
            kernel,
            release: "6.1.0",
            initramfs: b"070701",
            efi_loader: Some(b"MZ"),
            unified: None,
            command_line: "quiet",
            title: "an image\noptions init=/bin/sh",
            volume_id: 1,
            time: 0,
            signed: None,
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
    fn a_unified_kernel_image_is_all_there_is_and_a_bios_reads_its_sections() {
        let (kernel, stub) = (bios::bzimage(20), pe::tests::stub());
        let unified = Some(Unified { stub: &stub, os_release: "ID=linux\n" });
        for loader in [Some(&b"MZ"[..]), None] {
            let boot = Boot { unified, efi_loader: loader, ..boot(&kernel) };
            let memory = Memory::default();
            write_all(&boot, &layout(Architecture::X86_64), &memory).unwrap();
            let slot = bios::read::active(&memory).unwrap().unwrap();
            let (mut of_slot, initramfs) = slot.load(&memory).unwrap().unwrap();
            of_slot.truncate(kernel.len());
            assert!(of_slot == kernel && initramfs == b"070701" && slot.command_line == "quiet");
            let gathered = Gathered::of(&boot, Architecture::X86_64, Stage::Bytes).unwrap();
            let paths: Vec<&str> = gathered.files.keys().map(String::as_str).collect();
            match loader {
                Some(_) => assert_eq!(paths, ["EFI/BOOT/BOOTX64.EFI", uki::PATH, loader::CONFIG_PATH]),
                None => assert_eq!(paths, ["EFI/BOOT/BOOTX64.EFI"]),
            }
        }
        let bios_alone = Boot { firmware: Firmware { bios: true, uefi: false }, unified, ..boot(&kernel) };
        let error = write(&bios_alone, &layout(Architecture::X86_64), &Memory::default()).unwrap_err();
        assert!(matches!(error, BootError::NoUefi) && error.hint().is_some());
        let odd = Boot { unified: Some(Unified { stub: b"MZ", os_release: "" }), ..boot(&kernel) };
        let error = write(&odd, &layout(Architecture::X86_64), &Memory::default()).unwrap_err();
        assert_eq!(error.to_string(), "EFI stub is not an EFI program");
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
