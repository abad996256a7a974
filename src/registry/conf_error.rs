//! Why a file about registries cannot be used, or keeps us from one.

use crate::escape::{escape, path as shown};
use std::io;
use std::path::PathBuf;

/// A file that cannot be used, or that says no.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// It cannot be read.
    #[error("cannot read {}", shown(.path))]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("cannot read {}: {}", shown(.path), escape(.why.as_bytes()))]
    Form {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A registry that nobody is to use.
    #[error("{} is blocked in {}", escape(.prefix.as_bytes()), shown(.path))]
    Blocked {
        /// What is blocked.
        prefix: String,
        /// The file that says so.
        path: PathBuf,
    },
}

impl ConfError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ConfError::Blocked { path, prefix } => {
                Some(format!("see who wants that: grep -n -A3 '{}' {}", escape(prefix.as_bytes()), shown(path)))
            }
            _ => None,
        }
    }
}
