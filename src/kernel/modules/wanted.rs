//! Which modules go into an initramfs: data, no algorithm.
//!
//! Every disk controller, network card and channel that QEMU, the hypervisors of others and the clouds put before a guest
//! of ours, and USB sticks, so that one disk boots wherever it is attached; on request what real machines have, too. Kernels lack most of them, as Debian's cloud
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
    wanted("virtiofs", OnDemand, "folders of the host"),
    wanted("qemu_fw_cfg", OnDemand, "settings from QEMU"),
    wanted("sr_mod", OnDemand, "CD-ROM drives, where clouds put their disks"),
    wanted("isofs", OnDemand, "disks of clouds"),
    wanted("vfat", OnDemand, "disks of clouds, of another kind"),
    // Which of them names in FAT are read with depends on the kernel's configuration.
    wanted("nls_cp437", OnDemand, "names in FAT"),
    wanted("nls_ascii", OnDemand, "the same"),
    wanted("nls_iso8859_1", OnDemand, "the same"),
    wanted("nls_utf8", OnDemand, "the same"),
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

/// What machines have that are nobody's guests: controllers of older USB, SD cards, SATA, SAS and RAID; network cards.
const WANTED_ON_METAL: &[Wanted] = &[
    wanted("ohci_pci", OnDemand, "USB 1 controllers"),
    wanted("uhci_hcd", OnDemand, "USB 1 controllers of Intel and VIA"),
    wanted("sdhci_pci", OnDemand, "SD card readers on PCI"),
    wanted("sdhci_acpi", OnDemand, "SD card readers and eMMC of small machines"),
    wanted("mmc_block", OnDemand, "SD cards and eMMC"),
    wanted("ata_generic", OnDemand, "IDE disks of any controller"),
    wanted("pata_amd", OnDemand, "IDE disks of AMD's and NVIDIA's chipsets"),
    wanted("pata_via", OnDemand, "IDE disks of VIA's chipsets"),
    wanted("sata_mv", OnDemand, "SATA disks of Marvell's controllers"),
    wanted("sata_nv", OnDemand, "SATA disks of NVIDIA's chipsets"),
    wanted("sata_sil", OnDemand, "SATA disks of Silicon Image's controllers"),
    wanted("sata_sil24", OnDemand, "the same, later ones"),
    wanted("sata_via", OnDemand, "SATA disks of VIA's chipsets"),
    wanted("vmd", OnDemand, "NVMe disks behind Intel's volume management"),
    wanted("mptspi", OnDemand, "LSI's SCSI controllers, VMware's old default"),
    wanted("mptsas", OnDemand, "LSI's first SAS controllers"),
    wanted("mpt3sas", OnDemand, "Broadcom's SAS controllers"),
    wanted("mpi3mr", OnDemand, "the same, later ones"),
    wanted("megaraid_sas", OnDemand, "Broadcom's RAID controllers, Dell's PERC"),
    wanted("sym53c8xx", OnDemand, "Symbios' SCSI controllers"),
    wanted("aacraid", OnDemand, "Adaptec's RAID controllers"),
    wanted("smartpqi", OnDemand, "Microchip's RAID controllers"),
    wanted("hpsa", OnDemand, "HP's RAID controllers"),
    wanted("igb", OnDemand, "Intel's network cards, 1 Gbit/s"),
    wanted("igc", OnDemand, "Intel's network cards, 2.5 Gbit/s"),
    wanted("ixgbe", OnDemand, "Intel's network cards, 10 Gbit/s"),
    wanted("i40e", OnDemand, "Intel's network cards, 40 Gbit/s"),
    wanted("ice", OnDemand, "Intel's network cards, 100 Gbit/s"),
    wanted("e100", OnDemand, "Intel's network cards, 100 Mbit/s"),
    wanted("r8169", OnDemand, "Realtek's network cards"),
    wanted("8139too", OnDemand, "Realtek's old network cards"),
    wanted("8139cp", OnDemand, "the same, by their other interface"),
    wanted("tg3", OnDemand, "Broadcom's network cards, 1 Gbit/s"),
    wanted("bnx2", OnDemand, "Broadcom's older network cards"),
    wanted("bnx2x", OnDemand, "Broadcom's network cards, 10 Gbit/s"),
    wanted("bnxt_en", OnDemand, "Broadcom's network cards, 25 Gbit/s and more"),
    wanted("mlx4_en", OnDemand, "Mellanox' older network cards"),
    wanted("mlx5_core", OnDemand, "Mellanox' network cards"),
    wanted("atlantic", OnDemand, "Aquantia's network cards"),
    wanted("sky2", OnDemand, "Marvell's network cards"),
    wanted("forcedeth", OnDemand, "network cards of NVIDIA's chipsets"),
    wanted("pcnet32", OnDemand, "AMD's network cards, VMware's old default"),
    wanted("tulip", OnDemand, "DEC's network cards"),
];

/// What verifies a root block by block, and hashes them; also in hardware, where the processor's alias asks for it.
const WANTED_FOR_VERITY: &[Wanted] = &[
    wanted("dm_verity", Always, "a root that is verified block by block"),
    wanted("sha256_generic", Always, "its hashes"),
    wanted("sha256", Always, "the same, as later kernels call it"),
    wanted("sha256_ssse3", OnDemand, "the same, in hardware (x86)"),
    wanted("sha2_ce", OnDemand, "the same, in hardware (arm64)"),
];

/// For which machines a disk has drivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drivers {
    /// Virtual ones and those of clouds; and USB.
    #[default]
    Vm,
    /// All others too.
    All,
}

impl Drivers {
    /// What a disk was made for, by the modules that it has.
    pub fn of<'a>(mut modules: impl Iterator<Item = &'a str>) -> Drivers {
        match modules.any(|name| WANTED_ON_METAL.iter().any(|wanted| wanted.name == name)) {
            true => Drivers::All,
            false => Drivers::Vm,
        }
    }
}

/// What machines of aarch64 have beside these: booted directly they have no ACPI, and their power button is a pin.
const WANTED_ON_AARCH64: &[Wanted] = &[
    wanted("gpio_pl061", OnDemand, "pins of the virt machine"),
    wanted("gpio_keys", OnDemand, "the power button on such a pin"),
];

/// What is wanted for machines of one architecture, with or without a verified root.
pub fn wanted_on(arch: Arch, drivers: Drivers, verity: bool) -> impl Iterator<Item = &'static Wanted> + Clone {
    let own = if arch == Arch::Aarch64 { WANTED_ON_AARCH64 } else { &[] };
    let metal = if drivers == Drivers::All { WANTED_ON_METAL } else { &[] };
    let verity = if verity { WANTED_FOR_VERITY } else { &[] };
    WANTED.iter().chain(own).chain(metal).chain(verity)
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
    "fuse",
    "cdrom",
    "fat",
    "pvpanic",
    "rng_core",
    "ptp",
    "pps_core",
    "libcrc32c",
    "dm_mod",
    "dm_bufio",
    "reed_solomon",
];

/// Whether the module is wanted or likely needed by one that is.
pub fn is_likely(name: &str) -> bool {
    wanted_on(Arch::Aarch64, Drivers::Vm, true).any(|wanted| wanted.name == name) || LIKELY.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_module_is_wanted_twice_and_metal_is_on_request() {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let names = |drivers| wanted_on(arch, drivers, true).map(|wanted| wanted.name).collect::<Vec<_>>();
            let (vm, all) = (names(Drivers::Vm), names(Drivers::All));
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
            assert!(
                vm.iter().all(|name| all.contains(name))
                    && all.contains(&"megaraid_sas")
                    && !vm.contains(&"megaraid_sas")
            );
            assert_eq!(Drivers::of(vm.into_iter()), Drivers::Vm);
            assert_eq!(Drivers::of(all.into_iter()), Drivers::All);
        }
    }
}
