//! Volumes of mkfs.fat and mtools read back, damaged ones told, and fsck.fat's word before and after an edit.

use super::edit::Editor;
use super::*;
use std::fs::File as Disk;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

/// A volume in a file of its own, which is kept as long as this lives.
struct Made {
    _folder: tempfile::TempDir,
    path: PathBuf,
    file: Disk,
    length: u64,
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env("MTOOLS_SKIP_CHECK", "1").env("LC_ALL", "C.UTF-8").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; scripts/test installs what the tests need"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || program == "fsck.fat", "{program} {arguments:?}: {said}");
    said
}

/// An empty volume as mkfs.fat makes it.
fn made(kibibytes: u64, options: &[&str]) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    let file = Disk::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.set_len(kibibytes << 10).unwrap();
    run("mkfs.fat", &[options, &[path.to_str().unwrap()]].concat());
    Made { _folder: folder, path, file, length: kibibytes << 10 }
}

impl Made {
    fn volume(&self) -> Volume<&Disk> {
        Volume::open(&self.file, 0, self.length).unwrap()
    }

    fn edit(&self) -> Result<Editor<'_>, Error> {
        Editor::open(&self.file, 0, self.length, 0)
    }

    fn folder(&self, path: &str) {
        run("mmd", &["-i", self.path.to_str().unwrap(), &format!("::{path}")]);
    }

    fn put(&self, path: &str, body: &[u8]) {
        let source = self.path.with_extension("body");
        std::fs::write(&source, body).unwrap();
        run("mcopy", &["-i", self.path.to_str().unwrap(), source.to_str().unwrap(), &format!("::{path}")]);
    }

    /// fsck.fat's opinion, but for how many files and clusters there are.
    fn fsck(&self) -> String {
        let said = run("fsck.fat", &["-n", self.path.to_str().unwrap()]);
        let lines = said.lines().skip(1).filter(|line| !line.contains(" files, "));
        lines.map(|line| line.replace(|c: char| c.is_ascii_digit(), "")).collect::<Vec<_>>().join("\n")
    }

    /// Sets entries of every FAT of a FAT32 volume.
    fn link(&self, links: &[(u32, u32)]) {
        let shape = self.volume().shape;
        for (copy, (cluster, value)) in (0..shape.fats).flat_map(|copy| links.iter().map(move |link| (copy, link))) {
            let at = shape.fats_at + copy * shape.fat_bytes + u64::from(*cluster) * 4;
            self.file.write_all_at(&value.to_le_bytes(), at).unwrap();
        }
    }

    fn why(&self, path: &str) -> Vec<Why> {
        let faults = self.volume().walk().faults;
        let of = |fault: Fault| match fault {
            Fault::Chain { path: found, why } if found == path => Some(why),
            other => panic!("{other}"),
        };
        faults.into_iter().filter_map(of).collect()
    }
}

/// Bytes with no zeros, so that a lost or moved one shows.
fn body(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8 + 1).collect()
}

fn fat32() -> Made {
    made(40 << 10, &["-F", "32", "-s", "1"])
}

const LONG_FOLDER: &str = "EFI/a folder with a long name";

#[test]
fn volumes_of_every_kind_are_read() {
    let kinds: [(u64, &[&str], u8); 6] = [
        (1440, &["-F", "12"], 12),
        (1440, &["-F", "12", "-s", "1", "-f", "1"], 12),
        (20 << 10, &["-F", "16"], 16),
        (20 << 10, &["-F", "16", "-S", "1024", "-r", "64"], 16),
        (40 << 10, &["-F", "32", "-s", "1"], 32),
        // With fewer clusters mtools takes it for FAT16.
        (288 << 10, &["-F", "32", "-S", "4096", "-s", "1"], 32),
    ];
    for (kibibytes, options, bits) in kinds {
        let made = made(kibibytes, options);
        made.folder("EFI");
        made.folder(LONG_FOLDER);
        let files = [
            ("EFI/a folder with a long name/Gräte and more than thirteen.efi", body(70_001)),
            ("SHORT.TXT", body(512)),
            ("empty", vec![]),
        ];
        for (path, body) in &files {
            made.put(path, body);
        }
        let (volume, walk) = (made.volume(), made.volume().walk());
        assert_eq!((volume.bits(), walk.faults.as_slice()), (bits, &[][..]), "{options:?}");
        for (path, body) in &files {
            let entry = volume.find_file(&format!("/{}", path.replace('/', "\\").to_uppercase())).unwrap();
            assert!(volume.read(&entry.expect(path), 1 << 20).unwrap() == *body, "{path} {options:?}");
            assert_eq!(walk.find(path).map(|file| file.entry.size as usize), Some(body.len()), "{path}");
        }
        assert_eq!(walk.files.len(), 5, "{options:?}");
        let folder = volume.find(LONG_FOLDER).unwrap().unwrap();
        let by_alias = volume.find(&format!("EFI/{}", folder.alias)).unwrap();
        assert!(by_alias == Some(folder), "a folder answers to its short name too");
        assert!(volume.find("EFI/none").unwrap().is_none() && volume.find("SHORT.TXT/x").unwrap().is_none());
    }
}

#[test]
fn what_is_no_volume_is_refused() {
    let made = fat32();
    let mut boot = [0; 512];
    made.file.read_exact_at(&mut boot, 0).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut copy = boot;
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        shape::Shape::decode(&copy).unwrap_err()
    };
    for (at, bytes) in [(510, &[0][..]), (11, &[0, 1]), (13, &[0]), (13, &[3]), (16, &[0]), (14, &[0, 0])] {
        assert_eq!(with(at, bytes), Fault::NotFat, "{at} {bytes:?}");
    }
    assert_eq!(with(32, &[0; 4]), Fault::NoClusters);
    assert_eq!(with(36, &[0xff; 4]), Fault::NoClusters);
    assert_eq!(with(36, &[1, 0, 0, 0]), Fault::ShortFat);
    // Every byte of the boot sector, to any value: an error or a volume, at once and in little memory.
    for at in 0..512 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut copy = boot.to_vec();
            copy[at] = value;
            if let Ok(volume) = Volume::open(&copy, 0, copy.len() as u64) {
                volume.walk();
            }
        }
    }
}

/// What each chain of the file at cluster `first` is made to be, and what is said of it.
#[test]
fn chains_that_cannot_be_are_told_read_no_further_and_never_edited() {
    let end = 0x0fff_ffff;
    type Case<'a> = (&'a str, &'a [(u32, u32)], Why, bool);
    let cases: [Case<'_>; 9] = [
        ("a ring of one", &[(0, 0)], Why::Long, true),
        ("a ring of two", &[(0, 1), (1, 0)], Why::Long, true),
        ("a number beyond all clusters", &[(1, 0x0fff_0000 - 10)], Why::Leaves, false),
        ("a number below all", &[(1, 1u32.wrapping_sub(10))], Why::Leaves, false),
        ("a free cluster", &[(1, 500)], Why::Free, false),
        ("a bad cluster", &[(1, 0x0fff_fff7 - 10)], Why::Bad, false),
        ("an early end", &[(1, end - 10)], Why::Short, false),
        ("no end", &[(3, 4), (4, end - 10)], Why::Long, true),
        ("another's", &[(2, 4), (5, end - 10)], Why::Shared, true),
    ];
    for (what, links, why, is_read) in cases {
        let made = fat32();
        made.put("file", &body(4 * 512));
        made.put("other", &body(2 * 512));
        let first = made.volume().find("file").unwrap().unwrap().cluster;
        let relative = |value: &u32| if *value < 10 { value + first } else { value.wrapping_add(10) };
        let links: Vec<_> = links.iter().map(|(cluster, value)| (cluster + first, relative(value))).collect();
        made.link(&links);
        let before = std::fs::read(&made.path).unwrap();
        assert_ne!(made.fsck(), "", "{what}: fsck.fat sees it too");
        let volume = made.volume();
        let found = volume.walk().faults;
        let said = |fault: &Fault| matches!(fault, Fault::Chain { why: found, .. } if *found == why);
        assert!(found.iter().any(said), "{what}: {found:?}");
        let entry = volume.find("file").unwrap().unwrap();
        assert_eq!(volume.read(&entry, 1 << 20).is_ok(), is_read, "{what}");
        assert!(matches!(made.edit().err(), Some(Error::Damaged(_))), "{what}");
        assert!(std::fs::read(&made.path).unwrap() == before, "{what}: nothing was written");
    }
}

#[test]
fn folders_that_are_rings_or_lead_nowhere_end() {
    let made = fat32();
    made.folder("sub");
    let sub = made.volume().find("sub").unwrap().unwrap().cluster;
    for (cluster, link, path) in
        [(2, 2, "the root folder"), (sub, sub, "sub"), (sub, 2, "sub"), (sub, 0x0fff_fff0, "sub")]
    {
        let copy = fat32();
        copy.folder("sub");
        // Full of removed entries: without an end mark nothing but the chain ends the folder.
        let at = copy.volume().shape.place(cluster);
        if cluster == 2 {
            copy.file.write_all_at(&[0xe5; 512], at).unwrap();
        } else {
            copy.file.write_all_at(&[0xe5; 512 - 64], at + 64).unwrap();
        }
        copy.link(&[(cluster, link)]);
        let found = copy.volume().walk().faults;
        assert!(
            matches!(&found[0], Fault::Chain { path: found, .. } if found == path),
            "{cluster} to {link}: {found:?}"
        );
        assert!(copy.edit().is_err());
        // What shares its clusters with the root folder can be read all the same.
        let found = copy.volume().find("sub/x");
        assert!(found.is_err() || matches!(found, Ok(None)) && link == 2 && cluster != 2, "{cluster} to {link}");
    }
    // A folder in itself: its cluster is met twice and not gone into again.
    let mut entry = [0; 32];
    made.file.read_exact_at(&mut entry, made.volume().shape.place(2)).unwrap();
    entry[..11].copy_from_slice(b"SELF       ");
    made.file.write_all_at(&entry, made.volume().shape.place(sub) + 64).unwrap();
    let found = made.why("sub/self");
    assert_eq!(found, [Why::Shared]);
    assert!(made.volume().find(&"sub/SELF/".repeat(40)).is_ok());
}

#[test]
fn deep_folders_are_walked_and_deeper_ones_than_any_system_has_are_told() {
    let made = fat32();
    let path = |depth: usize| vec!["d"; depth].join("/");
    (1..=40).for_each(|depth| made.folder(&path(depth)));
    made.put(&format!("{}/deep", path(40)), &body(3000));
    let walk = made.volume().walk();
    assert_eq!((walk.faults.as_slice(), walk.files.len()), (&[][..], 41));
    assert!(made.edit().is_ok());
    (41..=MAX_DEPTH + 2).for_each(|depth| made.folder(&path(depth)));
    assert!(matches!(made.volume().walk().faults[..], [Fault::TooDeep(_)]));
    assert!(made.edit().is_err());
}

#[test]
fn long_names_count_only_where_they_belong() {
    let made = fat32();
    made.put("a name that needs three parts, at least", &body(10));
    let volume = made.volume();
    let entry = volume.entries("").err();
    assert!(matches!(entry, Some(Error::NoDirectory(_))));
    let entry = volume.list(None).unwrap().entries.remove(0);
    assert_eq!(entry.long_at.len(), 3);
    for (at, value) in [(entry.long_at[0], 0x05), (entry.long_at[1], 0x09), (entry.long_at[2] + 13, 0xaa)] {
        let mut old = [0];
        made.file.read_exact_at(&mut old, at).unwrap();
        made.file.write_all_at(&[value], at).unwrap();
        let listing = volume.list(None).unwrap();
        assert_eq!((&listing.entries[0].name, listing.orphans.len()), (&entry.alias, 3), "byte {at}");
        made.file.write_all_at(&old, at).unwrap();
    }
}

/// What may be odd about a volume that is not damaged, and what fsck.fat says of it, are the same after an edit.
#[test]
fn an_edit_leaves_what_is_not_its_own_as_it_was() {
    type Oddity = fn(&Made);
    let oddities: [(&str, Oddity); 6] = [
        ("nothing", |_| {}),
        ("clusters marked bad", |made| made.link(&[(700, 0x0fff_fff7), (701, 0x0fff_fff7)])),
        ("clusters of no file", |made| made.link(&[(800, 801), (801, 0x0fff_ffff)])),
        ("top bits of free entries", |made| made.link(&[(900, 0xf000_0000)])),
        ("marked as not unmounted", |made| made.file.write_all_at(&[1], 0x41).unwrap()),
        ("a count of free clusters that is not known", |made| made.file.write_all_at(&[0xff; 4], 512 + 488).unwrap()),
    ];
    for (what, make) in oddities {
        let made = fat32();
        made.folder("bootdisk");
        made.put("bootdisk/old", &body(100_000));
        made.put("kept", &body(77_777));
        make(&made);
        let before = made.fsck();
        let mut editor = made.edit().unwrap_or_else(|error| panic!("{what}: {error}"));
        editor.begin().unwrap();
        let old = editor.volume().find("bootdisk/old").unwrap().unwrap();
        let new = editor.create("bootdisk", "new", &body(200_000)).unwrap();
        assert!(editor.volume().read(&new, 1 << 20).unwrap() == body(200_000), "{what}");
        let cluster = editor.store(&body(3000)).unwrap();
        editor.repoint(&new, cluster, 3000).unwrap();
        editor.remove(&old).unwrap();
        editor.reclaim(&[]).unwrap();
        editor.count().unwrap();
        editor.end().unwrap();
        assert_eq!(made.fsck(), before, "{what}");
        let volume = made.volume();
        let read = |path: &str| volume.read(&volume.find(path).unwrap().unwrap(), 1 << 20).unwrap();
        assert!(read("kept") == body(77_777) && read("bootdisk/new") == body(3000), "{what}");
        assert_eq!(volume.walk().files.len(), 3, "{what}");
        for (cluster, link) in [(700, links::Link::Bad), (800, links::Link::Next(801))] {
            let marked = (cluster == 700) == what.contains("bad") && (cluster == 800) == what.contains("no file");
            assert!(!marked || volume.links.get(cluster) == Some(link), "{what}");
        }
    }
}

#[test]
fn fats_that_differ_are_not_edited() {
    let made = fat32();
    let shape = made.volume().shape;
    made.file.write_all_at(&[1, 2, 3, 0], shape.fats_at + shape.fat_bytes + 4 * 600).unwrap();
    assert!(matches!(made.edit().err(), Some(Error::Damaged(Fault::FatsDiffer))));
    let short = Editor::open(&made.file, 0, made.length - 512, 0).err();
    assert!(matches!(short, Some(Error::Damaged(Fault::TooLarge))));
    for options in [&["-F", "16"][..], &["-F", "32", "-S", "4096", "-s", "1"]] {
        assert!(matches!(super::tests::made(64 << 10, options).edit().err(), Some(Error::Unsupported(_))));
    }
}

#[test]
fn entries_behind_a_folders_end_do_not_come_to_life() {
    let made = fat32();
    made.folder("bootdisk");
    made.put("bootdisk/old", &body(100));
    let at = made.volume().find("bootdisk/old").unwrap().unwrap().at;
    // An end mark, and what looks like entries behind it: nobody sees them now.
    made.file.write_all_at(&[0], at).unwrap();
    let mut ghost = [b'G'; 32];
    ghost[11] = 0x20;
    (1..10).for_each(|n| made.file.write_all_at(&ghost, at + 32 * n).unwrap());
    let mut editor = made.edit().unwrap();
    editor.create("bootdisk", "new", &body(10)).unwrap();
    let names: Vec<String> = made.volume().entries("bootdisk").unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["new"]);
}
