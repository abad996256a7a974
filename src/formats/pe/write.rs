//! New sections behind those of a program, and taken away again.
//!
//! ```text
//!  stub's headers   stub's sections   what else the stub has   filled   new section   filled   new section …
//!  changed: number of sections, their headers, sizes, checksum            from a multiple of 512 bytes on
//! ```
//!
//! Nothing of what is there moves. Timestamps and all else in the headers stay as they are, so that the same input gives the
//! same bytes. A section begins on a sector of 512 bytes and ends with zeros at another: whoever has the file in pieces of
//! a disk has each section in pieces too.
//!
//! The layout is that of systemd's ukify: addresses in memory in the order of the sections, each rounded to the stub's
//! alignment, the size in memory exactly that of the contents.

use super::headers::{SIZE_OF_CODE, SIZE_OF_DATA, SIZE_OF_IMAGE};
use super::{Fault, Headers, MAX_SECTIONS, SECTION};
use crate::formats::u32_at;
use crate::large;

/// Bytes that sections are rounded to in the file, at least.
const SECTOR: u64 = 512;
/// `IMAGE_SCN_CNT_CODE`, `IMAGE_SCN_CNT_INITIALIZED_DATA`, `IMAGE_SCN_MEM_READ`.
const CODE: u32 = 0x20;
const DATA: u32 = 0x40;
const READ: u32 = 0x4000_0000;

/// A section to be added.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// 1 to 8 bytes.
    pub name: &'a str,
    /// What it holds.
    pub body: &'a [u8],
    /// It is code, which counts apart.
    pub code: bool,
}

/// A program with more sections.
///
/// # Errors
/// When something is wrong with the program, it is signed, or its headers have no room for so many.
pub fn append(program: &[u8], sections: &[New<'_>]) -> Result<Vec<u8>, Fault> {
    let headers = Headers::parse(program)?;
    headers.check(program.len() as u64)?;
    if headers.is_signed() {
        return Err(Fault::Signed);
    }
    let count = headers.sections.len() + sections.len();
    if count > usize::from(MAX_SECTIONS) {
        return Err(Fault::Sections(count));
    }
    // What lies there is no part of a program: linkers fill it with zeros, or with instructions that do nothing.
    if headers.table_end(count) as u64 > u64::from(headers.size_of_headers) {
        return Err(Fault::NoRoom);
    }
    let in_file = u64::from(headers.file_alignment).max(SECTOR);
    let in_memory = u64::from(headers.section_alignment);
    let mut address = headers.sections.iter().map(|section| section.loaded().end).max().unwrap_or(0);
    address = address.max(headers.size_of_headers.into());
    let (mut code, mut data) = (0, 0);
    let bodies: u64 = sections.iter().map(|section| (section.body.len() as u64).next_multiple_of(in_file)).sum();
    let whole = (program.len() as u64).next_multiple_of(in_file) + bodies;
    if whole > u32::MAX.into() {
        return Err(Fault::TooLarge);
    }
    let mut file = large::buffer(whole as usize);
    file.extend_from_slice(program);
    fill(&mut file, in_file);
    let mut header = headers.table_end(headers.sections.len());
    for section in sections {
        if !(1..=8).contains(&section.name.len()) || section.name.contains('\0') {
            return Err(Fault::Name(section.name.to_owned()));
        }
        address = address.next_multiple_of(in_memory);
        let size = section.body.len() as u64;
        let stored = size.next_multiple_of(in_file);
        let fields = [size, address, stored, file.len() as u64, 0, 0, 0, u64::from(READ | kind(section))];
        let mut bytes = [0; SECTION];
        bytes[..section.name.len()].copy_from_slice(section.name.as_bytes());
        for (place, field) in bytes[8..].chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&u32::try_from(field).map_err(|_| Fault::TooLarge)?.to_le_bytes());
        }
        file[header..header + SECTION].copy_from_slice(&bytes);
        header += SECTION;
        file.extend_from_slice(section.body);
        fill(&mut file, in_file);
        address += size;
        *if section.code { &mut code } else { &mut data } += stored;
    }
    let image = u32::try_from(address.next_multiple_of(in_memory)).map_err(|_| Fault::TooLarge)?;
    let add = |file: &[u8], at: usize, more: u64| {
        let sum = u64::from(u32_at(file, headers.optional() + at).unwrap_or_default()) + more;
        u32::try_from(sum).map_err(|_| Fault::TooLarge)
    };
    let sizes = (add(&file, SIZE_OF_CODE, code)?, add(&file, SIZE_OF_DATA, data)?);
    finish(&mut file, &headers, count, sizes, image);
    Ok(file)
}

/// Takes the sections of these names and everything behind the first of them away again, certificates too.
///
/// # Errors
/// When something is wrong with the program, or another section lies behind the first of them.
pub fn strip(program: &[u8], names: &[&str]) -> Result<Vec<u8>, Fault> {
    let headers = Headers::parse(program)?;
    headers.check(program.len() as u64)?;
    let is_one = |name: &[u8]| names.iter().any(|one| one.as_bytes() == name);
    let Some(first) = headers.sections.iter().position(|section| is_one(section.name())) else {
        return Ok(program.to_vec());
    };
    let (kept, gone) = headers.sections.split_at(first);
    if let Some(other) = gone.iter().find(|section| !is_one(section.name())) {
        return Err(Fault::Behind(other.name_text()));
    }
    let end = gone.iter().filter(|section| section.file_size > 0).map(|section| section.offset).min();
    let end = end.unwrap_or(program.len() as u32) as usize;
    if let Some(section) = kept.iter().find(|section| section.file_size > 0 && section.stored().end > end as u64) {
        return Err(Fault::Behind(section.name_text()));
    }
    let mut file = program[..end].to_vec();
    file[headers.table_end(first)..headers.table_end(headers.sections.len())].fill(0);
    let (code, data): (Vec<_>, Vec<_>) = gone.iter().partition(|section| section.characteristics & CODE != 0);
    let less = |at: usize, sections: &[&super::Section]| {
        let stored: u32 = sections.iter().fold(0, |sum, section| section.file_size.wrapping_add(sum));
        u32_at(program, headers.optional() + at).unwrap_or_default().saturating_sub(stored)
    };
    let sizes = (less(SIZE_OF_CODE, &code), less(SIZE_OF_DATA, &data));
    let address = kept.iter().map(|section| section.loaded().end).max().unwrap_or(0);
    let image = address.max(headers.size_of_headers.into()).next_multiple_of(headers.section_alignment.into());
    let image = u32::try_from(image).map_err(|_| Fault::TooLarge)?;
    if let Some(at) = headers.certificates_at {
        file[at..at + 8].fill(0);
    }
    finish(&mut file, &headers, first, sizes, image);
    Ok(file)
}

fn kind(section: &New<'_>) -> u32 {
    if section.code { CODE } else { DATA }
}

fn fill(file: &mut Vec<u8>, alignment: u64) {
    file.resize(file.len().next_multiple_of(alignment as usize), 0);
}

/// Writes what the headers say of all sections together. `sizes` are those of code and data.
fn finish(file: &mut [u8], headers: &Headers, count: usize, sizes: (u32, u32), image: u32) {
    let optional = headers.optional();
    file[headers.at + 6..headers.at + 8].copy_from_slice(&(count as u16).to_le_bytes());
    for (at, value) in [(SIZE_OF_CODE, sizes.0), (SIZE_OF_DATA, sizes.1), (SIZE_OF_IMAGE, image)] {
        file[optional + at..optional + at + 4].copy_from_slice(&value.to_le_bytes());
    }
    let at = headers.checksum_at();
    let sum = checksum(file, at);
    file[at..at + 4].copy_from_slice(&sum.to_le_bytes());
}

/// `CheckSum` of a file whose field for it is at `at`: the ones' complement sum of its 16-bit words, without that field,
/// and its length.
pub fn checksum(file: &[u8], at: usize) -> u32 {
    let words = |bytes: &[u8]| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let last = u64::from(rest.first().copied().unwrap_or(0));
        pairs.iter().map(|pair| u64::from(u16::from_le_bytes(*pair))).sum::<u64>() + last
    };
    // The field begins at an even place in every program there is; of another the sum is not defined.
    let mut sum = words(&file[..at]) + words(&file[at + 4..]);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum as u32).wrapping_add(file.len() as u32)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Made, program, stub};
    use super::*;

    const NAMES: [&str; 3] = [".osrel", ".initrd", ".linux"];

    fn sections<'a>(linux: &'a [u8]) -> [New<'a>; 3] {
        let new = |name, body, code| New { name, body, code };
        [new(".osrel", b"ID=linux\n", false), new(".initrd", b"070701", false), new(".linux", linux, true)]
    }

    #[test]
    fn sections_come_behind_the_stubs_and_read_back() {
        let mut stub = stub();
        // As a symbol table is: behind the last section, of any length.
        stub.extend_from_slice(b"symbols");
        let linux = vec![7; 1500];
        let file = append(&stub, &sections(&linux)).unwrap();
        let headers = Headers::parse(&file).unwrap();
        headers.check(file.len() as u64).unwrap();
        assert_eq!(file.len() % 512, 0);
        assert_eq!(&file[1024..stub.len()], &stub[1024..]);
        for section in &headers.sections[2..] {
            assert_eq!((section.offset % 512, section.file_size % 512, section.address % 512), (0, 0, 0));
        }
        for (section, expected) in sections(&linux).iter().zip([&b"ID=linux\n"[..], b"070701", &linux]) {
            assert_eq!(super::super::section(&file, section.name.as_bytes()), Some(expected));
        }
        let last = headers.sections.last().unwrap();
        assert_eq!(last.characteristics, CODE | READ);
        assert_eq!(headers.size_of_image, (last.address + last.memory_size).next_multiple_of(512));
        let optional = headers.optional();
        assert_eq!(u32_at(&file, optional + SIZE_OF_CODE), Some(1536));
        assert_eq!(u32_at(&file, optional + SIZE_OF_DATA), Some(1024));
        assert_eq!(u32_at(&file, headers.checksum_at()), Some(checksum(&file, headers.checksum_at())));
        assert!(file == append(&stub, &sections(&linux)).unwrap());
    }

    #[test]
    fn sections_that_are_taken_away_leave_what_takes_others_as_before() {
        let stub = stub();
        let one = append(&stub, &sections(b"one")).unwrap();
        let two = append(&stub, &sections(&[2; 5000])).unwrap();
        let bare = strip(&one, &NAMES).unwrap();
        assert!(bare == strip(&two, &NAMES).unwrap());
        assert!(append(&bare, &sections(&[2; 5000])).unwrap() == two);
        assert_eq!(Headers::parse(&bare).unwrap().sections, Headers::parse(&stub).unwrap().sections);
        assert!(strip(&stub, &NAMES).unwrap() == stub, "nothing to take away");
        assert_eq!(strip(&one, &[".osrel", ".linux"]), Err(Fault::Behind(".initrd".into())));
    }

    #[test]
    fn what_takes_no_section_is_refused() {
        let many: Vec<New<'_>> = vec![New { name: ".x", body: b"x", code: false }; 18];
        assert_eq!(append(&stub(), &many).err(), Some(Fault::NoRoom));
        let many: Vec<New<'_>> = vec![New { name: ".x", body: b"x", code: false }; 95];
        assert_eq!(append(&stub(), &many).err(), Some(Fault::Sections(97)));
        for name in ["", "123456789", "a\0b"] {
            let new = New { name, body: b"x", code: false };
            assert_eq!(append(&stub(), &[new]).err(), Some(Fault::Name(name.into())), "{name:?}");
        }
        let mut signed = stub();
        let headers = Headers::parse(&signed).unwrap();
        let entry = headers.optional() + 112 + 32;
        signed[entry + 4] = 8;
        assert_eq!(append(&signed, &sections(b"x")).err(), Some(Fault::Signed));
        let stubs = program(0x8664, &[Made { name: b".text", body: &[1; 10] }]);
        assert_eq!(append(&stubs[..1030], &sections(b"x")).err(), Some(Fault::Beyond(".text".into())));
        assert_eq!(append(b"MZ", &sections(b"x")).err(), Some(Fault::NoProgram));
    }

    #[test]
    fn a_signature_goes_with_what_it_was_for() {
        let mut signed = append(&stub(), &sections(b"one")).unwrap();
        let plain = strip(&signed, &NAMES).unwrap();
        let entry = Headers::parse(&signed).unwrap().optional() + 112 + 32;
        let end = signed.len() as u32;
        signed[entry..entry + 4].copy_from_slice(&end.to_le_bytes());
        signed[entry + 4] = 16;
        signed.extend_from_slice(&[1; 16]);
        assert!(Headers::parse(&signed).unwrap().is_signed());
        assert!(strip(&signed, &NAMES).unwrap() == plain);
    }

    #[test]
    fn checksums_are_those_of_the_format() {
        // 16-bit words 0x0201 and 0x0403, the field between them, an odd byte at the end, and nine for the length.
        assert_eq!(checksum(&[1, 2, 9, 9, 9, 9, 3, 4, 5], 2), 0x0201 + 0x0403 + 5 + 9);
        assert_eq!(checksum(&[0xff, 0xff, 1, 0, 0, 0, 0, 0], 4), 1 + 8, "carries come back");
    }
}
