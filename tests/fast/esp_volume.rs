//! The ESP as fsck.fat and mtools see it.

use crate::support::tools;
use bootdisk::boot::esp::{EspError, Files, Volume, encode};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const VOLUME: Volume =
    Volume { first_lba: 4096, size: 128 << 20, id: 0xb007_d15c, label: *b"BOOTDISK   ", time: 1_709_213_879 };

fn write(folder: &Path, files: &Files, volume: &Volume) -> (PathBuf, File) {
    let path = folder.join("esp.img");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.set_len(volume.size).unwrap();
    encode(files, volume).unwrap().write(&file).unwrap();
    (path, file)
}

/// fsck.fat's opinion: exit status 0 and nothing but its version and its count.
fn fsck(path: &Path) -> Result<(), String> {
    let output = tools::run(Command::new("fsck.fat").args(["-n", "-V"]).arg(path));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let expected = |line: &str| {
        line.starts_with("fsck.fat ")
            || (line.starts_with("Starting ") && line.ends_with(" pass."))
            || line.contains(" clusters")
    };
    if output.status.success() && said.lines().all(expected) { Ok(()) } else { Err(said) }
}

fn mtype(path: &Path, name: &str) -> Vec<u8> {
    let output = tools::run(Command::new("mtype").arg("-i").arg(path).arg(format!("::{name}")));
    assert!(output.status.success(), "{name}: {output:?}");
    output.stdout
}

/// Bodies with no zeros, so that a lost or moved byte shows.
fn body(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8 + 1).collect()
}

#[test]
fn an_esp_as_we_use_it_is_clean_and_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let (kernel, initramfs) = (body(14_000_001), body(61_000_000));
    let files = Files::from([
        ("EFI/BOOT/BOOTX64.EFI".to_owned(), &kernel[..123_456]),
        ("bootdisk/initrd".to_owned(), &initramfs[..]),
        ("bootdisk/linux".to_owned(), &kernel[..]),
        ("loader/entries/bootdisk.conf".to_owned(), b"title x\n"),
        ("loader/loader.conf".to_owned(), b"timeout 0\n"),
    ]);
    let (path, file) = write(folder.path(), &files, &VOLUME);
    fsck(&path).unwrap();
    for (name, body) in &files {
        assert!(mtype(&path, name) == **body, "{name}");
    }
    let used: u64 = files.values().map(|body| body.len() as u64).sum();
    let allocated = file.metadata().unwrap().blocks() * 512;
    assert!(allocated < used + (2 << 20), "{allocated} bytes allocated for {used}");

    let listing = tools::stdout(Command::new("mdir").args(["-/", "-i"]).arg(&path).arg("::"));
    assert!(listing.contains("Volume in drive : is BOOTDISK"), "{listing}");
    assert!(listing.contains("Volume Serial Number is B007-D15C"), "{listing}");
    assert!(listing.contains("bootdisk.conf"), "the long name: {listing}");
    let dated = listing.lines().filter(|line| line.contains("2024-02-29  13:37")).count();
    // 5 files and 5 directories, of which each but the root has `.` and `..`.
    assert_eq!(dated, 5 + 5 + 2 * 5, "{listing}");
    let facts = tools::stdout(Command::new("minfo").arg("-i").arg(&path).arg("::"));
    assert!(facts.contains("hidden sectors: 4096") && facts.contains("FAT32"), "{facts}");
}

#[test]
fn many_directories_and_names_are_clean() {
    let folder = tempfile::tempdir().unwrap();
    let contents: Vec<(String, Vec<u8>)> = (0..300)
        .map(|i| {
            let directory = ["", "EFI/", "EFI/Linux/", "a/b/c/d/e/f/g/"][i % 4];
            let name = ["file with a long name", "SHORT", "lower", "Mixed-Case.and.dots"][i / 4 % 4];
            (format!("{directory}{name}{i}.bin"), body(i * 37 % 3000))
        })
        .chain([("x".repeat(255), body(5))])
        .collect();
    let files: Files = contents.iter().map(|(name, body)| (name.clone(), &body[..])).collect();
    let (path, _) = write(folder.path(), &files, &VOLUME);
    fsck(&path).unwrap();
    for name in files.keys().step_by(7) {
        assert!(mtype(&path, name) == *files[name], "{name}");
    }
}

#[test]
fn every_size_is_fat32_and_clean() {
    let folder = tempfile::tempdir().unwrap();
    let hello = body(5000);
    let files = Files::from([("EFI/hello".to_owned(), &hello[..])]);
    // The smallest volume there is, the border of each cluster size, and odd numbers of sectors.
    let smallest =
        (64_000u64..).find(|&sectors| encode(&files, &Volume { size: sectors * 512, ..VOLUME }).is_ok()).unwrap();
    let error = encode(&files, &Volume { size: (smallest - 1) * 512, ..VOLUME }).err();
    assert!(matches!(error, Some(EspError::Size(size)) if size == (smallest - 1) * 512));
    let mut sizes = vec![smallest, smallest + 1, smallest + 777];
    sizes.extend([33u64, 64, 65, 66, 129, 130, 131, 257, 260, 261, 512, 2048].map(|mebibytes| mebibytes << 11));
    for sectors in sizes {
        let volume = Volume { size: sectors * 512, ..VOLUME };
        let (path, _) = write(folder.path(), &files, &volume);
        fsck(&path).unwrap_or_else(|said| panic!("{sectors} sectors: {said}"));
        let facts = tools::stdout(Command::new("minfo").arg("-i").arg(&path).arg("::"));
        assert!(facts.contains("FAT32"), "{sectors} sectors: {facts}");
        assert!(mtype(&path, "EFI/hello") == hello, "{sectors} sectors");
    }
}

#[test]
fn fsck_notices_damage() {
    let folder = tempfile::tempdir().unwrap();
    let hello = body(5000);
    let files = Files::from([("EFI/BOOT/hello".to_owned(), &hello[..])]);
    let (path, file) = write(folder.path(), &files, &VOLUME);
    fsck(&path).unwrap();
    let mut reserved = [0; 512];
    file.read_exact_at(&mut reserved, 0).unwrap();
    let fats = u64::from(u16::from_le_bytes([reserved[14], reserved[15]])) * 512;
    let sectors_per_fat = u64::from(u32::from_le_bytes(reserved[36..40].try_into().unwrap()));
    let root = fats + 2 * sectors_per_fat * 512;
    let efi = root + u64::from(reserved[13]) * 512;
    // The root's entry 1 is the label's; `..` of EFI is its second entry: point it to the root's cluster, as the FAT
    // crate does, then break a chain in one FAT only, then the free count.
    for (at, byte) in [(efi + 32 + 26, 2u8), (fats + 4 * 4, 0x77), (512 + 488, 0x11)] {
        let (path, file) = write(folder.path(), &files, &VOLUME);
        file.write_all_at(&[byte], at).unwrap();
        assert!(fsck(&path).is_err(), "byte {at}");
    }
}

#[test]
fn the_same_files_give_the_same_bytes_everywhere() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hello = body(100_000);
    let files = Files::from([("EFI/BOOT/hello".to_owned(), &hello[..]), ("x".to_owned(), &hello[..17])]);
    let volume = Volume { size: 34 << 20, ..VOLUME };
    let bytes = [one, two].map(|folder| std::fs::read(write(folder.path(), &files, &volume).0).unwrap());
    assert!(bytes[0] == bytes[1]);
}
