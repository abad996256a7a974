//! Signatures of EFI programs: what of a file is digested, and the table at its end that signatures are in.
//!
//! ```text
//! headers          without CheckSum and the directory entry of the table
//! sections         by their places, as long as they are in the file
//! what follows     up to the table
//! table            entries at multiples of 8: length (4), 0x0200 (2), 0x0002 (2), ContentInfo of PKCS #7
//! ```
//!
//! The digest is SHA-256 alone. A table must be the end of its file.
//!
//! Specifications: Microsoft, "Windows Authenticode Portable Executable Signature Format", "Calculating the PE Image
//! Hash"; PE format, "The Attribute Certificate Table"; UEFI 2.10, 32.2.4.

use super::cms::{self, SignedData};
use super::pe::{self, Headers};
use super::{der, u32_at};
use sha2::{Digest, Sha256};
use std::ops::Range;
use thiserror::Error;

/// `SPC_INDIRECT_DATA_OBJID`, without tag and length.
pub const INDIRECT_DATA: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04];
/// `SPC_PE_IMAGE_DATAOBJ`.
const PE_IMAGE: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x0f];
/// `WIN_CERT_REVISION_2_0` and `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
const KIND: [u8; 4] = [0x00, 0x02, 0x02, 0x00];
/// Bytes of an entry's header.
const HEADER: usize = 8;
/// Most signatures that are looked at.
const MAX_SIGNATURES: usize = 16;

/// Why a program cannot be signed, or its signatures not be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// No PE header, or one that ends early.
    #[error("it is no EFI program")]
    NoProgram,
    /// The header has no entry for the table.
    #[error("its header has no place for signatures")]
    NoDirectory,
    /// Headers or sections that lie outside the file or on each other.
    #[error("its sections are not where its header says, or lie on each other")]
    Sections,
    /// A table that is not the end of the file, or whose entries do not fill it.
    #[error("its table of signatures is damaged")]
    Table,
}

/// Where a program has what matters here.
struct Layout {
    /// `CheckSum`.
    check_sum: usize,
    /// The directory entry: place and length of the table.
    directory: usize,
    /// Bytes of the headers.
    headers: usize,
    /// The sections, by their places.
    sections: Vec<Range<usize>>,
    /// The table; empty, at the file's end, where there is none.
    table: Range<usize>,
}

impl Layout {
    fn of(file: &[u8]) -> Result<Layout, Fault> {
        let found = Headers::parse(file).map_err(|fault| match fault {
            pe::Fault::Short | pe::Fault::Sections(_) => Fault::Sections,
            _ => Fault::NoProgram,
        })?;
        let directory = found.certificates_at.ok_or(Fault::NoDirectory)?;
        let headers = found.size_of_headers as usize;
        if headers > file.len() || headers < directory + 8 {
            return Err(Fault::Sections);
        }
        let mut sections = Vec::new();
        for section in found.sections.iter().filter(|section| section.file_size > 0) {
            let (place, length) = (section.offset as usize, section.file_size as usize);
            let end = place.checked_add(length).filter(|end| *end <= file.len()).ok_or(Fault::Sections)?;
            sections.push(place..end);
        }
        sections.sort_by_key(|section| section.start);
        let mut end = headers;
        for section in &sections {
            // Digests of programs with sections on each other differ from one firmware to the next.
            if section.start < end {
                return Err(Fault::Sections);
            }
            end = section.end;
        }
        let table = match &found.certificates {
            None => file.len()..file.len(),
            Some(table) if table.end == file.len() as u64 && table.start >= end as u64 => {
                table.start as usize..file.len()
            }
            Some(_) => return Err(Fault::Table),
        };
        Ok(Layout { check_sum: found.checksum_at(), directory, headers, sections, table })
    }

    fn digest(&self, file: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(&file[..self.check_sum]);
        hash.update(&file[self.check_sum + 4..self.directory]);
        hash.update(&file[self.directory + 8..self.headers]);
        let mut counted = self.headers;
        for section in &self.sections {
            hash.update(&file[section.clone()]);
            counted += section.len();
        }
        // What follows begins where the sections would end if there were nothing between them: so do the firmwares.
        hash.update(&file[counted..self.table.start]);
        hash.finalize().into()
    }
}

/// The digest that signatures of this program are of. Signatures that it has do not count.
pub fn digest(file: &[u8]) -> Result<[u8; 32], Fault> {
    Ok(Layout::of(file)?.digest(file))
}

/// The program without its signatures, made as long as one must be to get another.
pub fn bare(file: &[u8]) -> Result<Vec<u8>, Fault> {
    let layout = Layout::of(file)?;
    let mut bytes = file[..layout.table.start].to_vec();
    bytes[layout.directory..layout.directory + 8].fill(0);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    Ok(bytes)
}

/// Puts a signature, a `ContentInfo`, behind a program that [`bare`] made.
pub fn attach(mut file: Vec<u8>, signature: &[u8]) -> Result<Vec<u8>, Fault> {
    let layout = Layout::of(&file)?;
    let place = u32::try_from(file.len()).map_err(|_| Fault::Table)?;
    let length = (HEADER + signature.len()).next_multiple_of(8);
    let (end, length) = (file.len() + length, u32::try_from(length).map_err(|_| Fault::Table)?);
    file[layout.directory..layout.directory + 4].copy_from_slice(&place.to_le_bytes());
    file[layout.directory + 4..layout.directory + 8].copy_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&KIND);
    file.extend_from_slice(signature);
    file.resize(end, 0);
    let sum = pe::write::checksum(&file, layout.check_sum);
    file[layout.check_sum..layout.check_sum + 4].copy_from_slice(&sum.to_le_bytes());
    Ok(file)
}

/// The signatures of a program: each `ContentInfo`, with the zeros behind it. Empty without any.
pub fn signatures(file: &[u8]) -> Result<Vec<&[u8]>, Fault> {
    let mut rest = &file[Layout::of(file)?.table];
    let mut found = Vec::new();
    while !rest.is_empty() && found.len() < MAX_SIGNATURES {
        let length = u32_at(rest, 0).map(|length| length as usize).filter(|length| *length >= HEADER);
        let entry = length.and_then(|length| rest.get(..length)).ok_or(Fault::Table)?;
        if entry[4..HEADER] == KIND {
            found.push(&entry[HEADER..]);
        }
        rest = rest.get(entry.len().next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(found)
}

/// `SpcIndirectDataContent`: what is signed of a program, its digest.
pub fn indirect_data(digest: &[u8; 32]) -> Vec<u8> {
    // Tools of long ago looked for this text where a link to the program could be.
    let obsolete: Vec<u8> = "<<<Obsolete>>>".bytes().flat_map(|byte| [0, byte]).collect();
    let link = der::element(0xa0, &[&der::element(0xa2, &[&der::element(0x80, &[&obsolete])])]);
    let image = der::sequence(&[&der::element(der::BIT_STRING, &[&[0]]), &link]);
    der::sequence(&[
        &der::sequence(&[&der::element(der::OID, &[PE_IMAGE]), &image]),
        &der::sequence(&[&cms::sha256(), &der::element(der::OCTET_STRING, &[digest])]),
    ])
}

/// The digest in the content of a signature; `None` when it is none of SHA-256 of a program.
pub fn signed_digest<'a>(signature: &SignedData<'a>) -> Option<&'a [u8]> {
    if signature.content_type != INDIRECT_DATA {
        return None;
    }
    let mut fields = signature.content?.inside();
    fields.take(der::SEQUENCE)?;
    let mut info = fields.take(der::SEQUENCE)?.inside();
    let algorithm = info.take(der::SEQUENCE)?.inside().take(der::OID)?;
    (algorithm.content == cms::SHA256).then(|| info.take(der::OCTET_STRING)).flatten().map(|digest| digest.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: usize = 0x200;
    const DIRECTORY: usize = 64 + 24 + 112 + 32;
    const CHECK_SUM: usize = 64 + 24 + 64;

    /// A program of PE32+ with these sections, places and lengths, and bytes behind them up to `length`.
    fn program(sections: &[(u32, u32)], length: usize) -> Vec<u8> {
        let mut file: Vec<u8> = (0..length).map(|at| ((at * 7) >> 2) as u8).collect();
        file[..HEADERS].fill(0);
        file[..2].copy_from_slice(b"MZ");
        file[60] = 64;
        file[64..68].copy_from_slice(b"PE\0\0");
        file[70] = sections.len() as u8;
        file[84] = 112 + 48;
        file[88..90].copy_from_slice(&[0x0b, 0x02]);
        for alignment in [32, 36] {
            file[88 + alignment..88 + alignment + 4].copy_from_slice(&512u32.to_le_bytes());
        }
        file[88 + 60..88 + 64].copy_from_slice(&(HEADERS as u32).to_le_bytes());
        file[88 + 108] = 6;
        for (at, (place, length)) in sections.iter().enumerate() {
            let at = 88 + 160 + 40 * at;
            file[at + 16..at + 20].copy_from_slice(&length.to_le_bytes());
            file[at + 20..at + 24].copy_from_slice(&place.to_le_bytes());
        }
        file
    }

    /// What a program without gaps is digested as: all of it, but for two fields.
    fn whole(file: &[u8]) -> [u8; 32] {
        let parts = [&file[..CHECK_SUM], &file[CHECK_SUM + 4..DIRECTORY], &file[DIRECTORY + 8..]];
        Sha256::digest(parts.concat()).into()
    }

    #[test]
    fn sections_are_digested_in_the_order_of_their_places_and_what_follows_after_them() {
        let file = program(&[(0x400, 0x300), (0x200, 0x200), (0, 0)], 0x900);
        assert_eq!(digest(&file), Ok(whole(&file)));
        let mut other = file.clone();
        other[CHECK_SUM] ^= 1;
        assert_eq!(digest(&other), digest(&file), "CheckSum does not count");
        let counts = |at: &usize| !(CHECK_SUM..CHECK_SUM + 4).contains(at) && !(DIRECTORY..DIRECTORY + 8).contains(at);
        for at in (0..file.len()).filter(counts) {
            let mut other = file.clone();
            other[at] ^= 0x80;
            assert_ne!(digest(&other), digest(&file), "byte {at}");
        }
    }

    #[test]
    fn a_signature_changes_no_digest_and_is_found_and_replaced() {
        for length in [0x900, 0x903] {
            let file = bare(&program(&[(0x200, 0x700)], length)).unwrap();
            assert_eq!(file.len(), length.next_multiple_of(8));
            let signed = attach(file.clone(), &[7; 13]).unwrap();
            assert_eq!(signed.len(), file.len() + 24);
            assert_eq!(digest(&signed), digest(&file));
            assert_eq!(signatures(&signed), Ok(vec![&[7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0][..]]));
            assert_eq!(
                bare(&signed),
                Ok(file.clone()).map(|mut bare| {
                    bare[CHECK_SUM..CHECK_SUM + 4].copy_from_slice(&signed[CHECK_SUM..CHECK_SUM + 4]);
                    bare
                })
            );
            assert_eq!(signatures(&file), Ok(vec![]));
            // Bytes behind the table would not be signed by anybody.
            assert_eq!(digest(&[&signed[..], &[0; 8]].concat()), Err(Fault::Table));
            let mut short = signed.clone();
            short[file.len()] = 4;
            assert_eq!(signatures(&short), Err(Fault::Table));
            short[file.len()..file.len() + 4].fill(0xff);
            assert_eq!(signatures(&short), Err(Fault::Table));
        }
    }

    #[test]
    fn what_no_two_firmwares_digest_alike_is_refused() {
        let fault = |file: &[u8]| digest(file).unwrap_err();
        assert_eq!(fault(b"MZ"), Fault::NoProgram);
        assert_eq!(fault(&program(&[(0x200, 0x300), (0x300, 0x100)], 0x900)), Fault::Sections, "on each other");
        assert_eq!(fault(&program(&[(0x100, 0x300)], 0x900)), Fault::Sections, "on the headers");
        assert_eq!(fault(&program(&[(0x200, 0x800)], 0x900)), Fault::Sections, "behind the end");
        assert_eq!(fault(&program(&[(u32::MAX, u32::MAX)], 0x900)), Fault::Sections);
        let mut file = program(&[(0x200, 0x700)], 0x900);
        file[88 + 108] = 4;
        assert_eq!(fault(&file), Fault::NoDirectory);
        let file = program(&[(0x200, 0x700)], 0x900);
        for length in 0..file.len() {
            assert!(digest(&file[..length]).is_err(), "{length}");
        }
        // No field makes the reader panic.
        for at in 0..HEADERS {
            for value in [0, 1, 0x7f, 0xff] {
                let mut file = file.clone();
                file[at] = value;
                _ = (digest(&file), signatures(&file), bare(&file).and_then(|bare| attach(bare, b"x")));
            }
        }
    }
}
