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
use crate::formats::{ReadAt, Reading, cpio, unpack};
use crate::guest::spec::{self, BootSpec};
use crate::kernel::modules;
use std::io::{self, BufRead, BufReader, Read, Seek};

/// Bytes read of all archives, unpacked.
const MAX_BYTES: u64 = 1 << 30;
/// Most entries.
const MAX_ENTRIES: u64 = 1_000_000;
/// Most archives that are looked at.
const MAX_ARCHIVES: usize = 64;
/// Longest boot specification.
const MAX_SPEC: u64 = 4 << 20;
/// Most modules that are named.
const MAX_MODULES: usize = 4096;

/// Reads an initial RAM disk of `size` bytes. What our PID 1 would do comes apart, as it is, besides printable in the
/// report. Bodies of archives that are not packed are not read, but for that.
pub fn read(source: &(impl ReadAt + ?Sized), size: u64, evidence: &str) -> (Initramfs, Option<Spec>) {
    let mut found = Initramfs { evidence: evidence.to_owned(), size, ..Initramfs::default() };
    let mut spec = None;
    if let Err(error) = report(source, &mut found, &mut spec) {
        found.note = Some(format!("it is damaged: {}", printable(&error.to_string())));
    }
    found.modules.sort();
    found.modules.dedup();
    (found, spec)
}

/// A boot specification, and what the host alone reads beside it.
pub struct Spec {
    /// For PID 1.
    pub boot: BootSpec,
    /// What was added to the image.
    pub added: Option<Record>,
}

fn report(source: &(impl ReadAt + ?Sized), found: &mut Initramfs, spec: &mut Option<Spec>) -> io::Result<()> {
    let mut input = BufReader::new(Reading::new(source, found.size));
    while found.packing.len() < MAX_ARCHIVES {
        pass_zeros(&mut input)?;
        let at = input.stream_position()?;
        let mut magic = [0; 6];
        let magic = &mut magic[..found.size.saturating_sub(at).min(6) as usize];
        source.read_at(at, magic)?;
        let name = match magic {
            [] => break,
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2'] => "not packed",
            [0x1f, 0x8b, ..] => "gzip",
            [0xfd, b'7', b'z', b'X', b'Z', 0] => "xz",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
            _ => {
                found.note = Some("it continues in an unknown format".into());
                break;
            }
        };
        found.packing.push(name.to_owned());
        if name != "not packed" {
            let unpacked = unpack::reader(input)?.take(MAX_BYTES);
            return archives(&mut BufReader::with_capacity(64 << 10, unpacked), found, spec);
        }
        archive(cpio::Walk::seeking(&mut input, MAX_ENTRIES), found, spec)?;
    }
    Ok(())
}

/// Goes on to the first byte that is not zero, or to the end.
fn pass_zeros(input: &mut impl BufRead) -> io::Result<()> {
    while let [0, ..] = input.fill_buf()? {
        let zeros = input.fill_buf()?.iter().take_while(|byte| **byte == 0).count();
        input.consume(zeros);
    }
    Ok(())
}

/// Archives one after the other, to the end.
fn archives(input: &mut impl BufRead, found: &mut Initramfs, spec: &mut Option<Spec>) -> io::Result<()> {
    loop {
        pass_zeros(input)?;
        if input.fill_buf()?.is_empty() {
            return Ok(());
        }
        archive(cpio::Walk::new(&mut *input, MAX_ENTRIES), found, spec)?;
    }
}

/// One archive, to its trailer.
fn archive(mut walk: cpio::Walk<impl Read>, found: &mut Initramfs, boot_spec: &mut Option<Spec>) -> io::Result<()> {
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
    let module = std::str::from_utf8(path).ok().and_then(modules::module_name);
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
    use std::cell::Cell;

    fn ours(packing: Packing) -> Vec<u8> {
        let module = ModuleFile { path: "/lib/modules/6.1/kernel/virtio-rng.ko", bytes: b"x" };
        initramfs::write(b"#!", b"{\"init\":\"a\\u001bb\"}", &[module], packing).unwrap()
    }

    fn of(bytes: &[u8]) -> (Initramfs, Option<Spec>) {
        read(bytes, bytes.len() as u64, "e")
    }

    #[test]
    fn our_own_are_read_however_they_are_packed() {
        for (packing, name) in [(Packing::None, "not packed"), (Packing::Gzip, "gzip"), (Packing::Zstd, "zstd")] {
            let (found, _) = of(&ours(packing));
            assert_eq!((found.packing, found.note), (vec![name.to_owned()], None));
            assert_eq!((found.files, found.init.as_deref()), (3, Some("/init")));
            assert_eq!(found.modules, ["virtio_rng"]);
            assert_eq!(found.boot_spec.unwrap()["init"], "a\\x1bb");
        }
    }

    #[test]
    fn microcode_before_a_packed_archive_is_read_too() {
        let (found, _) = of(&[ours(Packing::None), vec![0; 100], ours(Packing::Gzip)].concat());
        assert_eq!(found.packing, ["not packed", "gzip"]);
        assert_eq!(found.files, 6);
    }

    /// Counts what is read.
    struct Counting<'a>(&'a [u8], Cell<usize>);

    impl ReadAt for Counting<'_> {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.1.set(self.1.get() + buffer.len());
            self.0.read_at(offset, buffer)
        }
    }

    #[test]
    fn bodies_that_nobody_wants_are_not_read() {
        let body = vec![7; 8 << 20];
        let modules = ["a", "b"].map(|name| format!("/lib/modules/6.1/{name}.ko"));
        let modules = modules.each_ref().map(|path| ModuleFile { path, bytes: &body });
        let bytes = initramfs::write(&body, b"{\"init\":\"x\"}", &modules, Packing::None).unwrap();
        let counting = Counting(&bytes, Cell::new(0));
        let (found, _) = read(&counting, bytes.len() as u64, "e");
        assert_eq!((found.modules, found.note), (vec!["a".to_owned(), "b".to_owned()], None));
        assert_eq!(found.boot_spec.unwrap()["init"], "x");
        assert!(counting.1.get() < 100_000, "{} bytes", counting.1.get());
    }

    #[test]
    fn damage_is_noted() {
        let whole = ours(Packing::None);
        assert!(of(&whole[..whole.len() / 2]).0.note.is_some());
        assert!(of(b"something else").0.note.is_some());
        for at in 0..whole.len().min(2000) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            _ = of(&damaged);
        }
    }
}
