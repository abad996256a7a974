//! PID 1 of the guest as bytes: the static binary `bootdisk-init`, built by `build.rs` from `src/init` and carried
//! inside bootdisk, so that one file makes disks anywhere.
//!
//! Not supported: architectures other than x86_64 and aarch64; aarch64 only when the Rust standard library and a
//! linker for it were there when bootdisk was built.

const X86_64: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pid1-x86_64"));
const AARCH64: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pid1-aarch64"));

/// The ELF executable for a guest architecture, named as Rust names it (`x86_64`, `aarch64`), for mode 0755 at
/// `/init` of the initramfs. `None` when this bootdisk was built without it.
pub fn init_binary(arch: &str) -> Option<&'static [u8]> {
    let bytes = match arch {
        "x86_64" => X86_64,
        "aarch64" => AARCH64,
        _ => return None,
    };
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::init_binary;

    /// Largest binary that still counts as small, in bytes: it is copied into every disk.
    const LIMIT: usize = 1_572_864;

    /// Type of the program header that names a dynamic loader (System V ABI, "Program Header").
    const PT_INTERP: u32 = 3;

    #[test]
    fn the_binary_is_small_static_and_names_no_place_it_was_built_in() {
        let bytes = init_binary(std::env::consts::ARCH).expect("build.rs always builds for its own architecture");
        assert_eq!(&bytes[..4], b"\x7fELF");
        assert!(bytes.len() <= LIMIT, "{} bytes", bytes.len());
        assert!(segment_types(bytes).contains(&1), "PID 1 has something to load");
        assert!(!segment_types(bytes).contains(&PT_INTERP), "PID 1 asks for a dynamic loader");
        assert!(!contains(bytes, env!("CARGO_MANIFEST_DIR").as_bytes()), "the checkout's path is in PID 1");
    }

    #[test]
    fn an_unknown_architecture_has_none() {
        assert_eq!(init_binary("vax"), None);
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
