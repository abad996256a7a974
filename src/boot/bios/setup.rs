//! What the boot stage must know of a bzImage: the setup header of the x86 boot protocol.
//!
//! ```text
//! 0x1f1  setup_sects u8        sectors of real-mode code behind the first; 0 means 4
//! 0x202  "HdrS"
//! 0x206  version u16           0x020a and up: init_size and pref_address exist
//! 0x211  loadflags u8          bit 0: the protected-mode part is loaded at 1 MiB
//! 0x22c  initrd_addr_max u32   last address the initramfs may occupy
//! 0x238  cmdline_size u32      longest command line, without its NUL
//! 0x258  pref_address u64      where the kernel decompresses itself to
//! 0x260  init_size u32         how much memory it needs there before it has read the memory map
//! ```
//!
//! Not supported: zImage and protocols before 2.10 (Linux 2.6.31). Specification: the kernel's
//! Documentation/arch/x86/boot.rst.

use super::SECTOR;
use thiserror::Error;

/// Why a file cannot be started by the boot stage.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SetupError {
    /// Too short for its own header, or no signature.
    #[error("kernel is not a bzImage")]
    NotBzImage,
    /// A protocol this stage does not speak.
    #[error("kernel's boot protocol is older than 2.10: {}.{:02}", .0 >> 8, .0 & 0xff)]
    TooOld(u16),
    /// A zImage.
    #[error("kernel does not load at 1 MiB (zImage)")]
    LoadsLow,
    /// More than the space below the command line holds.
    #[error("kernel has more than 63 setup sectors: {0}")]
    SetupTooLong(u8),
    /// Longer than the kernel takes.
    #[error("command line is longer than the {limit} bytes this kernel takes: {length}")]
    CommandLine {
        /// Bytes.
        length: usize,
        /// Bytes.
        limit: u32,
    },
}

/// The facts of one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Sectors of the real-mode part, the first included; 2 to 64.
    pub sectors: u32,
    /// Lowest address above everything the kernel needs before it knows its memory.
    pub floor: u64,
    /// Address the initramfs must end at or below.
    pub initrd_limit: u64,
    /// Longest command line in bytes, without its NUL.
    pub cmdline_size: u32,
}

const MIB: u64 = 1 << 20;

impl Setup {
    /// Reads the header of a whole bzImage.
    pub fn parse(kernel: &[u8]) -> Result<Setup, SetupError> {
        let header = kernel.first_chunk::<0x264>().ok_or(SetupError::NotBzImage)?;
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if &header[0x202..0x206] != b"HdrS" || u16_at(0x1fe) != 0xaa55 {
            return Err(SetupError::NotBzImage);
        }
        if u16_at(0x206) < 0x020a {
            return Err(SetupError::TooOld(u16_at(0x206)));
        }
        if header[0x211] & 1 == 0 {
            return Err(SetupError::LoadsLow);
        }
        let sectors = match header[0x1f1] {
            0 => 5,
            more @ 64.. => return Err(SetupError::SetupTooLong(more)),
            n => u32::from(n) + 1,
        };
        let payload = (kernel.len() as u64).checked_sub(u64::from(sectors) * SECTOR).filter(|&bytes| bytes > 0);
        let payload = payload.ok_or(SetupError::NotBzImage)?;
        let needed = u64_at(0x258).max(MIB).saturating_add(u64::from(u32_at(0x260)));
        Ok(Setup {
            sectors,
            floor: needed.max(MIB + payload.next_multiple_of(SECTOR)),
            initrd_limit: u64::from(u32_at(0x22c)) + 1,
            cmdline_size: u32_at(0x238),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A bzImage of 2 + `payload` sectors in which only the header means anything.
    pub fn bzimage(payload: usize) -> Vec<u8> {
        let mut kernel: Vec<u8> = (0..(2 + payload) * 512).map(|i| (i / 3) as u8).collect();
        kernel[0x1f1] = 1;
        kernel[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x206..0x208].copy_from_slice(&0x020fu16.to_le_bytes());
        kernel[0x211] = 1;
        kernel[0x22c..0x230].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        kernel[0x238..0x23c].copy_from_slice(&2047u32.to_le_bytes());
        kernel[0x258..0x260].copy_from_slice(&(16 * MIB).to_le_bytes());
        kernel[0x260..0x264].copy_from_slice(&(40 * MIB as u32).to_le_bytes());
        kernel
    }

    #[test]
    fn facts_come_from_the_header() {
        let setup = Setup::parse(&bzimage(8)).unwrap();
        assert_eq!(setup, Setup { sectors: 2, floor: 56 * MIB, initrd_limit: 1 << 31, cmdline_size: 2047 });
    }

    #[test]
    fn setup_sects_zero_means_four() {
        let mut kernel = bzimage(8);
        kernel[0x1f1] = 0;
        assert_eq!(Setup::parse(&kernel).unwrap().sectors, 5);
    }

    #[test]
    fn what_cannot_be_started_is_named() {
        let damaged = |at: usize, value: u8| {
            let mut kernel = bzimage(8);
            kernel[at] = value;
            Setup::parse(&kernel).unwrap_err()
        };
        assert_eq!(damaged(0x202, b'h'), SetupError::NotBzImage);
        assert_eq!(damaged(0x1fe, 0), SetupError::NotBzImage);
        assert_eq!(damaged(0x206, 9), SetupError::TooOld(0x0209));
        assert_eq!(damaged(0x211, 0), SetupError::LoadsLow);
        assert_eq!(damaged(0x1f1, 64), SetupError::SetupTooLong(64));
        assert_eq!(damaged(0x1f1, 60), SetupError::NotBzImage, "the file ends within its setup sectors");
        assert_eq!(Setup::parse(&bzimage(0)), Err(SetupError::NotBzImage));
        assert_eq!(Setup::parse(b"MZ"), Err(SetupError::NotBzImage));
    }
}
