//! File systems of every kind of inode, at their limits, under e2fsck and debugfs.

#[path = "support/ext4.rs"]
mod ext4;
#[path = "support/tools.rs"]
mod tools;

use bootdisk::rootfs::{Attrs, Kind, Time};
use ext4::{Disk, GIB, MIB, Piece, check, complaints, debugfs, mode, noise, params, sized, with_xattrs};
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
    let (sealed, _) = disk.write(params(), every_kind);
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
