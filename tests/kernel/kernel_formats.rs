//! Kernels in other distributions' packages, in container images and in every form of boot file: made by the real tools,
//! and read the same. What a format says of its own digests is believed only when it is true.

use crate::support::tools;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::small_kernel::{make_package, make_root, only, unpacked};
use crate::support::small_packages::{make_apk, make_rpm, shell};
use bootdisk::arch::Arch;
use bootdisk::kernel::modules::{Selection, select};
use bootdisk::kernel::preflight::{Disk, Verdict};
use bootdisk::kernel::{Bundle, Given, Packing, Store, ikconfig, preflight};

const MODULES: [&str; 4] = ["virtio", "virtio_ring", "virtio_blk", "overlay"];

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn contents(selection: &Selection) -> Vec<(String, u64)> {
    selection.modules.iter().map(|module| (module.spec.name.clone(), module.size)).collect()
}

/// Several files that belong together.
fn given(files: &[PathBuf]) -> Given<'_> {
    Given { files, ..Given::default() }
}

/// A small root with a kernel, and what opening it as a directory gives.
fn sample(dir: &Path) -> (PathBuf, String, Vec<(String, u64)>) {
    let root = dir.join("root");
    let release = make_root(&root, &MODULES);
    let plain = Bundle::open(&root, None).unwrap();
    let expected = contents(&select(&plain).unwrap());
    assert_eq!(expected.len(), 4);
    (root, release, expected)
}

/// That what was opened is the sample: the same kernel, configuration and modules.
#[track_caller]
fn is_sample(bundle: &Bundle, root: &Path, release: &str, expected: &[(String, u64)]) {
    assert_eq!(bundle.release, release);
    assert_eq!(bundle.arch, Arch::X86_64);
    let config = fs::read_to_string(root.join(format!("boot/config-{release}"))).unwrap();
    assert_eq!(bundle.config.as_ref().expect("a configuration").text(), config);
    assert_eq!(contents(&select(bundle).unwrap()), expected);
}

fn refused(path: &Path) -> String {
    format!("{:#}", anyhow_chain(&Bundle::open(path, None).map(|_| ()).unwrap_err()))
}

fn anyhow_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[test]
fn rpm_packages_are_read_and_their_digests_believed_only_when_right() {
    let dir = temporary();
    let (root, release, expected) = sample(dir.path());
    for payload in ["w3.gzdio", "w1.xzdio", "w3.zstdio"] {
        let package = make_rpm(dir.path(), &root, "kernel", "/boot\n/lib\n", payload);
        let bundle = Bundle::open(&package, None).unwrap();
        is_sample(&bundle, &root, &release, &expected);
        assert_eq!(bundle.checked, "SHA-256 of header and payload", "{payload}");
        assert!(bundle.origin.starts_with("kernel 6.1-1 ("), "{}", bundle.origin);
    }

    // Fedora's split: the kernel is beside its modules, and most of these are in another package.
    let fedora = dir.path().join("fedora");
    let modules = fedora.join("lib/modules").join(&release);
    fs::create_dir_all(&fedora).unwrap();
    tools::stdout(Command::new("cp").arg("-a").arg(root.join("lib")).arg(&fedora));
    fs::copy(only(&root.join("boot"), "vmlinuz-"), modules.join("vmlinuz")).unwrap();
    fs::copy(only(&root.join("boot"), "config-"), modules.join("config")).unwrap();
    shell(&modules, "xz kernel/virtio.ko; zstd -q --rm kernel/virtio_ring.ko; gzip kernel/virtio_blk.ko");
    let core_files =
        format!("/lib/modules/{release}/vmlinuz\n/lib/modules/{release}/config\n/lib/modules/{release}/modules.*\n");
    let core = make_rpm(dir.path(), &fedora, "kernel-core", &core_files, "w3.zstdio");
    let rest =
        make_rpm(dir.path(), &fedora, "kernel-modules-core", &format!("/lib/modules/{release}/kernel\n"), "w3.zstdio");
    for order in [[&core, &rest], [&rest, &core]] {
        let bundle = Bundle::of(&given(&order.map(|path| path.to_owned()))).unwrap();
        is_sample(&bundle, &root, &release, &expected);
    }
    assert!(refused(&rest).ends_with("it holds no kernel, it is kernel-modules-core"), "{}", refused(&rest));
    let meta = make_rpm(dir.path(), &fedora, "kernel-modules-extra", "", "w3.zstdio");
    assert!(refused(&meta).ends_with("it holds no kernel, it is kernel-modules-extra"), "{}", refused(&meta));

    // A bit of the header, a bit of the payload: each digest finds its own.
    let bytes = fs::read(&core).unwrap();
    let damaged = dir.path().join("damaged.rpm");
    let at = bytes.windows(12).position(|window| window == b"kernel-core\0").unwrap();
    for (at, says) in [(bytes.len() - 9, ""), (at + 96, "")] {
        let mut copy = bytes.clone();
        copy[at] ^= 1;
        fs::write(&damaged, copy).unwrap();
        assert!(refused(&damaged).starts_with("cannot read package"), "{says}{}", refused(&damaged));
    }
    let mut copy = bytes.clone();
    // The second time the name stands there it is in the header and no longer in the lead.
    let second = at + 12 + bytes[at + 12..].windows(12).position(|window| window == b"kernel-core\0").unwrap();
    copy[second] = b'K';
    fs::write(&damaged, copy).unwrap();
    assert!(refused(&damaged).ends_with("its header does not match its SHA-256"), "{}", refused(&damaged));
    cuts_and_mutations(&bytes, &damaged);
}

#[test]
fn apk_packages_are_read_and_their_data_is_verified() {
    let dir = temporary();
    let (root, release, expected) = sample(dir.path());
    // Alpine's names: the kernel by its flavour, the configuration by its release, modules packed with gzip.
    fs::rename(only(&root.join("boot"), "vmlinuz-"), root.join("boot/vmlinuz-virt")).unwrap();
    shell(&root.join("lib/modules").join(&release), "gzip kernel/*.ko");
    let package = make_apk(dir.path(), &root);
    let bundle = Bundle::open(&package, None).unwrap();
    is_sample(&bundle, &root, &release, &expected);
    assert_eq!(bundle.checked, "SHA-256 of the data");
    assert!(bundle.origin.starts_with("linux-virt 6.1-r0 ("), "{}", bundle.origin);

    // Data of another package behind this one's control: every checksum of gzip is right, and only the digest is not.
    let bytes = fs::read(&package).unwrap();
    let data = fs::read(dir.path().join("data.tar.gz")).unwrap();
    let control = &bytes[..bytes.len() - data.len()];
    shell(dir.path(), "gunzip -c data.tar.gz | gzip -n -1 > other.tar.gz");
    let other = fs::read(dir.path().join("other.tar.gz")).unwrap();
    assert_ne!(other, data);
    let damaged = dir.path().join("damaged.apk");
    fs::write(&damaged, [control, &other].concat()).unwrap();
    assert!(refused(&damaged).ends_with("its data does not match its SHA-256"), "{}", refused(&damaged));
    cuts_and_mutations(&bytes, &damaged);
    fs::write(&damaged, b"ADBd and so on").unwrap();
    assert!(refused(&damaged).contains("an apk version 3 package"), "{}", refused(&damaged));
}

#[test]
fn arch_packages_and_plain_archives_are_read() {
    let dir = temporary();
    let (root, release, expected) = sample(dir.path());
    let boot = only(&root.join("boot"), "vmlinuz-");
    for (tool, suffix) in [("zstd -q -c", "zst"), ("xz -c", "xz"), ("gzip -c", "gz"), ("cat", "")] {
        shell(dir.path(), &format!("bsdtar -C {} -cf - boot lib | {tool} > plain.tar.{suffix}", root.display()));
        let bundle = Bundle::open(&dir.path().join(format!("plain.tar.{suffix}")), None).unwrap();
        is_sample(&bundle, &root, &release, &expected);
        assert_eq!(bundle.checked, "");
    }

    // Arch: everything below usr/lib/modules, with what makepkg writes in front.
    let arch = dir.path().join("arch");
    let modules = arch.join("usr/lib/modules").join(&release);
    fs::create_dir_all(arch.join("usr/lib/modules")).unwrap();
    tools::stdout(Command::new("cp").arg("-a").arg(root.join("lib/modules").join(&release)).arg(&modules));
    fs::copy(&boot, modules.join("vmlinuz")).unwrap();
    fs::copy(only(&root.join("boot"), "config-"), modules.join("config")).unwrap();
    fs::write(arch.join(".PKGINFO"), "pkgname = linux\npkgver = 6.1.arch1-1\narch = x86_64\n").unwrap();
    fs::write(arch.join(".BUILDINFO"), "format = 2\n").unwrap();
    let list = "bsdtar -czf .MTREE --format=mtree \
                --options='!all,use-set,type,uid,gid,mode,time,size,md5,sha256,link' .BUILDINFO .PKGINFO usr";
    shell(&arch, &format!("zstd -q --rm usr/lib/modules/*/kernel/*.ko; {list}"));
    for (option, suffix) in [("--zstd", "zst"), ("--xz", "xz")] {
        shell(&arch, &format!("bsdtar {option} -cf ../linux.pkg.tar.{suffix} .BUILDINFO .MTREE .PKGINFO usr"));
        let package = dir.path().join(format!("linux.pkg.tar.{suffix}"));
        let bundle = Bundle::open(&package, None).unwrap();
        is_sample(&bundle, &root, &release, &expected);
        assert!(bundle.origin.starts_with("linux 6.1.arch1-1 ("), "{}", bundle.origin);
        assert_eq!(bundle.checked, "SHA-256 of the files");
    }
    // A module of another package among these: every checksum of zstd is right, and only the digest is not.
    let script = "cp -a arch other; cd other; module=usr/lib/modules/*/kernel/virtio.ko.zst\n\
                  zstd -qdc $module | zstd -q -9 > x; mv x $module\n\
                  bsdtar --zstd -cf ../other.pkg.tar.zst .BUILDINFO .MTREE .PKGINFO usr\n\
                  bsdtar --zstd -cf ../late.pkg.tar.zst .BUILDINFO .PKGINFO usr .MTREE";
    shell(dir.path(), script);
    let other = refused(&dir.path().join("other.pkg.tar.zst"));
    assert!(other.ends_with("kernel/virtio.ko.zst in it does not match its SHA-256"), "{other}");
    assert_eq!(Bundle::open(&dir.path().join("late.pkg.tar.zst"), None).unwrap().checked, "");
    let bytes = fs::read(dir.path().join("linux.pkg.tar.zst")).unwrap();
    cuts_and_mutations(&bytes, &dir.path().join("damaged.pkg.tar.zst"));

    // Ubuntu: two Debian packages, one with the kernel and one with the modules.
    let (image, tree) = (dir.path().join("image"), dir.path().join("tree"));
    shell(dir.path(), "mkdir image tree; cp -a root/boot image; cp -a root/lib tree");
    let packages = [dir.path().join("linux-image.deb"), dir.path().join("linux-modules.deb")];
    make_package(&image, &packages[0], "Package: linux-image-6.1.0-generic\n", &["-Zzstd"]);
    make_package(&tree, &packages[1], "Package: linux-modules-6.1.0-generic\n", &["-Zzstd"]);
    let bundle = Bundle::of(&given(&packages)).unwrap();
    is_sample(&bundle, &root, &release, &expected);
    let store = Store::at(dir.path().join("store"));
    let mut heard = Vec::new();
    let added = store.add_given(&given(&packages), &mut |count, bytes| heard.push((count, bytes))).unwrap();
    assert_eq!(added.entry.modules(), Some(4));
    assert_eq!(heard.iter().map(|(count, _)| *count).collect::<Vec<_>>(), [1, 2, 3, 4]);
    // The same kernel, whatever it came in; a boot file with its parts too.
    let parts = [boot, root.join("lib/modules").join(&release), only(&root.join("boot"), "config-")];
    for files in [vec![root.clone()], vec![dir.path().join("plain.tar.zst")], parts.to_vec()] {
        let again = store.add_given(&given(&files), &mut |_, _| {}).unwrap();
        assert!(!again.new && again.entry.id == added.entry.id, "{files:?}");
    }
}

/// A layout with one layer, by umoci.
fn make_image(dir: &Path, name: &str, files: &Path) -> PathBuf {
    let script = format!(
        "umoci init --layout {name}; umoci new --image {name}:x; umoci insert --rootless --image {name}:x {} /",
        files.display()
    );
    shell(dir, &script);
    dir.join(name)
}

#[test]
fn container_images_carry_kernels() {
    let dir = temporary();
    let (root, release, expected) = sample(dir.path());
    let layout = make_image(dir.path(), "distribution.oci", &root);
    shell(dir.path(), "tar -C distribution.oci -cf distribution.tar .");
    for path in [&layout, &dir.path().join("distribution.tar"), &PathBuf::from(format!("oci:{}", layout.display()))] {
        let bundle = Bundle::open(path, None).unwrap();
        is_sample(&bundle, &root, &release, &expected);
        assert_eq!(bundle.checked, "SHA-256 of every layer");
    }

    // linuxkit's: /kernel, and /kernel.tar with the modules.
    let kit = dir.path().join("kit");
    fs::create_dir(&kit).unwrap();
    fs::copy(only(&root.join("boot"), "vmlinuz-"), kit.join("kernel")).unwrap();
    shell(dir.path(), "cd root; tar -cf ../kit/kernel.tar lib boot/config-*");
    let layout = make_image(dir.path(), "linuxkit.oci", &kit);
    let bundle = Bundle::open(&layout, None).unwrap();
    is_sample(&bundle, &root, &release, &expected);

    // A layer that is not what its digest says; an image without a kernel.
    let blobs = layout.join("blobs/sha256");
    let largest =
        fs::read_dir(&blobs).unwrap().map(|e| e.unwrap().path()).max_by_key(|path| path.metadata().unwrap().len());
    let largest = largest.unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::set_permissions(&largest, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&largest, bytes).unwrap();
    assert!(refused(&layout).contains("layer 1 (sha256:"), "{}", refused(&layout));
    fs::remove_file(kit.join("kernel")).unwrap();
    let layout = make_image(dir.path(), "empty.oci", &kit);
    assert!(refused(&layout).ends_with("it holds no kernel"), "{}", refused(&layout));
}

/// Whether a disk for one firmware could be made, and what speaks against it.
fn fails(bundle: &Bundle, bios: bool, uefi: bool) -> Vec<String> {
    let disk = Disk { arch: bundle.arch, bios, uefi, initramfs: Packing::None, verity: false };
    let report = preflight(bundle, &disk);
    report.with(Verdict::Fail).map(|check| format!("{} {}", check.option, check.detail)).collect()
}

#[test]
fn every_form_of_boot_file_says_what_it_is() {
    let dir = temporary();
    let cloud = unpacked("cloud");
    let vmlinuz = fs::read(only(&cloud.join("boot"), "vmlinuz-")).unwrap();
    let whole = Bundle::open(&only(&cloud.join("boot"), "vmlinuz-"), None).unwrap();
    let mut vmlinux = Vec::new();
    let mut chunk = vec![0; 1 << 20];
    let mut reader = ikconfig::vmlinux(&vmlinuz, &whole.image).unwrap();
    while let Ok(n @ 1..) = std::io::Read::read(&mut reader, &mut chunk) {
        vmlinux.extend_from_slice(&chunk[..n]);
    }
    // The ELF file of the same build, plain and packed.
    let path = dir.path().join("vmlinux");
    fs::write(&path, &vmlinux).unwrap();
    shell(dir.path(), "zstd -q -1 vmlinux -o vmlinux.zst");
    for name in ["vmlinux", "vmlinux.zst"] {
        let bundle = Bundle::open(&dir.path().join(name), None).unwrap();
        assert_eq!((bundle.image.format(), &bundle.release, bundle.arch), ("vmlinux", &whole.release, Arch::X86_64));
        assert_eq!(bundle.boot.size(), vmlinux.len() as u64);
        assert!(fails(&bundle, true, false)[0].starts_with("boot file is a vmlinux, which BIOS cannot start"));
        assert!(fails(&bundle, false, true)[0].starts_with("boot file is a vmlinux, which UEFI cannot start"));
        assert_eq!(fails(&bundle, false, false), [""; 0]);
    }
    // Another program's ELF file is no kernel.
    let sentence = refused(Path::new("/bin/true"));
    assert!(sentence.contains("an ELF file for x86_64, but not a Linux kernel"), "{sentence}");

    // An arm64 and a RISC-V Image with banner and configuration, plain, packed, and inside an EFI zboot program.
    let mut config = flate2_gzip(b"# Linux/arm64\nCONFIG_EXT4_FS=y\n");
    let mut body = b"Linux version %s Linux version 6.9.1-test (x) #1\0IKCFG_ST".to_vec();
    body.append(&mut config);
    body.extend_from_slice(b"IKCFG_ED");
    for (arch, machine, magic) in
        [(Arch::Aarch64, [0x64, 0xaa], *b"ARM\x64"), (Arch::Riscv64, [0x64, 0x50], *b"RSC\x05")]
    {
        let mut image = vec![0u8; 4096];
        image[..2].copy_from_slice(b"MZ");
        image[56..60].copy_from_slice(&magic);
        image[60] = 0x40;
        image[0x40..0x44].copy_from_slice(b"PE\0\0");
        image[0x44..0x46].copy_from_slice(&machine);
        image.extend_from_slice(&body);
        let packed = flate2_gzip(&image);
        let mut zboot = vec![0u8; 2048];
        zboot[..8].copy_from_slice(b"MZ\0\0zimg");
        zboot[8..12].copy_from_slice(&2048u32.to_le_bytes());
        zboot[12..16].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        zboot[24..29].copy_from_slice(b"gzip\0");
        zboot[60] = 0x40;
        zboot[0x40..0x44].copy_from_slice(b"PE\0\0");
        zboot[0x44..0x46].copy_from_slice(&machine);
        zboot.extend_from_slice(&packed);
        for (bytes, format) in [(&image, "Image"), (&packed, "Image"), (&zboot, "zboot")] {
            fs::write(dir.path().join("Image"), bytes).unwrap();
            let bundle = Bundle::open(&dir.path().join("Image"), None).unwrap();
            assert_eq!((bundle.image.format(), bundle.arch, &*bundle.release), (format, arch, "6.9.1-test"));
            assert!(bundle.image.efi_stub);
            assert_eq!(bundle.config.unwrap().text(), "# Linux/arm64\nCONFIG_EXT4_FS=y\n");
        }
        // It has no other option, and is checked although disks of one of the two are not made.
        let mut check = assert_cmd::Command::cargo_bin("bootdisk").unwrap();
        let output =
            check.args(["kernel", "check"]).arg(dir.path().join("Image")).assert().code(1).get_output().clone();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("fail     CONFIG_PROC_FS ") && !said.contains("fail     CONFIG_EXT4_FS "), "{said}");
        let none = said.replace("\n         ", " ").contains("and bootdisk makes no disks for riscv64");
        assert_eq!(none, arch == Arch::Riscv64, "{said}");
        let mut cut = zboot.clone();
        cut.truncate(2100);
        fs::write(dir.path().join("Image"), cut).unwrap();
        assert!(refused(&dir.path().join("Image")).contains("a truncated EFI zboot image"));
    }
}

fn flate2_gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .args(["-n", "-c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// No cut of a package is taken for a whole one, and no change of bytes ends in a panic.
fn cuts_and_mutations(bytes: &[u8], path: &Path) {
    for length in (0..bytes.len() - 1).step_by(bytes.len() / 20).chain([1, 4, 95, 96, 100, bytes.len() - 1]) {
        fs::write(path, &bytes[..length]).unwrap();
        assert!(Bundle::open(path, None).is_err(), "cut at {length} of {}", bytes.len());
    }
    let rounds = if std::env::var_os("BOOTDISK_TEST_FULL").is_some() { 2000 } else { 40 };
    let mut seed = 3u64;
    for _ in 0..rounds {
        let mut copy = bytes.to_vec();
        for _ in 0..3 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Headers more often than bodies.
            let within = if seed >> 62 == 0 { copy.len() } else { copy.len().min(4000) };
            let at = (seed >> 33) as usize % within;
            copy[at] = (seed >> 24) as u8;
        }
        fs::write(path, &copy).unwrap();
        if let Ok(bundle) = Bundle::open(path, None) {
            _ = select(&bundle);
        }
    }
}
