//! A root that forgets: the disk read-only below, a tmpfs above, overlayfs over both. Every boot is the first.
//!
//! ```text
//!  /newroot   overlayfs   what the workload sees
//!  /upper     tmpfs       data: what it writes; work: overlayfs's own
//!  /lower     the disk    read-only
//! ```
//!
//! The disk is not written to, with one exception: a journal that a machine left behind when it lost its power is
//! replayed, as without that the file system may be between two states.
//!
//! Not supported: extended attributes of the root folder itself, and those in the `user` name space of changed files
//! on kernels before 6.6, whose tmpfs has none.

use super::failure::{Doing, Failure};
use super::{journal, tmpfs};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

const LOWER: &str = "/lower";
const UPPER: &str = "/upper";
const DATA: &str = "/upper/data";
const LAYERS: &str = "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work";
/// Folders of the disk can be renamed, and files with several names stay one file when they are changed.
const AS_A_DISK: &str = "redirect_dir=on,index=on";

/// Mounts all three, the overlay at `at`. A verified disk is as it was built: its journal is empty.
pub fn mount(device: &Path, fstype: &str, at: &str, is_verified: bool) -> Result<(), Failure> {
    for folder in [LOWER, UPPER] {
        fs::create_dir_all(folder).doing(format!("create {folder}"))?;
    }
    let replayed = if is_verified { Ok(()) } else { journal::replay(device, fstype, LOWER).map(drop) };
    replayed
        .and_then(|()| mount_clean(device, fstype, LOWER))
        .doing(format!("mount the root file system of {}", device.display()))?;
    nix::mount::mount(Some("tmpfs"), UPPER, Some("tmpfs"), MsFlags::empty(), Some(tmpfs::options(0o700).as_str()))
        .doing("mount a tmpfs for an ephemeral root")?;
    make_folders().doing("prepare a tmpfs for an ephemeral root")?;
    let overlay = |options: &str| {
        let options = Some(options);
        nix::mount::mount(Some("overlay"), at, Some("overlay"), MsFlags::empty(), options)
    };
    // An older overlayfs does not know the options beyond the layers.
    overlay(&format!("{LAYERS},{AS_A_DISK}")).or_else(|_| overlay(LAYERS)).map_err(|errno| match errno {
        Errno::ENODEV => {
            Failure::machine("this kernel has no overlayfs (CONFIG_OVERLAY_FS), which an ephemeral root needs")
        }
        errno => Failure::machine(format!("cannot mount an overlay for an ephemeral root: {}", errno.desc())),
    })
}

/// Unmounts what is below the root; the root itself is unmounted by now.
pub fn leave() {
    for at in [UPPER, LOWER] {
        // Neither is mounted when the root is not ephemeral, and neither holds anything that could be lost.
        _ = umount2(at, MntFlags::MNT_DETACH);
    }
}

/// Read-only and without its journal, which has nothing to tell.
pub fn mount_clean(device: &Path, fstype: &str, at: &str) -> nix::Result<()> {
    let options = if fstype == "ext4" { Some("noload") } else { None };
    nix::mount::mount(Some(device), at, Some(fstype), MsFlags::MS_RDONLY, options)
}

/// The root folder of the overlay has the attributes of the upper one, which are to be those of the disk's.
fn make_folders() -> io::Result<()> {
    let disk = fs::metadata(LOWER)?;
    for folder in [DATA, "/upper/work"] {
        fs::DirBuilder::new().mode(0o755).create(folder)?;
    }
    chown(DATA, Some(disk.uid()), Some(disk.gid()))?;
    fs::set_permissions(DATA, fs::Permissions::from_mode(disk.mode() & 0o7777))?;
    let times = [(disk.atime(), disk.atime_nsec()), (disk.mtime(), disk.mtime_nsec())];
    let [atime, mtime] = times.map(|(seconds, nanoseconds)| TimeSpec::new(seconds, nanoseconds));
    utimensat(nix::fcntl::AT_FDCWD, DATA, &atime, &mtime, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}
