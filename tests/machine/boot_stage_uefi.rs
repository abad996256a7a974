//! The same disk under UEFI: OVMF and systemd-boot, with the command line that BIOS gives too.

use crate::support::boot_disk::{SENTINEL, Wanted, initramfs, kernel};
use crate::support::qemu_raw::{Bus, Firmware, Machine};
use crate::support::{boot_disk, tools};
use bootdisk::arch::Architecture;
use bootdisk::boot::{self, command_line::command_line};
use std::path::Path;

const BOTH: boot::Firmware = boot::Firmware { bios: true, uefi: true };

/// What the kernel says its command line is, without what the loader adds.
fn line_seen_by_the_kernel(machine: &Machine) -> String {
    let said = machine.run_until(&["/filling\n", "No bootable option"]);
    let line = said.split_once(SENTINEL).and_then(|(_, rest)| rest.split_once(">\r\nfilling"));
    let line = line.unwrap_or_else(|| panic!("{machine:?}: {said}")).0;
    line.split(' ').filter(|word| !word.starts_with("initrd=")).collect::<Vec<_>>().join(" ")
}

fn sum(path: &Path) -> String {
    tools::stdout(std::process::Command::new("sha256sum").arg(path))
}

#[test]
fn both_firmwares_start_the_same_kernel_with_the_same_line() {
    let folder = tempfile::tempdir().unwrap();
    // As long as the line may be.
    let base = command_line(Architecture::X86_64, "", "").unwrap().len();
    let longest =
        (0..2048 - base).rev().find_map(|n| command_line(Architecture::X86_64, "", &"x".repeat(n)).ok()).unwrap();
    let wanted = Wanted { kernel: &kernel(), initramfs: &initramfs(0), command_line: &longest, firmware: BOTH };
    let (disk, _) = boot_disk::write(folder.path(), &wanted);
    let before = sum(&disk);
    assert_eq!(line_seen_by_the_kernel(&Machine::new(&disk)), longest);
    let uefi = Machine { firmware: Firmware::Ovmf, ..Machine::new(&disk) };
    assert_eq!(line_seen_by_the_kernel(&uefi), longest);
    assert_eq!(sum(&disk), before, "nothing writes to the disk while it boots");
}

#[test]
fn a_disk_without_uefi_is_not_booted_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let firmware = boot::Firmware { bios: true, uefi: false };
    let wanted = Wanted { kernel: &kernel(), initramfs: &initramfs(0), command_line: "console=ttyS0", firmware };
    let (disk, _) = boot_disk::write(folder.path(), &wanted);
    let machine = Machine { firmware: Firmware::Ovmf, ..Machine::new(&disk) };
    let said = machine.run_until(&["No bootable option", "Shell>", SENTINEL]);
    assert!(!said.contains(SENTINEL) && said.contains("BdsDxe: failed to load"), "{said}");
}

#[test]
#[ignore = "ten boots of a firmware that is slow without KVM"]
fn uefi_boots_from_every_controller() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = Wanted {
        kernel: &kernel(),
        initramfs: &initramfs(20 << 20),
        command_line: "console=ttyS0 quiet",
        firmware: BOTH,
    };
    let (disk, _) = boot_disk::write(folder.path(), &wanted);
    for bus in [Bus::VirtioBlk, Bus::Ide, Bus::VirtioScsi, Bus::Nvme, Bus::Ahci] {
        for mebibytes in [256, 4096] {
            let machine = Machine { firmware: Firmware::Ovmf, bus, mebibytes, ..Machine::new(&disk) };
            assert_eq!(line_seen_by_the_kernel(&machine), "console=ttyS0 quiet");
        }
    }
}
