//! Network interfaces: which there are, up and down, addresses and routes (netdevice(7), rtentry of ioctl SIOCADDRT).
//!
//! Not supported: IPv6, which is `interface6`'s where addresses are given, and the kernel's where routers advertise.

use super::routes::Route;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::fs;
use std::mem::zeroed;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// A socket to ask the kernel through.
pub struct Interfaces(OwnedFd);

/// One network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name, e.g. `eth0`.
    pub name: String,
    /// Ethernet address.
    pub mac: [u8; 6],
    /// The kernel's number for it.
    pub index: u32,
}

/// Every Ethernet card, in the order the kernel made them.
pub fn ethernet() -> Vec<Interface> {
    let mut found: Vec<Interface> =
        fs::read_dir("/sys/class/net").into_iter().flatten().flatten().filter_map(|e| read(&e.path())).collect();
    found.sort_by_key(|interface| interface.index);
    found
}

fn read(folder: &Path) -> Option<Interface> {
    const ARPHRD_ETHER: &str = "1";
    let text = |name: &str| fs::read_to_string(folder.join(name)).map(|text| text.trim().to_owned()).ok();
    // A card is a device on a bus. What the kernel made by itself (dummy0, bond0, gretap0) is none.
    if text("type")? != ARPHRD_ETHER || !folder.join("device").exists() {
        return None;
    }
    let mut mac = [0u8; 6];
    for (byte, part) in mac.iter_mut().zip(text("address")?.split(':')) {
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    Some(Interface {
        name: folder.file_name()?.to_string_lossy().into_owned(),
        mac,
        index: text("ifindex")?.parse().ok()?,
    })
}

impl Interface {
    /// The largest packet, in bytes.
    pub fn mtu(&self) -> Option<u16> {
        fs::read_to_string(format!("/sys/class/net/{}/mtu", self.name)).ok()?.trim().parse().ok()
    }

    /// Whether a cable is in and the other end is there. A card that does not say is believed to have one.
    pub fn has_link(&self) -> bool {
        fs::read_to_string(format!("/sys/class/net/{}/carrier", self.name)).map_or(true, |text| text.trim() != "0")
    }
}

impl Interfaces {
    /// Opens the socket. Fails on a kernel without IPv4.
    pub fn open() -> nix::Result<Interfaces> {
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).map(Interfaces)
    }

    /// Brings an interface up.
    pub fn up(&self, name: &str) -> nix::Result<()> {
        let mut request = named(name);
        self.call(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the call above filled ifru_flags.
        unsafe { request.ifr_ifru.ifru_flags |= libc::IFF_UP as i16 };
        self.call(libc::SIOCSIFFLAGS, &mut request)
    }

    /// Sets the IPv4 address and its prefix length. 0.0.0.0 removes the address, and its routes with it.
    pub fn set_address(&self, name: &str, address: Ipv4Addr, prefix: u8) -> nix::Result<()> {
        let mut request = named(name);
        request.ifr_ifru.ifru_addr = socket_address(address);
        self.call(libc::SIOCSIFADDR, &mut request)?;
        if address.is_unspecified() {
            return Ok(());
        }
        request.ifr_ifru.ifru_netmask = socket_address(mask(prefix));
        self.call(libc::SIOCSIFNETMASK, &mut request)
    }

    /// Sets the largest packet, in bytes.
    pub fn set_mtu(&self, name: &str, mtu: u16) -> nix::Result<()> {
        let mut request = named(name);
        request.ifr_ifru.ifru_mtu = i32::from(mtu);
        self.call(libc::SIOCSIFMTU, &mut request)
    }

    /// Adds a route. A gateway of 0.0.0.0 means on the link.
    pub fn add_route(&self, name: &str, route: Route) -> nix::Result<()> {
        match self.route(libc::SIOCADDRT, name, route) {
            Err(Errno::EEXIST) => Ok(()),
            result => result,
        }
    }

    /// Removes a route that [`Interfaces::add_route`] made, if it is still there.
    pub fn remove_route(&self, name: &str, route: Route) -> nix::Result<()> {
        match self.route(libc::SIOCDELRT, name, route) {
            Err(Errno::ESRCH) => Ok(()),
            result => result,
        }
    }

    fn route(&self, request: impl TryInto<u32>, name: &str, (to, prefix, gateway): Route) -> nix::Result<()> {
        let request: u32 = request.try_into().map_err(|_| Errno::EINVAL)?;
        let mut device: Vec<u8> = name.bytes().chain([0]).collect();
        // SAFETY: all fields of rtentry are numbers, addresses or pointers that may be null.
        let mut route: libc::rtentry = unsafe { zeroed() };
        route.rt_dst = socket_address(Ipv4Addr::from(u32::from(to) & u32::from(mask(prefix))));
        route.rt_genmask = socket_address(mask(prefix));
        route.rt_gateway = socket_address(gateway);
        route.rt_flags = libc::RTF_UP;
        if !gateway.is_unspecified() {
            route.rt_flags |= libc::RTF_GATEWAY;
        }
        if prefix == 32 {
            route.rt_flags |= libc::RTF_HOST;
        }
        route.rt_dev = device.as_mut_ptr().cast();
        // SAFETY: `route` and the name it points to live during the call.
        Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, &route) }).map(drop)
    }

    fn call(&self, request: impl TryInto<u32>, argument: &mut libc::ifreq) -> nix::Result<()> {
        let request = request.try_into().map_err(|_| Errno::EINVAL)?;
        // SAFETY: every request used here reads and writes one ifreq.
        Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, argument as *mut _) }).map(drop)
    }
}

fn named(name: &str) -> libc::ifreq {
    // SAFETY: ifreq is numbers and addresses only.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // The last byte stays zero.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let inet = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(address).to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: both are 16 bytes of numbers; sockaddr is the general form of sockaddr_in.
    unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(inet) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_ethernet_on_a_bus_and_nothing_that_the_kernel_made_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str, kind: &str, on_a_bus: bool| {
            let folder = folder.path().join(name);
            fs::create_dir(&folder).unwrap();
            for (file, text) in [("type", kind), ("address", "52:54:00:12:34:56\n"), ("ifindex", "3\n")] {
                fs::write(folder.join(file), text).unwrap();
            }
            if on_a_bus {
                fs::create_dir(folder.join("device")).unwrap();
            }
            read(&folder).map(|card| (card.name, card.mac, card.index))
        };
        let mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
        assert_eq!(made("eth0", "1\n", true), Some(("eth0".to_owned(), mac, 3)));
        for name in ["dummy0", "bond0", "gretap0"] {
            assert_eq!(made(name, "1\n", false), None, "{name}");
        }
        assert_eq!(made("lo", "772\n", false), None);
        assert_eq!(made("wwan0", "65534\n", true), None);
    }

    #[test]
    fn masks_of_all_lengths() {
        assert_eq!(mask(0), Ipv4Addr::new(0, 0, 0, 0));
        assert_eq!(mask(24), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(mask(31), Ipv4Addr::new(255, 255, 255, 254));
        assert_eq!(mask(32), Ipv4Addr::new(255, 255, 255, 255));
    }

    #[test]
    fn an_address_lies_in_network_order_behind_family_and_port() {
        let bytes = socket_address(Ipv4Addr::new(10, 0, 2, 15)).sa_data;
        assert_eq!(bytes[2..6].iter().map(|b| *b as u8).collect::<Vec<_>>(), [10, 0, 2, 15]);
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_and_stays_terminated() {
        let request = named("a-name-longer-than-the-kernel-takes");
        assert_eq!(*request.ifr_name.last().unwrap(), 0);
        assert_eq!(request.ifr_name[0] as u8, b'a');
    }
}
