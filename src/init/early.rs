//! The first mounts of the initramfs, and descriptors 0, 1 and 2 of PID 1.
//!
//! Nothing here may fail the boot by itself: a kernel without one of these file systems may still find its root.

use super::log;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::fs;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;

/// Mounts /proc, /sys and /dev, opens the console, and starts the log.
pub fn mounts() {
    let harmless = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let results = [
        mount_at("proc", "/proc", harmless, ""),
        mount_at("sysfs", "/sys", harmless, ""),
        mount_at("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755"),
    ];
    open_console();
    log::open();
    for (at, result) in ["/proc", "/sys", "/dev"].into_iter().zip(results) {
        if let Err(errno) = result {
            log::warning(format!("cannot mount {at} of the initramfs: {}", errno.desc()));
        }
    }
    // The workload is the one to go when memory runs out.
    _ = fs::write("/proc/self/oom_score_adj", "-1000");
}

fn mount_at(fstype: &str, at: &str, flags: MsFlags, options: &str) -> nix::Result<()> {
    _ = fs::create_dir(at);
    match mount(Some(fstype), at, Some(fstype), flags, Some(options)) {
        // CONFIG_DEVTMPFS_MOUNT does it before us when there is no initramfs; a second mount is no error of ours.
        Err(nix::errno::Errno::EBUSY) => Ok(()),
        other => other,
    }
}

/// Standard descriptors on the console, or on the kernel's log, or on nothing: they must be taken, or the next file
/// that is opened would become one of them.
fn open_console() {
    if !fs::exists("/dev/null").unwrap_or(false) {
        _ = mknod("/dev/null", SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3));
        _ = mknod("/dev/console", SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(5, 1));
        _ = mknod("/dev/kmsg", SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 11));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let Some(file) = ["/dev/console", "/dev/kmsg", "/dev/null"].iter().find_map(|path| options.open(path).ok()) else {
        return;
    };
    let fd = file.as_raw_fd();
    for standard in 0..3 {
        if fd != standard {
            // SAFETY: dup2 onto the standard descriptors, which this program owns as nobody else is running yet.
            unsafe { libc::dup2(fd, standard) };
        }
    }
    if fd < 3 {
        std::mem::forget(file);
    }
}
