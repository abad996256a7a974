//! A disk that a cloud made for cloud-init: NoCloud's, or OpenStack's config drive.
//!
//! ```text
//!  label      cidata                          config-2
//!  who        meta-data                       openstack/latest/meta_data.json
//!  network    network-config                  openstack/latest/network_data.json
//!  for others user-data                       openstack/latest/user_data
//! ```
//!
//! It is mounted read-only for a moment, and nothing of it is executed. Its own programs are for cloud-init. Not supported:
//! NoCloud by a serial number or from a server, vendor data, the folders of other clouds.
//!
//! Source: cloud-init's documentation of NoCloud and ConfigDrive.

use super::meta::{self, Meta};
use super::{cloud_network, yaml};
use crate::guest::network::Network;
use crate::init::modules::Loader;
use crate::init::{interface, partition, tags};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where it is mounted in the initramfs.
const FOLDER: &str = "/cloud";
/// Most bytes of a file of it.
const MAX_FILE: u64 = 256 << 10;
/// What names in FAT are read with, as module names; which one depends on the kernel's configuration.
const CHARACTERS: [&str; 4] = ["nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8"];

/// One that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its device.
    pub node: PathBuf,
    kind: Kind,
    fstype: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NoCloud,
    ConfigDrive,
}

/// What PID 1 takes of it.
pub struct Contents {
    /// Who the machine is.
    pub meta: Meta,
    /// Its network, where the disk has one that is understood.
    pub network: Option<Network>,
    /// There is user-data that says something.
    pub user_data: bool,
}

/// Looks through the block devices that are there.
pub fn find() -> Option<Disk> {
    let mut names: Vec<String> = fs::read_dir("/sys/class/block")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with("loop") && !name.starts_with("ram"))
        .collect();
    names.sort_unstable();
    names.iter().find_map(|name| is_one(&partition::node(name)))
}

fn is_one(node: &Path) -> Option<Disk> {
    let (fstype, label) = tags::label(node)?;
    let kind = match label.to_ascii_lowercase().as_str() {
        "cidata" => Kind::NoCloud,
        "config-2" => Kind::ConfigDrive,
        _ => return None,
    };
    matches!(fstype, "vfat" | "iso9660").then(|| Disk { node: node.to_owned(), kind, fstype })
}

impl Kind {
    /// Who, network, for others.
    fn files(self) -> [&'static str; 3] {
        match self {
            Kind::NoCloud => ["meta-data", "network-config", "user-data"],
            Kind::ConfigDrive => {
                ["openstack/latest/meta_data.json", "openstack/latest/network_data.json", "openstack/latest/user_data"]
            }
        }
    }
}

/// Loads what the kernel reads it with. An image's own cloud-init mounts it itself, and its modules are those of the
/// initramfs.
pub fn load_drivers(disk: &Disk, modules: &mut Loader) {
    if disk.fstype == "vfat" {
        CHARACTERS.iter().for_each(|name| modules.load_named(name));
    }
    modules.load_named(if disk.fstype == "vfat" { "vfat" } else { "isofs" });
}

/// Reads it, with the drivers loaded. What is odd in it becomes a line in `meta.doubts`.
pub fn read(disk: &Disk) -> Result<Contents, String> {
    fs::create_dir_all(FOLDER).map_err(|error| error.to_string())?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(&disk.node), FOLDER, Some(disk.fstype), flags, None::<&str>).map_err(|errno| match errno {
        Errno::ENODEV => format!("this kernel cannot read {}", disk.fstype),
        errno => format!("it cannot be mounted: {}", errno.desc()),
    })?;
    let files = disk.kind.files().map(|name| file(Path::new(FOLDER), name));
    // The image's own programs may want it, and find it as if nobody had looked.
    if let Err(errno) = umount2(FOLDER, MntFlags::MNT_DETACH) {
        return Err(format!("it cannot be unmounted: {}", errno.desc()));
    }
    let mac = interface::ethernet().first().map(|card| card.mac.map(|byte| format!("{byte:02x}")).join(":"));
    let names = disk.kind.files();
    let [meta, network, user_data] = files;
    let user_data = user_data.ok().flatten().is_some_and(|bytes| says_something(&bytes));
    contents(meta, network, user_data, names, mac)
}

type Reading = Result<Option<Vec<u8>>, String>;

fn contents(
    meta: Reading,
    network: Reading,
    user_data: bool,
    names: [&str; 3],
    mac: Option<String>,
) -> Result<Contents, String> {
    let named = |why: String, place: usize| format!("{}: {why}", names[place]);
    let Some(bytes) = meta.map_err(|why| named(why, 0))? else { return Err(format!("it has no {}", names[0])) };
    let mut meta = meta::of(&yaml::read(&bytes).map_err(|why| named(why, 0))?);
    let understood = network.and_then(|bytes| {
        let (Some(bytes), Some(mac)) = (bytes, mac) else { return Ok(None) };
        match yaml::read(&bytes)? {
            // cloud-init takes an empty file for none.
            crate::guest::settings::tree::Value::Null => Ok(None),
            document => cloud_network::of(&document, &mac).map(Some),
        }
    });
    let network = match understood {
        Ok(None) => None,
        Ok(Some((network, doubt))) => {
            meta.doubts.extend(doubt.map(|doubt| named(doubt.to_owned(), 1)));
            Some(network)
        }
        Err(why) => {
            meta.doubts.push(named(format!("{why}; the network stays as it was"), 1));
            None
        }
    };
    Ok(Contents { meta, network, user_data })
}

/// A file's content; `None` where there is none.
fn file(folder: &Path, name: &str) -> Reading {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(folder.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is no file".into());
    }
    if meta.len() > MAX_FILE {
        return Err(format!("it has more than {MAX_FILE} bytes"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(Some(bytes))
}

/// Whether user-data has more than comments (`#cloud-config` is one) and an empty object. A script's first line is one
/// of these too, but not its last.
fn says_something(bytes: &[u8]) -> bool {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.into_iter().any(|line| !line.is_empty() && line != b"{}" && line != b"---" && !line.starts_with(b"#"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(meta: &str, network: Option<&str>) -> Result<Contents, String> {
        let bytes = |text: &str| Ok(Some(text.as_bytes().to_vec()));
        let network = network.map_or(Ok(None), bytes);
        contents(bytes(meta), network, false, Kind::NoCloud.files(), Some("52:54:00:12:34:56".into()))
    }

    #[test]
    fn what_is_wrong_with_a_file_names_it_and_the_network_alone_is_no_end() {
        let good = of("instance-id: x", Some("version: 2\nethernets: {a: {dhcp4: true}}")).unwrap();
        assert_eq!((good.network, good.meta.doubts.len()), (Some(Network::Dhcp), 0));
        let odd = of("instance-id: x", Some("version: 9")).unwrap();
        assert_eq!(odd.network, None);
        assert_eq!(odd.meta.doubts, ["network-config: it has no version that is known; the network stays as it was"]);
        assert!(of("instance-id: x", Some("")).unwrap().meta.doubts.is_empty());
        assert_eq!(
            of("a: &x 1", None).err().unwrap(),
            "meta-data: line 1: anchors, aliases and tags are not supported"
        );
        let none = contents(Ok(None), Ok(None), false, Kind::ConfigDrive.files(), None);
        assert_eq!(none.err().unwrap(), "it has no openstack/latest/meta_data.json");
    }

    #[test]
    fn files_are_plain_and_of_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("small"), "x").unwrap();
        fs::File::create(at("large")).unwrap().set_len(1 << 30).unwrap();
        fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(file(folder.path(), "small"), Ok(Some(b"x".to_vec())));
        assert_eq!(file(folder.path(), "none"), Ok(None));
        assert_eq!(file(folder.path(), "large"), Err("it has more than 262144 bytes".into()));
        for odd in ["folder", "link", "pipe"] {
            assert!(file(folder.path(), odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn user_data_that_says_nothing_is_not_told_of() {
        for nothing in ["", "#cloud-config\n", "#cloud-config\n{}\n", "---\n# x\n\n"] {
            assert!(!says_something(nothing.as_bytes()), "{nothing}");
        }
        for something in ["#cloud-config\nhostname: web\n", "#!/bin/sh\necho\n", "Content-Type: multipart/mixed"] {
            assert!(says_something(something.as_bytes()), "{something}");
        }
    }
}
