//! From whatever the input is to a regular file with a tar in it.
//!
//! A regular, uncompressed file is used as it is. Pipes and other streams are copied to an unlinked temporary file in
//! `TMPDIR`, compressed archives are decompressed to one. The copy stops before it fills the file system, and before
//! it begins the first bytes must be those of an archive: `/dev/zero` is refused at once.

use crate::image::{BlobFault, Format, LayerStream};
use crate::inputs;
use crate::source::SourceError;
use crate::source::archive::is_header;
use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that a copy leaves free on the file system of `TMPDIR`.
const RESERVE: u64 = 64 << 20;
/// Bytes between two looks at the free space.
const STRIDE: u64 = 16 << 20;

/// What an input is.
pub enum Opened {
    /// A regular file, perhaps a temporary copy.
    File(File),
    /// A directory, not opened.
    Directory,
}

/// Opens a path. A FIFO waits for its writer, as with every other program.
pub fn open_path(path: &Path) -> Result<Opened, SourceError> {
    let failed = |source| SourceError::Open { path: path.into(), source };
    if path.metadata().map_err(failed)?.is_dir() {
        return Ok(Opened::Directory);
    }
    let file = inputs::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    match () {
        () if metadata.is_dir() => Ok(Opened::Directory),
        () if metadata.is_file() => Ok(Opened::File(file)),
        () => copy_stream(file).map(Opened::File),
    }
}

/// Standard input: used as it is when it is a regular file at its beginning, otherwise copied.
pub fn open_stdin() -> Result<File, SourceError> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(SourceError::Terminal);
    }
    let mut file = File::from(stdin.as_fd().try_clone_to_owned().map_err(SourceError::Read)?);
    inputs::note(&file, Path::new("standard input"));
    let is_file = file.metadata().map_err(SourceError::Read)?.is_file();
    if is_file && file.stream_position().map_err(SourceError::Read)? == 0 {
        return Ok(file);
    }
    copy_stream(file)
}

/// The tar in a regular file: the file itself, or a temporary file with its decompressed content.
pub fn decompressed(file: File) -> Result<File, SourceError> {
    let mut start = [0; 512];
    let length = read_start(&mut ReadFrom { file: &file, at: 0 }, &mut start).map_err(SourceError::Read)?;
    match recognise(&start[..length])? {
        Format::Tar => Ok(file),
        _ => decompress(file),
    }
}

/// The format of an archive that begins with these bytes, if it may be an image's.
fn recognise(start: &[u8]) -> Result<Format, SourceError> {
    match Format::of(start) {
        _ if start.is_empty() => Err(SourceError::Empty),
        format @ (Format::Gzip | Format::Zstd) => Ok(format),
        Format::Tar if is_header(start) => Ok(Format::Tar),
        Format::Tar => Err(SourceError::NotAnArchive),
        other => Err(SourceError::Compression(other)),
    }
}

fn decompress(file: File) -> Result<File, SourceError> {
    let mut stream = LayerStream::decompress(Arc::new(file)).map_err(SourceError::Decompress)?;
    let mut copy = Copy::begin(RESERVE)?;
    // An error ends the loop as the end does; `finish` has it in full.
    while let Ok(bytes) = stream.fill_buf()
        && !bytes.is_empty()
    {
        copy.write(bytes)?;
        let length = bytes.len();
        stream.consume(length);
    }
    stream.finish().map_err(|error| SourceError::Decompress(error.fault))?;
    copy.decompressed()
}

fn copy_stream(mut from: impl Read) -> Result<File, SourceError> {
    let mut buffer = vec![0; 256 << 10];
    let mut length = read_start(&mut from, &mut buffer[..512]).map_err(SourceError::Read)?;
    recognise(&buffer[..length])?;
    let mut copy = Copy::begin(RESERVE)?;
    while length > 0 {
        copy.write(&buffer[..length])?;
        length = read_start(&mut from, &mut buffer).map_err(SourceError::Read)?;
    }
    Ok(copy.file)
}

/// Fills `buffer` as far as the input goes.
fn read_start(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match from.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

struct ReadFrom<'a> {
    file: &'a File,
    at: u64,
}

impl Read for ReadFrom<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// A temporary file that has no name, being written.
struct Copy {
    file: File,
    directory: PathBuf,
    written: u64,
    check_at: u64,
    reserve: u64,
}

impl Copy {
    /// A new file in `TMPDIR` that leaves `reserve` bytes of its file system free.
    fn begin(reserve: u64) -> Result<Copy, SourceError> {
        let directory = std::env::temp_dir();
        match tempfile::tempfile_in(&directory) {
            Ok(file) => Ok(Copy { file, directory, written: 0, check_at: 0, reserve }),
            Err(source) => Err(SourceError::Spool { directory, source }),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        if self.written >= self.check_at {
            self.check_at = self.written + STRIDE;
            self.check_space()?;
        }
        self.file.write_all(bytes).map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull => self.full(),
            _ => SourceError::Spool { directory: self.directory.clone(), source },
        })?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn check_space(&self) -> Result<(), SourceError> {
        let failed = |errno: nix::Error| SourceError::Spool { directory: self.directory.clone(), source: errno.into() };
        let space = nix::sys::statvfs::fstatvfs(&self.file).map_err(failed)?;
        let free = (space.blocks_available() as u64).saturating_mul(space.fragment_size() as u64);
        if free < self.reserve.saturating_add(STRIDE) { Err(self.full()) } else { Ok(()) }
    }

    fn full(&self) -> SourceError {
        SourceError::SpoolFull { directory: self.directory.clone(), copied: self.written }
    }

    /// The file, if what was decompressed into it is a tar.
    fn decompressed(self) -> Result<File, SourceError> {
        let mut start = [0; 512];
        let length = read_start(&mut ReadFrom { file: &self.file, at: 0 }, &mut start).map_err(SourceError::Read)?;
        match recognise(&start[..length])? {
            Format::Tar => Ok(self.file),
            twice => Err(SourceError::Decompress(BlobFault::Damaged(twice, "compressed twice".into()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stops_before_the_file_system_is_full() {
        let free = |copy: &Copy| {
            let space = nix::sys::statvfs::fstatvfs(&copy.file).unwrap();
            space.blocks_available() as u64 * space.fragment_size() as u64
        };
        let mut copy = Copy::begin(0).unwrap();
        copy.write(&[1; 1000]).unwrap();
        copy.reserve = free(&copy);
        copy.write(&[1; 1000]).unwrap();
        // The space is looked at once every so often, not for every write.
        copy.check_at = copy.written;
        let error = copy.write(&[1; 1000]).unwrap_err();
        assert!(matches!(error, SourceError::SpoolFull { copied: 2000, .. }), "{error}");
        assert!(error.hint().unwrap().contains("TMPDIR"));
    }

    #[test]
    fn the_first_bytes_decide() {
        assert!(matches!(recognise(b""), Err(SourceError::Empty)));
        assert!(matches!(recognise(&[0; 512]), Err(SourceError::NotAnArchive)));
        assert!(matches!(recognise(b"BZh91AY&SY"), Err(SourceError::Compression(Format::Bzip2))));
        assert!(matches!(recognise(&[0x1f, 0x8b, 8]), Ok(Format::Gzip)));
        let mut header = tar::Header::new_ustar();
        header.set_cksum();
        assert!(matches!(recognise(header.as_bytes()), Ok(Format::Tar)));
    }
}
