//! Name servers and search domains that IPv6 routers advertise (RFC 8106), as the kernel passes them on.
//!
//! Addresses and routes the kernel makes itself from the same advertisements; what is about names it leaves to user
//! space, as netlink messages of type `RTM_NEWNDUSEROPT`.
//!
//! ```text
//! nlmsghdr (16)  length u32 | type u16 | flags u16 | sequence u32 | port u32
//! nduseroptmsg (16)  family u8 | u8 | length of options u16 | interface i32 | ICMPv6 type u8 | code u8 | 6 unused
//! option  type u8 | length u8, in units of 8 bytes | reserved u16 | lifetime u32 BE | addresses, or domains
//! ```
//!
//! Not supported: Captive-Portal and PREF64 options.

use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Netlink group of these messages: RTNLGRP_ND_USEROPT is 20.
const GROUP: u32 = 1 << (20 - 1);
const RTM_NEWNDUSEROPT: u16 = 68;
const MESSAGE_HEADER: usize = 16;
const OPTIONS_HEADER: usize = 16;
const ROUTER_ADVERTISEMENT: u8 = 134;
const RDNSS: u8 = 25;
const DNSSL: u8 = 31;
/// Most entries that are kept: anybody on the link can advertise.
const MOST: usize = 8;
/// Longest name of a domain.
const DOMAIN: usize = 253;

/// Something that is advertised, with its lifetime in seconds; 0 takes it back, `u32::MAX` is for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// Index of the interface it came in on.
    pub interface: u32,
    /// A name server or a domain.
    pub what: What,
    /// Seconds.
    pub lifetime: u32,
}

/// What can be advertised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A name server.
    Server(Ipv6Addr),
    /// A search domain.
    Domain(String),
}

/// The kernel's messages.
pub struct Listener(OwnedFd);

impl Listener {
    /// Listens from now on; what came before is lost, so this comes before interfaces are brought up.
    pub fn open() -> io::Result<Listener> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let messages = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(messages.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
        Ok(Listener(messages))
    }

    /// What has been advertised since the last call.
    pub fn receive(&self) -> Vec<Advertised> {
        let mut found = Vec::new();
        let mut buffer = [0u8; 8192];
        for _ in 0..16 {
            let Ok(length) = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) else { break };
            found.extend(decode(&buffer[..length]));
        }
        found
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What is valid now, in the order it was first heard of.
#[derive(Default)]
pub struct Names {
    entries: Vec<(Advertised, Option<Instant>)>,
}

impl Names {
    /// Takes an advertisement. Whether anything changed.
    pub fn hear(&mut self, heard: Advertised, now: Instant) -> bool {
        let end = (heard.lifetime != u32::MAX).then(|| now + Duration::from_secs(heard.lifetime.into()));
        let same = |entry: &Advertised| entry.interface == heard.interface && entry.what == heard.what;
        let known = self.entries.iter().position(|(entry, _)| same(entry));
        match known {
            Some(place) if heard.lifetime == 0 => {
                self.entries.remove(place);
                true
            }
            Some(place) => {
                self.entries[place].1 = end;
                false
            }
            None if heard.lifetime == 0 || self.entries.len() >= MOST => false,
            None => {
                self.entries.push((heard, end));
                true
            }
        }
    }

    /// Forgets what has expired. Whether anything changed.
    pub fn tick(&mut self, now: Instant) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(_, end)| end.is_none_or(|end| now < end));
        self.entries.len() != before
    }

    /// When [`Names::tick`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.entries.iter().filter_map(|(_, end)| *end).min()
    }

    /// Name servers, each with the index of its interface.
    pub fn servers(&self) -> impl Iterator<Item = (Ipv6Addr, u32)> {
        self.entries.iter().filter_map(|(entry, _)| match entry.what {
            What::Server(address) => Some((address, entry.interface)),
            What::Domain(_) => None,
        })
    }

    /// Search domains.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|(entry, _)| match &entry.what {
            What::Domain(domain) => Some(domain.as_str()),
            What::Server(_) => None,
        })
    }
}

/// Everything of use in a datagram of netlink messages.
pub fn decode(mut bytes: &[u8]) -> Vec<Advertised> {
    let mut found = Vec::new();
    while let Some(header) = bytes.first_chunk::<MESSAGE_HEADER>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(message) = bytes.get(MESSAGE_HEADER..length) else { break };
        if u16::from_ne_bytes([header[4], header[5]]) == RTM_NEWNDUSEROPT {
            options(message, &mut found);
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn options(message: &[u8], found: &mut Vec<Advertised>) {
    let Some(header) = message.first_chunk::<OPTIONS_HEADER>() else { return };
    let length = usize::from(u16::from_ne_bytes([header[2], header[3]]));
    let interface = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
    if i32::from(header[0]) != libc::AF_INET6 || header[8] != ROUTER_ADVERTISEMENT {
        return;
    }
    let rest = &message[OPTIONS_HEADER..];
    let mut rest = &rest[..length.min(rest.len())];
    while let [kind, units, ..] = *rest {
        let size = usize::from(units) * 8;
        let Some(option) = rest.get(..size).filter(|option| option.len() >= 8) else { return };
        let lifetime = u32::from_be_bytes([option[4], option[5], option[6], option[7]]);
        let mut add = |what| found.push(Advertised { interface, what, lifetime });
        match kind {
            RDNSS => addresses(&option[8..]).map(What::Server).for_each(add),
            DNSSL => domains(&option[8..]).into_iter().map(What::Domain).for_each(&mut add),
            _ => {}
        }
        rest = &rest[size..];
    }
}

fn addresses(bytes: &[u8]) -> impl Iterator<Item = Ipv6Addr> {
    let whole = bytes.chunks_exact(16).filter_map(|chunk| chunk.first_chunk::<16>());
    whole.map(|octets| Ipv6Addr::from(*octets)).filter(|address| !address.is_unspecified() && !address.is_multicast())
}

/// Names as in DNS messages, without compression, padded with zeros (RFC 8106, section 5.2). What would not be one
/// word of resolv.conf is left out.
fn domains(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut labels: Vec<&str> = Vec::new();
    let mut rest = bytes;
    while let Some((&length, behind)) = rest.split_first() {
        if length == 0 {
            let name = labels.join(".");
            if (1..=DOMAIN).contains(&name.len()) {
                found.push(name);
            }
            labels.clear();
            rest = behind;
            continue;
        }
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let label = behind.get(..usize::from(length)).filter(|label| label.len() <= 63 && label.iter().all(allowed));
        let Some(label) = label.and_then(|label| std::str::from_utf8(label).ok()) else { break };
        labels.push(label);
        rest = &behind[label.len()..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, icmp: u8, options: &[u8]) -> Vec<u8> {
        let mut bytes = ((MESSAGE_HEADER + OPTIONS_HEADER + options.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend([libc::AF_INET6 as u8, 0]);
        bytes.extend((options.len() as u16).to_ne_bytes());
        bytes.extend(2i32.to_ne_bytes());
        bytes.extend([icmp, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(options);
        bytes
    }

    fn rdnss(lifetime: u32, servers: &[&str]) -> Vec<u8> {
        let mut option = vec![RDNSS, (1 + 2 * servers.len()) as u8, 0, 0];
        option.extend(lifetime.to_be_bytes());
        servers.iter().for_each(|server| option.extend(server.parse::<Ipv6Addr>().unwrap().octets()));
        option
    }

    fn dnssl(lifetime: u32, names: &[u8]) -> Vec<u8> {
        let mut option = vec![DNSSL, (1 + names.len() / 8) as u8, 0, 0];
        option.extend(lifetime.to_be_bytes());
        option.extend(names);
        option
    }

    fn server(address: &str, lifetime: u32) -> Advertised {
        Advertised { interface: 2, what: What::Server(address.parse().unwrap()), lifetime }
    }

    #[test]
    fn servers_and_domains_are_found_in_what_the_kernel_sends() {
        let names = dnssl(60, b"\x01a\x07example\x00\x03lan\x00\0");
        let options = [rdnss(600, &["fec0::3", "fe80::2"]), names].concat();
        let both = [message(16, 134, &[]), message(RTM_NEWNDUSEROPT, 134, &options)].concat();
        let domain = |name: &str| Advertised { interface: 2, what: What::Domain(name.into()), lifetime: 60 };
        assert_eq!(decode(&both), [server("fec0::3", 600), server("fe80::2", 600), domain("a.example"), domain("lan")]);
        // Not an advertisement, not such a message.
        assert_eq!(decode(&message(RTM_NEWNDUSEROPT, 137, &options)), []);
        assert_eq!(decode(&message(16, 134, &options)), []);
    }

    #[test]
    fn names_cannot_write_lines_of_their_own_and_damage_is_no_message() {
        for names in
            [&b"\x03a\nb\0\0\0\0"[..], b"\x02a \0\0\0\0\0", b"\x40aaaaaaa", b"\xc0\x0c\0\0\0\0\0\0", b"\x09aaaaaaa"]
        {
            assert_eq!(decode(&message(RTM_NEWNDUSEROPT, 134, &dnssl(60, names))), [], "{names:?}");
        }
        let good = message(RTM_NEWNDUSEROPT, 134, &rdnss(600, &["fec0::3"]));
        for cut in 0..good.len() {
            assert_eq!(decode(&good[..cut]), [], "{cut}");
        }
        assert_eq!(decode(&message(RTM_NEWNDUSEROPT, 134, &[RDNSS, 0, 0, 0, 0, 0, 0, 0])), []);
        assert_eq!(decode(&message(RTM_NEWNDUSEROPT, 134, &rdnss(600, &["::", "ff02::1"]))), []);
    }

    #[test]
    fn random_bytes_never_panic_and_end() {
        let mut seed = 1u32;
        for _ in 0..20_000 {
            let mut options = Vec::new();
            for _ in 0..(seed >> 8) % 60 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                options.push((seed >> 24) as u8 % 34);
            }
            seed = seed.wrapping_add(77);
            decode(&options);
            decode(&message(RTM_NEWNDUSEROPT, 134, &options));
        }
    }

    #[test]
    fn what_is_advertised_lasts_as_long_as_it_says() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut names = Names::default();
        let list = |names: &Names| names.servers().map(|(address, _)| address.to_string()).collect::<Vec<_>>();
        assert!(names.hear(server("fec0::3", 100), at(0)));
        assert!(names.hear(server("fec0::4", u32::MAX), at(0)));
        // Heard again: it lasts longer, and nothing has to be written.
        assert!(!names.hear(server("fec0::3", 100), at(60)));
        assert_eq!(names.deadline(), Some(at(160)));
        assert!(!names.tick(at(159)) && names.tick(at(160)));
        assert_eq!(list(&names), ["fec0::4"]);
        assert_eq!(names.deadline(), None);
        // Taken back.
        assert!(names.hear(server("fec0::4", 0), at(200)) && list(&names).is_empty());
        assert!(!names.hear(server("fec0::4", 0), at(200)));
        // Whoever advertises without end does not fill the memory.
        for n in 0..1000u16 {
            names.hear(server(&format!("fec0::{n:x}:1"), 600), at(300));
        }
        assert_eq!(list(&names).len(), MOST);
    }
}
