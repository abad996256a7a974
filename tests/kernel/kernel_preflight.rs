//! Preflight: each thing a kernel lacks is named before anything is written, and a file that is no kernel by its name.

use crate::support::tools;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::small_kernel::{cut_kernel, make_root, only, unpacked};
use bootdisk::arch::Arch;
use bootdisk::kernel::preflight::{Disk, Report, Verdict};
use bootdisk::kernel::requirements::{Level, requirements};
use bootdisk::kernel::{Bundle, Config, Packing, preflight};

const DISK: Disk = Disk { arch: Arch::X86_64, bios: true, uefi: true, initramfs: Packing::None, verity: false };

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Debian's kernel, unpacked: its setup part only, all of its modules.
fn debian(flavour: &'static str) -> Bundle {
    Bundle::open(&unpacked(flavour), None).unwrap()
}

fn failed(report: &Report) -> Vec<&str> {
    report.with(Verdict::Fail).map(|check| check.option.as_str()).collect()
}

fn without(config: &Config, option: &str) -> Config {
    let line = format!("CONFIG_{option}=");
    let text: String = config.text().lines().filter(|l| !l.starts_with(&line)).map(|l| format!("{l}\n")).collect();
    Config::new("test", text.as_bytes())
}

#[test]
fn debians_kernels_pass() {
    for (flavour, buses) in [
        ("cloud", vec!["virtio-blk", "virtio-scsi", "nvme", "ide"]),
        ("generic", vec!["virtio-blk", "virtio-scsi", "nvme", "ahci", "ide", "usb-storage"]),
    ] {
        for initramfs in [Packing::None, Packing::Gzip, Packing::Zstd] {
            let bundle = debian(flavour);
            let report = preflight(&bundle, &Disk { initramfs, ..DISK });
            assert_eq!(report.verdict(&bundle), Ok(()));
            assert_eq!(report.buses, buses);
            assert_eq!(report.warnings(), [""; 0], "{flavour}");
        }
    }
}

/// Where a kernel wants to run and what it needs there in bytes, and whether BIOS boot can have it.
#[test]
fn a_kernel_that_needs_memory_behind_4_gib_is_refused_for_bios_alone() {
    for (address, size, fits) in [
        (16 << 20, 40 << 20, true),
        (0xf000_0000, 0x0fff_f000, true),
        (0xf000_0000, 0x1000_0000, false),
        (0, u32::MAX, false),
        (1 << 40, 0, false),
        (u64::MAX - 0xffff, 0xffff, false),
    ] {
        let mut bundle = debian("cloud");
        let header = bundle.image.bzimage.as_mut().unwrap();
        (header.pref_address, header.init_size) = (address, size);
        let expected: &[&str] = if fits { &[] } else { &["load address"] };
        assert_eq!(failed(&preflight(&bundle, &DISK)), expected, "{address:#x} {size:#x}");
        assert_eq!(failed(&preflight(&bundle, &Disk { bios: false, ..DISK })), [""; 0], "{address:#x}");
    }
}

#[test]
fn without_any_required_option_the_kernel_is_refused_by_its_name() {
    let mut bundle = debian("generic");
    let config = bundle.config.clone().unwrap();
    let disk = Disk { initramfs: Packing::Zstd, verity: true, ..DISK };
    let mut refused = 0;
    for requirement in requirements(Arch::X86_64) {
        bundle.config = Some(without(&config, requirement.option));
        let report = preflight(&bundle, &disk);
        let name = format!("CONFIG_{}", requirement.option);
        match requirement.level {
            Level::Required if requirement.option == "RD_GZIP" => assert_eq!(failed(&report), [""; 0]),
            Level::Required => {
                refused += 1;
                assert_eq!(failed(&report), [name.as_str()]);
                let sentence = report.verdict(&bundle).unwrap_err().to_string();
                let why = requirement.why.trim_end_matches('.');
                assert_eq!(
                    sentence,
                    format!("kernel {} cannot boot this disk: {name} is not set ({why})", bundle.release)
                );
            }
            Level::Recommended => {
                let warned: Vec<&str> = report.with(Verdict::Warn).map(|check| check.option.as_str()).collect();
                assert_eq!((failed(&report), warned), (vec![], vec![name.as_str()]));
            }
            Level::Bus => {
                let expected: Vec<&str> = ["virtio-blk", "virtio-scsi", "nvme", "ahci", "ide", "usb-storage"]
                    .into_iter()
                    .filter(|bus| !requirement.buses.contains(bus))
                    .collect();
                assert_eq!(report.buses, expected, "{name}");
                assert_eq!(failed(&report), if expected.is_empty() { vec!["disk buses"] } else { vec![] });
            }
            Level::Optional => assert_eq!(failed(&report), [""; 0], "{name}"),
        }
    }
    assert!(refused >= 15, "{refused}");
}

#[test]
fn firmware_and_packing_decide_what_matters() {
    let mut bundle = debian("generic");
    let config = bundle.config.clone().unwrap();
    bundle.config = Some(without(&config, "EFI_STUB"));
    assert_eq!(failed(&preflight(&bundle, &DISK)), ["CONFIG_EFI_STUB"]);
    assert_eq!(failed(&preflight(&bundle, &Disk { uefi: false, ..DISK })), [""; 0]);
    bundle.config = Some(without(&config, "RD_GZIP"));
    assert_eq!(failed(&preflight(&bundle, &Disk { initramfs: Packing::Gzip, ..DISK })), ["CONFIG_RD_GZIP"]);
}

#[test]
fn drivers_as_modules_need_modules() {
    let root = unpacked("generic");
    let mut bundle = debian("generic");
    bundle.modules = None;
    let report = preflight(&bundle, &DISK);
    assert_eq!(failed(&report), ["CONFIG_EXT4_FS", "disk buses"]);
    let sentence = report.verdict(&bundle).unwrap_err().to_string();
    assert!(
        sentence.contains("CONFIG_EXT4_FS is a module, and no modules were given (The root partition is ext4)"),
        "{sentence}"
    );

    // A modules directory without the module.
    let dir = temporary();
    let copy = dir.path().join("modules");
    let from = only(&root.join("lib/modules"), "");
    tools::stdout(Command::new("cp").arg("-al").arg(&from).arg(&copy));
    fs::remove_file(copy.join("kernel/fs/ext4/ext4.ko")).unwrap();
    let kernel = only(&root.join("boot"), "vmlinuz-");
    let bundle = Bundle::open(&kernel, Some(&copy)).unwrap();
    let report = preflight(&bundle, &DISK);
    assert_eq!(failed(&report), ["CONFIG_EXT4_FS"]);
    let detail = &report.with(Verdict::Fail).next().unwrap().detail;
    assert_eq!(detail, "is a module, and the modules lack ext4");

    // An option that only works built in.
    let mut bundle = debian("generic");
    let text = bundle.config.as_ref().unwrap().text().replace("CONFIG_UNIX98_PTYS=y", "CONFIG_UNIX98_PTYS=m");
    bundle.config = Some(Config::new("test", text.as_bytes()));
    let warned: Vec<String> = preflight(&bundle, &DISK).warnings();
    assert!(
        warned.len() == 1 && warned[0].contains("CONFIG_UNIX98_PTYS is a module, but must be built in"),
        "{warned:?}"
    );
}

#[test]
fn an_unknown_configuration_is_a_warning_and_not_a_pass() {
    let mut bundle = debian("generic");
    bundle.config = None;
    let report = preflight(&bundle, &DISK);
    assert_eq!(failed(&report), [""; 0]);
    assert!(report.with(Verdict::Unknown).any(|check| check.option == "configuration"));
    assert!(report.with(Verdict::Unknown).any(|check| check.option == "CONFIG_DEVTMPFS"));
    // What modules and header prove is proven.
    assert!(report.with(Verdict::Pass).any(|check| check.option == "CONFIG_EXT4_FS"));
    assert!(report.with(Verdict::Pass).any(|check| check.option == "CONFIG_EFI_STUB"));
    assert_eq!(report.warnings().len(), 1, "{:?}", report.warnings());
    bundle.modules = None;
    assert_eq!(preflight(&bundle, &DISK).buses, [""; 0]);
    assert_eq!(failed(&preflight(&bundle, &DISK)), [""; 0]);
}

#[test]
fn the_fragments_together_are_a_configuration_that_passes() {
    let mut bundle = debian("cloud");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel-configs/x86_64");
    let mut text = String::new();
    for entry in fs::read_dir(dir).unwrap() {
        text += &fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    bundle.config = Some(Config::new("kernel-configs", text.as_bytes()));
    bundle.modules = None;
    let report = preflight(&bundle, &Disk { initramfs: Packing::Gzip, ..DISK });
    assert!(report.checks.iter().all(|check| check.verdict == Verdict::Pass), "{report:?}");
    assert_eq!(report.buses.len(), 6);
}

/// An arm64 `Image` as far as its header goes, with a banner in it.
fn arm_image() -> Vec<u8> {
    let mut image = vec![0u8; 8192];
    image[..2].copy_from_slice(b"MZ");
    image[0x38..0x3c].copy_from_slice(b"ARM\x64");
    image[0x3c] = 0x40;
    image[0x40..0x46].copy_from_slice(b"PE\0\0\x64\xaa");
    image[4096..4127].copy_from_slice(b"Linux version 6.1.0-9-arm64 (x)");
    image
}

#[test]
fn another_architecture_is_refused_with_both_names() {
    let dir = temporary();
    let path = dir.path().join("Image");
    fs::write(&path, arm_image()).unwrap();
    let bundle = Bundle::open(&path, None).unwrap();
    assert_eq!((bundle.arch, bundle.release.as_str()), (Arch::Aarch64, "6.1.0-9-arm64"));
    let report = preflight(&bundle, &DISK);
    assert_eq!(failed(&report), ["architecture"]);
    let sentence = report.verdict(&bundle).unwrap_err().to_string();
    assert!(sentence.contains("architecture of the kernel is aarch64, of the image x86_64"), "{sentence}");
    assert_eq!(failed(&preflight(&debian("cloud"), &Disk { arch: Arch::Aarch64, ..DISK })), ["architecture"]);
}

#[test]
fn a_file_that_is_no_kernel_is_called_by_its_name() {
    let dir = temporary();
    let vmlinuz = fs::read(only(&unpacked("cloud").join("boot"), "vmlinuz-")).unwrap();
    let path = dir.path().join("file");
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = Bundle::open(&path, None).map(|_| ()).unwrap_err();
        let sentence = error.to_string();
        let name = format!(": {}", path.display());
        assert!(sentence.ends_with(&name), "the value last: {sentence}");
        (sentence.trim_end_matches(&name).to_owned(), error.hint())
    };
    let is = |what: &str| format!("a kernel is needed, but this is {what}");

    assert_eq!(refused(b"").0, is("an empty file"));
    let (sentence, hint) = refused(&fs::read(std::env::current_exe().unwrap()).unwrap()[..4096]);
    assert_eq!(sentence, is("an ELF file for x86_64, but not a Linux kernel"));
    assert!(hint.unwrap().contains("bzImage"));
    for tool in ["gzip", "xz", "zstd"] {
        fs::write(&path, [7; 5000]).unwrap();
        let packed = tools::run(Command::new(tool).arg("-c").arg(&path)).stdout;
        let (sentence, hint) = refused(&packed);
        assert_eq!(sentence, is(&format!("{tool}-compressed data")));
        assert!(hint.unwrap().contains(&format!("{tool} -dc ")));
    }
    let (half, whole) = (vmlinuz.len() / 2, vmlinuz.len());
    let sentence = refused(&vmlinuz[..half]).0;
    assert!(sentence.starts_with(&is(&format!("a truncated bzImage ({half} of "))), "{sentence}, of {whole}");
    for length in [1, 2, 511, 512, 513, 600, 617, 1024, 10_000] {
        refused(&vmlinuz[..length]);
    }
    assert_eq!(refused(b"070701 and so on").0, is("a cpio archive (an initramfs?)"));

    let mut old = cut_kernel(&vmlinuz);
    old[0x206] = 0x0b;
    assert_eq!(refused(&old).0, is("a bzImage of boot protocol 2.11 (2.12 is needed, Linux 3.8)"));

    let error = Bundle::open(dir.path(), None).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("no kernel (vmlinuz*, bzImage) in "), "{error}");
    let error = Bundle::open(&dir.path().join("nothing"), None).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("cannot open "), "{error}");
    fs::write(dir.path().join("vmlinuz-1"), cut_kernel(&vmlinuz)).unwrap();
    fs::write(dir.path().join("vmlinuz-2"), cut_kernel(&vmlinuz)).unwrap();
    let error = Bundle::open(dir.path(), None).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("several kernels, name one of them (vmlinuz-1, vmlinuz-2): "), "{error}");
    fs::remove_file(dir.path().join("vmlinuz-2")).unwrap();
    std::os::unix::fs::symlink("vmlinuz-1", dir.path().join("vmlinuz")).unwrap();
    assert!(Bundle::open(dir.path(), None).is_ok(), "a link to the only kernel is not a second one");
    // As distributions have it: /vmlinuz is a link to /boot/vmlinuz-RELEASE.
    fs::create_dir(dir.path().join("boot")).unwrap();
    fs::rename(dir.path().join("vmlinuz-1"), dir.path().join("boot/vmlinuz-1")).unwrap();
    fs::remove_file(dir.path().join("vmlinuz")).unwrap();
    std::os::unix::fs::symlink("boot/vmlinuz-1", dir.path().join("vmlinuz")).unwrap();
    assert!(Bundle::open(dir.path(), None).is_ok());
}

#[test]
fn configurations_are_found_beside_the_kernel() {
    let dir = temporary();
    let root = dir.path().join("root");
    let release = make_root(&root, &[]);
    let kernel = only(&root.join("boot"), "vmlinuz-");
    let origin = |path: &Path| Bundle::open(path, None).unwrap().config.map(|config| config.origin);
    assert!(origin(&kernel).unwrap().ends_with(&format!("/boot/config-{release}")));
    let renamed = root.join("boot/bzImage");
    fs::rename(&kernel, &renamed).unwrap();
    assert!(origin(&renamed).unwrap().ends_with(&format!("/boot/config-{release}")));
    fs::remove_file(root.join("boot").join(format!("config-{release}"))).unwrap();
    assert_eq!(origin(&renamed), None);
    fs::write(root.join("config"), "CONFIG_EXT4_FS=y\n").unwrap();
    assert!(origin(&root).unwrap().ends_with("/root/config"));
}
