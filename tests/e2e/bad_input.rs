//! Input that cannot become a disk: one clear sentence, exit status 1, no output, and a previous output untouched.

use crate::{archive, e2e, small_kernel, tools};
use archive::{END, Layer, digest_of, raw_header, write_docker_archive};
use e2e::{Bench, Kernel, Ran, image, run};
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

    let ran = refused(&bench, "docker://debian:12", &[], &["docker://"]);
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
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
