//! Disks side by side, and what each kind of evidence makes of them.

use super::attachment::tests::tree;
use super::*;
use crate::init::partition::Found;
use place::PciAddress;
use std::path::PathBuf;
use tempfile::TempDir;

fn found(disk: &str) -> Found {
    Found { disk: disk.into(), node: PathBuf::from(format!("/dev/{disk}3")) }
}

/// The names of the disks that are chosen, in words.
fn said(choice: &Choice<'_>) -> String {
    let names = |found: &[&Found]| found.iter().map(|found| found.disk.as_str()).collect::<Vec<_>>().join(" ");
    match choice {
        Choice::Sure(found) => format!("sure {}", found.disk),
        Choice::Likely(found) => format!("likely {}", names(found)),
        Choice::Equal(found) => format!("equal {}", names(found)),
        Choice::Absent => "absent".into(),
    }
}

/// Disks at these ways; ports of ATA are numbered as the ways say.
fn machine(ways: &[&str]) -> (TempDir, Vec<Found>) {
    let sys = tempfile::tempdir().unwrap();
    for way in ways {
        tree(sys.path(), way, &[]);
    }
    for port in 1..=6u8 {
        let folder = sys.path().join(format!("class/ata_port/ata{port}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("port_no"), format!("{port}\n")).unwrap();
    }
    let disks = ways.iter().map(|way| found(way.rsplit('/').next().unwrap())).collect();
    (sys, disks)
}

fn chosen_by_place(ways: &[&str], place: Option<&Place>) -> String {
    let (sys, disks) = machine(ways);
    let attached = disks.iter().map(|found| (found, Attachment::of(sys.path(), &found.disk))).collect();
    said(&by_place(Remaining { grade: Grade::Unknown, disks: attached }, place))
}

const VDA: &str = "pci0000:00/0000:00:01.0/virtio0/block/vda";
const VDB: &str = "pci0000:00/0000:00:02.0/virtio1/block/vdb";
const SATA_0: &str = "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda";
const SATA_3: &str = "pci0000:00/0000:00:1f.2/ata4/host3/target3:0:0/3:0:0:0/block/sdb";
const IDE_MASTER: &str = "pci0000:00/0000:00:01.1/ata1/host0/target0:0:0/0:0:0:0/block/sda";
const IDE_SLAVE: &str = "pci0000:00/0000:00:01.1/ata1/host0/target0:0:1/0:0:1:0/block/sdb";
const SCSI_0: &str = "pci0000:00/0000:00:03.0/virtio2/host6/target6:0:0/6:0:0:0/block/sda";
const SCSI_1: &str = "pci0000:00/0000:00:03.0/virtio2/host6/target6:0:1/6:0:1:0/block/sdb";
const STICK_2: &str = "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host7/target7:0:0/7:0:0:0/block/sdc";
const STICK_5: &str = "pci0000:00/0000:00:14.0/usb1/1-5/1-5:1.0/host8/target8:0:0/8:0:0:0/block/sdd";
const STICK_2_IN_HUB: &str = "pci0000:00/0000:00:14.0/usb1/1-2/1-2.4/1-2.4:1.0/host9/target9:0:0/9:0:0:0/block/sde";
const NVME: &str = "pci0000:00/0000:00:1c.4/0000:03:00.0/nvme/nvme0/nvme0n1";
const XEN_A: &str = "vbd-51712/block/xvda";
const XEN_B: &str = "vbd-51728/block/xvdb";

#[test]
fn the_place_that_the_firmware_names_decides() {
    let at = |pci: &str, unit| Some(Place { controller: PciAddress::parse(pci).unwrap(), unit });
    let port = |port| at("0000:00:1f.2", Unit::Sata { port });
    let ide = |device| at("0000:00:01.1", Unit::Ata { channel: 0, device });
    let scsi = |target| at("0000:00:03.0", Unit::Scsi { target, lun: 0 });
    let usb = |ports: &[u32]| at("0000:00:14.0", Unit::Usb(ports.to_vec()));
    let first = at("0000:00:01.0", Unit::Unknown);
    for (disks, place, expected) in [
        (&[VDA, VDB][..], first.clone(), "sure vda"),
        (&[VDB, VDA], first.clone(), "sure vda"),
        (&[VDB, NVME], at("0000:03:00.0", Unit::Namespace(1)), "sure nvme0n1"),
        // Where the right one is not there yet, no other is taken.
        (&[VDB], first.clone(), "absent"),
        (&[], first.clone(), "absent"),
        (&[SATA_0, SATA_3], port(3), "sure sdb"),
        (&[SATA_0, SATA_3], port(0), "sure sda"),
        (&[SATA_0], port(3), "absent"),
        (&[SATA_0, SATA_3], at("0000:00:1f.2", Unit::Unknown), "equal sda sdb"),
        (&[IDE_MASTER, IDE_SLAVE], ide(1), "sure sdb"),
        (&[IDE_MASTER, IDE_SLAVE], ide(0), "sure sda"),
        (&[SCSI_0, SCSI_1], scsi(1), "sure sdb"),
        // The numbers of RAID controllers are their firmware's own: such a disk is taken when no better one comes.
        (&[SCSI_0], scsi(1), "likely sda"),
        (&[SCSI_0, SCSI_1], scsi(5), "likely sda sdb"),
        // SeaBIOS has a SCSI address for a virtio disk.
        (&[VDA, VDB], at("0000:00:02.0", Unit::Scsi { target: 0, lun: 0 }), "sure vdb"),
        (&[STICK_2, STICK_5], usb(&[5]), "equal sdc sdd"),
        (&[STICK_2, STICK_5], usb(&[2]), "sure sdc"),
        (&[STICK_2, STICK_2_IN_HUB], usb(&[2, 4]), "sure sde"),
        (&[VDA, STICK_2], usb(&[2]), "sure sdc"),
        (&[VDA], usb(&[2]), "absent"),
        // Their drivers have taken over the controller that the firmware knew.
        (&[XEN_A], ide(0), "sure xvda"),
        (&[XEN_A, XEN_B], ide(0), "equal xvda xvdb"),
        // Nothing is known.
        (&[VDA], None, "sure vda"),
        (&[VDA, VDB], None, "equal vda vdb"),
        (&[], None, "absent"),
    ] {
        assert_eq!(chosen_by_place(disks, place.as_ref()), expected, "{disks:?} {place:?}");
    }
}

#[test]
fn the_serial_number_that_the_host_gave_decides() {
    let chosen = |serials: &[Option<&str>], wanted| {
        let disks: Vec<Found> =
            (b'a'..).take(serials.len()).map(|letter| found(&format!("vd{}", letter as char))).collect();
        let attached = disks
            .iter()
            .zip(serials)
            .map(|(found, serial)| (found, Attachment { serial: serial.map(str::to_owned), ..Attachment::default() }));
        let Remaining { grade, disks } = by_serial(attached.collect(), wanted);
        let names: Vec<&str> = disks.iter().map(|(found, _)| found.disk.as_str()).collect();
        if grade == Grade::Other { "none".to_owned() } else { names.join(" ") }
    };
    let wanted = Some("bootdisk");
    for (serials, expected) in [
        (&[wanted, Some("x")][..], "vda"),
        (&[Some("x"), wanted], "vdb"),
        (&[None, wanted], "vdb"),
        (&[wanted, wanted], "vda vdb"),
        (&[Some("x")], "none"),
        // A copy that was given no number, and the right disk is still to come.
        (&[Some("")], "none"),
        (&[Some(""), Some("")], "none"),
        (&[Some(""), wanted], "vdb"),
        // A kernel that does not tell serial numbers.
        (&[None], "vda"),
        (&[None, None], "vda vdb"),
        (&[None, Some("x")], "vda"),
        (&[], "none"),
    ] {
        assert_eq!(chosen(serials, wanted), expected, "{serials:?}");
    }
    assert_eq!(chosen(&[wanted, Some("x")], None), "vda vdb");
}

/// Old kernels do not tell serial numbers of every bus: then a disk is taken when no better one comes, or at once where the
/// firmware's word confirms it.
#[test]
fn a_disk_that_tells_no_serial_number_is_likely_until_its_place_says_more() {
    let (sys, disks) = machine(&[VDA, VDB]);
    let chosen = |disks: &[Found], place| {
        let attached = disks.iter().map(|found| (found, Attachment::of(sys.path(), &found.disk))).collect();
        let serial = by_serial(attached, Some("bootdisk"));
        assert_eq!(serial.grade, Grade::Near);
        said(&by_place(serial, place))
    };
    let place = Place { controller: PciAddress::parse("0000:00:02.0").unwrap(), unit: Unit::Unknown };
    assert_eq!(chosen(&disks[..1], None), "likely vda");
    assert_eq!(chosen(&disks, None), "likely vda vdb");
    assert_eq!(chosen(&disks, Some(&place)), "sure vdb");
    assert_eq!(chosen(&disks[..1], Some(&place)), "absent");
}

#[test]
fn a_bios_is_believed_where_the_machine_has_such_a_controller() {
    let answer = edd::tests::answer(44, b"PCI ", b"ATA     ", [0, 0x1f, 2, 0], &[0]);
    let place = |class: &str, kind: &str| {
        let sys = tempfile::tempdir().unwrap();
        tree(
            sys.path(),
            SATA_0,
            &[
                ("kernel/boot_params/setup_data/0/type", b"0x9\n"),
                ("kernel/boot_params/setup_data/0/data", b"seed"),
                ("kernel/boot_params/setup_data/1/type", kind.as_bytes()),
                ("kernel/boot_params/setup_data/1/data", &answer),
                ("bus/pci/devices/0000:00:1f.2/class", class.as_bytes()),
            ],
        );
        edd::place(sys.path())
    };
    let controller = PciAddress::parse("0000:00:1f.2").unwrap();
    // Only IDE has channels and masters.
    let ide = Unit::Ata { channel: 0, device: 0 };
    assert_eq!(place("0x010180\n", "0x6b736462\n"), Some(Place { controller, unit: ide }));
    assert_eq!(place("0x010601\n", "0x6b736462\n"), Some(Place { controller, unit: Unit::Unknown }));
    assert_eq!(place("0x060400\n", "0x6b736462\n"), None, "a bridge");
    assert_eq!(place("0x010601\n", "0x1\n"), None, "somebody else's data");
}
