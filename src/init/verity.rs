//! dm-verity under the root: a device of which the kernel compares every block with its hash when it is read.
//!
//! ```text
//!  roothash= on the command line ─┐
//!  root, hash partition ──────────┴─▶ /dev/mapper/control: create, load, resume ─▶ /dev/dm-0
//! ```
//!
//! The device has the name and the UUID that systemd's and veritysetup's have, so that both know it in the userland. Of two
//! `roothash=` the first counts. What the superblock says needs no trust: a wrong number or salt gives another root hash.
//!
//! Not supported: forward error correction, signatures that the kernel verifies (`roothashsig=`), other tools' options.
//! Specification: the kernel's Documentation/admin-guide/device-mapper/verity.rst, include/uapi/linux/dm-ioctl.h.

use super::failure::{Doing, Failure};
use super::partition::{self, Found};
use crate::formats::verity::{BLOCK, Superblock, root_hash};
use crate::guest::spec::OnCorruption;
use nix::errno::Errno;
use std::fmt::Write;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

const CONTROL: &str = "/dev/mapper/control";
const NAME: &str = "root";
/// Bytes of `struct dm_ioctl`, of `struct dm_target_spec` behind it, and of both with parameters of any length that occurs.
const HEADER: usize = 312;
const TARGET: usize = 40;
const BUFFER: usize = 2048;
/// Table that no write may pass.
const READ_ONLY: u32 = 1;

nix::ioctl_readwrite!(create, 0xfd, 3, [u8; HEADER]);
nix::ioctl_readwrite!(resume, 0xfd, 6, [u8; HEADER]);
nix::ioctl_readwrite!(load, 0xfd, 9, [u8; HEADER]);

/// Maps the partition `data` and that of its hashes, on the same disk, and returns the device.
///
/// # Errors
/// When the command line has no root hash, the disk no hashes, or the kernel no dm-verity.
pub fn map(data: &Found, policy: OnCorruption) -> Result<PathBuf, Failure> {
    let line = std::fs::read_to_string("/proc/cmdline").doing("read the kernel's command line")?;
    let hash = root_hash(&line).ok_or_else(|| {
        Failure::machine("the kernel's command line has no roothash=, and no other root is started here")
    })?;
    let uuid = partuuid(&hash[32..]);
    let search = partition::find(&uuid);
    let hashes = search.found.iter().find(|found| found.disk == data.disk);
    let hashes = hashes.ok_or_else(|| {
        Failure::machine(format!("the disk {} has no hashes of its root: wanted PARTUUID {uuid}", data.disk))
    })?;
    let node = hashes.node.display();
    let device = File::open(&hashes.node).doing(format!("open {node}"))?;
    let superblock = Superblock::read(&device, 0).doing(format!("read {node}"))?;
    let superblock =
        superblock.map_err(|_| Failure::machine(format!("the superblock of the hashes on {node} is corrupted")))?;
    let parameters = parameters(data, hashes, &superblock, hash, policy);
    device_of(&superblock, &parameters).map_err(|errno| {
        let hint = if matches!(errno, Errno::ENOENT | Errno::EINVAL) {
            ", or this kernel has no CONFIG_DM_VERITY"
        } else {
            ""
        };
        Failure::machine(format!("cannot have the root verified: {}{hint}", errno.desc()))
    })
}

/// 32 digits as a UUID.
fn partuuid(digits: &str) -> String {
    [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]).join("-")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

/// The target's parameters, as verity.rst has them.
fn parameters(data: &Found, hashes: &Found, superblock: &Superblock, hash: &str, policy: OnCorruption) -> String {
    let salt = if superblock.salt.is_empty() { "-".to_owned() } else { hex(&superblock.salt) };
    let policy = match policy {
        OnCorruption::Error => "",
        OnCorruption::Restart => " 1 restart_on_corruption",
        OnCorruption::Panic => " 1 panic_on_corruption",
    };
    let (data, hashes, blocks) = (data.node.display(), hashes.node.display(), superblock.blocks);
    format!("1 {data} {hashes} {BLOCK} {BLOCK} {blocks} 1 sha256 {hash} {salt}{policy}")
}

fn device_of(superblock: &Superblock, parameters: &str) -> nix::Result<PathBuf> {
    let open = File::options().read(true).write(true).open(CONTROL);
    let control = open.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::ENOENT)))?;
    let fd = control.as_raw_fd();
    let named = |uuid: &str| request(0, uuid, None);
    let uuid = format!("CRYPT-VERITY-{}-{NAME}", hex(&superblock.uuid));
    let mut created = named(&uuid);
    let mut loaded = request(READ_ONLY, "", Some((superblock.blocks * (BLOCK / 512), parameters)));
    let mut resumed = named("");
    // SAFETY: each is longer than a header, says how long it is, and lives until the call returns.
    unsafe {
        create(fd, created.as_mut_ptr().cast())?;
        load(fd, loaded.as_mut_ptr().cast())?;
        resume(fd, resumed.as_mut_ptr().cast())?;
    }
    // A number as the kernel has it: eight bits of the minor, twelve of the major, the rest of the minor.
    let device = u32::from_le_bytes([created[40], created[41], created[42], created[43]]);
    Ok(PathBuf::from(format!("/dev/dm-{}", device & 0xff | device >> 12 & !0xff)))
}

/// A request about our device; with a target of so many sectors, its table.
fn request(flags: u32, uuid: &str, target: Option<(u64, &str)>) -> Box<[u8; BUFFER]> {
    let mut bytes = Box::new([0; BUFFER]);
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    // The version of the interface, then where the data begin.
    put(0, &4u32.to_ne_bytes());
    put(12, &(BUFFER as u32).to_ne_bytes());
    put(16, &(HEADER as u32).to_ne_bytes());
    put(20, &u32::from(target.is_some()).to_ne_bytes());
    put(28, &flags.to_ne_bytes());
    put(48, NAME.as_bytes());
    put(176, uuid.as_bytes());
    if let Some((sectors, parameters)) = target {
        put(HEADER + 8, &sectors.to_ne_bytes());
        put(HEADER + 24, b"verity");
        put(HEADER + TARGET, parameters.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_root_hash_counts_and_is_one_or_none() {
        let (a, b) = ("0123456789abcdef".repeat(4), "f".repeat(64));
        assert_eq!(root_hash(&format!("quiet roothash={a} roothash={b}\n")), Some(&*a));
        for line in ["", "quiet", "xroothash=00", &format!("roothash={a}0"), &format!("roothash={}g", &a[1..])] {
            assert_eq!(root_hash(line), None, "{line}");
        }
        assert_eq!(partuuid(&a[..32]), "01234567-89ab-cdef-0123-456789abcdef");
    }

    #[test]
    fn a_table_is_as_the_kernel_reads_it() {
        let at = |node: &str| Found { disk: "vda".into(), node: node.into() };
        let superblock = Superblock { uuid: [1; 16], blocks: 1000, salt: vec![0xab, 0x0c] };
        let of =
            |superblock: &Superblock, policy| parameters(&at("/dev/vda3"), &at("/dev/vda4"), superblock, "ff", policy);
        let plain = "1 /dev/vda3 /dev/vda4 4096 4096 1000 1 sha256 ff ab0c";
        assert_eq!(of(&superblock, OnCorruption::Error), plain);
        assert_eq!(of(&superblock, OnCorruption::Restart), format!("{plain} 1 restart_on_corruption"));
        assert_eq!(of(&superblock, OnCorruption::Panic), format!("{plain} 1 panic_on_corruption"));
        let unsalted = Superblock { salt: vec![], ..superblock };
        assert!(of(&unsalted, OnCorruption::Error).ends_with(" ff -"));
        let longest = Superblock { salt: vec![1; 256], blocks: u64::MAX / 8, ..unsalted };
        let text = of(&longest, OnCorruption::Restart);
        assert!(HEADER + TARGET + text.len() + 200 < BUFFER, "{}", text.len());
        let table = request(READ_ONLY, "", Some((8000, &text)));
        assert_eq!(&table[HEADER + TARGET..][..text.len()], text.as_bytes());
    }
}
