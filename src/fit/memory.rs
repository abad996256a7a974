//! The least memory that a machine needs to start a kernel: what certainly does not suffice, not what suffices for work.
//!
//! | | kernel and initramfs | beside them |
//! |---|---|---|
//! | BIOS, direct | where the kernel unpacks itself to, what it needs there (`init_size`), the whole initramfs | SeaBIOS, 1 MiB |
//! | UEFI | the same | the firmware itself and the loader's copies; a unified kernel image, which stays whole beside them |
//! | aarch64 | the image with its unset data, the whole initramfs | firmware, as above |
//!
//! Measured with Debian 12's kernels and firmware: at these figures a machine may start, below them none does.

use crate::arch::Architecture;
use crate::boot::bios;
#[cfg(doc)]
use crate::formats::bzimage;
use crate::qemu::Boot;

const MIB: u64 = 1 << 20;
/// What OVMF and AAVMF keep for themselves.
const UEFI: u64 = 64 * MIB;
/// What SeaBIOS keeps at the top.
const SEABIOS: u64 = MIB;

/// Bytes that kernel and initramfs take until the kernel runs; `None` for a kernel that does not say. The kernel's first
/// bytes ([`bzimage::SETUP_MAX`] or all of them) say it, together with how many it has.
pub(super) fn needs(arch: Architecture, (kernel, length): (&[u8], u64), initramfs: u64) -> Option<u64> {
    match arch {
        Architecture::X86_64 => bios::floor(kernel, length)?.checked_add(initramfs),
        Architecture::Aarch64 => image_size(kernel)?.checked_add(initramfs),
    }
}

/// `image_size` of an arm64 `Image`: everything from its first byte to its last unset one (Linux,
/// Documentation/arm64/booting.rst). Zero in kernels before 3.17.
fn image_size(kernel: &[u8]) -> Option<u64> {
    const MAGIC: &[u8] = b"ARM\x64";
    let size = u64::from_le_bytes(*kernel.get(16..)?.first_chunk()?);
    (kernel.get(56..60)? == MAGIC && size > 0 && size < 1 << 40).then_some(size)
}

/// MiB that a machine must have to start in this way what needs so many bytes, and is in a unified kernel image of so many
/// (none: 0).
pub(super) fn least(needs: u64, unified: u64, boot: &Boot) -> u64 {
    let beside = if *boot == Boot::Uefi { UEFI.saturating_add(unified) } else { SEABIOS };
    needs.saturating_add(beside).div_ceil(MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_says_what_it_needs_or_nothing_is_known() {
        let kernel = bios::bzimage(20);
        let length = kernel.len() as u64;
        let floor = bios::floor(&kernel, length).unwrap();
        assert_eq!(needs(Architecture::X86_64, (&kernel, length), 5 * MIB), Some(floor + 5 * MIB));
        assert_eq!(needs(Architecture::X86_64, (&kernel, length - 1), 5 * MIB), None, "it is cut short");
        let mut image = vec![0; 64];
        image[56..60].copy_from_slice(b"ARM\x64");
        assert_eq!(needs(Architecture::Aarch64, (&image, 64), 5), None, "an old kernel");
        image[16..24].copy_from_slice(&(30 * MIB).to_le_bytes());
        assert_eq!(needs(Architecture::Aarch64, (&image, 64), MIB), Some(31 * MIB));
        image[16..24].fill(0xff);
        assert_eq!(needs(Architecture::Aarch64, (&image, 64), MIB), None, "an impossible one");
        for arch in [Architecture::X86_64, Architecture::Aarch64] {
            assert_eq!(needs(arch, (b"\x7fELF", 4), 1), None);
            assert_eq!(needs(arch, (b"", 0), 1), None);
        }
    }

    #[test]
    fn firmware_takes_its_part() {
        assert_eq!(least(72 * MIB, 0, &Boot::Bios), 73);
        assert_eq!(least(72 * MIB - 1, 0, &Boot::Bios), 73);
        assert_eq!(least(72 * MIB, 0, &Boot::Uefi), 136);
        assert_eq!(least(72 * MIB, 20 * MIB, &Boot::Uefi), 156);
        assert_eq!(least(72 * MIB, 20 * MIB, &Boot::Bios), 73, "it reads the parts alone");
        assert_eq!(least(u64::MAX, 0, &Boot::Uefi), u64::MAX.div_ceil(MIB));
    }
}
