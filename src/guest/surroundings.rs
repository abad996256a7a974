//! What a workload finds around it beyond what every workload finds: `docker run`'s `--shm-size`, `--tmpfs`,
//! `--sysctl`, `--add-host`, `--dns` and `--dns-search`. A build writes it into the boot specification, a run puts its own
//! on top.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Everything that was asked for. A disk without it was made before there was such a thing, and its PID 1 knows none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Surroundings {
    /// Bytes that /dev/shm may hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
    /// File systems in memory: path, and options as mount(8) has them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, String>,
    /// Kernel parameters by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Lines of /etc/hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostName>,
    /// Name servers instead of the network's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// Search domains instead of the network's; one that is `.` means none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
}

/// A soft and a hard limit; absent is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What counts.
    pub soft: Option<u64>,
    /// What the process itself may raise it to.
    pub hard: Option<u64>,
}

/// Resource limits: docker's names (docker/go-units, ulimit.go) and the kernel's numbers, which x86_64 and aarch64 share
/// (include/uapi/asm-generic/resource.h).
pub const LIMITS: [(&str, u32); 15] = [
    ("core", 4),
    ("cpu", 0),
    ("data", 2),
    ("fsize", 1),
    ("locks", 10),
    ("memlock", 8),
    ("msgqueue", 12),
    ("nice", 13),
    ("nofile", 7),
    ("nproc", 6),
    ("rss", 5),
    ("rtprio", 14),
    ("rttime", 15),
    ("sigpending", 11),
    ("stack", 3),
];

/// A name and its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostName {
    /// The name.
    pub name: String,
    /// The address.
    pub address: IpAddr,
}

impl Surroundings {
    /// Puts others on top: what is of the same name, or there once, is replaced, and names of hosts add up.
    pub fn apply(&mut self, others: Surroundings) {
        if others.shm_size.is_some() {
            self.shm_size = others.shm_size;
        }
        self.tmpfs.extend(others.tmpfs);
        self.sysctls.extend(others.sysctls);
        self.hosts.extend(others.hosts);
        if !others.dns.is_empty() {
            self.dns = others.dns;
        }
        if !others.dns_search.is_empty() {
            self.dns_search = others.dns_search;
        }
    }

    /// An option that was given.
    pub fn given(&self) -> Option<&'static str> {
        let options = [
            ("--shm-size", self.shm_size.is_some()),
            ("--tmpfs", !self.tmpfs.is_empty()),
            ("--sysctl", !self.sysctls.is_empty()),
            ("--add-host", !self.hosts.is_empty()),
            ("--dns", !self.dns.is_empty()),
            ("--dns-search", !self.dns_search.is_empty()),
        ];
        options.into_iter().find_map(|(name, given)| given.then_some(name))
    }

    /// Search domains, where they are not the network's.
    pub fn search(&self) -> Option<Vec<String>> {
        let domains = || self.dns_search.iter().filter(|domain| *domain != ".").cloned().collect();
        (!self.dns_search.is_empty()).then(domains)
    }
}

/// What mount(2) takes for the options of a tmpfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TmpfsOptions {
    /// `MS_*` bits.
    pub flags: u64,
    /// The rest, with commas.
    pub data: String,
}

/// `MS_RDONLY`, `MS_NOSUID`, … (include/uapi/linux/mount.h): name, bit, whether the name sets it.
const FLAGS: [(&str, u64, bool); 20] = [
    ("ro", 1, true),
    ("rw", 1, false),
    ("nosuid", 2, true),
    ("suid", 2, false),
    ("nodev", 4, true),
    ("dev", 4, false),
    ("noexec", 8, true),
    ("exec", 8, false),
    ("sync", 16, true),
    ("async", 16, false),
    ("dirsync", 128, true),
    ("noatime", 1024, true),
    ("atime", 1024, false),
    ("nodiratime", 2048, true),
    ("diratime", 2048, false),
    ("relatime", 1 << 21, true),
    ("norelatime", 1 << 21, false),
    ("strictatime", 1 << 24, true),
    ("nostrictatime", 1 << 24, false),
    ("defaults", 0, false),
];

/// What Docker gives every tmpfs before its own options.
const NOSUID_NODEV_NOEXEC: u64 = 2 | 4 | 8;

/// Reads the options of a tmpfs as Docker does (moby, pkg/mount, `MergeTmpfsOptions`): the last of a kind counts.
///
/// # Errors
/// The option that is none.
pub fn tmpfs_options(text: &str) -> Result<TmpfsOptions, String> {
    let mut flags = NOSUID_NODEV_NOEXEC;
    let mut data: Vec<(&str, &str)> = Vec::new();
    for option in text.split(',').filter(|_| !text.is_empty()) {
        if let Some((_, bit, sets)) = FLAGS.iter().find(|(name, ..)| *name == option) {
            flags = if *sets { flags | bit } else { flags & !bit };
            continue;
        }
        let known = |name: &str| ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"].contains(&name);
        let (name, value) = option.split_once('=').filter(|(name, _)| known(name)).ok_or(option)?;
        data.retain(|(other, _)| *other != name);
        data.push((name, value));
    }
    let data = data.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
    Ok(TmpfsOptions { flags, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_tmpfs_are_dockers_and_the_last_of_a_kind_counts() {
        for (text, flags, data) in [
            ("", 14, ""),
            ("rw", 14, ""),
            ("ro", 15, ""),
            ("exec,suid,dev", 0, ""),
            ("rw,noexec,nosuid,size=65536k", 14, "size=65536k"),
            ("size=1m,size=50%,mode=0700,uid=7", 14, "size=50%,mode=0700,uid=7"),
            ("exec,noexec,ro,rw", 14, ""),
            ("noatime,strictatime,nr_inodes=1k,mpol=bind:0", 14 | 1024 | 1 << 24, "nr_inodes=1k,mpol=bind:0"),
            ("defaults", 14, ""),
        ] {
            assert_eq!(tmpfs_options(text), Ok(TmpfsOptions { flags, data: data.into() }), "{text}");
        }
        for (text, bad) in [("size", "size"), ("size=1,huge=always", "huge=always"), ("x", "x"), ("ro,", ""), (",", "")]
        {
            assert_eq!(tmpfs_options(text), Err(bad.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_run_is_on_top_of_its_build() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let host = |name: &str| HostName { name: name.into(), address: "10.0.0.1".parse().unwrap() };
        let mut built = Surroundings {
            shm_size: Some(1),
            tmpfs: map(&[("/a", ""), ("/b", "ro")]),
            sysctls: map(&[("x", "1")]),
            hosts: vec![host("one")],
            dns: vec!["10.0.0.2".parse().unwrap()],
            dns_search: vec!["a".into()],
        };
        built.apply(Surroundings::default());
        assert_eq!((built.shm_size, built.dns.len(), built.search()), (Some(1), 1, Some(vec!["a".into()])));
        built.apply(Surroundings {
            shm_size: Some(2),
            tmpfs: map(&[("/b", "rw")]),
            hosts: vec![host("two")],
            dns: vec!["10.0.0.3".parse().unwrap()],
            dns_search: vec![".".into()],
            ..Surroundings::default()
        });
        assert_eq!((built.shm_size, &built.tmpfs), (Some(2), &map(&[("/a", ""), ("/b", "rw")])));
        assert_eq!((built.hosts.len(), built.dns[0].to_string().as_str()), (2, "10.0.0.3"));
        assert_eq!((built.search(), built.given()), (Some(vec![]), Some("--shm-size")));
        assert_eq!((Surroundings::default().search(), Surroundings::default().given()), (None, None));
    }
}
