//! The routes of a lease, in an order in which the kernel takes them, and what changes from one lease to the next.
//!
//! A gateway must be reachable over a route that is there already. Some networks give an address of 32 bits and a gateway
//! beside it, or name the default route before the one that leads to its gateway.

use super::dhcp::Lease;
use std::net::Ipv4Addr;

/// Destination, prefix length, gateway (0.0.0.0: on the link).
pub type Route = (Ipv4Addr, u8, Ipv4Addr);

/// The routes on the link, then the others. A gateway to which none of them leads is on the link itself.
pub fn of(lease: &Lease) -> Vec<Route> {
    let (mut on_link, through): (Vec<Route>, Vec<Route>) =
        lease.routes.iter().copied().partition(|(_, _, gateway)| gateway.is_unspecified());
    for (_, _, gateway) in &through {
        let own = (lease.address, lease.prefix, Ipv4Addr::UNSPECIFIED);
        if !on_link.iter().chain([&own]).any(|(to, prefix, _)| contains(*to, *prefix, *gateway)) {
            on_link.push((*gateway, 32, Ipv4Addr::UNSPECIFIED));
        }
    }
    on_link.extend(through);
    on_link
}

/// What to remove and what to add, each in order, when `after` follows `before` on one address.
pub fn change(before: &[Route], after: &[Route]) -> (Vec<Route>, Vec<Route>) {
    let missing = |routes: &[Route], from: &[Route]| -> Vec<Route> {
        routes.iter().filter(|route| !from.contains(route)).copied().collect()
    };
    let mut gone = missing(before, after);
    // Those that others are reached over go last.
    gone.reverse();
    (gone, missing(after, before))
}

fn contains(network: Ipv4Addr, prefix: u8, address: Ipv4Addr) -> bool {
    let bits = |address: Ipv4Addr| u32::from(address).checked_shr(32 - u32::from(prefix)).unwrap_or(0);
    bits(network) == bits(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn route((to, gateway): (&str, &str)) -> Route {
        let (to, prefix) = to.split_once('/').unwrap();
        (ip(to), prefix.parse().unwrap(), ip(gateway))
    }

    fn lease(address: &str, routes: &[(&str, &str)]) -> Lease {
        let (address, prefix, _) = route((address, "0.0.0.0"));
        Lease { address, prefix, routes: routes.iter().copied().map(route).collect(), ..Lease::of(address) }
    }

    #[test]
    fn every_gateway_is_reachable_before_a_route_leads_through_it() {
        type Routes = &'static [(&'static str, &'static str)];
        let rows: [(&str, Routes, Routes); 6] = [
            ("10.0.2.15/24", &[("0.0.0.0/0", "10.0.2.2")], &[("0.0.0.0/0", "10.0.2.2")]),
            ("10.0.2.15/32", &[("0.0.0.0/0", "10.0.2.2")], &[("10.0.2.2/32", "0.0.0.0"), ("0.0.0.0/0", "10.0.2.2")]),
            (
                "10.0.2.15/24",
                &[("0.0.0.0/0", "192.168.0.1")],
                &[("192.168.0.1/32", "0.0.0.0"), ("0.0.0.0/0", "192.168.0.1")],
            ),
            (
                "10.0.2.15/32",
                &[("0.0.0.0/0", "10.9.0.1"), ("10.9.0.0/16", "0.0.0.0")],
                &[("10.9.0.0/16", "0.0.0.0"), ("0.0.0.0/0", "10.9.0.1")],
            ),
            (
                "10.0.2.15/32",
                &[("172.16.0.0/12", "10.0.2.2"), ("0.0.0.0/0", "10.0.2.2")],
                &[("10.0.2.2/32", "0.0.0.0"), ("172.16.0.0/12", "10.0.2.2"), ("0.0.0.0/0", "10.0.2.2")],
            ),
            ("10.0.2.15/24", &[], &[]),
        ];
        for (address, given, expected) in rows {
            let expected: Vec<Route> = expected.iter().copied().map(route).collect();
            assert_eq!(of(&lease(address, given)), expected, "{address} {given:?}");
        }
    }

    #[test]
    fn a_lease_that_follows_another_removes_and_adds_what_is_different() {
        let before = of(&lease("10.0.2.15/32", &[("0.0.0.0/0", "10.0.2.2")]));
        let after = of(&lease("10.0.2.15/32", &[("0.0.0.0/0", "10.0.2.3"), ("10.7.0.0/16", "0.0.0.0")]));
        let (gone, new) = change(&before, &after);
        assert_eq!(gone, [route(("0.0.0.0/0", "10.0.2.2")), (ip("10.0.2.2"), 32, LINK)]);
        assert_eq!(new.first(), Some(&route(("10.7.0.0/16", "0.0.0.0"))));
        assert_eq!(new.last(), Some(&route(("0.0.0.0/0", "10.0.2.3"))));
        assert_eq!(change(&after, &after), (vec![], vec![]));
    }
}
