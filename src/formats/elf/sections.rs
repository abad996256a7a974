//! Sections of an object by their names: the view that a linker has, and the kernel's loader of modules.
//!
//! ```text
//! ELF header ─ e_shoff ─▶ section headers ─ e_shstrndx ─▶ names
//! ```
//!
//! Not supported: 32-bit and big-endian objects, more than 65,279 sections (extended numbering).
//! Specification: System V ABI, "ELF-64 Object File Format".

use super::bytes::Bytes;

/// Size of a section header, in bytes.
const HEADER: usize = 64;

/// Why there is no such section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not an ELF-64 little-endian file.
    NotElf,
    /// A table or section lies outside the file.
    Truncated,
    /// No section of that name.
    Missing,
}

/// The bytes of the section called `name`.
pub fn section<'a>(elf: &'a [u8], name: &[u8]) -> Result<&'a [u8], Fault> {
    let file = Bytes { file: elf, little: true, wide: true };
    // EI_CLASS 2 is 64-bit, EI_DATA 1 is little-endian.
    let header_size = file.u16(0x3a).filter(|_| elf.starts_with(&[0x7f, b'E', b'L', b'F', 2, 1]));
    if header_size.map(usize::from) != Some(HEADER) {
        return Err(Fault::NotElf);
    }
    let field = |at| file.u16(at).map(usize::from).ok_or(Fault::NotElf);
    let table = part(&file, file.u64(0x28), Some(field(0x3c)? as u64 * HEADER as u64))?;
    let headers = table.chunks_exact(HEADER);
    let names = body(&file, headers.clone().nth(field(0x3e)?).ok_or(Fault::Truncated)?)?;
    let is_it = |header: &&[u8]| {
        let at = header.first_chunk().map_or(0, |at| u32::from_le_bytes(*at) as usize);
        names.get(at..).is_some_and(|rest| rest.starts_with(name) && rest.get(name.len()) == Some(&0))
    };
    body(&file, headers.into_iter().find(is_it).ok_or(Fault::Missing)?)
}

/// What a section header leads to.
fn body<'a>(file: &Bytes<'a>, header: &[u8]) -> Result<&'a [u8], Fault> {
    let header = Bytes { file: header, ..*file };
    part(file, header.u64(0x18), header.u64(0x20))
}

fn part<'a>(file: &Bytes<'a>, offset: Option<u64>, length: Option<u64>) -> Result<&'a [u8], Fault> {
    let (offset, length) = offset.zip(length).ok_or(Fault::Truncated)?;
    let end = offset.checked_add(length).and_then(|end| usize::try_from(end).ok()).ok_or(Fault::Truncated)?;
    file.file.get(offset as usize..end).ok_or(Fault::Truncated)
}
