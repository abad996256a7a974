//! rpm packages: Fedora, RHEL, openSUSE.
//!
//! ```text
//! lead (96) ─ signature header ─ pad to 8 ─ header ─ payload: cpio, packed with zstd, xz or gzip
//! ```
//!
//! [`crate::formats::rpm_header`] reads the two headers.
//!
//! The signature header's SHA-256 of the header and the header's SHA-256 of the payload are verified where they stand;
//! packages since rpm 4.14 have both. Signatures are of the header, and through its digest of the payload.
//! Not supported: signatures of header and payload together (rpm 3), payloads other than cpio, LZMA and bzip2.
//! Specification: rpm's manual, "RPM V4 Package format"; rpmtag.h.

use std::io::{self, BufReader, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::digests::Hashing;
use super::signed::{self, Kind, Signature};
use super::{Facts, MAX_DATA, MAX_FILES, MAX_TAIL, Visit, tar};
use crate::formats::rpm_header::Header;
use crate::formats::{cpio, unpack};
use crate::hex::hex;
use crate::kernel::input::Reader;
use crate::kernel::{Input, KernelError};

/// First bytes of a lead.
pub const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// Size of a lead; nothing in it is believed.
const LEAD: usize = 96;

/// Tags of the signature header (rpmtag.h, `RPMSIGTAG_*`).
const SIG_SHA256: u32 = 273;
/// OpenPGP signatures of the header: of DSA and what came after it, of RSA, and rpm 6's list of any, in base64.
const SIG_DSA: u32 = 267;
const SIG_RSA: u32 = 268;
const SIG_OPENPGP: u32 = 278;
/// Tags of the header (`RPMTAG_*`).
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const REQUIRE_NAME: u32 = 1049;
const PAYLOAD_FORMAT: u32 = 1124;
const PAYLOAD_DIGEST: u32 = 5092;
const PAYLOAD_DIGEST_ALGORITHM: u32 = 5093;
/// SHA-256 among the algorithms (RFC 4880, 9.4).
const SHA256: u32 = 8;

/// Reads the package once.
pub(super) fn scan(input: &Input, visit: &mut Visit<'_>) -> Result<Facts, KernelError> {
    let path = input.path();
    let bad = |error: io::Error| KernelError::package(path, error.to_string());
    let Beginning { signature, header, input, .. } = Beginning::read(input)?;
    let of_header = signature.strings(SIG_SHA256).into_iter().next();
    if of_header.as_ref().is_some_and(|digest| !digest.eq_ignore_ascii_case(&hex(Sha256::digest(header.bytes())))) {
        return Err(KernelError::package(path, "its header does not match its SHA-256"));
    }
    let first = |tag| header.strings(tag).into_iter().next().unwrap_or_default();
    let format = first(PAYLOAD_FORMAT);
    if !format.is_empty() && format != "cpio" {
        return Err(KernelError::package(
            path,
            format!("its payload is no cpio archive, it is {}", super::shown(&format)),
        ));
    }
    let mut payload = Hashing::new(input, Sha256::new());
    walk(path, &mut payload, visit)?;
    io::copy(&mut payload, &mut io::sink()).map_err(bad)?;
    let of_payload = payload_digest(&header);
    let actual = payload.digest();
    if of_payload.as_ref().is_some_and(|digest| !digest.eq_ignore_ascii_case(&actual)) {
        return Err(KernelError::package(path, "its payload does not match its SHA-256"));
    }
    Ok(Facts {
        package: first(NAME),
        version: format!("{}-{}", first(VERSION), first(RELEASE)),
        depends: header.strings(REQUIRE_NAME),
        checked: match (of_header, of_payload) {
            (Some(_), Some(_)) => "SHA-256 of header and payload",
            (None, Some(_)) => "SHA-256 of the payload",
            (Some(_), None) => "SHA-256 of the header",
            (None, None) => "",
        },
        is_image: false,
    })
}

/// The package's signatures of its header.
///
/// # Errors
/// Where the header, which is all they cover, does not say what the payload is.
pub(super) fn signatures(input: &Input) -> Result<Vec<Signature>, KernelError> {
    let Beginning { signature, header, at, .. } = Beginning::read(input)?;
    let covers = at..at + header.bytes().len() as u64;
    let packets = [SIG_DSA, SIG_RSA].into_iter().filter_map(|tag| signature.binary(tag).map(<[u8]>::to_vec));
    let coded = signature.strings(SIG_OPENPGP).into_iter().filter_map(|text| STANDARD.decode(text).ok());
    let small = |bytes: &Vec<u8>| bytes.len() as u64 <= signed::MAX;
    let found: Vec<Signature> = packets
        .chain(coded)
        .filter(small)
        .map(|bytes| Signature { kind: Kind::OpenPgp, bytes, covers: vec![covers.clone()] })
        .collect();
    if !found.is_empty() && payload_digest(&header).is_none() {
        let reason = "its signature covers only the header, which has no SHA-256 of the payload";
        return Err(KernelError::Signature { reason: reason.to_owned(), path: input.path().to_owned() });
    }
    Ok(found)
}

/// Everything before the payload.
struct Beginning {
    signature: Header,
    header: Header,
    /// Where the header begins, in bytes from the file's start.
    at: u64,
    /// At the payload.
    input: BufReader<Reader>,
}

impl Beginning {
    fn read(input: &Input) -> Result<Beginning, KernelError> {
        let bad = |error: io::Error| KernelError::package(input.path(), error.to_string());
        let mut input = BufReader::with_capacity(256 << 10, input.reader());
        input.read_exact(&mut [0; LEAD]).map_err(bad)?;
        let signature = Header::read(&mut input).map_err(bad)?;
        let padding = signature.bytes().len().next_multiple_of(8) - signature.bytes().len();
        input.read_exact(&mut [0; 8][..padding]).map_err(bad)?;
        let at = (LEAD + signature.bytes().len() + padding) as u64;
        let header = Header::read(&mut input).map_err(bad)?;
        Ok(Beginning { signature, header, at, input })
    }
}

fn walk(path: &Path, payload: &mut impl Read, visit: &mut Visit<'_>) -> Result<(), KernelError> {
    let bad = |error: io::Error| KernelError::package(path, error.to_string());
    let mut stream = unpack::reader(payload).map_err(bad)?.take(MAX_DATA);
    let mut walk = cpio::Walk::new(&mut stream, MAX_FILES);
    while let Some(entry) = walk.next_entry().map_err(bad)? {
        let Some(path) = tar::clean(&entry.name).filter(|_| entry.is_regular()) else { continue };
        visit(&tar::Entry { path, size: entry.size }, &mut walk.body())?;
    }
    io::copy(&mut stream.by_ref().take(MAX_TAIL), &mut io::sink()).map_err(bad)?;
    Ok(())
}

/// The SHA-256 of the payload in hexadecimal digits; `None` when it has none, or one of another algorithm.
fn payload_digest(header: &Header) -> Option<String> {
    let is_sha256 = header.number(PAYLOAD_DIGEST_ALGORITHM).is_none_or(|algorithm| algorithm == SHA256);
    header.string(PAYLOAD_DIGEST).filter(|_| is_sha256)
}
