//! What a machine has that disks hang on, and what of the kernel drives it: for the sentence when no disk comes up, and
//! for whether there is any hope of one.
//!
//! Source: PCI Code and ID Assignment Specification, base classes 01h, 08h and 0Ch; the kernel's
//! Documentation/ABI/testing/sysfs-bus-pci.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Classes of what disks hang on: base class and subclass, in words.
const CLASSES: [(u32, &str); 11] = [
    (0x0100, "SCSI"),
    (0x0101, "IDE"),
    (0x0104, "RAID"),
    (0x0105, "ATA"),
    (0x0106, "SATA"),
    (0x0107, "SAS"),
    (0x0108, "NVMe"),
    (0x0109, "UFS"),
    (0x0180, "storage"),
    (0x0805, "SD"),
    (0x0c03, "USB"),
];
/// Most controllers and most modules that are named.
const NAMED: usize = 12;

/// A controller on a PCI bus.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Controller {
    /// `00:1f.2`, with the domain in front where it is not the first.
    address: String,
    class: &'static str,
    /// `8086:2922`.
    id: String,
    driver: Option<String>,
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Controller { address, class, id, .. } = self;
        match &self.driver {
            Some(driver) => write!(f, "{class} {address} [{id}] with {driver}"),
            None => write!(f, "{class} {address} [{id}] without a driver"),
        }
    }
}

/// What a machine has for disks.
pub struct Controllers {
    pci: Vec<Controller>,
    /// Devices of another bus may become disks.
    others: bool,
    modules: Vec<String>,
}

impl Controllers {
    /// This machine's, as they are now.
    pub fn here() -> Controllers {
        Controllers::of(Path::new("/sys/bus"), &fs::read_to_string("/proc/modules").unwrap_or_default())
    }

    fn of(buses: &Path, modules: &str) -> Controllers {
        let mut places: Vec<PathBuf> = devices(buses, "pci").collect();
        places.sort();
        let pci = places.iter().filter_map(|device| controller(device)).collect();
        let mut modules: Vec<String> =
            modules.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        modules.sort();
        Controllers { pci, others: has_others(buses), modules }
    }

    /// Whether no disk will come, however long it is waited for: there is a controller, and none that a driver has.
    pub fn are_hopeless(&self) -> bool {
        !self.pci.is_empty() && !self.others && self.pci.iter().all(|controller| controller.driver.is_none())
    }
}

impl fmt::Display for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (controllers, modules) = (named(&self.pci), named(&self.modules));
        write!(f, "controllers: {controllers}; modules loaded: {modules}")
    }
}

fn named<T: fmt::Display>(all: &[T]) -> String {
    let mut words: Vec<String> = all.iter().take(NAMED).map(T::to_string).collect();
    match all.len() {
        0 => words.push("none".into()),
        length if length > NAMED => words.push(format!("{} more", length - NAMED)),
        _ => {}
    }
    words.join(", ")
}

/// The folders of a bus's devices.
fn devices(buses: &Path, bus: &str) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(buses.join(bus).join("devices")).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The device, if disks hang on such.
fn controller(device: &Path) -> Option<Controller> {
    let class = hexadecimal(&device.join("class"))? >> 8;
    let (_, class) = CLASSES.iter().find(|(number, _)| *number == class)?;
    let address = device.file_name()?.to_string_lossy().into_owned();
    let id = |name: &str| hexadecimal(&device.join(name)).unwrap_or_default();
    Some(Controller {
        address: address.strip_prefix("0000:").map(str::to_owned).unwrap_or(address),
        class,
        id: format!("{:04x}:{:04x}", id("vendor"), id("device")),
        driver: fs::read_link(device.join("driver"))
            .ok()
            .and_then(|to| Some(to.file_name()?.to_string_lossy().into_owned())),
    })
}

/// `0x010601`.
fn hexadecimal(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path).ok()?;
    u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// Whether there are devices of hypervisors, cards or boards, which all come with disks and are no controllers of PCI.
fn has_others(buses: &Path) -> bool {
    const DISKS: [&str; 2] = ["0x0002", "0x0008"];
    let virtio =
        |device: PathBuf| fs::read_to_string(device.join("device")).is_ok_and(|kind| DISKS.contains(&kind.trim()));
    devices(buses, "virtio").any(virtio)
        || ["vmbus", "xen", "mmc", "scsi"].iter().any(|bus| devices(buses, bus).next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Buses with these devices of PCI: address, class, driver; and with these of others.
    fn buses(pci: &[(&str, &str, Option<&str>)], others: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let make = |path: String, files: &[(&str, &str)]| {
            let path = folder.path().join(path);
            fs::create_dir_all(&path).unwrap();
            files.iter().for_each(|(name, text)| fs::write(path.join(name), text).unwrap());
            path
        };
        for (address, class, driver) in pci {
            let files = [("class", *class), ("vendor", "0x8086\n"), ("device", "0x2922\n")];
            let path = make(format!("pci/devices/{address}"), &files);
            driver.iter().for_each(|driver| symlink(format!("../../drivers/{driver}"), path.join("driver")).unwrap());
        }
        others.iter().for_each(|place| _ = make((*place).to_owned(), &[("device", "0x0002\n")]));
        folder
    }

    #[test]
    fn controllers_are_named_with_their_drivers_and_without_one_there_is_no_hope() {
        const SATA: (&str, &str, Option<&str>) = ("0000:00:1f.2", "0x010601\n", None);
        const DRIVEN: (&str, &str, Option<&str>) = ("0000:00:1f.2", "0x010601\n", Some("ahci"));
        const USB: (&str, &str, Option<&str>) = ("0001:02:00.0", "0x0c0330\n", None);
        const CARD: (&str, &str, Option<&str>) = ("0000:00:02.0", "0x020000\n", None);
        let words = "SATA 00:1f.2 [8086:2922] without a driver";
        let rows: [(&[_], &[&str], &str, bool); 8] = [
            (&[SATA, CARD], &[], words, true),
            (
                &[SATA, USB],
                &[],
                "SATA 00:1f.2 [8086:2922] without a driver, USB 0001:02:00.0 [8086:2922] without a driver",
                true,
            ),
            (
                &[DRIVEN, USB],
                &[],
                "SATA 00:1f.2 [8086:2922] with ahci, USB 0001:02:00.0 [8086:2922] without a driver",
                false,
            ),
            // The disk may hang on what is no controller of PCI.
            (&[SATA], &["virtio/devices/virtio0"], words, false),
            (&[SATA], &["vmbus/devices/x"], words, false),
            (&[SATA], &["platform/devices/x"], words, true),
            (&[CARD], &[], "none", false),
            (&[], &[], "none", false),
        ];
        for (number, (pci, others, says, hopeless)) in rows.into_iter().enumerate() {
            let buses = buses(pci, others);
            let found = Controllers::of(buses.path(), "virtio_blk 1 0 - Live\next4 2 1 x, Live\n");
            let text = format!("controllers: {says}; modules loaded: ext4, virtio_blk");
            assert_eq!((found.to_string(), found.are_hopeless()), (text, hopeless), "row {number}");
        }
    }

    #[test]
    fn of_many_the_first_are_named() {
        let modules: String = (0..50).map(|number| format!("m{number:02} 1 0\n")).collect();
        let text = Controllers::of(Path::new("/nonexistent"), &modules).to_string();
        assert!(text.ends_with("m10, m11, 38 more") && text.starts_with("controllers: none; "), "{text}");
    }
}
