//! Our BIOS boot stage: 440 bytes in LBA 0, a chooser and two slots for a second stage in the BIOS boot partition.
//!
//! ```text
//! LBA 0                 mbr.s      loads the chooser with INT 13h extensions, checks it, jumps
//! partition 1 +   0     slots.s    takes the slot with the higher generation that is whole
//!             +  64     stage2.s   slot A: loads kernel and initramfs by extents, starts the kernel
//!             + 128     stage2.s   slot B: empty on a new disk; sectors from the partition's start
//!
//! second stage, loaded at 0:8000:
//!   0x00  magic u32 "BDS2"          0x18  command line: address u16, bytes with NUL u16
//!   0x04  balance u32               0x1c  message for too little memory: address u16, zero u16
//!   0x08  initramfs floor u32       0x20  part: setup sectors
//!   0x0c  initramfs limit u32       0x2c  part: protected-mode kernel
//!   0x10  initramfs span u32        0x38  part: initramfs
//!   0x14  initramfs bytes u32       0x44  generation u32, sectors u16: of this slot
//!                                   0x50  code, then extents, command line, message
//!
//!   part:   destination u32, checksum u32, address of its extents u16, number of extents u16
//!   extent: LBA u64, sectors u32
//! ```
//!
//! `balance` makes the sum of all 32-bit words of chooser and slot zero, which whoever loads them checks. So a slot that
//! was not written to its end is as good as none, and another kernel is put on a disk by writing the other slot. The checksum of
//! a part goes over its sectors as they lie on the disk, 32-bit words, `rotate left by one, add`; the file's last
//! sector is filled with zeros. So a kernel that was exchanged on the ESP is refused ("rebuild the disk") instead of
//! being started half old, half new.
//!
//! Not supported: disks of 4096-byte sectors, firmware without INT 13h extensions or without INT 15h AX=E820, more
//! than about 2500 extents.

mod code;
pub mod read;
mod setup;

use super::esp::Extent;
pub use code::MBR_BYTES;
#[cfg(test)]
pub(crate) use setup::tests::bzimage;
pub use setup::{Setup, SetupError};
use thiserror::Error;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Where the second stage is loaded.
const BASE: usize = 0x8000;
/// The first stage reads it with one call that must not reach the 64 KiB line; the rest is left free.
const STAGE2_SECTORS_MAX: usize = 63;
/// Start of the code in the second stage; what lies before it is the table.
const ENTRY: usize = 0x50;
/// The chooser's two places for the LBA of a slot.
const SLOT_LBA: [usize; 2] = [0x08, 0x10];
/// First sector of each slot, from the start of the BIOS boot partition.
pub const SLOTS: [u64; 2] = [64, 128];
/// Generation and number of sectors in a slot's table.
const GENERATION: usize = 0x44;
const SECTORS: usize = 0x48;
/// Generation of a new disk's slot.
pub const FIRST_GENERATION: u32 = 1;
/// In LBA 0: the number of sectors to load, then the packet with count and LBA.
const MBR_SECTORS: usize = 422;
const MBR_LBA: usize = 432;

/// What is to be started and where it lies on the disk.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// First LBA of the BIOS boot partition.
    pub stage2_lba: u64,
    /// Sectors of the BIOS boot partition.
    pub stage2_sectors: u64,
    /// The whole bzImage.
    pub kernel: &'a [u8],
    /// Where it lies, in order.
    pub kernel_extents: &'a [Extent],
    /// The whole initramfs; it may be empty.
    pub initramfs: &'a [u8],
    /// Where it lies, in order.
    pub initramfs_extents: &'a [Extent],
    /// The command line, without NUL.
    pub command_line: &'a str,
}

/// The two pieces of code, ready to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct Stage {
    /// For the first bytes of LBA 0.
    pub mbr: [u8; MBR_BYTES],
    /// For the start of the BIOS boot partition: the chooser, and slot A; whole sectors.
    pub stage2: Vec<u8>,
}

/// Why there can be no boot stage.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BiosError {
    /// The kernel does not fit this stage.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The extents do not cover the file.
    #[error("extents of the {what} hold {sectors} sectors of its {needed}")]
    Extents {
        /// "kernel" or "initramfs".
        what: &'static str,
        /// Sectors the extents have.
        sectors: u64,
        /// Sectors the file has.
        needed: u64,
    },
    /// Too many extents or too long a command line.
    #[error("second boot stage does not fit its {limit} bytes: {bytes}")]
    TooLong {
        /// Bytes it would have.
        bytes: usize,
        /// Bytes there are.
        limit: usize,
    },
    /// The initramfs cannot be placed below 4 GiB.
    #[error("initramfs is too large to be loaded above the kernel: {0} bytes")]
    Initramfs(usize),
}

/// The first stage for a disk that has no BIOS boot: it says so.
pub fn refusal() -> [u8; MBR_BYTES] {
    let mut mbr = [0; MBR_BYTES];
    mbr.copy_from_slice(code::mbr());
    mbr
}

/// Both stages for this disk.
pub fn encode(boot: &Boot) -> Result<Stage, BiosError> {
    let slot = encode_slot(boot, FIRST_GENERATION)?;
    let mut chooser = code::slots().to_vec();
    for (at, sector) in SLOT_LBA.into_iter().zip(SLOTS) {
        chooser[at..at + 8].copy_from_slice(&(boot.stage2_lba + sector).to_le_bytes());
    }
    balance(&mut chooser);
    let mut mbr = refusal();
    mbr[MBR_SECTORS..MBR_SECTORS + 2].copy_from_slice(&((chooser.len() / 512) as u16).to_le_bytes());
    mbr[MBR_LBA..MBR_LBA + 8].copy_from_slice(&boot.stage2_lba.to_le_bytes());
    let mut stage2 = chooser;
    stage2.resize((SLOTS[0] * SECTOR) as usize, 0);
    stage2.extend_from_slice(&slot);
    Ok(Stage { mbr, stage2 })
}

/// One slot; whole sectors.
pub fn encode_slot(boot: &Boot, generation: u32) -> Result<Vec<u8>, BiosError> {
    let setup = Setup::parse(boot.kernel)?;
    if boot.command_line.len() as u64 > u64::from(setup.cmdline_size) {
        return Err(SetupError::CommandLine { length: boot.command_line.len(), limit: setup.cmdline_size }.into());
    }
    encode_stage2(boot, &setup, generation)
}

fn encode_stage2(boot: &Boot, setup: &Setup, generation: u32) -> Result<Vec<u8>, BiosError> {
    let span = (boot.initramfs.len() as u64).next_multiple_of(SECTOR);
    let limit = setup.limit;
    if setup.floor + span > limit {
        return Err(BiosError::Initramfs(boot.initramfs.len()));
    }
    check_extents("kernel", boot.kernel, boot.kernel_extents)?;
    check_extents("initramfs", boot.initramfs, boot.initramfs_extents)?;
    let split = u64::from(setup.sectors);
    let (real_mode, protected_mode) = boot.kernel.split_at((split * SECTOR) as usize);
    let (real_extents, protected_extents) = split_extents(boot.kernel_extents, split);

    let mut stage = Builder { bytes: code::stage2().to_vec() };
    // All three fit 32 bits: they are below `limit`.
    stage.put_u32(0x08, setup.floor as u32);
    stage.put_u32(0x0c, limit as u32);
    stage.put_u32(0x10, span as u32);
    stage.put_u32(0x14, boot.initramfs.len() as u32);
    let (protected_sum, initramfs_sum) = checksums(protected_mode, boot.initramfs);
    stage.put_part(0x20, 0x10000, checksum(real_mode), &real_extents)?;
    stage.put_part(0x2c, 0x10_0000, protected_sum, &protected_extents)?;
    stage.put_part(0x38, 0, initramfs_sum, boot.initramfs_extents)?;
    let line = stage.append_text(boot.command_line)?;
    stage.put_u16(0x18, line);
    stage.put_u16(0x1a, boot.command_line.len() as u16 + 1);
    let message = stage.append_text(&memory_message(setup.floor + span))?;
    stage.put_u16(0x1c, message);
    stage.put_u32(GENERATION, generation);
    stage.finish(boot.stage2_sectors.saturating_sub(SLOTS[1]))
}

/// Every message of the stage's code as it stands on a console.
#[cfg(test)]
pub(crate) fn messages() -> Vec<String> {
    const NAME: &str = "bootdisk: ";
    let codes = [code::mbr(), code::slots(), code::stage2()];
    let texts = codes.iter().flat_map(|code| code.split(|&byte| byte == 0)).map(|text| String::from_utf8_lossy(text));
    // What stands in front of a text without a zero between is code.
    let ends = texts.map(|text| text.trim_end().rsplit(|c: char| !(' '..='~').contains(&c)).next().unwrap().to_owned());
    let sentences = ends.filter(|text| text.matches(' ').count() >= 2 && text.len() > 12);
    let mut all: Vec<String> = sentences.map(|text| format!("{NAME}{}", text.trim_start_matches(NAME))).collect();
    all.push(format!("{NAME}{}", memory_message(0)));
    all
}

/// Lowest address above everything that a bzImage of `length` bytes needs before it knows its memory, by its first
/// bytes ([`bzimage::SETUP_MAX`] or all of them); `None` for what is none.
pub fn floor(prefix: &[u8], length: u64) -> Option<u64> {
    Setup::of(prefix, length).ok().map(|setup| setup.floor)
}

/// Names the memory that would do: what is loaded, and what the firmware keeps for itself at the top.
fn memory_message(bytes: u64) -> String {
    let mebibytes = bytes.div_ceil(1 << 20) + 1;
    format!("too little memory: this kernel and its initramfs need at least {mebibytes} MiB to start")
}

/// The checksum the stage computes: of 32-bit words, the last sector filled with zeros.
fn checksum(bytes: &[u8]) -> u32 {
    filled(add(0, bytes), bytes.len())
}

/// The checksums of two files at once: each word waits for the word before it, but not for the other file's.
fn checksums(first: &[u8], second: &[u8]) -> (u32, u32) {
    let (first_words, first_rest) = first.as_chunks::<4>();
    let (second_words, second_rest) = second.as_chunks::<4>();
    let both = first_words.len().min(second_words.len());
    let mut sums = (0, 0);
    for (one, two) in first_words.iter().zip(second_words) {
        sums = (step(sums.0, *one), step(sums.1, *two));
    }
    let left = |sum, words: &[[u8; 4]], rest| add(words[both..].iter().fold(sum, |sum, word| step(sum, *word)), rest);
    let ends = (left(sums.0, first_words, first_rest), left(sums.1, second_words, second_rest));
    (filled(ends.0, first.len()), filled(ends.1, second.len()))
}

/// The checksum `sum`, with the words of `bytes` added. What is behind the last whole word is filled with zeros.
fn add(sum: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let sum = words.iter().fold(sum, |sum, word| step(sum, *word));
    if rest.is_empty() {
        return sum;
    }
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    step(sum, last)
}

fn step(sum: u32, word: [u8; 4]) -> u32 {
    sum.rotate_left(1).wrapping_add(u32::from_le_bytes(word))
}

/// The checksum of a file of `length` bytes, with the zeros up to the end of its last sector.
fn filled(sum: u32, length: usize) -> u32 {
    let zero_words = length.next_multiple_of(SECTOR as usize) / 4 - length.div_ceil(4);
    sum.rotate_left(zero_words as u32 % 32)
}

fn check_extents(what: &'static str, file: &[u8], extents: &[Extent]) -> Result<(), BiosError> {
    let needed = (file.len() as u64).div_ceil(SECTOR);
    let sectors = extents.iter().map(|extent| u64::from(extent.sectors)).sum();
    if sectors == needed { Ok(()) } else { Err(BiosError::Extents { what, sectors, needed }) }
}

/// The extents of the first `sectors` sectors, and the others.
fn split_extents(extents: &[Extent], sectors: u64) -> (Vec<Extent>, Vec<Extent>) {
    let (mut before, mut after, mut left) = (Vec::new(), Vec::new(), sectors);
    for extent in extents {
        let taken = left.min(u64::from(extent.sectors)) as u32;
        if taken > 0 {
            before.push(Extent { lba: extent.lba, sectors: taken });
        }
        if extent.sectors > taken {
            after.push(Extent { lba: extent.lba + u64::from(taken), sectors: extent.sectors - taken });
        }
        left -= u64::from(taken);
    }
    (before, after)
}

/// The second stage as it grows behind its code.
struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    fn put_u16(&mut self, at: usize, value: u16) {
        debug_assert!(at < ENTRY);
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, at: usize, value: u32) {
        debug_assert!(at < ENTRY);
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn put_part(&mut self, at: usize, destination: u32, sum: u32, extents: &[Extent]) -> Result<(), BiosError> {
        let mut table = Vec::with_capacity(extents.len() * 12);
        for extent in extents {
            table.extend_from_slice(&extent.lba.to_le_bytes());
            table.extend_from_slice(&extent.sectors.to_le_bytes());
        }
        let address = self.append(&table)?;
        self.put_u32(at, destination);
        self.put_u32(at + 4, sum);
        self.put_u16(at + 8, address);
        self.put_u16(at + 10, extents.len() as u16);
        Ok(())
    }

    fn append_text(&mut self, text: &str) -> Result<u16, BiosError> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.append(&bytes)
    }

    /// Appends and returns the address. What is too long for the whole stage has no address.
    fn append(&mut self, bytes: &[u8]) -> Result<u16, BiosError> {
        let address = BASE + self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let limit = STAGE2_SECTORS_MAX * SECTOR as usize;
        if self.bytes.len() > limit {
            return Err(BiosError::TooLong { bytes: self.bytes.len(), limit });
        }
        Ok(address as u16)
    }

    /// Fills the last sector and balances the sum.
    fn finish(mut self, partition_sectors: u64) -> Result<Vec<u8>, BiosError> {
        self.bytes.resize(self.bytes.len().next_multiple_of(SECTOR as usize), 0);
        let limit = partition_sectors.saturating_mul(SECTOR) as usize;
        if self.bytes.len() > limit {
            return Err(BiosError::TooLong { bytes: self.bytes.len(), limit });
        }
        self.put_u16(SECTORS, (self.bytes.len() / SECTOR as usize) as u16);
        balance(&mut self.bytes);
        Ok(self.bytes)
    }
}

/// Makes the sum of all words zero.
fn balance(bytes: &mut [u8]) {
    let sum = word_sum(bytes);
    bytes[0x04..0x08].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
}

/// Sum of the 32-bit words, as the first stage computes it.
fn word_sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    words.fold(0, u32::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot<'a>(kernel: &'a [u8], kernel_extents: &'a [Extent]) -> Boot<'a> {
        Boot {
            stage2_lba: 2048,
            stage2_sectors: 2048,
            kernel,
            kernel_extents,
            initramfs: &[7; 700],
            initramfs_extents: &[Extent { lba: 9000, sectors: 2 }],
            command_line: "console=ttyS0",
        }
    }

    fn u16_at(bytes: &[u8], at: usize) -> usize {
        usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn the_table_says_where_everything_is() {
        let kernel = bzimage(8);
        let extents = [Extent { lba: 5000, sectors: 1 }, Extent { lba: 1 << 33, sectors: 9 }];
        let Stage { mbr, stage2 } = encode(&boot(&kernel, &extents)).unwrap();

        assert_eq!(u16_at(&mbr, 422), 2, "sectors of the chooser");
        let (chooser, stage2) = stage2.split_at(64 * 512);
        assert_eq!(&chooser[..4], b"BDS2");
        assert_eq!(word_sum(&chooser[..1024]), 0);
        assert_eq!(chooser[8..24], [[0x40, 8, 0, 0, 0, 0, 0, 0], [0x80, 8, 0, 0, 0, 0, 0, 0]].concat());
        assert_eq!((u32_at(stage2, 0x44), u16_at(stage2, 0x48) * 512), (1, stage2.len()));
        assert_eq!(mbr[424..432], [16, 0, 0, 0, 0, 0x80, 0, 0]);
        assert_eq!(mbr[432..440], 2048u64.to_le_bytes());

        assert_eq!(&stage2[..4], b"BDS2");
        assert_eq!(word_sum(stage2), 0);
        assert_eq!(u32_at(stage2, 0x08), 56 << 20, "floor");
        assert_eq!(u32_at(stage2, 0x0c), 1 << 31, "limit");
        assert_eq!((u32_at(stage2, 0x10), u32_at(stage2, 0x14)), (1024, 700));
        // The setup part takes one sector of each extent, the kernel part the remaining eight.
        let setup = u16_at(stage2, 0x28) - BASE;
        assert_eq!(u16_at(stage2, 0x2a), 2);
        assert_eq!(stage2[setup + 12..setup + 24], [0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0]);
        let rest = u16_at(stage2, 0x34) - BASE;
        assert_eq!(u16_at(stage2, 0x36), 1);
        assert_eq!(stage2[rest..rest + 12], [1, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0]);
        let line = u16_at(stage2, 0x18) - BASE;
        assert_eq!(&stage2[line..line + u16_at(stage2, 0x1a)], b"console=ttyS0\0");
        let message = u16_at(stage2, 0x1c) - BASE;
        assert!(
            stage2[message..].starts_with(b"too little memory: this kernel and its initramfs need at least 58 MiB")
        );
    }

    #[test]
    fn checksums_cover_the_last_sectors_filling() {
        let padded = |bytes: &[u8]| {
            let mut all = bytes.to_vec();
            all.resize(bytes.len().next_multiple_of(512), 0);
            all
        };
        for length in [0, 1, 3, 4, 509, 511, 512, 513, 1000, 1536] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + 1) as u8).collect();
            assert_eq!(checksum(&bytes), checksum(&padded(&bytes)), "{length} bytes");
            for other in [0, 2, 4, 511, 515, 2000] {
                let other: Vec<u8> = (0..other).map(|i| (i * 5 + 3) as u8).collect();
                assert_eq!(checksums(&bytes, &other), (checksum(&bytes), checksum(&other)), "{length} bytes");
            }
        }
        assert_ne!(checksum(&[1, 0, 0, 0, 2, 0, 0, 0]), checksum(&[2, 0, 0, 0, 1, 0, 0, 0]), "order counts");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let kernel = bzimage(8);
        let extents = [Extent { lba: 5000, sectors: 10 }];
        let short = Boot { kernel_extents: &extents[..0], ..boot(&kernel, &extents) };
        assert_eq!(encode(&short).err(), Some(BiosError::Extents { what: "kernel", sectors: 0, needed: 10 }));

        let crumbs: Vec<Extent> = (0..3000).map(|i| Extent { lba: i, sectors: 1 }).collect();
        let initramfs = vec![0; 3000 * 512];
        let crumbled = Boot { initramfs: &initramfs, initramfs_extents: &crumbs, ..boot(&kernel, &extents) };
        assert!(matches!(encode(&crumbled).err(), Some(BiosError::TooLong { limit: 32_256, .. })));

        let line = "x".repeat(2048);
        let long = Boot { command_line: &line, ..boot(&kernel, &extents) };
        let error = SetupError::CommandLine { length: 2048, limit: 2047 };
        assert_eq!(encode(&long).err(), Some(BiosError::Setup(error)));
        let narrow = Boot { stage2_sectors: 129, ..boot(&kernel, &extents) };
        assert!(matches!(encode(&narrow).err(), Some(BiosError::TooLong { limit: 512, .. })));
    }
}
