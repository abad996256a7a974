//! Small files of our own folders that are there whole or not at all.
//!
//! ```text
//!  .writing-x7Gk2a   0600, locked   ─ write ─ rename ─▶   NAME
//! ```
//!
//! Who reads NAME has what was there before or what is there now. What a killed program left is removed by the next one that
//! writes there: a file of such a name that nobody has locked. Not for outputs of the user's: those are `publish`'s.

use crate::file_lock::Locked;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use tempfile::NamedTempFile;

/// Start of a temporary name.
const PREFIX: &str = ".writing-";
/// Tries to have a name that nobody takes away.
const TRIES: usize = 16;

/// Puts a file with these bytes in the place of the one at `path`.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_from(folder(path), path, bytes)
}

/// The same, by way of another folder of the same file system.
///
/// # Errors
/// What the system says.
pub fn write_from(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (file, _lock) = written(folder, bytes)?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// The same, and the bytes are on stable storage before they have their name.
///
/// # Errors
/// What the system says.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (file, _lock) = written(folder(path), bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Puts a file where there is none, written by `fill`, which may leave holes. It is on stable storage before it has its name.
///
/// # Errors
/// What `fill` or the system says; [`io::ErrorKind::AlreadyExists`] when somebody else was first.
pub fn make<E: From<io::Error>>(path: &Path, fill: impl FnOnce(&File) -> Result<(), E>) -> Result<(), E> {
    let folder = folder(path);
    sweep(folder);
    let (file, _lock) = create(folder)?;
    fill(file.as_file())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(drop).map_err(|error| error.error.into())
}

/// Puts a file, written by `fill`, which may leave holes, in the place of the one at `path`. It is left to the system when
/// the bytes reach stable storage: for what is looked at before it is believed.
///
/// # Errors
/// What `fill` or the system says.
pub fn make_unsynced<E: From<io::Error>>(path: &Path, fill: impl FnOnce(&File) -> Result<(), E>) -> Result<(), E> {
    let folder = folder(path);
    sweep(folder);
    let (file, _lock) = create(folder)?;
    fill(file.as_file())?;
    file.persist(path).map(drop).map_err(|error| error.error.into())
}

/// Removes what killed programs left in a folder.
pub fn sweep(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let left = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    left.for_each(|entry| remove_abandoned(&entry.path()));
}

/// Removes a file that nobody has locked. It is locked until its name is gone: whoever has just made it sees that it was
/// lost.
fn remove_abandoned(path: &Path) {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path);
    if let Some(_lock) = file.ok().and_then(|file| Locked::alone(file).ok()) {
        // What stays takes little room, and no name that anybody needs.
        _ = std::fs::remove_file(path);
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn written(folder: &Path, bytes: &[u8]) -> io::Result<(NamedTempFile, Option<Locked>)> {
    sweep(folder);
    let (mut file, lock) = create(folder)?;
    file.write_all(bytes)?;
    Ok((file, lock))
}

/// A new file and its lock. Before it has one another program may take it for abandoned, and then there is another.
fn create(folder: &Path) -> io::Result<(NamedTempFile, Option<Locked>)> {
    for _ in 0..TRIES {
        let file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder)?;
        let lock = match Locked::alone(file.as_file().try_clone()?) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // On a file system without locks nobody takes it for abandoned either.
            lock => lock.ok(),
        };
        if file.as_file().metadata()?.nlink() > 0 {
            return Ok((file, lock));
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_program_left_goes_with_the_next_write_and_what_is_being_written_stays() {
        type Write = fn(&Path, &[u8]) -> io::Result<()>;
        let from: Write = |path, bytes| write_from(path.parent().unwrap(), path, bytes);
        for write in [write as Write, write_synced, from] {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            std::fs::write(at(".writing-killed"), b"half").unwrap();
            let meanwhile = File::create(at(".writing-others")).unwrap();
            let _lock = Locked::alone(meanwhile).unwrap();
            symlink("elsewhere", at(".writing-link")).unwrap();
            std::fs::create_dir(at(".writing-folder")).unwrap();
            std::fs::write(at("others"), b"as it was").unwrap();
            for text in ["first", "second"] {
                write(&at("name"), text.as_bytes()).unwrap();
                assert_eq!(std::fs::read_to_string(at("name")).unwrap(), text);
            }
            assert_eq!(names(dir.path()), [".writing-folder", ".writing-link", ".writing-others", "name", "others"]);
            assert_eq!(at("name").metadata().unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn many_that_write_one_file_at_once_leave_one_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name");
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                let path = &path;
                scope.spawn(move || (0..50).for_each(|_| write(path, &[b'a' + writer; 3000]).unwrap()));
            }
        });
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.len() == 3000 && bytes.iter().all(|byte| *byte == bytes[0]));
        assert_eq!(names(dir.path()), ["name"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert_eq!(write(Path::new("/nowhere/name"), b"").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
