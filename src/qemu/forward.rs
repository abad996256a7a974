//! Forwarded ports: one of the host, one of the guest. How people write them is in `publish`.
//!
//! QEMU's user network listens on IPv4 alone; `relay` does the rest.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Which transport is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One forwarded port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Transport.
    pub protocol: Protocol,
    /// Where the host listens.
    pub address: IpAddr,
    /// The host's port, 1 to 65535.
    pub host: u16,
    /// The guest's port, 1 to 65535.
    pub guest: u16,
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.protocol == Protocol::Udp { "/udp" } else { "" };
        write!(f, "{}:{}{suffix}", SocketAddr::new(self.address, self.host), self.guest)
    }
}

impl Forward {
    /// The guest's side: `80` or `53/udp`.
    pub fn guest_port(&self) -> String {
        format!("{}{}", self.guest, if self.protocol == Protocol::Udp { "/udp" } else { "" })
    }

    /// The host's side.
    pub fn host_port(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.host)
    }

    /// The rule for QEMU's user network. Nothing in it needs escaping: addresses and numbers only.
    pub(super) fn rule(&self) -> String {
        let protocol = if self.protocol == Protocol::Udp { "udp" } else { "tcp" };
        format!("{protocol}:{}:{}-:{}", self.address, self.host, self.guest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_is_shown_as_it_is_written() {
        for (text, shown) in [
            ("8080:80", "127.0.0.1:8080:80"),
            ("8080:80/tcp", "127.0.0.1:8080:80"),
            ("53:5353/udp", "127.0.0.1:53:5353/udp"),
            ("0.0.0.0:1:65535", "0.0.0.0:1:65535"),
            ("[::1]:8080:80", "[::1]:8080:80"),
        ] {
            let forward: Forward = text.parse().unwrap();
            assert_eq!(forward.to_string(), shown, "{text}");
            assert_eq!(forward.to_string().parse(), Ok(forward), "{text} does not survive");
        }
    }
}
