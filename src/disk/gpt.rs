//! The partition table: planned as a value, written once the root file system's size is known.
//!
//! ```text
//! LBA 0        protective MBR, boot code in its first 440 bytes
//! LBA 1..33    GPT header, 128 entries
//! 2048         BIOS boot partition, 1 MiB            (x86_64 only)
//!              EFI System Partition
//!              kernel modules, ext4                  (only with all of a kernel's modules)
//!              root                                  (last, so that it can grow)
//!              hashes of the root                    (only of a root that is verified, and so never grows)
//! last 33      128 entries, GPT header
//! ```
//!
//! Partitions begin and end at multiples of 1 MiB. The root's offset follows from the architecture and the ESP's size
//! alone, and that of the modules where there are any, so that the root can be written before the disk's size is known. Every identifier is the caller's.
//!
//! Not supported: sectors of 4096 bytes, hybrid MBRs, more partitions. Specifications: UEFI 2.10 chapter 5;
//! partition types of the Discoverable Partitions Specification.

use crate::arch::Architecture;
use crate::formats::gpt::{Guid, VERITY_ARM64, VERITY_X86_64};
pub use crate::formats::mbr::BOOT_CODE;
use crate::output::Output;
use std::io::{self, Read, Seek, SeekFrom, Write};
use thiserror::Error;
use uuid::Uuid;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Where partitions begin and end, in bytes.
pub const ALIGNMENT: u64 = 1 << 20;

/// Attribute of the Discoverable Partitions Specification: nobody mounts it to be written to.
const READ_ONLY: u64 = 1 << 60;

const ALIGNMENT_SECTORS: u64 = ALIGNMENT / SECTOR;
/// Header and 128 entries of 128 bytes, at either end.
const TABLE_SECTORS: u64 = 33;
/// The largest disk whose last byte has an offset of 63 bits, as lseek(2) takes it, in whole alignments.
const MAX_SIZE: u64 = (1 << 63) - ALIGNMENT;

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Second stage of the BIOS boot code.
    BiosBoot,
    /// EFI System Partition.
    Esp,
    /// Modules of the kernel, for the userland.
    Modules,
    /// Root file system.
    Root,
    /// dm-verity's hashes of the root.
    Verity,
}

/// Name of the modules' partition, which has the type of any Linux file system.
pub const MODULES_NAME: &str = "modules";

/// Bytes of the partitions before the root. A number alone is the ESP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// The EFI System Partition.
    pub esp: u64,
    /// The kernel's modules; 0 is no such partition.
    pub modules: u64,
}

impl From<u64> for Before {
    fn from(esp: u64) -> Before {
        Before { esp, modules: 0 }
    }
}

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What it is for.
    pub role: Role,
    /// First LBA.
    pub first_lba: u64,
    /// Number of sectors; at least one alignment.
    pub sectors: u64,
}

impl Partition {
    /// Last LBA, which still belongs to it.
    pub fn last_lba(&self) -> u64 {
        self.first_lba + self.sectors - 1
    }

    /// First byte on the disk.
    pub fn offset(&self) -> u64 {
        self.first_lba * SECTOR
    }

    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        self.sectors * SECTOR
    }
}

/// Where everything lies on one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    architecture: Architecture,
    sectors: u64,
    partitions: Vec<Partition>,
}

/// Identifiers of a disk and its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guids {
    /// The disk.
    pub disk: Uuid,
    /// The BIOS boot partition; unused where there is none.
    pub bios_boot: Uuid,
    /// The EFI System Partition.
    pub esp: Uuid,
    /// The partition of kernel modules; unused where there is none.
    pub modules: Uuid,
    /// The root partition.
    pub root: Uuid,
    /// The partition of its hashes; unused where there is none.
    pub verity: Uuid,
}

/// Why there is no such disk.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// Not whole alignments, or nothing at all.
    #[error("size of the EFI system partition is not a multiple of 1 MiB above zero: {0}")]
    EspSize(u64),
    /// Not whole sectors.
    #[error("disk size is not a multiple of 512 bytes: {0}")]
    DiskSize(u64),
    /// No space for the root.
    #[error("disk is too small for its partitions, which need {needed} bytes: {size}")]
    TooSmall {
        /// Bytes asked for.
        size: u64,
        /// Bytes that would do for the smallest root partition.
        needed: u64,
    },
    /// Beyond what a file can be.
    #[error("disk is larger than a file can be: {0} bytes")]
    TooLarge(u64),
    /// An empty root.
    #[error("root partition is empty")]
    EmptyRoot,
}

/// Why a table could not be written.
#[derive(Debug, Error)]
pub enum TableError {
    /// Partitions overlap or leave the disk. A [`Layout`] never does; the check stands before what the `gpt` crate
    /// would write without one.
    #[error("partitions overlap or lie outside of the disk")]
    Ranges,
    /// Two identifiers are the same.
    #[error("two partitions have one identifier: {0}")]
    Guids(Uuid),
    /// The output failed.
    #[error("cannot write the partition table")]
    Io(#[from] io::Error),
    /// The `gpt` crate failed.
    #[error("cannot write the partition table: {0}")]
    Crate(String),
}

impl Layout {
    /// Where the root partition begins on any disk of this architecture with these partitions before it, in bytes.
    pub fn root_offset(architecture: Architecture, before: impl Into<Before>) -> Result<u64, LayoutError> {
        let fixed = fixed_partitions(architecture, before.into())?;
        let end = fixed.last().map_or(ALIGNMENT_SECTORS, |last| last.last_lba() + 1);
        Ok(end * SECTOR)
    }

    /// The smallest disk around a root file system of `root_size` bytes.
    pub fn around_root(
        architecture: Architecture,
        before: impl Into<Before>,
        root_size: u64,
    ) -> Result<Layout, LayoutError> {
        let before = before.into();
        let root_offset = Layout::root_offset(architecture, before)?;
        if root_size == 0 {
            return Err(LayoutError::EmptyRoot);
        }
        let end = root_size.checked_next_multiple_of(ALIGNMENT).and_then(|size| size.checked_add(root_offset));
        // One more alignment holds the backup table.
        let size = end.and_then(|end| end.checked_add(ALIGNMENT)).ok_or(LayoutError::TooLarge(root_size))?;
        Layout::of_disk(architecture, before, size)
    }

    /// The smallest disk around a root file system of `root_size` bytes and `hashes` bytes of its hashes behind it. That is
    /// where they can be: how many there are is known when the root is written, and a verified root never grows.
    pub fn around_verified_root(
        architecture: Architecture,
        before: impl Into<Before>,
        root_size: u64,
        hashes: u64,
    ) -> Result<Layout, LayoutError> {
        let mut layout = Layout::around_root(architecture, before, root_size)?;
        let bytes = hashes.max(1).checked_next_multiple_of(ALIGNMENT).filter(|bytes| *bytes <= MAX_SIZE / 4);
        let sectors = bytes.ok_or(LayoutError::TooLarge(hashes))? / SECTOR;
        let first_lba = layout.partitions.last().map_or(0, |root| root.last_lba() + 1);
        layout.partitions.push(Partition { role: Role::Verity, first_lba, sectors });
        layout.sectors += sectors;
        match layout.disk_size() {
            size if size > MAX_SIZE => Err(LayoutError::TooLarge(size)),
            _ => Ok(layout),
        }
    }

    /// A disk of exactly `disk_size` bytes. The root partition takes what is left.
    pub fn of_disk(
        architecture: Architecture,
        before: impl Into<Before>,
        disk_size: u64,
    ) -> Result<Layout, LayoutError> {
        let before = before.into();
        let root_offset = Layout::root_offset(architecture, before)?;
        let smallest = root_offset.saturating_add(2 * ALIGNMENT);
        if !disk_size.is_multiple_of(SECTOR) {
            return Err(LayoutError::DiskSize(disk_size));
        }
        if disk_size > MAX_SIZE {
            return Err(LayoutError::TooLarge(disk_size));
        }
        let sectors = disk_size / SECTOR;
        let root_end = sectors.saturating_sub(TABLE_SECTORS) / ALIGNMENT_SECTORS * ALIGNMENT_SECTORS;
        let first_lba = root_offset / SECTOR;
        if root_end <= first_lba {
            return Err(LayoutError::TooSmall { size: disk_size, needed: smallest });
        }
        let mut partitions = fixed_partitions(architecture, before)?;
        partitions.push(Partition { role: Role::Root, first_lba, sectors: root_end - first_lba });
        Ok(Layout { architecture, sectors, partitions })
    }

    /// The processor it is for.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Bytes of the whole disk.
    pub fn disk_size(&self) -> u64 {
        self.sectors * SECTOR
    }

    /// All partitions in the order of their numbers, which is that of their place.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// The partition of one role, if this disk has it.
    pub fn partition(&self, role: Role) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.role == role)
    }

    /// Writes protective MBR and both tables. The output is `disk_size` bytes long, or will be.
    pub fn write(&self, guids: &Guids, boot_code: &[u8; BOOT_CODE], output: &dyn Output) -> Result<(), TableError> {
        check_ranges(self.sectors, &self.partitions)?;
        check_guids(&self.partitions, guids)?;
        let mut disk = Window { output, position: 0, size: self.disk_size() };
        let to_end = u32::try_from(self.sectors - 1).unwrap_or(u32::MAX);
        let mut mbr = ::gpt::mbr::ProtectiveMBR::with_lb_size(to_end);
        mbr.set_bootcode(*boot_code);
        mbr.overwrite_lba0(&mut disk).map_err(mbr_error)?;

        let config = ::gpt::GptConfig::new().writable(true).logical_block_size(::gpt::disk::LogicalBlockSize::Lb512);
        let mut table = config.create_from_device(disk, Some(guids.disk)).map_err(crate_error)?;
        let flags = if self.partition(Role::Verity).is_some() { READ_ONLY } else { 0 };
        let entries = self.partitions.iter().map(|partition| entry(self.architecture, partition, guids, flags));
        table.update_partitions((1..).zip(entries).collect()).map_err(crate_error)?;
        table.write().map_err(crate_error)?;
        Ok(())
    }
}

/// The output's errors keep their kind on their way through the crate.
fn crate_error(error: ::gpt::GptError) -> TableError {
    match error {
        ::gpt::GptError::Io(error) | ::gpt::GptError::Header(::gpt::header::HeaderError::Io(error)) => error.into(),
        other => TableError::Crate(other.to_string()),
    }
}

fn mbr_error(error: ::gpt::mbr::MBRError) -> TableError {
    match error {
        ::gpt::mbr::MBRError::Io(error) => error.into(),
        other => TableError::Crate(other.to_string()),
    }
}

/// The partitions before the root.
fn fixed_partitions(architecture: Architecture, before: Before) -> Result<Vec<Partition>, LayoutError> {
    if before.esp == 0 || !before.esp.is_multiple_of(ALIGNMENT) {
        return Err(LayoutError::EspSize(before.esp));
    }
    let too_large = |size: &u64| *size > MAX_SIZE / 4;
    if let Some(size) = [before.esp, before.modules].into_iter().find(too_large) {
        return Err(LayoutError::TooLarge(size));
    }
    let bios_boot = if architecture == Architecture::X86_64 { ALIGNMENT } else { 0 };
    let modules = before.modules.next_multiple_of(ALIGNMENT);
    let mut partitions = Vec::new();
    let mut next = ALIGNMENT_SECTORS;
    for (role, bytes) in [(Role::BiosBoot, bios_boot), (Role::Esp, before.esp), (Role::Modules, modules)] {
        if bytes > 0 {
            partitions.push(Partition { role, first_lba: next, sectors: bytes / SECTOR });
            next += bytes / SECTOR;
        }
    }
    Ok(partitions)
}

/// Each partition begins behind the one before it, and all lie between the two tables.
fn check_ranges(disk_sectors: u64, partitions: &[Partition]) -> Result<(), TableError> {
    let mut next = 1 + TABLE_SECTORS;
    for partition in partitions {
        let end = partition.first_lba.checked_add(partition.sectors).ok_or(TableError::Ranges)?;
        if partition.first_lba < next || partition.sectors == 0 {
            return Err(TableError::Ranges);
        }
        next = end;
    }
    if next > disk_sectors.saturating_sub(TABLE_SECTORS) { Err(TableError::Ranges) } else { Ok(()) }
}

fn guid_of(guids: &Guids, role: Role) -> Uuid {
    match role {
        Role::BiosBoot => guids.bios_boot,
        Role::Esp => guids.esp,
        Role::Modules => guids.modules,
        Role::Root => guids.root,
        Role::Verity => guids.verity,
    }
}

fn check_guids(partitions: &[Partition], guids: &Guids) -> Result<(), TableError> {
    let mut seen = vec![guids.disk];
    for guid in partitions.iter().map(|partition| guid_of(guids, partition.role)) {
        if seen.contains(&guid) {
            return Err(TableError::Guids(guid));
        }
        seen.push(guid);
    }
    Ok(())
}

/// An entry; these flags are for a root and its hashes.
fn entry(architecture: Architecture, partition: &Partition, guids: &Guids, flags: u64) -> ::gpt::partition::Partition {
    use ::gpt::partition_types::{BIOS, EFI, LINUX_FS, LINUX_ROOT_ARM_64, LINUX_ROOT_X64};
    let (part_type_guid, name) = match (partition.role, architecture) {
        (Role::BiosBoot, _) => (BIOS, "bios-boot"),
        (Role::Esp, _) => (EFI, "esp"),
        (Role::Modules, _) => (LINUX_FS, MODULES_NAME),
        (Role::Root, Architecture::X86_64) => (LINUX_ROOT_X64, "root"),
        (Role::Root, Architecture::Aarch64) => (LINUX_ROOT_ARM_64, "root"),
        (Role::Verity, Architecture::X86_64) => (hashes(VERITY_X86_64), "root-verity"),
        (Role::Verity, Architecture::Aarch64) => (hashes(VERITY_ARM64), "root-verity"),
    };
    ::gpt::partition::Partition {
        part_type_guid,
        part_guid: guid_of(guids, partition.role),
        first_lba: partition.first_lba,
        last_lba: partition.last_lba(),
        flags: if matches!(partition.role, Role::Root | Role::Verity) { flags } else { 0 },
        name: name.to_owned(),
    }
}

/// A type that the crate has not.
fn hashes(kind: Guid) -> ::gpt::partition_types::Type {
    ::gpt::partition_types::Type {
        guid: Uuid::from_bytes_le(kind.0),
        os: ::gpt::partition_types::OperatingSystem::Linux,
    }
}

/// An output as the device the `gpt` crate wants: with a position and an end.
struct Window<'a> {
    output: &'a dyn Output,
    position: u64,
    size: u64,
}

impl std::fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "disk of {} bytes at {}", self.size, self.position)
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.size.saturating_sub(self.position).min(buffer.len() as u64) as usize;
        self.output.read_at(self.position, &mut buffer[..n])?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Write for Window<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let n = self.size.saturating_sub(self.position).min(data.len() as u64) as usize;
        self.output.write_at(self.position, &data[..n])?;
        self.position += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = crate::output::seek(self.position, self.size, to)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Architecture::{Aarch64, X86_64};

    const MIB: u64 = 1 << 20;

    fn spans(layout: &Layout) -> Vec<(Role, u64, u64)> {
        layout.partitions().iter().map(|p| (p.role, p.first_lba, p.last_lba())).collect()
    }

    #[test]
    fn partitions_lie_where_the_picture_says() {
        let layout = Layout::around_root(X86_64, 128 * MIB, 10 * MIB).unwrap();
        let expected = [(Role::BiosBoot, 2048, 4095), (Role::Esp, 4096, 266_239), (Role::Root, 266_240, 286_719)];
        assert_eq!(spans(&layout), expected);
        assert_eq!(layout.disk_size(), 141 * MIB);

        let layout = Layout::around_root(Aarch64, 64 * MIB, 10 * MIB - 1).unwrap();
        assert_eq!(spans(&layout), [(Role::Esp, 2048, 133_119), (Role::Root, 133_120, 153_599)]);
    }

    #[test]
    fn the_root_is_where_it_was_promised() {
        for architecture in [X86_64, Aarch64] {
            for esp in [33 * MIB, 128 * MIB, 1000 * MIB] {
                let promised = Layout::root_offset(architecture, esp).unwrap();
                for root in [1, MIB, 5 * MIB + 17, 3 << 40] {
                    let layout = Layout::around_root(architecture, esp, root).unwrap();
                    let partition = layout.partition(Role::Root).unwrap();
                    assert_eq!(partition.offset(), promised);
                    assert!(partition.bytes() >= root && partition.bytes() < root + MIB);
                }
            }
        }
    }

    #[test]
    fn modules_lie_between_the_esp_and_the_root() {
        let layout = Layout::around_root(X86_64, Before { esp: 2 * MIB, modules: 3 * MIB - 5 }, MIB).unwrap();
        let roles = [Role::BiosBoot, Role::Esp, Role::Modules, Role::Root];
        assert_eq!(spans(&layout).iter().map(|span| span.0).collect::<Vec<_>>(), roles);
        let modules = layout.partition(Role::Modules).unwrap();
        assert_eq!((modules.offset(), modules.bytes()), (4 * MIB, 3 * MIB));
        assert_eq!(layout.partition(Role::Root).unwrap().offset(), 7 * MIB);
        let huge = Before { esp: MIB, modules: 1 << 62 };
        assert_eq!(Layout::of_disk(X86_64, huge, 4 << 30), Err(LayoutError::TooLarge(1 << 62)));
    }

    #[test]
    fn hashes_lie_behind_the_root_and_both_are_marked_read_only() {
        for architecture in [X86_64, Aarch64] {
            let plain = Layout::around_root(architecture, 33 * MIB, 10 * MIB).unwrap();
            let layout = Layout::around_verified_root(architecture, 33 * MIB, 10 * MIB, MIB + 1).unwrap();
            let (root, hashes) = (layout.partition(Role::Root).unwrap(), layout.partition(Role::Verity).unwrap());
            assert_eq!(layout.partition(Role::Root), plain.partition(Role::Root));
            assert_eq!((hashes.first_lba, hashes.bytes()), (root.last_lba() + 1, 2 * MIB));
            assert_eq!(layout.disk_size(), plain.disk_size() + 2 * MIB);
            let [disk, bios_boot, esp, modules, root, verity] = [1, 2, 3, 4, 5, 6].map(Uuid::from_u128);
            let guids = Guids { disk, bios_boot, esp, modules, root, verity };
            let file = tempfile::tempfile().unwrap();
            layout.write(&guids, &[0; BOOT_CODE], &file).unwrap();
            file.set_len(layout.disk_size()).unwrap();
            let table = crate::disk::table::open(&file).unwrap();
            let flags: Vec<u64> = table.partitions().map(|partition| partition.attributes).collect();
            assert!(
                flags.ends_with(&[READ_ONLY, READ_ONLY]) && flags[..flags.len() - 2].iter().all(|flags| *flags == 0)
            );
            let found = crate::disk::table::partitions(&table);
            assert_eq!(found.last().map(|found| (found.role, found.guid)), Some((Some(Role::Verity), verity)));
        }
        for hashes in [u64::MAX, MAX_SIZE] {
            assert!(matches!(Layout::around_verified_root(X86_64, MIB, MIB, hashes), Err(LayoutError::TooLarge(_))));
        }
    }

    #[test]
    fn a_disk_size_is_kept_and_the_root_takes_the_rest() {
        for size in [4 << 30, (4 << 30) + 512, 1_000_000_000 / 512 * 512] {
            let layout = Layout::of_disk(X86_64, 128 * MIB, size).unwrap();
            assert_eq!(layout.disk_size(), size);
            let root = layout.partition(Role::Root).unwrap();
            let end = root.offset() + root.bytes();
            assert!(end + 33 * 512 <= size && end + 33 * 512 + MIB > size, "{size}");
        }
        // 33 sectors behind an aligned end hold the backup table exactly.
        let tight = 131 * MIB + 33 * 512;
        assert_eq!(Layout::of_disk(X86_64, 128 * MIB, tight).unwrap().partition(Role::Root).unwrap().bytes(), MIB);
        let error = LayoutError::TooSmall { size: tight - 512, needed: 132 * MIB };
        assert_eq!(Layout::of_disk(X86_64, 128 * MIB, tight - 512), Err(error));
        Layout::of_disk(X86_64, 128 * MIB, 132 * MIB).unwrap();
    }

    #[test]
    fn sizes_that_cannot_be_are_errors() {
        for esp in [0, 1, MIB + 512, u64::MAX] {
            assert_eq!(Layout::root_offset(X86_64, esp), Err(LayoutError::EspSize(esp)));
        }
        let huge = u64::MAX - MIB + 1;
        assert_eq!(Layout::root_offset(X86_64, huge), Err(LayoutError::TooLarge(huge)));
        assert_eq!(Layout::of_disk(X86_64, MIB, 1000), Err(LayoutError::DiskSize(1000)));
        assert_eq!(Layout::of_disk(X86_64, MIB, 1 << 63), Err(LayoutError::TooLarge(1 << 63)));
        assert_eq!(Layout::around_root(X86_64, MIB, u64::MAX), Err(LayoutError::TooLarge(u64::MAX)));
        assert!(matches!(Layout::around_root(X86_64, MIB, 1 << 63), Err(LayoutError::TooLarge(_))));
        assert_eq!(Layout::around_root(X86_64, MIB, 0), Err(LayoutError::EmptyRoot));
        assert!(matches!(Layout::of_disk(X86_64, MIB, 0), Err(LayoutError::TooSmall { .. })));
    }

    #[test]
    fn overlaps_and_what_leaves_the_disk_are_refused() {
        let at = |first_lba, sectors| Partition { role: Role::Root, first_lba, sectors };
        let refused = |partitions: &[Partition]| matches!(check_ranges(10_000, partitions), Err(TableError::Ranges));
        assert!(!refused(&[at(34, 100), at(134, 9833)]));
        assert!(refused(&[at(33, 100)]));
        assert!(refused(&[at(34, 100), at(133, 10)]));
        assert!(refused(&[at(34, 0)]));
        assert!(refused(&[at(34, 9934)]));
        assert!(refused(&[at(34, u64::MAX)]));
    }

    #[test]
    fn identifiers_must_differ() {
        let layout = Layout::around_root(X86_64, MIB, MIB).unwrap();
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        let guids = Guids { disk: a, bios_boot: b, esp: c, modules: Uuid::nil(), root: c, verity: Uuid::nil() };
        let output = crate::output::Memory::default();
        assert!(matches!(layout.write(&guids, &[0; BOOT_CODE], &output), Err(TableError::Guids(guid)) if guid == c));
    }
}
