//! Readers of kernels, of the packages they come in, and of programs.

use crate::{choice, file};
use bootdisk::formats::lz4::frame;
use bootdisk::formats::pe::write::{self, New};
use bootdisk::formats::rpm_header::Header;
use bootdisk::formats::variable_store::VariableStore;
use bootdisk::formats::x509::Certificate;
use bootdisk::formats::{
    ar as members, authenticode, cms, elf as programs, ndb, pe as sections, signature_list, sqlite as rows,
};
use bootdisk::inspect::{initramfs, kernel, unified};
use bootdisk::kernel::package::file_of_cpio;
use bootdisk::kernel::{Bundle, Config, Keys, ikconfig as config, modinfo as module};
use bootdisk::recognise;
use bootdisk::signing::verify;
use std::io::{Cursor, Read, Seek, SeekFrom};

/// Bytes that are read of one file in an archive.
const MUCH: u64 = 1 << 20;

/// A package of any distribution, as `kernel add` opens it; and its modules.
pub fn package(data: &[u8]) {
    let (_file, path) = file(data);
    match Bundle::open(&path, None) {
        Ok(bundle) => _ = bootdisk::kernel::modules::select(&bundle),
        Err(error) => _ = (error.to_string(), error.hint()),
    }
}

/// Members of an ar archive.
pub fn ar(data: &[u8]) {
    let mut input = Cursor::new(data);
    if members::open(&mut input).is_err() {
        return;
    }
    while let Ok(Some(member)) = members::next(&mut input) {
        let padded = member.size.saturating_add(member.size % 2);
        if i64::try_from(padded).ok().and_then(|by| input.seek(SeekFrom::Current(by)).ok()).is_none() {
            return;
        }
    }
}

/// cpio archives, packed or not: as packages have them, and as initial RAM disks.
pub fn cpio(data: &[u8]) {
    _ = file_of_cpio(data, "etc/hostname", MUCH);
    let (found, _) = initramfs::read(data, data.len() as u64, "input");
    _ = serde_json::to_vec(&found);
}

/// A boot file: what it is, its header, its configuration.
pub fn boot_file(data: &[u8]) {
    if let Ok(bundle) = kernel::found(data.to_vec(), "input") {
        _ = serde_json::to_vec(&kernel::report("input", &bundle, None));
        _ = config::release(data, &bundle.image);
    }
}

/// A bzImage whose packed kernel these bytes are: its configuration is looked for in it.
pub fn ikconfig(data: &[u8]) {
    boot_file(&bzimage(data));
}

/// The same, packed with LZ4; and a frame as the program lz4 writes it.
pub fn lz4(data: &[u8]) {
    ikconfig(&[&[0x02, 0x21, 0x4c, 0x18], data].concat());
    let mut frame = frame::Decoder::new(data).take(MUCH);
    _ = std::io::copy(&mut frame, &mut std::io::sink());
}

/// A bzImage with a payload.
pub fn bzimage(payload: &[u8]) -> Vec<u8> {
    const SETUP: usize = 6 * 512;
    let mut image = vec![0; SETUP];
    image.extend(payload);
    image.resize(image.len().next_multiple_of(16), 0);
    let mut put = |at: usize, field: &[u8]| image[at..at + field.len()].copy_from_slice(field);
    put(0, b"MZ");
    put(0x3c, &[0x40]);
    put(0x40, b"PE\0\0\x64\x86");
    put(0x1f1, &[5]);
    put(0x1f4, &(payload.len().div_ceil(16) as u32).to_le_bytes());
    put(0x1fe, &[0x55, 0xaa]);
    put(0x202, b"HdrS");
    put(0x206, &0x20fu16.to_le_bytes());
    put(0x20e, &0x400u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(0x234, &[1]);
    put(0x236, &[3]);
    put(0x238, &2047u32.to_le_bytes());
    put(0x24c, &(payload.len() as u32).to_le_bytes());
    put(0x258, &0x100_0000u64.to_le_bytes());
    put(0x260, &0x200_0000u32.to_le_bytes());
    put(0x600, b"6.1.0-1-amd64 (somebody@somewhere) #1 SMP\0");
    image
}

/// What a module says about itself.
pub fn modinfo(data: &[u8]) {
    _ = module::parse(data);
    _ = module::exported(data);
}

/// A pattern and a text, with a zero between them: of a module's aliases, of a boot menu.
pub fn fnmatch(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    _ = bootdisk::fnmatch::matches(&data[..at], data.get(at + 1..).unwrap_or_default());
}

/// A kernel's configuration, as it is given beside a kernel.
pub fn kernel_config(data: &[u8]) {
    let config = Config::new("input", data);
    _ = (config.get("EXT4_FS"), config.get("VIRTIO_BLK"));
}

/// A program or library.
pub fn elf(data: &[u8]) {
    _ = programs::parse(data);
}

/// rpm's databases, SQLite and its own.
pub fn sqlite(data: &[u8]) {
    let mut bytes = 0;
    let mut row = |row: &[u8]| {
        bytes += row.len();
        let header = Header::of_database(row);
        _ = header.map(|header| (header.string(1000), header.number(1003), header.binary(1000).map(<[u8]>::len)));
    };
    _ = (ndb::count(data), ndb::blobs(data, &mut row));
    if let Some(database) = rows::Database::open(data) {
        _ = (database.rows(b"Packages"), database.blobs(b"Packages", 1, &mut row));
    }
    assert!(bytes <= 2 * data.len(), "rows of {bytes} bytes");
}

/// An EFI program: read, made longer by sections and shorter again, and read as a unified kernel image.
pub fn pe(data: &[u8]) {
    _ = sections::machine(data);
    _ = unified::facts(data).map(|found| serde_json::to_vec(&found));
    let names = [".osrel", ".initrd", ".linux"];
    let new = names.map(|name| New { name, body: &data[..data.len().min(700)], code: name == ".linux" });
    if let Ok(longer) = write::append(data, &new) {
        let headers = sections::Headers::parse(&longer).expect("what was written is read");
        headers.check(longer.len() as u64).expect("no section is in another's place");
        _ = write::strip(&longer, &names).map_err(|fault| fault.to_string());
    }
    _ = write::strip(data, &names);
    for name in [&b".linux"[..], b".osrel", b".cmdline", b".sdmagic"] {
        _ = (sections::section(data, name), sections::text(data, name));
    }
}

/// Keys that vouch for kernels.
pub fn keys(data: &[u8]) {
    let (_file, path) = file(data);
    _ = Keys::read(&[path]).map_err(|error| error.to_string());
}

/// Anything at all: what it is, by a file and by its beginning.
pub fn recognise(data: &[u8]) {
    let (how, data) = choice(data);
    if how % 2 == 0 {
        _ = recognise::start(data);
    } else {
        let (file, _) = file(data);
        _ = recognise::file(&file).map(|kind| format!("{kind:?}"));
    }
}

/// Signed programs, signatures, certificates, lists of keys and variables of firmware: whichever it is.
pub fn signatures(data: &[u8]) {
    _ = verify::signatures(data).map(|found| format!("{found:?}"));
    if let Ok(bare) = authenticode::bare(data) {
        let signed = authenticode::attach(bare, b"signature").expect("it was taken apart a moment ago");
        assert_eq!(authenticode::digest(&signed), authenticode::digest(&authenticode::bare(&signed).expect("signed")));
    }
    if let Some(signature) = cms::SignedData::parse(data) {
        _ = (authenticode::signed_digest(&signature), format!("{signature:?}"));
        signature.signers.iter().for_each(|signer| _ = (signer.message_digest(), signature.certificate_of(signer)));
    }
    _ = Certificate::parse(data).map(|certificate| certificate.subject);
    _ = signature_list::certificates(signature_list::lists_of(data).unwrap_or(data));
    if let Ok(mut store) = VariableStore::parse(data.to_vec()) {
        _ = (store.has_keys(), store.enroll(b"lists", &[0; 16]), store.has_keys());
    }
}
