//! Pipes and sockets, standard input among them, which can be read once.
//!
//! Whoever reads one says as what. A second reader would find nothing, or wait for ever: it is told who was first, or gets
//! the copy that the first has kept. Regular files can be read again and are not noted; devices have no end to be at.

use crate::inputs;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// A stream that was read.
struct Stream {
    id: Id,
    read_as: &'static str,
    copy: Option<File>,
}

/// Which stream it is. The inode of a FIFO that was removed may be the next one's, but not the moment it was made.
#[derive(PartialEq, Eq)]
struct Id {
    device: u64,
    inode: u64,
    /// `None` for what is on no disk, such as a shell's pipes, whose inodes are never used again.
    made: Option<SystemTime>,
}

impl Id {
    fn of(facts: &Metadata) -> Id {
        Id { device: facts.dev(), inode: facts.ino(), made: facts.created().ok() }
    }
}

static READ: Mutex<Vec<Stream>> = Mutex::new(Vec::new());

/// A stream that has been read already.
#[derive(Debug, thiserror::Error)]
#[error("it is a stream, and was already read as {0}")]
pub struct Taken(&'static str);

impl Taken {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        "save it to a file first, and name that: cat > FILE"
    }

    /// The one in an error of the system's type, if that is its cause.
    pub fn of(error: &io::Error) -> Option<&Taken> {
        error.get_ref()?.downcast_ref()
    }
}

/// Standard input's facts.
pub fn stdin() -> io::Result<Metadata> {
    File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata()
}

/// Opens a file that will be read once, to its end; `-` is standard input.
///
/// # Errors
/// [`Taken`] for a stream that has been read already.
pub fn open(path: &Path, read_as: &'static str) -> io::Result<File> {
    if path == Path::new("-") {
        claim(&stdin()?, read_as)?;
        return Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?));
    }
    // Before it is opened: opening a pipe that has no writer any more waits for another.
    claim(&path.metadata()?, read_as)?;
    inputs::open(path)
}

/// Notes that a file is read now.
///
/// # Errors
/// As [`open`].
pub fn claim(facts: &Metadata, read_as: &'static str) -> io::Result<()> {
    let kind = facts.file_type();
    if !kind.is_fifo() && !kind.is_socket() {
        return Ok(());
    }
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(first) = read.iter().find(|stream| stream.id == Id::of(facts)) {
        return Err(io::Error::other(Taken(first.read_as)));
    }
    read.push(Stream { id: Id::of(facts), read_as, copy: None });
    Ok(())
}

/// Keeps what was read from a stream, or from where a file stood, for those who read it again as the same.
pub fn keep(facts: &Metadata, copy: &File) {
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    // Without a copy the next reader is told that it has been read.
    let copy = copy.try_clone().ok();
    match read.iter_mut().find(|stream| stream.id == Id::of(facts)) {
        Some(stream) => stream.copy = copy,
        None => read.push(Stream { id: Id::of(facts), read_as: "a file", copy }),
    }
}

/// What was read from a stream before.
pub fn copy_of(facts: &Metadata) -> Option<File> {
    let read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    read.iter().find(|stream| stream.id == Id::of(facts))?.copy.as_ref()?.try_clone().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_stream_is_read_once_and_a_file_as_often_as_need_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"text").unwrap();
        for _ in 0..2 {
            let mut text = String::new();
            open(&file, "the environment").unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "text");
            open(Path::new("/dev/null"), "the environment").unwrap();
        }
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"A=1\n").unwrap();
        drop(writer);
        let reader = File::from(std::os::fd::OwnedFd::from(reader));
        let facts = reader.metadata().unwrap();
        claim(&facts, "the image").unwrap();
        assert!(copy_of(&facts).is_none());
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let error = open(Path::new(&path), "the environment").unwrap_err();
        assert_eq!(error.to_string(), "it is a stream, and was already read as the image");
        assert!(Taken::of(&error).is_some());
        keep(&facts, &File::open(&file).unwrap());
        let mut text = String::new();
        copy_of(&facts).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
    }
}
