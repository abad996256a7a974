//! Why there is no added layer. No error has a word of what a file, a key or a hash says.

use crate::contents::of_image::ImageError;
use crate::escape;
use std::io;
use std::path::Path;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Something is not as it must be.
    #[error("{message}")]
    Refused {
        /// What, where and why, printable.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The system refuses.
    #[error("{doing}")]
    Io {
        /// What was being done, printable.
        doing: String,
        /// Why not.
        source: io::Error,
    },
}

impl AddError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            AddError::Refused { hint, .. } => Some(hint.clone()),
            _ => None,
        }
    }

    pub(super) fn refused(message: impl Into<String>, hint: impl Into<String>) -> AddError {
        AddError::Refused { message: message.into(), hint: hint.into() }
    }

    /// For what happens to a file of this host.
    pub(super) fn at(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> AddError {
        let doing = format!("cannot {doing} {}", escape::path(path));
        |source| AddError::Io { doing, source }
    }
}
