//! Where a disk hangs in this machine, as the kernel's device tree has it.
//!
//! ```text
//! /sys/class/block/sda ─▶ /sys/devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sda
//! ```

use super::place::PciAddress;
use std::fs;
use std::path::{Path, PathBuf};

/// What the way to a disk says, and the disk's serial number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Every PCI function on the way; none on buses of hypervisors and on boards without PCI.
    pub pci: Vec<PciAddress>,
    /// Port from 0, and device on it.
    pub ata: Option<(u32, u32)>,
    /// Target and logical unit.
    pub scsi: Option<(u32, u64)>,
    /// NVMe's namespace.
    pub namespace: Option<u32>,
    /// Ports of USB from the controller on.
    pub usb: Option<Vec<u32>>,
    /// Its serial number, without spaces around it; empty where the kernel tells that there is none.
    pub serial: Option<String>,
}

impl Attachment {
    /// That of a whole disk, by its name in `/sys/class/block`.
    pub fn of(sys: &Path, disk: &str) -> Attachment {
        let Ok(folder) = fs::canonicalize(sys.join("class/block").join(disk)) else { return Attachment::default() };
        let mut attachment = Attachment { namespace: number(&folder.join("nsid")), ..Attachment::default() };
        let mut port = None;
        for part in folder.iter().filter_map(|part| part.to_str()) {
            attachment.pci.extend(PciAddress::parse(part));
            if let Some(ports) = usb_ports(part) {
                attachment.usb = Some(ports);
            }
            if let Some((target, lun)) = scsi_address(part) {
                attachment.scsi = Some((target, lun));
            }
            if part.strip_prefix("ata").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit())) {
                // Counted from 1 here, and from 0 by controllers.
                port =
                    number(&sys.join("class/ata_port").join(part).join("port_no")).and_then(|n: u32| n.checked_sub(1));
            }
        }
        attachment.ata = port.zip(attachment.scsi).map(|(port, (target, _))| (port, target));
        attachment.serial = serial(&folder);
        attachment
    }
}

/// The ports of a USB device's name, `2-1.4`: bus, then a port of the controller, then ports of hubs.
fn usb_ports(name: &str) -> Option<Vec<u32>> {
    let (bus, ports) = name.split_once('-')?;
    bus.parse::<u32>().ok()?;
    ports.split('.').map(|port| port.parse().ok()).collect()
}

/// Target and unit of a SCSI device's name, `2:0:1:0`: host, channel, target, unit.
fn scsi_address(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.split(':');
    let numbers = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (Ok(_), Ok(_)) = (numbers.0.parse::<u32>(), numbers.1.parse::<u32>()) else { return None };
    Some((numbers.2.parse().ok()?, numbers.3.parse().ok()?)).filter(|_| parts.next().is_none())
}

/// The nearest serial number on the way up, not beyond the device itself: a hub and a controller have their own.
fn serial(disk: &Path) -> Option<String> {
    for folder in disk.ancestors() {
        let name = folder.file_name()?.to_str()?;
        if PciAddress::parse(name).is_some() {
            return None;
        }
        let found = text(folder.join("serial")).or_else(|| page(folder.join("vpd_pg80")));
        if found.is_some() || usb_ports(name).is_some() {
            return found;
        }
    }
    None
}

/// SCSI's vital product data, page 80h: four bytes, then the serial number.
fn page(path: PathBuf) -> Option<String> {
    Some(clean(fs::read(path).ok()?.get(4..)?))
}

fn text(path: PathBuf) -> Option<String> {
    Some(clean(&fs::read(path).ok()?))
}

fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_matches([' ', '\0', '\n']).to_owned()
}

fn number<T: std::str::FromStr>(path: &Path) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A device tree with one disk at `way`, below `/sys/devices`, and these files beside or above it.
    pub(in super::super) fn tree(sys: &Path, way: &str, files: &[(&str, &[u8])]) {
        let folder = sys.join("devices").join(way);
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(sys.join("class/block")).unwrap();
        symlink(&folder, sys.join("class/block").join(folder.file_name().unwrap())).unwrap();
        for (name, bytes) in files {
            let path = sys.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    /// Ways as Linux 6.1 has them.
    #[test]
    fn the_way_to_a_disk_says_controller_and_unit() {
        let pci = |names: &[&str]| names.iter().map(|name| PciAddress::parse(name).unwrap()).collect();
        type Case<'a> = (&'a str, &'a [(&'a str, &'a [u8])], Attachment);
        let cases: [Case<'_>; 9] = [
            (
                "pci0000:00/0000:00:01.0/virtio0/block/vda",
                &[("devices/pci0000:00/0000:00:01.0/virtio0/block/vda/serial", b"bootdisk")],
                Attachment { pci: pci(&["0000:00:01.0"]), serial: Some("bootdisk".into()), ..Attachment::default() },
            ),
            (
                "pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sda",
                &[
                    ("class/ata_port/ata3/port_no", b"3\n"),
                    (
                        "devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/vpd_pg80",
                        b"\0\x80\0\x14QM00001             ",
                    ),
                ],
                Attachment {
                    pci: pci(&["0000:00:1f.2"]),
                    ata: Some((2, 0)),
                    scsi: Some((0, 0)),
                    serial: Some("QM00001".into()),
                    ..Attachment::default()
                },
            ),
            (
                "pci0000:00/0000:00:01.1/ata8/host1/target1:0:1/1:0:1:0/block/sdb",
                &[("class/ata_port/ata8/port_no", b"2\n")],
                Attachment {
                    pci: pci(&["0000:00:01.1"]),
                    ata: Some((1, 1)),
                    scsi: Some((1, 0)),
                    ..Attachment::default()
                },
            ),
            (
                "pci0000:00/0000:00:1c.4/0000:03:00.0/nvme/nvme0/nvme0n2",
                &[
                    ("devices/pci0000:00/0000:00:1c.4/0000:03:00.0/nvme/nvme0/serial", b"S3RIAL     \n"),
                    ("devices/pci0000:00/0000:00:1c.4/0000:03:00.0/nvme/nvme0/nvme0n2/nsid", b"2\n"),
                ],
                Attachment {
                    pci: pci(&["0000:00:1c.4", "0000:03:00.0"]),
                    namespace: Some(2),
                    serial: Some("S3RIAL".into()),
                    ..Attachment::default()
                },
            ),
            (
                "pci0000:00/0000:00:03.0/virtio1/host6/target6:0:3/6:0:3:1/block/sdc",
                &[],
                Attachment { pci: pci(&["0000:00:03.0"]), scsi: Some((3, 1)), ..Attachment::default() },
            ),
            // The controller's and the hub's own numbers are not the stick's.
            (
                "pci0000:00/0000:00:14.0/usb2/2-3/2-3.1/2-3.1:1.0/host7/target7:0:0/7:0:0:0/block/sdd",
                &[
                    ("devices/pci0000:00/0000:00:14.0/usb2/serial", b"0000:00:14.0\n"),
                    ("devices/pci0000:00/0000:00:14.0/usb2/2-3/serial", b"HUB\n"),
                ],
                Attachment {
                    pci: pci(&["0000:00:14.0"]),
                    scsi: Some((0, 0)),
                    usb: Some(vec![3, 1]),
                    ..Attachment::default()
                },
            ),
            (
                "pci0000:00/0000:00:02.0/virtio1/block/vdb",
                &[("devices/pci0000:00/0000:00:02.0/virtio1/block/vdb/serial", b"")],
                Attachment { pci: pci(&["0000:00:02.0"]), serial: Some(String::new()), ..Attachment::default() },
            ),
            ("vbd-51712/block/xvda", &[], Attachment::default()),
            (
                "pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0/nvme/nvme1/nvme1n1",
                &[],
                Attachment { pci: pci(&["0000:00:0e.0", "10000:e0:06.0", "10000:e1:00.0"]), ..Attachment::default() },
            ),
        ];
        for (way, files, expected) in cases {
            let sys = tempfile::tempdir().unwrap();
            tree(sys.path(), way, files);
            assert_eq!(Attachment::of(sys.path(), way.rsplit('/').next().unwrap()), expected, "{way}");
        }
        assert_eq!(Attachment::of(Path::new("/nonexistent"), "sda"), Attachment::default());
    }
}
