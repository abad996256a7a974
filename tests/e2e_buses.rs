//! One disk, every bus and both firmwares: the root is found by its partition's GUID, wherever it is.

#[path = "support/e2e.rs"]
mod e2e;

use e2e::{Bench, Kernel, image};

/// Boots the hello image from a bus under BIOS and under UEFI.
fn boots_from(bus: &str, kernel: Kernel) {
    let bench = Bench::new(kernel);
    let disk = bench.build(image("hello-c.oci"), "hello.img", &[]);
    let line = format!("Hello from OS-less container (C, Linux {} on x86_64)\n", kernel.release());
    for firmware in ["bios", "uefi"] {
        println!("{bus}, {firmware}");
        bench.run(&disk, &["--bus", bus, "--firmware", firmware]).expect(0, &line);
    }
}

#[test]
fn virtio_blk() {
    boots_from("virtio", Kernel::Cloud);
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
