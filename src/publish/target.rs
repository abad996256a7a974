//! Where an output goes: the directory and the name it will have, and what must not be there already.

use super::FileError;
use super::error::failed;
use crate::disk_lock::lock;
use crate::inputs::{self, FileId};
use nix::errno::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{File, FileType, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// End of a temporary name.
pub const SUFFIX: &str = ".partial";
/// Random characters in a temporary name, between its prefix and its suffix.
pub const RANDOM: usize = 6;
/// Most bytes of a name (NAME_MAX).
const NAME_MAX: usize = 255;
/// Symbolic links the kernel follows before it gives up.
const LINKS_MAX: usize = 40;

/// What an output replaces, kept from being written to until this is dropped.
#[derive(Debug)]
pub struct Taken {
    /// What was there.
    pub facts: Metadata,
    _lock: Option<File>,
}

/// A directory and a name in it.
#[derive(Debug)]
pub struct Target {
    /// The directory, not empty.
    pub directory: PathBuf,
    /// The name, without `/`.
    pub name: OsString,
}

impl Target {
    /// Where the output `path` will lie, symbolic links followed.
    pub fn of(path: &Path) -> Result<Target, FileError> {
        let refuse = |kind| FileError::Kind { kind, path: path.to_owned() };
        if path.as_os_str().as_bytes().ends_with(b"/") {
            return Err(refuse("a directory"));
        }
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(metadata) => return Err(refuse(kind(metadata.file_type()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("use as output", path)(error)),
        }
        let resolved = follow(path).map_err(failed("use as output", path))?;
        let name = resolved.file_name().ok_or_else(|| refuse("a directory"))?.to_owned();
        let directory = match resolved.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Target { directory, name })
    }

    /// The output's path.
    pub fn path(&self) -> PathBuf {
        match self.directory == Path::new(".") {
            true => PathBuf::from(&self.name),
            false => self.directory.join(&self.name),
        }
    }

    /// Takes the place: what is there is no input, and nobody writes to it. `None` where nothing is.
    ///
    /// The lock is a reader's. Who only reads the old file loses nothing when another one gets its name, and two that
    /// write the same output need not wait for each other; a machine that writes to it would go on writing to nothing.
    pub fn take(&self) -> Result<Option<Taken>, FileError> {
        let path = self.path();
        let facts = match std::fs::symlink_metadata(&path) {
            Ok(facts) => Some(facts),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("use as output", &path)(error)),
        };
        if let Some(input) = inputs::hit(&self.directory, facts.as_ref().map(FileId::of)) {
            return Err(FileError::Input { input, path });
        }
        let Some(facts) = facts else { return Ok(None) };
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        // What cannot be opened cannot be locked, and no machine of this user runs from it.
        let file = File::options().read(true).custom_flags(flags).open(&path).ok();
        match file.as_ref().map_or(Ok(()), |file| lock(file, false)) {
            Ok(()) => Ok(Some(Taken { facts, _lock: file })),
            Err(Errno::EWOULDBLOCK) => Err(FileError::InUse(path)),
            Err(errno) => Err(failed("lock", &path)(errno.into())),
        }
    }

    /// Start of the temporary names for this output; a long name is cut so that the temporary one can exist.
    pub fn temporary_prefix(&self) -> OsString {
        let most = NAME_MAX - 2 - RANDOM - SUFFIX.len();
        let name = self.name.as_bytes();
        let mut prefix = OsString::from(".");
        prefix.push(OsStr::from_bytes(&name[..name.len().min(most)]));
        prefix.push(".");
        prefix
    }
}

/// The path behind a chain of symbolic links, whether it exists or not.
pub fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => {
                let link = std::fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(link);
            }
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(nix::errno::Errno::ELOOP.into())
}

pub fn kind(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_block_device() {
        "a block device"
    } else if file_type.is_char_device() {
        "a character device"
    } else if file_type.is_fifo() {
        "a pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "something else"
    }
}

/// The mode bits this process takes from new files. Asking with umask(2) would change it for a moment, for every
/// thread; where /proc does not say, the usual 022.
pub fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0o022)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_stay_below_the_limit() {
        for length in [1, 200, 238, 239, 240, 255] {
            let target = Target { directory: ".".into(), name: "x".repeat(length).into() };
            assert!(target.temporary_prefix().len() + RANDOM + SUFFIX.len() <= NAME_MAX, "{length}");
        }
    }

    #[test]
    fn links_are_followed_to_where_they_end() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        std::os::unix::fs::symlink("sub/b", at("a")).unwrap();
        std::os::unix::fs::symlink("../c.img", at("sub/b")).unwrap();
        let target = Target::of(&at("a")).unwrap();
        assert_eq!(target.path(), at("sub").join("../c.img"));
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        assert!(matches!(Target::of(&at("loop")), Err(FileError::Io { .. })));
    }
}
