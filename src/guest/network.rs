//! How the network is configured: `dhcp`, `none`, or `static:` with addresses and what belongs to them.
//!
//! ```text
//! static:ADDRESS/PREFIX[,ADDRESS/PREFIX]...[,gateway=ADDRESS]...[,onlink][,dns=ADDRESS]...[,search=DOMAIN]...
//! ```
//!
//! It is about the first Ethernet interface. A host may give a boot further ones, each with one address ([`Card`]). Not
//! supported: routes other than the default one, DHCPv6.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// Most name servers: resolvers look at no more (resolv.conf(5), MAXNS).
const MAX_SERVERS: usize = 3;

/// Network configuration of the first interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// DHCPv4, and IPv6 as routers advertise it.
    #[default]
    Dhcp,
    /// Leave every interface but `lo` down.
    None,
    /// These addresses and nothing that the network says.
    Static(Static),
}

/// A configuration that asks nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Static {
    /// At least one.
    pub addresses: Vec<Prefixed>,
    /// Default gateways, at most one of each version.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// A gateway may lie outside the addresses' networks: it is on the link.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_link: bool,
    /// Name servers in order, at most three.
    #[serde(default)]
    pub dns: Vec<IpAddr>,
    /// Search domains in order.
    #[serde(default)]
    pub search: Vec<String>,
}

/// A card beside the first, on a network that has nothing but this one address for it: no gateway, no name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Its Ethernet address, by which it is found.
    pub mac: [u8; 6],
    /// Its own address, of IPv4.
    pub address: Ipv4Addr,
    /// Bits of its network's prefix, 1 to 32.
    pub prefix: u8,
}

/// An address and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefixed {
    /// A unicast address.
    pub address: IpAddr,
    /// Bits, at most 32 or 128.
    pub prefix: u8,
}

impl Prefixed {
    /// Whether it is the first or the last address of an IPv4 network of four or more: no machine's.
    fn is_network_itself(&self) -> bool {
        let IpAddr::V4(address) = self.address else { return false };
        let host_bits = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
        let host = address.to_bits() & host_bits;
        self.prefix < 31 && (host == 0 || host == host_bits)
    }

    /// Whether an address is in the same network.
    pub fn contains(&self, other: &IpAddr) -> bool {
        let bits = |address: &IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
        self.address.is_ipv4() == other.is_ipv4() && bits(&self.address) & mask == bits(other) & mask
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        match (text, text.strip_prefix("static:")) {
            ("dhcp", _) => Ok(Network::Dhcp),
            ("none", _) => Ok(Network::None),
            (_, Some(list)) => list.parse().map(Network::Static),
            _ => Err("not dhcp, none or static:ADDRESS/PREFIX".into()),
        }
    }
}

impl FromStr for Static {
    type Err = String;

    fn from_str(text: &str) -> Result<Static, String> {
        let mut network = Static::default();
        for part in text.split(',') {
            match part.split_once('=') {
                None if part == "onlink" => network.on_link = true,
                None => network.addresses.push(prefixed(part)?),
                Some(("gateway", value)) => network.gateways.push(address(value)?),
                Some(("dns", value)) => network.dns.push(address(value)?),
                Some(("search", value)) => network.search.push(domain(value)?),
                Some((name, _)) => return Err(format!("not gateway, onlink, dns or search: {name}")),
            }
        }
        network.check().map(|()| network)
    }
}

impl Static {
    /// Whether a gateway is on the link without being in the network of an address.
    pub fn is_beside(&self, gateway: &IpAddr) -> bool {
        let is_link_local = matches!(gateway, IpAddr::V6(address) if address.is_unicast_link_local());
        !is_link_local && !self.addresses.iter().any(|own| own.contains(gateway))
    }

    fn check(&self) -> Result<(), String> {
        if self.addresses.is_empty() {
            return Err("no address; write ADDRESS/PREFIX, like 10.0.2.15/24".into());
        }
        if self.dns.len() > MAX_SERVERS {
            return Err(format!("more than {MAX_SERVERS} name servers"));
        }
        for (place, gateway) in self.gateways.iter().enumerate() {
            if self.is_beside(gateway) && !self.on_link {
                return Err(format!(
                    "gateway is in none of the addresses' networks: {gateway}; add onlink if that is right"
                ));
            }
            if self.gateways[..place].iter().any(|other| other.is_ipv4() == gateway.is_ipv4()) {
                return Err(format!("a second gateway of one version: {gateway}"));
            }
        }
        Ok(())
    }
}

fn prefixed(text: &str) -> Result<Prefixed, String> {
    let refuse = || format!("not ADDRESS/PREFIX: {text}");
    let (address, prefix) = text.split_once('/').ok_or_else(refuse)?;
    let address = self::address(address)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.parse::<u8>().ok().filter(|prefix| (1..=most).contains(prefix)).ok_or_else(refuse)?;
    let own = Prefixed { address, prefix };
    match own.is_network_itself() {
        true => Err(format!("the address of the network itself or its broadcast address: {text}")),
        false => Ok(own),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    let address = text.parse::<IpAddr>().map_err(|_| format!("not an IP address: {text}"))?;
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    match address.is_unspecified() || address.is_multicast() || is_broadcast {
        true => Err(format!("not the address of one machine: {text}")),
        false => Ok(address),
    }
}

/// A domain goes into a line of resolv.conf.
fn domain(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    match (1..=253).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(format!("not a domain: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood_and_survives_the_boot_specification() {
        assert_eq!("dhcp".parse(), Ok(Network::Dhcp));
        assert_eq!("none".parse(), Ok(Network::None));
        let text = "static:10.0.2.50/24,fd00::50/64,gateway=10.0.2.2,gateway=fe80::2,dns=10.0.2.3,search=a.example";
        let network: Network = text.parse().unwrap();
        let Network::Static(fixed) = &network else { panic!("{network:?}") };
        assert_eq!(fixed.addresses[1], Prefixed { address: "fd00::50".parse().unwrap(), prefix: 64 });
        assert_eq!((fixed.gateways.len(), fixed.dns.len(), &fixed.search[0][..]), (2, 1, "a.example"));
        for network in [Network::Dhcp, Network::None, network] {
            let json = serde_json::to_string(&network).unwrap();
            assert_eq!(serde_json::from_str::<Network>(&json).unwrap(), network, "{json}");
        }
        // Point to point, one address alone, and a gateway beside it.
        for text in ["static:10.0.2.0/31", "static:10.0.2.255/32", "static:10.0.2.5/32,gateway=10.0.2.1,onlink"] {
            assert!(text.parse::<Network>().is_ok(), "{text}");
        }
        assert_eq!(serde_json::to_string(&Network::Dhcp).unwrap(), "\"dhcp\"");
    }

    #[test]
    fn what_no_machine_can_have_is_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("", "not dhcp"),
            ("dhcp6", "not dhcp"),
            ("static:", "ADDRESS/PREFIX"),
            ("static:dns=1.1.1.1", "no address"),
            ("static:10.0.2.50", "not ADDRESS/PREFIX: 10.0.2.50"),
            ("static:10.0.2.50/33", "10.0.2.50/33"),
            ("static:10.0.2.50/0", "10.0.2.50/0"),
            ("static:fd00::1/129", "fd00::1/129"),
            ("static:224.0.0.1/4", "224.0.0.1"),
            ("static:10.0.2.255/24", "its broadcast address: 10.0.2.255/24"),
            ("static:10.0.2.0/24", "the network itself"),
            ("static:10.0.2.3/30", "10.0.2.3/30"),
            ("static:255.255.255.255/32", "255.255.255.255"),
            ("static:10.0.2.50/32,gateway=10.0.2.1", "add onlink"),
            ("static:10.0.2.50/24,gateway=10.0.3.1", "10.0.3.1"),
            ("static:10.0.2.50/24,gateway=10.0.2.1,gateway=10.0.2.2", "10.0.2.2"),
            ("static:10.0.2.50/24,gateway=fd00::1", "fd00::1"),
            ("static:10.0.2.50/24,dns=x", "not an IP address: x"),
            ("static:10.0.2.50/24,mtu=9000", "mtu"),
            ("static:10.0.2.50/24,search=a b", "not a domain"),
            ("static:10.0.2.50/24,dns=1.1.1.1,dns=1.1.1.2,dns=1.1.1.3,dns=1.1.1.4", "more than 3"),
        ] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
