//! The option that UEFI booted, and where in this machine its device path leads.
//!
//! `BootCurrent` names the option, `Boot####` has its path. What systemd-boot leaves behind (`LoaderDevicePartUUID`,
//! `LoaderImageIdentifier`) is a partition's GUID and a file's name, which a copy has too.

use super::device_path::{DevicePath, of_load_option};
use super::place::{PciAddress, Place};
use crate::init::modules::Loader;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Where the variables are mounted for as long as they are read.
const VARIABLES: &str = "/efivars";
/// The vendor of the specification's own variables.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Most bytes of a variable that are looked at.
const LIMIT: u64 = 64 << 10;

/// Where the option that was booted leads to.
pub fn place(sys: &Path, modules: &mut Loader) -> Option<Place> {
    if !sys.join("firmware/efi").exists() {
        return None;
    }
    modules.load_named("efivarfs");
    fs::create_dir_all(VARIABLES).ok()?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("efivarfs"), VARIABLES, Some("efivarfs"), flags, None::<&str>).ok()?;
    let path = booted_option(Path::new(VARIABLES)).and_then(|option| of_load_option(&option));
    _ = umount2(VARIABLES, MntFlags::MNT_DETACH);
    resolve(sys, &path?)?.checked(sys)
}

fn booted_option(variables: &Path) -> Option<Vec<u8>> {
    let current = variable(variables, "BootCurrent")?;
    let number = u16::from_le_bytes(*current.first_chunk()?);
    variable(variables, &format!("Boot{number:04X}"))
}

/// A variable without its four bytes of attributes, which the file has in front.
fn variable(variables: &Path, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(variables.join(format!("{name}-{GLOBAL}"))).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(bytes.get(4..)?.to_vec())
}

/// The kernel's address of the controller: buses have no numbers in a device path, so it is walked.
fn resolve(sys: &Path, path: &DevicePath) -> Option<Place> {
    let root = fs::read_dir(sys.join("devices")).ok()?.flatten().map(|entry| entry.path());
    let mut folder = root.into_iter().find(|folder| root_number(folder) == Some(path.root))?;
    let mut controller = None;
    for &(device, function) in &path.pci {
        let below = fs::read_dir(&folder).ok()?.flatten().find_map(|entry| {
            let address = PciAddress::parse(entry.file_name().to_str()?)?;
            ((address.device, address.function) == (device, function)).then(|| (address, entry.path()))
        });
        let (address, next) = below?;
        (controller, folder) = (Some(address), next);
    }
    Some(Place { controller: controller?, unit: path.unit.clone() })
}

/// The number of a folder that is a PCI root, `pci0000:00`: that of ACPI, or where the kernel does not tell it, the bus.
fn root_number(folder: &Path) -> Option<u32> {
    let (domain, bus) = folder.file_name()?.to_str()?.strip_prefix("pci")?.split_once(':')?;
    match fs::read_to_string(folder.join("firmware_node/uid")) {
        Ok(text) => text.trim().parse().ok(),
        Err(_) => u32::from_str_radix(bus, 16).ok().filter(|_| domain == "0000"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::booted::device_path;
    use crate::init::booted::place::Unit;

    #[test]
    fn a_path_is_walked_to_the_kernels_address() {
        let sys = tempfile::tempdir().unwrap();
        let make = |path: &str| fs::create_dir_all(sys.path().join(path)).unwrap();
        make("devices/pci0000:00/0000:00:1c.4/0000:03:00.0");
        make("devices/pci0000:00/0000:00:1c.0/0000:02:00.0");
        make("devices/pci0000:40/firmware_node");
        make("devices/pci0000:40/0000:40:01.0");
        make("devices/platform");
        fs::write(sys.path().join("devices/pci0000:40/firmware_node/uid"), "7\n").unwrap();
        let resolved = |root, pci: &[(u8, u8)]| {
            let path = DevicePath { root, pci: pci.to_vec(), unit: Unit::Namespace(1) };
            resolve(sys.path(), &path).map(|place| place.controller)
        };
        assert_eq!(resolved(0, &[(0x1c, 4), (0, 0)]), PciAddress::parse("0000:03:00.0"));
        assert_eq!(resolved(7, &[(1, 0)]), PciAddress::parse("0000:40:01.0"));
        for absent in [resolved(0x40, &[(1, 0)]), resolved(0, &[(0x1c, 1)]), resolved(0, &[(0x1c, 4), (1, 0)])] {
            assert_eq!(absent, None);
        }
    }

    #[test]
    fn the_option_is_the_one_that_was_booted() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            fs::write(folder.path().join(format!("{name}-{GLOBAL}")), [&[7, 0, 0, 0], bytes].concat()).unwrap();
        };
        assert_eq!(booted_option(folder.path()), None);
        write("Boot0001", &device_path::tests::virtio(1));
        write("Boot00AB", &device_path::tests::virtio(5));
        write("BootCurrent", &[0xab, 0]);
        assert_eq!(of_load_option(&booted_option(folder.path()).unwrap()).unwrap().pci, [(5, 0)]);
        write("BootCurrent", &[0xab]);
        assert_eq!(booted_option(folder.path()), None);
    }
}
