//! GUIDs as partition tables store them: the first three fields little-endian, the rest as it is written.
//!
//! Specification: UEFI 2.10, appendix A. PID 1 has no crate for them, so this is theirs and the host's.

use std::fmt;
use std::str::FromStr;

/// A GUID, in the bytes of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

/// BIOS boot partition: GRUB's "Hah!IdontNeedEFI".
pub const BIOS_BOOT: Guid = Guid(*b"Hah!IdontNeedEFI");
/// EFI System Partition.
pub const ESP: Guid = Guid::new(0xc12a_7328, 0xf81f, 0x11d2, 0xba4b_00a0_c93e_c93b);
/// Any Linux file system.
pub const LINUX: Guid = Guid::new(0x0fc6_3daf, 0x8483, 0x4772, 0x8e79_3d69_d847_7de4);
/// Root of x86-64 (Discoverable Partitions Specification).
pub const ROOT_X86_64: Guid = Guid::new(0x4f68_bce3, 0xe8cd, 0x4db1, 0x96e7_fbca_f984_b709);
/// Root of arm64.
pub const ROOT_ARM64: Guid = Guid::new(0xb921_b045, 0x1df0, 0x41c3, 0xaf44_4c6f_280d_3fae);

/// Hashes of a root of x86-64.
pub const VERITY_X86_64: Guid = Guid::new(0x2c73_57ed, 0xebd2, 0x46d9, 0xaec1_23d4_37ec_2bf5);
/// Hashes of a root of arm64.
pub const VERITY_ARM64: Guid = Guid::new(0xdf33_00ce, 0xd69f, 0x4c92, 0x978c_9bfb_0f38_d820);

impl Guid {
    /// The fields as a GUID is written, the last two together.
    pub const fn new(a: u32, b: u16, c: u16, d: u64) -> Guid {
        let ([a0, a1, a2, a3], [b0, b1], [c0, c1]) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
        let [d0, d1, d2, d3, d4, d5, d6, d7] = d.to_be_bytes();
        Guid([a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7])
    }

    /// Whether it is nothing but zeros: the type of an entry that is not used.
    pub fn is_nil(&self) -> bool {
        self.0 == [0; 16]
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, rest @ ..] = self.0;
        write!(f, "{:08x}", u32::from_le_bytes([a0, a1, a2, a3]))?;
        write!(f, "-{:04x}-{:04x}-", u16::from_le_bytes([b0, b1]), u16::from_le_bytes([c0, c1]))?;
        rest[..2].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("-")?;
        rest[2..].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Guid {
    type Err = ();

    /// 32 hexadecimal digits, in groups of 8, 4, 4, 4 and 12.
    fn from_str(text: &str) -> Result<Guid, ()> {
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        if lengths != [8, 4, 4, 4, 12] || !groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        let number = |digits: &str| u64::from_str_radix(digits, 16).map_err(drop);
        let rest = number(groups[3])? << 48 | number(groups[4])?;
        Ok(Guid::new(number(groups[0])? as u32, number(groups[1])? as u16, number(groups[2])? as u16, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_stored_with_three_fields_reversed() {
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let guid: Guid = text.parse().unwrap();
        assert_eq!(guid.0[..8], [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66]);
        assert_eq!(guid.0[8..], [0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]);
        assert_eq!(guid.to_string(), text);
        assert_eq!(BIOS_BOOT.to_string(), "21686148-6449-6e6f-744e-656564454649");
        for bad in [
            "",
            "00112233-4455-6677-8899-aabbccddeefg",
            "00112233445566778899aabbccddeeff",
            "+0112233-4455-6677-8899-aabbccddeeff",
        ] {
            assert_eq!(bad.parse::<Guid>(), Err(()), "{bad}");
        }
    }
}
