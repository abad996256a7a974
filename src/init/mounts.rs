//! Folders of the host, volumes and other file systems that a boot mounts in the workload's root.
//!
//! ```text
//!  tag of virtio-fs ───────┐
//!  serial number of a disk ┴─▶ /mounts/NAME of the initramfs ─▶ bind mount in the root, for the workload alone
//! ```
//!
//! PID 1 mounts each in its own namespace, so that it can write out and unmount a volume when the workload has gone. A
//! mount that is asked for and cannot be made ends the boot: without its data a workload would begin anew in silence.

use super::failure::{Doing, Failure};
use super::folders::{in_root, make_folders};
use super::growth::ext4::{self, Grown};
use super::modules::Loader;
use super::{journal, log, partition, root, volume};
use crate::guest::mounts::{By, Mount, depth};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File, OpenOptions};
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Where they are in the initramfs.
const FOLDER: &str = "/mounts";
/// How long a disk may take to show up behind the root's.
const PATIENCE: Duration = Duration::from_secs(30);

/// Mounts all of them in the initramfs.
pub fn prepare(mounts: &[Mount], modules: &mut Loader) -> Result<(), Failure> {
    for one in mounts {
        let place = place(one);
        fs::create_dir_all(&place).doing(format!("create {}", place.display()))?;
        match one.by {
            By::Share => mount_share(one, &place)?,
            By::Disk => mount_disk(one, &place, modules)?,
        }
    }
    Ok(())
}

fn place(mount: &Mount) -> PathBuf {
    Path::new(FOLDER).join(&mount.name)
}

fn read_only(mount: &Mount) -> MsFlags {
    if mount.read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() }
}

fn mount_share(one: &Mount, place: &Path) -> Result<(), Failure> {
    let tag = Some(one.name.as_str());
    mount(tag, place, Some("virtiofs"), read_only(one), None::<&str>).map_err(|errno| {
        let why = match errno {
            Errno::ENODEV => "this kernel has no virtiofs (CONFIG_VIRTIO_FS)",
            errno => errno.desc(),
        };
        Failure::machine(format!("cannot mount the host's folder on {}: {why}", one.at))
    })
}

fn mount_disk(one: &Mount, place: &Path, modules: &mut Loader) -> Result<(), Failure> {
    let failed = |why: &str| Failure::machine(format!("cannot mount the disk for {}: {why}", one.at));
    let device = wait_for(&one.name, modules)
        .ok_or_else(|| failed("this kernel does not see it (CONFIG_VIRTIO_BLK drives it)"))?;
    let Some(_) = one.volume else {
        // Made for this boot, and nobody has written to it: there is no journal to replay.
        return mount(Some(&device), place, Some("ext4"), MsFlags::MS_RDONLY, Some("noload"))
            .map_err(|errno| failed(errno.desc()));
    };
    journal::replay(&device, "ext4", &place.to_string_lossy()).map_err(|errno| failed(errno.desc()))?;
    mount(Some(&device), place, Some("ext4"), MsFlags::empty(), None::<&str>).map_err(|errno| failed(errno.desc()))?;
    enlarge(one, &device, place);
    Ok(())
}

/// A volume whose file was made larger gets all of it. What cannot grow works as before.
fn enlarge(one: &Mount, device: &Path, place: &Path) {
    let grown = length(device)
        .ok_or_else(|| "its size is not known".to_owned())
        .and_then(|length| ext4::grow(device, &place.to_string_lossy(), length, |_| ControlFlow::Continue(())));
    match grown {
        Ok(Grown::Not) => {}
        Ok(_) => log::info(format!("volume on {} enlarged", one.at)),
        Err(reason) => log::warning(format!("the volume on {} does not have all of its disk: {reason}", one.at)),
    }
}

/// Bytes of a whole disk; sysfs counts in units of 512 bytes.
fn length(device: &Path) -> Option<u64> {
    let folder = Path::new("/sys/class/block").join(device.file_name()?);
    fs::read_to_string(folder.join("size")).ok()?.trim().parse::<u64>().ok()?.checked_mul(512)
}

/// The node of the disk with this serial number.
fn wait_for(serial: &str, modules: &mut Loader) -> Option<PathBuf> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(name) = with_serial(Path::new("/sys/class/block"), serial) {
            return Some(partition::node(&name));
        }
        if Instant::now() > end {
            return None;
        }
        modules.load_for_devices();
        sleep(Duration::from_millis(10));
    }
}

/// virtio-blk has the number in a file beside the disk's other facts.
fn with_serial(disks: &Path, serial: &str) -> Option<String> {
    fs::read_dir(disks).ok()?.flatten().find_map(|entry| {
        let found = fs::read_to_string(entry.path().join("serial")).ok()?;
        (found.trim_matches(['\0', '\n', ' ']) == serial).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

/// The mounts, opened in the initramfs: once the root has changed they have no name any more.
pub struct Opened<'a>(Vec<(&'a Mount, File)>);

impl<'a> Opened<'a> {
    /// Opens what [`prepare`] mounted, outer places first.
    pub fn open(mounts: &'a [Mount]) -> Result<Opened<'a>, Failure> {
        let mut sorted: Vec<&Mount> = mounts.iter().collect();
        sorted.sort_by_key(|one| depth(&one.at));
        let open = |one: &'a Mount| {
            let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path_of(one));
            file.map(|file| (one, file)).doing(format!("find what is to be mounted on {}", one.at))
        };
        sorted.into_iter().map(open).collect::<Result<_, _>>().map(Opened)
    }

    /// Mounts them in the root, which is the caller's by now.
    pub fn mount(&self) -> Result<(), Failure> {
        self.0.iter().try_for_each(|(one, file)| bind(one, file))
    }
}

/// What is mounted: the whole of it, or one file in it.
fn path_of(one: &Mount) -> PathBuf {
    one.file.iter().fold(place(one), |place, file| place.join(file))
}

fn bind(one: &Mount, file: &File) -> Result<(), Failure> {
    let failed = |why: String| Failure::machine(format!("cannot mount on {}: {why}", one.at));
    let at = in_root(&one.at);
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    let is_folder = file.metadata().map_err(|error| failed(error.to_string()))?.is_dir();
    make_place(&at, is_folder).map_err(|error| failed(error.to_string()))?;
    if one.volume.is_some_and(|volume| volume.seed) {
        volume::fill(&at, Path::new(&source))
            .map_err(|error| failed(format!("the image's files stay out: {error}")))?;
    }
    mount(Some(source.as_str()), &at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|errno| failed(reason(errno, is_folder).to_owned()))?;
    if one.read_only {
        let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(None::<&str>, &at, None::<&str>, again, None::<&str>).map_err(|errno| failed(errno.desc().to_owned()))?;
    }
    Ok(())
}

fn reason(errno: Errno, is_folder: bool) -> &'static str {
    match (errno, is_folder) {
        (Errno::ENOTDIR, true) => "the image has a file there, and this is a folder",
        (Errno::ENOTDIR, false) => "the image has a folder there, and this is a file",
        (errno, _) => errno.desc(),
    }
}

/// Makes what is missing of a place, as container runtimes do: a folder, or an empty file for a file.
pub fn make_place(at: &Path, is_folder: bool) -> std::io::Result<()> {
    if is_folder || fs::metadata(at).is_ok() {
        return make_folders(at);
    }
    make_folders(at.parent().unwrap_or(Path::new("/")))?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o644).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(at).map(drop)
}

/// Writes out and unmounts all of them. Nobody may be using them any more.
pub fn leave() {
    for entry in fs::read_dir(FOLDER).into_iter().flatten().flatten() {
        let place = entry.path();
        root::retry(&format!("unmount {}", place.display()), || {
            match umount2(&place, MntFlags::empty()) {
                // Never mounted: the boot ended before.
                Err(Errno::EINVAL) => Ok(()),
                result => result,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_found_by_its_serial_number_whatever_it_is_called() {
        let sys = tempfile::tempdir().unwrap();
        for (name, serial) in [("vda", Some("bootdisk")), ("vdb", Some("bootdisk-1\n")), ("sda", None)] {
            fs::create_dir(sys.path().join(name)).unwrap();
            serial.iter().for_each(|serial| fs::write(sys.path().join(name).join("serial"), serial).unwrap());
        }
        for (serial, found) in [("bootdisk-1", Some("vdb")), ("bootdisk", Some("vda")), ("bootdisk-10", None)] {
            assert_eq!(with_serial(sys.path(), serial).as_deref(), found, "{serial}");
        }
    }

    #[test]
    fn a_place_is_made_of_the_kind_that_is_mounted_and_what_is_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        make_place(&at("a/b"), true).unwrap();
        make_place(&at("c/d/file"), false).unwrap();
        assert!(at("a/b").is_dir() && at("c/d/file").is_file());
        fs::write(at("c/d/file"), "kept").unwrap();
        make_place(&at("c/d/file"), false).unwrap();
        make_place(&at("a/b"), false).unwrap();
        assert_eq!(fs::read_to_string(at("c/d/file")).unwrap(), "kept");
        assert!(make_place(&at("c/d/file/below"), true).is_err());
    }
}
