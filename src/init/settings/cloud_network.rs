//! The network of a cloud's disk, as far as [`Network`] has words for it: NoCloud's `network-config` in its versions 1 and 2,
//! and OpenStack's `network_data.json`.
//!
//! It is about the machine's first card: what is said of it by its hardware address, or else what is said of the first one
//! without an address. Not supported: bonds, bridges and VLANs, DHCP beside addresses, routes other than default ones, DHCPv6.
//!
//! Source: cloud-init's documentation of the three formats.

use crate::guest::network::Network;
use crate::guest::settings::tree::{Value, quoted};
use std::net::{IpAddr, Ipv4Addr};

/// Most name servers that a resolver looks at.
const MAX_SERVERS: usize = 3;

/// What a format says of one card.
#[derive(Default)]
struct Card {
    /// Its hardware address.
    mac: Option<String>,
    dhcp: bool,
    /// IPv6 as routers advertise it.
    advertised: bool,
    /// `ADDRESS/PREFIX`.
    addresses: Vec<String>,
    gateways: Vec<String>,
    dns: Vec<String>,
    search: Vec<String>,
}

/// The network of the card with this hardware address (`52:54:00:12:34:56`), and what was left out, in words.
pub fn of(document: &Value, mac: &str) -> Result<(Network, Option<&'static str>), String> {
    let document = document.get("network").unwrap_or(document);
    let version = |number| document.get("version").is_some_and(|version| text(version) == Some(number));
    let (cards, more) = if version("1".to_owned()) {
        version_1(document)?
    } else if version("2".to_owned()) {
        version_2(document)?
    } else if document.get("links").is_some() {
        openstack(document)?
    } else {
        return Err("it has no version that is known".into());
    };
    let others = (cards.len() > 1).then_some("of its cards only the first is configured");
    let is_it = |card: &Card| card.mac.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(mac));
    let place = cards.iter().position(is_it).or_else(|| cards.iter().position(|card| card.mac.is_none()));
    let Some(card) = place.and_then(|place| cards.into_iter().nth(place)) else {
        return Err("it says nothing of the first card".into());
    };
    card.network(more).map(|network| (network, others))
}

impl Card {
    /// `more` has name servers and domains that are everybody's.
    fn network(mut self, more: Card) -> Result<Network, String> {
        if self.dhcp && !self.addresses.is_empty() {
            return Err("DHCP beside addresses is not supported".into());
        }
        if self.addresses.is_empty() {
            return if self.dhcp || self.advertised { Ok(Network::Dhcp) } else { Err("it has no address".into()) };
        }
        self.dns.extend(more.dns);
        self.dns.truncate(MAX_SERVERS);
        self.search.extend(more.search);
        let mut firsts: Vec<String> = Vec::new();
        for gateway in self.gateways {
            // One of each version.
            if !firsts.iter().any(|first| first.contains(':') == gateway.contains(':')) {
                firsts.push(gateway);
            }
        }
        let named =
            |name: &'static str, values: Vec<String>| values.into_iter().map(move |value| format!("{name}={value}"));
        let parts = self.addresses.into_iter().chain(named("gateway", firsts)).chain(named("dns", self.dns));
        let parts: Vec<String> = parts.chain(named("search", self.search)).collect();
        // Read as the option is, so that one place knows what fits together.
        let text = format!("static:{}", parts.join(","));
        text.parse().or_else(|why: String| match format!("{text},onlink").parse() {
            Ok(network) if why.contains("onlink") => Ok(network),
            _ => Err(why),
        })
    }
}

type Cards = (Vec<Card>, Card);

fn version_1(document: &Value) -> Result<Cards, String> {
    let (mut cards, mut more) = (Vec::new(), Card::default());
    for item in document.get("config").and_then(Value::list).ok_or("it has no list config")? {
        match item.get("type").and_then(Value::text).unwrap_or_default() {
            "physical" => {
                let mut card = Card { mac: item.get("mac_address").and_then(text), ..Card::default() };
                for subnet in item.get("subnets").and_then(Value::list).unwrap_or_default() {
                    card.subnet(subnet)?;
                }
                cards.push(card);
            }
            "nameserver" => {
                more.dns.extend(texts(item.get("address")));
                more.search.extend(texts(item.get("search")));
            }
            "loopback" => {}
            other => return Err(format!("the type {} is not supported", quoted(other))),
        }
    }
    Ok((cards, more))
}

impl Card {
    fn subnet(&mut self, subnet: &Value) -> Result<(), String> {
        match subnet.get("type").and_then(Value::text).unwrap_or_default() {
            "dhcp" | "dhcp4" => self.dhcp = true,
            "dhcp6" | "ipv6_slaac" | "ipv6_dhcpv6-stateless" | "ipv6_dhcpv6-stateful" => self.advertised = true,
            "static" | "static4" | "static6" => {
                let one = subnet.get("address").and_then(Value::text).ok_or("an address is missing")?;
                self.addresses.push(prefixed(one, subnet.get("netmask"))?);
            }
            "manual" => {}
            other => return Err(format!("the type {} is not supported", quoted(other))),
        }
        self.gateways.extend(texts(subnet.get("gateway")));
        self.dns.extend(texts(subnet.get("dns_nameservers")));
        self.search.extend(texts(subnet.get("dns_search")));
        Ok(())
    }
}

fn version_2(document: &Value) -> Result<Cards, String> {
    let ethernets = document.get("ethernets").and_then(Value::map).ok_or("it has no ethernets")?;
    let card = |(_, item): &(String, Value)| {
        let is_on = |name: &str| item.get(name) == Some(&Value::Bool(true));
        let mac = item.get("match").and_then(|wanted| wanted.get("macaddress")).and_then(text);
        let mut card =
            Card { mac, dhcp: is_on("dhcp4"), advertised: is_on("dhcp6") || is_on("accept-ra"), ..Card::default() };
        for address in item.get("addresses").and_then(Value::list).unwrap_or_default() {
            // With options it is the only key of an object.
            let one = address.text().or_else(|| address.map()?.first().map(|(name, _)| name.as_str()));
            card.addresses.push(one.ok_or("an address is none")?.to_owned());
        }
        card.gateways.extend(texts(item.get("gateway4")));
        card.gateways.extend(texts(item.get("gateway6")));
        for route in item.get("routes").and_then(Value::list).unwrap_or_default() {
            match route.get("to").and_then(Value::text) {
                Some("default" | "0.0.0.0/0" | "::/0") => card.gateways.extend(texts(route.get("via"))),
                _ => return Err("a route that is no default one is not supported".to_owned()),
            }
        }
        if let Some(servers) = item.get("nameservers") {
            card.dns.extend(texts(servers.get("addresses")));
            card.search.extend(texts(servers.get("search")));
        }
        Ok(card)
    };
    Ok((ethernets.iter().map(card).collect::<Result<Vec<Card>, String>>()?, Card::default()))
}

fn openstack(document: &Value) -> Result<Cards, String> {
    let list = |name: &str| document.get(name).and_then(Value::list).unwrap_or_default();
    let servers = |of: &Value| {
        let services = of.get("services").and_then(Value::list).unwrap_or_default().iter();
        let dns = services.filter(|service| service.get("type").and_then(Value::text) == Some("dns"));
        dns.filter_map(|service| service.get("address").and_then(text)).collect::<Vec<_>>()
    };
    let mut cards = Vec::new();
    for link in list("links") {
        if matches!(link.get("type").and_then(Value::text), Some("bond" | "vlan")) {
            return Err("bonds and VLANs are not supported".into());
        }
        let mut card = Card { mac: link.get("ethernet_mac_address").and_then(text), ..Card::default() };
        for network in
            list("networks").iter().filter(|one| one.get("link").is_some() && one.get("link") == link.get("id"))
        {
            match network.get("type").and_then(Value::text).unwrap_or_default() {
                "ipv4_dhcp" => card.dhcp = true,
                "ipv6_dhcp" | "ipv6_slaac" | "ipv6_dhcpv6-stateless" | "ipv6_dhcpv6-stateful" => card.advertised = true,
                "ipv4" | "ipv6" => {
                    let one = network.get("ip_address").and_then(Value::text).ok_or("an address is missing")?;
                    card.addresses.push(prefixed(one, network.get("netmask"))?);
                }
                other => return Err(format!("the type {} is not supported", quoted(other))),
            }
            card.gateways.extend(texts(network.get("gateway")));
            for route in network.get("routes").and_then(Value::list).unwrap_or_default() {
                // Others are the way to a cloud's metadata service.
                if let Some("0.0.0.0" | "::") = route.get("network").and_then(Value::text) {
                    card.gateways.extend(texts(route.get("gateway")));
                }
            }
            card.dns.extend(servers(network));
        }
        cards.push(card);
    }
    Ok((cards, Card { dns: servers(document), ..Card::default() }))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// One text, several in a list, or several in one, with spaces between them.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Text(text)) => text.split([' ', ',']).filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        Some(Value::List(items)) => items.iter().filter_map(text).collect(),
        _ => Vec::new(),
    }
}

/// `ADDRESS/PREFIX`, whose prefix may stand apart, as a number or as a mask of IPv4.
fn prefixed(address: &str, mask: Option<&Value>) -> Result<String, String> {
    if address.contains('/') {
        return Ok(address.to_owned());
    }
    let mask = mask.and_then(text).ok_or("an address has no netmask")?;
    let prefix = match mask.parse() {
        Ok(IpAddr::V4(mask)) => contiguous(mask),
        Ok(IpAddr::V6(mask)) => Some(mask.to_bits().leading_ones()).filter(|ones| mask.to_bits().count_ones() == *ones),
        Err(_) => mask.parse().ok(),
    };
    prefix.map(|prefix: u32| format!("{address}/{prefix}")).ok_or_else(|| "a netmask is none".into())
}

fn contiguous(mask: Ipv4Addr) -> Option<u32> {
    let bits = mask.to_bits();
    (bits.count_ones() == bits.leading_ones()).then(|| bits.leading_ones())
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    const MAC: &str = "52:54:00:12:34:56";

    fn read(text: &str) -> Result<Network, String> {
        of(&yaml::read(text.as_bytes()).expect("YAML"), MAC).map(|(network, _)| network)
    }

    /// As Proxmox VE writes it (PVE::QemuServer::Cloudinit).
    const PROXMOX: &str = "version: 1
config:
    - type: physical
      name: eth0
      mac_address: '52:54:00:12:34:56'
      subnets:
      - type: static
        address: '10.0.0.5'
        netmask: '255.255.255.0'
        gateway: '10.0.0.1'
      - type: static6
        address: 'fd00::5/64'
        gateway: 'fd00::1'
    - type: physical
      name: eth1
      mac_address: 'bc:24:11:00:00:01'
      subnets:
      - type: dhcp4
    - type: nameserver
      address:
      - '10.0.0.2'
      - '10.0.0.3'
      search:
      - 'example.org'
";

    #[test]
    fn what_clouds_write_becomes_what_the_option_says() {
        for (text, wanted) in [
            (
                PROXMOX,
                "static:10.0.0.5/24,fd00::5/64,gateway=10.0.0.1,gateway=fd00::1,dns=10.0.0.2,dns=10.0.0.3,search=example.org",
            ),
            ("version: 1\nconfig:\n- type: physical\n  subnets: [{type: dhcp}]\n", "dhcp"),
            ("version: 1\nconfig:\n- type: physical\n  subnets: [{type: ipv6_slaac}]\n", "dhcp"),
            (
                "network:\n  version: 2\n  ethernets:\n    id0:\n      match: {macaddress: '52:54:00:12:34:56'}\n      set-name: eth0\n      \
                 addresses: [10.0.0.5/24]\n      gateway4: 10.0.0.1\n      nameservers:\n        addresses: [10.0.0.2]\n        search: [a.example]\n",
                "static:10.0.0.5/24,gateway=10.0.0.1,dns=10.0.0.2,search=a.example",
            ),
            (
                "version: 2\nethernets:\n  a:\n    match:\n      macaddress: bc:24:11:00:00:01\n    dhcp4: true\n  b:\n    \
                 addresses:\n    - 10.0.0.5/32\n    - fd00::5/64: {lifetime: 0}\n    routes:\n    - to: default\n      via: 10.9.9.1\n",
                "static:10.0.0.5/32,fd00::5/64,gateway=10.9.9.1,onlink",
            ),
            ("version: 2\nethernets: {eth0: {dhcp4: yes}}", "dhcp"),
            (
                r#"{"links": [{"id": "a", "type": "phy", "ethernet_mac_address": "bc:24:11:00:00:01"},
                    {"id": "b", "type": "ovs", "ethernet_mac_address": "52:54:00:12:34:56", "mtu": 1450}],
                    "networks": [{"link": "a", "type": "ipv4_dhcp"}, {"link": "b", "type": "ipv4", "ip_address": "10.0.0.5",
                    "netmask": "255.255.255.0", "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"},
                    {"network": "169.254.169.254", "netmask": "255.255.255.255", "gateway": "10.0.0.2"}],
                    "services": [{"type": "dns", "address": "10.0.0.3"}]}], "services": [{"type": "dns", "address": "10.0.0.4"}]}"#,
                "static:10.0.0.5/24,gateway=10.0.0.1,dns=10.0.0.3,dns=10.0.0.4",
            ),
        ] {
            assert_eq!(read(text), Ok(wanted.parse().unwrap()), "{text}");
        }
        let others = of(&yaml::read(PROXMOX.as_bytes()).unwrap(), MAC).unwrap().1;
        assert_eq!(others, Some("of its cards only the first is configured"));
    }

    #[test]
    fn what_is_not_understood_is_told_in_a_few_words() {
        for (text, error) in [
            ("", "it has no version that is known"),
            ("version: 3", "it has no version that is known"),
            ("version: 1", "it has no list config"),
            ("version: 1\nconfig: [{type: bond}]", "the type bond is not supported"),
            ("version: 1\nconfig: []", "it says nothing of the first card"),
            (
                "version: 1\nconfig: [{type: physical, mac_address: 'bc:24:11:00:00:01', subnets: [{type: dhcp}]}]",
                "it says nothing of the first card",
            ),
            ("version: 1\nconfig: [{type: physical}]", "it has no address"),
            ("version: 1\nconfig: [{type: physical, subnets: [{type: static}]}]", "an address is missing"),
            (
                "version: 1\nconfig: [{type: physical, subnets: [{type: static, address: 10.0.0.5}]}]",
                "an address has no netmask",
            ),
            (
                "version: 1\nconfig: [{type: physical, subnets: [{type: static, address: 10.0.0.5, netmask: 255.0.255.0}]}]",
                "a netmask is none",
            ),
            ("version: 2\nbonds: {}", "it has no ethernets"),
            (
                "version: 2\nethernets: {a: {dhcp4: true, addresses: [10.0.0.5/24]}}",
                "DHCP beside addresses is not supported",
            ),
            ("version: 2\nethernets: {a: {addresses: [x]}}", "not ADDRESS/PREFIX: x"),
            (
                "version: 2\nethernets: {a: {addresses: [10.0.0.5/24], routes: [{to: 10.1.0.0/16, via: 10.0.0.1}]}}",
                "a route that is no default one is not supported",
            ),
            (r#"{"links": [{"id": "a", "type": "bond"}]}"#, "bonds and VLANs are not supported"),
        ] {
            assert_eq!(read(text), Err(error.to_owned()), "{text}");
        }
    }
}
