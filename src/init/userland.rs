//! The root as the workload sees it: entered in a mount namespace of its own, with the mounts a container runtime
//! makes, on a machine of its own.
//!
//! Everything after [`enter`] happens inside the root: paths and symbolic links of the image resolve in the image and
//! nowhere else. What differs from a container, because the machine is the workload's alone: /sys, /proc/sys and
//! cgroups are writable, nothing is masked, /dev/console exists without a terminal too, and /run is a tmpfs that
//! begins with what the image has there. An image's own init gets a /dev/shm of the kernel's default size, and no
//! cgroups.

use super::etc_mounts::EtcMounts;
use super::failure::{Doing, Failure};
use super::folders::{in_root, make_folders, new_folder};
use super::root::{ROOT, Writable};
use super::settings::Placed;
use super::{guest_modules, log, mounts, seed};
use crate::guest::mounts::Mount as Given;
use crate::guest::surroundings::{Surroundings, tmpfs_options};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{chdir, chroot};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// What to make of the root.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The workload must not write to the root.
    pub read_only: bool,
    /// Whether the disk can be written.
    pub writable: Writable,
    /// Paths that must exist and be writable.
    pub volumes: Vec<String>,
    /// Made if missing.
    pub working_dir: String,
    /// Devices: the kernel's own tree for an image's init, which brings a device manager; else those of a runtime.
    pub devices: Devices,
    /// What was asked for beyond what every workload finds.
    pub surroundings: Surroundings,
    /// The kernel's release, when all of its modules are there for the userland.
    pub modules: Option<String>,
    /// Folders of the host and volumes.
    pub mounts: Vec<Given>,
    /// What the machine got at its start.
    pub settings: Placed,
}

/// What /dev is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// A tmpfs with the nodes a container has.
    Container,
    /// devtmpfs: all devices of the machine.
    Machine,
}

struct Mount<'a> {
    fstype: &'static str,
    /// What /proc/mounts shows first.
    source: &'static str,
    at: &'static str,
    flags: MsFlags,
    options: &'a str,
    /// Without it a workload cannot be expected to run.
    required: bool,
}

const HARMLESS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

const PROC: Mount<'static> =
    Mount { fstype: "proc", source: "proc", at: "/proc", flags: HARMLESS, options: "", required: true };
const SYS: Mount<'static> =
    Mount { fstype: "sysfs", source: "sysfs", at: "/sys", flags: HARMLESS, options: "", required: true };
const CGROUP: Mount<'static> =
    Mount { fstype: "cgroup2", source: "cgroup", at: "/sys/fs/cgroup", flags: HARMLESS, options: "", required: false };
const DEV: Mount<'static> = Mount {
    fstype: "tmpfs",
    source: "tmpfs",
    at: "/dev",
    flags: MsFlags::MS_NOSUID.union(MsFlags::MS_STRICTATIME),
    options: "mode=755,size=65536k",
    required: true,
};
const MACHINE_DEV: Mount<'static> = Mount {
    fstype: "devtmpfs",
    source: "devtmpfs",
    at: "/dev",
    flags: MsFlags::MS_NOSUID,
    options: "mode=755",
    required: true,
};
const PTS: Mount<'static> = Mount {
    fstype: "devpts",
    source: "devpts",
    at: "/dev/pts",
    flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
    options: "newinstance,ptmxmode=0666,mode=0620,gid=5",
    required: false,
};
const MQUEUE: Mount<'static> =
    Mount { fstype: "mqueue", source: "mqueue", at: "/dev/mqueue", flags: HARMLESS, options: "", required: false };
const SHM: Mount<'static> = Mount {
    fstype: "tmpfs",
    source: "shm",
    at: "/dev/shm",
    flags: HARMLESS,
    options: "mode=1777,size=65536k",
    required: false,
};
const MACHINE_SHM: Mount<'static> = Mount { source: "tmpfs", options: "mode=1777", ..SHM };

/// Character devices of a container: name, mode, major, minor.
const NODES: [(&str, u32, u64, u64); 7] = [
    ("null", 0o666, 1, 3),
    ("zero", 0o666, 1, 5),
    ("full", 0o666, 1, 7),
    ("random", 0o666, 1, 8),
    ("urandom", 0o666, 1, 9),
    ("tty", 0o666, 5, 0),
    ("console", 0o620, 5, 1),
];

/// Symbolic links in /dev.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Makes the mounted root this process's `/` and everything in it ready. The caller has a mount namespace of its own,
/// or is PID 1 handing over.
pub fn enter(plan: &Plan) -> Result<(), Failure> {
    let files = EtcMounts::open();
    let modules = plan.modules.as_ref().map(|release| (release, guest_modules::Opened::open()));
    let given = mounts::Opened::open(&plan.mounts)?;
    let settings = plan.settings.open()?;
    switch_root().doing("make the root file system the root")?;
    // In a runtime's order, which /proc/mounts shows.
    make(&PROC)?;
    match plan.devices {
        Devices::Container => make(&DEV)?,
        Devices::Machine => make(&MACHINE_DEV)?,
    }
    populate_dev();
    make(&PTS)?;
    make(&SYS)?;
    // An image's own init mounts the hierarchies that it wants: OpenRC takes controllers that are in use for a fault.
    if plan.devices == Devices::Container {
        make(&CGROUP)?;
    }
    make(&MQUEUE)?;
    match plan.surroundings.shm_size {
        Some(size) => make(&Mount { options: &format!("mode=1777,size={size}"), ..SHM })?,
        None => make(if plan.devices == Devices::Container { &SHM } else { &MACHINE_SHM })?,
    }
    temporary_folders(plan);
    if plan.devices == Devices::Container {
        make_etc();
    }
    // An image's own init may mean its links.
    files.mount(plan.devices == Devices::Container, plan.read_only);
    if plan.devices == Devices::Container {
        provide_mtab();
    }
    for volume in &plan.volumes {
        make_volume(volume, plan.read_only);
    }
    for (path, options) in &plan.surroundings.tmpfs {
        make_tmpfs(path, options)?;
    }
    given.mount()?;
    settings.mount()?;
    make_working_dir(&plan.working_dir);
    match modules {
        Some((release, Ok(folder))) => folder.mount(release),
        Some((_, Err(error))) => log::warning(format!("cannot provide the kernel's modules: {error}")),
        None => {}
    }
    if plan.read_only && plan.writable == Writable::Yes {
        make_read_only();
    }
    Ok(())
}

fn switch_root() -> nix::Result<()> {
    chdir(ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    chroot(".")?;
    chdir("/")
}

fn make(entry: &Mount<'_>) -> Result<(), Failure> {
    let result = mount_point(entry.at).and_then(|()| {
        mount(Some(entry.source), entry.at, Some(entry.fstype), entry.flags, Some(entry.options))
            .map_err(|errno| Failure::machine(format!("cannot mount {}: {}", entry.at, errno.desc())))
    });
    match result {
        Err(failure) if entry.required => Err(failure),
        Err(failure) => {
            log::warning(failure.reason);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Makes a folder to mount on, unless there is one. What the image has in its place goes, as Docker has it (moby,
/// daemon/initlayer): never through a symbolic link, which could lead out of the place that is meant.
fn mount_point(at: &str) -> Result<(), Failure> {
    match fs::symlink_metadata(at) {
        Ok(meta) if meta.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(at).doing(format!("replace what the image has instead of the folder {at}"))?,
        Err(_) => {}
    }
    new_folder(Path::new(at)).doing(format!("make the folder {at}"))
}

/// The folder of our files. A link to a folder is one, which is podman's way; Docker would empty it.
fn make_etc() {
    if !fs::metadata("/etc").is_ok_and(|meta| meta.is_dir())
        && let Err(failure) = mount_point("/etc")
    {
        log::warning(failure.reason);
    }
}

/// Nodes and links of /dev. What is there already (devtmpfs) is left.
fn populate_dev() {
    for (name, mode, major, minor) in NODES {
        let path = format!("/dev/{name}");
        if let Err(errno) = mknod(path.as_str(), SFlag::S_IFCHR, Mode::empty(), makedev(major, minor)) {
            if errno != Errno::EEXIST {
                log::warning(format!("cannot make {path}: {}", errno.desc()));
            }
            continue;
        }
        // Apart from mknod, which the umask would limit.
        _ = fs::set_permissions(&path, fs::Permissions::from_mode(mode));
    }
    for (name, target) in LINKS {
        let path = format!("/dev/{name}");
        if name == "ptmx" {
            // devtmpfs has a node there, which belongs to another instance of devpts.
            _ = fs::remove_file(&path);
        }
        if name == "core" && !fs::exists(target).unwrap_or(false) {
            continue;
        }
        _ = symlink(target, path);
    }
}

/// /run is a tmpfs with what the image has there. With a read-only root /tmp and /var/tmp are too.
fn temporary_folders(plan: &Plan) {
    let read_only: &[&str] = if plan.read_only { &["/tmp", "/var/tmp"] } else { &[] };
    for at in ["/run"].iter().chain(read_only) {
        let volume = plan.volumes.iter().any(|volume| Path::new(volume) == Path::new(at));
        let meta = fs::symlink_metadata(at);
        if *at == "/run" && meta.is_err() {
            _ = new_folder(Path::new(at));
        }
        if !volume && fs::symlink_metadata(at).is_ok_and(|meta| meta.is_dir()) {
            seed::tmpfs_over(Path::new(at));
        }
    }
}

/// The mount table under its old name, for programs that know no other. An image's init makes its own.
fn provide_mtab() {
    const MTAB: &str = "/etc/mtab";
    const TABLE: &str = "/proc/mounts";
    // A file there tells of the machine that the image was made on: Docker removes it. Where nothing can be changed,
    // programs look in /proc all the same.
    if !fs::read_link(MTAB).is_ok_and(|target| target == Path::new(TABLE)) {
        _ = fs::remove_file(MTAB);
        _ = symlink(TABLE, MTAB);
    }
}

fn make_volume(volume: &str, read_only: bool) {
    let path = in_root(volume);
    if let Err(error) = make_folders(&path) {
        return log::warning(format!("cannot make the volume {volume}: {error}"));
    }
    if !path.is_dir() {
        return log::warning(format!("the image has a file in the place of the volume {volume}"));
    }
    if read_only {
        seed::tmpfs_over(&path);
    }
}

/// As runc does it: with the mode of the folder that is there, unless the options say another.
fn make_tmpfs(path: &str, options: &str) -> Result<(), Failure> {
    let failed = |why: String| Failure::machine(format!("cannot mount a tmpfs on {path}: {why}"));
    let options = tmpfs_options(options).map_err(|option| failed(format!("unknown option {option}")))?;
    let has_mode = options.data.split(',').any(|option| option.starts_with("mode="));
    let at = in_root(path);
    let there = fs::metadata(&at).ok().filter(|_| !has_mode).map(|meta| meta.permissions());
    make_folders(&at).map_err(|error| failed(error.to_string()))?;
    let flags = MsFlags::from_bits_truncate(options.flags as libc::c_ulong);
    let data = options.data.as_str();
    let mount =
        |flags| mount(Some("tmpfs"), &at, Some("tmpfs"), flags, Some(data)).doing(format!("mount a tmpfs on {path}"));
    mount(flags - MsFlags::MS_RDONLY)?;
    if let Some(mode) = there {
        fs::set_permissions(&at, mode).map_err(|error| failed(error.to_string()))?;
    }
    if flags.contains(MsFlags::MS_RDONLY) { mount(flags | MsFlags::MS_REMOUNT) } else { Ok(()) }
}

/// Made as a runtime does; whether it can be entered is seen when the workload does.
fn make_working_dir(folder: &str) {
    let path = in_root(folder);
    if let Err(error) = make_folders(&path) {
        log::warning(format!("cannot make the working folder {folder}: {error}"));
    }
}

/// The file system becomes read-only; where a writer is in the way, at least this mount of it.
fn make_read_only() {
    let whole = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    let again = |flags| mount(None::<&str>, "/", None::<&str>, flags, None::<&str>);
    if let Err(errno) = again(whole).or_else(|_| again(whole | MsFlags::MS_BIND)) {
        log::warning(format!("cannot make the root read-only: {}", errno.desc()));
    }
}
