//! Readers of disks and of what is on them. Inputs are [`Sectors`], but for texts.

use crate::choice;
use crate::sectors::Sectors;
use bootdisk::ext4::read::{FileSystem, Kind};
use bootdisk::formats::ReadAt;
use bootdisk::formats::boot_entry::{self, Change, Entry};
use bootdisk::formats::fat::edit::Editor;
use bootdisk::formats::fat::{Error, Volume};
use bootdisk::formats::gpt::{self, HEADER_SIZE, crc32};
use bootdisk::formats::verity::Superblock;
use bootdisk::forms;
use bootdisk::inspect::disk::{Disk, entries, table};
use bootdisk::verity::{Geometry, check};
use sha2::Digest;
use std::ops::ControlFlow;

/// Names that are looked at, and bytes of each file.
const NAMES: usize = 200;
const BYTES: usize = 64 << 10;

/// An ext4: every name, attribute, extent and free block.
pub fn ext4(data: &[u8]) {
    let disk = Sectors::of(data);
    let Ok(fs) = FileSystem::open(&disk, 0) else { return };
    _ = (fs.uuid(), fs.label(), fs.size(), fs.free(), fs.inodes());
    _ = fs.verify_groups();
    _ = fs.free_runs();
    let mut left = NAMES;
    let walked = fs.walk(|_, inode| {
        _ = fs.attributes(inode);
        _ = fs.mappings(inode);
        match inode.kind {
            Kind::Symlink => _ = fs.target(inode),
            Kind::File => {
                let mut bytes = vec![0; BYTES.min(usize::try_from(inode.size).unwrap_or(BYTES))];
                _ = fs.read_file(inode, inode.size / 2, &mut bytes[..1.min(inode.size as usize)]);
                _ = fs.read_file(inode, 0, &mut bytes);
            }
            _ => {}
        }
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    _ = walked.map_err(|error| error.to_string());
}

/// A disk in any form: where something is, and the beginning of it.
pub fn forms(data: &[u8]) {
    let source = match forms::open(crate::file(data).0) {
        Ok(source) => source,
        Err(fault) => {
            _ = fault.to_string();
            return;
        }
    };
    let (mut at, mut buffer) = (0, vec![0; BYTES]);
    for _ in 0..NAMES {
        let Ok(Some(range)) = source.data(at) else { return };
        assert!(at <= range.start && range.start < range.end && range.end <= source.size(), "{range:?} from {at}");
        let length = (range.end - range.start).min(BYTES as u64) as usize;
        _ = source.read_at(range.start, &mut buffer[..length]);
        at = range.end;
    }
}

/// A superblock of dm-verity, and with a second half that is the data the tree behind it.
pub fn verity(data: &[u8]) {
    let disk = Sectors::of(data);
    let superblock = match Superblock::read(&disk, 0) {
        Ok(Ok(superblock)) => superblock,
        Ok(Err(fault)) => {
            _ = fault.to_string();
            return;
        }
        Err(_) => return,
    };
    let mut encoded = superblock.encode();
    assert_eq!(Superblock::parse(&encoded), Ok(superblock.clone()));
    encoded[0] ^= 1;
    assert!(Superblock::parse(&encoded).is_err());
    let geometry = Geometry::of(superblock.blocks);
    assert!(geometry.levels.len() <= 8 && geometry.blocks <= superblock.blocks.saturating_add(1));
    // Time grows with the tree, which is no fault.
    if superblock.blocks <= 1024 {
        _ = check((&disk, disk.size / 2), (&disk, 0), &superblock, &[0; 32]).map_err(|fault| fault.to_string());
        let mut top = [0; 4096];
        if geometry.levels.is_empty() || disk.read_at(4096, &mut top).is_err() {
            return;
        }
        // That of the top block, so that what is below is read too.
        let root = sha2::Sha256::new().chain_update(&superblock.salt).chain_update(top).finalize().into();
        _ = check((&disk, disk.size / 2), (&disk, 0), &superblock, &root).map_err(|fault| fault.to_string());
    }
}

/// A FAT volume, read.
pub fn fat(data: &[u8]) {
    let disk = Sectors::of(data);
    match Volume::open(&disk, 0, disk.size) {
        Ok(volume) => read_volume(&volume),
        Err(error) => _ = error.to_string(),
    }
}

fn read_volume(volume: &Volume<&Sectors>) {
    _ = (volume.bits(), volume.id(), volume.label(), volume.head(), volume.free_places());
    let walk = volume.walk();
    walk.faults.iter().for_each(|fault| _ = fault.to_string());
    for file in walk.files.iter().take(NAMES) {
        if let Ok(Some(entry)) = volume.find(&file.path) {
            _ = volume.places(&entry);
            _ = volume.read(&entry, BYTES as u64);
        }
    }
    _ = volume.entries("").map(|entries| entries.len());
}

/// A FAT volume, changed as by an exchange of its kernel. What was changed without a complaint can be changed again.
pub fn fat_edit(data: &[u8]) {
    let (what, data) = choice(data);
    let disk = Sectors::of(data);
    match change(&disk, what) {
        Ok(true) => drop(Editor::open(&disk, 0, disk.size, 0).expect("a volume that was sound still is")),
        Ok(false) => {}
        Err(error) => _ = error.to_string(),
    }
}

/// `false` where nothing was begun.
fn change(disk: &Sectors, what: u8) -> Result<bool, Error> {
    let Ok(mut editor) = Editor::open(disk, 0, disk.size, 1_700_000_000) else { return Ok(false) };
    editor.begin()?;
    let folder = if what & 1 == 0 { "" } else { "loader/entries" };
    let made = editor.create(folder, "a new name of its own.conf", &vec![b'x'; 100 * usize::from(what)])?;
    let first = editor.walk().files.first().map(|file| file.path.clone());
    let entry = first.map(|path| editor.volume().find_file(&path)).transpose()?.flatten();
    if what & 2 != 0 {
        editor.remove(&made)?;
    } else if let Some(entry) = entry {
        let cluster = editor.store(b"what it leads to now")?;
        editor.repoint(&entry, cluster, 20)?;
    }
    editor.count()?;
    editor.end()?;
    Ok(true)
}

/// A partition table. Where the first byte is odd, the checksums are what they should be.
pub fn gpt(data: &[u8]) {
    let (mend, data) = choice(data);
    let disk = Sectors::of(data);
    if mend % 2 == 1 {
        sign_tables(&disk);
    }
    match gpt::read(&disk, disk.size) {
        Ok(table) => {
            gpt::problems(&table, disk.size).iter().for_each(|problem| _ = problem.to_string());
            _ = table.partitions().count();
            _ = table.linux_reads_it();
        }
        Err(fault) => _ = fault.to_string(),
    }
    _ = table::read(&disk, disk.size);
}

/// Puts right checksums into the tables at both ends, of the sectors that such a table usually has.
fn sign_tables(disk: &Sectors) {
    let last = (disk.size / 512).saturating_sub(1);
    for (header, entries) in [(1, 2), (last, last.saturating_sub(32))] {
        let mut bytes = vec![0; 32 * 512];
        if bootdisk::formats::ReadAt::read_at(disk, entries * 512, &mut bytes).is_err() {
            return;
        }
        disk.edit(header, |sector| {
            sector[88..92].copy_from_slice(&crc32(&bytes).to_le_bytes());
            sector[16..20].fill(0);
            let sum = crc32(&sector[..HEADER_SIZE]);
            sector[16..20].copy_from_slice(&sum.to_le_bytes());
        });
    }
}

/// Anything that is given as a disk: its report.
pub fn disk(data: &[u8]) {
    let disk = Sectors::of(data);
    let size = disk.size;
    if let Some(disk) = Disk::of(Box::new(disk), size) {
        let scan = disk.scan("input", false);
        _ = serde_json::to_vec(&scan.report);
    }
}

/// Boot entries of every kind of menu, and an entry with other values.
pub fn boot_entry(data: &[u8]) {
    let entry = Entry::parse(data);
    _ = entry.linux();
    _ = entries::boot_loader_specification(data, "input");
    _ = entries::grub(data, "input");
    _ = entries::syslinux(data, "input");
    let Ok(text) = std::str::from_utf8(data) else { return };
    _ = boot_entry::id(text.lines().next().unwrap_or_default());
    let changes = [Change { key: "linux", from: None, to: "/a" }, Change { key: "initrd", from: Some("/b"), to: "/c" }];
    let written = boot_entry::rewrite(text, &changes);
    assert!(Entry::parse(written.as_bytes()).files.contains(&"/a".to_owned()), "{written:?}");
}
