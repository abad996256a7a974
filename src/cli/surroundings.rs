//! The options of `docker run` that make a workload's surroundings, with docker's value syntax.
//!
//! Source: docker/cli, cli/command/container/opts.go, opts/; docker/go-units, `ParseUlimit`, `RAMInBytes`.

use crate::guest::surroundings::{HostName, LIMITS, Limit, Surroundings, tmpfs_options};
use clap::Args;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// What `host-gateway` means: the host as QEMU's user network shows it.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// What the workload finds around it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Workload")]
pub struct Options {
    /// Size of /dev/shm, with b, k, m or g [default: 64m]
    #[arg(long, value_name = "SIZE", value_parser = shm_size)]
    shm_size: Option<u64>,
    /// A file system in memory, with mount options [default: noexec,nosuid,nodev]
    #[arg(long, value_name = "PATH[:OPTIONS]", value_parser = tmpfs)]
    tmpfs: Vec<(String, String)>,
    /// A resource limit (nofile, nproc, core, memlock, …); -1 means no limit
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = ulimit)]
    ulimit: Vec<(String, Limit)>,
    /// A kernel parameter, set before the command starts
    #[arg(long, value_name = "NAME=VALUE", value_parser = sysctl)]
    sysctl: Vec<(String, String)>,
    /// A line of /etc/hosts; host-gateway is the host, see --host-loopback
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = host)]
    add_host: Vec<HostName>,
    /// A name server, instead of the network's
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// A search domain for names, instead of the network's; . means none
    #[arg(long, value_name = "DOMAIN", value_parser = domain)]
    dns_search: Vec<String>,
}

impl Options {
    /// As they travel.
    pub fn surroundings(&self) -> Surroundings {
        Surroundings {
            shm_size: self.shm_size,
            tmpfs: self.tmpfs.iter().cloned().collect(),
            sysctls: self.sysctl.iter().cloned().collect(),
            hosts: self.add_host.clone(),
            dns: self.dns.clone(),
            dns_search: self.dns_search.clone(),
        }
    }

    /// The resource limits, which are the process's own.
    pub fn ulimits(&self) -> BTreeMap<String, Limit> {
        self.ulimit.iter().cloned().collect()
    }
}

/// `64m`, `64M`, `64mb`, `1.5g`: powers of 1024.
fn shm_size(text: &str) -> Result<u64, String> {
    let refuse = || "not a size; write bytes, or a number with k, m or g".to_owned();
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = unit.trim_start();
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(refuse()),
    };
    let number: f64 = number.parse().map_err(|_| refuse())?;
    let bytes = number * 1024f64.powi(power);
    (1.0..9e18).contains(&bytes).then_some(bytes as u64).ok_or_else(refuse)
}

fn tmpfs(text: &str) -> Result<(String, String), String> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    if !path.starts_with('/') || path.trim_matches('/').is_empty() || path.contains('\0') {
        return Err("not an absolute path below /".into());
    }
    tmpfs_options(options)
        .map_err(|option| format!("not an option of a tmpfs: {}", crate::escape::escape(option.as_bytes())))?;
    Ok((path.to_owned(), options.to_owned()))
}

fn ulimit(text: &str) -> Result<(String, Limit), String> {
    let (name, values) = text.split_once('=').ok_or("write NAME=SOFT or NAME=SOFT:HARD")?;
    if !LIMITS.iter().any(|(known, _)| *known == name) {
        return Err(format!("no such limit; there are {}", LIMITS.map(|(name, _)| name).join(", ")));
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let value = |text: &str| match text {
        "-1" => Ok(None),
        _ if text.starts_with('+') => Err("not a number or -1"),
        _ => text.parse().map(Some).map_err(|_| "not a number or -1"),
    };
    let (soft, hard): (Option<u64>, Option<u64>) = (value(soft)?, value(hard)?);
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        return Err("the soft limit is above the hard one".into());
    }
    Ok((name.to_owned(), Limit { soft, hard }))
}

/// `net.ipv4.ip_forward=1`; a name may have slashes, as sysctl(8) has it.
fn sysctl(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-/*:@".contains(c);
    let parts = |separator| name.split(separator).all(|part: &str| !part.is_empty() && part != "." && part != "..");
    if !name.chars().all(legal) || !parts('/') || !(name.contains('/') || parts('.')) || value.contains('\0') {
        return Err("not the name of a kernel parameter".into());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// `NAME:ADDRESS`, or with `=` as newer dockers have it.
fn host(text: &str) -> Result<HostName, String> {
    let (name, address) = text.split_once(['=', ':']).ok_or("write NAME:ADDRESS")?;
    let legal = |c: char| c.is_ascii_graphic() && c != '#';
    if name.is_empty() || name.len() > 253 || !name.chars().all(legal) {
        return Err("not a name of a host".into());
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address = match bare {
        "host-gateway" => GATEWAY.into(),
        _ => bare.parse().map_err(|_| "not an IP address, and not host-gateway")?,
    };
    Ok(HostName { name: name.to_owned(), address })
}

fn domain(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !text.is_empty() && text.len() <= 253 && text.chars().all(legal) {
        true => Ok(text.to_owned()),
        false => Err("not a domain".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("64m", Some(64 << 20)),
            ("64M", Some(64 << 20)),
            ("64mb", Some(64 << 20)),
            ("64MiB", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("65536", Some(65536)),
            ("1b", Some(1)),
            ("2 k", Some(2048)),
            ("0", None),
            ("", None),
            ("m", None),
            ("-1m", None),
            ("1x", None),
            ("99999999t", None),
        ] {
            assert_eq!(shm_size(text).ok(), bytes, "{text}");
        }
    }

    #[test]
    fn limits_are_dockers() {
        let limit = |soft, hard| Some(Limit { soft, hard });
        for (text, expected) in [
            ("nofile=1024", limit(Some(1024), Some(1024))),
            ("nofile=1024:2048", limit(Some(1024), Some(2048))),
            ("core=-1", limit(None, None)),
            ("core=0:-1", limit(Some(0), None)),
            ("nofile=2:1", None),
            ("nofile=-1:1", None),
            ("nofile", None),
            ("nofile=", None),
            ("nofile=x", None),
            ("nofile=+1", None),
            ("nofile=1:2:3", None),
            ("files=1", None),
            ("NOFILE=1", None),
        ] {
            assert_eq!(ulimit(text).ok().map(|(_, limit)| limit), expected, "{text}");
        }
    }

    #[test]
    fn mounts_parameters_and_names_are_checked() {
        for (text, good) in
            [("/run", true), ("/a/b:size=1m,exec", true), ("run", false), ("/", false), ("", false), ("/x:y", false)]
        {
            assert_eq!(tmpfs(text).is_ok(), good, "{text}");
        }
        for (text, good) in [
            ("net.ipv4.ip_forward=1", true),
            ("net/ipv4/conf/eth0.1/forwarding=1", true),
            ("kernel.msgmax=", true),
            ("kernel.sem=1 2 3", true),
            ("a..b=1", false),
            ("../x=1", false),
            ("a/../../x=1", false),
            ("/etc/x=1", false),
            ("a b=1", false),
            ("a", false),
            ("=1", false),
        ] {
            assert_eq!(sysctl(text).is_ok(), good, "{text}");
        }
        for (text, address) in [
            ("db:10.0.0.1", Some("10.0.0.1")),
            ("db=10.0.0.1", Some("10.0.0.1")),
            ("db:host-gateway", Some("10.0.2.2")),
            ("db:::1", Some("::1")),
            ("db:[::1]", Some("::1")),
            ("db=[fd00::7]", Some("fd00::7")),
            ("db:", None),
            ("db", None),
            (":10.0.0.1", None),
            ("a b:10.0.0.1", None),
            ("a\nb:10.0.0.1", None),
            ("db:other", None),
        ] {
            assert_eq!(host(text).ok().map(|host| host.address.to_string()).as_deref(), address, "{text}");
        }
        for (text, good) in [("example.org", true), (".", true), ("a b", false), ("", false), ("a\nb", false)] {
            assert_eq!(domain(text).is_ok(), good, "{text}");
        }
    }
}
