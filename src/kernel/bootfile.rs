//! The boot file of a bundle: the bytes a boot loader loads, in memory or still in a file of the store.

use std::borrow::Cow;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::KernelError;
use crate::formats::unpack;
use crate::hex::hex;
use crate::inputs;
use crate::large;

/// Longest boot file accepted, in bytes.
pub const MAX: u64 = 256 << 20;

/// A kernel image.
#[derive(Clone, Debug)]
pub enum BootFile {
    /// Read already.
    Memory(Vec<u8>),
    /// A file of the store: read, and checked against its checksum, when it is needed.
    Stored {
        /// Where it is.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
        /// CRC-32C of its bytes.
        crc32c: u32,
        /// SHA-256 of its bytes, in hexadecimal.
        sha256: String,
        /// The store entry it belongs to.
        id: String,
    },
}

impl BootFile {
    /// All of its bytes.
    pub fn read(&self) -> Result<Cow<'_, [u8]>, KernelError> {
        match self {
            BootFile::Memory(bytes) => Ok(Cow::Borrowed(bytes)),
            BootFile::Stored { path, size, crc32c, id, .. } => {
                let file = inputs::open(path).map_err(KernelError::io("open", path))?;
                let buffer = large::buffer((*size).min(MAX) as usize + 1);
                let bytes = unpack::read_into(buffer, file, *size).map_err(KernelError::io("read", path))?;
                let bytes = bytes.unwrap_or_default();
                if bytes.len() as u64 != *size || crc32c::crc32c(&bytes) != *crc32c {
                    let reason = "its boot file has changed".to_owned();
                    return Err(KernelError::Damaged { reason, id: id.clone() });
                }
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// Its first bytes, `length` at most. Not checked against anything.
    pub(crate) fn prefix(&self, length: usize) -> Result<Vec<u8>, KernelError> {
        self.range(0, length)
    }

    /// Bytes from `offset` on, `length` at most. Not checked against anything.
    pub(crate) fn range(&self, offset: u64, length: usize) -> Result<Vec<u8>, KernelError> {
        match self {
            BootFile::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes[start..bytes.len().min(start.saturating_add(length))].to_vec())
            }
            BootFile::Stored { path, .. } => {
                let file = inputs::open(path).map_err(KernelError::io("open", path))?;
                let (mut bytes, mut have) = (vec![0; length], 0);
                while have < length {
                    match file.read_at(&mut bytes[have..], offset + have as u64) {
                        Ok(0) => break,
                        Ok(n) => have += n,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(KernelError::io("read", path)(error)),
                    }
                }
                bytes.truncate(have);
                Ok(bytes)
            }
        }
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            BootFile::Memory(bytes) => bytes.len() as u64,
            BootFile::Stored { size, .. } => *size,
        }
    }

    /// SHA-256 of its bytes, in hexadecimal: the kernel's share in a disk's identity. Known at once for a stored one.
    pub fn sha256(&self) -> String {
        match self {
            BootFile::Memory(bytes) => sha256(bytes),
            BootFile::Stored { sha256, .. } => sha256.clone(),
        }
    }
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}
