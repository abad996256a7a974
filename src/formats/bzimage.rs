//! The x86 kernel image (bzImage): what its setup header says.
//!
//! ```text
//! 0        0x1f1              0x268   (setup_sects + 1) * 512
//! ├ sector ┴ setup header ────┴ ... ──┼ protected-mode code, payload inside ──────┤
//!   "MZ" when the image is also a PE/COFF program with an EFI stub
//! ```
//!
//! Not supported: boot protocols before 2.12 (Linux 3.8), which lack `xloadflags` and `init_size`, and zImage.
//! Specification: Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".

use super::{pe, u16_at, u32_at, u64_at};

/// `boot_flag`, the signature of a boot sector, at [`BOOT_FLAG_AT`].
const BOOT_FLAG: u16 = 0xaa55;
/// Where `boot_flag` is.
const BOOT_FLAG_AT: usize = 0x1fe;
/// `header`, the magic of a setup header, at [`HEADER_AT`].
const HEADER: &[u8; 4] = b"HdrS";
/// Where `header` is.
const HEADER_AT: usize = 0x202;
/// End of the fields read here: past `handover_offset`.
const HEADER_END: usize = 0x268;
/// The oldest boot protocol accepted, major in the high byte.
pub const MINIMUM_PROTOCOL: u16 = 0x020c;
/// `setup_sects` of 0 means this many, for the sake of very old kernels.
const DEFAULT_SETUP_SECTS: u8 = 4;
/// Where the protected-mode part is loaded.
const MIB: u64 = 1 << 20;
/// End of what a loader without paging uses: 4 GiB without the last page, so that no sum of 32 bits wraps.
pub const BELOW_4G: u64 = 0xffff_f000;
/// The most sectors a setup part may have: it must fit below its heap at 64 KiB.
const MAX_SETUP_SECTS: u8 = 63;
/// Real-mode sector size, in bytes.
const SECTOR: usize = 512;
/// `kernel_version` counts from here.
const KERNEL_VERSION_BASE: usize = 0x200;
/// Bit of `loadflags`: the protected-mode code is loaded at 1 MiB (bzImage) and not at 64 KiB (zImage).
const LOADED_HIGH: u8 = 1;
/// Bit of `xloadflags`: there is a 64-bit entry point.
const XLF_KERNEL_64: u16 = 1;
/// How much of a file holds the whole setup part at most, in bytes.
pub const SETUP_MAX: usize = (MAX_SETUP_SECTS as usize + 1) * SECTOR;

/// How the vmlinux inside is packed (Kconfig `KERNEL_GZIP` and so on), told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// gzip.
    Gzip,
    /// xz, behind an x86 branch filter.
    Xz,
    /// Zstandard.
    Zstd,
    /// LZ4, legacy frame.
    Lz4,
    /// LZMA, alone.
    Lzma,
    /// LZO.
    Lzo,
    /// bzip2.
    Bzip2,
    /// None of these.
    Unknown,
}

impl Payload {
    /// The kind of a payload that begins with `bytes`.
    pub fn of(bytes: &[u8]) -> Payload {
        match bytes {
            [0x1f, 0x8b, ..] => Payload::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Payload::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Payload::Zstd,
            [0x02, 0x21, 0x4c, 0x18, ..] => Payload::Lz4,
            [0x5d, 0, 0, ..] => Payload::Lzma,
            [0x89, b'L', b'Z', b'O', ..] => Payload::Lzo,
            [b'B', b'Z', b'h', ..] => Payload::Bzip2,
            _ => Payload::Unknown,
        }
    }

    /// Its name, as Kconfig has it, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Payload::Gzip => "gzip",
            Payload::Xz => "xz",
            Payload::Zstd => "zstd",
            Payload::Lz4 => "lz4",
            Payload::Lzma => "lzma",
            Payload::Lzo => "lzo",
            Payload::Bzip2 => "bzip2",
            Payload::Unknown => "unknown",
        }
    }
}

/// What a setup header says, under the field names of boot.rst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Boot protocol, major in the high byte.
    pub version: u16,
    /// The version string: release, who built it, `#` and the build; `None` when there is none that is text.
    pub kernel_version: Option<String>,
    /// There is a 64-bit entry point.
    pub is_64_bit: bool,
    /// Machine of the EFI stub; `None` when the image has no stub.
    pub efi_machine: Option<u16>,
    /// Flags of protocol 2.12 and later.
    pub xloadflags: u16,
    /// Sectors of the setup part, without the boot sector; 1 to 63.
    pub setup_sects: u8,
    /// Highest address an initramfs may end at, inclusive.
    pub initrd_addr_max: u32,
    /// Longest command line, in bytes, without its NUL.
    pub cmdline_size: u32,
    /// The image can run anywhere (Kconfig RELOCATABLE).
    pub relocatable: bool,
    /// Where the kernel prefers to run, a physical address.
    pub pref_address: u64,
    /// Memory the kernel needs from where it runs before it looks at a memory map, in bytes.
    pub init_size: u32,
    /// Where the packed vmlinux is in the file: offset and length in bytes.
    pub payload: (u64, u64),
    /// Bytes of the file that a loader needs: setup part and protected-mode code.
    pub size: u64,
}

impl Header {
    /// The release: the first word of the version string.
    pub fn release(&self) -> Option<&str> {
        self.kernel_version.as_deref()?.split(' ').next()
    }

    /// Sectors of the real-mode part, the first included; 2 to 64.
    pub fn setup_sectors(&self) -> u32 {
        u32::from(self.setup_sects) + 1
    }

    /// Lowest address above everything the kernel needs before it knows its memory.
    pub fn floor(&self) -> u64 {
        // That this is a number was settled when the header was read.
        let needed = self.pref_address.max(MIB).saturating_add(self.init_size.into());
        let loaded =
            MIB + (self.size - u64::from(self.setup_sectors()) * SECTOR as u64).next_multiple_of(SECTOR as u64);
        needed.max(loaded)
    }
}

/// Why bytes are not a usable bzImage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No setup header.
    #[error("no bzImage (no boot signature or no setup header)")]
    NoHeader,
    /// Shorter than its header says.
    #[error("a truncated bzImage ({have} of {need} bytes)")]
    Truncated {
        /// Bytes there are.
        have: u64,
        /// Bytes there should be.
        need: u64,
    },
    /// Older than [`MINIMUM_PROTOCOL`].
    #[error("a bzImage of boot protocol {}.{:02} (2.12 is needed, Linux 3.8)", .0 >> 8, .0 & 0xff)]
    OldProtocol(u16),
    /// A zImage, or a field outside its range.
    #[error("a bzImage with an impossible {0}")]
    Field(&'static str),
}

/// Whether `prefix` has the two magics of a setup header.
pub fn is_bzimage(prefix: &[u8]) -> bool {
    u16_at(prefix, BOOT_FLAG_AT) == Some(BOOT_FLAG) && prefix.get(HEADER_AT..HEADER_AT + 4) == Some(HEADER)
}

/// Reads the setup header. `prefix` is the beginning of the file ([`SETUP_MAX`] bytes or the whole of it), `length`
/// the file's length in bytes. `payload_start` is not looked at here: see [`Payload::of`].
pub fn parse(prefix: &[u8], length: u64) -> Result<Header, Invalid> {
    if !is_bzimage(prefix) {
        return Err(Invalid::NoHeader);
    }
    let short = |need: usize| Invalid::Truncated { have: length, need: need as u64 };
    let version = u16_at(prefix, 0x206).ok_or(short(HEADER_END))?;
    if version < MINIMUM_PROTOCOL {
        return Err(Invalid::OldProtocol(version));
    }
    let header = prefix.get(..HEADER_END).ok_or(short(HEADER_END))?;
    let (u16, u32) = (|at| u16_at(header, at).unwrap_or(0), |at| u32_at(header, at).unwrap_or(0));

    let setup_sects = if header[0x1f1] == 0 { DEFAULT_SETUP_SECTS } else { header[0x1f1] };
    if setup_sects > MAX_SETUP_SECTS {
        return Err(Invalid::Field("setup_sects"));
    }
    if header[0x211] & LOADED_HIGH == 0 {
        return Err(Invalid::Field("loadflags (it is a zImage)"));
    }
    let setup = (usize::from(setup_sects) + 1) * SECTOR;
    // syssize counts paragraphs of 16 bytes.
    let size = setup as u64 + u64::from(u32(0x1f4)) * 16;
    if length < size || prefix.len() < setup {
        return Err(Invalid::Truncated { have: length, need: size });
    }
    let (payload_offset, payload_length) = (u64::from(u32(0x248)), u64::from(u32(0x24c)));
    let payload = (setup as u64 + payload_offset, payload_length);
    if payload.0 + payload.1 > size {
        return Err(Invalid::Field("payload_length"));
    }

    let (pref_address, init_size) = (u64_at(header, 0x258).unwrap_or(0), u32(0x260));
    if pref_address.checked_add(init_size.into()).is_none() {
        return Err(Invalid::Field("pref_address"));
    }
    let xloadflags = u16(0x236);
    Ok(Header {
        version,
        kernel_version: version_string(&prefix[..setup], u16(0x20e)),
        is_64_bit: xloadflags & XLF_KERNEL_64 != 0,
        efi_machine: pe::machine(prefix),
        xloadflags,
        setup_sects,
        initrd_addr_max: u32(0x22c),
        cmdline_size: u32(0x238),
        relocatable: header[0x234] != 0,
        pref_address,
        init_size,
        payload,
        size,
    })
}

/// The NUL-terminated string `kernel_version` points at.
fn version_string(setup: &[u8], pointer: u16) -> Option<String> {
    if pointer == 0 {
        return None;
    }
    let bytes = setup.get(KERNEL_VERSION_BASE + usize::from(pointer)..)?;
    let end = bytes.iter().position(|&b| b == 0)?;
    std::str::from_utf8(&bytes[..end]).ok().map(str::to_owned)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A bzImage of 5 setup sectors and 64 bytes of code, without a kernel in it.
    pub(crate) fn sample(release: &str) -> Vec<u8> {
        let mut image = vec![0u8; 6 * SECTOR + 64];
        image[..2].copy_from_slice(b"MZ");
        image[0x3c] = 0x40;
        image[0x40..0x46].copy_from_slice(b"PE\0\0\x64\x86");
        image[0x1f1] = 5;
        image[0x1f4] = 4;
        image[BOOT_FLAG_AT..BOOT_FLAG_AT + 2].copy_from_slice(&BOOT_FLAG.to_le_bytes());
        image[HEADER_AT..HEADER_AT + 4].copy_from_slice(HEADER);
        image[0x206..0x208].copy_from_slice(&0x020fu16.to_le_bytes());
        image[0x20e..0x210].copy_from_slice(&0x200u16.to_le_bytes());
        image[0x211] = LOADED_HIGH;
        image[0x236] = XLF_KERNEL_64 as u8;
        image[0x24c] = 64;
        let text = format!("{release} (somebody) #1\0");
        image[0x400..0x400 + text.len()].copy_from_slice(text.as_bytes());
        image
    }

    fn parse_all(image: &[u8]) -> Result<Header, Invalid> {
        parse(&image[..image.len().min(SETUP_MAX)], image.len() as u64)
    }

    #[test]
    fn the_header_of_a_made_image_is_read() {
        let facts = parse_all(&sample("6.1.0-test")).unwrap();
        assert_eq!(facts.release(), Some("6.1.0-test"));
        assert_eq!((facts.version, facts.is_64_bit, facts.efi_machine), (0x20f, true, Some(0x8664)));
        assert_eq!((facts.size, facts.payload), (3136, (3072, 64)));
    }

    #[test]
    fn a_cut_at_any_byte_is_refused() {
        let image = sample("6.1.0-test");
        for length in 0..image.len() {
            let error = parse_all(&image[..length]).unwrap_err();
            assert!(matches!(error, Invalid::NoHeader | Invalid::Truncated { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn each_field_outside_its_range_is_named() {
        let with = |at: usize, value: &[u8]| {
            let mut image = sample("6.1");
            image[at..at + value.len()].copy_from_slice(value);
            parse_all(&image).unwrap_err()
        };
        assert_eq!(with(0x206, &[0x0b, 0x02]), Invalid::OldProtocol(0x20b));
        assert_eq!(with(0x1f1, &[64]), Invalid::Field("setup_sects"));
        assert_eq!(with(0x211, &[0]).to_string(), "a bzImage with an impossible loadflags (it is a zImage)");
        assert_eq!(with(0x24c, &[65]), Invalid::Field("payload_length"));
        assert_eq!(with(0x248, &[0xff; 8]), Invalid::Field("payload_length"));
        assert_eq!(with(0x258, &[0xff; 12]), Invalid::Field("pref_address"));
        assert!(matches!(with(0x1f4, &[0xff; 4]), Invalid::Truncated { .. }));
    }

    #[test]
    fn a_version_string_may_be_absent_and_setup_sects_of_zero_means_four() {
        let with = |at: usize, value: &[u8]| {
            let mut image = sample("6.1");
            image[at..at + value.len()].copy_from_slice(value);
            parse_all(&image).unwrap()
        };
        assert_eq!(with(0x20e, &[0, 0]).release(), None);
        assert_eq!(with(0x20e, &[0xff, 0xff]).release(), None);
        assert_eq!(with(0x400, &[0xff]).release(), None);
        assert_eq!(with(0x1f1, &[0]).setup_sectors(), 5);
    }

    /// Where a kernel wants to run and how much it needs there, and what must be free for it.
    #[test]
    fn the_floor_is_above_all_that_a_kernel_needs_and_never_wraps() {
        for (address, size, floor) in [
            (0, 0, MIB + 512),
            (16 * MIB, 40 << 20, 56 * MIB),
            (0, 40 << 20, 41 * MIB),
            (1 << 40, 0xffff_ffff, (1 << 40) + 0xffff_ffff),
            (u64::MAX - 0xffff_ffff, 0xffff_ffff, u64::MAX),
        ] {
            let mut image = sample("6.1");
            image[0x258..0x260].copy_from_slice(&u64::to_le_bytes(address));
            image[0x260..0x264].copy_from_slice(&u32::to_le_bytes(size));
            assert_eq!(parse_all(&image).unwrap().floor(), floor, "{address:#x} {size:#x}");
        }
    }

    #[test]
    fn mutated_headers_never_panic() {
        let image = sample("6.1.0-test");
        let mut seed = 1u64;
        for _ in 0..20_000 {
            let mut copy = image.clone();
            for _ in 0..4 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = 0x1e0 + (seed >> 33) as usize % 0xa0;
                copy[at] = (seed >> 24) as u8;
            }
            _ = parse_all(&copy);
        }
    }
}
