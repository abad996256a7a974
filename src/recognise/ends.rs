//! Disks by both of their ends: whether a disk is all there, and forms that say in a footer what they are.
//!
//! ```text
//! LBA 1 ─ "EFI PART" … last usable LBA at 48 (8) …       last LBA ─ "EFI PART", the copy, or a form's footer
//! ```
//!
//! Specification: UEFI 2.10, 5.3; VHD and UDIF have their footers in the last 512 bytes.

use super::disk::{self, Disk, GPT};
use super::{Kind, magic, read_at};
use crate::formats::mbr;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};

/// Where the header says what the last sector of a partition may be.
const LAST_USABLE: u64 = 48;
/// Sizes of sectors.
const SECTORS: [u64; 2] = [512, 4096];

/// The disk that an open file or device is, if it is one.
pub fn look(file: &File) -> io::Result<Option<Disk>> {
    let mut end = file;
    let size = end.seek(SeekFrom::End(0))?;
    let mut bytes = vec![0; 2 * 4096];
    let length = read_at(file, 0, &mut bytes)?;
    bytes.truncate(length);
    Ok(match at_the_end(file, &bytes, size) {
        Some(Kind::Disk(disk)) => Some(disk),
        _ => disk::at_the_start(&bytes),
    })
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
    match disk::at_the_start(bytes) {
        Some(Disk::Gpt) => cut_short(bytes, size).map(Kind::Disk),
        Some(Disk::LargeSectors) => None,
        _ => {
            let copy = |sector: u64| size.checked_sub(sector).is_some_and(|at| at % sector == 0 && starts(at, GPT));
            let unnamed = magic::look(bytes).is_none_or(|kind| kind == Kind::Disk(Disk::Mbr));
            let mbr = mbr::is_signed(bytes);
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
