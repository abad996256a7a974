//! Hosts: which are this machine, which belong together, which nobody may be sent to.

use std::net::{IpAddr, Ipv6Addr};

/// A host without its port and brackets.
pub fn host(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    }
}

fn address(host: &str) -> Option<IpAddr> {
    match host.parse().ok()? {
        IpAddr::V6(v6) => Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)),
        v4 => Some(v4),
    }
}

/// Whether it is this machine, as far as its name tells.
pub fn is_loopback(authority: &str) -> bool {
    let host = host(authority).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") || address(&host).is_some_and(|address| address.is_loopback())
}

/// Whether it is an address that only the nearest network has: where clouds keep the keys of their machines.
fn is_link_local(authority: &str) -> bool {
    match address(host(authority)) {
        Some(IpAddr::V4(v4)) => v4.is_link_local() || v4.is_unspecified(),
        Some(IpAddr::V6(v6)) => is_unicast_link_local(v6) || v6.is_unspecified(),
        None => host(authority).eq_ignore_ascii_case("metadata.google.internal"),
    }
}

fn is_unicast_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// Whether somebody at `from` may send us to `to`: not to this machine or its nearest network from elsewhere.
pub fn may_lead_to(from: &str, to: &str) -> bool {
    let same = host(from).eq_ignore_ascii_case(host(to));
    same || !is_link_local(to) && (!is_loopback(to) || is_loopback(from))
}

/// Whether two hosts belong to one owner, as far as their names tell: the same one, or names with the same last two
/// labels. Credentials for one are shown to the other.
pub fn belong_together(a: &str, b: &str) -> bool {
    let (a, b) = (host(a).to_ascii_lowercase(), host(b).to_ascii_lowercase());
    let owner = |host: &str| -> Option<String> {
        let labels: Vec<&str> = host.rsplit('.').take(2).collect();
        (labels.len() == 2 && address(host).is_none()).then(|| labels.join("."))
    };
    a == b || is_loopback(&a) && is_loopback(&b) || owner(&a).is_some() && owner(&a) == owner(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_apart() {
        for (authority, loopback) in [
            ("localhost", true),
            ("LOCALHOST:5000", true),
            ("a.localhost", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.example.org", false),
            ("128.0.0.1", false),
            ("127.0.0.1.example.org", false),
            ("ghcr.io", false),
        ] {
            assert_eq!(is_loopback(authority), loopback, "{authority}");
        }
    }

    #[test]
    fn nobody_elsewhere_sends_us_to_this_machine_or_its_nearest_network() {
        for (from, to, may) in [
            ("ghcr.io", "pkg.ghcr.io", true),
            ("ghcr.io", "cdn.example.org", true),
            ("ghcr.io", "10.0.0.1:9000", true),
            ("ghcr.io", "169.254.169.254", false),
            ("ghcr.io", "[fe80::1]", false),
            ("ghcr.io", "[::ffff:169.254.169.254]", false),
            ("ghcr.io", "metadata.google.internal", false),
            ("ghcr.io", "localhost:80", false),
            ("ghcr.io", "0.0.0.0", false),
            ("localhost:5000", "127.0.0.1:5001", true),
            ("localhost:5000", "169.254.169.254", false),
            ("169.254.1.1:5000", "169.254.1.1:5001", true),
        ] {
            assert_eq!(may_lead_to(from, to), may, "{from} to {to}");
        }
    }

    #[test]
    fn credentials_are_for_hosts_of_one_owner() {
        for (a, b, together) in [
            ("registry-1.docker.io", "auth.docker.io", true),
            ("registry.gitlab.com", "gitlab.com:443", true),
            ("quay.io", "quay.io", true),
            ("10.0.0.1:5000", "10.0.0.1:5001", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("1.10.0.1", "2.10.0.1", false),
            ("localhost:1", "127.0.0.1:2", true),
            ("ghcr.io", "quay.io", false),
            ("registry", "auth", false),
            ("registry", "registry:5001", true),
            ("a.example.org", "b.example.com", false),
        ] {
            assert_eq!(belong_together(a, b), together, "{a} {b}");
            assert_eq!(belong_together(b, a), together, "{b} {a}");
        }
    }
}
