//! Our files of /etc over the image's, which stay as they are on the disk.
//!
//! A symbolic link in a file's place is covered by the file, as container runtimes have it, and where it leads stays
//! untouched; kernels before 5.2 cannot, and there the file is found at the end of the link.

use super::etc_files;
use super::log;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The files, opened in the initramfs: once the root has changed they have no name any more.
pub struct EtcMounts(Vec<(&'static str, File)>);

impl EtcMounts {
    /// Opens what there is.
    pub fn open() -> EtcMounts {
        let opened =
            etc_files::NAMES.into_iter().filter_map(|name| Some((name, File::open(etc_files::path(name)).ok()?)));
        EtcMounts(opened.collect())
    }

    /// Mounts them over the image's, inside the root. A file that cannot be is a warning.
    pub fn mount(&self, over_links: bool, read_only: bool) {
        for (name, file) in &self.0 {
            let target = Path::new("/etc").join(name);
            let provided = provide(file, &target, over_links).and_then(|()| {
                let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
                if read_only {
                    mount(None::<&str>, &target, None::<&str>, flags, None::<&str>)?
                }
                Ok(())
            });
            if let Err(error) = provided {
                log::warning(format!("cannot provide {}: {error}", target.display()));
            }
        }
    }
}

fn provide(file: &File, target: &Path, over_links: bool) -> std::io::Result<()> {
    let is_link = fs::symlink_metadata(target).is_ok_and(|meta| meta.is_symlink());
    if is_link && over_links && over_link(file, target).is_ok() {
        return Ok(());
    }
    ensure_file(target)?;
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    mount(Some(source.as_str()), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

/// mount(2) follows a link in its target; move_mount(2) takes a descriptor of the link itself.
fn over_link(file: &File, link: &Path) -> std::io::Result<()> {
    const OPEN_TREE_CLONE: libc::c_uint = 1;
    const FROM_AND_TO_ARE_DESCRIPTORS: libc::c_uint = 0x4 | 0x40;
    let at = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(link)?;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint | libc::AT_EMPTY_PATH as libc::c_uint;
    // SAFETY: the kernel reads one empty string.
    let tree = Errno::result(unsafe { libc::syscall(libc::SYS_open_tree, file.as_raw_fd(), c"".as_ptr(), flags) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    let tree = unsafe { OwnedFd::from_raw_fd(tree as i32) };
    let (from, to) = (tree.as_raw_fd(), at.as_raw_fd());
    let empty = c"".as_ptr();
    // SAFETY: the kernel reads two empty strings.
    let moved = unsafe { libc::syscall(libc::SYS_move_mount, from, empty, to, empty, FROM_AND_TO_ARE_DESCRIPTORS) };
    Errno::result(moved)?;
    Ok(())
}

/// The umask is nobody's yet, so the mode is said.
fn new_folders(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// Makes an empty file where there is none. Links of the image lead where they lead inside the image.
fn ensure_file(path: &Path) -> std::io::Result<()> {
    if fs::metadata(path).is_ok() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        new_folders(folder)?;
    }
    if let Ok(link) = fs::read_link(path) {
        let target: PathBuf = path.parent().unwrap_or(Path::new("/")).join(link);
        if let Some(folder) = target.parent() {
            new_folders(folder)?;
        }
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o644).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path).map(drop)
}
