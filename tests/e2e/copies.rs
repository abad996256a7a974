//! A disk beside copies of itself, which nothing on them tells apart: the root is the one of the disk that was booted.

use crate::{busybox, e2e, e2e_disk, tools};
use e2e::{Bench, Kernel, Ran};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a machine says of its root.
const SCRIPT: &str = "test -e /marker && echo a copy || echo the disk itself";

/// A disk, and two copies with a file more in their roots.
struct Copies {
    bench: Bench,
    disk: PathBuf,
    copies: [PathBuf; 2],
}

impl Copies {
    fn make(kernel: Kernel) -> Copies {
        let bench = Bench::new(kernel);
        let image = busybox::archive(bench.path("image").parent().unwrap());
        let disk = bench.build(image, "disk.img", &["--no-sync"]);
        let marker = bench.path("marker");
        fs::write(&marker, "a copy").unwrap();
        let copies = ["first.img", "last.img"].map(|name| {
            let copy = bench.path(name);
            tools::stdout(Command::new("cp").arg("--sparse=always").args([&disk, &copy]));
            let root = format!("{}?offset={}", copy.display(), e2e_disk::partition(&copy, e2e_disk::ROOT).start);
            let request = format!("write {} marker", marker.display());
            tools::stdout(Command::new("debugfs").args(["-w", "-R", &request, &root]));
            copy
        });
        Copies { bench, disk, copies }
    }

    /// Boots the disk with its copies on virtio, one of which QEMU attaches before it and one behind.
    fn run(&self, options: &[&str]) -> Ran {
        let [first, last] = self.copies.each_ref().map(|copy| drive(copy));
        let mut command = self.bench.run_command(&self.disk, options);
        for argument in [
            "-drive",
            &format!("{first},if=virtio"),
            "-drive",
            &format!("{last},if=none,id=last"),
            "-device",
            "virtio-blk-pci,drive=last",
        ] {
            command.arg(format!("--qemu-arg={argument}"));
        }
        e2e::run(command.args(["--", "sh", "-c", SCRIPT]))
    }
}

fn drive(path: &Path) -> String {
    format!("file={},format=raw,snapshot=on", path.display())
}

/// Every disk has the serial number of the one that is booted: the host's word is worth nothing then.
const ONE_SERIAL: [&str; 2] = ["--qemu-arg=-global", "--qemu-arg=virtio-blk-pci.serial=bootdisk"];

#[test]
fn the_disk_that_was_booted_is_the_root_whatever_else_is_attached() {
    let copies = Copies::make(Kernel::Cloud);
    // By its serial number alone, and without that by the place that the firmware started it from.
    copies.run(&["--firmware", "direct"]).expect(0, "the disk itself\n");
    for firmware in ["bios", "uefi"] {
        println!("{firmware}");
        copies.run(&[&["--firmware", firmware], &ONE_SERIAL[..]].concat()).expect(0, "the disk itself\n");
    }
    let equal = copies.run(&[&["--firmware", "direct"], &ONE_SERIAL[..]].concat()).expect(125, "");
    let named = ["/dev/vda3", "/dev/vdb3", "/dev/vdc3"].join(" and ");
    let sentence = format!("error: cannot tell which disk was booted: {named} have the same PARTUUID ");
    assert!(equal.stderr.contains(&sentence), "{}", equal.stderr);
}

/// The copies are there long before the stick.
#[test]
fn a_slow_stick_is_waited_for_while_its_copies_are_there() {
    let copies = Copies::make(Kernel::Generic);
    copies.run(&["--firmware", "bios", "--bus", "usb"]).expect(0, "the disk itself\n");
}
