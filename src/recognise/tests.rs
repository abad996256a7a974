use super::*;
use std::io::Write;

/// `length` zeros with these bytes at these places.
fn with(length: usize, places: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; length];
    places.iter().for_each(|(at, magic)| bytes[*at..at + magic.len()].copy_from_slice(magic));
    bytes
}

/// A member with a body of one block at most.
fn member(name: &[u8], kind: u8, body: &[u8]) -> Vec<u8> {
    let size = format!("{:011o}", body.len());
    let mut block =
        with(1024, &[(0, &name[..name.len().min(100)]), (124, size.as_bytes()), (156, &[kind]), (512, body)]);
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn tar(names: &[&str]) -> Vec<u8> {
    let members = names.iter().flat_map(|name| {
        let long = if name.len() > 100 { member(b"././@LongLink", b'L', name.as_bytes()) } else { Vec::new() };
        [long, member(name.as_bytes(), b'0', b"abc")].concat()
    });
    members.chain([0; 1024]).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A disk of 8 MiB whose table speaks of the sectors up to `last`.
fn gpt(last: u64) -> Vec<u8> {
    with(8 << 20, &[(510, &[0x55, 0xaa]), (512, b"EFI PART"), (560, &last.to_le_bytes())])
}

/// A program for `machine` with one section.
fn pe(machine: u16, section: &[u8]) -> Vec<u8> {
    let [low, high] = machine.to_le_bytes();
    with(512, &[(0, b"MZ"), (60, &[64]), (64, b"PE\0\0"), (68, &[low, high, 1]), (88, section)])
}

#[test]
fn a_file_is_called_by_what_is_in_it() {
    let long = format!("{}/oci-layout", "l".repeat(120));
    let boot_sector: &[(usize, &[u8])] = &[(510, &[0x55, 0xaa]), (450, &[0x83]), (458, &[9, 0, 0, 0])];
    for (bytes, words) in [
        (Vec::new(), "an empty file"),
        (vec![0; 3], "nothing but zeros"),
        (vec![0; 1 << 20], "nothing but zeros"),
        (vec![0xfe; 5000], "a file of no known format"),
        // Images and other archives.
        (tar(&["manifest.json", "x.json"]), "an image (docker archive)"),
        (tar(&["./blobs/sha256/a", "./index.json", "oci-layout"]), "an image (OCI archive)"),
        (tar(&["a/oci-layout", "a/index.json"]), "a tar archive with an image in its folder a"),
        (tar(&["a/b/oci-layout", "a/b/index.json"]), "a tar archive with an image in its folder a/b"),
        (tar(&["a\u{1b}/oci-layout"]), "a tar archive with an image in its folder a\\x1b"),
        (tar(&["a/manifest.json", "a/repositories"]), "a tar archive with an image in its folder a"),
        (tar(&["a/manifest.json"]), "a tar archive with neither manifest.json nor index.json in it"),
        (tar(&["./etc/passwd", "./usr/bin/sh", "usr/lib/x/manifest.json"]), "a root file system in a tar archive"),
        (tar(&["bin/x"]), "a tar archive with neither manifest.json nor index.json in it"),
        (tar(&["Dockerfile", "main.go"]), "a tar archive with a Dockerfile"),
        (tar(&[&long]), &format!("a tar archive with an image in its folder {}", "l".repeat(120))),
        (tar(&["manifest.json", "version"]), "a tar archive of a directory of skopeo's transport dir"),
        (gzip(&tar(&["x"])), "a gzip-compressed tar archive with neither manifest.json nor index.json in it"),
        (gzip(&tar(&["manifest.json"])), "a gzip-compressed image (docker archive)"),
        (with(512, &[(0, b"PK\x03\x04")]), "a zip archive"),
        (with(512, &[(0, b"070701")]), "a cpio archive (an initramfs?)"),
        // Disks.
        (gpt(16_000), "a disk"),
        (gpt(20_000), "a disk that is cut short: its partition table needs 10240512 bytes, and there are 8388608"),
        (gpt(u64::MAX), "a disk"),
        (with(8 << 20, &[(4096, b"EFI PART")]), "a disk with sectors of 4096 bytes"),
        (with(8 << 20, boot_sector), "a disk with an MBR and no GPT"),
        (
            with(8 << 20, &[((8 << 20) - 512, b"EFI PART")]),
            "a disk whose partition table is lost, except for the copy at its end",
        ),
        (
            with(8 << 20, &[((8 << 20) - 4096, b"EFI PART")]),
            "a disk whose partition table is lost, except for the copy at its end",
        ),
        (with(512, &[(0, b"QFI\xfb")]), "a disk in the qcow2 format"),
        (with(512, &[(0, b"KDMV")]), "a disk in the VMDK format"),
        (b"# Disk DescriptorFile\nversion=1\n".to_vec(), "a disk in the VMDK format"),
        (with(512, &[(64, &[0x7f, 0x10, 0xda, 0xbe])]), "a disk in the VDI format"),
        (with(2048, &[(0, b"conectix")]), "a disk in the VHD format"),
        ([gpt(16_000), with(512, &[(0, b"conectix")])].concat(), "a disk in the VHD format"),
        ([gpt(16_000), with(511, &[(0, b"conectix")])].concat(), "a disk in the VHD format"),
        (with(512, &[(0, b"vhdxfile")]), "a disk in the VHDX format"),
        (gzip(&gpt(16_000)), "a gzip-compressed disk"),
        (gzip(&gzip(b"text")), "gzip-compressed data, compressed twice"),
        (gzip(&[0xfe; 5000]), "gzip-compressed data"),
        // File systems.
        (with(70_000, &[(1080, &[0x53, 0xef])]), "an ext4 file system"),
        (with(70_000, &[(65_600, b"_BHRfS_M")]), "a Btrfs file system"),
        (with(512, &[(0, b"XFSB")]), "an XFS file system"),
        (with(512, &[(0, b"hsqs")]), "a squashfs file system"),
        (with(512, &[(54, b"FAT16"), (510, &[0x55, 0xaa])]), "a FAT file system"),
        (with(40_000, &[(32_769, b"CD001")]), "an ISO 9660 image"),
        // A disc that boots from a stick too.
        (with(40_000, &[(512, b"EFI PART"), (510, &[0x55, 0xaa]), (32_769, b"CD001")]), "an ISO 9660 image"),
        // Kernels and programs.
        (with(1024, &[(0x1fe, &[0x55, 0xaa]), (0x202, b"HdrS")]), "a Linux kernel (bzImage)"),
        (with(128, &[(56, b"ARM\x64")]), "a Linux kernel (Image)"),
        (with(128, &[(0, b"MZ\0\0zimg")]), "a Linux kernel (zboot)"),
        (pe(0x8664, b".linux\0\0"), "a unified kernel image"),
        (pe(0xaa64, b".text\0\0\0"), "an EFI program for aarch64"),
        (with(64, &[(0, b"\x7fELF\x02\x01"), (16, &[2, 0, 62])]), "an ELF file for x86_64"),
        (with(64, &[(0, b"\x7fELF\x02\x01"), (16, &[1, 0, 62])]), "a module of a kernel, or another object file"),
        // Packages.
        (b"!<arch>\ndebian-binary   ".to_vec(), "a Debian package"),
        (with(512, &[(0, &[0xed, 0xab, 0xee, 0xdb])]), "an rpm package"),
        (gzip(&tar(&[".PKGINFO", "boot/vmlinuz"])), "an Alpine package"),
        (tar(&[".BUILDINFO", ".MTREE", ".PKGINFO"]), "an Arch package"),
        (b"ADB.more".to_vec(), "an apk version 3 package"),
        // Text.
        (b"# a comment\n\nFROM debian\nRUN x\n".to_vec(), "a Dockerfile"),
        (b"ARG V=1\nfrom debian:$V\n".to_vec(), "a Dockerfile"),
        (b"# syntax=docker/dockerfile:1\n".to_vec(), "a Dockerfile"),
        (b"FROM --platform=linux/arm64 debian AS base\n".to_vec(), "a Dockerfile"),
        (b"From here on it is a letter\n".to_vec(), "text"),
        (b"services:\n  web:\n".to_vec(), "a Compose file"),
        (b"#!/bin/sh\necho\n".to_vec(), "a script"),
        (b"{\"schemaVersion\":2,\"manifests\":[]}".to_vec(), "a file of an OCI layout, not its folder"),
        (b"[{\"Config\":\"x\",\"Layers\":[]}]".to_vec(), "an image's manifest, not the image"),
        (b" {\"a\": 1}".to_vec(), "a JSON document"),
        (b"#\n# Linux/x86 6.1 Kernel Configuration\n#\n".to_vec(), "a kernel's configuration"),
        (b"[[test]]\nimage = \"x\"\n".to_vec(), "a file of tests"),
        ("Grüße\n".repeat(10_000).into_bytes(), "text"),
    ] {
        let mut temporary = tempfile::tempfile().unwrap();
        temporary.write_all(&bytes).unwrap();
        assert_eq!(file(&temporary).unwrap().words(), words);
        // What comes as a stream has no end to look at.
        let at_the_end = words.contains("cut short") || words.contains("its end") || words.contains("VHD");
        if !at_the_end {
            assert_eq!(start(&bytes[..bytes.len().min(START)]).words(), words);
        }
    }
}

#[test]
fn whatever_is_cut_or_changed_is_called_something() {
    let samples = [
        tar(&["a/oci-layout", "b"]),
        gzip(&tar(&["etc/a", "usr/b"])),
        gpt(16_000)[..9000].to_vec(),
        pe(0x8664, b".linux"),
    ];
    for sample in samples {
        for at in 0..sample.len().min(2100) {
            _ = start(&sample[..at]).words();
            let mut changed = sample.clone();
            changed[at] = 0xff;
            _ = start(&changed).words();
        }
    }
}

#[test]
fn what_is_no_file_is_named_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let make = |names: &[&str]| {
        for name in names {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), b"x").unwrap();
        }
    };
    std::fs::create_dir(at("empty")).unwrap();
    make(&["oci/oci-layout", "oci/index.json", "docker/manifest.json", "skopeo/manifest.json", "skopeo/version"]);
    make(&["below/a/oci-layout", "root/etc/passwd", "root/usr/x", "context/Dockerfile", "kernel/vmlinuz-1", "other/x"]);
    make(&["kernel2/boot/vmlinuz-1", "kernel2/lib/x"]);
    for (name, words) in [
        ("fifo", "a pipe"),
        ("socket", "a socket"),
        ("/dev/zero", "a character device"),
        ("empty", "an empty folder"),
        ("oci", "an image (OCI layout)"),
        ("docker", "an unpacked docker archive"),
        ("skopeo", "a directory of skopeo's transport dir"),
        ("below", "a folder with an image in its folder a"),
        ("root", "a folder with a root file system"),
        ("context", "a folder with a Dockerfile"),
        ("kernel", "a folder with a kernel"),
        ("kernel2", "a folder with a kernel"),
        ("other", "a folder with neither index.json nor a kernel in it"),
    ] {
        assert_eq!(path(&at(name)).unwrap().words(), words, "{name}");
    }
    assert!(path(&at("missing")).is_err());
}

#[test]
fn hints_can_be_pasted() {
    let hint = |kind: Kind, wanted, path: &str| Refusal::new(kind, wanted, Some(Path::new(path))).hint().unwrap();
    let form = || Kind::DiskForm("qcow2");
    assert_eq!(
        hint(form(), Wanted::Bootable, "my disk.qcow2"),
        "make it raw first: bootdisk convert 'my disk.qcow2' -o disk.img && bootdisk run disk.img"
    );
    assert!(
        hint(form(), Wanted::Bootable, "a\u{1b}b").contains("convert FILE -o disk.img"),
        "no escape reaches a terminal"
    );
    assert!(
        hint(form(), Wanted::Disk, "-x").contains("convert ./-x -o disk.img && bootdisk kernel set disk.img KERNEL")
    );
    assert_eq!(
        hint(Kind::Text(text::Text::Dockerfile), Wanted::Image, "app/Dockerfile"),
        "bootdisk build --file app/Dockerfile app -o DISK"
    );
    assert_eq!(hint(Kind::Tar(Names::Root), Wanted::Anything, "rootfs.tar"), "bootdisk inspect rootfs:rootfs.tar");
    let root = || Kind::Folder(Names::Root);
    assert_eq!(hint(root(), Wanted::Image, "my tree"), "bootdisk build rootfs:'my tree' -o DISK");
    assert_eq!(hint(root(), Wanted::Bootable, "tree"), "bootdisk run rootfs:tree");
    let packed = Kind::Packed(Format::Xz, Some(Box::new(Kind::Tar(Names::Root))));
    assert_eq!(hint(packed, Wanted::Bootable, "root.tar.xz"), "bootdisk run rootfs:root.tar.xz");
    let context = || Kind::Folder(Names::BuildContext);
    assert_eq!(hint(context(), Wanted::Bootable, "app"), "bootdisk run dockerfile:app");
    assert_eq!(
        hint(context(), Wanted::Anything, "app"),
        "bootdisk build dockerfile:app -o DISK && bootdisk inspect DISK"
    );
    assert_eq!(hint(Kind::Folder(Names::SkopeoDir), Wanted::Anything, "d"), "bootdisk inspect dir:d");
    assert_eq!(
        hint(Kind::Elf(None), Wanted::Bootable, "bin/hello"),
        "a program without libraries is a root file system: tar -C bin -c hello | bootdisk run rootfs:- /hello"
    );
    assert_eq!(hint(Kind::Kernel("bzImage"), Wanted::Bootable, "vmlinuz"), "bootdisk run IMAGE --kernel vmlinuz");
    assert!(
        Refusal::new(Kind::Unknown, Wanted::Image, None)
            .hint()
            .unwrap()
            .contains("docker save NAME | bootdisk build -")
    );
}
