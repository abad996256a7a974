//! What a file given as a kernel is: one of the forms below, or something else with a name.
//!
//! | form | told by | boots by |
//! |---|---|---|
//! | bzImage | `HdrS` | BIOS, UEFI if it has an EFI stub, directly |
//! | `Image` of arm64 and RISC-V | a magic at byte 56 | UEFI if it has an EFI stub, directly |
//! | zboot image, an EFI program with an `Image` packed inside | `MZ` and `zimg` | UEFI |
//! | vmlinux, the ELF file of the kernel's build | ELF, and a kernel's banner | directly |
//!
//! A compressed `Image` or vmlinux is decompressed by whoever opens it. Not supported: 32-bit and big-endian ELF files.
//! Specifications: Linux Documentation/arch/x86/boot.rst, Documentation/arm64/booting.rst ("Call the kernel image"),
//! Documentation/riscv/boot-image-header.rst, drivers/firmware/efi/libstub/zboot-header.S; PE format; System V ABI.

use crate::arch::Arch;
use crate::formats::bzimage::{self, Header, Invalid, Payload};
use crate::formats::pe;
use crate::recognise::{self, Kind, Refusal, Wanted};
use std::path::Path;

/// Magic of an arm64 `Image` at byte 56.
const ARM64_MAGIC: &[u8; 4] = b"ARM\x64";
/// Second magic of a RISC-V `Image` at byte 56.
const RISCV_MAGIC: &[u8; 4] = b"RSC\x05";
/// Where both are.
const IMAGE_MAGIC_AT: usize = 56;
/// What a kernel's banner begins with, in uncompressed images.
const BANNER: &[u8] = b"Linux version ";

/// Magic of a zboot image at byte 4, and where the offset and length of what is packed stand.
const ZBOOT_MAGIC: &[u8; 4] = b"zimg";
const ZBOOT_PAYLOAD_AT: usize = 8;
/// First bytes of a 64-bit little-endian ELF file, and the types of those that are programs.
const ELF_MAGIC: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
const ELF_PROGRAMS: [u8; 2] = [2, 3];

/// The form of a boot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// x86's own.
    BzImage,
    /// arm64's and RISC-V's, not compressed.
    Image,
    /// An EFI program that unpacks an `Image`.
    Zboot,
    /// An ELF file.
    Vmlinux,
}

/// The facts of a boot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its architecture.
    pub arch: Arch,
    /// Its release, when the file says it.
    pub release: Option<String>,
    /// Its form.
    pub form: Format,
    /// What a bzImage's header says; `None` for other formats.
    pub bzimage: Option<Header>,
    /// How the kernel inside is packed; [`Payload::Unknown`] when it is not.
    pub payload: Payload,
    /// Where the packed kernel is in the file: offset and length in bytes; `None` when it is not packed.
    pub packed: Option<(u64, u64)>,
    /// Whether it is an EFI program of its own architecture.
    pub efi_stub: bool,
}

impl Image {
    /// The format's name.
    pub fn format(&self) -> &'static str {
        match self.form {
            Format::BzImage => "bzImage",
            Format::Image => "Image",
            Format::Zboot => "zboot",
            Format::Vmlinux => "vmlinux",
        }
    }
}

/// A file that is no kernel of ours: what it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAKernel {
    /// With its article: "an ELF file (vmlinux) for x86_64".
    pub found: String,
    /// The same, where it is something else altogether and not a kernel that is damaged.
    pub kind: Option<Kind>,
}

impl NotAKernel {
    /// The remedy, for a file at `path`.
    pub fn hint(&self, path: &Path) -> Option<String> {
        Refusal::new(self.kind.clone()?, Wanted::Kernel, Some(path)).hint()
    }
}

/// Looks at a file. `prefix` is its beginning ([`bzimage::SETUP_MAX`] bytes or all of it), `length` its length in
/// bytes, `payload_start` gives the first bytes at an offset.
pub fn recognise(prefix: &[u8], length: u64, payload_start: impl FnOnce(u64) -> Vec<u8>) -> Result<Image, NotAKernel> {
    if bzimage::is_bzimage(prefix) {
        let (header, release) = bzimage_header(prefix, length).map_err(|invalid| refuse(invalid.to_string()))?;
        let payload = Payload::of(&payload_start(header.payload.0));
        let arch = if header.is_64_bit { Arch::X86_64 } else { Arch::X86 };
        let efi_stub = header.efi_machine.and_then(Arch::from_pe_machine) == Some(arch);
        let (release, packed) = (Some(release), Some(header.payload));
        return Ok(Image { arch, release, form: Format::BzImage, bzimage: Some(header), payload, packed, efi_stub });
    }
    if prefix.starts_with(b"MZ") && prefix.get(4..8) == Some(ZBOOT_MAGIC) {
        return zboot(prefix, length, payload_start);
    }
    if prefix.starts_with(&ELF_MAGIC) && prefix.get(16).is_some_and(|kind| ELF_PROGRAMS.contains(kind)) {
        let arch = elf_arch(prefix).ok_or_else(|| name_it(prefix))?;
        return Ok(Image { form: Format::Vmlinux, efi_stub: false, ..plain_image(arch, prefix) });
    }
    match prefix.get(IMAGE_MAGIC_AT..IMAGE_MAGIC_AT + 4) {
        Some(magic) if magic == ARM64_MAGIC => Ok(plain_image(Arch::Aarch64, prefix)),
        Some(magic) if magic == RISCV_MAGIC => Ok(plain_image(Arch::Riscv64, prefix)),
        _ => Err(name_it(prefix)),
    }
}

/// The header of a bzImage, and its release: one that is usable as a file name.
pub fn bzimage_header(prefix: &[u8], length: u64) -> Result<(Header, String), Invalid> {
    let header = bzimage::parse(prefix, length)?;
    let release = header.release().filter(|release| super::is_release(release)).map(str::to_owned);
    release.map(|release| (header, release)).ok_or(Invalid::Field("kernel_version"))
}

fn plain_image(arch: Arch, prefix: &[u8]) -> Image {
    let efi_stub = pe::machine(prefix).and_then(Arch::from_pe_machine) == Some(arch);
    Image { arch, release: None, form: Format::Image, bzimage: None, payload: Payload::Unknown, packed: None, efi_stub }
}

fn zboot(prefix: &[u8], length: u64, payload_start: impl FnOnce(u64) -> Vec<u8>) -> Result<Image, NotAKernel> {
    let arch = pe::machine(prefix).and_then(Arch::from_pe_machine);
    let arch = arch.ok_or_else(|| refuse("an EFI zboot image of no known architecture"))?;
    let field = |at: usize| prefix.get(at..)?.first_chunk().map(|b| u64::from(u32::from_le_bytes(*b)));
    let packed = field(ZBOOT_PAYLOAD_AT).zip(field(ZBOOT_PAYLOAD_AT + 4)).filter(|(at, size)| at + size <= length);
    let (at, size) = packed.ok_or_else(|| refuse("a truncated EFI zboot image"))?;
    let payload = Payload::of(&payload_start(at));
    Ok(Image { form: Format::Zboot, payload, packed: Some((at, size)), efi_stub: true, ..plain_image(arch, prefix) })
}

/// The release in the banner of an uncompressed kernel.
pub fn banner_release(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    while let Some(at) = find(rest, BANNER) {
        rest = &rest[at + BANNER.len()..];
        let word = &rest[..rest.iter().take(257).position(|&b| b == b' ').unwrap_or(0)];
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

fn refuse(found: impl Into<String>) -> NotAKernel {
    NotAKernel { found: found.into(), kind: None }
}

/// What is no kernel, called by what it is.
fn name_it(prefix: &[u8]) -> NotAKernel {
    match recognise::start(prefix) {
        Kind::Unknown if bzimage_magic_alone(prefix) => refuse("a truncated bzImage"),
        kind => NotAKernel { found: kind.words(), kind: Some(kind) },
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
        assert_eq!(found(&elf), "an ELF file for aarch64");
        assert_eq!(found(&[0x1f, 0x8b, 8, 0]), "gzip-compressed data");
        assert_eq!(found(b"MZ\0\0zimg\0\0"), "an EFI zboot image of no known architecture");
        assert_eq!(found(b"MZ and more"), "an EFI program");
        assert_eq!(found(b"ADB.more"), "an apk version 3 package");
        assert_eq!(found(b"hello"), "text");
        assert_eq!(found(b"\xfe\xfe"), "a file of no known format");
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
    fn a_zboot_image_and_a_vmlinux_are_recognised() {
        let mut image = vec![0u8; 4096];
        image[..8].copy_from_slice(b"MZ\0\0zimg");
        image[8..16].copy_from_slice(&[0, 8, 0, 0, 0, 2, 0, 0]);
        image[0x3c] = 0x40;
        image[0x40..0x46].copy_from_slice(b"PE\0\0\x64\xaa");
        let zboot = recognise(&image, 4096, |at| if at == 2048 { vec![0x1f, 0x8b] } else { Vec::new() }).unwrap();
        assert_eq!((zboot.arch, zboot.efi_stub, zboot.format()), (Arch::Aarch64, true, "zboot"));
        assert_eq!((zboot.payload, zboot.packed), (Payload::Gzip, Some((2048, 512))));
        assert_eq!(found(&image[..2048]), "a truncated EFI zboot image");

        let mut elf = vec![0u8; 64];
        elf[..6].copy_from_slice(&ELF_MAGIC);
        (elf[16], elf[18]) = (2, 62);
        let vmlinux = recognise(&elf, 64, |_| Vec::new()).unwrap();
        assert_eq!((vmlinux.arch, vmlinux.efi_stub, vmlinux.format()), (Arch::X86_64, false, "vmlinux"));
        elf[16] = 1;
        assert_eq!(found(&elf), "a module of a kernel, or another object file");
    }

    #[test]
    fn the_banner_is_told_from_its_format_string() {
        let text = b"xLinux version %s (%s)\0...Linux version 6.1.0-9-arm64 (x) #1\0";
        assert_eq!(banner_release(text).as_deref(), Some("6.1.0-9-arm64"));
        assert_eq!(banner_release(b"Linux version"), None);
        assert_eq!(banner_release(b"Linux version 6/../x y"), None);
    }

    /// What a header says is checked where it is a number; what it is called where it becomes a path.
    #[test]
    fn a_bzimage_with_an_impossible_address_or_release_is_no_kernel() {
        let cases: [(usize, &[u8], &str); 5] = [
            (0x258, &[0xff; 12], "pref_address"),
            (0x258, &[0, 0, 0, 0xf0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0x10], "pref_address"),
            (0x400, b"../../etc ", "kernel_version"),
            (0x20e, &[0, 0], "kernel_version"),
            (0x20e, &[0xff, 0xff], "kernel_version"),
        ];
        for (at, bytes, field) in cases {
            let mut image = bzimage::tests::sample("6.1");
            image[at..at + bytes.len()].copy_from_slice(bytes);
            let refused = recognise(&image, image.len() as u64, |_| Vec::new()).unwrap_err();
            assert_eq!(refused.found, format!("a bzImage with an impossible {field}"));
        }
    }
}
