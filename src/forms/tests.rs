//! Every form against qemu-img, which reads ours and writes what we read.

use super::*;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Every form that is written, with its name at qemu-img and the options that give a file of the kind.
const FORMS: [(Form, &str, &[&str]); 11] = [
    (Form::Raw, "raw", &[]),
    (Form::Qcow2(Packing::Plain), "qcow2", &[]),
    (Form::Qcow2(Packing::Zlib), "qcow2", &["-c"]),
    (Form::Qcow2(Packing::Zstd), "qcow2", &["-c", "-o", "compression_type=zstd"]),
    (Form::Vmdk(Packing::Plain), "vmdk", &[]),
    (Form::Vmdk(Packing::Zlib), "vmdk", &["-o", "subformat=streamOptimized"]),
    (Form::Vdi, "vdi", &[]),
    (Form::Vhd, "vpc", &["-o", "force_size=on"]),
    (Form::VhdFixed, "vpc", &["-o", "subformat=fixed,force_size=on"]),
    (Form::Vhdx, "vhdx", &[]),
    (Form::Vhdx, "vhdx", &["-o", "subformat=fixed"]),
];

/// Other kinds of the same forms.
const FOREIGN: [(&str, &[&str]); 14] = [
    ("qcow2", &["-o", "compat=0.10"]),
    ("qcow2", &["-o", "cluster_size=512"]),
    ("qcow2", &["-o", "cluster_size=2M"]),
    ("qcow2", &["-c", "-o", "cluster_size=4k"]),
    ("qcow2", &["-c", "-o", "cluster_size=2M,compression_type=zstd"]),
    ("qcow2", &["-o", "preallocation=metadata"]),
    ("qcow2", &["-o", "lazy_refcounts=on,refcount_bits=1"]),
    ("vmdk", &["-o", "zeroed_grain=on"]),
    ("vmdk", &["-o", "adapter_type=ide,compat6=on"]),
    ("vdi", &["-o", "static=on"]),
    ("vhdx", &["-o", "block_size=1M"]),
    ("vhdx", &["-o", "block_size=64M,block_state_zero=off"]),
    ("vpc", &[]),
    ("vpc", &["-o", "subformat=fixed"]),
];

/// Bytes that do not pack.
fn noise(length: usize, mut state: u64) -> Vec<u8> {
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A disk with holes, noise, text, zeros that are no hole, and an end that is no end of a cluster.
fn disk(folder: &TempDir, size: u64) -> PathBuf {
    let path = folder.path().join("disk.raw");
    let file = File::create(&path).unwrap();
    file.set_len(size).unwrap();
    let put = |offset: u64, bytes: &[u8]| {
        if offset + bytes.len() as u64 <= size {
            Output::write_at(&file, offset, bytes).unwrap();
        }
    };
    put(0, &noise(1536, 1));
    put(1 << 20, &noise(300_000, 2));
    put(2_000_000, &b"all work and no play ".repeat(40_000));
    put(5 << 20, &vec![0; 1 << 20]);
    put(40 << 20, &noise(70_000, 3));
    put((64 << 20) - 512, &noise(1024, 4));
    // Across the end of what one table of a qcow2 has.
    put((512 << 20) - 100_000, &noise(200_000, 6));
    put(size - 512, &noise(512, 5));
    path
}

const SIZE: u64 = (77 << 20) + 3 * 512;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|_| panic!("{program} is needed"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

fn written(form: Form, raw: &Path, threads: usize) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("disk");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let source = open(File::open(raw).unwrap()).unwrap();
    let length = write(form, &*source, &file, threads).unwrap();
    file.set_len(length).unwrap();
    (folder, path)
}

/// All bytes of a disk, and that its ranges leave out nothing but zeros.
fn contents(source: &dyn Source) -> Vec<u8> {
    let mut all = vec![0; source.size() as usize];
    source.read_at(0, &mut all).unwrap();
    let (mut by_ranges, mut at) = (vec![0; all.len()], 0);
    while let Some(range) = source.data(at).unwrap() {
        assert!(range.start >= at && range.end > range.start && range.end <= source.size(), "{range:?} from {at}");
        source.read_at(range.start, &mut by_ranges[range.start as usize..range.end as usize]).unwrap();
        at = range.end;
    }
    assert!(by_ranges == all, "a hole that is none");
    all
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    open(File::open(path).unwrap()).map(|source| contents(&*source))
}

/// Forms that other programs unpack first: how, and what is inside for qemu-img.
const PACKED: [(Form, &str, &str); 8] = [
    (Form::Compressed(Compression::Gzip), "gzip -t <disk && gzip -dc <disk >out", "raw"),
    (Form::Compressed(Compression::Xz), "xz -t <disk && xz -dc <disk >out", "raw"),
    (Form::Compressed(Compression::Zstd), "zstd -q -t <disk && zstd -q -dc <disk >out", "raw"),
    (Form::Gce, "tar -xzf disk && mv disk.raw out", "raw"),
    (
        Form::Ova(Hardware { ide: true, vmxnet3: true }),
        "tar -xf disk && sed -E 's/SHA256\\((.*)\\)= (.*)/\\2  \\1/' disk.mf | sha256sum --strict -c && mv disk.vmdk out",
        "vmdk",
    ),
    (Form::Vagrant, "tar -xf disk && mv box.img out", "qcow2"),
    (
        Form::ContainerDisk(Archive::Oci),
        "skopeo copy -q oci-archive:disk oci:image:t && umoci unpack --rootless --image image:t made \
         && mv made/rootfs/disk/disk.qcow2 out && chmod +w out",
        "qcow2",
    ),
    (
        Form::ContainerDisk(Archive::Docker),
        "skopeo copy -q docker-archive:disk oci:image:t && umoci unpack --rootless --image image:t made \
         && mv made/rootfs/disk/disk.qcow2 out && chmod +w out",
        "qcow2",
    ),
];

/// All that is written.
fn all_forms() -> impl Iterator<Item = Form> {
    FORMS.iter().map(|(form, ..)| *form).chain(PACKED.iter().map(|(form, ..)| *form))
}

#[test]
fn what_is_packed_is_the_disk_to_those_who_unpack_it_and_to_us() {
    let folder = TempDir::new().unwrap();
    for size in [SIZE, 512, (1 << 20) + 512] {
        let raw = disk(&folder, size);
        let plain = std::fs::read(&raw).unwrap();
        for (form, unpack, inside) in PACKED {
            let (folder, path) = written(form, &raw, 2);
            run("sh", &["-ec", &format!("cd {} && {unpack}", folder.path().display())]);
            let out = folder.path().join("out");
            let files = [out.to_str().unwrap(), raw.to_str().unwrap()];
            let compared = run("qemu-img", &["compare", "-f", inside, "-F", "raw", files[0], files[1]]);
            assert!(compared.contains("Images are identical"), "{form:?} of {size}: {compared}");
            let info: serde_json::Value =
                serde_json::from_str(&run("qemu-img", &["info", "-f", inside, "--output=json", files[0]])).unwrap();
            assert_eq!(info["virtual-size"], form.rounded(size), "{form:?}");
            let found = open(File::open(&path).unwrap()).unwrap();
            assert_eq!(found.size(), form.rounded(size), "{form:?}");
            let mut start = vec![0; plain.len()];
            found.read_at(0, &mut start).unwrap();
            assert!(start == plain, "{form:?} of {size}: we read something else");
            assert!(is_same(&*open(File::open(&raw).unwrap()).unwrap(), &*found).unwrap(), "{form:?} of {size}");
        }
    }
}

#[test]
fn a_package_has_its_files_in_order_and_says_what_the_disk_is_for() {
    let folder = TempDir::new().unwrap();
    let raw = disk(&folder, SIZE);
    let names = |form| {
        let (_folder, path) = written(form, &raw, 1);
        run("tar", &["-tf", path.to_str().unwrap()]).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(Form::Gce), ["disk.raw"]);
    assert_eq!(names(Form::Ova(Hardware::default())), ["disk.ovf", "disk.mf", "disk.vmdk"]);
    assert_eq!(names(Form::Vagrant), ["metadata.json", "Vagrantfile", "box.img"]);
    let (_layer, image) = written(Form::ContainerDisk(Archive::Docker), &raw, 1);
    let layer = run("tar", &["-tf", image.to_str().unwrap()]).lines().next().unwrap().to_owned();
    let script =
        format!("tar -xOf {} {layer} | tar --numeric-owner -tvf - | tr -s ' ' | cut -d' ' -f1,2,6", image.display());
    assert_eq!(run("sh", &["-c", &script]), "drwxr-xr-x 107/107 disk/\n-r--r----- 107/107 disk/disk.qcow2\n");
    let file = |form, name: &str, raw: &Path| {
        let (_folder, path) = written(form, raw, 1);
        run("tar", &["-xOf", path.to_str().unwrap(), name])
    };
    let metadata: serde_json::Value = serde_json::from_str(&file(Form::Vagrant, "metadata.json", &raw)).unwrap();
    assert_eq!(metadata, serde_json::json!({"provider": "libvirt", "format": "qcow2", "virtual_size": 1}));
    // Nothing for a BIOS: the first sector is empty.
    let without = folder.path().join("uefi.raw");
    std::fs::write(&without, vec![0; 1 << 20]).unwrap();
    assert!(!file(Form::Vagrant, "Vagrantfile", &raw).contains("OVMF"));
    assert!(file(Form::Vagrant, "Vagrantfile", &without).contains("libvirt.loader = \"/usr/share/OVMF/OVMF_CODE.fd\""));
    let drivers = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let plain = Form::Ova(Hardware::default());
    for (form, disk, words) in [
        (plain, &raw, ["SATA controller", ">E1000<", "vmw:value=\"bios\""]),
        (plain, &without, ["SATA controller", ">E1000<", "vmw:value=\"efi\""]),
        (
            plain.for_drivers(&drivers(&["ide", "virtio-blk"])),
            &raw,
            ["IDE controller", ">VmxNet3<", "vmw:value=\"bios\""],
        ),
        (
            plain.for_drivers(&drivers(&["ide", "ahci", "e1000"])),
            &raw,
            ["SATA controller", ">E1000<", "otherLinux64Guest"],
        ),
    ] {
        let ovf = folder.path().join("disk.ovf");
        let text = file(form, "disk.ovf", disk);
        std::fs::write(&ovf, &text).unwrap();
        run("xmllint", &["--noout", ovf.to_str().unwrap()]);
        words.iter().for_each(|word| assert!(text.contains(word), "{form:?}: {word}: {text}"));
    }
}

#[test]
fn an_archive_without_a_disk_and_what_is_compressed_twice_is_no_disk() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("text"), "text").unwrap();
    run("tar", &["-C", &at(""), "-cf", &at("none"), "text"]);
    run("sh", &["-c", &format!("cd {} && gzip -c none >none.gz && head -c 60 none.gz >cut", at(""))]);
    for (name, why) in [
        ("none", "it is an archive without a disk, which is not supported"),
        ("none.gz", "it is an archive without a disk, which is not supported"),
        ("cut", "it is damaged: it cannot be unpacked"),
    ] {
        assert_eq!(read(Path::new(&at(name))).unwrap_err().to_string(), why, "{name}");
    }
}

#[test]
fn what_is_written_is_the_disk_to_qemu_img_and_to_us() {
    let folder = TempDir::new().unwrap();
    let raw = disk(&folder, SIZE);
    let plain = std::fs::read(&raw).unwrap();
    for (form, name, _) in FORMS {
        let (_folder, path) = written(form, &raw, 2);
        let text = path.to_str().unwrap();
        // qemu-img checks no raw disk and no VHD.
        if !matches!(name, "raw" | "vpc") {
            let said = run("qemu-img", &["check", "-f", name, text]);
            assert!(said.contains("No errors were found"), "{form:?}: {said}");
        }
        let compared = run("qemu-img", &["compare", "-f", name, "-F", "raw", text, raw.to_str().unwrap()]);
        assert!(compared.contains("Images are identical"), "{form:?}: {compared}");
        let info: serde_json::Value =
            serde_json::from_str(&run("qemu-img", &["info", "-f", name, "--output=json", text])).unwrap();
        assert_eq!(info["virtual-size"], form.rounded(SIZE), "{form:?}");
        let mut expected = plain.clone();
        expected.resize(form.rounded(SIZE) as usize, 0);
        assert!(read(&path).unwrap() == expected, "{form:?}: we read something else");
    }
}

#[test]
fn a_form_has_the_same_bytes_each_time_and_with_any_number_of_threads() {
    let folder = TempDir::new().unwrap();
    let raw = disk(&folder, SIZE);
    for form in all_forms() {
        let bytes = |threads| std::fs::read(written(form, &raw, threads).1).unwrap();
        let first = bytes(1);
        for threads in [1, 2, 7] {
            assert!(bytes(threads) == first, "{form:?} with {threads} threads");
        }
    }
}

#[test]
fn a_form_is_known_again_as_it_was_written_and_a_package_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let raw = disk(&folder, SIZE);
    for form in all_forms() {
        let (_folder, path) = written(form, &raw, 1);
        let expected = Some(form).filter(|form| !matches!(form, Form::Ova(_) | Form::Vagrant | Form::ContainerDisk(_)));
        assert_eq!(form_of(File::open(&path).unwrap()).unwrap(), expected, "{form:?}");
    }
    let (folder, path) = written(Form::Vdi, &raw, 1);
    run("sh", &["-ec", &format!("cd {} && gzip -k disk && bzip2 -k disk", folder.path().display())]);
    for name in ["disk.gz", "disk.bz2"] {
        assert_eq!(form_of(File::open(path.with_file_name(name)).unwrap()).unwrap(), None, "{name}");
    }
}

#[test]
fn disks_of_odd_sizes_are_whole_in_every_form() {
    for size in [512, 1024, 65_536, (1 << 20) + 512, 512 * 65_536 - 512, (513 << 20) + 512] {
        let folder = TempDir::new().unwrap();
        let raw = disk(&folder, size);
        for (form, name, _) in FORMS {
            let (_folder, path) = written(form, &raw, 1);
            let text = path.to_str().unwrap();
            let compared = run("qemu-img", &["compare", "-f", name, "-F", "raw", text, raw.to_str().unwrap()]);
            assert!(compared.contains("Images are identical"), "{form:?} of {size}: {compared}");
        }
    }
}

#[test]
fn what_qemu_img_writes_is_read() {
    let folder = TempDir::new().unwrap();
    let raw = disk(&folder, SIZE);
    let plain = std::fs::read(&raw).unwrap();
    let ours = FORMS.iter().map(|(_, name, options)| (*name, *options));
    for (name, options) in ours.chain(FOREIGN) {
        let path = folder.path().join("foreign");
        _ = std::fs::remove_file(&path);
        let mut arguments = vec!["convert", "-f", "raw", "-O", name];
        arguments.extend(options);
        arguments.extend([raw.to_str().unwrap(), path.to_str().unwrap()]);
        run("qemu-img", &arguments);
        let found = read(&path).unwrap_or_else(|fault| panic!("{name} {options:?}: {fault}"));
        let common = found.len().min(plain.len());
        assert!(found[..common] == plain[..common], "{name} {options:?}");
        assert!(found[common..].iter().all(|byte| *byte == 0) && common == plain.len(), "{name} {options:?}");
    }
}

#[test]
fn what_names_another_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let raw = disk(&folder, SIZE);
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let raw = raw.to_str().unwrap();
    run("qemu-img", &["create", "-f", "qcow2", "-b", raw, "-F", "raw", &at("backed")]);
    run("qemu-img", &["create", "-f", "qcow2", "-o", &format!("data_file={}", at("data")), &at("data-file"), "1M"]);
    run("qemu-img", &["create", "-f", "vmdk", "-o", "subformat=monolithicFlat", &at("flat"), "1M"]);
    run("qemu-img", &["create", "-f", "vmdk", &at("parent"), "1M"]);
    run("qemu-img", &["create", "-f", "vmdk", "-b", &at("parent"), "-F", "vmdk", &at("child")]);
    run("qemu-img", &["create", "-f", "qcow2", "-o", "extended_l2=on", &at("extended"), "1M"]);
    let rows = [
        ("backed", "it refers to another file (a backing file), which bootdisk does not open"),
        ("data-file", "it refers to another file (a data file), which bootdisk does not open"),
        ("flat", "it refers to another file (the files that its text names), which bootdisk does not open"),
        ("child", "it refers to another file (a parent), which bootdisk does not open"),
        ("extended", "it has extended entries of tables, which is not supported"),
    ];
    for (name, why) in rows {
        assert_eq!(read(Path::new(&at(name))).unwrap_err().to_string(), why, "{name}");
    }
}

/// A hostile file: it may be read or refused, and no more.
fn survives(bytes: &[u8]) {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    let Ok(source) = open(file) else { return };
    let (mut at, mut buffer) = (0, vec![0; 65_536]);
    for _ in 0..64 {
        let Ok(Some(range)) = source.data(at) else { return };
        let length = (range.end - range.start).min(buffer.len() as u64) as usize;
        _ = source.read_at(range.start, &mut buffer[..length]);
        at = range.end;
    }
}

/// Two tables at one place: a disk of as many bytes as somebody likes, in a file of a few.
#[test]
fn a_table_that_is_named_twice_is_damage() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("raw");
    let raw = File::create(&path).unwrap();
    raw.set_len(2 << 30).unwrap();
    [0, 1 << 30].iter().for_each(|at| Output::write_at(&raw, *at, &[1]).unwrap());
    for (form, directory, width) in [(Form::Qcow2(Packing::Plain), 1 << 16, 8), (Form::Vmdk(Packing::Plain), 0, 4)] {
        let (_made, made) = written(form, &path, 1);
        let mut bytes = std::fs::read(&made).unwrap();
        let directory = match directory {
            0 => u64::from_le_bytes(bytes[56..64].try_into().unwrap()) as usize * 512,
            at => at,
        };
        // The second that is named becomes the first.
        let entries: Vec<usize> = (0..64).map(|at| directory + at * width).collect();
        let named: Vec<_> =
            entries.into_iter().filter(|at| bytes[*at..at + width].iter().any(|byte| *byte != 0)).collect();
        let first = bytes[named[0]..named[0] + width].to_vec();
        bytes[named[1]..named[1] + width].copy_from_slice(&first);
        std::fs::write(&made, &bytes).unwrap();
        assert_eq!(read(&made).unwrap_err().to_string(), "it is damaged: two of its tables are one", "{}", form.name());
    }
}

#[test]
fn what_is_cut_or_changed_is_read_or_refused() {
    let folder = TempDir::new().unwrap();
    let raw = disk(&folder, 4 << 20);
    for form in all_forms() {
        let bytes = std::fs::read(written(form, &raw, 1).1).unwrap();
        for cut in [0, 1, 63, 511, 512, 4095, 65_536, bytes.len() / 2, bytes.len() - 513, bytes.len() - 1] {
            survives(&bytes[..cut.min(bytes.len())]);
        }
        let mut state = 7u64;
        for round in 0..60 {
            let mut changed = bytes[..bytes.len().min(4 << 20)].to_vec();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Most of the meaning is at the beginning.
                let most = if round % 2 == 0 { 512 } else { changed.len() as u64 };
                let at = ((state >> 24) % most.min(changed.len() as u64)) as usize;
                changed[at] = (state >> 16) as u8;
            }
            survives(&changed);
        }
    }
}

#[test]
fn a_name_promises_a_form() {
    let rows = [
        ("a.qcow2", Form::Qcow2(Packing::Plain)),
        ("a.VMDK", Form::Vmdk(Packing::Plain)),
        ("a.vdi", Form::Vdi),
        ("a.vhd", Form::Vhd),
        ("a.vhdx", Form::Vhdx),
        ("a.img", Form::Raw),
        ("a.gz", Form::Compressed(Compression::Gzip)),
        ("a.img.xz", Form::Compressed(Compression::Xz)),
        ("a.img.ZST", Form::Compressed(Compression::Zstd)),
        ("a.tar.gz", Form::Gce),
        ("a.ova", Form::Ova(Hardware::default())),
        ("a.box", Form::Vagrant),
        ("a.gce", Form::Raw),
        ("a.vhd-fixed", Form::Raw),
        ("qcow2", Form::Raw),
    ];
    for (name, form) in rows {
        assert_eq!(Form::of_name(Path::new(name)), form, "{name}");
    }
    assert!(NAMES.iter().all(|name| Form::named(name).is_some_and(|form| form.name() == *name)));
    assert_eq!(Form::Vdi.packed(Packing::Zlib), None);
    assert_eq!(Form::Vmdk(Packing::Plain).packed(Packing::Zstd), None);
}
