//! What the boot stage must know of a kernel, from the header that [`crate::formats::bzimage`] reads.
//!
//! Not supported: kernels that must run, or need memory to start, above 4 GiB.

use crate::formats::bzimage::{self, Invalid};
use thiserror::Error;

/// Why a file cannot be started by the boot stage.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SetupError {
    /// Its header.
    #[error("kernel is {0}")]
    Header(#[from] Invalid),
    /// It is to run where this stage puts nothing.
    #[error("kernel needs memory up to {0:#x} to start, and BIOS boot uses memory below 4 GiB")]
    Address(u64),
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
    pub limit: u64,
    /// Longest command line in bytes, without its NUL.
    pub cmdline_size: u32,
}

impl Setup {
    /// Reads the header of a whole bzImage.
    pub fn parse(kernel: &[u8]) -> Result<Setup, SetupError> {
        Setup::of(&kernel[..kernel.len().min(bzimage::SETUP_MAX)], kernel.len() as u64)
    }

    /// That of one of `length` bytes, by its first ones: [`bzimage::SETUP_MAX`], or all of them.
    pub fn of(prefix: &[u8], length: u64) -> Result<Setup, SetupError> {
        let header = bzimage::parse(prefix, length)?;
        let limit = (u64::from(header.initrd_addr_max) + 1).min(bzimage::BELOW_4G);
        if header.floor() > bzimage::BELOW_4G {
            return Err(SetupError::Address(header.floor()));
        }
        let (sectors, floor) = (header.setup_sectors(), header.floor());
        Ok(Setup { sectors, floor, limit, cmdline_size: header.cmdline_size })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A bzImage of 2 + `payload` sectors in which only the header means anything.
    pub fn bzimage(payload: usize) -> Vec<u8> {
        let mut kernel: Vec<u8> = (0..(2 + payload) * 512).map(|i| (i / 3) as u8).collect();
        kernel[0x1f1] = 1;
        kernel[0x1f4..0x1f8].copy_from_slice(&(payload as u32 * 32).to_le_bytes());
        kernel[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x206..0x208].copy_from_slice(&0x020fu16.to_le_bytes());
        kernel[0x211] = 1;
        kernel[0x248..0x250].fill(0);
        kernel[0x22c..0x230].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        kernel[0x238..0x23c].copy_from_slice(&2047u32.to_le_bytes());
        kernel[0x258..0x260].copy_from_slice(&(16 * MIB).to_le_bytes());
        kernel[0x260..0x264].copy_from_slice(&(40 * MIB as u32).to_le_bytes());
        kernel
    }

    #[test]
    fn facts_come_from_the_header() {
        let setup = Setup::parse(&bzimage(8)).unwrap();
        assert_eq!(setup, Setup { sectors: 2, floor: 56 * MIB, limit: 1 << 31, cmdline_size: 2047 });
    }

    #[test]
    fn setup_sects_zero_means_four() {
        let mut kernel = bzimage(8);
        kernel[0x1f1] = 0;
        // Of the ten sectors five are the setup part then.
        kernel[0x1f4..0x1f6].copy_from_slice(&(5u16 * 32).to_le_bytes());
        assert_eq!(Setup::parse(&kernel).unwrap().sectors, 5);
    }

    #[test]
    fn what_cannot_be_started_is_named() {
        let damaged = |at: usize, value: u8| {
            let mut kernel = bzimage(8);
            kernel[at] = value;
            Setup::parse(&kernel).unwrap_err()
        };
        let field = |name| SetupError::Header(Invalid::Field(name));
        assert_eq!(damaged(0x202, b'h'), SetupError::Header(Invalid::NoHeader));
        assert_eq!(damaged(0x1fe, 0), SetupError::Header(Invalid::NoHeader));
        assert_eq!(damaged(0x206, 9), SetupError::Header(Invalid::OldProtocol(0x0209)));
        assert_eq!(damaged(0x211, 0), field("loadflags (it is a zImage)"));
        assert_eq!(damaged(0x1f1, 64), field("setup_sects"));
        let ends_early = |error| matches!(error, SetupError::Header(Invalid::Truncated { .. }));
        assert!(ends_early(damaged(0x1f1, 60)), "the file ends within its setup sectors");
        assert_eq!(Setup::parse(b"MZ"), Err(SetupError::Header(Invalid::NoHeader)));
        // Bytes of pref_address: behind 4 GiB, then behind everything.
        assert_eq!(damaged(0x25c, 1), SetupError::Address((1 << 32) + 56 * MIB));
        assert_eq!(damaged(0x25f, 0x80), SetupError::Address((1 << 63) + 56 * MIB));
        let mut last = bzimage(8);
        last[0x258..0x260].fill(0xff);
        assert_eq!(Setup::parse(&last), Err(field("pref_address")));
        // And of init_size.
        assert_eq!(damaged(0x263, 0xff), SetupError::Address(16 * MIB + 0xff80_0000));
    }
}
