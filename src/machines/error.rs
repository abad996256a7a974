//! Why a machine cannot be found or registered.

use crate::escape::escape;
use crate::own_folder::FolderError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a machine cannot be found or registered.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Not a name.
    #[error("not a name for a machine: {}", escape(.0.as_bytes()))]
    Name(String),
    /// Another machine has the name.
    #[error("a machine of this name is running: {0}")]
    InUse(String),
    /// None has the name.
    #[error("no machine of this name: {0}")]
    Unknown(String),
    /// It is there and has ended.
    #[error("the machine has ended: {0}")]
    Ended(String),
    /// No name was given and none runs.
    #[error("no machine is running")]
    None,
    /// No name was given and there are several.
    #[error("which machine? there are {}: {}", .0.len(), .0.join(" "))]
    Several(Vec<String>),
    /// The machine's output went elsewhere.
    #[error("the machine is not detached, its output is where it was started: {0}")]
    NotDetached(String),
    /// The runtime directory could be somebody else's.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The file system refused.
    #[error("cannot use {}: {source}", crate::escape::path(.path))]
    Io {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl MachineError {
    /// What the user can do about it, for the `hint:` line.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            MachineError::Name(_) => {
                "use letters, digits, `_`, `.` and `-`, at most 64 and a letter or digit first".into()
            }
            MachineError::InUse(name) => format!("choose another name, or end it with bootdisk stop {name}"),
            MachineError::Unknown(_) | MachineError::Ended(_) => "bootdisk ps -a lists the machines there are".into(),
            MachineError::None => "start one with bootdisk run -d".into(),
            MachineError::Several(_) => "give its name; bootdisk ps tells more about them".into(),
            MachineError::NotDetached(_) => "only machines started with run -d have a log".into(),
            MachineError::Folder(error @ FolderError::Writable { .. }) => return error.hint(),
            MachineError::Folder(_) => "take a folder of your own: export XDG_RUNTIME_DIR=$(mktemp -d)".into(),
            MachineError::Io { .. } => return None,
        })
    }
}

/// For `map_err`.
pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> MachineError {
    let path = path.to_owned();
    move |source| MachineError::Io { path, source }
}
