//! Memory stays bounded whatever an input claims: every allocation is counted, in a process where nothing else allocates.

use crate::counting::counted;
use crate::support::apart::apart;
use crate::support::images::{Pack, TarBuilder, sha256};
use crate::support::threads::wait_until_idle;
use bootdisk::forms::{self, Form, Packing};
use bootdisk::source::{self, Reference, Select};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Most bytes at one time while `work` runs, above those before it.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let (result, _, peak) = counted(work);
    (peak, result)
}

fn chain(error: &dyn std::error::Error) -> String {
    let next = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", next.unwrap_or_default())
}

/// Opens what cannot be opened; returns the memory it took.
#[track_caller]
fn refused(path: &Path, expected: &str) -> usize {
    let reference = Reference::parse(path.as_os_str()).unwrap();
    let (peak, result) = peak(|| source::open(&reference, &Select::default()).map_err(|error| chain(&error)));
    let error = result.map(drop).unwrap_err();
    assert!(error.contains(expected), "{error:?} instead of {expected:?}");
    peak
}

const MIB: usize = 1 << 20;

#[test]
fn memory_is_bounded() {
    apart("source_memory::memory_is_bounded", || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        claimed_sizes(&path);
        many_items(&path);
        many_members(&path);
        compressed_archives(&path);
        layer_streams();
        disk_forms();
    });
}

/// Sparse files: a gibibyte of manifest.json, of index.json, of each kind of extension header.
fn claimed_sizes(path: &Path) {
    use tar::EntryType;
    let claim = |name: &str, kind: EntryType, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        std::fs::write(path, header.as_bytes()).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(512 + size.next_multiple_of(512) + 1024).unwrap();
    };
    claim("manifest.json", EntryType::Regular, 1 << 30);
    assert!(refused(path, "more than the 20971520") < MIB);
    claim("index.json", EntryType::Regular, 1 << 30);
    assert!(refused(path, "no oci-layout in it") < MIB);
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader] {
        claim("x", kind, 1 << 30);
        assert!(refused(path, "too long") < MIB);
        claim("x", kind, 1 << 20);
        assert!(refused(path, "") < 4 * MIB);
    }
    claim("manifest.json", EntryType::GNUSparse, 4096);
    assert!(refused(path, "sparse members are not supported") < MIB);
    claim("manifest.json", EntryType::Regular, (1 << 33) - 1);
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(4096).unwrap();
    assert!(refused(path, "cut short") < MIB);
}

/// Documents of an allowed size with millions of items.
fn many_items(path: &Path) {
    let write = |text: String| {
        std::fs::write(path, TarBuilder::new().file("manifest.json", 0o644, text.as_bytes()).build()).unwrap();
    };
    let items = |item: &str| format!("[{}{item}]", format!("{item},").repeat((19 << 20) / (item.len() + 1)));
    let mut largest = 0;
    for text in [items(r#"{"Config":""}"#), format!(r#"[{{"Config":"c","Layers":{}}}]"#, items(r#""""#))] {
        write(text);
        largest = largest.max(refused(path, "more than 100000"));
    }
    // Deep and long, in a field that nobody reads.
    write(format!(r#"[{{"x":{}"#, "[".repeat(19 << 20)));
    largest = largest.max(refused(path, ""));
    assert!(largest < 80 * MIB, "{} MiB for documents of 19 MiB", largest / MIB);
}

/// More members than an image has, with long names.
fn many_members(path: &Path) {
    let mut tar = Vec::new();
    for i in 0..110_000 {
        let mut header = tar::Header::new_ustar();
        header.set_path(format!("{i}/{}", "n".repeat(80))).unwrap();
        header.set_size(0);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
    }
    std::fs::write(path, tar).unwrap();
    let peak = refused(path, "more than 100000 members");
    assert!(peak < 48 * MIB, "{} MiB", peak / MIB);
}

/// An archive of a gibibyte of zeros in a megabyte of zstd is decompressed to disk, not to memory.
fn compressed_archives(path: &Path) {
    let mut header = tar::Header::new_gnu();
    header.set_path("manifest.json").unwrap();
    header.set_size(1 << 30);
    header.set_cksum();
    let tar = header.as_bytes().chain(std::io::repeat(0).take((1 << 30) + 1024));
    let bomb = zstd::encode_all(tar, 1).unwrap();
    assert!(bomb.len() < MIB);
    std::fs::write(path, bomb).unwrap();
    let peak = refused(path, "more than the 20971520");
    assert!(peak < 16 * MIB, "{} MiB", peak / MIB);
}

/// A stream holds its buffers and no more, however long its layer is and however far its reader is behind.
fn layer_streams() {
    let layer = Pack::GzipMembers(4).pack(&vec![7; 300 * MIB]);
    let diff_id = sha256(&vec![7; 300 * MIB]);
    let config = json!({ "os": "linux", "rootfs": { "type": "layers", "diff_ids": [diff_id] } }).to_string();
    let manifest = json!([{ "Config": "c", "Layers": ["l"] }]).to_string();
    let files = [("manifest.json", manifest.as_bytes()), ("c", config.as_bytes()), ("l", &layer)];
    let tar = files.iter().fold(TarBuilder::new(), |tar, (name, bytes)| tar.file(name, 0o644, bytes));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), tar.build()).unwrap();
    let image = source::open(&Reference::parse(file.path().as_os_str()).unwrap(), &Select::default()).unwrap();
    let (peak, ()) = peak(|| {
        let mut stream = image.open_layer(0).unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        wait_until_idle("layer ");
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        stream.finish().unwrap();
    });
    assert!(peak < 8 * MIB, "{} MiB", peak / MIB);
}

/// A small disk in each form, with each number of its tables made the largest there is, and its tables made one: it is
/// opened and looked through, or refused, with little memory and few steps.
fn disk_forms() {
    let raw = tempfile::tempfile().unwrap();
    raw.set_len(5 << 20).unwrap();
    [0u64, 1 << 20, (5 << 20) - 512].iter().for_each(|at| raw.write_all_at(&[7; 512], *at).unwrap());
    let raw = forms::open(raw).unwrap();
    let look = |file: &File| {
        let mut buffer = vec![0; 1 << 16];
        peak(|| {
            _ = forms::form_of(file.try_clone().unwrap());
            let Ok(disk) = forms::open(file.try_clone().unwrap()) else { return 0 };
            let (mut at, mut steps) = (0, 0);
            while let Ok(Some(range)) = disk.data(at) {
                let length = (range.end - range.start).min(buffer.len() as u64) as usize;
                _ = disk.read_at(range.start, &mut buffer[..length]);
                (at, steps) = (range.end, steps + 1);
                assert!(steps < 100_000, "it has no end");
            }
            steps
        })
    };
    for name in ["qcow2", "vmdk", "vdi", "vhd", "vhd-fixed", "vhdx"] {
        let plain = Form::named(name).unwrap();
        for packing in [Packing::Plain, Packing::Zlib] {
            let Some(form) = plain.packed(packing) else { continue };
            let file = tempfile::tempfile().unwrap();
            file.set_len(forms::write(form, &*raw, &file, 1).unwrap()).unwrap();
            let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            assert!(look(&file).1 > 0, "{name}");
            for (at, word) in bytes.chunks(4).enumerate().filter(|(_, word)| **word != [0; 4] && **word != [7; 4]) {
                let at = at as u64 * 4;
                for instead in [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0xff, 0xff, 0xff, 0x7f], [0, 0, 0, 1]] {
                    file.write_all_at(&instead, at).unwrap();
                    let (taken, _) = look(&file);
                    assert!(taken < 16 * MIB, "{name}: {taken} bytes for {instead:?} at {at}");
                }
                file.write_all_at(word, at).unwrap();
            }
        }
    }
}
