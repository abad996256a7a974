//! DHCPv4 messages (RFC 2131, section 2; options of RFC 2132 and RFC 3442): those a client sends and understands.
//!
//! ```text
//! offset 0   op htype hlen hops | xid | secs flags | ciaddr yiaddr siaddr giaddr | chaddr (16)
//!        44  sname (64) file (128)
//!       236  magic 99.130.83.99, then options: code, length, value ... 255
//! ```
//!
//! Not supported: option overload (values in sname and file), authentication, FORCERENEW.

use std::net::Ipv4Addr;

const MAGIC: [u8; 4] = [99, 130, 83, 99];
const HEADER: usize = 240;
/// Shortest message a server must take (BOOTP, RFC 1542 section 2.1).
const SHORTEST: usize = 300;
/// Broadcast flag: an interface without an address cannot receive a unicast answer.
const BROADCAST: u16 = 0x8000;

const NETMASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const HOST_NAME: u8 = 12;
const DOMAIN: u8 = 15;
const MTU: u8 = 26;
const REQUESTED_IP: u8 = 50;
const LEASE_TIME: u8 = 51;
const MESSAGE_TYPE: u8 = 53;
const SERVER_ID: u8 = 54;
const PARAMETERS: u8 = 55;
const RENEWAL_TIME: u8 = 58;
const REBINDING_TIME: u8 = 59;
const SEARCH: u8 = 119;
const CLASSLESS_ROUTES: u8 = 121;
const PAD: u8 = 0;
const END: u8 = 255;

/// Message types (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Type {
    /// Client looks for servers.
    Discover = 1,
    /// Server offers an address.
    Offer = 2,
    /// Client asks for it, or for more time.
    Request = 3,
    /// Server agrees.
    Ack = 5,
    /// Server refuses.
    Nak = 6,
}

/// What a client sends.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// Discover or Request.
    pub kind: Type,
    /// Transaction.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Hardware address.
    pub mac: [u8; 6],
    /// The client's own address when it renews, else 0.0.0.0.
    pub current: Ipv4Addr,
    /// The address of an offer.
    pub requested: Option<Ipv4Addr>,
    /// The server of an offer.
    pub server: Option<Ipv4Addr>,
    /// Host name to tell the server.
    pub hostname: &'a str,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Offer, Ack or Nak.
    pub kind: Type,
    /// What it is about.
    pub lease: Lease,
}

/// Most domains that are searched: every name that is asked for is tried in each.
const MAX_DOMAINS: usize = 16;
/// Longest name of the domain name system.
const MAX_NAME: usize = 253;

/// An address and what comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Our address.
    pub address: Ipv4Addr,
    /// Prefix length, 0 to 32.
    pub prefix: u8,
    /// Routes in order: destination, prefix length, gateway (0.0.0.0: on the link).
    pub routes: Vec<(Ipv4Addr, u8, Ipv4Addr)>,
    /// Name servers in order.
    pub dns: Vec<Ipv4Addr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Server that gave it.
    pub server: Option<Ipv4Addr>,
    /// Largest packet, if the server says.
    pub mtu: Option<u16>,
    /// Seconds it is valid.
    pub seconds: u32,
    /// Seconds until renewal with the same server.
    pub renew_after: u32,
    /// Seconds until any server is asked.
    pub rebind_after: u32,
}

#[cfg(test)]
impl Lease {
    /// For an hour, with nothing but the address.
    pub fn of(address: Ipv4Addr) -> Lease {
        let (routes, dns, search) = (vec![], vec![], vec![]);
        let (seconds, renew_after, rebind_after) = (3600, 1800, 3150);
        Lease { address, prefix: 24, routes, dns, search, server: None, mtu: None, seconds, renew_after, rebind_after }
    }
}

/// The bytes of a query.
pub fn encode(query: &Query) -> Vec<u8> {
    let mut out = vec![1, 1, 6, 0];
    out.extend(query.xid.to_be_bytes());
    out.extend(query.secs.to_be_bytes());
    let flags = if query.current.is_unspecified() { BROADCAST } else { 0 };
    out.extend(flags.to_be_bytes());
    out.extend(query.current.octets());
    out.resize(28, 0);
    out.extend(query.mac);
    out.resize(236, 0);
    out.extend(MAGIC);
    let mut option = |code: u8, value: &[u8]| {
        out.extend([code, value.len() as u8]);
        out.extend(value);
    };
    option(MESSAGE_TYPE, &[query.kind as u8]);
    if let Some(address) = query.requested {
        option(REQUESTED_IP, &address.octets());
    }
    if let Some(server) = query.server {
        option(SERVER_ID, &server.octets());
    }
    // A name longer than a label is no host name a server could use.
    if (1..=63).contains(&query.hostname.len()) {
        option(HOST_NAME, query.hostname.as_bytes());
    }
    option(
        PARAMETERS,
        &[NETMASK, CLASSLESS_ROUTES, ROUTER, DNS, DOMAIN, SEARCH, MTU, LEASE_TIME, RENEWAL_TIME, REBINDING_TIME],
    );
    out.push(END);
    out.resize(out.len().max(SHORTEST), 0);
    out
}

/// The answer to transaction `xid` for `mac`; `None` for anything else, and for anything damaged.
pub fn decode(bytes: &[u8], xid: u32, mac: [u8; 6]) -> Option<Answer> {
    let for_us = bytes.len() > HEADER
        && bytes[0] == 2
        && bytes[4..8] == xid.to_be_bytes()
        && bytes[28..34] == mac
        && bytes[236..240] == MAGIC;
    if !for_us {
        return None;
    }
    let options = Options(&bytes[HEADER..]);
    let kind = match options.find(MESSAGE_TYPE)? {
        [2] => Type::Offer,
        [5] => Type::Ack,
        [6] => Type::Nak,
        _ => return None,
    };
    let address = address(&bytes[16..])?;
    if kind != Type::Nak && !is_usable(address) {
        return None;
    }
    Some(Answer { kind, lease: lease(&options, address) })
}

fn lease(options: &Options, address: Ipv4Addr) -> Lease {
    let addresses = |code| {
        let value = options.joined(code).unwrap_or_default();
        value.chunks_exact(4).filter_map(self::address).collect::<Vec<_>>().into_iter()
    };
    let seconds = |code| Some(u32::from_be_bytes(options.find(code)?.try_into().ok()?));
    let mask = addresses(NETMASK).next().map(|mask| u32::from(mask).leading_ones() as u8);
    // Below a minute a lease would keep the client busy; RFC 2131 leaves the least to the client.
    let valid = seconds(LEASE_TIME).unwrap_or(3600).max(60);
    let renew_after = seconds(RENEWAL_TIME).unwrap_or(valid / 2).min(valid / 2).max(30);
    let rebind_after = seconds(REBINDING_TIME).unwrap_or(valid / 8 * 7).clamp(renew_after, valid);
    let routes = match options.joined(CLASSLESS_ROUTES) {
        Some(value) => classless_routes(&value),
        None => addresses(ROUTER).take(1).map(|router| (Ipv4Addr::UNSPECIFIED, 0, router)).collect(),
    };
    Lease {
        address,
        prefix: mask.unwrap_or_else(|| class_prefix(address)),
        routes,
        dns: addresses(DNS).filter(|server| is_usable(*server)).take(3).collect(),
        search: search(options),
        server: addresses(SERVER_ID).next(),
        mtu: options.find(MTU).and_then(|v| Some(u16::from_be_bytes(v.try_into().ok()?))).filter(|mtu| *mtu >= 576),
        seconds: valid,
        renew_after,
        rebind_after,
    }
}

/// The domains of the search list (RFC 3397), then the domain name, which many servers use for several.
fn search(options: &Options) -> Vec<String> {
    let list = options.joined(SEARCH).map(|value| search_list(&value)).unwrap_or_default();
    let name = options.joined(DOMAIN).unwrap_or_default();
    let names = name.split(|byte| matches!(byte, b' ' | b'\0')).filter_map(domain);
    let mut found: Vec<String> = Vec::new();
    for domain in list.into_iter().chain(names) {
        if found.len() < MAX_DOMAINS && !found.contains(&domain) {
            found.push(domain);
        }
    }
    found
}

/// A domain, when it is one: it ends up in a line of resolv.conf.
fn domain(name: &[u8]) -> Option<String> {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.iter().all(allowed);
    fits.then(|| String::from_utf8_lossy(name).into_owned())
}

/// Names as in messages of the domain name system (RFC 1035, section 4.1.4): labels, and pointers to where others begin
/// before them. What follows a broken name is not read.
fn search_list(value: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while let Some((name, next)) = (at < value.len()).then(|| encoded_name(value, at)).flatten() {
        names.extend(domain(&name));
        at = next;
    }
    names
}

/// The name that begins at `start`, and where the next one does.
fn encoded_name(value: &[u8], start: usize) -> Option<(Vec<u8>, usize)> {
    let (mut name, mut at, mut next) = (Vec::new(), start, None);
    // Every pointer leads before the last one, so that this ends.
    let mut limit = start;
    loop {
        match usize::from(*value.get(at)?) {
            0 => return Some((name, next.unwrap_or(at + 1))),
            length @ 1..64 => {
                let label = value.get(at + 1..at + 1 + length)?;
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend(label);
                at += 1 + length;
            }
            high @ 192.. => {
                let target = (high & 63) << 8 | usize::from(*value.get(at + 1)?);
                if target >= limit {
                    return None;
                }
                next.get_or_insert(at + 2);
                (limit, at) = (target, target);
            }
            _ => return None,
        }
        if name.len() > MAX_NAME {
            return None;
        }
    }
}

/// RFC 3442: width, as many octets of the destination as the width needs, gateway.
fn classless_routes(mut value: &[u8]) -> Vec<(Ipv4Addr, u8, Ipv4Addr)> {
    let mut routes = Vec::new();
    while let Some((width, rest)) = value.split_first() {
        let octets = usize::from(width.div_ceil(8));
        if *width > 32 || rest.len() < octets + 4 {
            break;
        }
        let mut destination = [0u8; 4];
        destination[..octets].copy_from_slice(&rest[..octets]);
        let Some(gateway) = address(&rest[octets..]) else { break };
        routes.push((Ipv4Addr::from(destination), *width, gateway));
        value = &rest[octets + 4..];
    }
    routes
}

fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

fn is_usable(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast()
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    bytes.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// Code and value of each, as far as they are whole.
    fn each(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            while rest.first() == Some(&PAD) {
                rest = &rest[1..];
            }
            let (&code, behind) = rest.split_first().filter(|(code, _)| **code != END)?;
            let (&length, behind) = behind.split_first()?;
            let (value, behind) = behind.split_at_checked(length.into())?;
            rest = behind;
            Some((code, value))
        })
    }

    /// The first option with this code.
    fn find(&self, wanted: u8) -> Option<&'a [u8]> {
        self.each().find_map(|(code, value)| (code == wanted).then_some(value))
    }

    /// All options with this code as one: a value longer than one option holds comes in several (RFC 3396).
    fn joined(&self, wanted: u8) -> Option<Vec<u8>> {
        let parts: Vec<&[u8]> = self.each().filter(|(code, _)| *code == wanted).map(|(_, value)| value).collect();
        (!parts.is_empty()).then(|| parts.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    fn query() -> Query<'static> {
        Query {
            kind: Type::Discover,
            xid: 0x1234_5678,
            secs: 3,
            mac: MAC,
            current: Ipv4Addr::UNSPECIFIED,
            requested: None,
            server: None,
            hostname: "box",
        }
    }

    fn answer(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0u8; HEADER];
        bytes[0] = 2;
        bytes[4..8].copy_from_slice(&0x1234_5678u32.to_be_bytes());
        bytes[16..20].copy_from_slice(&[10, 0, 2, 15]);
        bytes[28..34].copy_from_slice(&MAC);
        bytes[236..240].copy_from_slice(&MAGIC);
        bytes.extend(options);
        bytes
    }

    fn decoded(options: &[u8]) -> Option<Answer> {
        decode(&answer(options), 0x1234_5678, MAC)
    }

    #[test]
    fn a_discover_is_a_bootp_request_with_the_broadcast_flag() {
        let bytes = encode(&query());
        assert_eq!(bytes.len(), 300);
        assert_eq!(bytes[..4], [1, 1, 6, 0]);
        assert_eq!(bytes[4..12], [0x12, 0x34, 0x56, 0x78, 0, 3, 0x80, 0]);
        assert_eq!(bytes[28..34], MAC);
        assert_eq!(bytes[236..243], [99, 130, 83, 99, 53, 1, 1]);
        assert_eq!(Options(&bytes[HEADER..]).find(HOST_NAME), Some(&b"box"[..]));
    }

    #[test]
    fn a_renewal_is_unicast_and_names_its_own_address() {
        let bytes = encode(&Query { kind: Type::Request, current: Ipv4Addr::new(10, 0, 2, 15), ..query() });
        assert_eq!(bytes[10..16], [0, 0, 10, 0, 2, 15]);
        assert_eq!(Options(&bytes[HEADER..]).find(REQUESTED_IP), None);
    }

    #[test]
    fn an_offer_of_qemus_server_is_understood() {
        let options = [
            53, 1, 2, 54, 4, 10, 0, 2, 2, 1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 2, 2, 6, 4, 10, 0, 2, 3, 51, 4, 0, 1,
            0x51, 0x80, 15, 5, b'l', b'o', b'c', b'a', b'l', 255,
        ];
        let Answer { kind, lease } = decoded(&options).unwrap();
        assert_eq!(kind, Type::Offer);
        assert_eq!((lease.address, lease.prefix), (Ipv4Addr::new(10, 0, 2, 15), 24));
        assert_eq!(lease.routes, [(Ipv4Addr::UNSPECIFIED, 0, Ipv4Addr::new(10, 0, 2, 2))]);
        assert_eq!(lease.dns, [Ipv4Addr::new(10, 0, 2, 3)]);
        assert_eq!(lease.search, ["local"]);
        assert_eq!((lease.seconds, lease.renew_after, lease.rebind_after), (86_400, 43_200, 75_600));
    }

    #[test]
    fn classless_routes_replace_the_router() {
        let options = [53, 1, 5, 3, 4, 10, 0, 2, 2, 121, 13, 24, 192, 168, 7, 10, 0, 2, 1, 0, 10, 0, 2, 9, 99, 255];
        let lease = decoded(&options).unwrap().lease;
        let expected = [
            (Ipv4Addr::new(192, 168, 7, 0), 24, Ipv4Addr::new(10, 0, 2, 1)),
            (Ipv4Addr::UNSPECIFIED, 0, Ipv4Addr::new(10, 0, 2, 9)),
        ];
        assert_eq!(lease.routes, expected);
    }

    #[test]
    fn a_domain_cannot_write_lines_of_its_own() {
        let options = [53, 1, 5, 15, 5, b'a', b'\n', b'b', b' ', b'c', 255];
        assert_eq!(decoded(&options).unwrap().lease.search, ["c"]);
    }

    #[test]
    fn search_lists_are_read_whole_and_never_for_ever() {
        let two = [119, 16, 3, b'e', b'n', b'g', 1, b'a', 2, b'd', b'e', 0, 3, b'o', b'p', b's', 0xc0, 4];
        let searched = |options: &[u8]| {
            let mut all = vec![53, 1, 5];
            all.extend(options);
            all.push(255);
            decoded(&all).unwrap().lease.search
        };
        assert_eq!(searched(&two), ["eng.a.de", "ops.a.de"]);
        let mut with_name = two.to_vec();
        with_name.extend([15, 9]);
        with_name.extend(b"a.de b.de");
        assert_eq!(searched(&with_name), ["eng.a.de", "ops.a.de", "a.de", "b.de"]);
        // In two options, cut within a label (RFC 3396).
        let halves = [119, 4, 3, b'e', b'n', b'g', 1, 0, 119, 7, 1, b'a', 2, b'd', b'e', 0, 0xc0];
        assert_eq!(searched(&[&halves[..6], &halves[8..9], &[6], &halves[10..16]].concat()), ["eng.a.de"]);
        // Pointers to themselves, ahead, in a ring; labels and names that are too long; lines of their own.
        let long = [&[119, 255][..], &[&[63][..], &[b'a'; 63]].concat().repeat(4)[..255]].concat();
        for bad in
            [&[119, 2, 0xc0, 0][..], &[119, 2, 0xc0, 9], &[119, 4, 1, b'a', 0xc0, 0], &[119, 3, 64, b'a', 0], &long]
        {
            assert!(searched(bad).is_empty(), "{bad:?}");
        }
        assert_eq!(searched(&[119, 9, 3, b'a', b'\n', b'b', 0, 2, b'd', b'e', 0]), ["de"]);
        assert!(searched(&[15, 0]).is_empty());
    }

    #[test]
    fn what_is_not_ours_or_damaged_is_no_answer() {
        let good = answer(&[53, 1, 5, 255]);
        assert!(decode(&good, 0x1234_5678, MAC).is_some());
        assert!(decode(&good, 1, MAC).is_none());
        assert!(decode(&good, 0x1234_5678, [0; 6]).is_none());
        assert!(decoded(&[53, 1, 9, 255]).is_none());
        assert!(decoded(&[255]).is_none());
        assert!(decoded(&[53, 200]).is_none());
        for cut in 0..good.len() - 1 {
            assert!(decode(&good[..cut], 0x1234_5678, MAC).is_none(), "{cut}");
        }
    }

    #[test]
    fn random_options_never_panic() {
        let mut seed = 1u32;
        for _ in 0..20_000 {
            let mut options = vec![53, 1, 5];
            for _ in 0..(seed >> 8) % 40 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                options.push((seed >> 24) as u8);
            }
            seed = seed.wrapping_add(77);
            if let Some(answer) = decoded(&options) {
                assert!(answer.lease.prefix <= 32 && answer.lease.renew_after >= 30);
            }
        }
    }
}
