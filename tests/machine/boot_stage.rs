//! Our BIOS boot stage in a real machine: every controller, little and much memory, and every message.

use crate::support::boot_disk::{SENTINEL, Wanted, initramfs, kernel};
use crate::support::qemu_raw::{Bus, Fault, Machine};
use crate::support::{boot_disk, tools};
use bootdisk::boot::{self, Firmware, bios, esp::Extent};
use bootdisk::disk::gpt::Role;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const BIOS: Firmware = Firmware { bios: true, uefi: false };
const LINE: &str = "console=ttyS0 quiet";
/// The last line of our /init, and what the boot stage begins its messages with.
const ENDS: [&str; 2] = ["/filling\n", "bootdisk: "];

/// A small disk that boots, in a folder of its own.
struct Disk {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Disk {
    fn new(firmware: Firmware, initramfs: &[u8]) -> Disk {
        let folder = tempfile::tempdir().unwrap();
        let wanted = Wanted { kernel: &kernel(), initramfs, command_line: LINE, firmware };
        let (path, _) = boot_disk::write(folder.path(), &wanted);
        Disk { folder, path }
    }

    /// The same disk with one byte changed.
    fn damaged(&self, at: u64) -> PathBuf {
        let copy = self.folder.path().join(format!("damaged-{at}.img"));
        tools::stdout(Command::new("cp").arg("--sparse=always").arg(&self.path).arg(&copy));
        let file = File::options().read(true).write(true).open(&copy).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[!byte[0]], at).unwrap();
        copy
    }
}

/// Where the one slot of a new disk begins: 64 sectors behind the chooser, which is at 1 MiB.
const SLOT_A: u64 = (1 << 20) + 64 * 512;

/// Where the boot stage looks for a part of the table: setup 0x20, kernel 0x2c, initramfs 0x38. All are in one piece.
fn extent_of(disk: &Path, part: u64) -> (u64, u64) {
    let file = File::open(disk).unwrap();
    let at = |offset: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, SLOT_A + offset).unwrap();
        u64::from_le_bytes(bytes)
    };
    let extent = (at(part + 8) & 0xffff) - 0x8000;
    (at(extent), at(extent + 8) & 0xffff_ffff)
}

fn boots(machine: &Machine) {
    let said = machine.run_until(&ENDS);
    assert!(said.contains(&format!("{SENTINEL}{LINE}>")), "{machine:?}: {said}");
}

/// Runs the machine, which must stop with this message of the boot stage.
fn stops(machine: &Machine, message: &str) {
    // A line of the message is complete when the next begins; the machine is then halted.
    let said = machine.run_until(&["\r\n", SENTINEL]);
    let line = format!("bootdisk: {message}");
    assert!(said.contains(&line) && !said.contains(SENTINEL), "{machine:?}: {said}");
}

#[test]
fn the_kernel_starts_from_every_controller() {
    let disk = Disk::new(BIOS, &initramfs(0));
    for bus in [Bus::VirtioBlk, Bus::Ide, Bus::VirtioScsi, Bus::Nvme, Bus::Ahci] {
        boots(&Machine { bus, vga: matches!(bus, Bus::Nvme), ..Machine::new(&disk.path) });
    }
}

#[test]
fn much_memory_and_a_large_initramfs_do_no_harm() {
    let filling = 60 << 20;
    let disk = Disk::new(BIOS, &initramfs(filling));
    let said = Machine { mebibytes: 4096, ..Machine::new(&disk.path) }.run_until(&ENDS);
    // Every byte of it arrived: the guest's checksum is the host's.
    let body: Vec<u8> = (0..filling).map(|i| (i >> 9) as u8).collect();
    let file = disk.folder.path().join("filling");
    std::fs::write(&file, body).unwrap();
    let expected = tools::stdout(Command::new("md5sum").arg(file));
    assert!(said.contains(&format!("filling {}", &expected[..32])), "{expected}: {said}");
}

#[test]
fn too_little_memory_is_named_and_that_much_is_enough() {
    let disk = Disk::new(BIOS, &initramfs(0));
    let machine = Machine { mebibytes: 32, ..Machine::new(&disk.path) };
    let said = machine.run_until(&["to start", SENTINEL]);
    let text = "bootdisk: too little memory: this kernel and its initramfs need at least ";
    let (_, rest) = said.split_once(text).unwrap_or_else(|| panic!("{said}"));
    let mebibytes: u32 = rest.split_whitespace().next().unwrap().parse().unwrap();
    assert!((48..128).contains(&mebibytes), "{said}");
    stops(&Machine { mebibytes: mebibytes - 2, ..machine.clone() }, "too little memory");
    // With what the message names the kernel is started, and with a little for itself it gets to its init.
    let said =
        Machine { mebibytes, timeout: 30, ..machine.clone() }.run_until(&["Kernel panic", "bootdisk: ", SENTINEL]);
    assert!(said.contains("Kernel panic") || said.contains(SENTINEL), "{mebibytes}: {said}");
    boots(&Machine { mebibytes: mebibytes + 16, ..machine });
}

#[test]
fn changed_boot_files_are_noticed_before_they_run() {
    let disk = Disk::new(BIOS, &initramfs(0));
    let ((setup, setup_sectors), (kernel, kernel_sectors)) = (extent_of(&disk.path, 0x20), extent_of(&disk.path, 0x2c));
    let (initramfs, initramfs_sectors) = extent_of(&disk.path, 0x38);
    assert_eq!(kernel, setup + setup_sectors);
    let stale = "the boot files were changed after this disk was built; rebuild the disk";
    for sector in [setup, kernel, kernel + kernel_sectors - 1, initramfs + initramfs_sectors / 2] {
        stops(&Machine::new(&disk.damaged(sector * 512 + 300)), stale);
    }
}

#[test]
fn what_the_first_stage_cannot_do_it_says() {
    let disk = Disk::new(BIOS, &initramfs(0));
    // A byte of the chooser's first word, and one of its code.
    for at in [1 << 20, (1 << 20) + 0x180] {
        stops(&Machine::new(&disk.damaged(at)), "second boot stage missing");
    }
    // The same of the only slot, and the word that says how long it is.
    for at in [SLOT_A, SLOT_A + 0x300, SLOT_A + 0x49] {
        stops(&Machine::new(&disk.damaged(at)), "neither boot slot is whole; rebuild the disk");
    }
    stops(&Machine { fault: Some(Fault { lba: 2048, once: false }), ..Machine::new(&disk.path) }, "disk read error");
    // A drive without INT 13h extensions.
    let floppy = disk.folder.path().join("floppy.img");
    tools::stdout(
        Command::new("dd")
            .args(["bs=1474560", "count=1", "status=none"])
            .args([format!("if={}", disk.path.display()), format!("of={}", floppy.display())]),
    );
    stops(&Machine { bus: Bus::Floppy, ..Machine::new(&floppy) }, "no LBA access");
    let uefi_only = Disk::new(Firmware { bios: false, uefi: true }, &initramfs(0));
    stops(&Machine::new(&uefi_only.path), "no BIOS boot on this disk");
}

#[test]
fn messages_stand_on_the_screen_too() {
    let uefi_only = Disk::new(Firmware { bios: false, uefi: true }, &initramfs(0));
    let machine = Machine { serial_screen: true, ..Machine::new(&uefi_only.path) };
    // The firmware sends the last column late, so the end of the line may stand apart.
    let twice = "bootdisk:bootdisk:  no BIOS boot on this disno BIOS boot on this disk";
    let said = machine.run_until(&["this disk\r\n", SENTINEL]);
    assert!(said.contains(twice), "{said}");
}

#[test]
fn read_errors_are_tried_again_and_then_named() {
    let disk = Disk::new(BIOS, &initramfs(0));
    let (lba, _) = extent_of(&disk.path, 0x38);
    boots(&Machine { fault: Some(Fault { lba, once: true }), ..Machine::new(&disk.path) });
    let said = Machine { fault: Some(Fault { lba, once: false }), ..Machine::new(&disk.path) }.run_until(&["\r\n"]);
    let (_, code) = said.split_once("bootdisk: disk read error 0x").unwrap_or_else(|| panic!("{said}"));
    assert_eq!(code[2..].trim_end(), format!(" at sector 0x{lba:016x}"), "{said}");
    assert_ne!(&code[..2], "00", "{said}");
}

#[test]
fn a_disabled_address_line_20_is_enabled() {
    let disk = Disk::new(BIOS, &initramfs(0));
    // In the place the first stage leaves free: INT 15h AX=2400, which SeaBIOS then restores after every disk read.
    // The jump at the start goes there instead of over it.
    let file = File::options().write(true).open(&disk.path).unwrap();
    file.write_all_at(&[0xeb, 0x00, 0xb8, 0x00, 0x24, 0xcd, 0x15, 0xeb, 90 - 9], 0).unwrap();
    boots(&Machine::new(&disk.path));
}

#[test]
fn a_wiped_first_sector_does_not_boot() {
    let disk = Disk::new(BIOS, &initramfs(0));
    let file = File::options().write(true).open(&disk.path).unwrap();
    file.write_all_at(&[0; 512], 0).unwrap();
    let machine = Machine { serial_screen: true, ..Machine::new(&disk.path) };
    let said = machine.run_until(&["No bootable device", SENTINEL]);
    assert!(said.contains("No bootable device") && !said.contains(SENTINEL), "{said}");
}

#[test]
fn pieces_anywhere_on_a_large_disk_are_put_together() {
    // 50 pieces of kernel and 241 of initramfs, in no order, half of them beyond the reach of 32 bits of sectors.
    let (kernel, initramfs) = (kernel(), initramfs(0));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.set_len(3 << 40).unwrap();
    let mut place = 0;
    let mut scatter = |body: &[u8], pieces: usize| -> Vec<Extent> {
        let piece = body.len().div_ceil(pieces).next_multiple_of(512);
        let extents = body.chunks(piece).map(|part| {
            place += 1;
            let slot = place * 89 % 293;
            let lba = slot * 2000 + 10_000 + if slot % 2 == 0 { 1 << 32 } else { 0 };
            file.write_all_at(part, lba * 512).unwrap();
            Extent { lba, sectors: part.len().div_ceil(512) as u32 }
        });
        extents.collect()
    };
    let (kernel_extents, initramfs_extents) = (scatter(&kernel, 50), scatter(&initramfs, 241));
    assert!(kernel_extents.len() + initramfs_extents.len() > 270);
    let stage = bios::encode(&bios::Boot {
        stage2_lba: 2048,
        stage2_sectors: 2048,
        kernel: &kernel,
        kernel_extents: &kernel_extents,
        initramfs: &initramfs,
        initramfs_extents: &initramfs_extents,
        command_line: LINE,
    })
    .unwrap();
    file.write_all_at(&stage.mbr, 0).unwrap();
    file.write_all_at(&[0x55, 0xaa], 510).unwrap();
    file.write_all_at(&stage.stage2, 2048 * 512).unwrap();
    boots(&Machine::new(&path));
}

#[test]
#[ignore = "forty boots"]
fn every_controller_with_every_memory() {
    let disk = Disk::new(BIOS, &initramfs(0));
    for bus in [Bus::VirtioBlk, Bus::Ide, Bus::VirtioScsi, Bus::Nvme, Bus::Ahci] {
        for mebibytes in [96, 128, 512, 1024, 2048, 3072, 3584, 4096] {
            boots(&Machine { bus, mebibytes, vga: mebibytes % 1024 == 0, ..Machine::new(&disk.path) });
        }
    }
}

#[test]
fn the_root_partition_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = Wanted {
        kernel: &kernel(),
        initramfs: &initramfs(0),
        command_line: LINE,
        firmware: boot::Firmware { bios: true, uefi: true },
    };
    let (path, layout) = boot_disk::write(folder.path(), &wanted);
    let root = layout.partition(Role::Root).unwrap();
    let mut bytes = vec![1; root.bytes() as usize];
    File::open(path).unwrap().read_exact_at(&mut bytes, root.offset()).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0));
}
