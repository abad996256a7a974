//! What is wrong with a volume, and what to do about it.

use super::LEAST_SIZE;
use crate::escape::{escape, os_error, path as shown};
use crate::own_folder::FolderError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a volume cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// It is no name.
    #[error(
        "not a name of a volume, which is a letter or digit and then letters, digits, `_`, `.` and `-`, 2 to 64 in all: {}",
        escape(.0.as_bytes())
    )]
    Name(String),
    /// There is none of that name.
    #[error("no such volume: {0}")]
    Missing(String),
    /// A machine has it.
    #[error("volume is in use by another machine: {0}")]
    InUse(String),
    /// It would lose what is at its end.
    #[error("volume cannot be made smaller than it is, {size} bytes: {name}")]
    Smaller {
        /// Which.
        name: String,
        /// Bytes it has.
        size: u64,
    },
    /// No file system has that size.
    #[error("a volume has at least {LEAST_SIZE} bytes and at most 16 TiB: {0}")]
    Size(u64),
    /// The folder of volumes.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The system refused.
    #[error("cannot {what} {}: {}", shown(.path), os_error(.source))]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl VolumeError {
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeError + use<> {
        let path = path.to_owned();
        move |source| VolumeError::Io { what, path, source }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            VolumeError::Name(_) => "a folder of this host is given as a path: -v ./FOLDER:/PATH".into(),
            VolumeError::Missing(_) => "bootdisk volume list names them".into(),
            VolumeError::InUse(_) => "stop the machine that has it; bootdisk ps lists them".into(),
            VolumeError::Smaller { size, .. } => format!("omit --volume-size, or give {size} or more"),
            VolumeError::Size(_) => "a size is bytes, or with K, M, G, T: 1G".into(),
            VolumeError::Folder(error) => return error.hint(),
            VolumeError::Io { .. } => return None,
        })
    }
}
