//! The output file: written under a temporary name beside its place, renamed when it is whole.
//!
//! ```text
//!  .disk.img.x7Gk2a.partial   0600, locked   ─ write ─ fsync ─ rename ─▶   disk.img   0666 & ~umask, or as it was
//! ```
//!
//! Until the rename an older output stays as it is. A failure, a drop and [`super::remove_unpublished`] (for signals) leave
//! nothing behind; what a killed program left is removed by the next one that writes the same output. A symbolic link
//! as output is followed: the file it points to is replaced, in that file's directory.
//!
//! Not supported: devices, pipes and sockets as output.

use super::error::failed;
use super::target::{self, Taken, Target};
use super::{FileError, keep, leftovers};
use crate::output::Output;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Once;
use tempfile::TempPath;

/// An output that is not in its place yet. Dropping it removes it.
#[derive(Debug)]
pub struct PartialFile {
    file: File,
    temporary: TempPath,
    target: Target,
    old: Option<Taken>,
}

impl PartialFile {
    /// Creates the temporary file for the output `path`, `size` bytes of hole, and removes what killed runs left.
    pub fn create(path: &Path, size: u64) -> Result<PartialFile, FileError> {
        ignore_file_size_signal();
        let target = Target::of(path)?;
        let old = target.take()?;
        leftovers::remove_stale(&target);
        let (file, temporary) = create_locked(&target)?;
        leftovers::note(&temporary);
        let partial = PartialFile { file, temporary, target, old };
        // ext4 takes a file that was cut to nothing for one that is written anew, and writes all of it out when it is closed.
        if size > 0 {
            partial.set_size(size)?;
        }
        Ok(partial)
    }

    /// The file under its temporary name.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes the file this long; new bytes are a hole.
    pub fn set_size(&self, size: u64) -> Result<(), FileError> {
        self.file.set_len(size).map_err(failed("set the size of", &self.target.path()))
    }

    /// Puts the file in its place: everything on stable storage, then the new name, then the name on stable storage.
    pub fn publish(mut self) -> Result<(), FileError> {
        let path = self.prepare()?;
        self.file.sync_all().map_err(failed("write", &path))?;
        leftovers::publish(&self.file, self.temporary, &path)?;
        let directory = File::open(&self.target.directory).and_then(|directory| directory.sync_all());
        directory.map_err(failed("write the directory of", &path))
    }

    /// Puts the file in its place and leaves it to the system when the bytes reach stable storage. A machine that
    /// loses power soon after may have the name and not the content.
    pub fn publish_unsynced(mut self) -> Result<(), FileError> {
        let path = self.prepare()?;
        leftovers::publish(&self.file, self.temporary, &path)
    }

    /// Puts the file in its place before there is anything in it: what is written to it from then on is seen at once.
    pub(super) fn publish_empty(self) -> Result<File, FileError> {
        let file = self.file.try_clone().map_err(failed("open", &self.target.path()))?;
        self.publish_unsynced().map(|()| file)
    }

    /// Owner, group and mode are those of what it replaces: of what has the name by now, which may be another file, or
    /// have become an input, since this one was begun.
    fn prepare(&mut self) -> Result<std::path::PathBuf, FileError> {
        let path = self.target.path();
        self.old = self.target.take()?;
        keep::owner_and_mode(&self.file, self.old.as_ref().map(|old| &old.facts), &path)
            .map_err(failed("set the mode of", &path))?;
        Ok(path)
    }

    fn explain(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        io::Error::new(kind, failed("write", &self.target.path())(error))
    }
}

/// The same as the file's, with errors that name the output and say what is to be done.
impl Output for PartialFile {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Output::write_at(&self.file, offset, data).map_err(|error| self.explain(error))
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        Output::read_at(&self.file, offset, buffer).map_err(|error| self.explain(error))
    }
    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.file.discard(offset, length).map_err(|error| self.explain(error))
    }
    fn backing(&self) -> Option<(&File, u64)> {
        Some((&self.file, 0))
    }
}

/// Creates a file that nobody else has and locks it. Between the two another run may take it for a leftover: then the
/// lock fails or the file has no name any more, and the next try has another name.
fn create_locked(target: &Target) -> Result<(File, TempPath), FileError> {
    let path = target.path();
    for _ in 0..16 {
        let prefix = target.temporary_prefix();
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(&prefix).suffix(target::SUFFIX);
        let open = |path: &Path| File::options().read(true).write(true).create_new(true).mode(0o600).open(path);
        let made = builder.make_in(&target.directory, open).map_err(failed("create", &path))?;
        let (file, temporary) = made.into_parts();
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => continue,
            // A file system without locks: then nobody can take it for a leftover either.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        if file.metadata().map_err(failed("create", &path))?.nlink() > 0 {
            return Ok((file, temporary));
        }
    }
    Err(failed("create", &path)(io::Error::from(io::ErrorKind::ResourceBusy)))
}

/// A write beyond `ulimit -f` sends SIGXFSZ, whose default is to kill: ignored, it is an error of that write.
fn ignore_file_size_signal() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        use nix::sys::signal::{SigHandler, Signal, signal};
        // SAFETY: ignoring a signal runs no code of ours.
        let ignored = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
        // It cannot fail for this signal; if it did, the limit would kill as it always does.
        _ = ignored;
    });
}
