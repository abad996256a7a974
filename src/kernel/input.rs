//! A file that is given for a kernel: opened once, however often it is read, so that all that is read of it is one file's.
//!
//! Where keys are given it is copied first, to a file without a name: what is verified is what is read, even if somebody
//! writes to the file meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::KernelError;
use crate::formats::unpack;
use crate::inputs;

/// An open file, and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    path: PathBuf,
    file: Arc<File>,
}

/// Reads an input from its start, apart from all other readers of it.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    file: Arc<File>,
    at: u64,
}

impl Input {
    /// Opens a file. No FIFO is waited for.
    pub(crate) fn open(path: &Path) -> Result<Input, KernelError> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = file.map_err(KernelError::io("open", path))?;
        inputs::note(&file, path);
        Ok(Input { path: path.to_owned(), file: Arc::new(file) })
    }

    /// The same in a file that nobody else can write to.
    pub(crate) fn copied(&self) -> Result<Input, KernelError> {
        let mut copy = tempfile::tempfile().map_err(KernelError::io("write", std::env::temp_dir()))?;
        io::copy(&mut self.reader(), &mut copy).map_err(KernelError::io("read", &self.path))?;
        Ok(Input { path: self.path.clone(), file: Arc::new(copy) })
    }

    /// What it is called.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// A reader of all of it.
    pub(crate) fn reader(&self) -> Reader {
        Reader { file: Arc::clone(&self.file), at: 0 }
    }

    /// Its length in bytes.
    pub(crate) fn size(&self) -> Result<u64, KernelError> {
        self.reader().seek(SeekFrom::End(0)).map_err(KernelError::io("read", &self.path))
    }

    /// Its first bytes, `length` at most.
    pub(crate) fn start(&self, length: u64) -> Result<Vec<u8>, KernelError> {
        let mut bytes = Vec::new();
        self.reader().take(length).read_to_end(&mut bytes).map_err(KernelError::io("read", &self.path))?;
        Ok(bytes)
    }

    /// All of it, if that is no more than `limit` bytes of what is called `what` in errors.
    pub(crate) fn whole(&self, limit: u64, what: &'static str) -> Result<Vec<u8>, KernelError> {
        let bytes = unpack::read_bounded(self.reader(), limit).map_err(KernelError::io("read", &self.path))?;
        bytes.ok_or_else(|| KernelError::TooLarge { what, limit, name: super::error::shown(&self.path) })
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let size = (&*self.file).seek(SeekFrom::End(0))?;
        self.at = crate::output::seek(self.at, size, to)?;
        Ok(self.at)
    }
}
