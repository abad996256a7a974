//! A tmpfs over a folder of the image that begins with what the folder holds.
//!
//! What is copied, and with what, is said in [`crate::copy`]. A folder with more than a run-time folder has is not copied
//! but seen through overlayfs; on a kernel without that it is left as it is, on the disk.

use super::{log, tmpfs};
use crate::copy::put::{Options, Put};
use crate::copy::take::take;
use crate::copy::{Kind, Preface, Record, Sink};
use nix::fcntl::AT_FDCWD;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

/// Most of what is copied into memory.
const MEMORY: Bounds = Bounds { entries: 4096, bytes: 8 << 20, depth: 64 };

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
    let copied = copy_bounded(&from, at, MEMORY).and_then(|()| copy_attributes(&below.metadata()?, at));
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
struct Bounds {
    entries: u32,
    bytes: u64,
    depth: usize,
}

struct Bounded<'a> {
    put: Put<'a>,
    left: Bounds,
}

impl Sink for Bounded<'_> {
    fn begin(&mut self, preface: &Preface) -> io::Result<()> {
        self.put.begin(preface)
    }

    fn put(&mut self, record: &Record, body: &mut dyn Read) -> io::Result<()> {
        let bytes = if let Kind::File(length) = record.kind { length } else { 0 };
        if record.path.iter().filter(|&&byte| byte == b'/').count() > self.left.depth {
            return Err(io::Error::other("its folders are nested too deep"));
        }
        let left = self.left.entries.checked_sub(1).zip(self.left.bytes.checked_sub(bytes));
        (self.left.entries, self.left.bytes) = left.ok_or_else(|| io::Error::other("it holds too much for a tmpfs"))?;
        self.put.put(record, body)
    }

    fn end(&mut self) -> io::Result<()> {
        self.put.end()
    }
}

/// Copies what is in a folder into another one.
pub fn copy_contents(from: &Path, to: &Path) -> io::Result<()> {
    copy_bounded(from, to, Bounds { entries: u32::MAX, bytes: u64::MAX, depth: usize::MAX })
}

fn copy_bounded(from: &Path, to: &Path, left: Bounds) -> io::Result<()> {
    let (from, note) = (from.join("."), &mut |text: &str| log::info(text));
    let options = Options { owners: true, trusted: true };
    let mut sink = Bounded { put: Put::new(to.as_os_str().as_bytes(), options, note), left };
    take(from.as_os_str().as_bytes(), false, &mut sink, &mut |text| log::info(text))
}

/// Gives a folder the owner, mode and time of another. It may be named by a link, as descriptors are in /proc.
pub fn copy_attributes(meta: &Metadata, to: &Path) -> io::Result<()> {
    chown(to, Some(meta.uid()), Some(meta.gid()))?;
    // After the owner, whose change takes setuid bits away.
    fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    let time = TimeSpec::new(meta.mtime(), meta.mtime_nsec());
    Ok(utimensat(AT_FDCWD, to, &time, &time, UtimensatFlags::FollowSymlink)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_copy_has_the_same_kinds_modes_and_times() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("lock")).unwrap();
        fs::set_permissions(from.path().join("lock"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(from.path().join("lock/pid"), "12").unwrap();
        symlink("lock/pid", from.path().join("link")).unwrap();
        // The folder itself, and three.
        copy_bounded(from.path(), to.path(), Bounds { entries: 4, bytes: 2, depth: 1 }).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("link")).unwrap(), "12");
        let (a, b) = (from.path().join("lock"), to.path().join("lock"));
        let (a, b) = (fs::metadata(a).unwrap(), fs::metadata(b).unwrap());
        assert_eq!((a.mode(), a.mtime_nsec()), (b.mode(), b.mtime_nsec()));
    }

    #[test]
    fn a_folder_that_holds_too_much_is_refused() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("big"), "12345").unwrap();
        fs::create_dir_all(from.path().join("a/b")).unwrap();
        for (entries, bytes, depth, fits) in [(9, 4, 9, false), (3, 9, 9, false), (9, 9, 0, false), (4, 5, 1, true)] {
            let copied = copy_bounded(from.path(), to.path(), Bounds { entries, bytes, depth });
            assert_eq!(copied.is_ok(), fits, "{entries} {bytes} {depth}");
        }
    }
}
