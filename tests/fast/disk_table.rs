//! The partition table, byte for byte and as sgdisk and sfdisk see it.

use crate::support::tools;
use bootdisk::arch::Architecture;
use bootdisk::disk::gpt::{BOOT_CODE, Guids, Layout, Role};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use uuid::{Uuid, uuid};

const MIB: u64 = 1 << 20;
const GUIDS: Guids = Guids {
    disk: uuid!("11111111-2222-3333-4444-555555555555"),
    bios_boot: uuid!("aaaaaaaa-0001-4000-8000-000000000001"),
    esp: uuid!("aaaaaaaa-0002-4000-8000-000000000002"),
    modules: uuid!("aaaaaaaa-0004-4000-8000-000000000004"),
    root: uuid!("aaaaaaaa-0003-4000-8000-000000000003"),
    verity: Uuid::nil(),
};

fn write(folder: &Path, layout: &Layout) -> (PathBuf, File) {
    let path = folder.join("disk.img");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.set_len(layout.disk_size()).unwrap();
    layout.write(&GUIDS, &[0xb0; BOOT_CODE], &file).unwrap();
    (path, file)
}

/// sgdisk's opinion: its exit status says nothing, its words do.
fn sgdisk_is_content(path: &Path) -> Result<(), String> {
    let output = tools::run(Command::new("sgdisk").arg("-v").arg(path));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let bad = ["aution", "roblem", "arning", "rror", "orrupt"]
        .iter()
        .any(|word| said.replace("No problems", "").contains(word));
    if output.status.success() && said.contains("No problems found") && !bad { Ok(()) } else { Err(said) }
}

fn sfdisk_is_content(path: &Path) -> Result<(), String> {
    let output = tools::run(Command::new("sfdisk").arg("--verify").arg(path));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // With one table damaged it takes the other, and says so.
    let content = output.status.success() && said.contains("No errors detected") && !said.contains("corrupt");
    if content { Ok(()) } else { Err(said) }
}

#[test]
fn every_layout_satisfies_both_checkers() {
    let folder = tempfile::tempdir().unwrap();
    let layouts = [
        Layout::around_root(Architecture::X86_64, 128 * MIB, 300 * MIB),
        Layout::around_root(Architecture::Aarch64, 64 * MIB, 1),
        Layout::of_disk(Architecture::X86_64, 128 * MIB, 4 << 30),
        Layout::of_disk(Architecture::X86_64, 128 * MIB, 1_000_000_000 / 512 * 512),
        Layout::of_disk(Architecture::X86_64, 128 * MIB, 131 * MIB + 33 * 512),
        Layout::of_disk(Architecture::X86_64, 128 * MIB, 3 << 40),
    ];
    for layout in layouts.map(Result::unwrap) {
        let (path, file) = write(folder.path(), &layout);
        sgdisk_is_content(&path).unwrap_or_else(|said| panic!("{layout:?}: {said}"));
        sfdisk_is_content(&path).unwrap_or_else(|said| panic!("{layout:?}: {said}"));
        assert_eq!(file.metadata().unwrap().len(), layout.disk_size());
        assert!(file.metadata().unwrap().blocks() * 512 < 200_000, "only the tables are allocated");
    }
}

#[test]
fn both_checkers_notice_damage() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::around_root(Architecture::X86_64, 64 * MIB, 10 * MIB).unwrap();
    // A byte of the first entry's GUID, of the primary header, of the backup header.
    for at in [1024 + 20, 512 + 60, layout.disk_size() - 512 + 60] {
        let (path, file) = write(folder.path(), &layout);
        file.write_all_at(&[0x5a], at).unwrap();
        assert!(sgdisk_is_content(&path).is_err(), "sgdisk, byte {at}");
    }
    for at in [512 + 60, layout.disk_size() - 512 + 60] {
        let (path, file) = write(folder.path(), &layout);
        file.write_all_at(&[0x5a], at).unwrap();
        assert!(sfdisk_is_content(&path).is_err(), "sfdisk, byte {at}");
    }
}

#[test]
fn sfdisk_reads_the_identifiers_and_places() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::of_disk(Architecture::X86_64, 128 * MIB, 1 << 30).unwrap();
    let (path, _) = write(folder.path(), &layout);
    let json = tools::stdout(Command::new("sfdisk").arg("--json").arg(&path));
    let table: serde_json::Value = serde_json::from_str(&json).unwrap();
    let table = &table["partitiontable"];
    let upper = |guid: Uuid| guid.to_string().to_uppercase();
    assert_eq!(table["label"], "gpt");
    assert_eq!(table["id"], upper(GUIDS.disk));
    assert_eq!(table["sectorsize"], 512);
    let expected = [
        (Role::BiosBoot, "21686148-6449-6E6F-744E-656564454649", GUIDS.bios_boot, "bios-boot"),
        (Role::Esp, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", GUIDS.esp, "esp"),
        (Role::Root, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", GUIDS.root, "root"),
    ];
    assert_eq!(table["partitions"].as_array().unwrap().len(), expected.len());
    for (number, (role, kind, guid, name)) in expected.into_iter().enumerate() {
        let (partition, planned) = (&table["partitions"][number], layout.partition(role).unwrap());
        assert_eq!(partition["type"], kind);
        assert_eq!(partition["uuid"], upper(guid));
        assert_eq!(partition["name"], name);
        assert_eq!(partition["start"], planned.first_lba);
        assert_eq!(partition["size"], planned.sectors);
    }

    let layout = Layout::around_root(Architecture::Aarch64, 64 * MIB, 1).unwrap();
    let (path, _) = write(folder.path(), &layout);
    let json = tools::stdout(Command::new("sfdisk").arg("--json").arg(&path));
    assert!(json.contains("B921B045-1DF0-41C3-AF44-4C6F280D3FAE"), "root of arm64: {json}");
}

#[test]
fn the_protective_mbr_covers_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [(1u64 << 30, (1u32 << 21) - 1), (2 << 40, u32::MAX), ((2 << 40) + MIB, u32::MAX), (3 << 40, u32::MAX)];
    for (size, sectors) in sizes {
        let layout = Layout::of_disk(Architecture::X86_64, 128 * MIB, size).unwrap();
        let (_, file) = write(folder.path(), &layout);
        let mut mbr = [0; 512];
        file.read_exact_at(&mut mbr, 0).unwrap();
        assert_eq!(mbr[..440], [0xb0; 440]);
        assert_eq!(mbr[440..446], [0; 6], "no disk signature");
        let mut partition = vec![0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0];
        partition.extend_from_slice(&sectors.to_le_bytes());
        assert_eq!(mbr[446..462], partition, "{size}");
        assert_eq!(mbr[462..510], [0; 48]);
        assert_eq!(mbr[510..], [0x55, 0xaa]);
    }
}

#[test]
fn the_same_plan_gives_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let layout = Layout::around_root(Architecture::X86_64, 33 * MIB, 1).unwrap();
    let bytes = [one, two].map(|folder| std::fs::read(write(folder.path(), &layout).0).unwrap());
    assert!(bytes[0] == bytes[1]);
}
