//! PID 1 of the guest as bytes: the static binary `bootdisk-init`, built by `build.rs` from `src/init` and carried
//! inside bootdisk, so that one file makes disks anywhere.
//!
//! Not supported: architectures other than x86_64 and aarch64; the one that is not the build machine's only when a
//! Rust standard library and a linker for it were there when bootdisk was built.

use crate::arch::Architecture;
use thiserror::Error;

/// PID 1 for one architecture, or what `build.rs` missed for it.
macro_rules! embedded {
    ($name:literal, $lacks:literal) => {
        (
            Pid1 {
                bytes: include_bytes!(concat!(env!("OUT_DIR"), "/pid1-", $name)),
                sha256: include_bytes!(concat!(env!("OUT_DIR"), "/pid1-", $name, ".sha256")),
            },
            env!($lacks),
        )
    };
}

/// PID 1 for one architecture.
#[derive(Clone, Copy, Debug)]
pub struct Pid1 {
    /// The ELF executable, for mode 0755 at `/init` of the initramfs.
    pub bytes: &'static [u8],
    /// SHA-256 of these.
    pub sha256: &'static [u8; 32],
}

/// This bootdisk has no PID 1 for an architecture.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("this bootdisk was built without PID 1 for {arch}: {lacks}")]
pub struct Missing {
    arch: &'static str,
    lacks: &'static str,
}

impl Missing {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let arch = self.arch;
        format!(
            "in a checkout of bootdisk: scripts/install-packages {arch} && scripts/foreign-rust {arch} (or rustup target \
             add {arch}-unknown-linux-gnu), then build it again"
        )
    }
}

/// PID 1 for a guest architecture.
pub fn init_binary(arch: Architecture) -> Result<Pid1, Missing> {
    let (pid1, lacks) = match arch {
        Architecture::X86_64 => embedded!("x86_64", "BOOTDISK_PID1_X86_64_LACKS"),
        Architecture::Aarch64 => embedded!("aarch64", "BOOTDISK_PID1_AARCH64_LACKS"),
    };
    if pid1.bytes.is_empty() { Err(Missing { arch: arch.name(), lacks }) } else { Ok(pid1) }
}

#[cfg(test)]
mod tests {
    use super::{Missing, Pid1, init_binary};
    use crate::arch::Architecture;
    use sha2::{Digest, Sha256};

    /// Largest binary that still counts as small, in bytes: it is copied into every disk.
    const LIMIT: usize = 1_753_088;

    /// Type of the program header that names a dynamic loader (System V ABI, "Program Header").
    const PT_INTERP: u32 = 3;

    #[test]
    fn the_binary_is_small_static_and_names_no_place_it_was_built_in() {
        let Pid1 { bytes, sha256 } =
            init_binary(Architecture::host().unwrap()).expect("build.rs always builds for its own architecture");
        assert_eq!(sha256, &Sha256::digest(bytes)[..]);
        assert_eq!(&bytes[..4], b"\x7fELF");
        assert!(bytes.len() <= LIMIT, "{} bytes", bytes.len());
        assert!(segment_types(bytes).contains(&1), "PID 1 has something to load");
        assert!(!segment_types(bytes).contains(&PT_INTERP), "PID 1 asks for a dynamic loader");
        assert!(!contains(bytes, env!("CARGO_MANIFEST_DIR").as_bytes()), "the checkout's path is in PID 1");
    }

    #[test]
    fn what_was_missing_is_said_with_the_remedy() {
        let missing = Missing { arch: "aarch64", lacks: "there was no linker" };
        let text = missing.to_string();
        assert_eq!(text, "this bootdisk was built without PID 1 for aarch64: there was no linker");
        assert!(missing.hint().contains("scripts/foreign-rust aarch64"), "{}", missing.hint());
        assert!(!missing.hint().contains("  "), "{}", missing.hint());
    }

    /// Types of all program headers of a 64-bit little-endian ELF file.
    fn segment_types(elf: &[u8]) -> Vec<u32> {
        let at = u64::from_le_bytes(elf[32..40].try_into().unwrap()) as usize;
        let half = |at: usize| u16::from_le_bytes([elf[at], elf[at + 1]]) as usize;
        let (size, count) = (half(54), half(56));
        (0..count).map(|i| u32::from_le_bytes(elf[at + i * size..][..4].try_into().unwrap())).collect()
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }
}
