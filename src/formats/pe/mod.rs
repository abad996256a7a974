//! EFI programs: the machine they are for, their sections, and new sections behind them, which make a boot stub a unified
//! kernel image.
//!
//! ```text
//!  "MZ" … offset at 60 ─▶ "PE\0\0"  COFF header (20)  optional header  sections of 40 bytes: name, size, place
//!                                     machine at 0      subsystem at 68
//!                         └────────────── SizeOfHeaders ──────────────┘  bodies of sections …  certificates
//! ```
//!
//! [`place`] and what is built upon it find one section in the first bytes of any file and ask no more of it. [`Headers`]
//! reads all of them, and says what is wrong. [`write`] only writes to what has nothing wrong.
//!
//! Not supported: object files, whose names may be longer than eight bytes.
//! Specifications: UAPI.5 Unified Kernel Image; PE format, "COFF File Header", "Optional Header Windows-Specific
//! Fields", "Optional Header Data Directories" and "Section Table".

mod fault;
mod headers;
pub mod write;

pub use fault::Fault;
pub use headers::{Headers, Section};

use super::{u16_at, u32_at};
use std::ops::Range;

/// `IMAGE_SUBSYSTEM_EFI_APPLICATION`.
pub const EFI_APPLICATION: u16 = 10;
/// Most sections looked at.
pub const MAX_SECTIONS: u16 = 96;
/// Bytes of the COFF header with its signature.
const COFF: usize = 24;
/// Bytes of a section's header.
const SECTION: usize = 40;

/// The bytes of the section `name`; `None` when the file is no PE program, has no such section, or ends before it.
pub fn section<'a>(file: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    file.get(place(file, name)?)
}

/// `Machine` of the COFF header.
pub fn machine(start: &[u8]) -> Option<u16> {
    u16_at(start, header(start)?.checked_add(4)?)
}

/// `Subsystem` of the optional header.
pub fn subsystem(start: &[u8]) -> Option<u16> {
    u16_at(start, header(start)?.checked_add(COFF + 68)?)
}

/// Where the COFF header's signature is.
fn header(start: &[u8]) -> Option<usize> {
    let at = usize::try_from(u32_at(start, 60)?).ok()?;
    (start.starts_with(b"MZ") && start.get(at..at.checked_add(4)?)? == b"PE\0\0").then_some(at)
}

/// Where the section `name` is in a file that begins with these bytes.
pub fn place(file: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let pe = header(file)?;
    let (count, optional) = (u16_at(file, pe + 6)?, u16_at(file, pe + 20)?);
    let sections = pe + COFF + usize::from(optional);
    (0..usize::from(count.min(MAX_SECTIONS))).find_map(|i| {
        let found = Section::at(file, sections + SECTION * i)?;
        (found.name() == name).then(|| found.body())
    })
}

/// A section as text, without the zeros that may follow it.
pub fn text<'a>(file: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    section(file, name).map(text_of)
}

/// The text that a section with these bytes has.
pub fn text_of(section: &[u8]) -> &[u8] {
    section.split(|&byte| byte == 0).next().unwrap_or_default().trim_ascii()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A section of a made-up program.
    pub(crate) struct Made<'a> {
        pub(crate) name: &'a [u8],
        pub(crate) body: &'a [u8],
    }

    /// The least of a program: PE32+, sections one behind the other, in the file and in memory, 512 bytes for headers.
    pub(crate) fn program(machine: u16, sections: &[Made<'_>]) -> Vec<u8> {
        const OPTIONAL: usize = 240;
        let at = 0x40;
        let mut file = vec![0; 1024];
        let put = |file: &mut Vec<u8>, at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(&mut file, 0, b"MZ");
        put(&mut file, 60, &(at as u32).to_le_bytes());
        put(&mut file, at, b"PE\0\0");
        put(&mut file, at + 4, &machine.to_le_bytes());
        put(&mut file, at + 6, &(sections.len() as u16).to_le_bytes());
        put(&mut file, at + 20, &(OPTIONAL as u16).to_le_bytes());
        let optional = at + COFF;
        put(&mut file, optional, &0x20bu16.to_le_bytes());
        put(&mut file, optional + 32, &512u32.to_le_bytes());
        put(&mut file, optional + 36, &512u32.to_le_bytes());
        put(&mut file, optional + 60, &1024u32.to_le_bytes());
        put(&mut file, optional + 68, &EFI_APPLICATION.to_le_bytes());
        put(&mut file, optional + 108, &16u32.to_le_bytes());
        let mut address = 4096u32;
        for (index, section) in sections.iter().enumerate() {
            let header = optional + OPTIONAL + SECTION * index;
            let place = file.len() as u32;
            put(&mut file, header, section.name);
            let size = section.body.len() as u32;
            for (field, value) in [(8, size), (12, address), (16, size.next_multiple_of(512)), (20, place)] {
                put(&mut file, header + field, &value.to_le_bytes());
            }
            put(&mut file, header + 36, &0x4000_0040u32.to_le_bytes());
            file.extend_from_slice(section.body);
            file.resize(file.len().next_multiple_of(512), 0);
            address += size.next_multiple_of(512);
        }
        put(&mut file, optional + 56, &address.to_le_bytes());
        file
    }

    /// A stub with code and a version of systemd's.
    pub(crate) fn stub() -> Vec<u8> {
        let magic = b"#### LoaderInfo: systemd-stub 252.39-1 ####\0";
        program(0x8664, &[Made { name: b".text", body: &[0x90; 700] }, Made { name: b".sdmagic", body: magic }])
    }

    #[test]
    fn sections_are_found_by_name() {
        let mut file = vec![0; 300];
        file[..2].copy_from_slice(b"MZ");
        file[60] = 64;
        file[64..68].copy_from_slice(b"PE\0\0");
        file[70] = 1;
        file[88..96].copy_from_slice(b".cmdline");
        file[96] = 5;
        file[104] = 16;
        file[108] = 200;
        file[200..205].copy_from_slice(b"quiet");
        assert_eq!(text(&file, b".cmdline"), Some(&b"quiet"[..]));
        assert_eq!(text(&file, b".linux"), None);
        for at in 0..128 {
            let old = file[at];
            file[at] = 0xff;
            _ = text(&file, b".cmdline");
            file[at] = old;
        }
    }
}
