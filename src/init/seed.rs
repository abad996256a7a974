//! A tmpfs over a folder of the image that begins with what the folder holds.
//!
//! Folders, regular files, symbolic links and FIFOs are copied with owner, mode and time. Hard links become copies;
//! extended attributes, devices and sockets are left out. A folder with more than a run-time folder has is not copied
//! but seen through overlayfs; on a kernel without that it is left as it is, on the disk.

use super::{log, tmpfs};
use nix::fcntl::AtFlags;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, mkfifo};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// Most entries that are copied.
const MAX_ENTRIES: u32 = 4096;
/// Most bytes of file contents that are copied.
const MAX_BYTES: u64 = 8 << 20;
/// Deepest folder that is copied.
const MAX_DEPTH: u32 = 64;

/// Mounts a tmpfs at `at` and copies into it what was there. On any failure the folder stays as it is.
pub fn tmpfs_over(at: &Path) {
    if let Err(error) = try_tmpfs_over(at) {
        log::warning(format!("{} stays on the disk: {error}", at.display()));
    }
}

fn try_tmpfs_over(at: &Path) -> io::Result<()> {
    let below = File::open(at)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(tmpfs::options(0o755).as_str()))?;
    let from = Path::new("/proc/self/fd").join(below.as_raw_fd().to_string());
    let mut budget = Budget { entries: MAX_ENTRIES, bytes: MAX_BYTES };
    let copied = copy_folder(&from, at, &mut budget, 0).and_then(|()| copy_attributes(&below.metadata()?, at));
    if copied.is_ok() {
        return copied;
    }
    umount2(at, MntFlags::MNT_DETACH)?;
    // Why it could not be copied is the better reason for what then stays.
    overlay_over(at, &below).or(copied)
}

/// The folder below, read-only, and a tmpfs above that takes what changes.
fn overlay_over(at: &Path, below: &File) -> io::Result<()> {
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(tmpfs::options(0o700).as_str()))?;
    let above = File::open(at)?;
    let place = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
    let (lower, upper) = (place(below), place(&above));
    let try_mount = || {
        for name in ["data", "work"] {
            fs::create_dir(Path::new(&upper).join(name))?;
        }
        copy_attributes(&below.metadata()?, &Path::new(&upper).join("data"))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let options = format!("lowerdir={lower},upperdir={upper}/data,workdir={upper}/work");
        mount(Some("overlay"), at, Some("overlay"), flags, Some(options.as_str())).map_err(io::Error::from)
    };
    let mounted = try_mount();
    if mounted.is_err() {
        umount2(at, MntFlags::MNT_DETACH)?;
    }
    mounted
}

/// What may be copied.
pub struct Budget {
    entries: u32,
    bytes: u64,
}

impl Budget {
    /// No limit: for a disk.
    pub fn endless() -> Budget {
        Budget { entries: u32::MAX, bytes: u64::MAX }
    }

    fn take(&mut self, bytes: u64) -> io::Result<()> {
        match (self.entries.checked_sub(1), self.bytes.checked_sub(bytes)) {
            (Some(entries), Some(bytes)) => {
                *self = Budget { entries, bytes };
                Ok(())
            }
            _ => Err(io::Error::other("it holds too much for a tmpfs")),
        }
    }
}

/// Copies what is in a folder.
pub fn copy_folder(from: &Path, to: &Path, budget: &mut Budget, depth: u32) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other("its folders are nested too deep"));
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (meta, source, target) = (entry.metadata()?, entry.path(), to.join(entry.file_name()));
        let kind = meta.file_type();
        budget.take(if kind.is_file() { meta.len() } else { 0 })?;
        if kind.is_dir() {
            fs::create_dir(&target)?;
            copy_folder(&source, &target, budget, depth + 1)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
        } else if kind.is_fifo() {
            mkfifo(&target, Mode::S_IRUSR)?;
        } else {
            continue;
        }
        copy_attributes(&meta, &target)?;
    }
    Ok(())
}

/// Owner, mode and time.
pub fn copy_attributes(meta: &Metadata, to: &Path) -> io::Result<()> {
    let here: BorrowedFd = nix::fcntl::AT_FDCWD;
    let (uid, gid) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
    fchownat(here, to, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if !meta.is_symlink() {
        // After the owner, whose change takes setuid bits away.
        fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    }
    let time = TimeSpec::new(meta.mtime(), meta.mtime_nsec());
    utimensat(here, to, &time, &time, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_same_kinds_modes_and_times() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("lock")).unwrap();
        fs::set_permissions(from.path().join("lock"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(from.path().join("lock/pid"), "12").unwrap();
        symlink("lock/pid", from.path().join("link")).unwrap();
        let mut budget = Budget { entries: 10, bytes: 100 };
        copy_folder(from.path(), to.path(), &mut budget, 0).unwrap();
        assert_eq!((budget.entries, budget.bytes), (7, 98));
        assert_eq!(fs::read_to_string(to.path().join("link")).unwrap(), "12");
        let (a, b) = (from.path().join("lock"), to.path().join("lock"));
        let (a, b) = (fs::metadata(a).unwrap(), fs::metadata(b).unwrap());
        assert_eq!((a.mode(), a.mtime_nsec()), (b.mode(), b.mtime_nsec()));
    }

    #[test]
    fn a_folder_that_holds_too_much_is_refused() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("big"), "12345").unwrap();
        assert!(copy_folder(from.path(), to.path(), &mut Budget { entries: 9, bytes: 4 }, 0).is_err());
        assert!(copy_folder(from.path(), to.path(), &mut Budget { entries: 0, bytes: 9 }, 0).is_err());
    }
}
