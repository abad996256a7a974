//! The machine as values: what the user asks for, and what is left of it once the host has been looked at.

use super::forward::Forward;
use crate::arch::Architecture;
use crate::inputs::FileId;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

/// What starts the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// SeaBIOS, which QEMU brings along; the disk's own boot stage follows.
    Bios,
    /// OVMF or AAVMF; the disk's EFI System Partition follows.
    Uefi,
    /// QEMU loads the kernel itself and the disk is only a disk.
    Direct {
        /// bzImage or EFI-stub Image.
        kernel: PathBuf,
        /// Initial RAM disk.
        initrd: Option<PathBuf>,
        /// Kernel command line.
        cmdline: String,
    },
}

/// Keys of Secure Boot that a machine's firmware has: all three kinds are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Signature lists.
    pub lists: Vec<u8>,
    /// The variables' time.
    pub time: [u8; 16],
}

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The host's processor, through Linux.
    Kvm,
    /// The host's processor, through macOS's Hypervisor.framework.
    Hvf,
    /// QEMU's own translator.
    Tcg,
}

impl Accel {
    /// As QEMU names it.
    pub fn name(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Hvf => "hvf",
            Accel::Tcg => "tcg",
        }
    }
}

/// What the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccelChoice {
    /// KVM or HVF where it works, else TCG.
    #[default]
    Auto,
    /// KVM or an error.
    Kvm,
    /// HVF or an error.
    Hvf,
    /// TCG.
    Tcg,
}

impl FromStr for AccelChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<AccelChoice, String> {
        match text {
            "auto" => Ok(AccelChoice::Auto),
            "kvm" => Ok(AccelChoice::Kvm),
            "hvf" => Ok(AccelChoice::Hvf),
            "tcg" => Ok(AccelChoice::Tcg),
            _ => Err(format!("unknown accelerator (there are auto, kvm, hvf and tcg): {text}")),
        }
    }
}

/// What the disk is attached to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk over PCI.
    #[default]
    Virtio,
    /// NVMe.
    Nvme,
    /// AHCI, of `q35` itself or as a PCI card.
    Ahci,
    /// virtio-scsi.
    Scsi,
    /// The PIIX IDE controller of machine type `pc`; x86_64 only.
    Ide,
    /// A USB stick on xHCI.
    Usb,
}

/// Whether the guest's writes reach the disk file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// They go to a temporary overlay that vanishes with the machine.
    #[default]
    Overlay,
    /// They go to the disk file.
    Write,
}

/// The network card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nic {
    /// virtio-net over PCI.
    #[default]
    Virtio,
    /// Intel 82540EM.
    E1000,
}

/// How far a guest with a network card gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Everything that this host reaches, but for its own loopback addresses.
    #[default]
    Outside,
    /// This host's loopback addresses too: 127.0.0.1 is 10.0.2.2 there, and ::1 is fec0::2.
    Host,
    /// Nothing, whatever it does. Forwarded ports lead to it.
    Nothing,
}

/// What there is to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Display {
    /// No graphics card at all.
    #[default]
    None,
    /// A graphics card and no window: `screendump` works.
    Hidden,
    /// A graphics card in a window of QEMU's.
    Window,
}

/// What a reset that the guest asks for does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reboot {
    /// The machine boots again, and a loop of resets is recognised.
    #[default]
    Honour,
    /// The machine ends.
    End,
}

/// What the user asks for.
#[derive(Clone, Debug)]
pub struct MachineOptions {
    /// The guest's architecture.
    pub arch: Architecture,
    /// What starts the kernel.
    pub boot: Boot,
    /// Which accelerator, or to find out.
    pub accel: AccelChoice,
    /// Memory in MiB.
    pub memory: u32,
    /// Virtual processors, 1 to 255.
    pub cpus: u32,
    /// The raw disk image or block device.
    pub disk: PathBuf,
    /// The file that was looked at under that name: another one by now is not booted.
    pub disk_id: Option<FileId>,
    /// Whether it is written to.
    pub access: Access,
    /// Bytes the guest sees, more than the disk has: with [`Access::Write`] the file is made that large.
    pub size: Option<u64>,
    /// What it is attached to.
    pub bus: Bus,
    /// The network card, `None` for no network.
    pub network: Option<Nic>,
    /// How far the guest gets by it.
    pub reach: Reach,
    /// Host ports that lead into the guest.
    pub forwards: Vec<Forward>,
    /// What there is to see.
    pub display: Display,
    /// What a reset does.
    pub reboot: Reboot,
    /// What SeaBIOS says to its debug port is passed on. OVMF says on the serial console what a reader needs.
    pub firmware_log: bool,
    /// The firmware asks for signatures by these keys; for [`Boot::Uefi`].
    pub secure_boot: Option<Keys>,
    /// QEMU's program, instead of the one in PATH.
    pub qemu: Option<PathBuf>,
    /// Where temporary overlays grow, instead of `TMPDIR` or /var/tmp.
    pub scratch: Option<PathBuf>,
    /// More arguments for QEMU, after ours.
    pub extra: Vec<OsString>,
}

impl MachineOptions {
    /// A machine of this architecture for this disk: 1 GiB of memory, the host's processors up to 4, a network.
    pub fn new(arch: Architecture, disk: PathBuf) -> MachineOptions {
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get().min(4) as u32);
        MachineOptions {
            arch,
            boot: if arch == Architecture::X86_64 { Boot::Bios } else { Boot::Uefi },
            accel: AccelChoice::Auto,
            memory: 1024,
            cpus,
            disk,
            disk_id: None,
            access: Access::Overlay,
            size: None,
            bus: Bus::Virtio,
            network: Some(Nic::Virtio),
            reach: Reach::Outside,
            forwards: Vec::new(),
            display: Display::None,
            reboot: Reboot::Honour,
            firmware_log: false,
            secure_boot: None,
            qemu: None,
            scratch: None,
            extra: Vec::new(),
        }
    }

    /// SeaBIOS starts this machine, for a direct boot too.
    pub fn has_seabios(&self) -> bool {
        self.arch == Architecture::X86_64 && self.boot != Boot::Uefi
    }
}

/// Reads a size of memory as `docker run -m` has it (`512m`, `2g`, a plain number of bytes) into MiB, rounded up.
pub fn parse_memory(text: &str) -> Result<u32, String> {
    let refuse = || format!("size of memory is not a number with b, k, m or g: {text}");
    let lower = text.to_ascii_lowercase();
    let unit_at = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (digits, unit) = lower.split_at(unit_at);
    let number: u64 = digits.parse().map_err(|_| refuse())?;
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(refuse()),
    };
    let bytes = number.checked_mul(1 << shift).ok_or_else(refuse)?;
    let mib = bytes.div_ceil(1 << 20);
    // Below this no kernel we know unpacks itself; above, QEMU's own limits differ by machine type.
    if !(32..=16 << 20).contains(&mib) {
        return Err(format!("size of memory is not between 32m and 16t: {text}"));
    }
    Ok(mib as u32)
}

#[cfg(test)]
mod tests {
    use super::parse_memory;

    #[test]
    fn memory_as_docker_writes_it() {
        for (text, mib) in [
            ("512m", 512),
            ("2g", 2048),
            ("1G", 1024),
            ("256MiB", 256),
            ("67108864", 64),
            ("65536k", 64),
            ("33554433", 33),
        ] {
            assert_eq!(parse_memory(text), Ok(mib), "{text}");
        }
        for text in ["", "g", "-1g", "1.5g", "1x", "0", "31m", "17t", "99999999999999999999g", "18446744073709551615t"]
        {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }
}
