//! Reading files of an ESP that exists, ours or somebody else's.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

/// Reads whole files of the ESP at `offset` of a disk; none may be longer than `limit` bytes. `None` for a path that
/// is not there.
pub fn read_file(disk: &File, offset: u64, length: u64, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let volume = fatfs::FileSystem::new(
        Volume { disk: disk.try_clone()?, offset, length, position: 0 },
        fatfs::FsOptions::new().update_accessed_date(false),
    )?;
    let root = volume.root_dir();
    let file = match root.open_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("file of more than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// A partition as the FAT crate wants it. Nothing is ever written.
struct Volume {
    disk: File,
    offset: u64,
    length: u64,
    position: u64,
}

impl Read for Volume {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.position).min(buffer.len() as u64) as usize;
        let n = self.disk.read_at(&mut buffer[..left], self.offset + self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Volume {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = crate::output::seek(self.position, self.length, to)?;
        Ok(self.position)
    }
}

impl Write for Volume {
    /// The crate writes on unmounting what it changed; what was only read stays as it is, so there is nothing to take.
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
