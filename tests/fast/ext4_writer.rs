//! File systems of every kind of inode, at their limits, under e2fsck and debugfs.

use crate::support::ext4::{
    Disk, GIB, MIB, Piece, TIB, check, complaints, debugfs, mode, noise, params, sized, with_xattrs,
};
use crate::support::{ext4, ext4_compare, tools};
use bootdisk::ext4::read::FileSystem;
use bootdisk::rootfs::{Attrs, Kind, Time};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

fn every_kind(build: &mut ext4::Build) {
    build.file("empty", b"");
    build.file("one", b"1");
    for size in [4095, 4096, 4097, 12 * 4096, 13 * 4096 + 1, 300_000] {
        build.file(&format!("sizes/{size}"), &noise(size, size as u64));
    }
    let target = build.file("usr/bin/tool", &noise(10_000, 1));
    for i in 0..50 {
        build.link(&format!("links/{i}"), target);
    }
    for length in [1, 59, 60, 61, 1019, 4095] {
        build.add(&format!("symlinks/{length}"), mode(0o777), Kind::Symlink(vec![b'x'; length].into()));
    }
    build.add("dev/null", mode(0o666), Kind::CharDevice { major: 1, minor: 3 });
    build.add("dev/nvme", mode(0o660), Kind::BlockDevice { major: 259, minor: 70_000 });
    build.add("dev/largest", mode(0o660), Kind::BlockDevice { major: 4095, minor: 1_048_575 });
    build.add("run/pipe", mode(0o600), Kind::Fifo);
    for (i, bits) in [0o4755, 0o2755, 0o1777, 0o7777, 0].into_iter().enumerate() {
        build.add(&format!("modes/{i}"), mode(bits), Kind::File { size: 0, body: Default::default() });
    }
    let large = Attrs { uid: u32::MAX - 1, gid: 65_536, ..mode(0o644) };
    build.add("owners/large", large, Kind::directory());
    for secs in [0, -1, -(1 << 31), 1 << 31, 1 << 33, (1 << 34) - (1 << 31) - 1] {
        let attrs = Attrs { mtime: Time { secs, nanos: 999_999_999 }, ..mode(0o644) };
        build.add(&format!("times/{secs}"), attrs, Kind::Fifo);
    }
    build.file(&"n".repeat(255), b"long name");
}

#[test]
fn every_kind_of_inode() {
    let disk = Disk::new();
    let ext4::Written { sealed, .. } = disk.write(params(), every_kind);
    assert_eq!(sealed.warnings.count(), 0);
    let stat = |path: &str| debugfs(&disk.path, &format!("stat {path}"));
    assert!(stat("dev/null").contains("Device major/minor number: 01:03"), "{}", stat("dev/null"));
    assert!(stat("usr/bin/tool").contains("Links: 51"));
    assert!(stat("times/-1").contains("mtime: 0xffffffff:ee6b27fc"), "{}", stat("times/-1"));
    assert!(stat("owners/large").contains("User:    -2   Group: 65536"), "{}", stat("owners/large"));
}

#[test]
fn an_empty_file_system() {
    let disk = Disk::new();
    disk.write(params(), |_| ());
    let disk = Disk::new();
    disk.write(sized(GIB), |_| ());
}

#[test]
fn the_checker_sees_damage() {
    let disk = Disk::new();
    disk.write(params(), every_kind);
    let mut byte = [0];
    disk.file.read_exact_at(&mut byte, 1024 + 0x20).unwrap();
    disk.file.write_all_at(&[byte[0] ^ 1], 1024 + 0x20).unwrap();
    let (clean, lines) = complaints(&disk.path);
    assert!(!clean && !lines.is_empty());
}

#[test]
fn holes_and_extent_trees_of_every_depth() {
    let disk = Disk::new();
    let pieces =
        |count: usize| (0..count).flat_map(|_| [Piece::Hole(4096), Piece::Data(vec![7; 4096])]).collect::<Vec<_>>();
    disk.write(params(), |build| {
        for (depth, count) in [3, 100, 1500].into_iter().enumerate() {
            build.sparse(&format!("depth{depth}"), &pieces(count));
        }
        build.sparse("all hole", &[Piece::Hole(10 << 40)]);
        build.sparse("tail hole", &[Piece::Data(vec![1; 5000]), Piece::Hole((1 << 32) + 1)]);
        build.sparse("odd", &[Piece::Hole(5), Piece::Data(vec![1; 10]), Piece::Hole(9000), Piece::Data(vec![2; 3])]);
        build.sparse("end", &[Piece::Hole(4096 * (u32::MAX as u64 - 1)), Piece::Data(vec![3; 4096])]);
        let zeros = vec![0; 200 << 20];
        build.file("zeros", &zeros);
    });
    let ex = |path: &str| debugfs(&disk.path, &format!("ex {path}"));
    assert_eq!(ex("depth1").lines().filter(|line| line.trim_start().starts_with("1/")).count(), 100);
    assert!(ex("depth2").lines().any(|line| line.trim_start().starts_with("2/ 2")), "{}", ex("depth2"));
    assert!(debugfs(&disk.path, "stat /zeros").contains("Blockcount: 409600"));
    use std::os::unix::fs::MetadataExt;
    let allocated = disk.file.metadata().unwrap().blocks() * 512;
    assert!(allocated < 20 * MIB, "zeros are not written: {allocated} bytes are");
}

#[test]
fn a_hundred_thousand_names_and_seventy_thousand_directories() {
    let disk = Disk::new();
    disk.write(params(), |build| {
        build.dir("many");
        let many = build.tree.lookup(ext4::ROOT, b"many").unwrap();
        for i in 0..100_000 {
            let kind = Kind::File { size: 0, body: Default::default() };
            build.tree.insert(many, format!("name-{i:06}").as_bytes(), mode(0o644), kind, 0).unwrap();
        }
        let subdirs = build.dir("subdirs");
        for i in 0..70_000 {
            build.tree.insert(subdirs, format!("{i}").as_bytes(), mode(0o755), Kind::directory(), 0).unwrap();
        }
        let long = build.dir("long");
        for i in 0..9000 {
            let name = format!("{i:0255}");
            build.tree.insert(long, name.as_bytes(), mode(0o644), Kind::Fifo, 0).unwrap();
        }
        build.dir("high");
        for i in 0..600u32 {
            let name: Vec<u8> = (0..40).map(|k| 0x80 | (i >> (k % 10)) as u8 | k).collect();
            let high = build.tree.lookup(ext4::ROOT, b"high").unwrap();
            _ = build.tree.entry(high, &name).is_some()
                || build.tree.insert(high, &name, mode(0o644), Kind::Fifo, 0).is_ok();
        }
    });
    let tree = debugfs(&disk.path, "htree_dump /long");
    assert!(tree.contains("Indirect levels: 1"), "{}", &tree[..600]);
    assert!(debugfs(&disk.path, "stat /subdirs").contains("Links: 1 "));
}

#[test]
fn names_whose_hashes_collide() {
    let disk = Disk::new();
    let names = ext4::colliding_names();
    assert!(names.len() > 500, "{}", names.len());
    disk.write(params(), |build| {
        for name in &names {
            build.tree.insert(ext4::ROOT, name, mode(0o644), Kind::Fifo, 0).unwrap();
        }
    });
    let dump = debugfs(&disk.path, "htree_dump /");
    assert!(dump.lines().any(|line| line.starts_with("Entry #") && line.contains("1, block")), "no leaf is continued");
}

#[test]
fn attributes_in_the_inode_and_in_a_block() {
    let acl = |entries: &[(u16, u16, u32)]| {
        let mut value = 2u32.to_le_bytes().to_vec();
        for (tag, bits, id) in entries {
            value.extend([tag.to_le_bytes(), bits.to_le_bytes()].concat());
            value.extend(id.to_le_bytes());
        }
        value
    };
    let none = u32::MAX;
    let access = acl(&[(1, 6, none), (2, 7, 1000), (4, 4, none), (0x10, 7, none), (0x20, 4, none)]);
    let default = acl(&[(1, 7, none), (4, 5, none), (0x20, 5, none)]);
    let capability = [1, 0, 0, 2, 0x0a, 0x3d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let long_name = [b"user.".to_vec(), vec![b'n'; 250]].concat();
    let disk = Disk::new();
    let ext4::Written { sealed, .. } = disk.write(params(), |build| {
        let file = || Kind::File { size: 0, body: Default::default() };
        build.add("cap", with_xattrs(&[(b"security.capability", &capability)]), file());
        build.add("acl", with_xattrs(&[(b"system.posix_acl_access", &access)]), file());
        let both: [(&[u8], &[u8]); 2] =
            [(b"system.posix_acl_access", &access), (b"system.posix_acl_default", &default)];
        build.add("acldir", with_xattrs(&both), Kind::directory());
        let many: Vec<(String, Vec<u8>)> = (0..60).map(|i| (format!("user.{i}"), noise(i, i as u64))).collect();
        let many: Vec<(&[u8], &[u8])> = many.iter().map(|(n, v)| (n.as_bytes(), &v[..])).collect();
        build.add("many", with_xattrs(&many), file());
        build.add("large", with_xattrs(&[(b"user.large", &noise(4000, 5)), (b"user.small", b"")]), file());
        build.add("long", with_xattrs(&[(&long_name, b"x"), (b"trusted.overlay.opaque", b"y")]), file());
        build.add("high", with_xattrs(&[(b"user.\xff\xfe\x80", &noise(2000, 6)), (b"user.a", &noise(90, 6))]), file());
        build.add(
            "link",
            with_xattrs(&[(b"security.selinux", b"system_u:object_r:bin_t:s0\0")]),
            Kind::Symlink(b"cap"[..].into()),
        );
        build.add("bad\x1b", with_xattrs(&[(b"btrfs.x", b""), (b"system.posix_acl_access", b"junk")]), file());
    });
    assert_eq!(sealed.warnings.count(), 2);
    assert!(sealed.warnings.first()[0].ends_with("bad\\x1b"), "{:?}", sealed.warnings);
    let list = debugfs(&disk.path, "ea_get -V /cap security.capability");
    assert_eq!(list.strip_suffix('\n').unwrap().as_bytes(), capability);
    let acl = debugfs(&disk.path, "stat /acl");
    assert!(acl.contains("system.posix_acl_access"), "{acl}");
    assert!(debugfs(&disk.path, "ea_list /many").contains("user.59"));
}

#[test]
fn attributes_that_do_not_fit_name_the_file() {
    let disk = Disk::new();
    let error = disk.write_unchecked(params(), |build| {
        build.add("etc/big", with_xattrs(&[(b"user.x", &noise((64 << 10) + 1, 1))]), Kind::Fifo);
    });
    assert_eq!(
        error.err().unwrap().to_string(),
        "an extended attribute of 65537 bytes, at most 65536 are possible: etc/big"
    );
    let names: Vec<String> = (0..16).map(|number| format!("user.{number:0250}")).collect();
    let names: Vec<(&[u8], &[u8])> = names.iter().map(|name| (name.as_bytes(), &b""[..])).collect();
    let error = Disk::new().write_unchecked(params(), |build| {
        build.add("etc/many", with_xattrs(&names), Kind::Fifo);
    });
    assert_eq!(
        error.err().unwrap().to_string(),
        "names of extended attributes need 4292 bytes, at most 4064 are possible: etc/many"
    );
}

/// Values that fit no block: e2fsck and debugfs find them, and a file system without any has no feature for them.
#[test]
fn long_attributes_are_inodes_of_their_own_and_only_where_there_are_any() {
    let features = |disk: &Disk| debugfs(&disk.path, "show_super_stats -h").contains("ea_inode");
    let plain = Disk::new();
    plain.write(params(), |build| {
        build.add("large", with_xattrs(&[(b"user.large", &noise(4000, 5))]), Kind::Fifo);
    });
    assert!(!features(&plain));
    let disk = Disk::new();
    let long = |size| noise(size, size as u64);
    let entry = |tag: u8, id: u32| {
        let [a, b, c, d] = id.to_le_bytes();
        [tag, 0, 4, 0, a, b, c, d]
    };
    let written = disk.write(params(), |build| {
        let several: [(&[u8], &[u8]); 4] = [
            (b"security.most", &long(64 << 10)),
            (b"user.a", &long(3000)),
            (b"user.b", &long(2000)),
            (b"user.short", b"x"),
        ];
        build.add("several", with_xattrs(&several), Kind::Fifo);
        build.add("folder", with_xattrs(&[(b"trusted.x", &long(4097))]), Kind::directory());
        let link = Kind::Symlink(vec![b'y'; 300].into());
        build.add("link", with_xattrs(&[(b"security.x", &long(5000))]), link);
        // Owner, a thousand users, owning group, mask, others.
        let users = (0..1000).map(|user| entry(2, user));
        let entries = std::iter::once(entry(1, u32::MAX)).chain(users);
        let entries = entries.chain([4, 0x10, 0x20].map(|tag| entry(tag, u32::MAX)));
        let list: Vec<u8> = [2, 0, 0, 0].into_iter().chain(entries.flatten()).collect();
        build.add("acl", with_xattrs(&[(b"system.posix_acl_access", &list)]), Kind::Fifo);
    });
    assert!(features(&disk));
    let got = |path: &str, name: &str| {
        let at = disk.folder.path().join("value");
        debugfs(&disk.path, &format!("ea_get -f {} {path} {name}", at.display()));
        std::fs::read(at).unwrap()
    };
    assert!(got("/several", "security.most") == long(64 << 10));
    assert!(got("/several", "user.a") == long(3000) && got("/several", "user.b") == long(2000));
    assert!(got("/folder", "trusted.x") == long(4097) && got("/link", "security.x") == long(5000));
    assert_eq!(ext4_compare::compare(&FileSystem::open(&disk.file, 0).unwrap(), &written), 5);
    // A value that is not what was written has another checksum.
    let bytes = std::fs::read(&disk.path).unwrap();
    let value = long(4097);
    let place = bytes.windows(value.len()).position(|window| window == value).unwrap();
    disk.file.write_at(&[!value[0]], place as u64).unwrap();
    let fs = FileSystem::open(&disk.file, 0).unwrap();
    let mut failed = Vec::new();
    fs.walk(|path, inode| {
        failed.extend(fs.attributes(inode).err().map(|error| format!("{}: {error}", String::from_utf8_lossy(path))));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(
        failed.len() == 1 && failed[0].starts_with("folder: wrong checksum of the extended attributes"),
        "{failed:?}"
    );
}

#[test]
fn too_many_links_name_the_file() {
    let build = |links: usize| {
        let disk = Disk::new();
        let result = disk.write_unchecked(params(), |build| {
            let id = build.file("first", b"x");
            for i in 1..links {
                build.link(&format!("d/{i}"), id);
            }
        });
        if result.is_ok() {
            check(&disk.path);
        }
        result.err().map(|error| error.to_string())
    };
    assert_eq!(build(65_000), None);
    assert_eq!(build(65_001).unwrap(), "65001 hard links to one file, at most 65000 are possible: first");
}

#[test]
fn the_size_an_error_names_is_exact() {
    for (files, bytes) in [(0, 0), (3000, 100), (50, 1 << 20), (1, 140 << 20)] {
        let attempt = |size: u64| {
            let disk = Disk::new();
            let result = disk.write_unchecked(sized(size), |build| {
                for i in 0..files {
                    build.file(&format!("d/{i}"), &noise(bytes, 1 + i));
                }
            });
            match result {
                Ok(_) => {
                    check(&disk.path);
                    None
                }
                Err(bootdisk::ext4::SealError::TooSmall { needed, .. }) => Some(needed),
                Err(error) => panic!("{error}"),
            }
        };
        let needed = attempt(MIB).unwrap();
        assert_eq!(attempt(needed), None, "{files} files");
        assert_eq!(attempt(needed - MIB), Some(needed), "{files} files");
    }
}

#[test]
fn a_file_system_can_be_exactly_full() {
    let free = |bytes: u64| {
        let disk = Disk::new();
        let result = disk.write_unchecked(sized(40 * MIB), |build| {
            build.file("big", &noise(bytes as usize, 1));
            // 10 reserved inodes, the root is one of them, this file, and 84 more: 96 = 6 blocks of inodes.
            for i in 0..85 {
                build.add(&format!("{i}"), mode(0o644), Kind::Fifo);
            }
        });
        result.ok().map(|written| (written.sealed.free_blocks, disk))
    };
    let mut bytes = 30 * MIB;
    let mut last = None;
    // Less comfort (fewer inodes, a shorter journal) makes room again, so the end is where no step fits any more.
    while let Some((blocks, disk)) = free(bytes) {
        bytes += blocks.max(1) * 4096;
        last = Some(disk);
    }
    let full = last.unwrap();
    check(&full.path);
    let header = tools::stdout(std::process::Command::new("dumpe2fs").arg("-h").arg(&full.path));
    let value = |name: &str| {
        header.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned()).unwrap()
    };
    assert_eq!((value("Free blocks:").as_str(), value("Free inodes:").as_str()), ("0", "0"));
}

#[test]
fn what_is_given_back_is_nowhere_on_the_disk() {
    let disk = Disk::new();
    let secret = |i: u64| noise(3000 + 7 * i as usize, 1000 + i);
    disk.write(params(), |build| {
        for i in 0..300 {
            build.file(&format!("layer1/{i}"), &secret(i));
        }
        build.file("large", &noise(3 << 20, 77));
        for i in 0..300 {
            build.remove(&format!("layer1/{i}"));
        }
        build.remove("large");
        // Zeros and holes over old places.
        build.file("zeros", &vec![0; 1 << 20]);
        build.sparse("holes", &[Piece::Data(vec![0; 100]), Piece::Hole(20_000), Piece::Data(vec![9; 10])]);
        build.file("kept", b"kept");
        build.writer_abandons(&noise(5000, 2000));
    });
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut &disk.file, &mut bytes).unwrap();
    for probe in (0..300).map(secret).chain([noise(3 << 20, 77), noise(5000, 2000)]) {
        for part in probe.chunks(4096).filter(|part| part.len() >= 32) {
            assert!(memfind(&bytes, &part[..32]).is_none(), "deleted content is still on the disk");
        }
    }
    assert!(memfind(&bytes, b"kept").is_some());
}

fn memfind(all: &[u8], part: &[u8]) -> Option<usize> {
    // Content begins at blocks.
    all.chunks(4096).position(|block| block.starts_with(part))
}

#[test]
fn two_writes_are_the_same_bytes() {
    let write = || {
        let disk = Disk::new();
        disk.write(params(), every_kind);
        std::fs::read(&disk.path).unwrap()
    };
    assert!(write() == write());
}

#[test]
fn the_features_are_those_of_mke2fs() {
    let disk = Disk::new();
    disk.write(sized(GIB), every_kind);
    let features = |path: &std::path::Path| {
        let header = tools::stdout(std::process::Command::new("dumpe2fs").arg("-h").arg(path));
        header.lines().find_map(|line| line.strip_prefix("Filesystem features:")).unwrap().trim().to_owned()
    };
    let other = Disk::new();
    other.file.set_len(GIB).unwrap();
    tools::stdout(std::process::Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(&other.path));
    assert_eq!(features(&disk.path), features(&other.path));
}

#[test]
fn resize2fs_grows_it_offline() {
    let disk = Disk::new();
    disk.write(sized(GIB), every_kind);
    disk.file.set_len(20 * GIB).unwrap();
    tools::stdout(std::process::Command::new("resize2fs").arg("-f").arg(&disk.path));
    check(&disk.path);
    assert!(debugfs(&disk.path, "show_super_stats -h").contains("Block count:              5242880"));
    tools::stdout(std::process::Command::new("resize2fs").arg("-fP").arg(&disk.path));
}

#[test]
fn descriptors_of_32_bytes_are_as_good() {
    let disk = Disk::new();
    let narrow = |size| bootdisk::ext4::Params { descriptors: bootdisk::ext4::Descriptors::Narrow, ..sized(size) };
    disk.write(narrow(3 * GIB), every_kind);
    let header = tools::stdout(std::process::Command::new("dumpe2fs").arg("-h").arg(&disk.path));
    assert!(!header.contains("64bit"));
}

#[test]
fn odd_and_huge_sizes() {
    for size in [8 * MIB, 128 * MIB + 4096, 128 * MIB + 300 * 4096, 384 * MIB + 5000, 5 * GIB + 123_456, 700 * GIB] {
        Disk::new().write(sized(size), every_kind);
    }
}

#[test]
fn more_than_16_tib() {
    // A file larger than the folder's own ext4 could hold: only memory can.
    let full = std::env::var_os("BOOTDISK_TEST_FULL").is_some();
    for size in if full { &[17 * TIB, 64 * TIB][..] } else { &[17 * TIB] } {
        Disk::in_memory().write(sized(*size), every_kind);
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    use bootdisk::rootfs::BodySink;
    let disk = Disk::new();
    let limit = bootdisk::ext4::Params { limit: 100 * MIB, ..sized(10 * MIB) };
    let mut build = ext4::Build::new(&disk.file, limit);
    build.writer.begin(1 << 40).unwrap();
    let data = noise(1 << 20, 1);
    let error = (0..200).find_map(|_| build.writer.write(&data).err()).unwrap();
    assert_eq!(error.to_string(), "the files need more than 104857600 bytes");
    assert!(disk.file.metadata().unwrap().len() <= 10 * MIB, "nothing is written beyond the partition");
}

#[test]
#[ignore = "it takes minutes"]
fn a_million_files() {
    let disk = Disk::new();
    disk.write(params(), |build| {
        for d in 0..1000 {
            let dir = build.dir(&format!("d{d}"));
            for i in 0..1000 {
                let kind = Kind::File { size: 0, body: Default::default() };
                build.tree.insert(dir, format!("{i}").as_bytes(), mode(0o644), kind, 0).unwrap();
            }
        }
    });
}
