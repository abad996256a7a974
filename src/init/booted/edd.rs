//! The boot drive as a BIOS describes it: the answer to INT 13h AH=48h, which our boot stage hands on.
//!
//! ```text
//! offset  30  key 0xbedd       36  host bus, 4 letters    48  interface path: of PCI bus, device, function, channel
//!         32  length 36 or 44  40  interface, 8 letters   56  device path, 8 bytes or 16; then zero, checksum
//! ```
//!
//! Specification: BIOS Enhanced Disk Drive Services 3.0 (36 bytes) and T13's EDD-3 (44 bytes), "Get Device Parameters".
//! Not supported: disks that are not on PCI. Of interfaces that write their units in a form of their own (SATA, USB,
//! Fibre Channel, NVMe) the controller counts alone.

use super::place::{PciAddress, Place, Unit};
use crate::guest::booted::SETUP_DATA;
use std::fs;
use std::path::Path;

/// Where the device path's part of the answer begins.
const PATH: usize = 30;
/// PCI class of an IDE controller; other ATA controllers have no primary channel and no master.
const IDE: u16 = 0x0101;

/// Where the firmware says that the boot drive is.
pub fn place(sys: &Path) -> Option<Place> {
    let place = parse(&answer(sys)?)?.checked(sys)?;
    match place.unit {
        Unit::Ata { .. } if place.controller.class(sys) != Some(IDE) => Some(Place { unit: Unit::Unknown, ..place }),
        _ => Some(place),
    }
}

/// The setup data of our type.
fn answer(sys: &Path) -> Option<Vec<u8>> {
    fs::read_dir(sys.join("kernel/boot_params/setup_data")).ok()?.flatten().find_map(|node| {
        let kind = fs::read_to_string(node.path().join("type")).ok()?;
        let ours = u32::from_str_radix(kind.trim().trim_start_matches("0x"), 16) == Ok(SETUP_DATA);
        ours.then(|| fs::read(node.path().join("data")).ok())?
    })
}

fn parse(answer: &[u8]) -> Option<Place> {
    let path = answer.get(PATH..)?;
    let length = usize::from(*path.get(2)?);
    let path = path.get(..length).filter(|_| length == 36 || length == 44)?;
    let sum = path.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if path[..2] != 0xbeddu16.to_le_bytes() || sum != 0 || &path[6..10] != b"PCI " {
        return None;
    }
    let controller = PciAddress { domain: 0, bus: path[18], device: path[19], function: path[20] };
    let (channel, device) = (path[21], &path[26..]);
    let unit = match &path[10..18] {
        b"ATA     " | b"ATAPI   " if channel < 2 && device[0] < 2 => {
            Unit::Ata { channel: channel.into(), device: device[0].into() }
        }
        b"SCSI    " => Unit::Scsi {
            target: u16::from_le_bytes([device[0], device[1]]).into(),
            lun: u64::from(u32::from_le_bytes([device[2], device[3], device[4], device[5]])),
        },
        _ => Unit::Unknown,
    };
    Some(Place { controller, unit })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An answer with this bus, interface, interface path and device path, and a right checksum.
    pub(in super::super) fn answer(length: usize, bus: &[u8], interface: &[u8], at: [u8; 4], device: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; PATH + length];
        bytes[..2].copy_from_slice(&74u16.to_le_bytes());
        bytes[30..33].copy_from_slice(&[0xdd, 0xbe, length as u8]);
        bytes[36..36 + bus.len()].copy_from_slice(bus);
        bytes[40..40 + interface.len()].copy_from_slice(interface);
        bytes[48..52].copy_from_slice(&at);
        bytes[56..56 + device.len()].copy_from_slice(device);
        let sum = bytes[PATH..].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        *bytes.last_mut().unwrap() = sum.wrapping_neg();
        bytes.resize(74, 0);
        bytes
    }

    #[test]
    fn a_bios_says_bus_device_function_and_unit() {
        let pci = |bus, device, function| PciAddress { domain: 0, bus, device, function };
        let parsed = |interface: &[u8], at, device: &[u8]| {
            let (new, old) = (answer(44, b"PCI ", interface, at, device), answer(36, b"PCI ", interface, at, device));
            assert_eq!(parse(&new), parse(&old));
            parse(&new).unwrap()
        };
        let scsi = |target, lun| Unit::Scsi { target, lun };
        for (interface, at, device, controller, unit) in [
            // As SeaBIOS has virtio disks.
            (&b"SCSI    "[..], [0, 1, 0, 0], &[0, 0][..], pci(0, 1, 0), scsi(0, 0)),
            (b"SCSI    ", [2, 31, 7, 0], &[5, 1, 3], pci(2, 31, 7), scsi(261, 3)),
            (b"ATA     ", [0, 1, 1, 1], &[1], pci(0, 1, 1), Unit::Ata { channel: 1, device: 1 }),
            (b"ATA     ", [0, 31, 2, 0xff], &[0], pci(0, 31, 2), Unit::Unknown),
            (b"USB     ", [0, 20, 0, 0], &[1, 2, 3, 4], pci(0, 20, 0), Unit::Unknown),
            (b"NVME    ", [1, 0, 0, 0], &[1], pci(1, 0, 0), Unit::Unknown),
        ] {
            assert_eq!(parsed(interface, at, device), Place { controller, unit });
        }
    }

    #[test]
    fn an_answer_without_a_path_or_with_a_damaged_one_says_nothing() {
        let good = answer(44, b"PCI ", b"SCSI    ", [0, 1, 0, 0], &[0]);
        assert!(parse(&good).is_some());
        for at in 30..74 {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert_eq!(parse(&bad), None, "{at}");
        }
        for length in 0..74 {
            assert_eq!(parse(&good[..length]), None, "{length}");
        }
        assert_eq!(parse(&answer(44, b"ISA ", b"ATA     ", [0xf0, 1, 0, 0], &[0])), None);
        assert_eq!(parse(&[0; 74]), None);
    }
}
