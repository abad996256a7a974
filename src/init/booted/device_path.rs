//! Device paths of UEFI, as far as they lead to a disk: from the root of a PCI bus over bridges to a controller, and to
//! what is behind it.
//!
//! ```text
//! node    type u8, subtype u8, length u16 (these 4 bytes too), data
//! option  attributes u32, length of the paths u16, description in UCS-2 with its zero, paths
//! ```
//!
//! Specification: UEFI 2.10, sections 3.1.3 (load options) and 10.3 (device path nodes). Not supported: paths that begin
//! at a partition (`HD(…)`), as a copy has it too; nodes of vendors.

use super::place::Unit;

/// A way from a PCI root to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePath {
    /// The root's number, `_UID` of ACPI.
    pub root: u32,
    /// Device and function at each bus.
    pub pci: Vec<(u8, u8)>,
    /// What of the controller.
    pub unit: Unit,
}

/// `PNP0A03` and `PNP0A08`, as EISA packs them: PCI and PCI Express roots.
const ROOTS: [u32; 2] = [0x0a03_41d0, 0x0a08_41d0];

/// The first path of a load option, where it leads over PCI.
pub fn of_load_option(option: &[u8]) -> Option<DevicePath> {
    let length = usize::from(u16_at(option, 4)?);
    let text = option.get(6..)?;
    let end = text.chunks_exact(2).position(|letter| letter == [0, 0])? * 2 + 2;
    parse(text.get(end..)?.get(..length)?)
}

fn parse(mut bytes: &[u8]) -> Option<DevicePath> {
    let mut path: Option<DevicePath> = None;
    while let Some((node, data, rest)) = next(bytes) {
        match (node, &mut path) {
            ((2, 1 | 2), None) if ROOTS.contains(&u32_at(data, 0)?) => {
                path = Some(DevicePath { root: u32_at(data, 4)?, pci: Vec::new(), unit: Unit::Unknown });
            }
            ((1, 1), Some(path)) => path.pci.push((*data.get(1)?, *data.first()?)),
            ((3, kind), Some(path)) => path.unit = behind(kind, data, &path.unit)?,
            (_, None) => return None,
            ((0x7f, _), _) => break,
            // A file, a partition, a vendor's own: nothing that tells controllers apart.
            _ => {}
        }
        bytes = rest;
    }
    path.filter(|path| !path.pci.is_empty())
}

/// A node's type and subtype, its data, and what follows it.
type Node<'a> = ((u8, u8), &'a [u8], &'a [u8]);

/// One node: type and subtype, data, and what follows.
fn next(bytes: &[u8]) -> Option<Node<'_>> {
    let length = usize::from(u16_at(bytes, 2)?);
    let (node, rest) = bytes.split_at_checked(length)?;
    Some(((*node.first()?, *node.get(1)?), node.get(4..)?, rest))
}

/// What a messaging node says; several of USB follow each other, a hub's port each.
fn behind(kind: u8, data: &[u8], before: &Unit) -> Option<Unit> {
    let short = |at| u16_at(data, at).map(u32::from);
    Some(match (kind, before) {
        (1, _) => Unit::Ata { channel: (*data.first()?).into(), device: (*data.get(1)?).into() },
        (2, _) => Unit::Scsi { target: short(0)?, lun: short(2)?.into() },
        (5, Unit::Usb(ports)) => Unit::Usb([ports.as_slice(), &[u32::from(*data.first()?) + 1]].concat()),
        (5, _) => Unit::Usb(vec![u32::from(*data.first()?) + 1]),
        (18, _) => Unit::Sata { port: short(0)? },
        (23, _) => Unit::Namespace(u32_at(data, 0)?),
        _ => before.clone(),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn node(kind: u8, subtype: u8, data: &[u8]) -> Vec<u8> {
        [&[kind, subtype], &(data.len() as u16 + 4).to_le_bytes()[..], data].concat()
    }

    fn root(uid: u8) -> Vec<u8> {
        node(2, 1, &[0xd0, 0x41, 3, 0x0a, uid, 0, 0, 0])
    }

    fn pci(device: u8, function: u8) -> Vec<u8> {
        node(1, 1, &[function, device])
    }

    /// A load option with this path.
    pub(in super::super) fn option(nodes: &[Vec<u8>]) -> Vec<u8> {
        let path = [nodes.concat(), node(0x7f, 0xff, &[])].concat();
        let length = (path.len() as u16).to_le_bytes();
        [&[1, 0, 0, 0][..], &length, b"U\0E\0F\0I\0\0\0", &path, b"optional data"].concat()
    }

    /// `PciRoot(0x0)/Pci(0x2,0x0)`.
    pub(in super::super) fn virtio(device: u8) -> Vec<u8> {
        option(&[root(0), pci(device, 0)])
    }

    #[test]
    fn a_path_leads_over_bridges_to_a_unit() {
        let path = |root, pci: &[(u8, u8)], unit| Some(DevicePath { root, pci: pci.to_vec(), unit });
        let file = node(4, 4, b"\\\0E\0\0\0");
        for (nodes, expected) in [
            (vec![root(0), pci(2, 0)], path(0, &[(2, 0)], Unit::Unknown)),
            (vec![root(0), pci(2, 0), file], path(0, &[(2, 0)], Unit::Unknown)),
            (
                vec![root(1), pci(0x1c, 4), pci(0, 0), node(3, 23, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
                path(1, &[(0x1c, 4), (0, 0)], Unit::Namespace(1)),
            ),
            (
                vec![root(0), pci(0x1f, 2), node(3, 18, &[3, 0, 0xff, 0xff, 0, 0])],
                path(0, &[(0x1f, 2)], Unit::Sata { port: 3 }),
            ),
            (
                vec![root(0), pci(1, 1), node(3, 1, &[1, 0, 0, 0])],
                path(0, &[(1, 1)], Unit::Ata { channel: 1, device: 0 }),
            ),
            (
                vec![root(0), pci(3, 0), node(3, 2, &[2, 1, 1, 0])],
                path(0, &[(3, 0)], Unit::Scsi { target: 258, lun: 1 }),
            ),
            (
                vec![root(0), pci(0x14, 0), node(3, 5, &[2, 0]), node(3, 5, &[0, 0])],
                path(0, &[(0x14, 0)], Unit::Usb(vec![3, 1])),
            ),
            // A partition alone: a copy has the same.
            (vec![node(4, 1, &[0; 38])], None),
            // A root that is not PCI, and a root without anything.
            (vec![node(2, 1, &[0xd0, 0x41, 1, 0x0c, 0, 0, 0, 0]), pci(1, 0)], None),
            (vec![root(0)], None),
            (vec![], None),
        ] {
            assert_eq!(of_load_option(&option(&nodes)), expected);
        }
    }

    #[test]
    fn what_is_cut_off_or_has_no_length_is_no_path_and_never_a_loop() {
        let whole = option(&[root(0), pci(2, 0), node(3, 18, &[3, 0, 0, 0, 0, 0])]);
        for length in 0..whole.len() {
            // A path that ends early may still lead somewhere; it must only end.
            _ = of_load_option(&whole[..length]);
            let mut zero = whole.clone();
            zero[length] = 0;
            _ = of_load_option(&zero);
        }
        assert_eq!(of_load_option(&option(&[vec![1, 1, 0, 0]])), None);
        assert_eq!(of_load_option(&option(&[vec![1, 1, 3, 0]])), None);
        assert_eq!(of_load_option(&[0xff; 64]), None);
    }
}
