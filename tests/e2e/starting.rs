//! Before a machine starts, and when it never gets to PID 1: what is known is said, and nobody waits for nothing.

use crate::{busybox, e2e, e2e_disk, tools};
use e2e::{Bench, Kernel, Ran, Running, run};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

fn archive(bench: &Bench) -> PathBuf {
    busybox::archive(bench.path("image").parent().unwrap())
}

/// A QEMU that ends at once, and what is said once it was started.
fn tripwire(bench: &Bench) -> (String, &'static str) {
    let program = bench.path("qemu");
    tools::program(&program, b"#!/bin/sh\nexit 9\n", 0o755);
    (program.to_str().unwrap().to_owned(), "QEMU did not start (exit status: 9)")
}

#[test]
fn what_cannot_start_is_refused_before_there_is_a_machine() {
    let bench = Bench::new(Kernel::Cloud);
    let image = archive(&bench);
    let both = bench.build(&image, "both.img", &[]);
    let bios = bench.build(&image, "bios.img", &["--firmware", "bios"]);
    let uefi = bench.build(&image, "uefi.img", &["--firmware", "uefi"]);
    let init = bench.build(e2e::image("hello-c.oci"), "init.img", &["--init", "image"]);
    let (qemu, started) = tripwire(&bench);
    type Row<'a> = (&'a Path, &'a [&'a str], &'a str);
    let rows: [Row; 12] = [
        (&both, &["-m", "64m"], "too little memory: 64 MiB"),
        (&both, &["-m", "128m", "--firmware", "uefi"], "MiB to start under UEFI"),
        (&both, &["-m", "64m", "--firmware", "direct"], "too little memory: 64 MiB"),
        (&uefi, &["--firmware", "bios"], "the disk has no boot stage for BIOS"),
        (&bios, &["--firmware", "uefi"], "the disk has no boot loader for UEFI"),
        (&both, &["--bus", "ahci"], "the disk's kernel does not drive ahci"),
        (&both, &["--nic", "e1000"], "the disk's kernel does not drive e1000"),
        (&both, &["-p", "18080:80", "-p", "18080:81"], "host port is forwarded twice: 127.0.0.1:18080:80"),
        (&both, &["--user", "nobody"], "no such user in the image's /etc/passwd: nobody"),
        (&both, &["--user", "0:wheel"], "no such group in the image's /etc/group: 0:wheel"),
        (&both, &["--entrypoint", ""], "the image names no command to start"),
        (&init, &[], "the image has no init of its own"),
    ];
    for (disk, options, says) in rows {
        let ran = bench.run(disk, &[options, &["--qemu", &qemu]].concat()).expect_status(125);
        assert!(ran.stderr.contains(says) && ran.stderr.contains("\nhint: "), "{options:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains(started), "{options:?}: {}", ran.stderr);
    }
    // A card that nobody asked for is not missed, and what fits is started.
    let fits = run(&mut bench.run_command(&both, &["--qemu", &qemu, "-m", "256m"])).expect_status(125);
    assert!(fits.stderr.contains(started), "{}", fits.stderr);

    let test = |options: &[&str]| run(bench.bootdisk().args(["test", "--accel", "tcg", "--qemu", &qemu]).args(options));
    for (options, says) in [
        (["-m", "64m", both.to_str().unwrap()], "too little memory: 64 MiB"),
        (["-m", "64m", bios.to_str().unwrap()], "too little memory: 64 MiB"),
    ] {
        let ran = test(&options).expect_status(125);
        assert!(ran.text().contains(says) && !ran.text().contains(started), "{}", ran.text());
    }
}

#[test]
fn a_build_warns_of_what_its_image_cannot_start() {
    let bench = Bench::new(Kernel::Cloud);
    let image = archive(&bench);
    for (options, says) in [
        (&["--user", "nobody"][..], "warning: no such user in the image's /etc/passwd: nobody"),
        (&["--user", "1000"], ""),
        (&["--stop-signal", "SIGFOO"], "warning: the stop signal is not a signal, and SIGTERM will be used: SIGFOO"),
        (&["--entrypoint", ""], "warning: the image names no command to start"),
        (&["--init", "image"], ""),
    ] {
        let build = |disk: &Path| run(bench.bootdisk().arg("build").arg(&image).arg("-o").arg(disk).args(options));
        let said = build(&bench.path("disk.img")).expect_status(0).stderr;
        assert_eq!(said.contains("warning: "), !says.is_empty(), "{options:?}: {said}");
        assert!(said.contains(says), "{options:?}: {said}");
    }
    // Busybox is an init too, a single program is not.
    let hello = e2e::image("hello-c.oci");
    let ran =
        run(bench.bootdisk().arg("build").arg(hello).arg("-o").arg(bench.path("disk.img")).args(["--init", "image"]));
    assert!(ran.stderr.contains("warning: the image has no init of its own"), "{}", ran.stderr);
}

/// Puts other bytes in the place of a partition's first bytes that are these.
fn replace(disk: &Path, partition: u32, old: &[u8], new: &[u8]) {
    let slice = e2e_disk::partition(disk, partition);
    let mut bytes = vec![0; slice.length as usize];
    let file = File::options().read(true).write(true).open(disk).unwrap();
    file.read_exact_at(&mut bytes, slice.start).unwrap();
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    file.write_all_at(new, slice.start + at as u64).unwrap();
}

#[track_caller]
fn gave_up(ran: Ran, says: &str) {
    let ran = ran.expect_status(125);
    assert!(
        ran.stderr.contains("error: the machine did not get to PID 1; ") && ran.stderr.contains(says),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("\nhint: "), "{}", ran.stderr);
}

/// None of these machines would ever end by itself.
#[test]
fn a_machine_that_never_gets_to_pid_1_ends_with_its_last_words() {
    let bench = Bench::new(Kernel::Cloud);
    let image = archive(&bench);
    let disk = bench.build(&image, "disk.img", &[]);
    let copy = |name: &str| {
        fs::copy(&disk, bench.path(name)).unwrap();
        bench.path(name)
    };
    // SeaBIOS finds no boot sector.
    let unsigned = copy("unsigned.img");
    File::options().write(true).open(&unsigned).unwrap().write_all_at(&[0, 0], 510).unwrap();
    gave_up(bench.run(&unsigned, &[]), "the firmware says: Boot failed: not a bootable disk");
    let tested = run(bench.bootdisk().args(["test", "--accel", "tcg"]).arg(&unsigned)).expect_status(1);
    assert!(tested.text().contains("Boot failed: not a bootable disk"), "{}", tested.text());
    // Our own stage finds another kernel than it knows.
    let stale = copy("stale.img");
    replace(&stale, e2e_disk::ESP, b"HdrS", b"HdrX");
    gave_up(bench.run(&stale, &[]), "the boot files were changed after this disk was built");
    // UEFI finds a loader that is none, and ends in its shell.
    let no_loader = copy("no-loader.img");
    replace(&no_loader, e2e_disk::ESP, b"This program cannot be run in DOS mode", &[0; 38]);
    let loader = run(Command::new("mcopy")
        .arg("-i")
        .arg(format!("{}@@{}", no_loader.display(), e2e_disk::partition(&no_loader, e2e_disk::ESP).start))
        .args(["-o", "/etc/passwd", "::/EFI/BOOT/BOOTX64.EFI"]));
    loader.expect_status(0);
    gave_up(bench.run(&no_loader, &["--firmware", "uefi"]), "the firmware says: BdsDxe: failed to load Boot0001");
}

/// A file system of its own with so many MiB, gone with the value.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf, mebibytes: u32) -> Small {
        fs::create_dir(&path).unwrap();
        let options = format!("size={mebibytes}m");
        tools::stdout(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path));
        Small(path)
    }

    fn grow(&self, mebibytes: u32) {
        let options = format!("remount,size={mebibytes}m");
        tools::stdout(Command::new("mount").args(["-o", &options]).arg(&self.0));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Writes 48 MiB and reads them back.
const WRITES: &str = "dd if=/dev/zero bs=1M count=48 2>/dev/null | tr '\\0' x > /data/much && sync && \
    echo 3 > /proc/sys/vm/drop_caches; tr -d x < /data/much | wc -c; wc -c < /data/much";

/// Waits for a line in a growing file.
fn wait_for_line(file: &Path, words: &str) {
    let begun = std::time::Instant::now();
    while !fs::read_to_string(file).unwrap_or_default().contains(words) {
        assert!(begun.elapsed() < e2e::PATIENCE, "{words}: {}", fs::read_to_string(file).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The disk itself, and the temporary overlay.
#[test]
fn a_full_host_is_told_at_once_and_nothing_is_lost_once_there_is_space() {
    let bench = Bench::new(Kernel::Cloud);
    let image = archive(&bench);
    let small = Small::mount(bench.path("small"), 60);
    let disk = bench.build(&image, "small/disk.img", &[]);
    let elsewhere = bench.build(&image, "disk.img", &[]);
    for (disk, options, what) in [(&disk, &["--write"][..], "the disk"), (&elsewhere, &[], "the temporary overlay")] {
        let taken = String::from_utf8(fs::read("/proc/self/mounts").unwrap()).unwrap();
        assert!(taken.contains("small"), "{taken}");
        small.grow(if what == "the disk" { 60 } else { 90 });
        let script = format!("{} 2>{}", "exec \"$@\"", bench.path("said").display());
        let mut inner = bench.run_command(disk, options);
        inner.arg("--").args(["sh", "-c", WRITES]);
        let mut shell = bench.at_home("sh");
        shell.args(["-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
        shell.env("TMPDIR", bench.path("small"));
        let running = Running::start(&mut shell);
        wait_for_line(&bench.path("said"), &format!("error: the host has no space left for {what} in "));
        assert!(fs::read_to_string(bench.path("said")).unwrap().contains("hint: df -h "));
        small.grow(400);
        running.finish().expect(0, "0\n50331648\n");
    }
    e2e_disk::check(&disk);
    drop(small);
}

/// A number of `/proc/PID/status`.
fn status_of(pid: &str, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().to_owned()
}

/// Every machine of ours has the filter, and root's QEMU is somebody else, whatever starts the kernel.
#[test]
fn qemu_is_fenced_in_and_is_not_root() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(archive(&bench), "disk.img", &[]);
    let root = nix::unistd::geteuid().is_root();
    for (options, own) in [
        (&["--firmware", "direct"][..], false),
        (&["--firmware", "uefi", "--write"], false),
        // What keeps the guest from the host's loopback is a filter of its own.
        (&["--qemu-arg", "-sandbox", "--qemu-arg", "off", "--host-loopback"], true),
    ] {
        let mut run_it = bench.run_command(&disk, &[options, &["-d", "--name", "fenced"]].concat());
        run(run_it.arg("--").args(["sleep", "1000"])).expect(0, "fenced\n");
        let listed = run(bench.bootdisk().args(["ps", "--json"])).expect_status(0).text();
        let machines: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let pid = machines[0]["pid"].as_u64().unwrap();
        let qemu = tools::stdout(Command::new("pgrep").args(["-P", &pid.to_string(), "qemu"])).trim().to_owned();
        let filter = status_of(&qemu, "Seccomp");
        assert_eq!((filter.as_str(), status_of(&qemu, "Uid") != "0"), if own { ("0", !root) } else { ("2", true) });
        if !own {
            assert_eq!(status_of(&qemu, "NoNewPrivs"), "1");
            assert_eq!(status_of(&qemu, "CapEff"), "0000000000000000");
        }
        run(bench.bootdisk().args(["exec", "fenced", "--", "echo", "in"])).expect(0, "in\n");
        run(bench.bootdisk().args(["stop", "--timeout", "0", "fenced"])).expect_status(0);
    }
}

#[test]
fn a_workload_that_resets_its_machine_is_told_apart_from_a_kernel_that_panics() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(archive(&bench), "disk.img", &[]);
    for (key, words) in [("b", "the guest reset the machine"), ("c", "the guest's kernel panicked: Kernel panic")] {
        let script = format!("echo {key} > /proc/sysrq-trigger; sleep 100");
        let said = bench.run_other(&disk, &[], &["sh", "-c", &script]).expect(125, "").stderr;
        assert!(said.contains(words), "{key}: {said}");
    }
}
