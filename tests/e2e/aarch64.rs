//! Another architecture from end to end: aarch64 images become aarch64 disks on a host that executes nothing of them,
//! and boot under UEFI and directly.

use crate::machine::server::press_power_button;
use crate::nginx::{fetch, free_port};
use crate::support::debian_archive::DebianArchive;
use crate::{e2e, e2e_disk, tools};
use e2e::{Bench, Kernel, Running, arm64_loader, image, sha256};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Types of the partitions: UEFI 2.10, table 5.7; Discoverable Partitions Specification, SD_GPT_ROOT_ARM64.
const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const ROOT_ARM64: &str = "B921B045-1DF0-41C3-AF44-4C6F280D3FAE";

fn build(bench: &Bench, image_name: &str, disk: &str) -> PathBuf {
    let loader = arm64_loader();
    bench.build(image(image_name), disk, &["--platform", "linux/arm64", "--efi-loader", loader.to_str().unwrap()])
}

#[test]
fn hello_is_on_a_disk_of_its_architecture_and_boots_under_both() {
    let bench = Bench::new(Kernel::CloudArm64);
    let disk = build(&bench, "hello-multi.oci", "hello.img");
    e2e_disk::check(&disk);
    assert_eq!(e2e_disk::guid(&disk, 1, "Partition GUID code"), ESP);
    assert_eq!(e2e_disk::guid(&disk, 2, "Partition GUID code"), ROOT_ARM64);
    let table = tools::stdout(Command::new("sgdisk").arg("-p").arg(&disk));
    assert!(!table.contains("EF02"), "a BIOS boot partition:\n{table}");
    let facts = tools::stdout(bench.bootdisk().args(["inspect", "--json"]).arg(&disk));
    assert!(facts.contains("aarch64"), "{facts}");

    let copy = bench.path("esp");
    e2e_disk::extract(&disk, e2e_disk::partition(&disk, 1), &copy);
    for (name, kind) in [("EFI/BOOT/BOOTAA64.EFI", "Aarch64"), ("bootdisk/linux", "ARM64 boot executable Image")] {
        let file = bench.path("file");
        tools::stdout(Command::new("mcopy").arg("-n").arg("-i").arg(&copy).arg(format!("::{name}")).arg(&file));
        let is = tools::stdout(Command::new("file").arg("--brief").arg(&file));
        assert!(is.contains(kind), "{name}: {is}");
        std::fs::remove_file(&file).unwrap();
    }

    let again = build(&bench, "hello-multi.oci", "again.img");
    assert_eq!(sha256(&again), sha256(&disk), "the same input gave other bytes");

    let line = format!("Hello from OS-less container (Go, Linux {} on arm64)\n", Kernel::CloudArm64.release());
    bench.run(&disk, &["--firmware", "direct"]).expect(0, &line);
    bench.run(&disk, &[]).expect(0, &line);
}

#[test]
fn a_kernel_and_a_loader_are_fetched_where_there_are_none() {
    let bench = Bench::without_kernels();
    let archive = DebianArchive::new();
    archive.add("arm64", "linux-image-cloud-arm64", "linux-image-6-cloud-arm64 (= 1)", None);
    archive.add("arm64", "linux-image-6-cloud-arm64", "", Some(&Kernel::CloudArm64.package()));
    archive.add("arm64", "systemd-boot-efi", "", Some(&arm64_loader()));
    archive.sign("Archive", "");
    let fetch = |flavour: &str| {
        let mut command = bench.bootdisk();
        command.args(["kernel", "fetch", flavour, "--arch", "aarch64", "--suite", "tiny", "--mirror", &archive.url()]);
        e2e::run(command.arg("--keyring").arg(archive.path("archive.gpg")))
    };
    let loader = bench.path("data/bootdisk/loaders/systemd-bootaa64.efi");

    let right = archive.damage("pool/systemd-boot-efi.deb");
    let refused = fetch("debian-cloud").expect(1, "");
    assert!(refused.stderr.contains("does not match the archive's signed list"), "{}", refused.stderr);
    assert_eq!(tools::stdout(bench.bootdisk().args(["kernel", "list", "--json"])).trim(), "[]");
    assert!(!loader.exists());
    std::fs::write(archive.file("pool/systemd-boot-efi.deb"), right).unwrap();
    let unknown = fetch("rt").expect(1, "");
    assert!(unknown.stderr.contains("hint: the archive has: debian-cloud"), "{}", unknown.stderr);

    let fetched = fetch("debian-cloud").expect_status(0);
    let release = Kernel::CloudArm64.release();
    assert!(
        fetched.text().contains(&format!("{release} (default for aarch64)\nsystemd-bootaa64.efi\n")),
        "{}",
        fetched.text()
    );
    assert!(
        fetched.stderr.contains("verified: the archive is signed by Archive <a@example.org>, key "),
        "{}",
        fetched.stderr
    );
    assert_eq!(sha256(&loader).len(), 64);
    let again = fetch("debian-cloud").expect_status(0);
    assert!(again.text().ends_with(" (already there)\n") && !again.stderr.contains("systemd-boot"), "{}", again.stderr);
    // Enough for a disk that boots under UEFI, as it does with the package that was given.
    let fetched = bench.build(image("hello-multi.oci"), "fetched.img", &["--platform", "linux/arm64"]);
    assert_eq!(sha256(&fetched), sha256(&build(&bench, "hello-multi.oci", "given.img")));
}

#[test]
fn a_distribution_says_what_it_runs_on() {
    let bench = Bench::new(Kernel::CloudArm64);
    let disk = build(&bench, "debian-arm64.oci", "debian.img");
    let script = ["bash", "-c", ". /etc/os-release; echo $ID $(uname -m) $(id -un) $(cat /proc/1/comm); exit 7"];
    for firmware in ["direct", "uefi"] {
        bench.run_other(&disk, &["--firmware", firmware], &script).expect(7, "debian aarch64 root bash\n");
    }
    e2e_disk::check(&disk);
}

#[test]
fn an_image_boots_directly_without_any_loader() {
    let bench = Bench::new(Kernel::CloudArm64);
    let script = ["--", "uname", "-m"];
    let boot = |firmware: &str| {
        let mut command = bench.bootdisk();
        command.args(["run", "--accel", "tcg", "--firmware", firmware, "--platform", "linux/arm64", "--efi-loader"]);
        e2e::run(command.arg(bench.path("missing.efi")).arg(image("debian-arm64.oci")).args(script))
    };
    boot("direct").expect(0, "aarch64\n");
    let refused = boot("uefi").expect(125, "");
    assert!(refused.stderr.contains("missing.efi"), "{}", refused.stderr);
}

#[test]
fn a_server_is_reached_entered_and_stopped_by_its_power_button() {
    let bench = Bench::new(Kernel::CloudArm64);
    let disk = build(&bench, "nginx-arm64.oci", "nginx.img");
    serves(&bench, &disk, "direct", |running, _| running.signal(Signal::SIGTERM));
    serves(&bench, &disk, "uefi", |_, monitor| press_power_button(monitor));
}

fn serves(bench: &Bench, disk: &Path, firmware: &str, stop: impl FnOnce(&Running, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    let monitor = folder.path().join("qmp");
    let qmp = format!("--qemu-arg=unix:{},server=on,wait=off", monitor.display());
    let port = free_port();
    let forward = format!("{port}:80");
    let options = ["--firmware", firmware, "--name", firmware, "-p", &forward, "--qemu-arg=-qmp", &qmp];
    let mut running = Running::start(&mut bench.run_command(disk, &options));
    let page = fetch(&mut running, &format!("http://127.0.0.1:{port}/"));
    let exec = page.is_some().then(|| {
        let mut exec = bench.bootdisk();
        exec.args(["exec", firmware, "--", "sh", "-c", "uname -m; exit 3"]);
        e2e::run(&mut exec)
    });
    stop(&running, &monitor);
    let ran = running.finish();
    assert_eq!(page.as_deref(), Some("a page from another architecture\n"), "{}\n{}", ran.text(), ran.stderr);
    exec.unwrap().expect(3, "aarch64\n");
    let text = ran.expect_status(0).text();
    assert!(text.contains("\"GET / HTTP/1.1\" 200"), "the access log is on standard output:\n{text}");
}

#[test]
fn a_kernel_of_another_architecture_is_refused_and_both_are_named() {
    let bench = Bench::without_kernels();
    let disk = bench.path("never.img");
    for (platform, kernel, says) in [
        ("linux/arm64", Kernel::Cloud, "architecture of the kernel is x86_64, of the image aarch64"),
        ("linux/amd64", Kernel::CloudArm64, "architecture of the kernel is aarch64, of the image x86_64"),
    ] {
        let mut build = bench.bootdisk();
        build.arg("build").arg(image("hello-multi.oci")).arg("-o").arg(&disk);
        build.args(["--platform", platform]).arg("--kernel").arg(kernel.package());
        let ran = e2e::run(&mut build).expect(1, "");
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
        assert!(!disk.exists(), "a disk was made all the same");
    }
}

#[test]
fn a_loader_in_a_package_must_be_for_the_disk() {
    let bench = Bench::new(Kernel::CloudArm64);
    let kernel = Kernel::CloudArm64.package();
    for (loader, says) in [
        (kernel.as_path(), "is a package without systemd-boot for this architecture"),
        (Path::new("/usr/lib/systemd/boot/efi/systemd-bootx64.efi"), "is for another architecture"),
    ] {
        let mut build = bench.bootdisk();
        build.arg("build").arg(image("hello-multi.oci")).arg("-o").arg(bench.path("never.img"));
        build.args(["--platform", "linux/arm64", "--efi-loader"]).arg(loader);
        let ran = e2e::run(&mut build).expect(1, "");
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
}
