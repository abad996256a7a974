//! The headers of a program, all of them.

use super::{COFF, Fault, MAX_SECTIONS, SECTION, header};
use crate::formats::{u16_at, u32_at};
use std::ops::Range;

/// `Magic` of the optional header: 32 bits, 64 bits; and where `NumberOfRvaAndSizes` is then.
const PE32: (u16, usize) = (0x10b, 92);
const PE32_PLUS: (u16, usize) = (0x20b, 108);
/// The directory of certificates among the data directories. Its place is in the file, unlike all others'.
const CERTIFICATES: usize = 4;
/// Fields of the optional header.
const SECTION_ALIGNMENT: usize = 32;
const FILE_ALIGNMENT: usize = 36;
pub(super) const SIZE_OF_CODE: usize = 4;
pub(super) const SIZE_OF_DATA: usize = 8;
pub(super) const SIZE_OF_IMAGE: usize = 56;
const SIZE_OF_HEADERS: usize = 60;
const CHECKSUM: usize = 64;

/// A section's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name, with zeros behind it.
    name: [u8; 8],
    /// Bytes in memory.
    pub memory_size: u32,
    /// Where it is in memory, from the program's start.
    pub address: u32,
    /// Bytes in the file.
    pub file_size: u32,
    /// Where they are.
    pub offset: u32,
    /// `Characteristics`.
    pub characteristics: u32,
}

impl Section {
    pub(super) fn at(file: &[u8], at: usize) -> Option<Section> {
        let name = *file.get(at..)?.first_chunk()?;
        let field = |field| u32_at(file, at + field);
        Some(Section {
            name,
            memory_size: field(8)?,
            address: field(12)?,
            file_size: field(16)?,
            offset: field(20)?,
            characteristics: field(36)?,
        })
    }

    /// Its name. Nobody says that it is text.
    pub fn name(&self) -> &[u8] {
        self.name.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// The same as text.
    pub fn name_text(&self) -> String {
        String::from_utf8_lossy(self.name()).into_owned()
    }

    /// Where its contents are in the file, without what fills the last sector.
    pub fn body(&self) -> Range<usize> {
        let start = self.offset as usize;
        start..start.saturating_add(self.memory_size.min(self.file_size) as usize)
    }

    /// All its bytes in the file.
    pub(super) fn stored(&self) -> Range<u64> {
        let start = u64::from(self.offset);
        start..start + u64::from(self.file_size)
    }

    /// All its bytes in memory.
    pub(super) fn loaded(&self) -> Range<u64> {
        let start = u64::from(self.address);
        start..start + u64::from(self.memory_size.max(self.file_size))
    }
}

/// The headers of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// For which machine it is.
    pub machine: u16,
    /// `Subsystem`.
    pub subsystem: u16,
    /// Bytes that begin the file and are mapped at the program's start.
    pub size_of_headers: u32,
    /// Bytes of the whole program in memory.
    pub size_of_image: u32,
    /// To which addresses of sections are rounded; a power of two.
    pub section_alignment: u32,
    /// To which places of sections in the file are rounded; a power of two.
    pub file_alignment: u32,
    /// Where the certificates are in the file; `None` of a program that is not signed.
    pub certificates: Option<Range<u64>>,
    /// The sections, in order.
    pub sections: Vec<Section>,
    /// Where the headers say where the certificates are: offset and bytes, 32 bits each. `None` of one that has no such place.
    pub certificates_at: Option<usize>,
    /// Where the COFF header's signature is.
    pub(super) at: usize,
    /// Where the table of sections is.
    table: usize,
}

impl Headers {
    /// Reads them from the first bytes of a file. What lies behind the headers is not looked at.
    ///
    /// # Errors
    /// Bytes that are no program, end too soon, or have numbers that none has.
    pub fn parse(start: &[u8]) -> Result<Headers, Fault> {
        let at = header(start).ok_or(Fault::NoProgram)?;
        let u16 = |from: usize| u16_at(start, from).ok_or(Fault::Short);
        let u32 = |from: usize| u32_at(start, from).ok_or(Fault::Short);
        let count = usize::from(u16(at + 6)?);
        if count > usize::from(MAX_SECTIONS) {
            return Err(Fault::Sections(count));
        }
        let optional = at + COFF;
        let size = usize::from(u16(at + 20)?);
        let magic = u16(optional)?;
        let directories = [PE32, PE32_PLUS].into_iter().find_map(|(of, at)| (of == magic).then_some(at));
        let directories = directories.filter(|at| size >= at + 4).ok_or(Fault::NoProgram)?;
        let alignments = (u32(optional + SECTION_ALIGNMENT)?, u32(optional + FILE_ALIGNMENT)?);
        let right = |alignment: u32| alignment.is_power_of_two() && alignment <= 1 << 21;
        if !right(alignments.0) || !right(alignments.1) {
            return Err(Fault::Alignment);
        }
        let entry = directories + 4 + 8 * CERTIFICATES;
        let has_entry = u32(optional + directories)? > CERTIFICATES as u32 && size >= entry + 8;
        let certificates_at = has_entry.then_some(optional + entry);
        let certificates = match certificates_at {
            Some(at) => (u64::from(u32(at)?), u64::from(u32(at + 4)?)),
            None => (0, 0),
        };
        let table = optional + size;
        let section = |index: usize| Section::at(start, table + SECTION * index).ok_or(Fault::Short);
        Ok(Headers {
            machine: u16(at + 4)?,
            subsystem: u16(optional + 68)?,
            size_of_headers: u32(optional + SIZE_OF_HEADERS)?,
            size_of_image: u32(optional + SIZE_OF_IMAGE)?,
            section_alignment: alignments.0,
            file_alignment: alignments.1,
            certificates: (certificates.1 > 0).then(|| certificates.0..certificates.0 + certificates.1),
            sections: (0..count).map(section).collect::<Result<_, _>>()?,
            certificates_at,
            at,
            table,
        })
    }

    /// The section of this name, the first if there are several.
    pub fn section(&self, name: &[u8]) -> Option<&Section> {
        self.sections.iter().find(|section| section.name() == name)
    }

    /// Whether it is signed; whose signature it is nobody has looked.
    pub fn is_signed(&self) -> bool {
        self.certificates.is_some()
    }

    /// Where `CheckSum` is.
    pub fn checksum_at(&self) -> usize {
        self.optional() + CHECKSUM
    }

    /// Where the optional header is.
    pub(super) fn optional(&self) -> usize {
        self.at + COFF
    }

    /// Where the table of sections ends, with so many of them.
    pub(super) fn table_end(&self, sections: usize) -> usize {
        self.table + SECTION * sections
    }

    /// Finds fault with the sections of a file of `length` bytes.
    ///
    /// # Errors
    /// Headers or a section that are not all in the file; a section that lies in the headers, or shares bytes with another.
    pub fn check(&self, length: u64) -> Result<(), Fault> {
        let headers = u64::from(self.size_of_headers);
        if headers > length || self.table_end(self.sections.len()) as u64 > headers {
            return Err(Fault::Short);
        }
        let stored: Vec<&Section> = self.sections.iter().filter(|section| section.file_size > 0).collect();
        if let Some(section) = stored.iter().find(|section| section.stored().end > length) {
            return Err(Fault::Beyond(section.name_text()));
        }
        let within = |section: &&&Section| section.stored().start < headers;
        if let Some(section) = stored.iter().find(within) {
            return Err(Fault::InHeaders(section.name_text()));
        }
        let address_within = |section: &&Section| section.memory_size > 0 && section.loaded().start < headers;
        if let Some(section) = self.sections.iter().find(address_within) {
            return Err(Fault::InHeaders(section.name_text()));
        }
        // What is empty is nowhere, wherever its headers say it begins.
        let meet = |one: &Range<u64>, other: &Range<u64>| one.start.max(other.start) < one.end.min(other.end);
        for (index, one) in self.sections.iter().enumerate() {
            for other in &self.sections[..index] {
                let in_file = meet(&one.stored(), &other.stored());
                if in_file || meet(&in_memory(one), &in_memory(other)) {
                    return Err(Fault::Overlap(other.name_text(), one.name_text()));
                }
            }
        }
        Ok(())
    }
}

/// Bytes that a section has of its own in memory. What fills its last sector in the file may be another's there.
fn in_memory(section: &Section) -> Range<u64> {
    let start = u64::from(section.address);
    start..start + u64::from(section.memory_size)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Made, program, stub};
    use super::*;

    /// The program with four bytes changed in the header of a section.
    fn with(file: &[u8], section: usize, field: usize, value: u32) -> Vec<u8> {
        let headers = Headers::parse(file).unwrap();
        let at = headers.table_end(section) + field;
        let mut file = file.to_vec();
        file[at..at + 4].copy_from_slice(&value.to_le_bytes());
        file
    }

    fn fault(file: &[u8]) -> Option<Fault> {
        Headers::parse(file).and_then(|headers| headers.check(file.len() as u64)).err()
    }

    #[test]
    fn a_program_says_what_it_is() {
        let headers = Headers::parse(&stub()).unwrap();
        assert_eq!((headers.machine, headers.subsystem, headers.is_signed()), (0x8664, 10, false));
        assert_eq!(headers.sections.len(), 2);
        assert_eq!(headers.section(b".text").unwrap().body(), 1024..1724);
        assert_eq!((headers.section_alignment, headers.file_alignment), (512, 512));
        assert_eq!(fault(&stub()), None);
    }

    #[test]
    fn every_odd_section_is_named() {
        let file = stub();
        let name = |name: &str| name.to_owned();
        for (section, field, value, expected) in [
            (1, 20, 1024, Fault::Overlap(name(".text"), name(".sdmagic"))),
            (1, 12, 4096, Fault::Overlap(name(".text"), name(".sdmagic"))),
            (0, 8, u32::MAX, Fault::Overlap(name(".text"), name(".sdmagic"))),
            (1, 20, file.len() as u32, Fault::Beyond(name(".sdmagic"))),
            (1, 16, u32::MAX, Fault::Beyond(name(".sdmagic"))),
            (0, 20, 512, Fault::InHeaders(name(".text"))),
            (0, 12, 0, Fault::InHeaders(name(".text"))),
        ] {
            assert_eq!(fault(&with(&file, section, field, value)), Some(expected), "{section} {field} {value}");
        }
        // A section without bytes in the file is nowhere in it.
        let mut empty = with(&file, 1, 16, 0);
        for place in [u32::MAX, 1100, 0] {
            empty = with(&empty, 1, 20, place);
            assert_eq!(fault(&empty), None, "{place}");
        }
    }

    #[test]
    fn headers_that_cannot_be_are_refused() {
        let file = stub();
        let put = |at: usize, bytes: &[u8]| {
            let mut file = file.clone();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            fault(&file)
        };
        let at = Headers::parse(&file).unwrap().at;
        assert_eq!(put(at + 6, &97u16.to_le_bytes()), Some(Fault::Sections(97)));
        assert_eq!(put(at + 6, &96u16.to_le_bytes()), Some(Fault::Short));
        assert_eq!(put(at + 20, &60u16.to_le_bytes()), Some(Fault::NoProgram));
        assert_eq!(put(at + COFF, &[0, 0]), Some(Fault::NoProgram));
        // Longer than the file; ending before the last section's own header.
        for size in [file.len() as u32 + 1, u32::MAX, 0, 64 + 24 + 240 + 79] {
            assert_eq!(put(at + COFF + SIZE_OF_HEADERS, &size.to_le_bytes()), Some(Fault::Short), "{size}");
        }
        for alignment in [0, 3, 1 << 22] {
            assert_eq!(put(at + COFF + SECTION_ALIGNMENT, &u32::to_le_bytes(alignment)), Some(Fault::Alignment));
            assert_eq!(put(at + COFF + FILE_ALIGNMENT, &u32::to_le_bytes(alignment)), Some(Fault::Alignment));
        }
        for length in 0..file.len() {
            assert!(fault(&file[..length]).is_some(), "{length}");
        }
        assert_eq!(put(60, &[0xff; 4]), Some(Fault::NoProgram));
        assert_eq!(fault(&program(0xaa64, &[Made { name: b"12345678", body: b"x" }])), None);
    }
}
