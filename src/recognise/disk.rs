//! Disks, sector after sector: what their first sectors tell of the partition table.
//!
//! ```text
//! LBA 0 ─ MBR, its signature at 510      LBA 1 ─ "EFI PART"
//! ```
//!
//! The table itself is read by others. Specification: UEFI 2.10, 5.2 and 5.3.

/// Signature of a GPT's header.
pub(super) const GPT: &[u8; 8] = b"EFI PART";
/// The MBR's entries and signature.
const ENTRIES: std::ops::Range<usize> = 446..510;
pub(super) const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];

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

/// A signature, and entries that can be: the boot sector of a FAT volume and of a bzImage has the signature too.
fn is_mbr(bytes: &[u8]) -> bool {
    let Some(entries) = bytes.get(ENTRIES) else { return false };
    let mut entries = entries.chunks_exact(16);
    bytes.get(510..512) == Some(&BOOT_SIGNATURE)
        && entries.clone().all(|entry| entry[0] & 0x7f == 0)
        && entries.any(|entry| entry[4] != 0 && entry[12..16] != [0; 4])
}
