//! Who QEMU runs as when root starts it: nobody that owns anything.
//!
//! Everything QEMU needs of root's it gets as an open descriptor, so the process itself can be anybody. It gets a number
//! of the range that systemd keeps for users who exist only while a service runs (systemd.exec(5), `DynamicUser=`), by
//! its process number: two machines are two users, and neither can touch the other.
//!
//! It stays root where it must open or bind something itself that only root may: see [`Why`].

use super::forward::Forward;
use super::machine::{Accel, Boot, Display, MachineOptions};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// systemd's range for users that come and go.
const FIRST: u32 = 61184;
/// As above.
const LAST: u32 = 65519;
/// Ports below this need a right, where the host says nothing else.
const UNPRIVILEGED: u16 = 1024;

/// Somebody who owns nothing, and the one group QEMU needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// The group that may use /dev/kvm.
    pub(super) kvm: Option<u32>,
}

/// Why QEMU stays root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// They may name files.
    OwnArguments,
    /// Only root may listen there.
    Port(u16),
    /// Only root may open it.
    Kvm,
    /// QEMU writes pictures of it by name, or joins the user's session.
    Screen,
    /// The kernel refused, in a container without other users for one.
    Refused,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QEMU runs as root: ")?;
        match self {
            Why::OwnArguments => f.write_str("--qemu-arg may name files that only root can open"),
            Why::Port(port) => write!(f, "port {port} is for root alone"),
            Why::Kvm => f.write_str("/dev/kvm is for root alone"),
            Why::Screen => f.write_str("it writes the pictures of its screen itself"),
            Why::Refused => f.write_str("it cannot become another user here"),
        }
    }
}

/// Who runs QEMU: `None` for whoever we are, which for root has a reason.
pub(super) fn choose(machine: &MachineOptions, accel: Accel) -> (Option<Account>, Option<Why>) {
    if !nix::unistd::geteuid().is_root() {
        return (None, None);
    }
    match other(machine, accel, Path::new("/dev/kvm"), unprivileged_ports()) {
        Ok(account) => (Some(account), None),
        Err(why) => (None, Some(why)),
    }
}

fn other(machine: &MachineOptions, accel: Accel, kvm: &Path, unprivileged: u16) -> Result<Account, Why> {
    if !machine.extra.is_empty() {
        return Err(Why::OwnArguments);
    }
    if machine.display != Display::None {
        return Err(Why::Screen);
    }
    let low = |forward: &&Forward| forward.host < unprivileged;
    if let Some(forward) = machine.forwards.iter().find(low) {
        return Err(Why::Port(forward.host));
    }
    let kvm = if accel == Accel::Kvm { group_of(kvm)? } else { None };
    Ok(Account { kvm })
}

/// The group that may use a device; `None` when everybody may.
fn group_of(device: &Path) -> Result<Option<u32>, Why> {
    let data = fs::metadata(device).map_err(|_| Why::Kvm)?;
    match data.mode() {
        mode if mode & 0o006 == 0o006 => Ok(None),
        mode if mode & 0o060 == 0o060 && data.gid() != 0 => Ok(Some(data.gid())),
        _ => Err(Why::Kvm),
    }
}

fn unprivileged_ports() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(UNPRIVILEGED)
}

impl Account {
    /// Becomes it, between fork and exec. The system calls themselves: the C library's would take locks.
    pub(super) fn become_it(self) -> io::Result<()> {
        // SAFETY: getpid(2) reads nothing of ours.
        let id = FIRST + unsafe { libc::getpid() } as u32 % (LAST - FIRST + 1);
        let groups = [self.kvm.unwrap_or(id)];
        let done = |result: libc::c_long| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // SAFETY: the kernel reads one number of the array, and numbers.
        unsafe {
            done(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
            done(libc::syscall(libc::SYS_setresgid, id, id, id))?;
            done(libc::syscall(libc::SYS_setresuid, id, id, id))
        }
    }
}

/// What a direct boot loads, as files that anybody may open by the names of their descriptors.
pub(super) struct Loaded(Vec<File>);

impl Loaded {
    /// Copies the files, and lets `boot` name the copies.
    pub(super) fn of(boot: &mut Boot) -> io::Result<Loaded> {
        let Boot::Direct { kernel, initrd, .. } = boot else { return Ok(Loaded(Vec::new())) };
        let mut files = Vec::new();
        for path in [Some(kernel), initrd.as_mut()].into_iter().flatten() {
            let copy = copy(path)?;
            *path = PathBuf::from(format!("/dev/fd/{}", copy.as_raw_fd()));
            files.push(copy);
        }
        Ok(Loaded(files))
    }

    /// Their descriptors.
    pub(super) fn fds(&self) -> impl Iterator<Item = i32> {
        self.0.iter().map(AsRawFd::as_raw_fd)
    }
}

/// A copy in memory: gone with its last descriptor, and readable for everybody who has one.
fn copy(path: &Path) -> io::Result<File> {
    let mut copy = File::from(memfd_create("bootdisk-boot-file", MFdFlags::MFD_CLOEXEC)?);
    io::copy(&mut File::open(path)?, &mut copy)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::super::machine::AccelChoice;
    use super::*;
    use crate::arch::Architecture;
    use std::os::unix::fs::PermissionsExt;

    fn machine() -> MachineOptions {
        MachineOptions { accel: AccelChoice::Tcg, ..MachineOptions::new(Architecture::X86_64, "/disk".into()) }
    }

    #[test]
    fn qemu_stays_root_only_where_it_needs_something_of_roots() {
        let kvm = tempfile::NamedTempFile::new().unwrap();
        let mode = |mode| fs::set_permissions(kvm.path(), fs::Permissions::from_mode(mode)).unwrap();
        let forward = |text: &str| MachineOptions { forwards: vec![text.parse().unwrap()], ..machine() };
        let tcg = |machine: &MachineOptions| other(machine, Accel::Tcg, kvm.path(), 1024);
        assert_eq!(tcg(&machine()), Ok(Account { kvm: None }));
        assert_eq!(tcg(&forward("8080:80")), Ok(Account { kvm: None }));
        assert_eq!(tcg(&forward("1024:80")), Ok(Account { kvm: None }));
        assert_eq!(tcg(&forward("80:80")), Err(Why::Port(80)));
        assert_eq!(tcg(&forward("0.0.0.0:1023:80/udp")), Err(Why::Port(1023)));
        assert_eq!(other(&forward("80:80"), Accel::Tcg, kvm.path(), 0), Ok(Account { kvm: None }));
        assert_eq!(tcg(&MachineOptions { extra: vec!["-s".into()], ..machine() }), Err(Why::OwnArguments));
        for display in [Display::Hidden, Display::Window] {
            assert_eq!(tcg(&MachineOptions { display, ..machine() }), Err(Why::Screen));
        }
        let own = fs::metadata(kvm.path()).unwrap().gid();
        for (bits, group) in [(0o600, Err(Why::Kvm)), (0o666, Ok(None)), (0o660, Ok(Some(own)))] {
            mode(bits);
            let expected = if own == 0 && bits == 0o660 { Err(Why::Kvm) } else { group.map(|kvm| Account { kvm }) };
            assert_eq!(other(&machine(), Accel::Kvm, kvm.path(), 1024), expected, "{bits:o}");
        }
        assert_eq!(other(&machine(), Accel::Kvm, Path::new("/nonexistent"), 1024), Err(Why::Kvm));
    }

    #[test]
    fn what_a_direct_boot_loads_can_be_opened_by_anybody() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kernel");
        fs::write(&file, b"a kernel").unwrap();
        let mut boot = Boot::Direct { kernel: file, initrd: None, cmdline: String::new() };
        let loaded = Loaded::of(&mut boot).unwrap();
        let Boot::Direct { kernel, .. } = boot else { unreachable!() };
        assert_eq!(fs::read(&kernel).unwrap(), b"a kernel");
        assert_eq!(fs::metadata(&kernel).unwrap().mode() & 0o004, 0o004);
        assert_eq!(loaded.fds().count(), 1);
    }
}
