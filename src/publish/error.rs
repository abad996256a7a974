//! Why an output cannot be made, and what to do about it.

use super::space::free_bytes;
use crate::escape::{self, os_error};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why an output cannot be made.
#[derive(Debug, Error)]
pub enum FileError {
    /// Something that is not a file.
    #[error("output is {kind}, not a file: {}", escape::path(.path))]
    Kind {
        /// With its article.
        kind: &'static str,
        /// The output.
        path: PathBuf,
    },
    /// A disk is written out of order, and read again.
    #[error("a disk cannot be written to standard output: -")]
    StandardOutput,
    /// The name promises a format that is not written.
    #[error("this name promises {format}, and the disk is not written as that: {}", escape::path(.path))]
    Format {
        /// The format's usual name.
        format: &'static str,
        /// How it is made of a raw disk: a command, with `RAW` and `OUT` for the two files. Empty where none is known.
        convert: &'static str,
        /// The output.
        path: PathBuf,
    },
    /// The output would replace what is read, or be put into it.
    #[error("output would replace what is read ({}): {}", escape::path(.input), escape::path(.path))]
    Input {
        /// The input, as it was opened.
        input: PathBuf,
        /// The output.
        path: PathBuf,
    },
    /// Somebody writes to the file that is to be replaced.
    #[error("disk is in use by a machine or another command that writes to it: {}", escape::path(.0))]
    InUse(PathBuf),
    /// A pipe that nobody has opened for reading.
    #[error("nobody reads the pipe: {}", escape::path(.0))]
    NoReader(PathBuf),
    /// A system call failed.
    #[error("cannot {action} {}: {}", escape::path(.path), reason(.cause, .path))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said. It is part of the sentence, so it is not the error's source.
        cause: io::Error,
    },
    /// What is no file of a file system took no more.
    #[error("cannot write {}: {}", escape::path(.path), os_error(.cause))]
    Stream {
        /// Where to.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// [`super::remove_unpublished`] was faster.
    #[error("output was given up before it was whole: {}", escape::path(.0))]
    GivenUp(PathBuf),
}

impl FileError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            FileError::Kind { kind: "a block device", path } => {
                format!("write a file, check it, then: dd if=disk.img of={} bs=4M conv=fsync", quoted(path))
            }
            FileError::StandardOutput => "give a file, such as -o disk.img; for a file called - give -o ./-".into(),
            FileError::Format { convert, path, .. } => to_convert(convert, path),
            FileError::Input { path, .. } => {
                format!("give the output another name, such as {}", quoted(&another_name(path)))
            }
            FileError::InUse(_) => {
                "bootdisk ps lists running machines, bootdisk stop ends one; or give another name".into()
            }
            FileError::NoReader(path) => format!("read it meanwhile: cat {}", quoted(path)),
            _ => return None,
        })
    }
}

fn to_convert(convert: &str, path: &Path) -> String {
    let stem = path.with_extension("");
    let is_raw = stem.extension().is_some_and(|ending| ending == "img" || ending == "raw");
    let raw = quoted(&if is_raw { stem } else { path.with_extension("img") });
    match convert {
        "" => format!("give -o {raw}"),
        _ => format!("give -o {raw}, then: {}", convert.replace("RAW", &raw).replace("OUT", &quoted(path))),
    }
}

/// In the same folder, unless nothing may be put there.
fn another_name(path: &Path) -> PathBuf {
    let name = Path::new(path.file_name().unwrap_or_default()).with_extension("new");
    match path.parent().filter(|folder| crate::inputs::hit(folder, None).is_none()) {
        Some(folder) => folder.join(name),
        None => std::env::temp_dir().join(name),
    }
}

/// A path as a word of a shell's command line.
fn quoted(path: &Path) -> String {
    let shown = escape::path(path);
    shlex::try_quote(&shown).map(|word| word.into_owned()).unwrap_or(shown)
}

/// The system's reason in our words where the user can do something about it.
fn reason(error: &io::Error, path: &Path) -> String {
    let free = || free_bytes(path).map_or_else(|_| "an unknown number of".to_owned(), |free| free.to_string());
    match error.kind() {
        io::ErrorKind::StorageFull => format!("no space left on its file system, which has {} bytes free", free()),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up".to_owned(),
        io::ErrorKind::FileTooLarge => "larger than this user or this file system allows a file to be".to_owned(),
        _ => os_error(error),
    }
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |cause| FileError::Io { action, path: path.to_owned(), cause }
}
