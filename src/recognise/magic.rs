//! Signatures: bytes at a fixed place that a format begins with.
//!
//! Sources: the formats' own specifications, named in a table's comment; file(1)'s magic for the archives nobody has
//! specified.

use super::{Disk, Kind, disk};
use crate::formats::bzimage::is_bzimage;
use crate::formats::pe;

/// File systems and what else fills a partition: where, what, its name (Documentation/filesystems, blkid(8)).
const FILE_SYSTEMS: [(usize, &[u8], &str); 14] = [
    (1080, &[0x53, 0xef], "ext4"),
    (0, b"XFSB", "XFS"),
    (65600, b"_BHRfS_M", "Btrfs"),
    (0, b"hsqs", "squashfs"),
    (1024, &[0xe2, 0xe1, 0xf5, 0xe0], "EROFS"),
    (4086, b"SWAPSPACE2", "swap"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (0, b"verity\0\0", "dm-verity"),
    (512, b"LABELONE", "LVM"),
    (3, b"NTFS    ", "NTFS"),
    (3, b"EXFAT   ", "exFAT"),
    (32769, b"CD001", "ISO 9660"),
    (1024, &[0x10, 0x20, 0xf5, 0xf2], "F2FS"),
    (0, b"bcache", "bcache"),
];

/// Disks in forms of their own (QEMU docs/interop; VMDK and VHD(X) specifications; VirtualBox VDICore.h).
const DISK_FORMS: [(usize, &[u8], &str); 11] = [
    (0, b"QFI\xfb", "qcow2"),
    (0, b"QED\0", "QED"),
    (0, b"KDMV", "VMDK"),
    (0, b"COWD", "VMDK"),
    (0, b"# Disk DescriptorFile", "VMDK"),
    (64, &[0x7f, 0x10, 0xda, 0xbe], "VDI"),
    (0, b"conectix", "VHD"),
    (0, b"vhdxfile", "VHDX"),
    (0, b"WithoutFreeSpace", "Parallels"),
    (0, b"WithouFreSpacExt", "Parallels"),
    (0, b"EVF\x09\x0d\x0a\xff\0", "EWF"),
];

/// Archives and packages that are no tar, and other files with a name, with their articles.
const ARCHIVES: [(usize, &[u8], &str); 9] = [
    (0, b"PK\x03\x04", "a zip"),
    (0, b"PK\x05\x06", "a zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z"),
    (0, b"Rar!\x1a\x07", "a RAR"),
    (0, b"MSCF", "a cabinet"),
    (0, b"MSWIM\0\0\0", "a WIM"),
    (0, b"xar!", "a xar"),
    (32, b"SIF_MAGIC", "an Apptainer (SIF)"),
    (0, &[0x1f, 0x9d], "a compress (.Z)"),
];

/// Packages, with their articles (deb(5), rpm's lead, apk-tools' ADB).
const PACKAGES: [(&[u8], &str); 5] = [
    (b"!<arch>\ndebian", "a Debian"),
    (&[0xed, 0xab, 0xee, 0xdb], "an rpm"),
    (b"ADB.", "an apk version 3"),
    (b"ADBd", "an apk version 3"),
    (b"ADBc", "an apk version 3"),
];

/// Machines of ELF files (System V ABI, `e_machine`) and of PE files (PE format, "Machine Types").
const MACHINES: [(u16, u16, &str); 4] =
    [(62, 0x8664, "x86_64"), (3, 0x014c, "i686"), (183, 0xaa64, "aarch64"), (243, 0x5064, "riscv64")];

fn at(bytes: &[u8], at: usize, magic: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(magic))
}

/// The file system that begins with these bytes, `FAT` included.
pub fn file_system(bytes: &[u8]) -> Option<&'static str> {
    let named = FILE_SYSTEMS.iter().find(|(place, magic, _)| at(bytes, *place, magic));
    let is_fat = || at(bytes, 510, &[0x55, 0xaa]) && (at(bytes, 54, b"FAT") || at(bytes, 82, b"FAT32"));
    // A bzImage has a boot signature too.
    named.map(|(_, _, name)| *name).or_else(|| (is_fat() && !is_bzimage(bytes)).then_some("FAT"))
}

/// What a signature tells; `None` where none does. Bootable discs have a partition table too, so they come first.
pub(super) fn look(bytes: &[u8]) -> Option<Kind> {
    let in_table = |table: &[(usize, &[u8], &'static str)]| {
        table.iter().find(|(place, magic, _)| at(bytes, *place, magic)).map(|(_, _, name)| *name)
    };
    let package = || PACKAGES.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name);
    program(bytes)
        .or_else(|| in_table(&DISK_FORMS).map(Kind::DiskForm))
        .or_else(|| package().map(Kind::Package))
        .or_else(|| in_table(&ARCHIVES).map(Kind::Archive))
        .or_else(|| (at(bytes, 0, b"070701") || at(bytes, 0, b"070702")).then_some(Kind::Cpio))
        .or_else(|| {
            disk::at_the_start(bytes).filter(|disk| *disk != Disk::Mbr && !at(bytes, 32769, b"CD001")).map(Kind::Disk)
        })
        .or_else(|| match file_system(bytes)? {
            "ISO 9660" => Some(Kind::Iso),
            name => Some(Kind::FileSystem(name)),
        })
        .or_else(|| disk::at_the_start(bytes).map(Kind::Disk))
}

/// Kernels, EFI programs and ELF files.
fn program(bytes: &[u8]) -> Option<Kind> {
    if is_bzimage(bytes) {
        return Some(Kind::Kernel("bzImage"));
    }
    if bytes.starts_with(b"MZ") && at(bytes, 4, b"zimg") {
        return Some(Kind::Kernel("zboot"));
    }
    // Linux Documentation/arch/arm64/booting.rst, Documentation/arch/riscv/boot-image-header.rst.
    if at(bytes, 56, b"ARM\x64") || at(bytes, 56, b"RSC\x05") {
        return Some(Kind::Kernel("Image"));
    }
    if bytes.starts_with(b"MZ") {
        return Some(match pe::place(bytes, b".linux") {
            Some(_) => Kind::UnifiedKernel,
            None => Kind::EfiProgram(pe::machine(bytes).and_then(|machine| name_of(|(_, of_pe, _)| *of_pe == machine))),
        });
    }
    let half = |at: usize| bytes.get(at..at + 2).map(|half| u16::from_le_bytes([half[0], half[1]]));
    bytes.starts_with(b"\x7fELF").then(|| match half(16) {
        // Relocatable, and with the section every module has.
        Some(1) => Kind::Module,
        _ => Kind::Elf(half(18).and_then(|machine| name_of(|(elf, _, _)| *elf == machine))),
    })
}

fn name_of(is: impl Fn(&(u16, u16, &'static str)) -> bool) -> Option<&'static str> {
    MACHINES.iter().find(|machine| is(machine)).map(|(_, _, name)| *name)
}
