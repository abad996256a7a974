//! Tar archives with a kernel in them: Alpine's and Arch's packages, and any other.
//!
//! ```text
//! apk            gzip(tar: .SIGN.RSA.*) ─ gzip(tar: .PKGINFO) ─ gzip(tar: boot/vmlinuz-virt, lib/modules/R/...)
//! pkg.tar.zst    zstd(tar: .BUILDINFO .MTREE .PKGINFO usr/lib/modules/R/...)
//! ```
//!
//! An apk's three streams, one behind the other, are one tar; `datahash` of its `.PKGINFO` is the SHA-256 of everything
//! behind the stream that has it. Not supported: the signature, and apk's version 3 ("ADB").
//! Specification: Alpine's wiki, "Apk spec"; PKGINFO(5) of pacman.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Facts, Visit, deliver, tar, walk};
use crate::kernel::{KernelError, unpack};

/// Longest `.PKGINFO` accepted, in bytes.
const MAX_INFO: u64 = 1 << 20;
/// Most bytes an apk's signature and control streams unpack to.
const MAX_CONTROL: u64 = 16 << 20;
/// Streams looked through for `.PKGINFO`: a signature's and the control's.
const CONTROL_STREAMS: usize = 4;

/// Reads the archive once.
pub(super) fn scan(path: &Path, visit: &mut Visit<'_>) -> Result<Facts, KernelError> {
    let file = File::open(path).map_err(KernelError::io("open", path))?;
    let (mut info, mut is_image) = (None, false);
    walk(path, BufReader::with_capacity(256 << 10, file), tar::End::Open, &mut |entry, body| {
        if entry.path == ".PKGINFO" && info.is_none() {
            let text = unpack::read_bounded(body, MAX_INFO).map_err(KernelError::io("read", path))?;
            let text = text.ok_or_else(|| KernelError::package(path, "its .PKGINFO is too long"))?;
            info = Some(String::from_utf8_lossy(&text).into_owned());
            return Ok(());
        }
        is_image |= matches!(entry.path.as_str(), "oci-layout" | "manifest.json");
        deliver(path, entry, body, visit)
    })?;
    let mut facts = Facts { is_image, ..Facts::default() };
    for (key, value) in info.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once(" = ")) {
        match key {
            "pkgname" => facts.package = value.to_owned(),
            "pkgver" => facts.version = value.to_owned(),
            "depend" => facts.depends.push(value.to_owned()),
            "datahash" => {
                let actual = data_hash(path).map_err(|error| KernelError::package(path, error.to_string()))?;
                if !actual.eq_ignore_ascii_case(value) {
                    return Err(KernelError::package(path, "its data is not what its SHA-256 says"));
                }
                facts.checked = "SHA-256 of the data";
            }
            _ => {}
        }
    }
    Ok(facts)
}

/// SHA-256 of what is behind the stream with `.PKGINFO`.
fn data_hash(path: &Path) -> io::Result<String> {
    let mut input = BufReader::with_capacity(256 << 10, File::open(path)?);
    for _ in 0..CONTROL_STREAMS {
        if input.fill_buf()?.is_empty() {
            break;
        }
        let mut tar = Vec::new();
        let mut stream = flate2::bufread::GzDecoder::new(&mut input);
        stream.by_ref().take(MAX_CONTROL + 1).read_to_end(&mut tar)?;
        if tar.len() as u64 > MAX_CONTROL {
            break;
        }
        drop(stream);
        if has_info(&tar)? {
            let mut hash = Sha256::new();
            io::copy(&mut input, &mut hash)?;
            return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
    }
    Err(super::invalid("it has a datahash and no stream that the hash is of"))
}

fn has_info(tar: &[u8]) -> io::Result<bool> {
    let mut walk = tar::Walk::new(tar, tar::End::Open);
    while let Some(entry) = walk.next_file()? {
        if entry.path == ".PKGINFO" {
            return Ok(true);
        }
    }
    Ok(false)
}
