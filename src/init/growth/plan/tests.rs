//! The plan, cut after every sector, with sgdisk and bootdisk's own reader as those who must still find everything.

use super::super::table::ENTRIES_SIZE;
use super::*;
use crate::arch::Architecture;
use crate::disk::gpt::{Before, Guids, Layout};
use crate::formats::gpt::{Guid, Partition};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;
use uuid::Uuid;

const MIB: u64 = 1 << 20;
const ROOT: Uuid = Uuid::from_u128(0x0f1e_2d3c_4b5a_6978_8796_a5b4_c3d2_e1f0);

fn made(directory: &tempfile::TempDir, size: u64) -> File {
    made_with(directory, Before::from(2 * MIB), size)
}

fn made_with(directory: &tempfile::TempDir, before: Before, size: u64) -> File {
    let path = directory.path().join("disk.img");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(size).unwrap();
    let layout = Layout::of_disk(Architecture::X86_64, before, size).unwrap();
    let [disk, bios_boot, esp, modules] = [1, 2, 3, 4].map(Uuid::from_u128);
    layout
        .write(&Guids { disk, bios_boot, esp, modules, root: ROOT, verity: Uuid::nil() }, &[0x5a; 440], &file)
        .unwrap();
    file
}

fn table(disk: &File) -> Table {
    Table::read(disk, 512, &root()).unwrap().expect("a table of ours")
}

fn root() -> Guid {
    Guid(ROOT.to_bytes_le())
}

fn found(disk: &File) -> Vec<crate::disk::table::Found> {
    crate::disk::table::partitions(&crate::disk::table::open(disk).unwrap())
}

fn planned(disk: &File) -> Plan {
    let mut mbr = [0; 512];
    disk.read_exact_at(&mut mbr, 0).unwrap();
    plan(&table(disk), &mbr, disk.metadata().unwrap().len() / 512)
}

fn apply(disk: &File, writes: &[Write]) {
    for write in writes {
        disk.write_all_at(&write.bytes, write.lba * 512).unwrap();
    }
}

fn sgdisk(directory: &tempfile::TempDir, arguments: &[&str]) -> String {
    let disk = directory.path().join("disk.img");
    let output = Command::new("sgdisk").args(arguments).arg(disk).output().expect("sgdisk is installed (gdisk)");
    assert!(output.status.success(), "sgdisk {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The ends of the root that a table may say while it is changed; all else is as it was.
fn assert_found(disk: &File, directory: &tempfile::TempDir, ends: &[u64], place: &str) {
    let (first, last) = table(disk).root_range();
    assert!(first == 8192 && ends.contains(&last), "{place}: {first} to {last}");
    let found = found(disk);
    assert_eq!((found.len(), found[2].guid, found[2].offset), (3, ROOT, 8192 * 512), "{place}");
    let text = sgdisk(directory, &["-i", "3"]);
    let found = text.contains(&ROOT.to_string().to_uppercase()) && text.contains("First sector: 8192 ");
    assert!(found && !text.contains("main partition table"), "{place}: {text}");
}

#[test]
fn a_disk_that_has_grown_is_whole_and_sgdisk_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let disk = made(&directory, 64 * MIB);
    assert_eq!(planned(&disk).writes, []);
    // Twice, the second time to a size that no alignment fits.
    for size in [200 * MIB, 3333 * MIB + 7 * 512] {
        disk.set_len(size).unwrap();
        let plan = planned(&disk);
        apply(&disk, &plan.writes);
        let text = sgdisk(&directory, &["-v"]);
        assert!(text.contains("No problems found") && !text.to_lowercase().contains("warning"), "{text}");
        assert_eq!(plan.root, (8192, (size - 33 * 512) / MIB * 2048 - 1));
        assert_eq!(table(&disk).root_range(), plan.root);
        assert_eq!(planned(&disk), Plan { writes: vec![], root: plan.root });
        // As a disk of that size would have been written in the first place.
        let mut start = vec![0; 34 * 512];
        disk.read_exact_at(&mut start, 0).unwrap();
        let other = tempfile::tempdir().unwrap();
        let mut fresh = vec![0; 34 * 512];
        made(&other, size).read_exact_at(&mut fresh, 0).unwrap();
        assert!(start == fresh, "the first sectors differ");
    }
}

#[test]
fn a_root_behind_the_kernels_modules_grows_as_any() {
    let directory = tempfile::tempdir().unwrap();
    let disk = made_with(&directory, Before { modules: 8 * MIB, ..Before::from(2 * MIB) }, 64 * MIB);
    disk.set_len(200 * MIB).unwrap();
    let plan = planned(&disk);
    apply(&disk, &plan.writes);
    let text = sgdisk(&directory, &["-v"]);
    assert!(text.contains("No problems found") && !text.to_lowercase().contains("warning"), "{text}");
    assert_eq!(plan.root, (12 * 2048, 199 * 2048 - 1));
    let found = found(&disk);
    assert_eq!((found.len(), found[3].guid, found[3].offset), (4, ROOT, 12 * MIB));
    // A partition of any other type in its place is no disk of ours.
    sgdisk(&directory, &["-t", "3:8200"]);
    assert!(Table::read(&disk, 512, &root()).unwrap().is_none());
}

#[test]
fn cut_after_any_sector_everything_is_found_and_the_next_boot_finishes() {
    let directory = tempfile::tempdir().unwrap();
    let size = 200 * MIB;
    let whole = {
        let disk = made(&directory, 64 * MIB);
        disk.set_len(size).unwrap();
        planned(&disk)
    };
    let ends = [63 * 2048 - 1, whole.root.1];
    for (number, write) in whole.writes.iter().enumerate() {
        let sectors = write.bytes.len() / 512;
        for done in [0, 1, sectors / 2, sectors] {
            let disk = made(&directory, 64 * MIB);
            disk.set_len(size).unwrap();
            apply(&disk, &whole.writes[..number]);
            disk.write_all_at(&write.bytes[..done * 512], write.lba * 512).unwrap();
            let place = format!("cut in write {number} after {done} of {sectors} sectors");
            assert_found(&disk, &directory, &ends, &place);
            // The next boot, on a disk that has grown once more meanwhile.
            disk.set_len(size + (number as u64 % 2) * 100 * MIB).unwrap();
            let rest = planned(&disk);
            apply(&disk, &rest.writes);
            let text = sgdisk(&directory, &["-v"]);
            assert!(text.contains("No problems found") && !text.to_lowercase().contains("warning"), "{place}: {text}");
        }
    }
}

#[test]
fn cuts_upon_cuts_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut ends = vec![63 * 2048 - 1];
    let disk = made(&directory, 64 * MIB);
    // Each boot does one write more than the one before, of a disk that grows and grows.
    for boot in 0..24u64 {
        disk.set_len((100 + boot / 3 * 50) * MIB).unwrap();
        let plan = planned(&disk);
        ends.push(plan.root.1);
        apply(&disk, &plan.writes[..plan.writes.len().min(boot as usize % 7)]);
        let (first, last) = table(&disk).root_range();
        assert!(first == 8192 && ends.contains(&last), "boot {boot}");
    }
}

#[test]
fn what_is_being_written_is_referred_to_by_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let size = 200 * MIB;
    let disk = made(&directory, 64 * MIB);
    disk.set_len(size).unwrap();
    let whole = planned(&disk);
    assert_eq!(whole.writes.len(), 7);
    for write in whole.writes {
        if write.bytes.len() == ENTRIES_SIZE {
            // Any of them may be torn.
            disk.write_all_at(&[0xd7; ENTRIES_SIZE], write.lba * 512).unwrap();
            table(&disk);
        }
        apply(&disk, std::slice::from_ref(&write));
    }
}

#[test]
fn too_little_or_less_than_before_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for size in [64 * MIB + 512, 64 * MIB + 32 * 512, 63 * MIB + 512, 60 * MIB, 8192 * 512] {
        let disk = made(&directory, 64 * MIB);
        disk.set_len(size).unwrap();
        let plan = planned(&disk);
        assert_eq!((plan.writes, plan.root), (vec![], (8192, 63 * 2048 - 1)), "{size}");
    }
}

#[test]
fn a_table_that_is_not_ours_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let read = |disk: &File| Table::read(disk, 512, &root()).ok().flatten();
    let disk = made(&directory, 64 * MIB);
    assert!(read(&disk).is_some());
    assert!(Table::read(&disk, 512, &Guid([7; 16])).unwrap().is_none(), "another root");
    assert!(Table::read(&disk, 4096, &root()).is_err(), "another size of sectors");
    // What other tools may do to a disk of ours, each with valid checksums.
    for change in
        [&["-d", "3"][..], &["-t", "3:8300"], &["-d", "1"], &["-n", "4:131072:0"], &["-S", "256"], &["-j", "40"]]
    {
        let disk = made(&directory, 64 * MIB);
        if change[0] == "-n" {
            disk.set_len(100 * MIB).unwrap();
            sgdisk(&directory, &["-e"]);
        }
        sgdisk(&directory, change);
        assert!(read(&disk).is_none(), "{change:?}");
    }
    // Any damaged byte of what the checksums cover.
    for at in (512..512 + 92).chain((1024..1024 + 384).step_by(7)) {
        let disk = made(&directory, 64 * MIB);
        let mut byte = [0];
        disk.read_exact_at(&mut byte, at).unwrap();
        disk.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
        assert!(read(&disk).is_none(), "byte {at}");
    }
}

#[test]
fn sectors_of_4096_bytes_grow_too() {
    // The same table in other sectors: header and entries move, the entries count in 4096 bytes.
    let directory = tempfile::tempdir().unwrap();
    let small = table(&made(&directory, 64 * MIB));
    let mut entries = small.entries.clone();
    for (index, (first, last)) in [(256u64, 511u64), (512, 1023), (1024, 16_127)].into_iter().enumerate() {
        entries[index * 128 + 32..][..8].copy_from_slice(&first.to_le_bytes());
        entries[index * 128 + 40..][..8].copy_from_slice(&last.to_le_bytes());
    }
    let header = small.header;
    let root_place = Partition { first: 1024, last: 16_127, ..small.root.clone() };
    let large = Table { sector: 4096, header, entries, root: root_place };
    let mut disk = vec![0u8; 400 << 20];
    let header = large.header(1, 16_383, HOME, (6, 16_378));
    disk[4096..][..HEADER_SIZE].copy_from_slice(&header);
    disk[8192..][..ENTRIES_SIZE].copy_from_slice(&large.entries);
    let path = directory.path().join("large.img");
    std::fs::write(&path, &disk).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let read = || Table::read(&file, 4096, &root()).unwrap().expect("a table of ours");
    let plan = plan(&read(), &disk[..4096], disk.len() as u64 / 4096);
    assert_eq!(plan.root, (1024, 399 * 256 - 1));
    for write in &plan.writes {
        assert_eq!(write.bytes.len() % 4096, 0);
        file.write_all_at(&write.bytes, write.lba * 4096).unwrap();
        assert_eq!(read().root_range().0, 1024);
    }
    assert_eq!(read().root_range(), plan.root);
    let gpt = ::gpt::GptConfig::new().logical_block_size(::gpt::disk::LogicalBlockSize::Lb4096);
    let found = gpt.open(&path).unwrap();
    assert_eq!(found.partitions()[&3].last_lba, plan.root.1);
    assert_eq!(found.backup_header().unwrap().current_lba, disk.len() as u64 / 4096 - 1);
}
