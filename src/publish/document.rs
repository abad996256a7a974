//! A report, a page or a picture: made whole in memory, written at once.

use super::error::failed;
use super::place::Place;
use super::{FileError, PartialFile};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where a document will go.
#[derive(Debug)]
pub struct Document {
    path: PathBuf,
}

impl Document {
    /// At `path`, which is looked at now, so that nothing is done in vain. `-` is standard output.
    ///
    /// # Errors
    /// When nothing can be written there, or it is an input as far as inputs are known.
    pub fn at(path: &Path) -> Result<Document, FileError> {
        let document = Document { path: path.to_owned() };
        document.check()?;
        Ok(document)
    }

    /// The same again, when more inputs are known.
    ///
    /// # Errors
    /// As [`at`](Self::at).
    pub fn check(&self) -> Result<(), FileError> {
        match Place::of(&self.path)? {
            Place::File(target) => target.take().map(drop),
            _ => Ok(()),
        }
    }

    /// Writes it: a file has all of it or is what it was before.
    ///
    /// # Errors
    /// When it cannot be written whole.
    pub fn write(&self, bytes: &[u8]) -> Result<(), FileError> {
        match Place::of(&self.path)? {
            Place::File(_) => {
                let file = PartialFile::create(&self.path, 0)?;
                file.file().write_all_at(bytes, 0).map_err(failed("write", &self.path))?;
                file.publish()
            }
            stream => {
                let failed = |cause| FileError::Stream { path: self.path.clone(), cause };
                stream.open(&self.path)?.write_all(bytes).map_err(failed)
            }
        }
    }
}
