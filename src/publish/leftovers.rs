//! Temporary files and their ends: published, given up, or left by a program that was killed.

use super::FileError;
use super::error::failed;
use super::target::{RANDOM, SUFFIX, Target};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempPath;

/// Temporary files of this process that are not in their place yet.
static UNPUBLISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unpublished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    // A set of paths has no state in between that a panic could leave.
    UNPUBLISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers a temporary file, for [`remove_unpublished`].
pub fn note(temporary: &Path) {
    unpublished().insert(temporary.to_owned());
}

/// Removes every temporary file of this process, for the thread that receives SIGINT or SIGTERM. Afterwards no output
/// that was being written can be published any more.
pub fn remove_unpublished() {
    for path in std::mem::take(&mut *unpublished()) {
        // There is nobody left to tell, and the next run removes what stays.
        _ = std::fs::remove_file(path);
    }
}

/// Renames a temporary file to its place, unless it was given up. Under its new name nobody takes it for a leftover, so
/// its lock, which would tell others that it is being written, goes.
pub fn publish(file: &File, temporary: TempPath, path: &Path) -> Result<(), FileError> {
    let mut unpublished = unpublished();
    if !unpublished.remove(&*temporary) {
        return Err(FileError::GivenUp(path.to_owned()));
    }
    temporary.persist(path).map_err(|error| failed("rename to", path)(error.error))?;
    // There are file systems without locks.
    _ = file.unlock();
    Ok(())
}

/// Removes the temporary files of earlier runs for this output: those nobody holds a lock on. What cannot be removed
/// stays; it takes space but no name that anybody needs.
pub fn remove_stale(target: &Target) {
    let prefix = target.temporary_prefix();
    remove_stale_that(&target.directory, |output| output == prefix.as_bytes());
}

/// The same for all outputs in a folder that nobody else writes to.
pub fn remove_stale_in(directory: &Path) {
    remove_stale_that(directory, |output| output.starts_with(b".") && output.ends_with(b"."));
}

/// The same for the outputs whose temporary names have a prefix that `is_meant`.
fn remove_stale_that(directory: &Path, is_meant: impl Fn(&[u8]) -> bool) {
    let is_ours = |name: &[u8]| {
        let rest = name.strip_suffix(SUFFIX.as_bytes()).filter(|rest| rest.len() > RANDOM);
        let parts = rest.map(|rest| rest.split_at(rest.len() - RANDOM));
        parts.is_some_and(|(prefix, random)| is_meant(prefix) && random.iter().all(u8::is_ascii_alphanumeric))
    };
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| is_ours(entry.file_name().as_bytes())) {
        // Locked until the name is gone: its owner, if it has just been created, then sees that it lost the file.
        if entry.file_type().is_ok_and(|file_type| file_type.is_file())
            && let Some(_lock) = lock_abandoned(&entry.path())
        {
            _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The file with its lock, if nobody holds it. A process that ends, however it ends, loses its locks.
fn lock_abandoned(path: &Path) -> Option<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path).ok()?;
    file.try_lock().is_ok().then_some(file)
}
