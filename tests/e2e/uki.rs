//! Unified kernel images: one disk under BIOS and UEFI, another kernel in it, and what other programs say of it.

use crate::{e2e, e2e_disk, tools};
use e2e::{Bench, Kernel, Ran, arm64_loader, image, run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const HELLO: &str = "Hello from OS-less container";
/// Sections that systemd-measure of Debian 12 takes, as its stub measures them.
const MEASURED: [&str; 4] = ["linux", "osrel", "cmdline", "initrd"];

fn inspect(bench: &Bench, what: &Path, options: &[&str]) -> Ran {
    run(bench.bootdisk().arg("inspect").arg(what).args(options)).expect_status(0)
}

/// The unified kernel image of the first kernel in a report.
fn unified(bench: &Bench, what: &Path) -> Value {
    let report: Value = serde_json::from_slice(&inspect(bench, what, &["--json"]).stdout).unwrap();
    let kernel = if report["kernel"].is_null() { &report["disk"]["kernels"][0] } else { &report["kernel"] };
    assert_ne!(kernel["unified"], Value::Null, "{report}");
    kernel["unified"].clone()
}

/// A file of a disk's ESP, copied out by mtools.
fn of_esp(bench: &Bench, disk: &Path, path: &str) -> PathBuf {
    let to = bench.path("of-esp.efi");
    let esp = format!("{}@@{}", disk.display(), e2e_disk::partition(disk, e2e_disk::ESP).start);
    tools::stdout(Command::new("mcopy").args(["-n", "-o", "-i", &esp, &format!("::{path}")]).arg(&to));
    to
}

/// A section of an EFI program, taken out by objcopy.
fn section(bench: &Bench, program: &Path, name: &str) -> PathBuf {
    let to = bench.path(name);
    let only = format!("--only-section=.{name}");
    tools::stdout(Command::new("objcopy").args(["-O", "binary", &only]).arg(program).arg(&to));
    to
}

/// The line of systemd-measure for the sections in these files, before any phase of a userland.
fn calculated(sections: &[(&str, PathBuf)]) -> String {
    let files = sections.iter().map(|(name, path)| format!("--{name}={}", path.display()));
    let mut measure = Command::new("/usr/lib/systemd/systemd-measure");
    measure.args(["calculate", "--phase=:", "--bank=sha256"]).args(files);
    tools::stdout(&mut measure).lines().find(|line| line.starts_with("11:")).unwrap().to_owned()
}

fn set(bench: &Bench, disk: &Path, kernel: Kernel, options: &[&str]) -> Ran {
    run(bench.bootdisk().args(["kernel", "set", "-q"]).arg(disk).arg(kernel.package()).args(options))
}

#[test]
fn kernel_initramfs_and_command_line_are_one_program() {
    let bench = Bench::new(Kernel::Cloud);
    let options = ["--uki", "--no-sync", "--verify", "--cmdline", "x.y=1"];
    let disk = bench.build(image("hello-c.oci"), "hello.img", &options);
    let again = bench.build(image("hello-c.oci"), "again.img", &options);
    assert!(tools::run(Command::new("cmp").arg(&disk).arg(&again)).status.success(), "the same input, other bytes");
    e2e_disk::check(&disk);

    // What inspect says of the disk and of the file is what others take out of it.
    let program = of_esp(&bench, &disk, "EFI/Linux/bootdisk.efi");
    let found = unified(&bench, &disk);
    assert_eq!(found, unified(&bench, &program));
    let sections: Vec<(&str, PathBuf)> = MEASURED.map(|name| (name, section(&bench, &program, name))).into();
    for (name, path) in &sections {
        let listed = found["sections"].as_array().unwrap();
        let listed = listed.iter().find(|section| section["name"] == format!(".{name}")).unwrap();
        assert_eq!(listed["sha256"], e2e::sha256(path), "{name}");
    }
    let pcr = inspect(&bench, &disk, &["--pcr"]).text();
    assert_eq!(pcr.lines().next().unwrap(), calculated(&sections));
    fs::write(&sections[2].1, "x.y=2").unwrap();
    assert_ne!(pcr.lines().next().unwrap(), calculated(&sections), "another command line");

    // Kernel and initramfs for others are the sections; a machine gets them too.
    let folder = bench.path("boot");
    run(bench.bootdisk().arg("export").arg(&disk).arg("--boot-files").arg(&folder)).expect(0, "");
    assert!(fs::read(folder.join("kernel")).unwrap() == fs::read(&sections[0].1).unwrap());
    assert!(fs::read_to_string(folder.join("cmdline")).unwrap().ends_with("no_timer_check x.y=1\n"));
    for firmware in ["uefi", "direct"] {
        let ran = bench.run(&disk, &["--firmware", firmware]).expect_status(0);
        assert!(ran.text().starts_with(HELLO), "{firmware}: {}", ran.text());
    }

    // Another kernel takes the place of the old one, and BIOS starts it from inside.
    set(&bench, &disk, Kernel::Generic, &[]).expect(0, "");
    e2e_disk::check(&disk);
    assert_ne!(unified(&bench, &disk)["sha256"], found["sha256"]);
    let ran = bench.run(&disk, &["--firmware", "bios"]).expect_status(0);
    assert!(ran.text().contains(&Kernel::Generic.release()), "{}", ran.text());
}

#[test]
fn what_makes_no_unified_kernel_image_is_refused() {
    let bench = Bench::new(Kernel::Cloud);
    let stub = bench.path("stub.efi");
    let build = |options: &[&str]| {
        let mut build = bench.bootdisk();
        build.arg("build").arg(image("hello-c.oci")).arg("-o").arg(bench.path("no.img")).arg("--uki").args(options);
        run(&mut build).expect_status(1).stderr
    };
    let said = build(&["--firmware", "bios"]);
    assert!(said.contains("a unified kernel image is for UEFI") && said.contains("hint: omit --uki"), "{said}");
    let whole = fs::read("/usr/lib/systemd/boot/efi/linuxx64.efi.stub").unwrap();
    for (bytes, why) in
        [(&whole[..2000], "EFI stub ends before the end of its section .text"), (b"text", "is not an EFI program")]
    {
        fs::write(&stub, bytes).unwrap();
        let said = build(&["--efi-stub", stub.to_str().unwrap()]);
        assert!(said.contains(why) && said.contains("hint: --efi-stub takes"), "{said}");
    }
    assert!(!bench.path("no.img").exists());
}

#[test]
#[ignore = "seven boots"]
fn firmware_starts_it_without_a_loader() {
    let bench = Bench::new(Kernel::Cloud);
    for name in ["hello-c.oci", "debian.oci", "nginx.oci"] {
        for loader in [&[][..], &["--loader", "none"]] {
            let disk = bench.build(image(name), "alone.img", &[&["--uki", "--no-sync", "-q"], loader].concat());
            let command: &[&str] = if name == "hello-c.oci" { &[] } else { &["sh", "-c", "echo Hello"] };
            for firmware in ["bios", "uefi", "direct"] {
                let ran = match command {
                    [] => bench.run(&disk, &["--firmware", firmware]),
                    command => bench.run_other(&disk, &["--firmware", firmware], command),
                };
                assert!(ran.expect_status(0).text().starts_with("Hello"), "{name} {loader:?} {firmware}");
            }
        }
        let alone = bench.path("alone.img");
        let said = set(&bench, &alone, Kernel::Generic, &["--keep"]).expect_status(1).stderr;
        assert!(said.contains("no boot menu") && said.contains("hint: omit --keep"), "{said}");
        set(&bench, &alone, Kernel::Generic, &[]).expect(0, "");
        if name == "hello-c.oci" {
            let ran = bench.run(&alone, &["--firmware", "uefi"]).expect_status(0);
            assert!(ran.text().contains(&Kernel::Generic.release()), "{}", ran.text());
        }
    }
}

#[test]
#[ignore = "firmware with a TPM measures for a minute"]
fn a_tpm_measures_what_is_predicted() {
    for kernel in [Kernel::Cloud, Kernel::Generic] {
        let bench = Bench::new(kernel);
        let disk = bench.build(image("debian.oci"), "debian.img", &["--uki", "--no-sync", "-q"]);
        let state = tempfile::tempdir().unwrap();
        let socket = state.path().join("tpm");
        let mut swtpm = Command::new("swtpm")
            .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
            .arg(format!("dir={}", state.path().display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()))
            .spawn()
            .unwrap();
        let chardev = format!("socket,id=tpm,path={}", socket.display());
        let qemu = ["-chardev", &chardev, "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0"];
        let mut options = vec!["--firmware", "uefi"];
        qemu.iter().for_each(|word| options.extend(["--qemu-arg", *word]));
        let read = "cat /sys/class/tpm/tpm0/pcr-sha256/11 /sys/class/tpm/tpm0/pcr-sha384/11";
        let ran = bench.run_other(&disk, &options, &["sh", "-c", read]).expect_status(0);
        swtpm.wait().unwrap();
        let read = ran.text().to_lowercase();
        let predicted = inspect(&bench, &disk, &["--pcr"]).text();
        let predicted: Vec<&str> = predicted.lines().map(|line| line.split_once('=').unwrap().1).collect();
        assert_eq!(read.lines().collect::<Vec<_>>(), predicted[..2], "{kernel:?}");
    }
}

#[test]
#[ignore = "an emulated aarch64 machine under UEFI"]
fn aarch64_starts_one_too() {
    let bench = Bench::new(Kernel::CloudArm64);
    let loader = arm64_loader();
    let loader = loader.to_str().unwrap();
    for alone in [&[][..], &["--loader", "none"]] {
        let options = [&["--platform", "linux/arm64", "--uki", "--no-sync", "--efi-loader", loader], alone].concat();
        let disk = bench.build(image("debian-arm64.oci"), "arm.img", &options);
        let ran = bench.run_other(&disk, &["--firmware", "uefi"], &["uname", "-m"]).expect_status(0);
        assert_eq!(ran.text(), "aarch64\n");
        assert_eq!(inspect(&bench, &disk, &["--pcr"]).text().lines().count(), 3);
    }
}
