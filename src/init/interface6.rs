//! IPv6 addresses and routes that are not advertised but given (`in6_ifreq` and `in6_rtmsg` of linux/ipv6_route.h).

use super::interface::Interface;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::fs;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, OwnedFd};

/// RTF_UP and RTF_GATEWAY, as of IPv4's routes.
const UP: u32 = 1;
const GATEWAY: u32 = 2;
/// IP6_RT_PRIO_USER.
const METRIC: u32 = 1024;

#[repr(C)]
struct Address {
    address: [u8; 16],
    prefix: u32,
    interface: i32,
}

#[repr(C)]
struct Route {
    destination: [u8; 16],
    source: [u8; 16],
    gateway: [u8; 16],
    kind: u32,
    destination_prefix: u16,
    source_prefix: u16,
    metric: u32,
    info: libc::c_ulong,
    flags: u32,
    interface: i32,
}

nix::ioctl_write_ptr_bad!(set_address, libc::SIOCSIFADDR, Address);
nix::ioctl_write_ptr_bad!(add_route, libc::SIOCADDRT, Route);

/// A socket to ask the kernel through.
pub struct Interfaces6(OwnedFd);

impl Interfaces6 {
    /// Opens the socket. Fails on a kernel without IPv6.
    pub fn open() -> nix::Result<Interfaces6> {
        socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).map(Interfaces6)
    }

    /// Adds an address to an interface that is up.
    pub fn add_address(&self, interface: &Interface, address: Ipv6Addr, prefix: u8) -> nix::Result<()> {
        let index = interface.index as i32;
        let request = Address { address: address.octets(), prefix: prefix.into(), interface: index };
        // SAFETY: the kernel reads one in6_ifreq, which lives during the call.
        done(unsafe { set_address(self.0.as_raw_fd(), &request) })
    }

    /// Adds a default route.
    pub fn add_default_route(&self, interface: &Interface, gateway: Ipv6Addr) -> nix::Result<()> {
        self.add_route(interface, Ipv6Addr::UNSPECIFIED, 0, gateway)
    }

    /// Says that an address is on the link.
    pub fn add_neighbour(&self, interface: &Interface, address: Ipv6Addr) -> nix::Result<()> {
        self.add_route(interface, address, 128, Ipv6Addr::UNSPECIFIED)
    }

    fn add_route(&self, interface: &Interface, to: Ipv6Addr, prefix: u16, gateway: Ipv6Addr) -> nix::Result<()> {
        let route = Route {
            destination: to.octets(),
            source: [0; 16],
            gateway: gateway.octets(),
            kind: 0,
            destination_prefix: prefix,
            source_prefix: 0,
            metric: METRIC,
            info: 0,
            flags: if gateway.is_unspecified() { UP } else { UP | GATEWAY },
            interface: interface.index as i32,
        };
        // SAFETY: the kernel reads one in6_rtmsg, which lives during the call.
        done(unsafe { add_route(self.0.as_raw_fd(), &route) })
    }
}

/// What is there already is as good.
fn done(result: nix::Result<i32>) -> nix::Result<()> {
    match result {
        Ok(_) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Whether the interface has an address that others than its neighbours reach, and that nobody else has.
pub fn has_address(interface: &Interface) -> bool {
    fs::read_to_string("/proc/net/if_inet6").is_ok_and(|list| lists_address(&list, interface.index))
}

/// `/proc/net/if_inet6`: address, index, prefix length, scope and flags in hexadecimal digits, name.
fn lists_address(list: &str, index: u32) -> bool {
    const LOOPBACK: u32 = 0x10;
    const LINK: u32 = 0x20;
    const TENTATIVE: u32 = 0x40;
    const DUPLICATE: u32 = 0x08;
    list.lines().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|text| u32::from_str_radix(text, 16).ok());
        number(1) == Some(index)
            && number(3).is_some_and(|scope| scope != LOOPBACK && scope != LINK)
            && number(4).is_some_and(|flags| flags & (TENTATIVE | DUPLICATE) == 0)
    })
}

/// Before an interface is brought up: it takes no addresses from advertisements, and what it is given is its own at
/// once, without the second that asking for duplicates takes.
pub fn ignore_advertisements(interface: &Interface) {
    for setting in ["accept_ra", "autoconf", "accept_dad"] {
        // A kernel without IPv6 has none of them.
        _ = fs::write(format!("/proc/sys/net/ipv6/conf/{}/{setting}", interface.name), "0");
    }
}

#[cfg(test)]
mod tests {
    use super::lists_address;

    #[test]
    fn an_address_counts_once_it_is_the_interfaces_own_and_leads_further() {
        let line =
            |scope: &str, flags: &str| format!("20010db8000000000000000000000001 02 40 {scope} {flags}     eth0\n");
        let rows =
            [("00", "80", true), ("40", "00", true), ("20", "80", false), ("00", "c0", false), ("00", "08", false)];
        for (scope, flags, counts) in rows {
            assert_eq!(lists_address(&line(scope, flags), 2), counts, "{scope} {flags}");
            assert!(!lists_address(&line(scope, flags), 3));
        }
        assert!(!lists_address("00000000000000000000000000000001 01 80 10 80       lo\nodd\n", 1));
    }
}
