//! Disks, sector after sector: where their partition table is, and whether the disk is all there.
//!
//! ```text
//! LBA 0 ─ MBR, its signature at 510      LBA 1 ─ "EFI PART"       last LBA ─ "EFI PART", the copy
//! GPT header: … last usable LBA at 48 (8) …
//! ```
//!
//! The table itself is read by others. Specification: UEFI 2.10, 5.2 and 5.3.

use super::{Kind, read_at};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};

/// Signature of a GPT's header, and where the header says what the last sector of a partition may be.
const GPT: &[u8; 8] = b"EFI PART";
const LAST_USABLE: u64 = 48;
/// Sizes of sectors.
const SECTORS: [u64; 2] = [512, 4096];
/// The MBR's entries and signature.
const ENTRIES: std::ops::Range<usize> = 446..510;
const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// What a disk looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// A GPT in sectors of 512 bytes.
    Gpt,
    /// A GPT in sectors of 4096 bytes.
    LargeSectors,
    /// Only the copy of a GPT, in the last sector.
    CopyAlone {
        /// There is an MBR, which protects the GPT from those who know none.
        mbr: bool,
    },
    /// A GPT that speaks of sectors behind the end.
    CutShort {
        /// Bytes that there must be at least.
        needed: u64,
        /// Bytes that there are.
        actual: u64,
    },
    /// An MBR and no GPT.
    Mbr,
}

impl Disk {
    /// In words, with their article.
    pub fn words(self) -> String {
        match self {
            Disk::Gpt => "a disk".into(),
            Disk::LargeSectors => "a disk with sectors of 4096 bytes".into(),
            Disk::CopyAlone { .. } => "a disk whose partition table is gone, but for the copy at its end".into(),
            Disk::CutShort { needed, actual } => {
                format!("a disk that is cut short: its partition table needs {needed} bytes, and there are {actual}")
            }
            Disk::Mbr => "a disk with an MBR and no GPT".into(),
        }
    }
}

/// The disk that an open file or device is, if it is one.
pub fn look(file: &File) -> io::Result<Option<Disk>> {
    let mut end = file;
    let size = end.seek(SeekFrom::End(0))?;
    let mut bytes = vec![0; 2 * 4096];
    let length = read_at(file, 0, &mut bytes)?;
    bytes.truncate(length);
    Ok(match at_the_end(file, &bytes, size) {
        Some(Kind::Disk(disk)) => Some(disk),
        _ => at_the_start(&bytes),
    })
}

/// What the first bytes tell.
pub(super) fn at_the_start(bytes: &[u8]) -> Option<Disk> {
    let has = |sector: u64| bytes.get(sector as usize..).is_some_and(|rest| rest.starts_with(GPT));
    match () {
        () if has(512) => Some(Disk::Gpt),
        () if has(4096) => Some(Disk::LargeSectors),
        () if is_mbr(bytes) => Some(Disk::Mbr),
        () => None,
    }
}

/// What the last bytes tell, beside the first: a copy alone, a disk whose end is missing, forms that end with a footer.
pub(super) fn at_the_end(file: &File, bytes: &[u8], size: u64) -> Option<Kind> {
    let starts = |at: u64, magic: &[u8]| {
        let mut found = vec![0; magic.len()];
        read_at(file, at, &mut found).is_ok_and(|length| length == magic.len()) && found == magic
    };
    let footer = size.checked_sub(512).filter(|&at| at >= 512)?;
    // A fixed VHD is the disk and a footer of 512 bytes (of 511 in old ones); a DMG has its trailer there.
    if starts(footer, b"conectix") || starts(footer + 1, b"conectix") {
        return Some(Kind::DiskForm("VHD"));
    }
    if starts(footer, b"koly") {
        return Some(Kind::DiskForm("DMG"));
    }
    match at_the_start(bytes) {
        Some(Disk::Gpt) => cut_short(bytes, size).map(Kind::Disk),
        Some(Disk::LargeSectors) => None,
        _ => {
            let copy = |sector: u64| size.checked_sub(sector).is_some_and(|at| at % sector == 0 && starts(at, GPT));
            let unnamed = super::magic::look(bytes).is_none_or(|kind| kind == Kind::Disk(Disk::Mbr));
            let mbr = bytes.get(510..512) == Some(&BOOT_SIGNATURE);
            (unnamed && SECTORS.into_iter().any(copy)).then_some(Kind::Disk(Disk::CopyAlone { mbr }))
        }
    }
}

/// Sectors that partitions may have must be there, or no kernel believes the table.
fn cut_short(bytes: &[u8], size: u64) -> Option<Disk> {
    let header = bytes.get(512..)?;
    let last = u64::from_le_bytes(*header.get(LAST_USABLE as usize..)?.first_chunk()?);
    // A number that no disk has is damage of another kind, and the table's reader says which.
    let needed = last.checked_add(1)?.checked_mul(512).filter(|needed| *needed < 1 << 62)?;
    (needed > size).then_some(Disk::CutShort { needed, actual: size })
}

/// A signature, and entries that can be: the boot sector of a FAT volume and of a bzImage has the signature too.
fn is_mbr(bytes: &[u8]) -> bool {
    let Some(entries) = bytes.get(ENTRIES) else { return false };
    let mut entries = entries.chunks_exact(16);
    bytes.get(510..512) == Some(&BOOT_SIGNATURE)
        && entries.clone().all(|entry| entry[0] & 0x7f == 0)
        && entries.any(|entry| entry[4] != 0 && entry[12..16] != [0; 4])
}
