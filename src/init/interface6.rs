//! IPv6 addresses and routes that are not advertised but given (`in6_ifreq` and `in6_rtmsg` of linux/ipv6_route.h).

use super::interface::Interface;
use nix::errno::Errno;
use std::fs;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

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

/// A socket to ask the kernel through.
pub struct Interfaces6(OwnedFd);

impl Interfaces6 {
    /// Opens the socket. Fails on a kernel without IPv6.
    pub fn open() -> nix::Result<Interfaces6> {
        // SAFETY: no memory is involved; the descriptor is new and ours.
        let fd = Errno::result(unsafe { libc::socket(libc::AF_INET6, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
        Ok(Interfaces6(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds an address to an interface that is up.
    pub fn add_address(&self, interface: &Interface, address: Ipv6Addr, prefix: u8) -> nix::Result<()> {
        let index = interface.index as i32;
        let request = Address { address: address.octets(), prefix: prefix.into(), interface: index };
        // SAFETY: the kernel reads one in6_ifreq, which lives during the call.
        self.call(unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCSIFADDR as _, &raw const request) })
    }

    /// Adds a default route.
    pub fn add_default_route(&self, interface: &Interface, gateway: Ipv6Addr) -> nix::Result<()> {
        let route = Route {
            destination: [0; 16],
            source: [0; 16],
            gateway: gateway.octets(),
            kind: 0,
            destination_prefix: 0,
            source_prefix: 0,
            metric: METRIC,
            info: 0,
            flags: UP | GATEWAY,
            interface: interface.index as i32,
        };
        // SAFETY: the kernel reads one in6_rtmsg, which lives during the call.
        self.call(unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCADDRT as _, &raw const route) })
    }

    fn call(&self, result: i32) -> nix::Result<()> {
        match Errno::result(result) {
            Ok(_) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Before an interface is brought up: it takes no addresses from advertisements, and what it is given is its own at
/// once, without the second that asking for duplicates takes.
pub fn ignore_advertisements(interface: &Interface) {
    for setting in ["accept_ra", "autoconf", "accept_dad"] {
        // A kernel without IPv6 has none of them.
        _ = fs::write(format!("/proc/sys/net/ipv6/conf/{}/{setting}", interface.name), "0");
    }
}
