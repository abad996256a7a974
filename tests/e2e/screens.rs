//! Machines with a screen and without a serial port: why one ends can be read before it does.

use crate::{busybox, e2e, screen};
use e2e::{Bench, Kernel};
use screen::Screen;

const END: &str = "bootdisk: the machine switches itself off in 30 s, or when Enter is pressed";

#[test]
fn a_root_that_nothing_drives_is_told_on_a_screen_under_bios() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(busybox::archive(bench.path("image").parent().unwrap()), "disk.img", &[]);
    let ahci = ["-device", "ide-hd,drive=disk,bus=ide.0,bootindex=0"];
    // The boot stage's own words.
    let mut small = Screen::boot(&disk, false, 64, &ahci);
    small.wait_for(&["bootdisk: too little memory: "]);
    drop(small);

    let mut screen = Screen::boot(&disk, false, 512, &ahci);
    let text = screen.wait_for(&["workload not started (status 125): root file system not found: ", END]);
    for words in [
        "still waiting for the root file system: block devices here: none; wanted PARTUUID ",
        "controllers: SATA 00:1f.2 [8086:2922] without a driver; modules loaded: ",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    screen.enter_ends_it();
}

#[test]
fn a_workload_that_fails_is_told_on_a_screen_under_uefi_beside_what_it_said() {
    let bench = Bench::new(Kernel::Cloud);
    let image = busybox::archive(bench.path("image").parent().unwrap());
    let disk = bench.build(image, "disk.img", &["--", "sh", "-c", "echo on $(tty) there is a word; exit 3"]);
    let mut screen = Screen::boot(&disk, true, 512, &["-device", "virtio-blk-pci,drive=disk,bootindex=0"]);
    screen.wait_for(&["on /dev/console there is a word", "bootdisk: workload exited with status 3", END]);
    screen.enter_ends_it();
}
