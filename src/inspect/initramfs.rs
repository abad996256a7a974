//! What is in an initial RAM disk: cpio archives one after the other, each packed or not.
//!
//! ```text
//!  "070701" 13 fields of 8 hexadecimal digits   name   body   …   TRAILER!!!   zeros   next archive
//! ```
//!
//! Archives that are not packed may be followed by others (processor microcode comes first that way); a packed one is
//! read to its end and is the last. Not read: the old binary and the `070707` formats, LZMA, LZO, LZ4 and bzip2.
//! Specification: Linux Documentation/driver-api/early-userspace/buffer-format.rst.

use super::model::Initramfs;
use crate::escape::escape;
use crate::guest::spec::{self, BootSpec};
use crate::kernel::{modules, unpack};
use std::io::{self, BufRead, BufReader, Read};

/// Bytes read of all archives, unpacked.
const MAX_BYTES: u64 = 2 << 30;
/// Most entries.
const MAX_ENTRIES: u64 = 1_000_000;
/// Longest name.
const MAX_NAME: u64 = 4096;
/// Longest boot specification.
const MAX_SPEC: u64 = 4 << 20;
/// Most modules that are named.
const MAX_MODULES: usize = 4096;

/// Reads an initial RAM disk. What our PID 1 would do comes apart, as it is, besides printable in the report.
pub fn read(bytes: &[u8], evidence: &str) -> (Initramfs, Option<BootSpec>) {
    let mut spec = None;
    let found = report(bytes, evidence, &mut spec);
    (found, spec)
}

fn report(bytes: &[u8], evidence: &str, spec: &mut Option<BootSpec>) -> Initramfs {
    let mut found = Initramfs { evidence: evidence.to_owned(), size: bytes.len() as u64, ..Initramfs::default() };
    let mut rest = bytes;
    loop {
        rest = &rest[rest.iter().position(|&byte| byte != 0).unwrap_or(rest.len())..];
        let name = match rest {
            [] => break,
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => "not packed",
            [0x1f, 0x8b, ..] => "gzip",
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "xz",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
            _ => {
                found.note = Some("it goes on in a format that is not read".into());
                break;
            }
        };
        found.packing.push(name.to_owned());
        let result = match name {
            "not packed" => {
                let mut left = rest;
                let result = archive(&mut left, &mut found, spec);
                rest = left;
                result
            }
            _ => {
                let reader =
                    unpack::reader(rest).map(|reader| BufReader::with_capacity(64 << 10, reader.take(MAX_BYTES)));
                rest = &[];
                reader.and_then(|mut reader| archives(&mut reader, &mut found, spec))
            }
        };
        if let Err(error) = result {
            found.note = Some(format!("it is damaged: {}", escape(error.to_string().as_bytes())));
            break;
        }
        if found.packing.len() >= 64 {
            break;
        }
    }
    found.modules.sort();
    found.modules.dedup();
    found
}

/// Archives one after the other, to the end.
fn archives(input: &mut impl BufRead, found: &mut Initramfs, spec: &mut Option<BootSpec>) -> io::Result<()> {
    loop {
        while let [0, ..] = input.fill_buf()? {
            let zeros = input.fill_buf()?.iter().take_while(|byte| **byte == 0).count();
            input.consume(zeros);
        }
        if input.fill_buf()?.is_empty() {
            return Ok(());
        }
        archive(input, found, spec)?;
    }
}

/// One archive, to its trailer.
fn archive(input: &mut impl Read, found: &mut Initramfs, boot_spec: &mut Option<BootSpec>) -> io::Result<()> {
    let bad = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    loop {
        let mut header = [0; 110];
        input.read_exact(&mut header)?;
        if !header.starts_with(b"07070") {
            return Err(bad("an entry without its magic number"));
        }
        let field = |i: usize| {
            let text = std::str::from_utf8(&header[6 + 8 * i..14 + 8 * i]).ok()?;
            u64::from_str_radix(text, 16).ok()
        };
        let number = |i| field(i).ok_or_else(|| bad("an entry with a number that is none"));
        let (mode, size, name_size) = (number(1)?, number(6)?, number(11)?);
        if name_size == 0 || name_size > MAX_NAME {
            return Err(bad("an entry with an impossible name"));
        }
        let mut name = vec![0; ((110 + name_size).next_multiple_of(4) - 110) as usize];
        input.read_exact(&mut name)?;
        let name = &name[..name_size as usize - 1];
        if name == b"TRAILER!!!" {
            return Ok(());
        }
        found.files += u64::from(mode & 0o170_000 == 0o100_000);
        if found.files > MAX_ENTRIES {
            return Err(bad("more files than are read"));
        }
        let path = name.strip_prefix(b"./").or(name.strip_prefix(b"/")).unwrap_or(name);
        let mut body = input.by_ref().take(size.next_multiple_of(4));
        if path == spec::PATH.trim_start_matches('/').as_bytes() && size <= MAX_SPEC {
            let mut bytes = Vec::new();
            body.read_to_end(&mut bytes)?;
            bytes.truncate(size as usize);
            *boot_spec = serde_json::from_slice(&bytes).ok();
            found.boot_spec = serde_json::from_slice(&bytes).ok().map(printable);
        } else if io::copy(&mut body, &mut io::sink())? != size.next_multiple_of(4) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if matches!(path, b"init" | b"sbin/init" | b"linuxrc") && found.init.is_none() {
            found.init = Some(format!("/{}", escape(path)));
        }
        let module = std::str::from_utf8(path).ok().and_then(modules::tree::module_name);
        if let Some(module) = module.filter(|_| found.modules.len() < MAX_MODULES) {
            found.modules.push(escape(module.as_bytes()));
        }
    }
}

/// A document with every text in it made printable.
fn printable(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value::{Array, Object, String};
    match value {
        String(text) => String(escape(text.as_bytes())),
        Array(items) => Array(items.into_iter().map(printable).collect()),
        Object(fields) => {
            Object(fields.into_iter().map(|(name, value)| (escape(name.as_bytes()), printable(value))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::initramfs::{self, ModuleFile};
    use crate::kernel::Packing;

    fn ours(packing: Packing) -> Vec<u8> {
        let module = ModuleFile { path: "/lib/modules/6.1/kernel/virtio-rng.ko", bytes: b"x" };
        initramfs::write(b"#!", b"{\"init\":\"a\\u001bb\"}", &[module], packing).unwrap()
    }

    #[test]
    fn our_own_are_read_however_they_are_packed() {
        for (packing, name) in [(Packing::None, "not packed"), (Packing::Gzip, "gzip"), (Packing::Zstd, "zstd")] {
            let (found, _) = read(&ours(packing), "e");
            assert_eq!((found.packing, found.note), (vec![name.to_owned()], None));
            assert_eq!((found.files, found.init.as_deref()), (3, Some("/init")));
            assert_eq!(found.modules, ["virtio_rng"]);
            assert_eq!(found.boot_spec.unwrap()["init"], "a\\x1bb");
        }
    }

    #[test]
    fn microcode_before_a_packed_archive_is_read_too() {
        let (found, _) = read(&[ours(Packing::None), vec![0; 100], ours(Packing::Gzip)].concat(), "e");
        assert_eq!(found.packing, ["not packed", "gzip"]);
        assert_eq!(found.files, 6);
    }

    #[test]
    fn damage_is_noted() {
        let whole = ours(Packing::None);
        assert!(read(&whole[..whole.len() / 2], "e").0.note.is_some());
        assert!(read(b"something else", "e").0.note.is_some());
        for at in 0..whole.len().min(2000) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            _ = read(&damaged, "e");
        }
    }
}
