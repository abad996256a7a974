//! A place that a disk hangs on, as firmware and kernel both can say it: a PCI function, and what is behind it.

use std::fs;
use std::path::Path;

/// A function of a PCI device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciAddress {
    /// Segment.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl PciAddress {
    /// As the kernel writes it: `0000:00:1f.2`.
    pub fn parse(text: &str) -> Option<PciAddress> {
        let (domain, rest) = text.split_once(':')?;
        let (bus, rest) = rest.split_once(':')?;
        let (device, function) = rest.split_once('.')?;
        let byte = |digits: &str, length| (digits.len() == length).then(|| u8::from_str_radix(digits, 16).ok())?;
        let domain = (4..=8).contains(&domain.len()).then(|| u32::from_str_radix(domain, 16).ok())??;
        Some(PciAddress { domain, bus: byte(bus, 2)?, device: byte(device, 2)?, function: byte(function, 1)? })
    }

    fn name(self) -> String {
        format!("{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }

    /// The upper two bytes of its class: the kind of device that this machine has there, if it has one.
    pub fn class(self, sys: &Path) -> Option<u16> {
        let text = fs::read_to_string(sys.join("bus/pci/devices").join(self.name()).join("class")).ok()?;
        let class = u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()?;
        u16::try_from(class >> 8).ok()
    }
}

/// What is meant behind a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The place is the controller alone.
    Unknown,
    /// A port of a SATA controller, from 0.
    Sata {
        /// The port.
        port: u32,
    },
    /// A disk of an IDE controller.
    Ata {
        /// 0 primary, 1 secondary.
        channel: u32,
        /// 0 master, 1 slave.
        device: u32,
    },
    /// A SCSI disk.
    Scsi {
        /// Target.
        target: u32,
        /// Logical unit.
        lun: u64,
    },
    /// A namespace of an NVMe controller.
    Namespace(u32),
    /// Ports of USB from the controller on, each from 1.
    Usb(Vec<u32>),
}

/// A place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The controller's.
    pub controller: PciAddress,
    /// What of it.
    pub unit: Unit,
}

/// PCI classes of what disks hang on: storage, base system (SD hosts), serial buses (USB).
const CLASSES: [u16; 3] = [0x01, 0x08, 0x0c];

impl Place {
    /// The place, if this machine has such a controller there.
    pub fn checked(self, sys: &Path) -> Option<Place> {
        self.controller.class(sys).is_some_and(|class| CLASSES.contains(&(class >> 8))).then_some(self)
    }
}
