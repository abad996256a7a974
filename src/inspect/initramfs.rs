//! What is in an initial RAM disk: cpio archives one after the other, each packed or not.
//!
//! ```text
//!  archive   zeros   next archive   …
//! ```
//!
//! Archives that are not packed may be followed by others (processor microcode comes first that way); a packed one is
//! read to its end and is the last. Not read: the old binary and the `070707` formats, LZMA, LZO, LZ4 and bzip2.
//! Specification: Linux Documentation/driver-api/early-userspace/buffer-format.rst.

use super::model::Initramfs;
use crate::added::{Record, added_to};
use crate::escape::{escape, printable};
use crate::formats::{cpio, unpack};
use crate::guest::spec::{self, BootSpec};
use crate::kernel::modules;
use std::io::{self, BufRead, BufReader, Read};

/// Bytes read of all archives, unpacked.
const MAX_BYTES: u64 = 1 << 30;
/// Most entries.
const MAX_ENTRIES: u64 = 1_000_000;
/// Longest boot specification.
const MAX_SPEC: u64 = 4 << 20;
/// Most modules that are named.
const MAX_MODULES: usize = 4096;

/// Reads an initial RAM disk. What our PID 1 would do comes apart, as it is, besides printable in the report.
pub fn read(bytes: &[u8], evidence: &str) -> (Initramfs, Option<Spec>) {
    let mut spec = None;
    let found = report(bytes, evidence, &mut spec);
    (found, spec)
}

/// A boot specification, and what the host alone reads beside it.
pub struct Spec {
    /// For PID 1.
    pub boot: BootSpec,
    /// What was added to the image.
    pub added: Option<Record>,
}

fn report(bytes: &[u8], evidence: &str, spec: &mut Option<Spec>) -> Initramfs {
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
                found.note = Some("it continues in an unknown format".into());
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
            found.note = Some(format!("it is damaged: {}", printable(&error.to_string())));
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
fn archives(input: &mut impl BufRead, found: &mut Initramfs, spec: &mut Option<Spec>) -> io::Result<()> {
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
fn archive(input: &mut impl Read, found: &mut Initramfs, boot_spec: &mut Option<Spec>) -> io::Result<()> {
    let mut walk = cpio::Walk::new(input, MAX_ENTRIES);
    while let Some(entry) = walk.next_entry()? {
        found.files += u64::from(entry.is_regular());
        if found.files > MAX_ENTRIES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more files than are read"));
        }
        let name = &entry.name;
        let path = name.strip_prefix(b"./").or(name.strip_prefix(b"/")).unwrap_or(name);
        if path == spec::PATH.trim_start_matches('/').as_bytes() && entry.size <= MAX_SPEC {
            let mut bytes = Vec::new();
            walk.body().read_to_end(&mut bytes)?;
            let boot = serde_json::from_slice(&bytes).ok();
            *boot_spec = boot.map(|boot| Spec { boot, added: added_to(&bytes) });
            found.boot_spec = serde_json::from_slice(&bytes).ok().map(document);
        }
        name_found(path, found);
    }
    Ok(())
}

/// Notes an init and a module by their paths.
fn name_found(path: &[u8], found: &mut Initramfs) {
    if matches!(path, b"init" | b"sbin/init" | b"linuxrc") && found.init.is_none() {
        found.init = Some(format!("/{}", escape(path)));
    }
    let module = std::str::from_utf8(path).ok().and_then(modules::tree::module_name);
    if let Some(module) = module.filter(|_| found.modules.len() < MAX_MODULES) {
        found.modules.push(escape(module.as_bytes()));
    }
}

/// A document with every text in it made printable.
fn document(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value::{Array, Object, String};
    match value {
        String(text) => String(escape(text.as_bytes())),
        Array(items) => Array(items.into_iter().map(document).collect()),
        Object(fields) => {
            Object(fields.into_iter().map(|(name, value)| (escape(name.as_bytes()), document(value))).collect())
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
