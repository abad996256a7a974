//! The files of a cache's folder: which there are, and how one is opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The paths in a folder that end like this; none where there is no such folder.
pub(super) fn ending(dir: &Path, end: &'static str) -> impl Iterator<Item = PathBuf> {
    let listing = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    listing.filter(move |path| path.extension().is_some_and(|other| other == end))
}

/// Opens what may have been put in a file's place: no FIFO is waited for, no link followed.
pub(super) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// The same for reading.
pub(super) fn read(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().read(true), path)
}
