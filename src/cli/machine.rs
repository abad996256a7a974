//! The machine's options as people write them, shared by `run` and `test`.

use crate::guest::spec::Network;
use crate::qemu::{AccelChoice, Bus, Nic, Reach};
use anyhow::Context;
use clap::ValueEnum;
use std::ffi::OsString;
use std::time::Duration;

/// What starts the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BootChoice {
    /// SeaBIOS and our boot stage
    Bios,
    /// OVMF and systemd-boot
    Uefi,
    /// QEMU itself, with kernel and initramfs taken from the disk
    Direct,
}

/// What executes the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AccelOption {
    /// KVM or HVF if a tiny guest proves that it works, else emulation
    Auto,
    /// KVM
    Kvm,
    /// Hypervisor.framework of macOS
    Hvf,
    /// Emulation
    Tcg,
}

/// What the disk is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BusOption {
    /// virtio-blk
    Virtio,
    /// NVMe
    Nvme,
    /// AHCI (SATA)
    Ahci,
    /// virtio-scsi
    Scsi,
    /// PIIX IDE, machine type pc
    Ide,
    /// USB stick on xHCI; Debian's cloud kernel does not drive it
    Usb,
}

/// The network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum NicOption {
    /// virtio-net
    Virtio,
    /// Intel 82540EM
    E1000,
    /// No network
    None,
}

/// The variable that says which accelerator is used where no option does.
const ACCEL: &str = "BOOTDISK_ACCEL";

impl AccelOption {
    /// What was asked for, by an option or else by the environment.
    pub fn settled(asked: Option<AccelOption>) -> anyhow::Result<AccelChoice> {
        AccelOption::among(asked, std::env::var_os(ACCEL))
    }

    fn among(asked: Option<AccelOption>, variable: Option<OsString>) -> anyhow::Result<AccelChoice> {
        let (None, Some(text)) = (asked, variable.filter(|text| !text.is_empty())) else {
            return Ok(asked.unwrap_or(AccelOption::Auto).into());
        };
        let known = text.to_str().and_then(|text| AccelOption::from_str(text, false).ok());
        known.map(AccelChoice::from).with_context(|| {
            let text = crate::escape::escape(text.as_encoded_bytes());
            format!("{ACCEL} is not auto, kvm, hvf or tcg: {text}")
        })
    }
}

impl From<AccelOption> for AccelChoice {
    fn from(option: AccelOption) -> AccelChoice {
        match option {
            AccelOption::Auto => AccelChoice::Auto,
            AccelOption::Kvm => AccelChoice::Kvm,
            AccelOption::Hvf => AccelChoice::Hvf,
            AccelOption::Tcg => AccelChoice::Tcg,
        }
    }
}

impl From<BusOption> for Bus {
    fn from(option: BusOption) -> Bus {
        match option {
            BusOption::Virtio => Bus::Virtio,
            BusOption::Nvme => Bus::Nvme,
            BusOption::Ahci => Bus::Ahci,
            BusOption::Scsi => Bus::Scsi,
            BusOption::Ide => Bus::Ide,
            BusOption::Usb => Bus::Usb,
        }
    }
}

impl NicOption {
    /// The card, if there is to be one.
    pub fn card(self) -> Option<Nic> {
        match self {
            NicOption::Virtio => Some(Nic::Virtio),
            NicOption::E1000 => Some(Nic::E1000),
            NicOption::None => None,
        }
    }
}

/// How far the guest gets: `asked` is what this boot is told of its network, `built` what the disk says itself.
pub fn reach(host_loopback: bool, asked: Option<&Network>, built: Option<&Network>) -> Reach {
    match (asked.or(built), host_loopback) {
        (Some(Network::None), _) => Reach::Nothing,
        (_, true) => Reach::Host,
        (_, false) => Reach::Outside,
    }
}

/// Seconds, with a fraction if need be, or with `s`, `m` or `h`.
pub fn parse_timeout(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3600.0),
        _ => (text, 1.0),
    };
    let seconds = number.parse::<f64>().map_err(|_| "not a time; write seconds, or a number with s, m or h")? * unit;
    Duration::try_from_secs_f64(seconds).ok().filter(|t| !t.is_zero()).ok_or_else(|| "not a time that can pass".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_network_reaches_nothing_whoever_said_so() {
        let (dhcp, none) = (Some(Network::Dhcp), Some(Network::None));
        for (host_loopback, asked, built, reached) in [
            (false, &None, &None, Reach::Outside),
            (false, &None, &dhcp, Reach::Outside),
            (true, &None, &dhcp, Reach::Host),
            (true, &dhcp, &none, Reach::Host),
            (false, &dhcp, &none, Reach::Outside),
            (false, &None, &none, Reach::Nothing),
            (true, &None, &none, Reach::Nothing),
            (true, &none, &dhcp, Reach::Nothing),
            (false, &none, &None, Reach::Nothing),
        ] {
            let got = reach(host_loopback, asked.as_ref(), built.as_ref());
            assert_eq!(got, reached, "{host_loopback} {asked:?} {built:?}");
        }
    }

    #[test]
    fn an_option_goes_before_the_environment_and_that_before_the_default() {
        let among = |asked, text: &str| AccelOption::among(asked, Some(text.into())).map_err(|error| error.to_string());
        assert_eq!(AccelOption::among(None, None).unwrap(), AccelChoice::Auto);
        assert_eq!(among(None, ""), Ok(AccelChoice::Auto));
        assert_eq!(among(None, "tcg"), Ok(AccelChoice::Tcg));
        assert_eq!(among(Some(AccelOption::Auto), "tcg"), Ok(AccelChoice::Auto));
        assert_eq!(among(Some(AccelOption::Kvm), "xen"), Ok(AccelChoice::Kvm));
        assert_eq!(among(None, "xen\n"), Err("BOOTDISK_ACCEL is not auto, kvm, hvf or tcg: xen\\n".into()));
    }

    #[test]
    fn timeouts_read_as_people_write_them() {
        for (text, seconds) in [("30", 30.0), ("1.5", 1.5), ("90s", 90.0), ("2m", 120.0), ("1h", 3600.0)] {
            assert_eq!(parse_timeout(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for bad in ["", "0", "-1", "x", "1d", "inf", "nan"] {
            assert!(parse_timeout(bad).is_err(), "{bad}");
        }
    }
}
