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
const METAL: [(&str, &[&str]); 5] = [
    ("megasas", &["megasas,id=c", "scsi-hd,bus=c.0,drive=disk,bootindex=0"]),
    ("sd-card", &["sdhci-pci", "sd-card,drive=disk"]),
    ("lsi53c895a", &["lsi53c895a,id=c", "scsi-hd,bus=c.0,drive=disk,bootindex=0"]),
    // QEMU's controller says nothing of a disk without a name of its own.
    ("mptsas1068", &["mptsas1068,id=c", "scsi-hd,bus=c.0,drive=disk,bootindex=0,wwn=0x5000c50015ea71ad"]),
    ("uas", &["usb-ehci", "usb-uas,id=c", "scsi-hd,bus=c.0,drive=disk,bootindex=0"]),
];

/// Network cards, as QEMU's devices, and the drivers that take them.
const CARDS: [(&str, &str); 5] = [
    ("e1000", "e1000"),
    ("e1000e", "e1000e"),
    ("rtl8139", "8139cp"),
    ("vmxnet3", "vmxnet3"),
    ("virtio-net-pci", "virtio_net"),
];

/// Asks for an address on each card, one after the other.
const ASK: &str = r#"echo hello; for card in /sys/class/net/eth*; do
    name=${card##*/}; driver=$(readlink $card/device/driver); ip link set $name up
    echo "${driver##*/}: $(udhcpc -n -q -t 20 -i $name -s /bin/true 2>&1 | grep -o 'lease of [0-9.]*')"; done"#;

/// One boot of each kind of controller that only real machines have, where all are asked for; the first always, with every
/// card, each on a network of its own. A disk that is made for them keeps them with another kernel, and a kernel says where
/// it finds its disk.
#[test]
fn what_real_machines_have_is_driven_on_request() {
    let bench = Bench::new(Kernel::Generic);
    let asking = bench.path("asking.tar");
    std::fs::write(&asking, busybox::image().cmd(&["/bin/sh", "-c", ASK]).oci_archive()).unwrap();
    // An SD card has a power of two.
    let disk = bench.build(&asking, "metal.img", &["--drivers", "all", "--size", "512M"]);
    let set = ["kernel", "set", "-q"];
    run(bench.bootdisk().args(set).arg(&disk).arg(Kernel::Generic.package())).expect(0, "");
    let full = std::env::var_os("BOOTDISK_TEST_FULL").is_some();
    for (at, (name, devices)) in METAL.iter().take(if full { METAL.len() } else { 1 }).enumerate() {
        let drive = format!("if=none,id=disk,format=raw,file={}", disk.display());
        let mut options: Vec<String> = devices.iter().flat_map(|device| ["-device".into(), (*device).into()]).collect();
        let cards = if at == 0 { &CARDS[..] } else { &[] };
        for (number, (card, _)) in cards.iter().enumerate() {
            options.extend(["-netdev".into(), format!("user,id=n{number},net=10.1.{number}.0/24")]);
            options.extend(["-device".into(), format!("{card},netdev=n{number},romfile=")]);
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let said = e2e_disk::started_by_qemu(&drive, &options);
        assert!(said.contains("hello"), "{name}:\n{said}");
        for (number, (_, driver)) in cards.iter().enumerate() {
            let lease = format!("{driver}: lease of 10.1.{number}.15");
            assert!(said.contains(&lease), "{lease}:\n{said}");
        }
    }

    // What the disk says of its kernel is what the new one can do, and no machine is started that it does not drive.
    let other = bench.path("other.img");
    std::fs::copy(&disk, &other).unwrap();
    run(bench.bootdisk().args(set).arg(&other).arg(Kernel::Cloud.package())).expect(0, "");
    for (disk, words) in [(&disk, "USB yes"), (&other, "USB no (usb_storage, xhci_pci)")] {
        let said = run(bench.bootdisk().arg("inspect").arg(disk)).expect_status(0).text();
        assert!(said.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{words}: {said}");
    }
    let refused = bench.run(&other, &["--nic", "e1000"]).expect(125, "").stderr;
    assert!(refused.contains("the disk's kernel does not drive e1000"), "{refused}");

    let boots_on = |kernel: Kernel| {
        let said = run(bench.bootdisk().args(["kernel", "check"]).arg(kernel.package())).expect_status(0).text();
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let generic = "boots on QEMU yes, VMware yes, Hyper-V yes, Xen yes, EC2 yes, USB yes";
    assert!(boots_on(Kernel::Generic).contains(generic), "{}", boots_on(Kernel::Generic));
    let cloud = "boots on QEMU yes, VMware yes, Hyper-V yes, Xen yes, EC2 yes, USB no (usb_storage, xhci_pci)";
    assert!(boots_on(Kernel::Cloud).contains(cloud), "{}", boots_on(Kernel::Cloud));
}
