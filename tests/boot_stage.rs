//! Our BIOS boot stage in a real machine: every controller, little and much memory, and every message.

#[path = "support/boot_disk.rs"]
mod boot_disk;
#[path = "support/qemu_raw.rs"]
mod qemu_raw;
#[path = "support/tools.rs"]
mod tools;

use boot_disk::{SENTINEL, Wanted, initramfs, kernel};
use bootdisk::boot::Firmware;
use qemu_raw::{Bus, Machine};

const BIOS: Firmware = Firmware { bios: true, uefi: false };

#[test]
fn the_kernel_starts_from_every_controller() {
    let folder = tempfile::tempdir().unwrap();
    let wanted =
        Wanted { kernel: &kernel(), initramfs: &initramfs(0), command_line: "console=ttyS0 quiet", firmware: BIOS };
    let (disk, _) = boot_disk::write(folder.path(), &wanted);
    for bus in [Bus::VirtioBlk, Bus::Ide, Bus::VirtioScsi, Bus::Nvme, Bus::Ahci] {
        let started = std::time::Instant::now();
        let said = Machine { bus, ..Machine::new(&disk) }.run_until(">");
        eprintln!("{bus:?} {:?}", started.elapsed());
        assert!(said.contains(&format!("{SENTINEL}console=ttyS0 quiet>")), "{bus:?}: {said}");
    }
}
