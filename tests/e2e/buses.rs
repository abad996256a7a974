//! One disk, every bus: the root is found by its partition's GUID, wherever it is. And the other network card. What the
//! other tests boot is on virtio-blk, under both firmwares; OVMF is slow without KVM, so most buses meet it with
//! `BOOTDISK_TEST_FULL` alone.

use crate::{busybox, e2e, e2e_disk};
use e2e::{Bench, Kernel, image, run};

/// Boots the hello image from a bus.
fn boots_from(bus: &str, kernel: Kernel) {
    let bench = Bench::new(kernel);
    let disk = bench.build(image("hello-c.oci"), "hello.img", &[]);
    let line = format!("Hello from OS-less container (C, Linux {} on x86_64)\n", kernel.release());
    let full = std::env::var_os("BOOTDISK_TEST_FULL").is_some();
    let firmwares: &[&str] = if full || bus == "nvme" { &["bios", "uefi"] } else { &["bios"] };
    for firmware in firmwares {
        println!("{bus}, {firmware}");
        bench.run(&disk, &["--bus", bus, "--firmware", firmware]).expect(0, &line);
    }
}

#[test]
fn nvme() {
    boots_from("nvme", Kernel::Cloud);
}

#[test]
fn virtio_scsi() {
    boots_from("scsi", Kernel::Cloud);
}

#[test]
fn ide() {
    boots_from("ide", Kernel::Cloud);
}

/// Debian's cloud kernel has no AHCI driver.
#[test]
fn ahci() {
    boots_from("ahci", Kernel::Generic);
}

/// Nor has it USB.
#[test]
fn usb() {
    boots_from("usb", Kernel::Generic);
}

/// Nor a driver for the card that QEMU's machines had for long.
#[test]
fn e1000() {
    let bench = Bench::new(Kernel::Generic);
    let image = busybox::archive(bench.path("image").parent().unwrap());
    let script =
        "readlink /sys/class/net/eth0/device/driver | grep -o '[^/]*$'; ip -4 addr show eth0 | grep -o 'inet [0-9./]*'";
    bench
        .run_other(&image, &["--nic", "e1000", "--wait-online"], &["sh", "-c", script])
        .expect(0, "e1000\ninet 10.0.2.15/24\n");
}

/// Controllers of real machines, as QEMU's devices: what SeaBIOS starts a disk from.
const METAL: [(&str, &[&str]); 4] = [
    ("megasas", &["megasas,id=c", "scsi-hd,bus=c.0,drive=disk,bootindex=0"]),
    ("sd-card", &["sdhci-pci", "sd-card,drive=disk"]),
    ("lsi53c895a", &["lsi53c895a,id=c", "scsi-hd,bus=c.0,drive=disk,bootindex=0"]),
    ("uas", &["usb-ehci", "usb-uas,id=c", "scsi-hd,bus=c.0,drive=disk,bootindex=0"]),
];

/// One boot of each kind of controller that only real machines have, where all are asked for; the first always. A disk
/// that is made for them keeps them with another kernel, and a kernel says where it finds its disk.
#[test]
fn what_real_machines_have_is_driven_on_request() {
    let bench = Bench::new(Kernel::Generic);
    // An SD card has a power of two.
    let disk = bench.build(image("hello-c.oci"), "metal.img", &["--drivers", "all", "--size", "512M"]);
    let set = ["kernel", "set", "-q"];
    run(bench.bootdisk().args(set).arg(&disk).arg(Kernel::Generic.package())).expect(0, "");
    let full = std::env::var_os("BOOTDISK_TEST_FULL").is_some();
    for (name, devices) in METAL.iter().take(if full { METAL.len() } else { 1 }) {
        let drive = format!("if=none,id=disk,format=raw,file={}", disk.display());
        let devices: Vec<&str> = devices.iter().flat_map(|device| ["-device", *device]).collect();
        let said = e2e_disk::started_by_qemu(&drive, &devices);
        assert!(said.contains("Hello from OS-less container"), "{name}:\n{said}");
    }

    let boots_on = |kernel: Kernel| {
        let said = run(bench.bootdisk().args(["kernel", "check"]).arg(kernel.package())).expect_status(0).text();
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let generic = "boots on QEMU yes, VMware yes, Hyper-V yes, Xen yes, EC2 yes, USB yes";
    assert!(boots_on(Kernel::Generic).contains(generic), "{}", boots_on(Kernel::Generic));
    let cloud = "boots on QEMU yes, VMware yes, Hyper-V yes, Xen yes, EC2 yes, USB no (usb_storage, xhci_pci)";
    assert!(boots_on(Kernel::Cloud).contains(cloud), "{}", boots_on(Kernel::Cloud));
}
