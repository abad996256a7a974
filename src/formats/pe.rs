//! EFI programs: the machine they are for, and the sections of unified kernel images, which are a kernel, its command
//! line and more.
//!
//! ```text
//!  "MZ" … offset at 60 ─▶ "PE\0\0"  COFF header (20)  optional header  sections of 40 bytes: name, size, place
//!                                     machine at 0      subsystem at 68
//! ```
//!
//! Specifications: UAPI.5 Unified Kernel Image; PE format, "COFF File Header", "Optional Header Windows-Specific
//! Fields" and "Section Table".

use super::{u16_at, u32_at};
use std::ops::Range;

/// `IMAGE_SUBSYSTEM_EFI_APPLICATION`.
pub const EFI_APPLICATION: u16 = 10;
/// Most sections looked at.
const MAX_SECTIONS: u16 = 96;

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
    u16_at(start, header(start)?.checked_add(24 + 68)?)
}

/// Where the COFF header's signature is.
fn header(start: &[u8]) -> Option<usize> {
    let at = usize::try_from(u32_at(start, 60)?).ok()?;
    (start.starts_with(b"MZ") && start.get(at..at.checked_add(4)?)? == b"PE\0\0").then_some(at)
}

/// Where the section `name` is in a file that begins with these bytes.
pub fn place(file: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let (u16, u32) = (|at| u16_at(file, at), |at| u32_at(file, at));
    let pe = header(file)?;
    let (count, optional) = (u16(pe + 6)?, u16(pe + 20)?);
    (0..count.min(MAX_SECTIONS)).find_map(|i| {
        let at = pe + 24 + usize::from(optional) + 40 * usize::from(i);
        let found = file.get(at..at + 8)?;
        if found.split(|&byte| byte == 0).next() != Some(name) {
            return None;
        }
        let (used, stored, place) = (u32(at + 8)?, u32(at + 16)?, u32(at + 20)? as usize);
        Some(place..place.checked_add(used.min(stored) as usize)?)
    })
}

/// A section as text, without the zeros that may follow it.
pub fn text<'a>(file: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let bytes = section(file, name)?;
    Some(bytes.split(|&byte| byte == 0).next().unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

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
