//! Proxies from the environment: which one leads to a host, if any.
//!
//! ```text
//!  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY     http://[USER:PASSWORD@]HOST:PORT, for one scheme or both
//!  NO_PROXY                               hosts that are reached directly, with commas between them
//!    example.org    it and what is below it        .example.org   what is below it
//!    10.0.0.0/8     addresses                      host:5000      one port
//!    *              everything
//! ```
//!
//! Small letters count as well, and come first. This machine is always reached directly, as Go's programs have it.

use super::site::{host, is_loopback};
use std::env;
use std::net::IpAddr;

/// The proxy for `authority` (host and port) under a scheme: the variable that names it, and its value.
pub fn for_host(secure: bool, authority: &str) -> Option<(String, String)> {
    let scheme = if secure { "HTTPS_PROXY" } else { "HTTP_PROXY" };
    let (name, value) = variable(scheme).or_else(|| variable("ALL_PROXY"))?;
    let direct = variable("NO_PROXY").is_some_and(|(_, list)| is_direct(&list, authority, secure));
    (!is_loopback(authority) && !direct).then_some((name, value))
}

fn variable(name: &str) -> Option<(String, String)> {
    let names = [name.to_ascii_lowercase(), name.to_owned()];
    names.into_iter().find_map(|name| Some((name.clone(), env::var(&name).ok().filter(|value| !value.is_empty())?)))
}

fn is_direct(list: &str, authority: &str, secure: bool) -> bool {
    let host = host(authority).to_ascii_lowercase();
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let port: u16 = port.unwrap_or(if secure { 443 } else { 80 });
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| covers(entry, &host, port))
}

fn covers(entry: &str, wanted: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return wanted.parse().ok().zip(network.parse().ok()).zip(bits.parse().ok()).is_some_and(is_within);
    }
    let entry = entry.to_ascii_lowercase();
    let name = host(&entry);
    let other_port = entry.rsplit_once(':').filter(|_| !is_bare_ipv6(&entry)).and_then(|(_, port)| port.parse().ok());
    if other_port.is_some_and(|other: u16| other != port) {
        return false;
    }
    let name = if is_bare_ipv6(&entry) { entry.as_str() } else { name };
    match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(parent) => is_below(wanted, parent),
        None => wanted == name || is_below(wanted, name),
    }
}

fn is_bare_ipv6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

fn is_below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')) && host.parse::<IpAddr>().is_err()
}

fn is_within(((address, network), bits): ((IpAddr, IpAddr), u32)) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => (address.to_bits().into(), network.to_bits().into(), 32),
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let (address, network): (u128, u128) = (address, network);
    bits <= width && (bits == 0 || address >> (width - bits) == network >> (width - bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_reached_directly() {
        for (list, authority, direct) in [
            ("*", "ghcr.io", true),
            ("ghcr.io", "ghcr.io", true),
            ("GHCR.IO", "ghcr.io:443", true),
            ("ghcr.io", "pkg.ghcr.io", true),
            ("ghcr.io", "notghcr.io", false),
            (".ghcr.io", "pkg.ghcr.io", true),
            ("*.ghcr.io", "pkg.ghcr.io", true),
            (".ghcr.io", "ghcr.io", false),
            ("a, ghcr.io ,b", "ghcr.io", true),
            ("host:5000", "host:5000", true),
            ("host:5000", "host:5001", false),
            ("host:443", "host", true),
            ("10.0.0.0/8", "10.1.2.3:5000", true),
            ("10.0.0.0/8", "11.1.2.3:5000", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("fd00::/8", "[fd00::1]:5000", true),
            ("fd00::1", "[fd00::1]:5000", true),
            ("fd00::/8", "10.0.0.1", false),
            ("10.0.0.0/33", "10.0.0.1", false),
            ("0.1", "10.0.0.1", false),
            ("", "ghcr.io", false),
            (",,", "ghcr.io", false),
        ] {
            assert_eq!(is_direct(list, authority, true), direct, "{list} for {authority}");
        }
    }
}
