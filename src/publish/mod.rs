//! Everything that is written for the user goes through here: disks, reports, pages, logs, pictures.
//!
//! ```text
//!            regular file, or nothing yet      device, pipe, our own output      directory, block device, socket
//!  disk      written beside, then renamed      refused                           refused
//!  document  the same                          written through                   refused
//!  log       an empty one is put in its place  written through                   refused
//! ```
//!
//! Whatever it is: no output takes the place of something that was read ([`crate::inputs`]), none takes the place of a
//! disk that a machine writes to ([`crate::disk_lock`]), and what is replaced leaves its owner and its mode behind.

mod document;
mod error;
mod keep;
mod leftovers;
mod name;
mod partial;
mod place;
mod space;
mod target;

pub use document::Document;
pub use error::FileError;
pub use leftovers::{remove_stale_in, remove_unpublished};
pub use partial::PartialFile;
pub use space::{free_bytes, share_room};

use self::place::Place;
use self::target::Target;
use std::fs::File;
use std::path::Path;

/// Whether a disk may be written to `path`, as far as that is known before anything was read.
///
/// # Errors
/// What [`PartialFile::create`] would say, and names that promise another format than a raw disk.
pub fn check_disk(path: &Path) -> Result<(), FileError> {
    name::check(path)?;
    check_file(path)
}

/// The same of a file that is no disk by its name.
///
/// # Errors
/// What [`PartialFile::create`] would say.
pub fn check_file(path: &Path) -> Result<(), FileError> {
    Target::of(path)?.take().map(drop)
}

/// Begins a log: an empty file under its name at once, which is written from then on.
///
/// # Errors
/// As [`Document::at`].
pub fn begin_log(path: &Path) -> Result<File, FileError> {
    match Place::of(path)? {
        Place::File(_) => PartialFile::create(path, 0)?.publish_empty(),
        stream => stream.open(path),
    }
}
