//! The root file system: waits for its partition and mounts it at [`ROOT`] of the initramfs.
//!
//! PID 1 itself stays in the initramfs: the workload enters the root in a mount namespace of its own, so that at the
//! end PID 1 can unmount what nobody uses any more.

use super::booted::{Booted, Choice};
use super::controllers::Controllers;
use super::failure::{Doing, Failure};
use super::host::Host;
use super::modules::Loader;
use super::partition::{self, Found, Search};
use super::{ephemeral, journal, log, verity};
use crate::guest::channel::Level;
use crate::guest::spec::Root;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Where the root is mounted in the initramfs.
pub const ROOT: &str = "/newroot";

/// How long a disk may take to show up. USB and NVMe under emulation take a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// After this long somebody who waits is told what for.
const SILENT: Duration = Duration::from_secs(3);

/// How long a disk may take to show up where nothing drives what it could hang on, or it cannot be read: what there was
/// to load has been by then.
const HOPELESS: Duration = Duration::from_secs(5);

/// How long a disk that is only likely to be the one that was booted waits for a better one.
const SETTLED: Duration = Duration::from_secs(10);

/// Whether the mounted root can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writable {
    /// Yes.
    Yes,
    /// The disk is write-protected.
    No,
}

/// The root, mounted.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// Its partition's node.
    pub device: PathBuf,
    /// Its disk's name in `/sys/class/block`.
    pub disk: String,
    /// Whether it can be written.
    pub writable: Writable,
}

/// Waits for the root partition and mounts it, read-write even for a read-only workload: mount points the image lacks
/// are made first, and a journal may have to be replayed.
pub fn find_and_mount(root: &Root, booted: Booted, modules: &mut Loader, host: &mut Host) -> Result<Mounted, Failure> {
    let found = wait_for(&root.partuuid, booted, modules, host)?;
    let mapped = root.verity.map(|policy| verity::map(&found, policy)).transpose()?;
    let is_verified = mapped.is_some();
    let Found { disk, node } = found;
    let device = mapped.unwrap_or(node);
    fs::create_dir_all(ROOT).doing(format!("create {ROOT}"))?;
    if root.ephemeral {
        ephemeral::mount(&device, &root.fstype, ROOT, is_verified)?;
        log::info(format!("root file system {} mounted below a tmpfs that takes all writes", device.display()));
        return Ok(Mounted { device, disk, writable: Writable::Yes });
    }
    let writable = mount_disk(&device, &root.fstype, is_verified).map_err(|errno| {
        let hint = if errno == Errno::ENODEV { ", which this kernel does not support" } else { "" };
        let (device, fstype) = (device.display(), &root.fstype);
        Failure::machine(format!("cannot mount {device} as {fstype}{hint}: {}", errno.desc()))
    })?;
    if writable == Writable::No && !is_verified {
        log::warning(format!("the root disk is write-protected: {}", device.display()));
    }
    log::info(format!("root file system {} mounted", device.display()));
    Ok(Mounted { device, disk, writable })
}

fn mount_disk(device: &Path, fstype: &str, is_verified: bool) -> nix::Result<Writable> {
    if is_verified {
        return ephemeral::mount_clean(device, fstype, ROOT).map(|()| Writable::No);
    }
    let journal = journal::replay(device, fstype, ROOT)?;
    let attempt = |flags, options: Option<&str>| mount(Some(device), ROOT, Some(fstype), flags, options);
    match attempt(MsFlags::empty(), None) {
        Err(Errno::EROFS | Errno::EACCES) => attempt(MsFlags::MS_RDONLY, journal.option()).map(|()| Writable::No),
        result => result.map(|()| Writable::Yes),
    }
}

/// Waits for the root's partition on the disk that was booted. Where nothing says which that was, the first one is taken
/// at once: there is no time after which no other could come.
fn wait_for(partuuid: &str, mut booted: Booted, modules: &mut Loader, host: &mut Host) -> Result<Found, Failure> {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(5);
    let mut told = false;
    loop {
        let search = partition::find(partuuid);
        match booted.choose(&search.found, modules) {
            Choice::Sure(found) => return Ok(found.clone()),
            Choice::Likely(found) if begin.elapsed() > SETTLED => return only(&found, partuuid),
            Choice::Equal(found) => return only(&found, partuuid),
            Choice::Likely(_) | Choice::Absent => {}
        }
        let waited = begin.elapsed();
        if waited > PATIENCE || waited > HOPELESS && no_hope_of(&search) {
            return Err(Failure::machine(not_found(&search, partuuid)));
        }
        if waited > SILENT && !std::mem::replace(&mut told, true) {
            host.tell(Level::Warning, &format!("still waiting for the root file system: {}", here(&search, partuuid)));
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
        // A controller that has just come up may have brought devices with drivers of their own.
        modules.load_for_devices();
    }
}

/// Whether what is there will not do, and nothing else will come.
fn no_hope_of(search: &Search) -> bool {
    let unreadable = search.found.is_empty() && !search.other_sectors.is_empty();
    unreadable || search.seen.is_empty() && Controllers::here().are_hopeless()
}

/// The only one of these; the wrong one of several would be mounted, and perhaps enlarged, in silence.
fn only(found: &[&Found], partuuid: &str) -> Result<Found, Failure> {
    match found {
        [only] => Ok((*only).clone()),
        several => Err(Failure::machine(format!(
            "cannot tell which disk was booted: {} have the same PARTUUID {partuuid}; detach the copies, or build each \
             disk with an --identity of its own",
            list(several.iter().copied())
        ))),
    }
}

fn not_found(search: &Search, partuuid: &str) -> String {
    if !search.found.is_empty() {
        let others = list(&search.found);
        return format!(
            "root file system not found: this kernel does not see the disk that was booted, and on another one is \
             {others}; wanted PARTUUID {partuuid}"
        );
    }
    match search.other_sectors.first() {
        Some((disk, sector)) => format!(
            "root file system not found: {disk} has sectors of {sector} bytes, and its partition table is for 512; \
             wanted PARTUUID {partuuid}"
        ),
        None => format!("root file system not found: {}", here(search, partuuid)),
    }
}

/// What is in the machine, and what is not.
fn here(search: &Search, partuuid: &str) -> String {
    let seen = if search.seen.is_empty() { "none".to_owned() } else { search.seen.join(", ") };
    format!("block devices here: {seen}; wanted PARTUUID {partuuid}; {}", Controllers::here())
}

/// `/dev/vda3 and /dev/vdb3`.
fn list<'a>(found: impl IntoIterator<Item = &'a Found>) -> String {
    found.into_iter().map(|found| found.node.display().to_string()).collect::<Vec<_>>().join(" and ")
}

/// Leaves the root clean: read-only first, which writes the journal back at once, then unmounted. Nobody may be
/// using it any more.
pub fn leave() {
    nix::unistd::sync();
    if !is_mounted() {
        return;
    }
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    retry("remount the root file system read-only", || {
        mount(None::<&str>, ROOT, None::<&str>, read_only, None::<&str>)
    });
    retry("unmount the root file system", || umount2(ROOT, MntFlags::empty()));
    ephemeral::leave();
    nix::unistd::sync();
}

/// The last processes' descriptors are given back a little after they are reaped.
pub fn retry(what: &str, mut action: impl FnMut() -> nix::Result<()>) {
    for _ in 0..60 {
        match action() {
            Ok(()) => return,
            Err(Errno::EBUSY) => sleep(Duration::from_millis(50)),
            Err(errno) => return log::warning(format!("cannot {what}: {}", errno.desc())),
        }
    }
    log::warning(format!("cannot {what}: it is still in use"));
}

fn is_mounted() -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(ROOT), fs::metadata(Path::new("/"))) {
        (Ok(root), Ok(initramfs)) => root.dev() != initramfs.dev(),
        _ => false,
    }
}
