//! Port forwards, written as `docker run -p` has them: `[ADDRESS:]HOST:GUEST[/tcp|/udp]`.
//!
//! The host side listens on 127.0.0.1 unless an address is given, where docker listens on every address: a test machine
//! is not meant for the neighbours. Not supported: port ranges, IPv6 addresses (QEMU's user network forwards IPv4).

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

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
    pub address: Ipv4Addr,
    /// The host's port, 1 to 65535.
    pub host: u16,
    /// The guest's port, 1 to 65535.
    pub guest: u16,
}

/// Why text is not a forward.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// Not two or three parts with colons between.
    #[error("forwarded port is not HOST:GUEST or ADDRESS:HOST:GUEST: {0}")]
    Shape(String),
    /// A port that is not a number from 1 to 65535.
    #[error("forwarded port is not a number from 1 to 65535: {0}")]
    Port(String),
    /// An address that is not IPv4.
    #[error("address of a forwarded port is not an IPv4 address: {0}")]
    Address(String),
    /// A transport that is neither tcp nor udp.
    #[error("transport of a forwarded port is neither tcp nor udp: {0}")]
    Protocol(String),
}

impl FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Forward, ForwardError> {
        let (ports, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, other)) => return Err(ForwardError::Protocol(other.into())),
        };
        let parts: Vec<&str> = ports.split(':').collect();
        let (address, host, guest) = match parts[..] {
            [host, guest] => (Ipv4Addr::LOCALHOST, host, guest),
            [address, host, guest] => {
                (address.parse().map_err(|_| ForwardError::Address(address.into()))?, host, guest)
            }
            _ => return Err(ForwardError::Shape(text.into())),
        };
        Ok(Forward { protocol, address, host: port(host)?, guest: port(guest)? })
    }
}

/// Digits only: `u16::from_str` would take `+80`.
fn port(text: &str) -> Result<u16, ForwardError> {
    let refuse = || ForwardError::Port(text.into());
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse());
    }
    text.parse().ok().filter(|&port: &u16| port != 0).ok_or_else(refuse)
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.protocol == Protocol::Udp { "/udp" } else { "" };
        write!(f, "{}:{}:{}{suffix}", self.address, self.host, self.guest)
    }
}

impl Forward {
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
    fn what_docker_accepts() {
        for (text, shown) in [
            ("8080:80", "127.0.0.1:8080:80"),
            ("8080:80/tcp", "127.0.0.1:8080:80"),
            ("53:5353/udp", "127.0.0.1:53:5353/udp"),
            ("0.0.0.0:1:65535", "0.0.0.0:1:65535"),
            ("192.168.1.7:8080:80/udp", "192.168.1.7:8080:80/udp"),
        ] {
            let forward: Forward = text.parse().unwrap();
            assert_eq!(forward.to_string(), shown, "{text}");
            assert_eq!(forward.to_string().parse(), Ok(forward), "{text} does not survive");
        }
    }

    #[test]
    fn what_is_refused_names_the_part() {
        let refused = |text: &str| text.parse::<Forward>().unwrap_err();
        for text in ["", "80", "a:b:c:d", "1:2:3:4", "::1:80:80"] {
            assert_eq!(refused(text), ForwardError::Shape(text.into()), "{text}");
        }
        for (text, part) in [
            ("0:80", "0"),
            ("80:0", "0"),
            ("65536:80", "65536"),
            ("+80:80", "+80"),
            (":80", ""),
            ("80:", ""),
            ("8000-8001:80", "8000-8001"),
            ("80:80,hostfwd=tcp::1-:1", "80,hostfwd=tcp"),
        ] {
            let error = refused(text);
            assert!(
                matches!(&error, ForwardError::Port(p) if p == part) || text.matches(':').count() > 1,
                "{text}: {error:?}"
            );
        }
        assert_eq!(refused("host:80:80"), ForwardError::Address("host".into()));
        assert_eq!(refused("80:80/sctp"), ForwardError::Protocol("sctp".into()));
        assert_eq!(refused("80:80/"), ForwardError::Protocol("".into()));
    }
}
