//! What can be wrong with a root file system that is in no image.

use std::io;
use std::path::PathBuf;

/// Why a root file system cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// Something of a folder cannot be read.
    #[error("cannot read {}", crate::escape::path(.path))]
    Read {
        /// Below the folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is not what it was when it was looked at.
    #[error("it changed while it was being read: {}", crate::escape::path(.0))]
    Changed(PathBuf),
    /// The tar is damaged, or has no one meaning.
    #[error(transparent)]
    Tar(#[from] crate::layer::Error),
    /// Folders in folders without end.
    #[error("folders are nested more than {0} deep")]
    Depth(usize),
    /// Another thing of which the form is known: an image.
    #[error("this is {found}, not a root file system")]
    Other {
        /// What it is, with its article, escaped.
        found: String,
        /// What takes it.
        hint: Option<String>,
    },
    /// Nothing is in it.
    #[error("it is empty")]
    Nothing,
}

impl RootfsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let fixed = match self {
            RootfsError::Other { hint, .. } => return hint.clone(),
            RootfsError::Changed(_) => "wait until nobody writes to it, or take a copy: cp -a DIR COPY",
            RootfsError::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "read it as its owner, who packs it: sudo tar -C DIR -c . | bootdisk build rootfs:- -o DISK"
            }
            RootfsError::Tar(_) => "see whether tar can read it: tar -tvf FILE",
            _ => return None,
        };
        Some(fixed.into())
    }
}
