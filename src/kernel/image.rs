//! What a file given as a kernel is: a bzImage, an arm64 or RISC-V `Image`, or something else with a name.
//!
//! Not supported as kernels: ELF (vmlinux), compressed kernels, EFI zboot images; each is refused by name.
//! Specifications: Linux Documentation/arch/x86/boot.rst, Documentation/arm64/booting.rst ("Call the kernel image"),
//! Documentation/riscv/boot-image-header.rst; PE format.

use super::Arch;
use super::bzimage::{self, Facts, Payload};

/// Magic of an arm64 `Image` at byte 56.
const ARM64_MAGIC: &[u8; 4] = b"ARM\x64";
/// Second magic of a RISC-V `Image` at byte 56.
const RISCV_MAGIC: &[u8; 4] = b"RSC\x05";
/// Where both are.
const IMAGE_MAGIC_AT: usize = 56;
/// What a kernel's banner begins with, in uncompressed images.
const BANNER: &[u8] = b"Linux version ";

/// The facts of a boot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its architecture.
    pub arch: Arch,
    /// Its release, when the file says it.
    pub release: Option<String>,
    /// What a bzImage's header says; `None` for other formats.
    pub bzimage: Option<Facts>,
    /// How the kernel inside is packed.
    pub payload: Payload,
    /// Whether it is an EFI program of its own architecture.
    pub efi_stub: bool,
}

impl Image {
    /// The format's name.
    pub fn format(&self) -> &'static str {
        if self.bzimage.is_some() { "bzImage" } else { "Image" }
    }
}

/// A file that is no kernel of ours: what it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAKernel {
    /// With its article: "an ELF file (vmlinux) for x86_64".
    pub found: String,
    /// The remedy.
    pub hint: Option<&'static str>,
}

/// Looks at a file. `prefix` is its beginning ([`bzimage::SETUP_MAX`] bytes or all of it), `length` its length in
/// bytes, `payload_start` gives the first bytes at an offset.
pub fn recognise(prefix: &[u8], length: u64, payload_start: impl FnOnce(u64) -> Vec<u8>) -> Result<Image, NotAKernel> {
    if bzimage::is_bzimage(prefix) {
        let facts = bzimage::parse(prefix, length).map_err(|invalid| refuse(invalid.to_string(), None))?;
        let payload = Payload::of(&payload_start(facts.payload.0));
        let efi_stub = facts.efi_machine.and_then(Arch::from_pe_machine) == Some(facts.arch);
        let release = Some(facts.release().to_owned());
        return Ok(Image { arch: facts.arch, release, bzimage: Some(facts), payload, efi_stub });
    }
    match prefix.get(IMAGE_MAGIC_AT..IMAGE_MAGIC_AT + 4) {
        Some(magic) if magic == ARM64_MAGIC => Ok(plain_image(Arch::Aarch64, prefix)),
        Some(magic) if magic == RISCV_MAGIC => Ok(plain_image(Arch::Riscv64, prefix)),
        _ => Err(name_it(prefix)),
    }
}

fn plain_image(arch: Arch, prefix: &[u8]) -> Image {
    let efi_stub = bzimage::pe_machine(prefix).and_then(Arch::from_pe_machine) == Some(arch);
    Image { arch, release: None, bzimage: None, payload: Payload::Unknown, efi_stub }
}

/// The release in the banner of an uncompressed kernel.
pub fn banner_release(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    while let Some(at) = find(rest, BANNER) {
        rest = &rest[at + BANNER.len()..];
        let word = rest.split(|&b| b == b' ').next()?;
        // The same words stand in a format string: "Linux version %s".
        let word = std::str::from_utf8(&word[..word.len().min(256)]).unwrap_or_default();
        if word.starts_with(|c: char| c.is_ascii_digit()) && super::is_release(word) {
            return Some(word.to_owned());
        }
    }
    None
}

/// The first place of `needle` in `bytes`.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|&b| b == first) {
        if bytes[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn refuse(found: impl Into<String>, hint: Option<&'static str>) -> NotAKernel {
    NotAKernel { found: found.into(), hint }
}

fn name_it(prefix: &[u8]) -> NotAKernel {
    const DECOMPRESS: Option<&str> = Some("decompress it first, then give the kernel image inside");
    const DISTRIBUTION: Option<&str> = Some("only Debian packages are read directly: unpack it and give the directory");
    match prefix {
        [] => refuse("an empty file", None),
        [0x7f, b'E', b'L', b'F', ..] => refuse(
            format!("an ELF file (vmlinux){}", elf_arch(prefix).map(|arch| format!(" for {arch}")).unwrap_or_default()),
            Some("give the bzImage of the same build: arch/x86/boot/bzImage, or /boot/vmlinuz-RELEASE"),
        ),
        [b'M', b'Z', _, _, b'z', b'i', b'm', b'g', ..] => refuse("an EFI zboot image", None),
        [b'M', b'Z', ..] => {
            let arch = bzimage::pe_machine(prefix).and_then(Arch::from_pe_machine);
            let of = arch.map(|arch| format!(" for {arch}")).unwrap_or_default();
            refuse(format!("an EFI program{of} that is no Linux kernel"), None)
        }
        [0xed, 0xab, 0xee, 0xdb, ..] => refuse("an RPM package", DISTRIBUTION),
        _ if prefix.starts_with(b"!<arch>\n") => refuse("a Debian package", None),
        _ if prefix.get(257..262) == Some(b"ustar") => refuse("a tar archive", DISTRIBUTION),
        _ if prefix.starts_with(b"070701") => refuse("a cpio archive (an initramfs?)", None),
        _ => match Payload::of(prefix) {
            Payload::Unknown if bzimage_magic_alone(prefix) => refuse("a truncated bzImage", None),
            Payload::Unknown => refuse("no kernel image of any known format", None),
            packed => refuse(format!("{}-compressed data", packed.name()), DECOMPRESS),
        },
    }
}

/// A boot sector with nothing after it.
fn bzimage_magic_alone(prefix: &[u8]) -> bool {
    prefix.len() < 0x206 && prefix.get(0x1fe..0x200) == Some(&[0x55, 0xaa])
}

/// `e_machine` (System V ABI, "ELF Header").
fn elf_arch(prefix: &[u8]) -> Option<Arch> {
    match prefix.get(18..20)? {
        [62, 0] => Some(Arch::X86_64),
        [3, 0] => Some(Arch::X86),
        [183, 0] => Some(Arch::Aarch64),
        [243, 0] => Some(Arch::Riscv64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> String {
        recognise(bytes, bytes.len() as u64, |_| Vec::new()).unwrap_err().found
    }

    #[test]
    fn what_is_no_kernel_is_called_by_its_name() {
        assert_eq!(found(b""), "an empty file");
        let mut elf = vec![0u8; 64];
        elf[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        elf[18] = 183;
        assert_eq!(found(&elf), "an ELF file (vmlinux) for aarch64");
        assert_eq!(found(&[0x1f, 0x8b, 8, 0]), "gzip-compressed data");
        assert_eq!(found(b"MZ\0\0zimg\0\0"), "an EFI zboot image");
        assert_eq!(found(b"MZ and more"), "an EFI program that is no Linux kernel");
        assert_eq!(found(b"!<arch>\n"), "a Debian package");
        assert_eq!(found(b"hello"), "no kernel image of any known format");
    }

    #[test]
    fn an_arm_image_is_recognised() {
        let mut image = vec![0u8; 4096];
        image[..2].copy_from_slice(b"MZ");
        image[0x3c] = 0x40;
        image[56..60].copy_from_slice(ARM64_MAGIC);
        image[0x40..0x46].copy_from_slice(b"PE\0\0\x64\xaa");
        let image = recognise(&image, 4096, |_| Vec::new()).unwrap();
        assert_eq!((image.arch, image.efi_stub, image.format()), (Arch::Aarch64, true, "Image"));
    }

    #[test]
    fn the_banner_is_told_from_its_format_string() {
        let text = b"xLinux version %s (%s)\0...Linux version 6.1.0-9-arm64 (x) #1\0";
        assert_eq!(banner_release(text).as_deref(), Some("6.1.0-9-arm64"));
        assert_eq!(banner_release(b"Linux version"), None);
        assert_eq!(banner_release(b"Linux version 6/../x y"), None);
    }
}
