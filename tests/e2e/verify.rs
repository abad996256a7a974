//! `build --verify`: a disk that is whole passes, and whatever is damaged is found.

use crate::{e2e, e2e_disk};
use bootdisk::arch::Architecture;
use bootdisk::boot::existing::Existing;
use bootdisk::convert::{Expected, verify};
use bootdisk::disk::gpt::Layout;
use bootdisk::ext4::read::{FileSystem, Kind};
use e2e::{Bench, Kernel, image, sha256};
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

/// Of the EFI System Partition, in bytes.
const ESP: u64 = 128 << 20;

#[test]
fn a_whole_disk_passes_and_every_damage_is_found() {
    let bench = Bench::new(Kernel::Cloud);
    let plain = bench.build(image("hello-c.oci"), "plain.img", &["--size", "256M"]);
    let disk = bench.build(image("hello-c.oci"), "disk.img", &["--size", "256M", "--verify"]);
    assert_eq!(sha256(&disk), sha256(&plain), "reading back changes nothing");
    // Every kind of file there is, names that are no text, holes, attributes.
    bench.build(image("zoo.oci"), "zoo.img", &["--verify", "--firmware", "bios"]);
    bench.build(image("debian.oci"), "debian.img", &["--verify", "--guest-modules", "all"]);

    let layout = Layout::of_disk(Architecture::X86_64, ESP, 256 << 20).unwrap();
    let files = Existing::open(&disk).unwrap().boot_files().unwrap();
    let root = e2e_disk::partition(&disk, e2e_disk::ROOT).start;
    let (mut names, mut bytes) = (0, 0);
    let file = File::options().read(true).write(true).open(&disk).unwrap();
    let fs = FileSystem::open(&file, root).unwrap();
    let mut hello = None;
    fs.walk(|path, inode| {
        names += u64::from(!path.is_empty());
        if inode.kind == Kind::File {
            bytes += inode.size;
            hello = Some(inode.number);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(bytes, fs.inode(hello.unwrap()).unwrap().size, "one file");
    let expected = Expected {
        layout: &layout,
        kernel: &files.kernel,
        initramfs: &files.initramfs,
        command_line: &files.command_line,
        uefi: true,
        names,
        bytes,
    };
    verify(&file, &expected).unwrap();

    // What is there is not what should be.
    let other = [&files.kernel[1..], &[0]].concat();
    for (wrong, says) in [
        (Expected { kernel: &other, ..expected }, "the kernel is another"),
        (Expected { initramfs: &[], ..expected }, "the initramfs is another"),
        (Expected { command_line: "quiet", ..expected }, "the command line is another"),
        (Expected { uefi: false, ..expected }, "the EFI loader is not as it should be"),
        (Expected { names: names + 1, ..expected }, "names instead of"),
        (Expected { bytes: bytes - 1, ..expected }, "bytes instead of"),
    ] {
        let error = format!("{:#}", verify(&file, &wrong).unwrap_err());
        assert!(error.contains(says), "{error}");
    }

    // One bit, wherever a checksum or a comparison covers it: the table, the kernel on the ESP, superblock, group
    // descriptor, the file's inode.
    let whole = fs::read(&disk).unwrap();
    let kernel = whole.windows(4096).step_by(512).position(|bytes| bytes == &files.kernel[..4096]).unwrap() * 512;
    let name = whole[root as usize..].windows(5).position(|bytes| bytes == b"hello").unwrap() as u64 + root;
    for at in [
        512 + 16,
        1024 + 32,
        (256 << 20) - 512 + 16,
        (256 << 20) - 33 * 512 + 32,
        kernel as u64 + 2000,
        root + 1024 + 4,
        root + 4096 + 8,
        name,
    ] {
        let byte = whole[at as usize];
        file.write_all_at(&[byte ^ 1], at).unwrap();
        assert!(verify(&file, &expected).is_err(), "a changed bit at {at} was not found");
        file.write_all_at(&[byte], at).unwrap();
    }
    verify(&file, &expected).unwrap();
}
