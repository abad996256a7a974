//! Which modules go into an initramfs: data, no algorithm.
//!
//! Every disk controller, network card and channel that QEMU, the hypervisors of others and the clouds put before a guest
//! of ours, and USB sticks, so that one disk boots wherever it is attached. Kernels lack most of them, as Debian's cloud
//! kernel has no USB: what is absent takes no room.

use crate::arch::Arch;

/// When PID 1 loads a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// At every boot: nothing in /sys announces the need for it, or it must be there before a device appears.
    Always,
    /// When a device's `modalias` matches one of its aliases.
    OnDemand,
}

use Policy::{Always, OnDemand};

/// A module, when it is loaded and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Normalised name.
    pub name: &'static str,
    /// When it is loaded.
    pub policy: Policy,
    /// What it is for, for people.
    pub what: &'static str,
}

const fn wanted(name: &'static str, policy: Policy, what: &'static str) -> Wanted {
    Wanted { name, policy, what }
}

/// In the order of a boot: buses, disks, the file system, the channel to the host, the network.
const WANTED: &[Wanted] = &[
    wanted("virtio_pci", OnDemand, "virtio devices on PCI"),
    wanted("virtio_mmio", OnDemand, "virtio devices of microvm and Firecracker"),
    wanted("virtio_blk", OnDemand, "virtio-blk disks"),
    // A SCSI disk is announced by a SCSI host that may itself be a module: both orders must work.
    wanted("sd_mod", Always, "SCSI and ATA disks"),
    wanted("virtio_scsi", OnDemand, "virtio-scsi controllers"),
    wanted("ata_piix", OnDemand, "IDE disks of the pc machine"),
    wanted("ahci", OnDemand, "SATA disks of the q35 machine"),
    wanted("nvme", OnDemand, "NVMe disks"),
    wanted("vmw_pvscsi", OnDemand, "paravirtual SCSI controllers"),
    wanted("hv_vmbus", OnDemand, "the bus of Hyper-V and Azure"),
    wanted("hv_storvsc", OnDemand, "disks of Hyper-V and Azure"),
    wanted("pci_hyperv", OnDemand, "PCI devices of Hyper-V: Azure's NVMe disks and its fast network cards"),
    wanted("xen_blkfront", OnDemand, "disks of Xen"),
    wanted("xhci_pci", OnDemand, "USB 3 controllers"),
    wanted("ehci_pci", OnDemand, "USB 2 controllers"),
    wanted("usb_storage", OnDemand, "USB sticks"),
    wanted("uas", OnDemand, "USB disks that speak SCSI"),
    // ext4 asks for crc32c by the name of an algorithm, and no modprobe answers in an initramfs.
    wanted("crc32c_generic", Always, "checksums of ext4's metadata"),
    wanted("crc32c_intel", OnDemand, "the same, in hardware"),
    wanted("efivarfs", OnDemand, "UEFI's variables, to know the disk that was booted from its copies"),
    wanted("ext4", Always, "the root file system"),
    wanted("overlay", Always, "overlay mounts"),
    wanted("virtio_console", Always, "the channel to the host"),
    wanted("virtio_rng", Always, "entropy from the host"),
    wanted("pvpanic_pci", OnDemand, "tells the host of a kernel panic"),
    wanted("pvpanic_mmio", OnDemand, "tells the host of a kernel panic (ISA, MMIO)"),
    wanted("button", Always, "the power button"),
    wanted("evdev", Always, "the power button's events"),
    wanted("virtio_net", OnDemand, "virtio network cards"),
    wanted("e1000", OnDemand, "Intel 82540 network cards, QEMU's old default"),
    wanted("e1000e", OnDemand, "Intel 82574 network cards, q35's default"),
    wanted("vmxnet3", OnDemand, "paravirtual network cards"),
    wanted("hv_netvsc", OnDemand, "network cards of Hyper-V and Azure"),
    wanted("mana", OnDemand, "fast network cards of Azure"),
    wanted("xen_netfront", OnDemand, "network cards of Xen"),
    wanted("ena", OnDemand, "network cards of AWS"),
    wanted("gve", OnDemand, "network cards of Google's cloud"),
    wanted("ipv6", Always, "servers that listen on ::"),
    wanted("af_packet", Always, "DHCP by raw packets"),
];

/// What machines of aarch64 have beside these: booted directly they have no ACPI, and their power button is a pin.
const WANTED_ON_AARCH64: &[Wanted] = &[
    wanted("gpio_pl061", OnDemand, "pins of the virt machine"),
    wanted("gpio_keys", OnDemand, "the power button on such a pin"),
];

/// What is wanted for machines of one architecture.
pub fn wanted_on(arch: Arch) -> impl Iterator<Item = &'static Wanted> + Clone {
    let own = if arch == Arch::Aarch64 { WANTED_ON_AARCH64 } else { &[] };
    WANTED.iter().chain(own)
}

/// What the wanted modules are known to need. A guess that spares a second pass over a package, never relied upon.
const LIKELY: &[&str] = &[
    "virtio",
    "virtio_ring",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "scsi_mod",
    "scsi_common",
    "scsi_transport_fc",
    "pci_hyperv_intf",
    "usb_common",
    "usbcore",
    "xhci_hcd",
    "ehci_hcd",
    "t10_pi",
    "crc_t10dif",
    "crct10dif_common",
    "crc64_rocksoft",
    "crc64",
    "libata",
    "libahci",
    "nvme_core",
    "nvme_common",
    "net_failover",
    "failover",
    "jbd2",
    "mbcache",
    "crc16",
    "pvpanic",
    "rng_core",
    "ptp",
    "pps_core",
    "libcrc32c",
];

/// Whether the module is wanted or likely needed by one that is.
pub fn is_likely(name: &str) -> bool {
    wanted_on(Arch::Aarch64).any(|wanted| wanted.name == name) || LIKELY.contains(&name)
}
