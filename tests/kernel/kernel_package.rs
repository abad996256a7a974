//! Kernel packages read directly: what comes out is what dpkg-deb unpacks, and nothing harmful comes in.

use crate::support::{kernels, small_kernel, tools};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use crate::support::small_kernel::{make_package, make_root, only, unpacked};
use bootdisk::arch::Arch;
use bootdisk::kernel::modules::select;
use bootdisk::kernel::{Bundle, KernelError, ikconfig};

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn open(path: &Path) -> Bundle {
    Bundle::open(path, None).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(path: &Path) -> String {
    Bundle::open(path, None).map(|_| ()).unwrap_err().to_string()
}

/// Names, dependencies and bytes of the modules that are chosen of a bundle, for comparison.
fn contents(bundle: &Bundle) -> Vec<(String, Vec<String>, Vec<u8>)> {
    let selection = select(bundle).unwrap();
    let bodies = selection.read(bundle).unwrap();
    let modules = selection.modules.iter().zip(&bodies);
    modules.map(|(one, body)| (one.spec.name.clone(), one.spec.depends.clone(), body.to_vec())).collect()
}

/// `modules.dep` by normalised name, as depmod computes it.
fn depmod(root: &Path, release: &str) -> BTreeMap<String, Vec<String>> {
    tools::stdout(Command::new("/sbin/depmod").arg("-b").arg(root).arg(release));
    let name = |path: &str| path.rsplit('/').next().unwrap().trim_end_matches(".ko").replace('-', "_");
    let text = fs::read_to_string(root.join("lib/modules").join(release).join("modules.dep")).unwrap();
    let line = |line: &str| {
        let (module, needs) = line.split_once(':').unwrap();
        (name(module), needs.split_whitespace().map(name).collect())
    };
    text.lines().map(line).collect()
}

/// What is wrong with an order, by depmod's opinion.
fn disorder(order: &[String], needs: &BTreeMap<String, Vec<String>>) -> Option<String> {
    let mut seen = BTreeSet::new();
    for module in order {
        for need in needs.get(module).into_iter().flatten() {
            if !seen.contains(need) {
                return Some(format!("{module} before {need}"));
            }
        }
        seen.insert(module.clone());
    }
    None
}

fn check_real_package(flavour: &'static str) {
    let bundle = open(&kernels::package(flavour));
    let root = &unpacked(flavour);
    let vmlinuz = only(&root.join("boot"), "vmlinuz-");
    let release = vmlinuz.file_name().unwrap().to_str().unwrap().strip_prefix("vmlinuz-").unwrap();
    assert_eq!((bundle.release.as_str(), bundle.arch), (release, Arch::X86_64));
    assert!(bundle.image.efi_stub);
    assert_eq!(bundle.checked, "MD5 of the files");
    assert!(*bundle.boot.read().unwrap() == fs::read(&vmlinuz).unwrap(), "the boot file differs");
    let config = bundle.config.as_ref().expect("a configuration");
    assert_eq!(config.text(), fs::read_to_string(only(&root.join("boot"), "config-")).unwrap());

    let selection = select(&bundle).unwrap();
    assert_eq!(selection.warnings, [""; 0]);
    let modules = root.join("lib/modules").join(release);
    let prefix = format!("/lib/modules/{release}/");
    for (module, bytes) in selection.modules.iter().zip(selection.read(&bundle).unwrap()) {
        let path = modules.join(module.spec.file.strip_prefix(&prefix).unwrap());
        assert!(*bytes == fs::read(&path).unwrap(), "{} differs", path.display());
    }

    let needs = depmod(root, release);
    assert_eq!(bundle.modules.as_ref().unwrap().len(), needs.len());
    let order: Vec<String> = selection.modules.iter().map(|module| module.spec.name.clone()).collect();
    assert_eq!(disorder(&order, &needs), None);
    // The oracle sees a wrong order: the first module that needs another, put in front.
    let first = order.iter().position(|module| !needs[module].is_empty()).unwrap();
    let mut wrong = order.clone();
    wrong.swap(0, first);
    assert!(disorder(&wrong, &needs).is_some());
    // PID 1 loads by `depends`: these must lead to everything that depmod says, in this list.
    for module in &selection.modules {
        for name in &module.spec.depends {
            let place = |name: &String| order.iter().position(|other| other == name);
            assert!(place(name).unwrap() < place(&module.spec.name).unwrap());
        }
    }

    // The same kernel as a directory.
    let directory = open(root);
    let expected = contents(&bundle);
    assert_eq!(contents(&directory), expected);
    let with_modules = Bundle::open(&vmlinuz, Some(root)).unwrap();
    assert_eq!(contents(&with_modules), expected);
    assert_eq!(with_modules.config.unwrap().text(), config.text());

    check_payload(&vmlinuz, &bundle);
}

/// The vmlinux inside unpacks to the length that the kernel's build wrote behind it, and is this kernel.
fn check_payload(vmlinuz: &Path, bundle: &Bundle) {
    let (bytes, facts) = (fs::read(vmlinuz).unwrap(), bundle.image.bzimage.as_ref().unwrap());
    let end = (facts.payload.0 + facts.payload.1) as usize;
    let length = u32::from_le_bytes(bytes[end - 4..end].try_into().unwrap());
    let (mut vmlinux, mut chunk) = (Vec::new(), vec![0; 1 << 20]);
    let mut reader = ikconfig::vmlinux(&bytes, &bundle.image).unwrap();
    while let Ok(n @ 1..) = reader.read(&mut chunk) {
        vmlinux.extend_from_slice(&chunk[..n]);
    }
    assert_eq!(vmlinux.len(), length as usize, "{}", bundle.image.payload.name());
    assert!(vmlinux.starts_with(b"\x7fELF"));
    let banner = format!("Linux version {} ", bundle.release).into_bytes();
    assert!(vmlinux.windows(banner.len()).any(|window| window == banner));
}

#[test]
fn debians_cloud_kernel_is_what_dpkg_unpacks() {
    check_real_package("cloud");
}

#[test]
fn debians_generic_kernel_is_what_dpkg_unpacks() {
    check_real_package("generic");
}

const SOME: [&str; 4] = ["virtio", "virtio_ring", "virtio_blk", "virtio-rng"];

#[test]
fn every_compression_of_a_package_and_of_modules_reads_the_same() {
    let dir = temporary();
    let root = dir.path().join("root");
    let release = make_root(&root, &SOME);
    let plain = contents(&open(&root));
    // Which of the first two needs the other differs from release to release.
    let mut names: Vec<&str> = plain.iter().map(|(name, ..)| name.as_str()).collect();
    names[..2].sort();
    assert_eq!(names, ["virtio", "virtio_ring", "virtio_blk", "virtio_rng"]);
    for compression in ["none", "gzip", "xz", "zstd"] {
        let package = dir.path().join(format!("{compression}.deb"));
        make_package(&root, &package, "Package: linux-image-test\n", &[&format!("-Z{compression}")]);
        let bundle = open(&package);
        assert_eq!(bundle.release, release);
        assert_eq!(contents(&bundle), plain, "{compression}");
    }

    let kernel = root.join("lib/modules").join(&release).join("kernel");
    for (tool, module) in [("gzip", "virtio"), ("xz", "virtio_ring"), ("zstd", "virtio_blk")] {
        let quiet: &[&str] = if tool == "zstd" { &["-q", "--rm"] } else { &[] };
        tools::stdout(Command::new(tool).args(quiet).arg(kernel.join(format!("{module}.ko"))));
    }
    let bundle = open(&root);
    assert_eq!(contents(&bundle), plain);
    let packed = select(&bundle).unwrap();
    assert!(packed.modules.iter().all(|module| module.spec.file.ends_with(".ko")));
}

#[test]
fn a_file_that_is_not_what_the_package_lists_is_found() {
    let dir = temporary();
    let root = dir.path().join("root");
    let release = make_root(&root, &["virtio"]);
    let package = dir.path().join("whole.deb");
    make_package(&root, &package, "Package: linux-image-test\n", &["-Znone"]);
    assert_eq!(open(&package).checked, "MD5 of the files");
    let whole = fs::read(&package).unwrap();
    // Without a compressor nothing else would find these: the kernel, and a module that is not even read.
    let module = format!("lib/modules/{release}/kernel/virtio.ko");
    for name in [format!("boot/vmlinuz-{release}"), module] {
        let body = fs::read(root.join(&name)).unwrap();
        let at = whole.windows(4096).position(|window| window == &body[body.len() - 4096..]).unwrap();
        let mut damaged = whole.clone();
        damaged[at + 4000] ^= 1;
        fs::write(&package, damaged).unwrap();
        assert!(refused(&package).ends_with(&format!("{name} in it does not match its MD5")), "{}", refused(&package));
    }
    // What the list leaves out is not called right.
    let list =
        "rm -r deb; dpkg-deb -R whole.deb deb && sed -i /vmlinuz/d deb/DEBIAN/md5sums && dpkg-deb -b deb part.deb";
    fs::write(&package, whole).unwrap();
    tools::stdout(Command::new("sh").args(["-c", list]).current_dir(dir.path()));
    assert_eq!(open(&dir.path().join("part.deb")).checked, "");
}

#[test]
fn a_metapackage_names_the_real_one() {
    let dir = temporary();
    let root = dir.path().join("meta");
    fs::create_dir_all(root.join("usr/share/doc/linux-image-cloud-amd64")).unwrap();
    let package = dir.path().join("meta.deb");
    let control = "Package: linux-image-cloud-amd64\nDepends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\n";
    make_package(&root, &package, control, &[]);
    let error = Bundle::open(&package, None).unwrap_err();
    assert!(matches!(error, KernelError::Metapackage { .. }));
    assert!(error.to_string().starts_with("package linux-image-cloud-amd64 holds no kernel"), "{error}");
    assert!(error.hint().unwrap().ends_with("give that one: linux-image-6.1.0-56-cloud-amd64"));

    make_package(&root, &package, "Package: hello\nDepends: libc6\n", &[]);
    assert!(refused(&package).ends_with("it holds no kernel, it is hello"), "{}", refused(&package));
}

#[test]
fn a_cut_package_is_an_error_wherever_it_is_cut() {
    let dir = temporary();
    let root = dir.path().join("root");
    make_root(&root, &["virtio", "virtio_ring"]);
    for compression in ["none", "gzip", "xz", "zstd"] {
        let package = dir.path().join("whole.deb");
        make_package(&root, &package, "Package: linux-image-test\n", &[&format!("-Z{compression}")]);
        let bytes = fs::read(&package).unwrap();
        let cut = dir.path().join("cut.deb");
        for length in (0..bytes.len() - 1).step_by(bytes.len() / 150).chain([8, 67, 68, 131, 132, bytes.len() - 2]) {
            fs::write(&cut, &bytes[..length]).unwrap();
            assert!(Bundle::open(&cut, None).is_err(), "{compression} cut at {length} of {}", bytes.len());
        }
    }
}

#[test]
fn mutated_packages_never_panic() {
    let dir = temporary();
    let root = dir.path().join("root");
    make_root(&root, &["virtio"]);
    let package = dir.path().join("whole.deb");
    let rounds = if std::env::var_os("BOOTDISK_TEST_FULL").is_some() { 5000 } else { 100 };
    for compression in ["none", "gzip", "xz", "zstd"] {
        make_package(&root, &package, "Package: linux-image-test\n", &[&format!("-Z{compression}")]);
        let bytes = fs::read(&package).unwrap();
        let mut seed = 11u64;
        for _ in 0..rounds {
            let mut copy = bytes.clone();
            for _ in 0..1 + (seed >> 60) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Headers more often than bodies.
                let within = if seed >> 62 == 0 { copy.len() } else { copy.len().min(2000) };
                let at = (seed >> 33) as usize % within;
                copy[at] = (seed >> 24) as u8;
            }
            let mutated = dir.path().join("mutated.deb");
            fs::write(&mutated, &copy).unwrap();
            if let Ok(bundle) = Bundle::open(&mutated, None) {
                _ = select(&bundle);
            }
        }
    }
}

/// A package out of tar headers and bodies as they are given.
fn hostile_package(to: &Path, entries: &[(tar::Header, &[u8])], zeros: u64) {
    let header = |name: &str, size: usize| format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644);
    let mut control = tar::Builder::new(Vec::new());
    let mut facts = tar::Header::new_gnu();
    facts.set_size(14);
    control.append_data(&mut facts, "control", &b"Package: evil\n"[..]).unwrap();
    let control = control.into_inner().unwrap();
    let mut data = zstd::Encoder::new(Vec::new(), 1).unwrap();
    for (header, body) in entries {
        std::io::Write::write_all(&mut data, header.as_bytes()).unwrap();
        std::io::Write::write_all(&mut data, body).unwrap();
        std::io::Write::write_all(&mut data, &vec![0; body.len().next_multiple_of(512) - body.len()]).unwrap();
    }
    std::io::copy(&mut std::io::repeat(0).take(zeros), &mut data).unwrap();
    let data = data.finish().unwrap();
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, body) in [("debian-binary", b"2.0\n".to_vec()), ("control.tar", control), ("data.tar.zst", data)] {
        bytes.extend_from_slice(header(name, body.len()).as_bytes());
        bytes.extend_from_slice(&body);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    fs::write(to, bytes).unwrap();
}

fn entry(name: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

#[test]
fn hostile_packages_are_refused_within_bounds() {
    use tar::EntryType as Kind;
    let dir = temporary();
    let package = dir.path().join("hostile.deb");
    let vmlinuz = small_kernel::cut_kernel(&fs::read(only(&unpacked("cloud").join("boot"), "vmlinuz-")).unwrap());
    let kernel = || entry("boot/vmlinuz-x", Kind::Regular, vmlinuz.len() as u64);
    let gib = 1 << 30;

    // A kernel by a symbolic link, by a path that leaves the package: neither is a kernel of it.
    let link = entry("boot/vmlinuz-x", Kind::Symlink, 0);
    let outside = entry("boot/../../boot/vmlinuz-x", Kind::Regular, vmlinuz.len() as u64);
    hostile_package(&package, &[(link, b""), (outside, &vmlinuz)], 1024);
    assert!(refused(&package).ends_with("it holds no kernel, it is evil"), "{}", refused(&package));

    // Bodies that announce more than there is, or unpack to more than anything real.
    hostile_package(&package, &[(entry("boot/vmlinuz-x", Kind::Regular, 7 << 30), b"")], 1024);
    assert!(refused(&package).contains("ends too early"), "{}", refused(&package));
    hostile_package(&package, &[(entry("boot/vmlinuz-x", Kind::Regular, gib), b"")], gib);
    assert_eq!(refused(&package), "kernel is larger than 268435456 bytes: boot/vmlinuz-x");
    hostile_package(&package, &[(entry("lib/modules/6/ext4.ko", Kind::Regular, gib), b"")], gib);
    assert_eq!(refused(&package), "module is larger than 268435456 bytes: ext4.ko");
    hostile_package(&package, &[(entry("x", Kind::GNULongName, gib), b"")], gib);
    assert!(refused(&package).contains("a name record of 1073741824 bytes"), "{}", refused(&package));

    // Two kernels; modules of another one; modules of two.
    let second = || entry("boot/vmlinuz-y", Kind::Regular, vmlinuz.len() as u64);
    let mut other = vmlinuz.clone();
    *other.last_mut().unwrap() ^= 1;
    hostile_package(&package, &[(kernel(), &vmlinuz), (second(), &other)], 1024);
    assert!(refused(&package).starts_with("several kernels, name one of them"), "{}", refused(&package));
    let module = |release: &str| entry(&format!("lib/modules/{release}/x.ko"), Kind::Regular, 1);
    hostile_package(&package, &[(kernel(), &vmlinuz), (module("5.0"), b"x")], 1024);
    assert!(
        refused(&package).starts_with("the modules are of kernel 5.0, but the kernel is 6.1"),
        "{}",
        refused(&package)
    );
    hostile_package(&package, &[(module("5.0"), b"x"), (module("5.1"), b"x")], 1024);
    assert!(refused(&package).contains("modules of several kernels"), "{}", refused(&package));

    // Names that would move a terminal's cursor are shown, not sent.
    hostile_package(&package, &[(kernel(), b"no kernel at all")], 1 << 20);
    assert!(!refused(&package).contains('\x1b'));
    let colour = entry("boot/vmlinuz-\x1b[31m", Kind::Regular, 1);
    hostile_package(&package, &[(colour, b"x"), (kernel(), &vmlinuz)], 1024);
    assert!(refused(&package).contains("\\x1b[31m"), "{}", refused(&package));
}

#[test]
fn modules_of_another_kernel_are_refused() {
    let dir = temporary();
    let root = dir.path().join("root");
    let release = make_root(&root, &["virtio"]);
    // vermagic decides, whatever the directory is called.
    let path = root.join("lib/modules").join(&release).join("kernel/virtio.ko");
    let mut module = fs::read(&path).unwrap();
    let magic = b"vermagic=6.1.0";
    let at = module.windows(magic.len()).position(|window| window == magic).unwrap();
    module[at + 9] = b'5';
    fs::write(&path, module).unwrap();
    fs::rename(root.join("lib/modules").join(&release).join("kernel/virtio.ko"), path.with_file_name("overlay.ko"))
        .unwrap();
    let error = select(&open(&root)).unwrap_err().to_string();
    assert!(error.starts_with("the modules are of kernel 5.1.0"), "{error}");

    let none = dir.path().join("none");
    fs::create_dir(&none).unwrap();
    let kernel = only(&root.join("boot"), "vmlinuz-");
    let error = Bundle::open(&kernel, Some(&none)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("no modules of kernel {release} in ")), "{error}");
}

#[test]
fn a_missing_dependency_is_a_warning() {
    let dir = temporary();
    let root = dir.path().join("root");
    make_root(&root, &["virtio_blk", "virtio"]);
    let selection = select(&open(&root)).unwrap();
    let names: Vec<&str> = selection.modules.iter().map(|module| module.spec.name.as_str()).collect();
    assert_eq!(names, ["virtio", "virtio_blk"]);
    let of_block = "module virtio_blk needs virtio_ring, which is not among this kernel's modules";
    assert!(selection.warnings.iter().any(|text| text == of_block), "{:?}", selection.warnings);
    let others = selection.warnings.iter().filter(|text| *text != of_block);
    // In some releases virtio needs it too.
    others.for_each(|text| assert_eq!(text, &of_block.replace("virtio_blk", "virtio")));
    assert!(selection.absent.contains(&"virtio_net"));
    assert!(!selection.absent.contains(&"nvme"), "built in");
}
