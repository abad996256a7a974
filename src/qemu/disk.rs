//! Opening the disk: which file, who else uses it, and the overlay that keeps it as it is.
//!
//! The file is opened here, once, and QEMU gets the descriptor: whatever its name holds, QEMU never sees it. It keeps
//! the descriptor, and with it the lock, for as long as it lives.
//!
//! Not supported: disk formats other than raw. The first sector is the guest's to write, so nothing is guessed from it.

use super::error::RunError;
use super::machine::Access;
use super::overlay;
use crate::disk_lock::lock;
use crate::inputs::FileId;
use crate::output::scratch_dir;
use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// An open disk, as QEMU gets it.
#[derive(Debug)]
pub struct Disk {
    /// The disk itself; holds the lock.
    pub file: File,
    /// It is a block device.
    pub block_device: bool,
    /// What takes the guest's writes, with [`Access::Overlay`]. It has no name.
    pub overlay: Option<File>,
}

/// Opens and locks the disk at `path`, seen as `size` bytes if that is more than it has; with [`Access::Overlay`] an
/// overlay is made in `scratch`, or where temporary files go. With `seen` it must be that file.
pub fn open(
    path: &Path,
    access: Access,
    size: Option<u64>,
    scratch: Option<&Path>,
    seen: Option<FileId>,
) -> Result<Disk, RunError> {
    let failed = |source| RunError::Disk { path: path.to_owned(), source };
    let write = access == Access::Write;
    // Opening a FIFO would wait for its other end.
    let opened = OpenOptions::new().read(true).write(write).custom_flags(libc::O_NONBLOCK).open(path);
    let mut file = match opened {
        Ok(file) => file,
        // A directory cannot be opened for writing: say what it is rather than that.
        Err(error) if error.raw_os_error() == Some(libc::EISDIR) => return Err(RunError::NotADisk(path.to_owned())),
        Err(error) => return Err(failed(error)),
    };
    let facts = file.metadata().map_err(failed)?;
    let kind = facts.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(RunError::NotADisk(path.to_owned()));
    }
    lock(&file, write).map_err(|errno| match errno {
        Errno::EWOULDBLOCK => RunError::DiskInUse(path.to_owned()),
        errno => failed(errno.into()),
    })?;
    if seen.is_some_and(|seen| seen != FileId::of(&facts)) {
        return Err(RunError::DiskReplaced(path.to_owned()));
    }
    let now = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let size = size.unwrap_or(now);
    if size < now {
        return Err(RunError::Smaller { path: path.to_owned(), size: now });
    }
    let overlay = match access {
        Access::Write if size > now && kind.is_file() => {
            file.set_len(size).map_err(failed)?;
            None
        }
        Access::Write if size > now => return Err(RunError::Unsupported("a block device larger than it is")),
        Access::Write => None,
        Access::Overlay => Some(make_overlay(size, scratch)?),
    };
    Ok(Disk { file, block_device: kind.is_block_device(), overlay })
}

fn make_overlay(size: u64, scratch: Option<&Path>) -> Result<File, RunError> {
    let dir = scratch.map_or_else(scratch_dir, Path::to_owned);
    let make = || {
        let file = tempfile::tempfile_in(&dir)?;
        // A disk of whole sectors, as QEMU rounds the file beneath.
        overlay::write_empty(&file, size.next_multiple_of(512))?;
        Ok(file)
    };
    make().map_err(|source| RunError::Overlay { dir: dir.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        std::fs::write(&path, [0; 512]).unwrap();
        let open = |access| super::open(&path, access, None, None, None);
        let (first, second) = (open(Access::Overlay).unwrap(), open(Access::Overlay).unwrap());
        assert!(matches!(open(Access::Write), Err(RunError::DiskInUse(_))));
        drop((first, second));
        let writer = open(Access::Write).unwrap();
        assert!(matches!(open(Access::Write), Err(RunError::DiskInUse(_))));
        let error = open(Access::Overlay).unwrap_err();
        assert_eq!(error.to_string(), format!("disk is in use by another machine: {}", path.display()));
        drop(writer);
        open(Access::Write).unwrap();
    }

    #[test]
    fn what_has_no_sectors_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [dir.path(), &fifo, Path::new("/dev/null")] {
            for access in [Access::Overlay, Access::Write] {
                assert!(
                    matches!(open(path, access, None, None, None), Err(RunError::NotADisk(_))),
                    "{}",
                    path.display()
                );
            }
        }
        let missing =
            open(&dir.path().join("no\u{1b}such"), Access::Overlay, None, None, None).unwrap_err().to_string();
        assert!(missing.contains("no\\x1bsuch"), "{missing}");
    }

    #[test]
    fn a_disk_that_was_replaced_since_it_was_looked_at_is_not_booted_or_grown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        std::fs::write(&path, [7; 512]).unwrap();
        let seen = Some(FileId::of(&std::fs::metadata(&path).unwrap()));
        let open = || super::open(&path, Access::Write, Some(1024), None, seen);
        drop(open().unwrap());
        let other = dir.path().join("other.img");
        std::fs::write(&other, [8; 512]).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(matches!(open(), Err(RunError::DiskReplaced(_))));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 512);
    }

    #[test]
    fn a_disk_is_made_larger_and_never_smaller() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        std::fs::write(&path, [7; 1024]).unwrap();
        let length = || std::fs::metadata(&path).unwrap().len();
        let open = |access, size| super::open(&path, access, Some(size), None, None);
        for access in [Access::Overlay, Access::Write] {
            let error = open(access, 512).unwrap_err().to_string();
            assert!(error.contains("smaller than it is, 1024 bytes"), "{error}");
        }
        open(Access::Overlay, 1 << 30).unwrap();
        assert_eq!(length(), 1024);
        open(Access::Write, 1 << 30).unwrap();
        assert_eq!(length(), 1 << 30);
    }

    #[test]
    fn an_overlay_has_no_name() {
        let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = dir.path().join("disk.img");
        std::fs::write(&path, [0; 100]).unwrap();
        let disk = open(&path, Access::Overlay, None, Some(scratch.path()), None).unwrap();
        assert!(disk.overlay.is_some());
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        let error = open(&path, Access::Overlay, None, Some(Path::new("/nonexistent")), None).unwrap_err();
        assert!(matches!(error, RunError::Overlay { .. }));
    }
}
