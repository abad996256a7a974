//! One disk, every bus: the root is found by its partition's GUID, wherever it is. And the other network card. What the
//! other tests boot is on virtio-blk, under both firmwares; OVMF is slow without KVM, so most buses meet it with
//! `BOOTDISK_TEST_FULL` alone.

use crate::{busybox, e2e};
use e2e::{Bench, Kernel, image};

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
