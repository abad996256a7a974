//! Input that cannot become a disk: one clear sentence, exit status 1, no output, and a previous output untouched.

use crate::{archive, e2e, small_kernel, tools};
use archive::{END, Layer, digest_of, raw_header, write_docker_archive};
use e2e::{Bench, Kernel, Ran, image, run, run_with_input};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// No refusal takes more memory than this, in bytes.
const MEMORY: u64 = 256 << 20;
/// Nor more time, on a busy machine and in a debug build.
const TIME: Duration = Duration::from_secs(120);

/// Builds from bad input twice, into nothing and over a previous file, and checks what must hold of a refusal. Each of
/// `words` must be in the sentence.
#[track_caller]
fn refused(bench: &Bench, input: impl AsRef<OsStr>, options: &[&str], words: &[&str]) -> Ran {
    let folder = bench.path("output");
    let disk = folder.join("disk.img");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    let build = || {
        let mut command = bench.bootdisk();
        command.arg("build").arg(&input).arg("-o").arg(&disk).args(options);
        let ran = run(&mut e2e::with_peak_memory(&command, &bench.path("memory"))).expect(1, "");
        let peak = e2e::peak_memory(&bench.path("memory"));
        assert!(peak < MEMORY, "{} MiB of memory for a refusal", peak >> 20);
        assert!(ran.took < TIME, "{:?} for a refusal", ran.took);
        ran
    };

    let ran = build();
    let sentence = sentence(&ran.stderr);
    for word in words {
        assert!(sentence.contains(word), "no {word:?} in: {sentence}");
    }
    assert_eq!(names_in(&folder), [""; 0], "something was left behind");

    fs::write(&disk, "a previous disk").unwrap();
    build();
    assert_eq!(fs::read(&disk).unwrap(), b"a previous disk");
    assert_eq!(names_in(&folder), ["disk.img"], "something was left behind");
    ran
}

/// The one line that says what is wrong, without its `error: `.
#[track_caller]
fn sentence(stderr: &str) -> &str {
    assert!(!stderr.contains("panicked"), "{stderr}");
    let errors: Vec<&str> = stderr.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
    let [text] = errors[..] else { panic!("not one sentence:\n{stderr}") };
    assert!(text.len() < 1000, "a sentence of {} bytes", text.len());
    assert!(!text.chars().any(char::is_control), "control characters: {text:?}");
    text
}

fn names_in(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The first half of a test image.
fn truncated(bench: &Bench, name: &str) -> PathBuf {
    let bytes = fs::read(image(name)).unwrap();
    let path = bench.path(name);
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    path
}

#[test]
fn a_truncated_archive() {
    let bench = Bench::new(Kernel::Cloud);
    for name in
        ["hello-c.docker.tar", "hello-c.oci.tar", "hello-c.docker.tar.gz", "hello-c.docker.tar.zst", "twice.legacy.tar"]
    {
        println!("{name}");
        refused(&bench, truncated(&bench, name), &[], &[name]);
    }
}

#[test]
fn something_that_is_no_image() {
    let bench = Bench::new(Kernel::Cloud);
    let absent = bench.path("absent.tar");
    refused(&bench, &absent, &[], &["absent.tar"]);

    let empty = bench.path("empty.tar");
    fs::write(&empty, "").unwrap();
    refused(&bench, &empty, &[], &["empty.tar"]);

    let text = bench.path("text.tar");
    fs::write(&text, "this is not an archive\n".repeat(100)).unwrap();
    refused(&bench, &text, &[], &["text.tar"]);

    let folder = bench.path("folder");
    fs::create_dir(&folder).unwrap();
    refused(&bench, &folder, &[], &["folder"]);

    let ran = refused(&bench, "docker://Debian:12", &[], &["has no capital letters: \"Debian:12\""]);
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

/// Files as the programs make them whose formats they are, but for a disk with large sectors, which is its signature alone.
const WRONG_FILES: &str = r#"
    truncate -s 8M small && sgdisk --new 1:2048:0 small >&2
    for form in qcow2 vmdk vdi vhdx qed parallels; do qemu-img convert -O $form small x.$form; done
    qemu-img convert -O vpc -o subformat=fixed,force_size=on small fixed.vhd
    qemu-img convert -O vpc -o subformat=dynamic small dynamic.vhd
    qemu-img convert -O vmdk -o subformat=streamOptimized small stream.vmdk
    qemu-img create -q -f vmdk -o subformat=monolithicFlat flat.vmdk 8M
    mkdir -p root/etc root/usr/bin root/bin empty context && echo root > root/etc/passwd && echo x > root/usr/bin/x && echo FROM scratch > context/Dockerfile
    for form in iso9660 zip 7zip newc; do bsdtar --format $form -cf x.$form root; done
    tar -C root -cf root.tar . && tar -cf other.tar small && bzip2 -c root.tar > root.tar.bz2
    mke2fs -q -t ext4 x.ext4 8M && mkfs.fat -C x.fat 4096 >&2
    truncate -s 8M mbr && echo ',,L' | sfdisk -q mbr
    cp small copy && dd if=/dev/zero of=copy conv=notrunc bs=512 seek=1 count=33 status=none
    cp small copy2 && dd if=/dev/zero of=copy2 conv=notrunc bs=512 count=34 status=none
    truncate -s 8M large && printf 'EFI PART' | dd of=large conv=notrunc bs=1 seek=4096 status=none
    head -c 1M small > cut
    gzip -c small > small.gz && xz -c small > small.xz && zstd -qc small > small.zst && lz4 -qc small > small.lz4
    tar -cf below.tar -C "$IMAGES" hello-c.oci && cp "$IMAGES/hello-c.oci/index.json" .
    skopeo copy -q --insecure-policy "oci:$IMAGES/hello-c.oci" dir:skopeo
    : > nothing && truncate -s 1M zeros && printf 'root = 1\n' > notes.toml
"#;

/// Each is called the same by every command that cannot use it, and each time a command goes on from there.
#[test]
fn a_wrong_file_has_one_name_and_a_remedy_whatever_the_command() {
    let bench = Bench::new(Kernel::Cloud);
    let folder = bench.path("files");
    fs::create_dir(&folder).unwrap();
    let images = image("hello-c.oci").parent().unwrap().to_owned();
    tools::stdout(Command::new("sh").args(["-ec", WRONG_FILES]).env("IMAGES", &images).current_dir(&folder));
    fs::copy(bench.build(image("hello-c.oci"), "our.img", &[]), folder.join("our")).unwrap();
    fs::copy(small_kernel::only(&small_kernel::unpacked("cloud").join("boot"), "vmlinuz-"), folder.join("vmlinuz"))
        .unwrap();
    fs::copy(Kernel::Cloud.package(), folder.join("kernel.deb")).unwrap();
    let said = |command: char, name: &str| {
        let words: &[&str] = match command {
            'b' => &["build", name, "-o", "out.img"],
            'r' => &["run", "--accel", "tcg", name],
            'i' => &["inspect", name],
            'k' => &["kernel", "check", name],
            _ => &["kernel", "set", name, "default"],
        };
        let ran = run(bench.bootdisk().args(words).current_dir(&folder));
        let ran = ran.expect(if command == 'r' { 125 } else { 1 }, "");
        assert!(ran.took < Duration::from_secs(30), "{name}, {command}: {:?}", ran.took);
        let sentence = sentence(&ran.stderr).to_owned();
        let hint = ran.stderr.lines().find_map(|line| line.strip_prefix("hint: "));
        (sentence, hint.unwrap_or_else(|| panic!("{name}, {command}: {}", ran.stderr)).to_owned())
    };
    // Who refuses it: build, run, inspect, kernel check, kernel set. What the hint has, whoever gives it.
    for (name, refused_by, words, hint) in [
        ("nothing", "briks", "an empty file", ""),
        ("zeros", "briks", "nothing but zeros", ""),
        ("notes.toml", "briks", "text", ""),
        ("x.qcow2", "bk", "a disk in the qcow2 format", "bootdisk convert x.qcow2 -o disk.img && bootdisk"),
        ("x.vmdk", "bk", "a disk in the VMDK format", "bootdisk convert x.vmdk -o disk.img && bootdisk"),
        ("stream.vmdk", "bk", "a disk in the VMDK format", "bootdisk convert stream.vmdk -o disk.img && bootdisk"),
        ("flat.vmdk", "bk", "a disk in the VMDK format", "bootdisk convert flat.vmdk -o disk.img && bootdisk"),
        ("x.vdi", "bk", "a disk in the VDI format", "bootdisk convert x.vdi -o disk.img && bootdisk"),
        ("x.vhdx", "bk", "a disk in the VHDX format", "bootdisk convert x.vhdx -o disk.img && bootdisk"),
        ("x.qed", "briks", "a disk in the QED format", "qemu-img convert -O raw x.qed"),
        ("x.parallels", "briks", "a disk in the Parallels format", "qemu-img convert -O raw x.parallels"),
        ("fixed.vhd", "bk", "a disk in the VHD format", "bootdisk convert fixed.vhd -o disk.img && bootdisk"),
        ("dynamic.vhd", "bk", "a disk in the VHD format", "bootdisk convert dynamic.vhd -o disk.img && bootdisk"),
        ("small.gz", "bk", "a gzip-compressed disk", "bootdisk convert small.gz -o disk.img && bootdisk"),
        ("small.xz", "bk", "an xz-compressed disk", "bootdisk convert small.xz -o disk.img && bootdisk"),
        ("small.zst", "bk", "a zstd-compressed disk", "bootdisk convert small.zst -o disk.img && bootdisk"),
        ("small.lz4", "bk", "an lz4-compressed disk", "bootdisk convert small.lz4 -o disk.img && bootdisk"),
        ("root.tar.bz2", "bri", "a root file system in a tar archive", "rootfs:root.tar.bz2"),
        ("our", "bk", "a disk", "bootdisk "),
        ("cut", "brks", "a disk that is cut short: its partition table needs", "bootdisk "),
        ("copy", "brks", "a disk whose partition table is lost, except for the copy at its end", ""),
        ("copy2", "brks", "a disk whose partition table is lost, except for the copy at its end", ""),
        ("large", "brks", "a disk with sectors of 4096 bytes", ""),
        ("mbr", "brks", "a disk with an MBR and no GPT", ""),
        ("x.iso9660", "brks", "an ISO 9660 image", "qemu-system-x86_64 -m 2G -cdrom x.iso9660"),
        ("x.ext4", "brk", "an ext4 file system", "debugfs -R 'rdump / unpacked' x.ext4"),
        ("x.fat", "brk", "a FAT file system", "mount -o ro,loop x.fat"),
        ("x.zip", "briks", "a zip archive", "unzip -d unpacked x.zip"),
        ("x.7zip", "briks", "a 7z archive", "bsdtar -xf x.7zip"),
        ("x.newc", "briks", "a cpio archive (an initramfs?)", ""),
        ("context/Dockerfile", "briks", "a Dockerfile", ""),
        ("context", "bri", "a folder with a Dockerfile", "dockerfile:context"),
        ("index.json", "briks", "a file of an OCI layout, not its folder", "bootdisk "),
        ("root.tar", "bri", "a root file system in a tar archive", "rootfs:root.tar"),
        ("root", "bri", "a folder with a root file system", "rootfs:root"),
        (
            "below.tar",
            "bri",
            "a tar archive with an image in its folder hello-c.oci",
            "tar -xf below.tar && tar -C hello-c.oci -c .",
        ),
        ("other.tar", "bri", "a tar archive with neither manifest.json nor index.json in it", "docker save"),
        ("empty", "bri", "an empty folder", ""),
        ("vmlinuz", "brs", "a Linux kernel (bzImage)", "vmlinuz"),
        ("kernel.deb", "brs", "a Debian package", "bootdisk kernel add kernel.deb"),
    ] {
        for command in refused_by.chars() {
            let (sentence, told) = said(command, name);
            let what = [format!("but this is {words}"), format!("this is {words}")];
            assert!(what.iter().any(|what| sentence.contains(what)), "{name}, {command}: {sentence}");
            assert!(told.contains(hint), "{name}, {command}: {told}");
        }
    }
    assert!(!folder.join("out.img").exists());

    // Nobody waits for a pipe that is no image, and what comes through one is called the same.
    nix::unistd::mkfifo(&folder.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for command in ['k', 's'] {
        assert!(said(command, "pipe").0.contains("but this is a pipe"));
    }
    let through =
        |words: &[&str]| run_with_input(bench.bootdisk().args(words), fs::read(folder.join("x.qcow2")).unwrap());
    for (words, status) in [(&["build", "-", "-o", "x"][..], 1), (&["inspect", "-"], 1), (&["run", "-"], 125)] {
        let ran = through(words).expect(status, "");
        assert!(
            ran.stderr.contains("but this is a disk in the qcow2 format\nhint: make it raw first"),
            "{}",
            ran.stderr
        );
    }
    // What the hints say does it: the table is written again, and the image is where it was said to be.
    let follow = |command: char, name: &str| {
        let hint = said(command, name).1;
        let script =
            hint.rsplit_once(": ").map_or(hint.as_str(), |(_, script)| script).replace(" -o DISK", " -q -o out.img");
        let program = bench.bootdisk();
        let program = Path::new(program.get_program()).parent().unwrap().to_owned();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        run(bench.at_home("sh").args(["-ec", &script]).env("PATH", path).current_dir(&folder)).expect_status(0)
    };
    for name in ["copy", "copy2"] {
        follow('r', name);
        let said_by_sgdisk = tools::stdout(Command::new("sgdisk").arg("--verify").arg(folder.join(name)));
        assert!(said_by_sgdisk.contains("No problems found"), "{said_by_sgdisk}");
        assert!(!said('s', name).0.contains("the copy at its end"));
    }
    follow('b', "below.tar");
    fs::remove_file(folder.join("out.img")).unwrap();
    follow('b', "root.tar.bz2");
    fs::remove_file(folder.join("out.img")).unwrap();
    follow('b', "root");
    // What the transport dir makes is an image without it too.
    bench.build(folder.join("skopeo"), "skopeo.img", &[]);
    // What is read needs no hint.
    let inspected = run(bench.bootdisk().args(["inspect", "x.qcow2"]).current_dir(&folder)).expect_status(0);
    assert!(inspected.text().to_lowercase().contains("gpt") && inspected.text().contains("qcow2"));
    let refused = run(bench.bootdisk().args(["inspect", "flat.vmdk"]).current_dir(&folder)).expect(1, "");
    assert!(refused.stderr.contains("it refers to another file"), "{}", refused.stderr);
}

/// A copy of an OCI layout in which the first blob at least this large has one byte changed.
fn with_a_wrong_blob(bench: &Bench, at_least: u64, largest: bool) -> (PathBuf, String) {
    let layout = bench.path("wrong.oci");
    let _ = fs::remove_dir_all(&layout);
    tools::stdout(Command::new("cp").arg("-r").arg(image("hello-c.oci")).arg(&layout));
    let used = used_blobs(&layout);
    let mut blobs: Vec<(u64, String)> = used
        .into_iter()
        .map(|name| (fs::metadata(layout.join("blobs/sha256").join(&name)).unwrap().len(), name))
        .filter(|(size, _)| *size >= at_least)
        .collect();
    blobs.sort();
    let (_, name) = if largest { blobs.pop().unwrap() } else { blobs.remove(0) };
    let path = layout.join("blobs/sha256").join(&name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    (layout, name)
}

/// Hexadecimal digests of the manifest, the configuration and the layers, in this order.
fn used_blobs(layout: &Path) -> Vec<String> {
    let json = |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let hex = |value: &serde_json::Value| value["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let manifest = hex(&json(layout.join("index.json"))["manifests"][0]);
    let parsed = json(layout.join("blobs/sha256").join(&manifest));
    let mut names = vec![manifest, hex(&parsed["config"])];
    names.extend(parsed["layers"].as_array().unwrap().iter().map(hex));
    names
}

#[test]
fn a_wrong_digest() {
    let bench = Bench::new(Kernel::Cloud);
    // The layer, then the smallest of manifest and configuration.
    for largest in [true, false] {
        let (layout, name) = with_a_wrong_blob(&bench, 1, largest);
        refused(&bench, &layout, &[], &[&name[..12]]);
    }

    // Where an archive has diff_ids only, against those.
    let path = bench.path("wrong.tar");
    let mut layer = Layer::plain([&raw_header(b"hello", b'0', 0)[..], &END].concat());
    layer.diff_id = archive::digest(b"something else");
    write_docker_archive(&path, &[layer]);
    refused(&bench, &path, &[], &["sha256:"]);
}

/// Said at once and whatever else is wrong: the layers need not be read for it.
#[test]
fn boot_files_that_do_not_fit() {
    let bench = Bench::new(Kernel::Cloud);
    let vmlinuz = small_kernel::only(&small_kernel::unpacked("cloud").join("boot"), "vmlinuz-");
    let mut kernel = fs::read(vmlinuz).unwrap();
    kernel.resize(kernel.len() + (32 << 20), 0);
    fs::write(bench.path("large"), kernel).unwrap();
    let large = bench.path("large");
    let options = ["--esp-size", "40M", "--no-preflight", "--kernel", large.to_str().unwrap()];
    let words = ["boot files do not fit the EFI system partition of 40 MiB"];
    let ran = refused(&bench, image("debian.oci"), &options, &words);
    assert!(ran.stderr.contains("hint: give --esp-size "), "{}", ran.stderr);
    let (layout, _) = with_a_wrong_blob(&bench, 1, true);
    refused(&bench, &layout, &options, &words);
}

#[test]
fn a_path_that_leaves_the_image() {
    let bench = Bench::new(Kernel::Cloud);
    for name in [&b"../../etc/passwd"[..], b"a/../../outside", b".."] {
        let path = bench.path("leaves.tar");
        write_docker_archive(&path, &[Layer::plain([&raw_header(name, b'0', 0)[..], &END].concat())]);
        refused(&bench, &path, &[], &[std::str::from_utf8(name).unwrap()]);
    }
}

#[test]
fn a_name_with_terminal_escapes_is_shown_escaped() {
    let bench = Bench::new(Kernel::Cloud);
    let path = bench.path("escapes.tar");
    let name = b"../\x1b]0;title\x07\x1b[31mred";
    write_docker_archive(&path, &[Layer::plain([&raw_header(name, b'0', 0)[..], &END].concat())]);
    refused(&bench, &path, &[], &["red"]);
}

/// A PAX header that claims, and has, 512 MiB.
#[test]
fn an_extension_header_of_512_mib() {
    let bench = Bench::new(Kernel::Cloud);
    let size = 512 << 20;
    let (stored, diff_id) = gzip_with_run(&raw_header(b"PaxHeaders/x", b'x', size), b'a', size);
    let path = bench.path("header.tar");
    write_docker_archive(&path, &[Layer { stored, diff_id }]);
    refused(&bench, &path, &[], &["layer 1", "extension header"]);
}

/// A file of 2 GiB, in 2 MB of gzip, does not fit a disk of 512 MiB.
#[test]
fn a_bomb_against_the_size() {
    let bench = Bench::new(Kernel::Cloud);
    let size = 2 << 30;
    let (stored, diff_id) = gzip_with_run(&raw_header(b"bomb", b'0', size), b'b', size);
    assert!(stored.len() < 16 << 20, "{} bytes are no bomb", stored.len());
    let path = bench.path("bomb.tar");
    write_docker_archive(&path, &[Layer { stored, diff_id }]);
    refused(&bench, &path, &["--size", "512M"], &["512"]);
}

/// A gzip stream, its body many times the same member, of a header, `count` times `byte`, and the end of a tar; and
/// the digest of what is in it. `count` is a multiple of 64 MiB.
fn gzip_with_run(header: &[u8; 512], byte: u8, count: u64) -> (Vec<u8>, String) {
    let member = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let piece = vec![byte; 64 << 20];
    assert_eq!(count % piece.len() as u64, 0);
    let (mut stored, compressed) = (member(header), member(&piece));
    let mut hash = Sha256::new_with_prefix(header);
    for _ in 0..count / piece.len() as u64 {
        stored.extend_from_slice(&compressed);
        hash.update(&piece);
    }
    stored.extend(member(&END));
    hash.update(END);
    (stored, digest_of(hash))
}

#[test]
fn a_size_that_is_too_small_names_one_that_would_do() {
    let bench = Bench::new(Kernel::Cloud);
    let ran = refused(&bench, image("debian.oci"), &["--size", "200M"], &[]);
    let hint = ran.stderr.lines().find(|line| line.starts_with("hint: ")).expect("a hint").to_owned();
    let size = hint
        .split_whitespace()
        .map(|word| word.trim_end_matches(','))
        .find(|word| word.ends_with(['M', 'G', 'B']) && word.starts_with(|c: char| c.is_ascii_digit()));
    let size = size.unwrap_or_else(|| panic!("no size in {hint:?}"));
    bench.build(image("debian.oci"), "debian.img", &["--size", size]);
}

#[test]
fn several_images_and_no_choice() {
    let bench = Bench::new(Kernel::Cloud);
    let ran = refused(&bench, image("probe.oci"), &[], &[]);
    for tag in ["exit7", "no-command", "unknown-user"] {
        assert!(ran.stderr.contains(tag), "{tag} is not listed:\n{}", ran.stderr);
    }
    let absent = e2e::tagged("probe.oci", "of-no-such-tag");
    refused(&bench, &absent, &[], &["of-no-such-tag"]);
}

#[test]
fn no_kernel_to_boot() {
    let bench = Bench::without_kernels();
    let ran = refused(&bench, image("hello-c.oci"), &[], &["kernel"]);
    assert!(ran.stderr.contains("hint: ") && ran.stderr.contains("kernel add"), "{}", ran.stderr);

    let kernel = bench.path("kernel");
    fs::write(&kernel, "MZ is how it starts, and nothing after that is a kernel").unwrap();
    refused(&bench, image("hello-c.oci"), &["--kernel", kernel.to_str().unwrap()], &["kernel"]);
}

/// Debian's `linux-image-cloud-amd64` holds no kernel, only the dependency on the package that does.
#[test]
fn a_metapackage_is_no_kernel_and_names_the_real_one() {
    let bench = Bench::without_kernels();
    let tree = bench.path("tree");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::write(
        tree.join("DEBIAN/control"),
        "Package: linux-image-cloud-amd64\nVersion: 6.1.1-1\nArchitecture: amd64\nMaintainer: Nobody <nobody@localhost>\n\
         Depends: linux-image-6.1.0-1-cloud-amd64 (= 6.1.1-1)\nDescription: Linux for x86-64 cloud (meta-package)\n",
    )
    .unwrap();
    let package = bench.path("linux-image-cloud-amd64_6.1.1-1_amd64.deb");
    tools::stdout(Command::new("dpkg-deb").args(["--build", "--root-owner-group"]).arg(&tree).arg(&package));

    let ran = run(bench.bootdisk().args(["kernel", "add"]).arg(&package)).expect(1, "");
    sentence(&ran.stderr);
    let hint = ran.stderr.lines().find(|line| line.starts_with("hint: ")).expect("a hint");
    assert!(hint.contains("linux-image-6.1.0-1-cloud-amd64"), "{hint}");
}

#[test]
fn wrong_usage_is_status_2() {
    let bench = Bench::without_kernels();
    for arguments in [&["build"][..], &["build", "--no-such-option"], &["no-such-command"], &[]] {
        let ran = run(bench.bootdisk().args(arguments)).expect(2, "");
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
}

/// `run` keeps 1 to 124 for the workload: what bootdisk cannot do is 125.
#[test]
fn run_reports_its_own_failures_as_125() {
    let bench = Bench::new(Kernel::Cloud);
    let ran = bench.run(bench.path("absent.img"), &[]).expect(125, "");
    assert!(sentence(&ran.stderr).contains("absent.img"), "{}", ran.stderr);
}
