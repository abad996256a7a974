//! Published ports as `docker run -p` has them: `[[ADDRESS:][HOST]:]GUEST[/PROTOCOL]`, ranges among them.
//!
//! ```text
//!  80                        any free port of the host       8080:80                one port
//!  8000-8010:8000-8010       each to its own                 8000-8010:80           the first of them that is free
//!  127.0.0.1::80             any port of one address         [::1]:8080:80          IPv6, TCP alone
//! ```
//!
//! The host listens on 127.0.0.1 unless an address is given, where docker listens on every address: a test machine is not
//! meant for the neighbours. A host's name is refused as docker refuses it. Not there: sctp, and UDP of IPv6 addresses.
//!
//! Source: docker/go-connections, nat/nat.go, `ParsePortSpec`, and nat/parse.go, `ParsePortRange`.

use super::error::RunError;
use super::forward::{Forward, Protocol};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Most ports of one machine: QEMU takes all of them in one argument.
pub const MAX_PORTS: usize = 1000;

/// What one `-p` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Transport.
    protocol: Protocol,
    /// Where the host listens.
    address: IpAddr,
    /// Ports of the host; `None` is any.
    host: Option<RangeInclusive<u16>>,
    /// Ports of the guest.
    guest: RangeInclusive<u16>,
}

/// Why text publishes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No port of the guest.
    #[error("no port of the guest is named: {0}")]
    NoPort(String),
    /// A port that is not a number from 1 to 65535, or a range that ends before it begins.
    #[error("not a port from 1 to 65535 or a range of them: {0}")]
    Port(String),
    /// Not an address. Docker takes no names either.
    #[error("not an IP address: {0}")]
    Address(String),
    /// Neither tcp nor udp.
    #[error("only tcp and udp ports are forwarded, not: {0}")]
    Protocol(String),
    /// Two ranges that do not belong together.
    #[error("ranges of different lengths, {host} ports of the host for {guest} of the guest: {text}")]
    Lengths {
        /// Ports of the host.
        host: usize,
        /// Ports of the guest.
        guest: usize,
        /// What was given.
        text: String,
    },
    /// UDP of an IPv6 address.
    #[error("udp ports are forwarded from IPv4 addresses alone: {0}")]
    Udp6(String),
    /// More than QEMU takes.
    #[error("more than {MAX_PORTS} ports: {0}")]
    TooMany(String),
}

impl FromStr for Publish {
    type Err = PublishError;

    fn from_str(text: &str) -> Result<Publish, PublishError> {
        let (address, host, guest) = split(text);
        let (guest, protocol) = guest.split_once('/').unwrap_or((guest, ""));
        let protocol = protocol_of(protocol)?;
        let address = address_of(address)?;
        if guest.is_empty() {
            return Err(PublishError::NoPort(text.into()));
        }
        let guest = range(guest, 1)?;
        // 0 is any, as for a listening socket.
        let host = if host.is_empty() { None } else { Some(range(host, 0)?).filter(|range| *range != (0..=0)) };
        if host.as_ref().is_some_and(|host| *host.start() == 0) {
            return Err(PublishError::Port(text.into()));
        }
        if let Some(host) = host.as_ref().filter(|host| guest.len() != 1 && host.len() != guest.len()) {
            return Err(PublishError::Lengths { host: host.len(), guest: guest.len(), text: text.into() });
        }
        if protocol == Protocol::Udp && address.is_ipv6() {
            return Err(PublishError::Udp6(text.into()));
        }
        if guest.len() > MAX_PORTS {
            return Err(PublishError::TooMany(text.into()));
        }
        Ok(Publish { protocol, address, host, guest })
    }
}

/// Address, host's ports and guest's ports: the last two are behind the last two colons.
fn split(text: &str) -> (&str, &str, &str) {
    let (rest, guest) = text.rsplit_once(':').unwrap_or(("", text));
    let (address, host) = rest.rsplit_once(':').unwrap_or(("", rest));
    (address, host, guest)
}

fn protocol_of(text: &str) -> Result<Protocol, PublishError> {
    match text.to_ascii_lowercase().as_str() {
        "" | "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err(PublishError::Protocol(text.into())),
    }
}

fn address_of(text: &str) -> Result<IpAddr, PublishError> {
    if text.is_empty() {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let bare = text.strip_prefix('[').map_or(Some(text), |rest| rest.strip_suffix(']'));
    bare.and_then(|bare| bare.parse().ok()).ok_or_else(|| PublishError::Address(text.into()))
}

fn range(text: &str, least: u16) -> Result<RangeInclusive<u16>, PublishError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first), port(last)) {
        (Some(first), Some(last)) if least <= first && first <= last => Ok(first..=last),
        _ => Err(PublishError::Port(text.into())),
    }
}

/// Digits only: `u16::from_str` would take `+80`.
fn port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl Publish {
    /// Any port of the host's loopback address for one of the guest's that an image exposes: `80` or `80/udp`.
    pub fn exposed(text: &str) -> Option<Publish> {
        text.parse().ok().filter(|publish: &Publish| publish.host.is_none() && publish.address == Ipv4Addr::LOCALHOST)
    }

    /// Whether every port of the guest that `other` has is one of this, too.
    fn includes(&self, other: &Publish) -> bool {
        self.protocol == other.protocol
            && self.guest.contains(other.guest.start())
            && self.guest.contains(other.guest.end())
    }
}

/// What was asked for, and of the exposed ports those that were not.
pub fn with_exposed(mut asked: Vec<Publish>, exposed: &[String]) -> Vec<Publish> {
    for port in exposed.iter().filter_map(|text| Publish::exposed(text)) {
        if !asked.iter().any(|publish| publish.includes(&port)) {
            asked.push(port);
        }
    }
    asked
}

/// Forwards with ports of the host that are free now where any will do, and whether each was chosen here.
///
/// # Errors
/// No port of a range is free, or too many are wanted.
pub fn settle(asked: &[Publish]) -> Result<Vec<(Forward, bool)>, RunError> {
    let ports: usize = asked.iter().map(|publish| publish.guest.len()).sum();
    if ports > MAX_PORTS {
        return Err(RunError::Unsupported("more than 1000 forwarded ports"));
    }
    let mut settled: Vec<(Forward, bool)> = Vec::new();
    // What is named goes first: no choice may take it.
    let (fixed, open): (Vec<_>, Vec<_>) = asked.iter().partition(|publish| publish.is_fixed());
    for publish in fixed.into_iter().chain(open) {
        for (at, guest) in publish.guest.clone().enumerate() {
            let chosen = match &publish.host {
                Some(host) if publish.is_fixed() => Some(host.start() + at as u16),
                Some(host) => host.clone().find(|port| publish.is_free(*port, &settled)),
                None => publish.any(&settled),
            };
            let Some(host) = chosen else {
                let host = publish.host.clone().unwrap_or(1..=u16::MAX);
                return Err(RunError::NoPortFree { address: publish.address, first: *host.start(), last: *host.end() });
            };
            let forward = Forward { protocol: publish.protocol, address: publish.address, host, guest };
            settled.push((forward, !publish.is_fixed()));
        }
    }
    Ok(settled)
}

impl Publish {
    /// Whether there is nothing to choose.
    fn is_fixed(&self) -> bool {
        self.host.as_ref().is_some_and(|host| host.len() == self.guest.len())
    }

    fn is_free(&self, port: u16, taken: &[(Forward, bool)]) -> bool {
        let meets = |(forward, _): &(Forward, bool)| forward.host == port && forward.protocol == self.protocol;
        !taken.iter().any(meets) && bound(self.protocol, SocketAddr::new(self.address, port)).is_some()
    }

    /// A port that the kernel chooses.
    fn any(&self, taken: &[(Forward, bool)]) -> Option<u16> {
        let ask = || bound(self.protocol, SocketAddr::new(self.address, 0));
        (0..=taken.len()).find_map(|_| ask().filter(|port| self.is_free(*port, taken)))
    }
}

/// The port that a socket had for an instant.
fn bound(protocol: Protocol, address: SocketAddr) -> Option<u16> {
    let address = match protocol {
        Protocol::Tcp => TcpListener::bind(address).and_then(|listener| listener.local_addr()),
        Protocol::Udp => UdpSocket::bind(address).and_then(|socket| socket.local_addr()),
    };
    address.ok().map(|address| address.port())
}

impl FromStr for Forward {
    type Err = PublishError;

    /// One port of the host for one of the guest.
    fn from_str(text: &str) -> Result<Forward, PublishError> {
        let Publish { protocol, address, host, guest } = text.parse()?;
        match host.map(RangeInclusive::into_inner) {
            Some((host, last)) if host == last && guest.len() == 1 => {
                Ok(Forward { protocol, address, host, guest: *guest.start() })
            }
            _ => Err(PublishError::Port(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a line: protocol, address, host's ports, guest's ports.
    fn shown(text: &str) -> Result<String, String> {
        let publish: Publish = text.parse().map_err(|error: PublishError| error.to_string())?;
        let host = publish.host.map_or("any".into(), |host| format!("{}-{}", host.start(), host.end()));
        let (first, last) = publish.guest.into_inner();
        Ok(format!("{:?} {} {host} {first}-{last}", publish.protocol, publish.address))
    }

    #[test]
    fn what_docker_takes_is_taken() {
        for (text, expected) in [
            ("8080:80", "Tcp 127.0.0.1 8080-8080 80-80"),
            ("8080:80/tcp", "Tcp 127.0.0.1 8080-8080 80-80"),
            ("8080:80/TCP", "Tcp 127.0.0.1 8080-8080 80-80"),
            ("8080:80/", "Tcp 127.0.0.1 8080-8080 80-80"),
            ("53:5353/UDP", "Udp 127.0.0.1 53-53 5353-5353"),
            ("80", "Tcp 127.0.0.1 any 80-80"),
            ("80/udp", "Udp 127.0.0.1 any 80-80"),
            (":80", "Tcp 127.0.0.1 any 80-80"),
            ("0:80", "Tcp 127.0.0.1 any 80-80"),
            ("::80", "Tcp 127.0.0.1 any 80-80"),
            ("8000-8002", "Tcp 127.0.0.1 any 8000-8002"),
            ("8000-8010:8000-8010", "Tcp 127.0.0.1 8000-8010 8000-8010"),
            ("8000-8010:80", "Tcp 127.0.0.1 8000-8010 80-80"),
            ("9000-9001:80-81/udp", "Udp 127.0.0.1 9000-9001 80-81"),
            ("0.0.0.0:1:65535", "Tcp 0.0.0.0 1-1 65535-65535"),
            ("192.168.1.7:8080:80/udp", "Udp 192.168.1.7 8080-8080 80-80"),
            ("127.0.0.1::80", "Tcp 127.0.0.1 any 80-80"),
            ("127.0.0.1:0:80", "Tcp 127.0.0.1 any 80-80"),
            ("127.0.0.1:8000-8001:80-81", "Tcp 127.0.0.1 8000-8001 80-81"),
            ("[::1]:8080:80", "Tcp ::1 8080-8080 80-80"),
            ("[::1]::80", "Tcp ::1 any 80-80"),
            ("::1:8080:80", "Tcp ::1 8080-8080 80-80"),
            ("[::]:8080:80", "Tcp :: 8080-8080 80-80"),
            ("fd00::7:8000-8001:80-81", "Tcp fd00::7 8000-8001 80-81"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_docker_refuses_is_refused_and_named() {
        for (text, why) in [
            ("", "no port of the guest is named: "),
            ("80:", "no port of the guest is named: 80:"),
            ("8080:/udp", "no port of the guest is named: 8080:/udp"),
            ("x", "not a port from 1 to 65535 or a range of them: x"),
            ("80:0", "not a port from 1 to 65535 or a range of them: 0"),
            ("65536:80", "not a port from 1 to 65535 or a range of them: 65536"),
            ("+80:80", "not a port from 1 to 65535 or a range of them: +80"),
            ("80:82-81", "not a port from 1 to 65535 or a range of them: 82-81"),
            ("80:1-2-3", "not a port from 1 to 65535 or a range of them: 1-2-3"),
            ("-80:80", "not a port from 1 to 65535 or a range of them: -80"),
            ("0-9:80", "not a port from 1 to 65535 or a range of them: 0-9:80"),
            ("80:80,hostfwd=tcp::1-:1", "not an IP address: 80:80,hostfwd=tcp:"),
            ("localhost:80:80", "not an IP address: localhost"),
            ("[::1:80:80", "not an IP address: [::1"),
            ("1:2:3:4", "not an IP address: 1:2"),
            ("a:b:c:d", "not an IP address: a:b"),
            ("80:80/sctp", "only tcp and udp ports are forwarded, not: sctp"),
            ("80:80/tcp/udp", "only tcp and udp ports are forwarded, not: tcp/udp"),
            ("8000-8001:80-82", "ranges of different lengths, 2 ports of the host for 3 of the guest: 8000-8001:80-82"),
            ("8000:80-82", "ranges of different lengths, 1 ports of the host for 3 of the guest: 8000:80-82"),
            ("[::1]:53:53/udp", "udp ports are forwarded from IPv4 addresses alone: [::1]:53:53/udp"),
            ("1-65535:1-65535", "more than 1000 ports: 1-65535:1-65535"),
        ] {
            assert_eq!(shown(text).unwrap_err(), why, "{text}");
        }
    }

    fn settled(texts: &[&str]) -> Vec<(Forward, bool)> {
        settle(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn any_port_is_one_that_nobody_else_has() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let texts = ["80", "81", "82/udp", "127.0.0.1::80", "9000-9001:80-81"];
        let forwards = settled(&texts);
        assert_eq!(forwards.len(), 6);
        // Those that were named come first.
        let named: Vec<_> = forwards.iter().filter(|(_, chosen)| !chosen).map(|(forward, _)| forward.host).collect();
        assert_eq!(named, [9000, 9001]);
        let chosen: std::collections::BTreeSet<u16> = forwards.iter().map(|(forward, _)| forward.host).collect();
        assert_eq!(chosen.len(), 6, "{forwards:?}");
        assert!(!chosen.contains(&port) && !chosen.contains(&0));
        // Of a range the first that is free, and none if none is.
        let from_range = settled(&[&format!("{port}-{}:80", port.saturating_add(20))]);
        assert!(from_range[0].0.host > port && from_range[0].1);
        let named = settled(&[&format!("{port}:80")]);
        assert_eq!((named[0].0.host, named[0].1), (port, false), "taken, which is found out when all are known");
        let next = TcpListener::bind(("127.0.0.1", port + 1));
        if next.is_ok() {
            let range: Publish = format!("{port}-{}:80", port + 1).parse().unwrap();
            let error = settle(&[range]).unwrap_err().to_string();
            assert_eq!(error, format!("no port from {port} to {} of 127.0.0.1 is free on this host", port + 1));
        }
    }

    #[test]
    fn exposed_ports_are_published_unless_they_are_already() {
        let exposed: Vec<String> = ["80", "443/tcp", "53/udp", "8080:80", "x", "81/tcp"].map(str::to_owned).to_vec();
        let asked = vec!["8080:80".parse().unwrap(), "53".parse().unwrap(), "81-82".parse().unwrap()];
        let all = with_exposed(asked.clone(), &exposed);
        let added: Vec<Publish> = all[asked.len()..].to_vec();
        assert_eq!(added, ["443".parse().unwrap(), "53/udp".parse().unwrap()]);
    }
}
