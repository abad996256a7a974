//! `build --verify`: a disk that is whole passes, and whatever is damaged is found.

use crate::images::ImageBuilder;
use crate::layers::{Member, archive};
use crate::{e2e, e2e_disk};
use bootdisk::arch::Architecture;
use bootdisk::boot::existing::Existing;
use bootdisk::contents::Root;
use bootdisk::convert::{Expected, expected_userland, verify};
use bootdisk::disk::gpt::Layout;
use bootdisk::ext4::read::FileSystem;
use bootdisk::rootfs::{Attrs, Kind as Node};
use bootdisk::source::{self, Reference, Select};
use e2e::{Bench, Kernel, image, sha256};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Of the EFI System Partition, in bytes.
const ESP: u64 = 128 << 20;

/// What a disk of the image must have.
fn userland_of(image: &std::path::Path) -> Root {
    let image = source::open(&Reference::parse(image.as_os_str()).unwrap(), &Select::default()).unwrap();
    expected_userland(&image).unwrap()
}

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
    let (kernel, initramfs) = (files.read_kernel().unwrap(), files.read_initramfs().unwrap());
    let root = e2e_disk::partition(&disk, e2e_disk::ROOT).start;
    let file = File::options().read(true).write(true).open(&disk).unwrap();
    let userland = userland_of(&image("hello-c.oci"));
    let expected = Expected {
        layout: &layout,
        kernel: &kernel,
        initramfs: &initramfs,
        command_line: &files.command_line,
        uefi: true,
        verity: None,
        userland: &userland,
    };
    verify(&file, &expected).unwrap();

    // What is there is not what should be.
    let other = [&kernel[1..], &[0]].concat();
    let changed = |change: &dyn Fn(&mut Root)| {
        let mut tree = userland_of(&image("hello-c.oci"));
        change(&mut tree);
        tree
    };
    let owned = changed(&|tree| tree.set_attrs(Root::ROOT, Attrs { uid: 1, ..tree.inode(Root::ROOT).attrs.clone() }));
    let more = changed(&|tree| _ = tree.insert(Root::ROOT, b"x", Attrs::default(), Node::Fifo, 0).unwrap());
    let less = changed(&|tree| _ = tree.unlink(tree.entry(Root::ROOT, b"hello").unwrap()));
    for (wrong, says) in [
        (Expected { kernel: &other, ..expected }, "the kernel is another"),
        (Expected { initramfs: &[], ..expected }, "the initramfs is another"),
        (Expected { command_line: "quiet", ..expected }, "the command line is another"),
        (Expected { uefi: false, ..expected }, "the EFI loader is not as it should be"),
        (Expected { userland: &owned, ..expected }, "its userland is another: / (owner)"),
        (Expected { userland: &more, ..expected }, "its userland is another: /x (name)"),
        (Expected { userland: &less, ..expected }, "its userland is another: /hello (name)"),
    ] {
        let error = format!("{:#}", verify(&file, &wrong).unwrap_err());
        assert!(error.contains(says), "{error}");
    }

    // One bit: the table, the kernel on the ESP, superblock, group descriptor, the file's name, its body.
    let whole = fs::read(&disk).unwrap();
    let kernel = whole.windows(4096).step_by(512).position(|bytes| bytes == &kernel[..4096]).unwrap() * 512;
    let name = whole[root as usize..].windows(5).position(|bytes| bytes == b"hello").unwrap() as u64 + root;
    let fs = FileSystem::open(&file, root).unwrap();
    let hello = fs.names(&fs.inode(2).unwrap()).unwrap().into_iter().find(|entry| entry.name == b"hello").unwrap();
    let body = fs.mappings(&fs.inode(hello.inode).unwrap()).unwrap()[0].start * fs.block_bytes() + root;
    for at in [
        512 + 16,
        1024 + 32,
        (256 << 20) - 512 + 16,
        (256 << 20) - 33 * 512 + 32,
        kernel as u64 + 2000,
        root + 1024 + 4,
        root + 4096 + 8,
        name,
        body + 100,
    ] {
        let byte = whole[at as usize];
        file.write_all_at(&[byte ^ 1], at).unwrap();
        assert!(verify(&file, &expected).is_err(), "a changed bit at {at} was not found");
        file.write_all_at(&[byte], at).unwrap();
    }
    verify(&file, &expected).unwrap();
}

/// Times and attributes that ext4 cannot have are warned about, and no reason to refuse the disk.
#[test]
fn what_the_file_system_cannot_keep_is_not_missed() {
    // Version 2; owner, mask and others with ids, which mean nothing there and are not kept.
    let acl = [(1u16, 6u16, 7u32), (2, 4, 1000), (4, 4, 9), (16, 4, 3), (32, 4, 1)];
    let entry =
        |(tag, mode, id): (u16, u16, u32)| [&tag.to_le_bytes()[..], &mode.to_le_bytes(), &id.to_le_bytes()].concat();
    let acl = [&2u32.to_le_bytes()[..], &acl.map(entry).concat()].concat();
    let layer = archive(&[
        Member::file("hello", "#!/x"),
        Member::file("late", "").record("mtime", "80000000000.5"),
        Member::file("ambiguous", "").record("mtime", "11000000000.25"),
        Member::file("acl", "").record("SCHILY.xattr.system.posix_acl_access", acl),
        Member::file("none", "").record("SCHILY.xattr.system.posix_acl_access", "no list"),
        Member::file("names", "")
            .record("SCHILY.xattr.user.z", "1")
            .record("SCHILY.xattr.btrfs.compression", "zstd")
            .record("SCHILY.xattr.security.selinux", "label"),
    ]);
    let bench = Bench::new(Kernel::Cloud);
    ImageBuilder::new().layer(layer).cmd(&["/hello"]).write_oci(&bench.path("odd.oci"));
    bench.build(bench.path("odd.oci"), "odd.img", &["--verify"]);
}
