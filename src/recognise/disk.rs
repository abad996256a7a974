//! Disks, sector after sector: what their first sectors tell of the partition table.
//!
//! ```text
//! LBA 0 ─ MBR, its signature at 510      LBA 1 ─ "EFI PART"
//! ```
//!
//! The table itself is read by others. Specification: UEFI 2.10, 5.2 and 5.3.

use crate::formats::mbr;

/// Signature of a GPT's header.
pub(super) const GPT: &[u8; 8] = b"EFI PART";

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
            Disk::CopyAlone { .. } => "a disk whose partition table is lost, except for the copy at its end".into(),
            Disk::CutShort { needed, actual } => {
                format!("a disk that is cut short: its partition table needs {needed} bytes, and there are {actual}")
            }
            Disk::Mbr => "a disk with an MBR and no GPT".into(),
        }
    }
}

/// What the first bytes tell.
pub(super) fn at_the_start(bytes: &[u8]) -> Option<Disk> {
    let has = |sector: u64| bytes.get(sector as usize..).is_some_and(|rest| rest.starts_with(GPT));
    match () {
        () if has(512) => Some(Disk::Gpt),
        () if has(4096) => Some(Disk::LargeSectors),
        () if mbr::read(bytes).is_some_and(|record| record.is_table()) => Some(Disk::Mbr),
        () => None,
    }
}
