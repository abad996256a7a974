//! What keeps a guest away from the services on this host's loopback addresses.
//!
//! ```text
//!  guest ─▶ card ─▶ QEMU's user network ─▶ connect, sendto … ──▶ the kernel asks ──▶ Fence: loopback? ─▶ go on, or
//!                                          (a seccomp filter)    and the call waits                      ECONNREFUSED
//! ```
//!
//! QEMU's user network gives the host's 127.0.0.1 to every guest as 10.0.2.2, and has no switch for that but one that
//! shuts everything. So QEMU's calls that name an address are looked at before they happen, whatever address the guest
//! used and however it was translated. Name servers of resolv.conf(5) stay within reach on port 53, as 10.0.2.3 stands
//! for one of them, and so do clients of a forwarded UDP port, which could not be answered otherwise.
//!
//! What is looked at is QEMU's memory, which a guest does not write: this is a fence for the guest, not for a QEMU that
//! the guest has taken over. Not supported: kernels before Linux 5.6, processors other than x86_64 and aarch64, a host
//! where somebody above us watches in the same way: the machine runs there without a fence, and a line says so.
//!
//! Source: seccomp_unotify(2).

mod filter;
mod notices;
mod rules;
mod watch;

pub(super) use filter::Gate;
pub(crate) use watch::Fence;
pub(super) use watch::Unwatched;

use super::machine::{MachineOptions, Reach};
use std::io;
use std::os::fd::RawFd;

/// The fence that a machine is to have: the gate goes into the child. `silent` are sockets of QEMU's that name no
/// addresses and carry much.
pub(super) fn around(machine: &MachineOptions, silent: &[RawFd]) -> io::Result<Option<(Gate, Unwatched)>> {
    if machine.network.is_none() || machine.reach != Reach::Outside {
        return Ok(None);
    }
    watch::prepare(&machine.forwards, silent).map(Some)
}

/// The line for a host where there is a gap instead.
pub(super) fn without(gap: &str) -> String {
    format!("the guest can reach services on this host's loopback addresses: {gap}; --host-loopback accepts that")
}

#[cfg(test)]
mod tests;
