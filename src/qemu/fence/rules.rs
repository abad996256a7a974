//! Where a guest may not go: socket addresses as bytes, and which of them are this host's loopback.
//!
//! Source: ip(7), ipv6(7), resolv.conf(5).

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Most bytes of an address that say anything here: a `sockaddr_in6`.
pub(super) const LONGEST: usize = 28;
/// The one service on a loopback address that a guest may use.
const DOMAIN: u16 = 53;
/// Most clients of forwarded UDP ports that are remembered; who asks again is remembered again.
const MOST_CLIENTS: usize = 1024;

/// The Internet address in a `sockaddr`. `None` for every other family, and for what the kernel refuses as too short.
pub(super) fn decode(bytes: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(bytes.first_chunk().copied()?));
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    let ip: IpAddr = match family {
        // udp(7): a datagram's address without a family is one of IPv4.
        libc::AF_INET | libc::AF_UNSPEC => Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(4..8)?).ok()?).into(),
        libc::AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Whether a connection there ends on this host's loopback interface. The unspecified address leads there too.
pub(super) fn is_loopback(address: &SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    ip.is_loopback() || ip.is_unspecified()
}

/// Whether that is one of the name servers that the host uses itself.
pub(super) fn is_name_server(address: &SocketAddr, resolv_conf: &str) -> bool {
    address.port() == DOMAIN && name_servers(resolv_conf).contains(&address.ip().to_canonical())
}

/// Where nobody is named, the host asks itself.
fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let named = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok())?
    });
    let named: Vec<IpAddr> = named.collect();
    if named.is_empty() { vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] } else { named }
}

/// Who has sent something to a forwarded UDP port, and may be answered from there: the socket's own address and theirs.
#[derive(Default)]
pub(super) struct Clients(VecDeque<(SocketAddr, SocketAddr)>);

impl Clients {
    pub(super) fn add(&mut self, here: SocketAddr, client: SocketAddr) {
        if !self.has(here, client) {
            self.0.truncate(MOST_CLIENTS - 1);
            self.0.push_front((here, client));
        }
    }

    pub(super) fn has(&self, here: SocketAddr, client: SocketAddr) -> bool {
        self.0.contains(&(here, client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(family: i32, ip: [u8; 4]) -> Vec<u8> {
        [&(family as u16).to_ne_bytes()[..], &80u16.to_be_bytes(), &ip, &[0; 8]].concat()
    }

    fn v6(ip: &str) -> Vec<u8> {
        let ip = ip.parse::<Ipv6Addr>().unwrap().octets();
        [&(libc::AF_INET6 as u16).to_ne_bytes()[..], &80u16.to_be_bytes(), &[0; 4], &ip, &[0; 4]].concat()
    }

    #[test]
    fn every_way_to_write_the_hosts_loopback_is_known() {
        #[rustfmt::skip]
        let cases = [
            (v4(libc::AF_INET, [127, 0, 0, 1]), true), (v4(libc::AF_INET, [127, 255, 255, 254]), true),
            (v4(libc::AF_INET, [0, 0, 0, 0]), true), (v4(libc::AF_UNSPEC, [127, 0, 0, 53]), true),
            (v4(libc::AF_INET, [126, 255, 255, 255]), false), (v4(libc::AF_INET, [128, 0, 0, 1]), false),
            (v4(libc::AF_INET, [192, 0, 2, 1]), false), (v4(libc::AF_INET, [10, 0, 2, 2]), false),
            (v6("::1"), true), (v6("::"), true), (v6("::ffff:127.0.0.1"), true), (v6("::ffff:127.1.2.3"), true),
            (v6("::ffff:0.0.0.0"), true), (v6("::2"), false), (v6("::ffff:192.0.2.1"), false),
            (v6("fe80::1"), false), (v6("2001:db8::1"), false),
        ];
        for (bytes, loopback) in cases {
            let address = decode(&bytes).unwrap();
            assert_eq!(is_loopback(&address), loopback, "{address}");
            assert_eq!(address.port(), 80);
        }
    }

    #[test]
    fn what_is_no_internet_address_is_none() {
        let unix = [&(libc::AF_UNIX as u16).to_ne_bytes()[..], b"/run/socket\0"].concat();
        let (short4, short6) = (v4(libc::AF_INET, [127, 0, 0, 1]), v6("::1"));
        for bytes in [&unix[..], &[], &[2], &short4[..7], &short6[..23]] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn the_hosts_own_name_servers_are_within_reach_and_only_for_names() {
        let stub =
            "# a stub\nsearch example\n nameserver\t127.0.0.53 \nnameserver ::1\nnameserver nonsense\noptions edns0\n";
        #[rustfmt::skip]
        let cases = [
            (stub, "127.0.0.53:53", true), (stub, "127.0.0.53:631", false), (stub, "127.0.0.1:53", false),
            (stub, "[::1]:53", true), (stub, "[::ffff:127.0.0.53]:53", true), (stub, "[::1]:80", false),
            ("nameserver 192.0.2.1\n", "127.0.0.1:53", false), ("#nameserver 127.0.0.1\nnameserver 1.1.1.1", "127.0.0.1:53", false),
            ("", "127.0.0.1:53", true), ("search example\n", "[::1]:53", true), ("", "127.0.0.1:54", false),
        ];
        for (file, address, reached) in cases {
            assert_eq!(is_name_server(&address.parse().unwrap(), file), reached, "{address} with {file:?}");
        }
    }

    #[test]
    fn clients_are_known_by_both_ends_and_a_flood_of_them_is_forgotten() {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let mut clients = Clients::default();
        clients.add(at(53), at(1));
        assert!(clients.has(at(53), at(1)) && !clients.has(at(54), at(1)) && !clients.has(at(53), at(2)));
        for port in 2..5000 {
            clients.add(at(53), at(port));
        }
        assert_eq!(clients.0.len(), MOST_CLIENTS);
        assert!(clients.has(at(53), at(4999)) && !clients.has(at(53), at(1)));
    }
}
