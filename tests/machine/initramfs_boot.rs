//! The initramfs as others read it: GNU cpio, and the kernels that unpack it and load its modules in order.

use crate::support::{kernels, tools};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use bootdisk::boot::initramfs;
use bootdisk::kernel::modules::{Selection, select};
use bootdisk::kernel::{Bundle, Packing};

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn archive(init: &[u8], (bundle, selection): (&Bundle, &Selection), packing: Packing) -> Vec<u8> {
    let bodies = selection.read(bundle).unwrap();
    initramfs::write(init, b"{\"version\":1}", &initramfs::module_files(selection, &bodies), packing).unwrap()
}

/// Runs GNU cpio on an archive in `dir`: whether it was content, and what it printed.
fn cpio(dir: &Path, args: &[&str], archive: &[u8]) -> (bool, String) {
    let file = dir.join("archive.cpio");
    fs::write(&file, archive).unwrap();
    let output = tools::run(Command::new("cpio").args(args).current_dir(dir).stdin(fs::File::open(&file).unwrap()));
    let complained = String::from_utf8_lossy(&output.stderr)
        .lines()
        .any(|line| !line.ends_with("blocks") && !line.ends_with("block"));
    (output.status.success() && !complained, String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn gnu_cpio_lists_and_unpacks_every_file() {
    let dir = temporary();
    let bundle = Bundle::open(&kernels::package("cloud"), None).unwrap();
    let selection = select(&bundle).unwrap();
    let bytes = archive(b"#!/bin/true\n", (&bundle, &selection), Packing::None);
    assert!(bytes == archive(b"#!/bin/true\n", (&bundle, &selection), Packing::None), "same input, same bytes");

    let (ok, names) = cpio(dir.path(), &["-t"], &bytes);
    assert!(ok, "{names}");
    let mut names: Vec<&str> = names.lines().collect();
    for name in ["init", "boot-spec.json", "dev/console", "dev/null", "proc", "sys", "lib/modules"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "each name once");
    let (_, long) = cpio(dir.path(), &["-tv", "--numeric-uid-gid"], &bytes);
    let line = |name: &str| long.lines().find(|line| line.ends_with(&format!(" {name}"))).unwrap().to_owned();
    assert!(line("dev/console").starts_with("crw-------   1 0        0          5,   1 Jan  1  1970"), "{long}");
    assert!(line("init").starts_with("-rwxr-xr-x   1 0        0              12 Jan  1  1970"), "{long}");

    // Device nodes need root: everything else is unpacked.
    let (ok, text) = cpio(dir.path(), &["-idm", "-f", "dev/*"], &bytes);
    assert!(ok, "{text}");
    assert_eq!(fs::read(dir.path().join("init")).unwrap(), b"#!/bin/true\n");
    assert_eq!(fs::read(dir.path().join("boot-spec.json")).unwrap(), b"{\"version\":1}");
    for (module, bytes) in selection.modules.iter().zip(selection.read(&bundle).unwrap()) {
        assert!(fs::read(dir.path().join(&module.spec.file[1..])).unwrap() == *bytes, "{}", module.spec.file);
    }

    // The oracle sees damage: a header's magic, a size.
    for at in [0, 110 + 4 + 54 + 7] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(!cpio(dir.path(), &["-t"], &damaged).0, "damage at {at}");
    }
}

/// PID 1 of the test: loads the modules in the order given, then says what there is.
const INIT: &str = r#"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>
static const char *modules[] = { MODULES 0 };
int main(void) {
    struct stat s;
    /* Descriptor 1 is /dev/console of the archive, or nobody reads this. */
    printf("BOOT console %d\n", fstat(1, &s) == 0 && S_ISCHR(s.st_mode));
    printf("BOOT spec %d\n", stat("/boot-spec.json", &s) == 0 ? (int)s.st_size : -1);
    for (const char **m = modules; *m; m++) {
        int fd = open(*m, O_RDONLY | O_CLOEXEC);
        int failed = fd < 0 || syscall(SYS_finit_module, fd, "", 0) != 0;
        printf("BOOT module %s %s\n", failed ? strerror(errno) : "ok", *m);
        close(fd);
    }
    mount("proc", "/proc", "proc", 0, 0);
    mount("sys", "/sys", "sysfs", 0, 0);
    printf("BOOT devtmpfs %d\n", mount("dev", "/dev", "devtmpfs", 0, 0));
    /* Not /sys/class/block: it has NVMe's hidden paths, too, which are no disks. */
    char line[256];
    FILE *f;
    for (int i = 0, n = 0; i < 600 && n < DISKS; i++) {
        if (i) usleep(100000);
        f = fopen("/proc/partitions", "r");
        for (n = 0; f && fgets(line, sizeof line, f); ) n += line[0] == ' ';
        if (f) fclose(f);
    }
    f = fopen("/proc/partitions", "r");
    while (f && fgets(line, sizeof line, f)) printf("BOOT disk %s", line);
    if (f) fclose(f);
    f = fopen("/proc/filesystems", "r");
    while (f && fgets(line, sizeof line, f)) printf("BOOT fs %s", line);
    DIR *d = opendir("/sys/class/net");
    for (struct dirent *e; d && (e = readdir(d)); ) printf("BOOT net %s\n", e->d_name);
    /* The host gives a port its name by a message of its own. */
    for (int i = 0, n = 0; i < 600 && !n; i++) {
        if (i) usleep(100000);
        d = opendir("/sys/class/virtio-ports");
        for (struct dirent *e; d && (e = readdir(d)); ) {
            snprintf(line, sizeof line, "/sys/class/virtio-ports/%.200s/name", e->d_name);
            f = fopen(line, "r");
            if (f && fgets(line, sizeof line, f)) n += printf("BOOT port %s", line);
            if (f) fclose(f);
        }
        if (d) closedir(d);
    }
    printf("BOOT end\n");
    fflush(stdout);
    tcdrain(1);
    reboot(RB_POWER_OFF);
}
"#;

fn compile_init(dir: &Path, selection: &Selection, disks: usize) -> Vec<u8> {
    let list: String = selection.modules.iter().map(|module| format!("{:?}, ", module.spec.file)).collect();
    let source = dir.join("init.c");
    let text = INIT.replace("MODULES", &list).replace("DISKS", &disks.to_string());
    fs::write(&source, text).unwrap();
    let program = dir.join("init");
    tools::stdout(Command::new("gcc").args(["-static", "-O1", "-o"]).arg(&program).arg(&source));
    fs::read(program).unwrap()
}

/// One disk on each bus, told apart by its size in MiB.
const BUSES: [(&str, u64, &[&str]); 6] = [
    ("virtio-blk", 11, &["-device", "virtio-blk-pci,drive=d11"]),
    ("virtio-scsi", 12, &["-device", "virtio-scsi-pci,id=s", "-device", "scsi-hd,bus=s.0,drive=d12"]),
    ("nvme", 13, &["-device", "nvme,serial=x,drive=d13"]),
    ("ahci", 14, &["-device", "ahci,id=a", "-device", "ide-hd,bus=a.0,drive=d14"]),
    ("ide", 15, &["-device", "ide-hd,bus=ide.0,drive=d15"]),
    ("usb", 16, &["-device", "qemu-xhci,id=u", "-device", "usb-storage,bus=u.0,drive=d16"]),
];

/// Boots a kernel with the initramfs and everything attached; the lines that PID 1 said.
fn boot(flavour: &str, packing: Packing) -> (Selection, Vec<String>) {
    let dir = temporary();
    let bundle = Bundle::open(&kernels::package(flavour), None).unwrap();
    let selection = select(&bundle).unwrap();
    assert!(!selection.modules.is_empty());
    let disks = if flavour == "cloud" { 4 } else { 6 };
    let init = compile_init(dir.path(), &selection, disks);
    let (kernel, initrd) = (dir.path().join("kernel"), dir.path().join("initrd"));
    fs::write(&kernel, bundle.boot.read().unwrap()).unwrap();
    fs::write(&initrd, archive(&init, (&bundle, &selection), packing)).unwrap();

    let mut qemu = Command::new("timeout");
    qemu.args(["-k", "5", "150", "qemu-system-x86_64", "-accel", "tcg", "-machine", "pc", "-m", "512", "-nodefaults"]);
    qemu.args(["-display", "none", "-no-reboot", "-serial", "stdio", "-append", "console=ttyS0 panic=-1 quiet"]);
    qemu.arg("-kernel").arg(&kernel).arg("-initrd").arg(&initrd);
    for (_, size, args) in BUSES {
        let image = dir.path().join(size.to_string());
        fs::File::create(&image).unwrap().set_len(size << 20).unwrap();
        let node =
            format!(r#"{{"driver":"raw","node-name":"d{size}","file":{{"driver":"file","filename":{:?}}}}}"#, image);
        qemu.args(["-blockdev", &node]).args(args);
    }
    qemu.args(["-device", "virtio-serial-pci", "-device", "virtserialport,name=org.bootdisk.0"]);
    qemu.args(["-device", "virtio-net-pci,romfile=", "-device", "e1000,romfile=", "-device", "virtio-rng-pci"]);
    let output = tools::run(qemu.stdin(Stdio::null()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = text.lines().filter_map(|line| line.split_once("BOOT ")).map(|(_, said)| said.trim_end().to_owned());
    let said: Vec<String> = said.collect();
    assert_eq!(said.last().map(String::as_str), Some("end"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    (selection, said)
}

fn check_boot(flavour: &str, packing: Packing) {
    let (selection, said) = boot(flavour, packing);
    let has = |line: &str| assert!(said.iter().any(|other| other == line), "{line}: {said:#?}");
    has("console 1");
    has("spec 13");
    has("devtmpfs 0");
    has("port org.bootdisk.0");
    has("fs \text4");
    has("fs nodev\toverlay");
    let modules: Vec<&String> = said.iter().filter(|line| line.starts_with("module ")).collect();
    assert_eq!(modules.len(), selection.modules.len());
    // Without Hyper-V its bus is not there, and what is named by it is missing.
    let of_hyperv = |line: &str| {
        let bus = "hv_vmbus".to_owned();
        selection.modules.iter().any(|module| line.ends_with(&module.spec.file) && module.spec.depends.contains(&bus))
    };
    for line in modules {
        // A driver for hardware this machine lacks may refuse; a module out of order or damaged says otherwise.
        let other = ["crc32c-intel.ko", "pvpanic", "hv_vmbus.ko", "xen-", "efivarfs.ko"];
        let refuses = (line.contains("No such device") && other.iter().any(|part| line.contains(part)))
            || (line.contains("No such file or directory") && of_hyperv(line));
        assert!(line.starts_with("module ok ") || refuses, "{line}");
    }
    for (bus, size, _) in BUSES {
        let blocks = format!(" {} ", size << 10);
        let there = said.iter().any(|line| line.starts_with("disk ") && line.contains(&blocks));
        assert_eq!(there, flavour != "cloud" || !["ahci", "usb"].contains(&bus), "{bus}: {said:#?}");
    }
    let cards =
        said.iter().filter(|line| line.starts_with("net ") && !line.contains("net .") && *line != "net lo").count();
    assert_eq!(cards, if flavour == "cloud" { 1 } else { 2 }, "{said:#?}");
}

/// What cannot be booted here: depmod says what each module is for and what it needs.
#[test]
fn drivers_of_hypervisors_and_clouds_are_there_after_what_they_need() {
    let dir = temporary();
    let bundle = Bundle::open(&kernels::package("cloud"), None).unwrap();
    let selection = select(&bundle).unwrap();
    tools::stdout(Command::new("dpkg-deb").arg("-x").arg(kernels::package("cloud")).arg(dir.path()));
    // Debian's kmod looks for modules in /lib, where its own package has them.
    tools::stdout(Command::new("depmod").arg("-b").arg(dir.path()).arg(&bundle.release));
    let tables = dir.path().join("lib/modules").join(&bundle.release);
    let stem = |path: &str| path.rsplit('/').next().unwrap().trim_end_matches(".ko").replace('-', "_");

    let dep = fs::read_to_string(tables.join("modules.dep")).unwrap();
    let places: Vec<&str> = selection.modules.iter().map(|module| module.spec.name.as_str()).collect();
    let place = |name: &str| places.iter().position(|other| *other == name);
    for (path, needed) in dep.lines().filter_map(|line| line.split_once(':')) {
        let Some(at) = place(&stem(path)) else { continue };
        for needed in needed.split_ascii_whitespace().map(stem) {
            assert!(place(&needed).is_some_and(|before| before < at), "{path} needs {needed}: {places:?}");
        }
    }

    let devices = [
        ("acpi:VMBUS:", "hv_vmbus"),
        // Disks, network and PCI pass-through, as Hyper-V names their classes.
        ("vmbus:d96361baa104294db60572e2ffb1dc7f", "hv_storvsc"),
        ("vmbus:32264132cb86a2449b5c50d1417354f5", "hv_storvsc"),
        ("vmbus:635161f83edfc546913ff2d2f965ed0e", "hv_netvsc"),
        ("vmbus:1df6c444444400449d52802e27ede19f", "pci_hyperv"),
        ("xen:vbd", "xen_blkfront"),
        ("xen:vif", "xen_netfront"),
        ("pci:v00001D0Fd0000EC20sv00000000sd00000000bc02sc00i00", "ena"),
        ("pci:v00001AE0d00000042sv00001AE0sd00000058bc02sc00i00", "gve"),
        ("pci:v00001414d000000BAsv00001414sd000000BAbc02sc00i00", "mana"),
    ];
    for (alias, module) in devices {
        let found = tools::stdout(Command::new("modprobe").arg("-d").arg(dir.path()).args([
            "-S",
            &bundle.release,
            "-R",
            alias,
        ]));
        assert!(found.lines().any(|name| name.replace('-', "_") == module), "{alias}: {found}");
        assert!(place(module).is_some(), "{module}: {places:?}");
    }
}

#[test]
fn debians_cloud_kernel_loads_every_module_and_finds_its_disks() {
    check_boot("cloud", Packing::Zstd);
}

#[test]
fn debians_generic_kernel_loads_every_module_and_finds_its_disks() {
    check_boot("generic", Packing::None);
}
