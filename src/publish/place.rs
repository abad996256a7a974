//! What an output of text may be: a file of its own, or something that takes bytes as they come.

use super::FileError;
use super::error::failed;
use super::target::{Target, follow, kind};
use crate::inputs::FileId;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A reader of a pipe must have opened it after so long.
const READER: Duration = Duration::from_secs(10);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(20);

/// Where bytes go.
#[derive(Debug)]
pub enum Place {
    /// A regular file, there or not.
    File(Target),
    /// A device or a pipe, or a file somebody has given us open.
    Through(PathBuf),
    /// This program's own standard output or standard error, whatever that is.
    Own(OwnedFd),
}

impl Place {
    /// What `path` is; `-` is standard output.
    pub fn of(path: &Path) -> Result<Place, FileError> {
        let refuse = |kind| Err(FileError::Kind { kind, path: path.to_owned() });
        if path.as_os_str() == "-" {
            return own(io::stdout().as_fd(), path);
        }
        let Ok(facts) = std::fs::metadata(path) else { return Target::of(path).map(Place::File) };
        if let Some(own) = same_as_ours(&facts) {
            return self::own(own.as_fd(), path);
        }
        let of = facts.file_type();
        match () {
            () if of.is_char_device() || of.is_fifo() => Ok(Place::Through(path.to_owned())),
            () if !of.is_file() => refuse(kind(of)),
            // The link of an open file: who opened it would see nothing of another one with its name.
            () if leads_through_proc(path) => Ok(Place::Through(path.to_owned())),
            () => Target::of(path).map(Place::File),
        }
    }

    /// Opens what is no regular file; a pipe is waited for until somebody reads it.
    pub fn open(self, path: &Path) -> Result<File, FileError> {
        let through = match self {
            Place::Own(fd) => return Ok(File::from(fd)),
            Place::Through(through) => through,
            Place::File(target) => target.path(),
        };
        let end = Instant::now() + READER;
        loop {
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            match File::options().write(true).custom_flags(flags).open(&through) {
                Ok(file) => return blocking(&file).map(|()| file).map_err(failed("open", path)),
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) && Instant::now() < end => sleep(LOOK),
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                    return Err(FileError::NoReader(path.to_owned()));
                }
                Err(error) => return Err(failed("open", path)(error)),
            }
        }
    }
}

fn own(fd: BorrowedFd<'_>, path: &Path) -> Result<Place, FileError> {
    fd.try_clone_to_owned().map(Place::Own).map_err(failed("open", path))
}

/// The one of our own streams that is this file.
fn same_as_ours(facts: &Metadata) -> Option<OwnedFd> {
    let ours = [io::stdout().as_fd().try_clone_to_owned(), io::stderr().as_fd().try_clone_to_owned()];
    ours.into_iter().flatten().find(|fd| {
        let of = fd.try_clone().and_then(|fd| File::from(fd).metadata());
        of.is_ok_and(|of| FileId::of(&of) == FileId::of(facts))
    })
}

/// Whether one of the links that `path` is names an open file, as /dev/fd/9 does.
fn leads_through_proc(path: &Path) -> bool {
    let mut path = path.to_owned();
    while let Ok(link) = std::fs::read_link(&path) {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        if folder.canonicalize().is_ok_and(|folder| folder.starts_with("/proc")) {
            return true;
        }
        path = folder.join(link);
        if follow(&path).is_err() {
            return false;
        }
    }
    false
}

fn blocking(file: &File) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(())
}
