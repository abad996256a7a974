//! Where people run machines, and whether a kernel finds its disk there.
//!
//! A kernel's modules speak first, then its configuration. What was never tried says only that the drivers are there.

use super::Bundle;
use super::config::Setting;
use std::collections::BTreeMap;

/// A driver: its module and its option.
type Driver = (&'static str, &'static str);

/// Places, each with what a disk hangs on there: all of these, of each any one.
const PLACES: [(&str, &[&[Driver]]); 6] = [
    ("QEMU", &[&[("virtio_blk", "VIRTIO_BLK"), ("virtio_scsi", "SCSI_VIRTIO")]]),
    ("VMware", &[&[("vmw_pvscsi", "VMWARE_PVSCSI"), ("ahci", "SATA_AHCI"), NVME, ("ata_piix", "ATA_PIIX")]]),
    ("Hyper-V", &[&[("hv_vmbus", "HYPERV")], &[("hv_storvsc", "HYPERV_STORAGE")]]),
    ("Xen", &[&[("xen_blkfront", "XEN_BLKDEV_FRONTEND")]]),
    ("EC2", &[&[NVME]]),
    ("USB", &[&[("usb_storage", "USB_STORAGE")], &[("xhci_pci", "USB_XHCI_PCI"), ("ehci_pci", "USB_EHCI_PCI")]]),
];
const NVME: Driver = ("nvme", "BLK_DEV_NVME");

/// What a kernel lacks in each place; nothing where it boots, `None` where neither modules nor configuration tell.
pub fn of(bundle: &Bundle) -> BTreeMap<&'static str, Option<Vec<&'static str>>> {
    PLACES.into_iter().map(|(place, needs)| (place, lacks(bundle, needs))).collect()
}

/// The same in words: `QEMU yes, Hyper-V no (hv_storvsc)`.
pub fn boots_on(bundle: &Bundle) -> String {
    let word = |(place, needs)| match lacks(bundle, needs) {
        None => format!("{place} not known"),
        Some(lacks) if lacks.is_empty() => format!("{place} yes"),
        Some(lacks) => format!("{place} no ({})", lacks.join(", ")),
    };
    PLACES.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

fn lacks(bundle: &Bundle, needs: &[&[Driver]]) -> Option<Vec<&'static str>> {
    let mut lacking = Vec::new();
    for any in needs {
        let has: Vec<Option<bool>> = any.iter().map(|driver| has(bundle, driver)).collect();
        match has.contains(&Some(true)) {
            true => {}
            false if has.contains(&None) => return None,
            // The first is the usual one.
            false => lacking.extend(any.first().map(|(module, _)| *module)),
        }
    }
    Some(lacking)
}

/// Whether a kernel has a driver, as a module that is there or built in.
pub(super) fn has(bundle: &Bundle, (module, option): &Driver) -> Option<bool> {
    if let Some(tree) = &bundle.modules
        && (tree.path(module).is_some() || tree.builtin_names().contains(*module))
    {
        return Some(true);
    }
    match &bundle.config {
        Some(config) => Some(matches!(config.get(option), Some(Setting::Yes))),
        None => bundle.modules.as_ref().map(|_| false),
    }
}
