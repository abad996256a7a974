//! `/etc/fstab` of another machine, under an init of the image's own: file systems whose device is not here are not
//! waited for (fstab(5), systemd.mount(5) `nofail`).
//!
//! An image that was made from a machine's disk has the table of that machine. systemd would wait 90 seconds for each
//! device and then stop in its emergency shell. With `nofail` it goes on, and a device that comes later is still used.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Longest table that is looked at, in bytes.
const MAX: usize = 1 << 16;

/// A table that can be used here.
#[derive(Debug, PartialEq, Eq)]
pub struct Adapted {
    /// Its text.
    pub text: String,
    /// What is not waited for, by its first field.
    pub absent: Vec<String>,
}

/// Adds `nofail` where the device is not there and something would wait for it; `None` when nothing is to change.
pub fn adapt(table: &str, is_there: impl Fn(&str) -> bool) -> Option<Adapted> {
    if table.len() > MAX {
        return None;
    }
    let mut absent = Vec::new();
    let lines: Vec<String> = table
        .lines()
        .map(|line| match changed(line, &is_there) {
            Some((device, line)) => {
                absent.push(device);
                line
            }
            None => line.to_owned(),
        })
        .collect();
    (!absent.is_empty()).then(|| Adapted { text: lines.join("\n") + "\n", absent })
}

/// The device of a line that has to be changed, and the line as it should be.
fn changed(line: &str, is_there: &impl Fn(&str) -> bool) -> Option<(String, String)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [device, target, kind, rest @ ..] = fields.as_slice() else { return None };
    let options = rest.first().copied().unwrap_or("defaults");
    let waits = !options.split(',').any(|option| matches!(option, "noauto" | "nofail" | "bind" | "rbind"));
    if device.starts_with('#') || !waits || !is_device(device) || is_there(device) {
        return None;
    }
    let options = format!("{options},nofail");
    // Whether to check it: nobody can.
    let dump = rest.get(1).copied().unwrap_or("0");
    Some(((*device).to_owned(), [device, target, kind, &options[..], dump, "0"].join(" ")))
}

/// Whether the first field names a block device of the machine.
fn is_device(field: &str) -> bool {
    const TAGS: [&str; 4] = ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="];
    TAGS.iter().any(|tag| field.starts_with(tag)) || (field.starts_with("/dev/") && field != "/dev/shm")
}

/// Tags like `UUID=…` of the block devices of this machine: of partitions, and of ext4.
pub fn known() -> Vec<String> {
    let devices = fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
    devices.flat_map(|device| tags(&device.path(), &Path::new("/dev").join(device.file_name()))).collect()
}

fn tags(device: &Path, node: &Path) -> Vec<String> {
    let facts = fs::read_to_string(device.join("uevent")).unwrap_or_default();
    let fact = |name: &str| facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let mut tags: Vec<String> = [("PARTUUID", fact("PARTUUID")), ("PARTLABEL", fact("PARTNAME"))]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value?)))
        .collect();
    // Before ext4's superblock lie 1024 bytes of anything.
    let mut superblock = [0; 0x88];
    let read = File::open(node).and_then(|file| file.read_exact_at(&mut superblock, 1024));
    if read.is_ok() && superblock[0x38..0x3a] == [0x53, 0xef] {
        tags.push(format!("UUID={}", uuid(&superblock[0x68..0x78])));
        let label = superblock[0x78..].split(|&byte| byte == 0).next().unwrap_or_default();
        tags.push(format!("LABEL={}", String::from_utf8_lossy(label)));
    }
    tags
}

/// Sixteen bytes as a UUID is written.
fn uuid(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [0..4, 4..6, 6..8, 8..10, 10..16].map(|part| digits[part].concat()).join("-")
}

/// Whether a device of the table is in this machine: by its node below `dev`, or by one of the tags.
pub fn is_there(field: &str, known: &[String], dev: &Path) -> bool {
    let plain = field.replace('"', "");
    match plain.strip_prefix("/dev/") {
        Some(name) => {
            let tag = name.strip_prefix("disk/by-").and_then(|link| link.split_once('/'));
            match tag {
                Some((kind, value)) => is_known(&format!("{}={value}", kind.to_ascii_uppercase()), known),
                None => dev.join(name).exists(),
            }
        }
        None => is_known(&plain, known),
    }
}

fn is_known(tag: &str, known: &[String]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "UUID=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    fn adapted(table: &str) -> Option<Adapted> {
        let dev = tempfile::tempdir().unwrap();
        std::fs::write(dev.path().join("vda3"), "").unwrap();
        adapt(table, |field| is_there(field, &[HERE.to_owned()], dev.path()))
    }

    #[test]
    fn what_is_here_and_what_nobody_waits_for_stays() {
        for line in [
            "",
            "# UUID=dead / ext4 defaults 0 1",
            "UUID=0F1E2D3C-4b5a-6978-8796-a5b4c3d2e1f0 / ext4 errors=remount-ro 0 1",
            "UUID=\"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\" / ext4 defaults 0 1",
            "/dev/disk/by-uuid/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 / ext4 defaults 0 1",
            "/dev/vda3 / ext4",
            "tmpfs /tmp tmpfs defaults 0 0",
            "proc /proc proc defaults 0 0",
            "server:/export /mnt nfs defaults 0 0",
            "/srv /mnt none bind 0 0",
            "/dev/sdb1 /mnt ext4 noauto 0 0",
            "LABEL=data /data xfs defaults,nofail 0 2",
            "two fields",
        ] {
            assert_eq!(adapted(line), None, "{line}");
        }
        assert_eq!(adapted(&"UUID=dead / ext4 defaults 0 1\n".repeat(4000)), None);
    }

    #[test]
    fn devices_are_known_by_their_tags() {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("vda3");
        let made = std::process::Command::new("/sbin/mke2fs")
            .args(["-q", "-t", "ext4", "-L", "data", "-U", &HERE["UUID=".len()..]])
            .arg(&node)
            .arg("1m")
            .status();
        assert!(made.unwrap().success());
        fs::write(folder.path().join("uevent"), "MAJOR=254\nPARTN=3\nPARTUUID=beef-1\nPARTNAME=root\n").unwrap();
        let found = tags(folder.path(), &node);
        assert_eq!(found, ["PARTUUID=beef-1", "PARTLABEL=root", HERE, "LABEL=data"]);
    }

    #[test]
    fn what_is_not_here_is_not_waited_for() {
        let table = "# mine\nUUID=dead\t/\text4 errors=remount-ro 0 1\n/dev/sda2 none swap sw 0 0\n\
                     LABEL=data /data xfs\nPARTUUID=beef /boot/efi vfat umask=0077 0 1\ntmpfs /tmp tmpfs defaults 0 0\n";
        let adapted = adapted(table).unwrap();
        assert_eq!(adapted.absent, ["UUID=dead", "/dev/sda2", "LABEL=data", "PARTUUID=beef"]);
        let expected = "# mine\nUUID=dead / ext4 errors=remount-ro,nofail 0 0\n/dev/sda2 none swap sw,nofail 0 0\n\
                        LABEL=data /data xfs defaults,nofail 0 0\nPARTUUID=beef /boot/efi vfat umask=0077,nofail 0 0\n\
                        tmpfs /tmp tmpfs defaults 0 0\n";
        assert_eq!(adapted.text, expected);
        // Once more changes nothing.
        assert_eq!(super::adapt(&adapted.text, |_| false), None);
    }
}
