//! Our reader on our file systems, on those of mke2fs, and on damaged ones.

use crate::support::ext4::{Disk, MIB, Piece, mode, noise, params, with_xattrs};
use crate::support::{ext4, ext4_compare, tools};
use bootdisk::ext4::read::{FileSystem, Kind as Found, ReadError};
use bootdisk::rootfs::Kind;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::process::Command;

fn fill(build: &mut ext4::Build) {
    build.file("etc/passwd", b"root:x:0:0::/:/bin/sh\n");
    build.file("large", &noise(2 << 20, 3));
    build
        .sparse("sparse", &(0..700).flat_map(|i| [Piece::Hole(8192), Piece::Data(noise(4096, i))]).collect::<Vec<_>>());
    build.add("short", mode(0o777), Kind::Symlink(b"etc/passwd"[..].into()));
    build.add("far", mode(0o777), Kind::Symlink(vec![b'y'; 3000].into()));
    build.add(
        "attrs",
        with_xattrs(&[(b"user.a", b"1"), (b"user.big", &noise(3000, 1)), (b"user.long", &noise(60_000, 2))]),
        Kind::Fifo,
    );
    build.add("tty", mode(0o620), Kind::CharDevice { major: 4, minor: 300 });
    for i in 0..2000 {
        build.add(&format!("many/name-{i}"), mode(0o644), Kind::Fifo);
    }
}

#[test]
fn it_reads_what_the_writer_wrote() {
    let disk = Disk::new();
    let written = disk.write(params(), fill);
    let fs = FileSystem::open(&disk.file, 0).unwrap();
    fs.verify_groups().unwrap();
    assert_eq!(ext4_compare::compare(&fs, &written), 2010);
    assert_eq!((fs.label(), fs.uuid()), (&b"test"[..], params().uuid));
    assert_eq!((fs.size(), fs.free()), (written.sealed.size, written.sealed.free_blocks * 4096));
}

#[test]
fn it_reads_what_mke2fs_wrote() {
    let disk = Disk::new();
    let source = disk.folder.path().join("tree");
    std::fs::create_dir_all(source.join("a/b")).unwrap();
    std::fs::write(source.join("a/b/file"), noise(100_000, 9)).unwrap();
    std::fs::write(source.join("a/small"), b"small").unwrap();
    std::os::unix::fs::symlink("b/file", source.join("a/link")).unwrap();
    for i in 0..300 {
        std::fs::write(source.join(format!("a/b/{i}")), b"").unwrap();
    }
    for options in [
        &["-b", "4096"][..],
        &["-b", "1024"],
        &["-O", "^metadata_csum,^64bit"],
        &["-I", "128"],
        &["-O", "meta_bg,^resize_inode"],
    ] {
        disk.file.set_len(0).unwrap();
        disk.file.set_len(300 * MIB).unwrap();
        tools::stdout(
            Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(&source).args(options).arg(&disk.path),
        );
        let fs = FileSystem::open(&disk.file, 0).unwrap();
        fs.verify_groups().unwrap();
        let mut paths = Vec::new();
        fs.walk(|path, inode| {
            let path = String::from_utf8_lossy(path).into_owned();
            if path == "a/b/file" {
                let mut bytes = vec![0; inode.size as usize];
                fs.read_file(inode, 0, &mut bytes).unwrap();
                assert!(bytes == noise(100_000, 9));
            }
            if inode.kind == Found::Symlink {
                assert_eq!(fs.target(inode).unwrap(), b"b/file");
            }
            fs.attributes(inode).unwrap();
            paths.push(path);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(paths.len(), 307, "{options:?}");
    }
}

/// Reads everything there is, and returns what was seen.
#[expect(clippy::ptr_arg, reason = "a file system is read from what has a size of its own")]
fn read_all(bytes: &Vec<u8>) -> Result<Vec<u8>, ReadError> {
    let fs = FileSystem::open(bytes, 0)?;
    fs.verify_groups()?;
    let mut seen = Vec::new();
    let mut failed = None;
    fs.walk(|path, inode| {
        let content = (|| {
            Ok(match inode.kind {
                Found::File => {
                    let mut content = vec![0; (inode.size as usize).min(8 << 20)];
                    fs.read_file(inode, 0, &mut content)?;
                    content
                }
                Found::Symlink => fs.target(inode)?,
                _ => Vec::new(),
            })
        })();
        match content.and_then(|content| Ok((content, fs.attributes(inode)?))) {
            Ok((content, attributes)) => {
                seen.extend_from_slice(path);
                seen.extend_from_slice(
                    format!("{:?} {:o} {:?} {:?}", inode.kind, inode.mode, inode.mtime, attributes).as_bytes(),
                );
                seen.extend_from_slice(&content);
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(seen),
    }
}

#[test]
fn a_flipped_byte_of_metadata_is_found_or_harmless() {
    let disk = Disk::new();
    let written = disk.write(bootdisk::ext4::Params { free: bootdisk::ext4::Free::Bytes(MIB), ..params() }, |build| {
        build.file("etc/passwd", b"root");
        build.sparse(
            "sparse",
            &(0..400).flat_map(|_| [Piece::Hole(4096), Piece::Data(vec![1; 4096])]).collect::<Vec<_>>(),
        );
        build.add("far", mode(0o777), Kind::Symlink(vec![b'y'; 300].into()));
        build.add("attrs", with_xattrs(&[(b"user.big", &noise(2000, 1))]), Kind::Fifo);
        for i in 0..300 {
            build.add(&format!("many/name-{i}"), mode(0o644), Kind::Fifo);
        }
    });
    drop(written);
    let mut bytes = std::fs::read(&disk.path).unwrap();
    let sound = read_all(&bytes).unwrap();
    // Blocks of file contents have no checksum.
    let content = |at: usize| {
        let block = &bytes[at / 4096 * 4096..][..4096];
        block.starts_with(b"root") || block.iter().all(|&b| b == 1 || b == b'y' || b == 0)
    };
    let places: Vec<usize> = (1024..bytes.len()).filter(|&at| bytes[at] != 0 && !content(at)).collect();
    let full = std::env::var_os("BOOTDISK_TEST_FULL").is_some();
    let count = if full { 10_000 } else { 600 };
    let mut found = 0;
    for i in 0..count {
        let at = places[(i * 7919 + i * i * 31) % places.len()];
        let bit = 1 << (i % 8);
        bytes[at] ^= bit;
        match read_all(&bytes) {
            Err(_) => found += 1,
            Ok(seen) => assert!(seen == sound, "a flip at {at:#x} changes what is read"),
        }
        bytes[at] ^= bit;
    }
    assert!(found > count / 2, "only {found} of {count} flips were found");
}

/// What a file system is cut to, or filled with: found at the first group, and not after a walk over all of them.
#[test]
fn descriptors_of_zeros_say_nothing_of_free_blocks() {
    let disk = Disk::new();
    disk.file.set_len(0).unwrap();
    disk.file.set_len(64 * MIB).unwrap();
    let options = ["-q", "-F", "-t", "ext4", "-b", "1024", "-O", "^metadata_csum"];
    tools::stdout(Command::new("mke2fs").args(options).arg(&disk.path));
    let free = || FileSystem::open(&disk.file, 0).unwrap().free_runs();
    assert!(!free().unwrap().is_empty());
    disk.file.write_all_at(&[0; 1024], 2 * 1024).unwrap();
    assert!(matches!(free(), Err(ReadError::Damaged(_))), "{:?}", free());
}

#[test]
fn what_is_no_file_system_is_an_error() {
    assert!(matches!(FileSystem::open(&Vec::new(), 0), Err(ReadError::Input(_))));
    assert!(matches!(FileSystem::open(&vec![0; 4096], 0), Err(ReadError::NotExt4)));
    assert!(FileSystem::open(&vec![0; 4096], u64::MAX).is_err());
}
