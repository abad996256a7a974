//! Tar archives with a kernel in them: Alpine's and Arch's packages, and any other.
//!
//! ```text
//! apk            gzip(tar: .SIGN.RSA.*) ─ gzip(tar: .PKGINFO) ─ gzip(tar: boot/vmlinuz-virt, lib/modules/R/...)
//! pkg.tar.zst    zstd(tar: .BUILDINFO .MTREE .PKGINFO usr/lib/modules/R/...)
//! ```
//!
//! An apk's three streams, one behind the other, are one tar; `datahash` of its `.PKGINFO` is the SHA-256 of everything
//! behind the stream that has it. pacman's `.MTREE` has the SHA-256 of each file. Signatures are of the second stream, as it is packed: nothing covers the first, so
//! that nothing but signatures may be in it. Not supported: apk's version 3 ("ADB").
//! Specification: Alpine's wiki, "Apk spec"; PKGINFO(5) of pacman.

use std::io::{self, BufRead, BufReader, Read, Seek};
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::digests::Digests;
use super::signed::{self, Kind, Signature};
use super::{Facts, Visit, deliver, tar, walk};
use crate::formats::unpack;
use crate::hex::hex;
use crate::kernel::input::Reader;
use crate::kernel::{Input, KernelError};

/// Longest `.PKGINFO` accepted, in bytes.
const MAX_INFO: u64 = 1 << 20;
/// Most bytes an apk's signature and control streams unpack to.
const MAX_CONTROL: u64 = 16 << 20;
/// First bytes of a gzip stream (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Names that signatures begin with, and how these are made (apk-tools, `apk_sign_ctx_process_file`).
const SIGNATURES: [(&str, Kind); 2] = [(".SIGN.RSA.", Kind::RsaSha1), (".SIGN.RSA256.", Kind::RsaSha256)];
/// Streams looked through for `.PKGINFO`: a signature's and the control's.
const CONTROL_STREAMS: usize = 4;

/// Reads the archive once.
pub(super) fn scan(input: &Input, visit: &mut Visit<'_>) -> Result<Facts, KernelError> {
    let (path, file) = (input.path(), input.reader());
    let bad = |error: io::Error| KernelError::package(path, error.to_string());
    let (mut info, mut digests) = (None, None::<Digests>);
    // Files that stand before the list of digests are in no list.
    let (mut is_image, mut before) = (false, false);
    walk(path, BufReader::with_capacity(256 << 10, file), tar::End::Open, &mut |entry, body| {
        if entry.path == ".PKGINFO" && info.is_none() {
            let text = unpack::read_bounded(body, MAX_INFO).map_err(KernelError::io("read", path))?;
            let text = text.ok_or_else(|| KernelError::package(path, "its .PKGINFO is too long"))?;
            info = Some(String::from_utf8_lossy(&text).into_owned());
            return Ok(());
        }
        if entry.path == ".MTREE" && digests.is_none() {
            digests = Some(Digests::mtree(body).map_err(bad)?);
            return Ok(());
        }
        is_image |= matches!(entry.path.as_str(), "oci-layout" | "manifest.json");
        match &mut digests {
            Some(digests) => digests.visit(path, entry, body, &mut |entry, body| deliver(path, entry, body, visit)),
            None => {
                before |= !entry.path.starts_with('.');
                deliver(path, entry, body, visit)
            }
        }
    })?;
    let checked = digests.map_or("", |digests| if before { "" } else { digests.checked() });
    let mut facts = Facts { is_image, checked, ..Facts::default() };
    for (key, value) in info.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once(" = ")) {
        match key {
            "pkgname" => facts.package = value.to_owned(),
            "pkgver" => facts.version = value.to_owned(),
            "depend" => facts.depends.push(value.to_owned()),
            "datahash" => {
                let actual = data_hash(input).map_err(bad)?;
                if !actual.eq_ignore_ascii_case(value) {
                    return Err(KernelError::package(path, "its data does not match its SHA-256"));
                }
                facts.checked = "SHA-256 of the data";
            }
            _ => {}
        }
    }
    Ok(facts)
}

/// The signatures of an apk; none for another archive.
///
/// # Errors
/// Where there are some and what they cover does not say what the data is, or the first stream has more than them.
pub(super) fn signatures(input: &Input) -> Result<Vec<Signature>, KernelError> {
    let path = input.path();
    let bad = |error: io::Error| KernelError::package(path, error.to_string());
    let mut input = BufReader::with_capacity(256 << 10, input.reader());
    if !input.fill_buf().map_err(bad)?.starts_with(&GZIP_MAGIC) {
        return Ok(Vec::new());
    }
    // A stream that is longer than any of signatures is another archive's, and so is one that is no tar.
    let Some((tar, _)) = next_stream(&mut input).map_err(bad)? else { return Ok(Vec::new()) };
    let (found, only) = signatures_in(&tar).unwrap_or_default();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let refused = |reason: &str| KernelError::Signature { reason: reason.to_owned(), path: path.to_owned() };
    if !only {
        return Err(refused("it contains files that its signature does not cover"));
    }
    let control = next_stream(&mut input).map_err(bad)?;
    let (control, range) = control.ok_or_else(|| refused("what it covers is longer than a package's description"))?;
    let info = info_in(&control).map_err(bad)?.unwrap_or_default();
    let stated = info.lines().find_map(|line| line.strip_prefix("datahash = "));
    let mut hash = Sha256::new();
    io::copy(&mut input, &mut hash).map_err(bad)?;
    if stated.is_none_or(|stated| !stated.eq_ignore_ascii_case(&hex(hash.finalize()))) {
        return Err(refused("the signed part does not cover this data"));
    }
    Ok(found.into_iter().map(|(kind, bytes)| Signature { kind, bytes, covers: vec![range.clone()] }).collect())
}

/// How a signature was made, and its bytes.
type Made = (Kind, Vec<u8>);

/// The signatures in a stream's tar, and whether nothing else is in it.
fn signatures_in(tar: &[u8]) -> io::Result<(Vec<Made>, bool)> {
    let mut walk = tar::Walk::new(tar, tar::End::Open);
    let (mut found, mut files) = (Vec::new(), 0);
    while let Some(entry) = walk.next_file()? {
        let kind = SIGNATURES.iter().find(|(prefix, _)| entry.path.starts_with(prefix));
        if let Some((_, kind)) = kind
            && let Some(bytes) = unpack::read_bounded(walk.body(), signed::MAX)?
        {
            found.push((*kind, bytes));
        }
        files += usize::from(entry.path.starts_with(".SIGN."));
    }
    // Headers count as well: the name in one without its file would be given to the next stream's first.
    let only = files == walk.headers();
    Ok((found, only))
}

/// The next stream's contents and where it is in the file; `None` when there is more in it than in any but the data's.
fn next_stream(input: &mut BufReader<Reader>) -> io::Result<Option<(Vec<u8>, Range<u64>)>> {
    let start = input.stream_position()?;
    let mut tar = Vec::new();
    flate2::bufread::GzDecoder::new(&mut *input).take(MAX_CONTROL + 1).read_to_end(&mut tar)?;
    let range = start..input.stream_position()?;
    Ok((tar.len() as u64 <= MAX_CONTROL).then_some((tar, range)))
}

/// SHA-256 of what is behind the stream with `.PKGINFO`.
fn data_hash(input: &Input) -> io::Result<String> {
    let mut input = BufReader::with_capacity(256 << 10, input.reader());
    for _ in 0..CONTROL_STREAMS {
        if input.fill_buf()?.is_empty() {
            break;
        }
        let Some((tar, _)) = next_stream(&mut input)? else { break };
        if info_in(&tar)?.is_some() {
            let mut hash = Sha256::new();
            io::copy(&mut input, &mut hash)?;
            return Ok(hex(hash.finalize()));
        }
    }
    Err(super::invalid("it has a datahash, and no stream with that hash"))
}

/// The first `.PKGINFO` of a stream's tar.
fn info_in(tar: &[u8]) -> io::Result<Option<String>> {
    let mut walk = tar::Walk::new(tar, tar::End::Open);
    while let Some(entry) = walk.next_file()? {
        if entry.path == ".PKGINFO" {
            let text = unpack::read_bounded(walk.body(), MAX_INFO)?;
            return Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()));
        }
    }
    Ok(None)
}
