//! The disk's own unified kernel image: systemd's stub with the kernel, the initramfs and the command line as sections.
//!
//! ```text
//!  stub │ .osrel  .cmdline  .uname  .initrd  .linux      the order of systemd's ukify
//! ```
//!
//! UEFI starts it by itself or by systemd-boot. BIOS, which knows no such thing, reads kernel and initramfs out of it by the
//! sectors they lie in; for that each section begins on a sector (see [`crate::formats::pe::write`]).
//!
//! The stub's `.sbat` stays as it is. Text from the image gets into `.osrel` alone, and only harmless characters of it.
//! Specifications: UAPI.5 Unified Kernel Image; systemd-stub(7); os-release(5).

use super::loader;
use crate::arch::Architecture;
use crate::formats::fat::{self, Volume};
use crate::formats::pe::write::{New, append, strip};
use crate::formats::pe::{self, Headers, Section};
use crate::formats::{ReadAt, os_release, uki};
use std::io;
use std::ops::Range;

/// Folder where systemd-boot looks for them.
pub const FOLDER: &str = "EFI/Linux";
/// Path of ours on the ESP, when systemd-boot starts it.
pub const PATH: &str = "EFI/Linux/bootdisk.efi";
/// Its name, and that without suffix.
pub const NAME: &str = "bootdisk.efi";
const ID: &str = "bootdisk";
/// Bytes in which the headers of one are.
const HEADERS: u64 = 64 << 10;
/// Sections that are added to the stub, in this order.
const SECTIONS: [&str; 5] = [".osrel", ".cmdline", ".uname", ".initrd", ".linux"];
/// Others that may stand among them in somebody else's.
const OTHERS: [&str; 7] = [".dtb", ".dtbauto", ".splash", ".pcrpkey", ".pcrsig", ".ucode", ".hwids"];
/// Variables of os-release that are taken from the image.
const VARIABLES: [&str; 10] = [
    "NAME",
    "ID",
    "ID_LIKE",
    "PRETTY_NAME",
    "VERSION",
    "VERSION_ID",
    "VERSION_CODENAME",
    "BUILD_ID",
    "IMAGE_ID",
    "IMAGE_VERSION",
];

/// What a unified kernel image is made of, besides kernel, initramfs and command line.
#[derive(Clone, Copy, Debug)]
pub struct Unified<'a> {
    /// systemd's stub, as [`loader::open_stub`] has it.
    pub stub: &'a [u8],
    /// The text of `.osrel`, as [`osrel`] makes it.
    pub os_release: &'a str,
}

/// What is started.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The whole kernel file.
    pub kernel: &'a [u8],
    /// Its release.
    pub release: &'a str,
    /// The whole initramfs.
    pub initramfs: &'a [u8],
}

/// A unified kernel image.
///
/// # Errors
/// What is wrong with the stub.
pub fn encode(unified: &Unified<'_>, parts: &Parts<'_>, command_line: &str) -> Result<Vec<u8>, pe::Fault> {
    let bodies: [&[u8]; SECTIONS.len()] = [
        unified.os_release.as_bytes(),
        command_line.as_bytes(),
        parts.release.as_bytes(),
        parts.initramfs,
        parts.kernel,
    ];
    let new: Vec<New<'_>> = SECTIONS.into_iter().zip(bodies).map(|(name, body)| section(name, body)).collect();
    append(unified.stub, &new)
}

/// The same image for another kernel: stub and all other sections stay. A signature is none any more, and goes.
///
/// # Errors
/// What is wrong with the file.
pub fn with(file: &[u8], parts: &Parts<'_>) -> Result<Vec<u8>, pe::Fault> {
    let headers = Headers::parse(file)?;
    headers.check(file.len() as u64)?;
    let names: Vec<&str> = SECTIONS.into_iter().chain(OTHERS).collect();
    let stub = strip(file, &names)?;
    let is_added = |name: &[u8]| names.iter().find(|one| one.as_bytes() == name).copied();
    let mut new = Vec::new();
    for (name, old) in headers.sections.iter().filter_map(|old| Some((is_added(old.name())?, old))) {
        let body = match name {
            ".uname" => parts.release.as_bytes(),
            ".initrd" => parts.initramfs,
            ".linux" => parts.kernel,
            // It was for what is gone.
            ".pcrsig" => continue,
            _ => &file[old.body()],
        };
        new.push(section(name, body));
    }
    append(&stub, &new)
}

fn section<'a>(name: &'a str, body: &'a [u8]) -> New<'a> {
    // Kernels that know no other way are executed where they lie.
    New { name, body, code: name == ".linux" }
}

/// Where kernel and initramfs are in the file of a unified kernel image, and its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Bytes of the kernel.
    pub kernel: Range<usize>,
    /// Bytes of the initramfs; there may be none.
    pub initramfs: Option<Range<usize>>,
    /// The command line, empty where none is inside.
    pub command_line: String,
}

impl Inside {
    /// `None` for a file that is no unified kernel image.
    pub fn of(file: &[u8]) -> Option<Inside> {
        Inside::at(file, file.len() as u64).ok().flatten()
    }

    /// The same of a file of `size` bytes, of which only the headers and the command line are read.
    pub fn at(file: &(impl ReadAt + ?Sized), size: u64) -> io::Result<Option<Inside>> {
        let read = |place: Range<usize>| {
            let mut bytes = vec![0; place.len()];
            file.read_at(place.start as u64, &mut bytes).map(|()| bytes)
        };
        let headers = read(0..size.min(HEADERS) as usize).map(|start| uki::headers(&start, size))?;
        let place = |name| headers.as_ref()?.section(name).map(Section::body);
        let Some(kernel) = place(uki::LINUX) else { return Ok(None) };
        // What is empty is nowhere.
        let line = place(b".cmdline").filter(|place| !place.is_empty()).map(read).transpose()?;
        let command_line = String::from_utf8_lossy(pe::text_of(&line.unwrap_or_default())).into_owned();
        Ok(Some(Inside { kernel, initramfs: place(b".initrd"), command_line }))
    }
}

/// Whether it is a name of ours in [`FOLDER`], which may have got a counter of boots: `bootdisk+2-1.efi`.
pub fn is_ours(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.strip_suffix(".efi").is_some_and(|stem| stem.split('+').next() == Some(ID))
}

/// The one of a disk: ours in systemd-boot's folder, or the file at `fallback`, where firmware looks. Whether that is one
/// nobody has looked.
///
/// # Errors
/// As every reading of a volume.
pub fn find(volume: &Volume<impl ReadAt>, fallback: &str) -> Result<Option<fat::Entry>, fat::Error> {
    let ours = |entry: &fat::Entry| !entry.is_directory && is_ours(&entry.name);
    let found = match volume.entries(FOLDER) {
        Err(fat::Error::NoDirectory(_)) => None,
        entries => entries?.into_iter().filter(ours).min_by_key(|entry| !entry.name.eq_ignore_ascii_case(NAME)),
    };
    match found {
        Some(found) => Ok(Some(found)),
        None => volume.find_file(fallback),
    }
}

/// Where the one of a disk is: in systemd-boot's folder, or where firmware looks.
pub fn path(architecture: Architecture, by_loader: bool) -> &'static str {
    if by_loader { PATH } else { loader::fallback_path(architecture) }
}

/// Most bytes of a variable's value.
const LONGEST_VALUE: usize = 128;

/// A text as long as the longest that [`osrel`] makes: room for one that is not known yet.
pub fn longest_osrel() -> String {
    VARIABLES.iter().map(|name| format!("{name}=\"{}\"\n", "x".repeat(LONGEST_VALUE))).collect()
}

/// The text of `.osrel`: what the image's os-release says, in characters that neither end a line nor a quotation; without
/// one the least that systemd-boot shows an entry for. The kernel's release is the version where the image has none.
pub fn osrel(image: Option<&[u8]>, release: &str) -> String {
    let mut text = String::new();
    let of_image = |name: &str| {
        let value = os_release::value(image?, name.as_bytes())?;
        let value = String::from_utf8_lossy(&value);
        let allowed = |c: &char| c.is_ascii_alphanumeric() || " ._+()-/:,~".contains(*c);
        let kept: String = value.chars().filter(allowed).take(LONGEST_VALUE).collect();
        Some(kept.trim().to_owned()).filter(|kept| !kept.is_empty())
    };
    for name in VARIABLES {
        let value = of_image(name).or_else(|| match name {
            "NAME" => Some("Linux".to_owned()),
            "ID" => Some("linux".to_owned()),
            "PRETTY_NAME" => Some(loader::title(&format!("Linux {release}"))),
            _ => None,
        });
        if let Some(value) = value {
            text.push_str(&format!("{name}=\"{value}\"\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::pe::tests::stub;

    const PARTS: Parts<'static> = Parts { kernel: &[7; 3000], release: "6.1.0", initramfs: b"070701" };

    fn unified(stub: &[u8]) -> Unified<'_> {
        Unified { stub, os_release: "ID=\"x\"\n" }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let stub = stub();
        let file = encode(&unified(&stub), &PARTS, "quiet").unwrap();
        let inside = Inside::of(&file).unwrap();
        assert!(file[inside.kernel.clone()] == *PARTS.kernel && file[inside.initramfs.clone().unwrap()] == *b"070701");
        assert_eq!(inside.command_line, "quiet");
        assert_eq!([inside.kernel.start % 512, inside.initramfs.unwrap().start % 512], [0, 0]);
        let names: Vec<String> = Headers::parse(&file).unwrap().sections.iter().map(|one| one.name_text()).collect();
        assert_eq!(names[2..], SECTIONS);
        assert_eq!(Inside::of(&stub), None);
        assert_eq!(Inside::of(&file[..file.len() - 512]), None, "it is not whole");
    }

    #[test]
    fn another_kernel_makes_what_would_have_been_made_with_it() {
        let stub = stub();
        let other = Parts { kernel: &[9; 700], release: "6.12.1", initramfs: &[3; 9000] };
        let old = encode(&unified(&stub), &PARTS, "quiet").unwrap();
        assert!(with(&old, &other).unwrap() == encode(&unified(&stub), &other, "quiet").unwrap());
        assert!(with(&with(&old, &other).unwrap(), &PARTS).unwrap() == old);
    }

    #[test]
    fn names_of_ours_may_count_boots() {
        for (name, ours) in [
            ("bootdisk.efi", true),
            ("BOOTDISK.EFI", true),
            ("bootdisk+3-1.efi", true),
            ("bootdisk-old.efi", false),
            ("bootdisk.conf", false),
            ("debian.efi", false),
        ] {
            assert_eq!(is_ours(name), ours, "{name}");
        }
    }

    #[test]
    fn nothing_of_an_image_adds_a_line() {
        let image = b"ID=debian\nPRETTY_NAME=\"Debian \\\"12\\\" $(x) \xff`y`\"\nVERSION_ID='12\\'\nHOME_URL=x\n";
        let text = osrel(Some(image), "6.1.0");
        assert_eq!(text, "NAME=\"Linux\"\nID=\"debian\"\nPRETTY_NAME=\"Debian 12 (x) y\"\nVERSION_ID=\"12\"\n");
        let none = osrel(None, "6.1.0");
        assert_eq!(none, "NAME=\"Linux\"\nID=\"linux\"\nPRETTY_NAME=\"Linux 6.1.0\"\n");
    }
}
