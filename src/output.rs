//! Where disk bytes go: a random-access output that keeps untouched ranges unallocated.
//!
//! Writers of file systems and tables take an [`Output`] as a parameter and never open a file themselves.

use std::fs::File;
use std::io::{self, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex;

/// Where temporary files go that may become as large as a disk: /tmp is memory on many hosts.
pub fn scratch_dir() -> PathBuf {
    std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

/// A random-access output. Ranges that were never written read as zeros.
///
/// Methods take `&self`: a writer may write from several threads, at ranges that do not overlap.
pub trait Output: Send + Sync {
    /// Writes all of `data` at `offset`, both in bytes.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Reads exactly `buffer.len()` bytes at `offset`; what was never written reads as zeros.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Makes `length` bytes at `offset` read as zeros, unallocated where the output can do that.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;
    /// The file that it is, and where in that its byte 0 lies; none where bytes lie elsewhere than their offset says.
    fn backing(&self) -> Option<(&File, u64)> {
        None
    }
}

/// Has a range of one file share its storage with another's: reflink, ioctl_ficlonerange(2). Offsets and length in bytes.
///
/// # Errors
/// The system's: most file systems cannot, and none can across two of them.
pub fn share(from: (&File, u64), to: (&File, u64), length: u64) -> io::Result<()> {
    let range = libc::file_clone_range {
        src_fd: from.0.as_raw_fd().into(),
        src_offset: from.1,
        src_length: length,
        dest_offset: to.1,
    };
    if length == 0 {
        // The call would take it for "to the end".
        return Ok(());
    }
    // SAFETY: both descriptors are open for the call, and the structure outlives it.
    match unsafe { libc::ioctl(to.0.as_raw_fd(), libc::FICLONERANGE, &raw const range) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Where a seek leads in `size` bytes from `position`; before the start is an error, behind the end is not.
pub fn seek(position: u64, size: u64, to: SeekFrom) -> io::Result<u64> {
    match to {
        SeekFrom::Start(at) => Some(at),
        SeekFrom::Current(by) => position.checked_add_signed(by),
        SeekFrom::End(by) => size.checked_add_signed(by),
    }
    .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// A window of another output: a partition of a disk. Offsets are relative to its start.
pub struct Slice<'a> {
    inner: &'a dyn Output,
    start: u64,
}

impl<'a> Slice<'a> {
    /// The part of `inner` from byte `start` on.
    pub fn new(inner: &'a dyn Output, start: u64) -> Self {
        Slice { inner, start }
    }
}

impl Output for Slice<'_> {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write_at(self.start + offset, data)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(self.start + offset, buffer)
    }
    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.inner.discard(self.start + offset, length)
    }
    fn backing(&self) -> Option<(&File, u64)> {
        self.inner.backing().map(|(file, start)| (file, start + self.start))
    }
}

impl Output for File {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        FileExt::write_all_at(self, data, offset)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match FileExt::read_at(self, &mut buffer[done..], offset + done as u64) {
                Ok(0) => {
                    // Past the end of a file that has not been extended yet.
                    buffer[done..].fill(0);
                    break;
                }
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        use nix::fcntl::{FallocateFlags, fallocate};
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let (from, len) = (offset as libc::off_t, length as libc::off_t);
        match fallocate(self, flags, from, len) {
            Ok(()) => Ok(()),
            // A file system without holes: zeros do the same, only larger.
            Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS) => write_zeros(self, offset, length),
            Err(errno) => Err(errno.into()),
        }
    }

    fn backing(&self) -> Option<(&File, u64)> {
        Some((self, 0))
    }
}

fn write_zeros(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let zeros = [0u8; 65_536];
    let end = (offset + length).min(file.metadata()?.len());
    let mut at = offset;
    while at < end {
        let n = (end - at).min(zeros.len() as u64);
        FileExt::write_all_at(file, &zeros[..n as usize], at)?;
        at += n;
    }
    Ok(())
}

/// An output in memory, for small file systems and for tests.
#[derive(Default)]
pub struct Memory(pub Mutex<Vec<u8>>);

impl Output for Memory {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.lock().expect("no writer panics while it holds the lock");
        let end = offset as usize + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(data);
        Ok(())
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.lock().expect("no writer panics while it holds the lock");
        buffer.fill(0);
        let start = (offset as usize).min(bytes.len());
        let n = (bytes.len() - start).min(buffer.len());
        buffer[..n].copy_from_slice(&bytes[start..start + n]);
        Ok(())
    }
    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut bytes = self.0.lock().expect("no writer panics while it holds the lock");
        let end = ((offset + length) as usize).min(bytes.len());
        let start = (offset as usize).min(end);
        bytes[start..end].fill(0);
        Ok(())
    }
}
