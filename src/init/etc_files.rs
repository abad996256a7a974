//! /etc/hosts, /etc/hostname and /etc/resolv.conf as a container runtime provides them; for an image's own init
//! /etc/machine-id too, where the disk has an identity of its own.
//!
//! They lie on a small tmpfs of the initramfs and are bind-mounted over the image's files, which so stay as they are
//! on the disk. A new lease rewrites them in place: the mount shows the new text at once. What the workload has written
//! there itself stays.

use super::log;
use crate::guest::settings::host_name;
use crate::guest::surroundings::{HostName, Surroundings};
use nix::mount::{MsFlags, mount};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::OnceLock;

/// The tmpfs in the initramfs.
const FOLDER: &str = "/etc-files";
/// Names of the files, there and in the image's /etc.
pub const NAMES: [&str; 4] = ["resolv.conf", "hostname", "hosts", "machine-id"];

/// What goes before whatever the network says.
static ASKED: OnceLock<Surroundings> = OnceLock::new();

/// Makes the files, before the network is known.
pub fn create(hostname: &str, asked: Surroundings) {
    _ = ASKED.set(asked);
    _ = fs::create_dir(FOLDER);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(errno) = mount(Some("tmpfs"), FOLDER, Some("tmpfs"), flags, Some("mode=0755,size=1m")) {
        log::warning(format!("cannot mount a tmpfs for files of /etc: {}", errno.desc()));
    }
    write("hostname", &format!("{hostname}\n"));
    write_hosts(hostname, None);
    write_resolv_conf(&[], &[]);
}

/// Another name, before the network is known.
pub fn rename(hostname: &str) {
    write("hostname", &format!("{hostname}\n"));
    write_hosts(hostname, None);
}

fn asked() -> &'static Surroundings {
    ASKED.get_or_init(Surroundings::default)
}

/// Writes machine-id (machine-id(5)).
pub fn write_machine_id(id: &str) {
    write("machine-id", &format!("{id}\n"));
}

/// Path of one of the files in the initramfs.
pub fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// Writes hosts: the standard names, and this machine's.
pub fn write_hosts(hostname: &str, address: Option<IpAddr>) {
    write("hosts", &hosts(hostname, address, &asked().hosts));
}

/// Writes resolv.conf with name servers and search domains in order.
pub fn write_resolv_conf(servers: &[String], search: &[String]) {
    write("resolv.conf", &resolv_conf(servers, search, asked()));
}

thread_local! {
    /// What was last written to each file.
    static WRITTEN: RefCell<HashMap<&'static str, String>> = RefCell::default();
}

fn write(name: &'static str, text: &str) {
    WRITTEN.with_borrow_mut(|written| rewrite(Path::new(FOLDER), written, name, text));
}

fn rewrite(folder: &Path, written: &mut HashMap<&'static str, String>, name: &'static str, text: &str) {
    let path = folder.join(name);
    let before = written.get(name);
    if before.is_some_and(|before| before == text) {
        return;
    }
    if before.is_some_and(|before| fs::read(&path).is_ok_and(|now| now != before.as_bytes())) {
        log::info(format!("/etc/{name} was changed by the workload and stays as it is"));
    } else if let Err(error) = fs::write(&path, text) {
        log::warning(format!("cannot write /etc/{name}: {error}"));
    } else {
        written.insert(name, text.to_owned());
    }
}

fn hosts(hostname: &str, address: Option<IpAddr>, more: &[HostName]) -> String {
    // Without a network the machine's own name still means the machine.
    let own = address.unwrap_or(Ipv4Addr::new(127, 0, 1, 1).into());
    // A full name's first part is a name of the machine too.
    let short = hostname.split_once('.').map(|(short, _)| format!(" {short}")).unwrap_or_default();
    let more: String = more.iter().map(|host| format!("{}\t{}\n", host.address, host.name)).collect();
    format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n{more}{own}\t{hostname}{short}\n"
    )
}

fn resolv_conf(servers: &[String], search: &[String], asked: &Surroundings) -> String {
    let own: Vec<String> = asked.dns.iter().map(IpAddr::to_string).collect();
    let servers = if own.is_empty() { servers } else { &own };
    let domains = asked.search();
    let search = domains.as_deref().unwrap_or(search);
    let mut text = String::new();
    if !search.is_empty() {
        text += &format!("search {}\n", search.join(" "));
    }
    for server in servers {
        text += &format!("nameserver {server}\n");
    }
    text
}

/// What the kernel and every program take as a host name: what the image or the user gave, or else a name made from
/// the disk's identity, twelve digits as container runtimes make them.
pub fn hostname(given: Option<&str>, partuuid: &str) -> String {
    match given.filter(|name| !name.is_empty()) {
        Some(name) if host_name(name) => name.to_owned(),
        other => {
            if let Some(name) = other {
                log::warning(format!("not a host name, another is used: {name}"));
            }
            let digits: String = partuuid.chars().filter(char::is_ascii_hexdigit).take(12).collect();
            if digits.is_empty() { "localhost".to_owned() } else { digits }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_names_this_machine_with_and_without_an_address() {
        assert!(hosts("box", Some(Ipv4Addr::new(10, 0, 2, 15).into()), &[]).ends_with("\n10.0.2.15\tbox\n"));
        assert!(hosts("box", None, &[]).ends_with("\n127.0.1.1\tbox\n"));
        assert!(hosts("box.example.org", None, &[]).ends_with("\n127.0.1.1\tbox.example.org box\n"));
        let more = [HostName { name: "db".into(), address: "fd00::7".parse().unwrap() }];
        assert!(hosts("box", None, &more).ends_with("\nfd00::7\tdb\n127.0.1.1\tbox\n"));
    }

    #[test]
    fn what_the_workload_has_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let mut written = HashMap::new();
        let mut write = |text: &str| {
            rewrite(folder.path(), &mut written, "hosts", text);
            fs::read_to_string(&path).unwrap()
        };
        assert_eq!(write("one"), "one");
        assert_eq!(write("two"), "two");
        fs::write(&path, "two\nand mine").unwrap();
        assert_eq!(write("two"), "two\nand mine");
        assert_eq!(write("three"), "two\nand mine");
        // Once it is as we left it, it is ours again.
        fs::write(&path, "two").unwrap();
        assert_eq!(write("four"), "four");
    }

    #[test]
    fn resolv_conf_keeps_the_order() {
        let servers = ["10.0.2.3".to_owned(), "fe80::1%eth0".to_owned()];
        let none = Surroundings::default();
        let text = resolv_conf(&servers, &["a.example".to_owned()], &none);
        assert_eq!(text, "search a.example\nnameserver 10.0.2.3\nnameserver fe80::1%eth0\n");
        assert_eq!(resolv_conf(&[], &[], &none), "");
        let asked = |dns: &[&str], search: &[&str]| Surroundings {
            dns: dns.iter().map(|text| text.parse().unwrap()).collect(),
            dns_search: search.iter().map(|&text| text.to_owned()).collect(),
            ..Surroundings::default()
        };
        let text = resolv_conf(&servers, &["a.example".to_owned()], &asked(&["10.9.9.9", "fd00::9"], &["b.example"]));
        assert_eq!(text, "search b.example\nnameserver 10.9.9.9\nnameserver fd00::9\n");
        let text = resolv_conf(&servers[..1], &["a.example".to_owned()], &asked(&[], &["."]));
        assert_eq!(text, "nameserver 10.0.2.3\n");
    }

    #[test]
    fn a_host_name_is_the_given_one_or_made_from_the_disk() {
        let uuid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        assert_eq!(hostname(Some("web.example"), uuid), "web.example");
        assert_eq!(hostname(None, uuid), "0f1e2d3c4b5a");
        assert_eq!(hostname(Some(""), uuid), "0f1e2d3c4b5a");
        assert_eq!(hostname(Some("a\nb"), uuid), "0f1e2d3c4b5a");
        assert_eq!(hostname(Some(&"x".repeat(65)), uuid), "0f1e2d3c4b5a");
        assert_eq!(hostname(None, ""), "localhost");
    }
}
