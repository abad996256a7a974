//! From whatever the input is to a regular file with a tar in it.
//!
//! A regular, uncompressed file is used as it is. Pipes and other streams are copied to an unlinked temporary file in
//! `TMPDIR`, compressed archives are decompressed to one. The copy stops before it fills the file system, and before
//! it begins the first bytes must be those of an archive: `/dev/zero` is refused at once.

use crate::escape::os_error;
use crate::formats::{read_start, unpack};
use crate::holes::is_zero;
use crate::image::{BlobFault, Format, LayerStream};
use crate::recognise::{self, Kind, START};
use crate::source::{SourceError, refused};
use crate::{inputs, once};
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that a copy leaves free on the file system of `TMPDIR`.
const RESERVE: u64 = 64 << 20;
/// Bytes between two looks at the free space.
const STRIDE: u64 = 16 << 20;

/// Bytes copied at a time.
const BUFFER: usize = 256 << 10;

/// Bytes in which the header of a tar's first member is.
const BLOCK: usize = 512;

/// Bytes that this process has copied.
static COPIED: AtomicU64 = AtomicU64::new(0);

/// Bytes of streams and packed archives that have been copied so far: whoever waits for an image may be told.
pub fn copied() -> u64 {
    COPIED.load(Ordering::Relaxed)
}

/// What a stream is read as.
const READ_AS: &str = "the image";

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
    let facts = path.metadata().map_err(failed)?;
    if facts.is_dir() {
        return Ok(Opened::Directory);
    }
    // A pipe that has been read has nobody at its other end, and opening it would wait for somebody.
    if let Some(copy) = once::copy_of(&facts) {
        return Ok(Opened::File(copy));
    }
    if !facts.is_file() {
        once::claim(&facts, READ_AS).map_err(failed)?;
    }
    let file = inputs::open(path).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    match () {
        () if facts.is_dir() => Ok(Opened::Directory),
        () if facts.is_file() => Ok(Opened::File(file)),
        () => copy_kept(file, &facts).map(Opened::File),
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
    let facts = file.metadata().map_err(SourceError::Read)?;
    if facts.is_file() && file.stream_position().map_err(SourceError::Read)? == 0 {
        return Ok(file);
    }
    if let Some(copy) = once::copy_of(&facts) {
        return Ok(copy);
    }
    once::claim(&facts, READ_AS).map_err(SourceError::Read)?;
    copy_kept(file, &facts)
}

/// Copies a stream and keeps the copy: an image may be opened once for each of several kernels.
fn copy_kept(stream: File, facts: &Metadata) -> Result<File, SourceError> {
    let copy = copy_stream(stream)?;
    once::keep(facts, &copy);
    Ok(copy)
}

/// The tar in a regular file: the file itself, or a temporary file with its decompressed content.
pub fn decompressed(file: File, path: Option<&Path>) -> Result<File, SourceError> {
    let packed = format(recognise::file(&file).map_err(SourceError::Read)?).map_err(|kind| refused(kind, path))?;
    if packed == Format::Tar {
        return Ok(file);
    }
    let check = |kind: Kind| match kind {
        Kind::Tar(_) => Ok(()),
        inner => Err(refused(Kind::Packed(packed, Some(Box::new(inner))), path)),
    };
    let file = decompress(file, packed, &check)?;
    check(recognise::file(&file).map_err(SourceError::Read)?)?;
    Ok(file)
}

/// Refuses what no image can be.
type Check<'a> = &'a dyn Fn(Kind) -> Result<(), SourceError>;

/// How an archive is packed that may be an image's, as far as its first bytes tell; else what it is.
fn format(kind: Kind) -> Result<Format, Kind> {
    match kind {
        Kind::Tar(_) => Ok(Format::Tar),
        Kind::Packed(format, inner) if matches!(inner.as_deref(), None | Some(Kind::Tar(_))) => Ok(format),
        other => Err(other),
    }
}

/// Decompresses a file, unless its beginning is that of something else: a bomb need not be seen to its end.
fn decompress(file: File, format: Format, check: Check<'_>) -> Result<File, SourceError> {
    match format {
        // With a decoder of our own, and checked beside it.
        Format::Gzip | Format::Zstd => decompress_as_a_layer(file, check),
        _ => decompress_plainly(&file, format, check),
    }
}

fn decompress_as_a_layer(file: File, check: Check<'_>) -> Result<File, SourceError> {
    let mut stream = LayerStream::decompress(Arc::new(file)).map_err(SourceError::Decompress)?;
    let mut copy = Copy::begin()?;
    // An error ends the loop as the end does; `finish` has it in full.
    while let Ok(bytes) = stream.fill_buf()
        && !bytes.is_empty()
    {
        if copy.written == 0 && bytes.len() >= BLOCK {
            check(recognise::start(&bytes[..bytes.len().min(START)]))?;
        }
        copy.write(bytes)?;
        let length = bytes.len();
        stream.consume(length);
    }
    stream.finish().map_err(|error| SourceError::Decompress(error.fault))?;
    copy.into_file()
}

fn decompress_plainly(file: &File, format: Format, check: Check<'_>) -> Result<File, SourceError> {
    let failed = |error: io::Error| {
        SourceError::Decompress(match error.kind() {
            io::ErrorKind::UnexpectedEof => BlobFault::CutShort(format),
            _ => BlobFault::Damaged(format, os_error(&error)),
        })
    };
    // By its own place in the file: the file's may be another process's too.
    let input = BufReader::with_capacity(BUFFER, FromStart { file, at: 0 });
    let mut reader = unpack::reader(input).map_err(failed)?;
    let mut copy = Copy::begin()?;
    let mut buffer = vec![0; BUFFER];
    let mut length = read_start(&mut reader, &mut buffer[..START]).map_err(failed)?;
    check(recognise::start(&buffer[..length]))?;
    while length > 0 {
        copy.write(&buffer[..length])?;
        length = read_start(&mut reader, &mut buffer).map_err(failed)?;
    }
    copy.into_file()
}

/// A file from its first byte on, wherever it stands.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Copies a stream that must be an archive, to its end.
pub(super) fn copy_stream(mut from: impl Read) -> Result<File, SourceError> {
    let mut buffer = vec![0; BUFFER];
    let mut length = read_start(&mut from, &mut buffer[..START]).map_err(SourceError::Read)?;
    format(recognise::start(&buffer[..length])).map_err(|kind| refused(kind, None))?;
    let mut copy = Copy::begin()?;
    while length > 0 {
        copy.write(&buffer[..length])?;
        length = read_start(&mut from, &mut buffer).map_err(SourceError::Read)?;
    }
    copy.into_file()
}

/// A temporary file that has no name, being written.
pub(super) struct Copy {
    file: File,
    directory: PathBuf,
    written: u64,
    check_at: u64,
    reserve: u64,
}

impl Copy {
    /// A new file in `TMPDIR`.
    pub(super) fn begin() -> Result<Copy, SourceError> {
        let directory = std::env::temp_dir();
        match tempfile::tempfile_in(&directory) {
            Ok(file) => Ok(Copy { file, directory, written: 0, check_at: 0, reserve: RESERVE }),
            Err(source) => Err(SourceError::Spool { directory, source }),
        }
    }

    /// What was written.
    pub(super) fn into_file(self) -> Result<File, SourceError> {
        // Zeros at the end are not written yet.
        match self.file.set_len(self.written) {
            Ok(()) => Ok(self.file),
            Err(source) => Err(SourceError::Spool { directory: self.directory, source }),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        if self.written >= self.check_at {
            self.check_at = self.written + STRIDE;
            self.check_space()?;
        }
        // Zeros need no space: an archive of them is told to be none as soon as it is read.
        let written = match is_zero(bytes) {
            true => self.file.seek_relative(bytes.len() as i64),
            false => self.file.write_all(bytes),
        };
        written.map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull => self.full(),
            _ => SourceError::Spool { directory: self.directory.clone(), source },
        })?;
        self.written += bytes.len() as u64;
        COPIED.fetch_add(bytes.len() as u64, Ordering::Relaxed);
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
        let mut copy = Copy { reserve: 0, ..Copy::begin().unwrap() };
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
    fn zeros_of_a_copy_are_there_and_take_no_space() {
        use std::os::unix::fs::MetadataExt;
        let mut copy = Copy::begin().unwrap();
        for bytes in [&[0; 100_000][..], b"data", &[0; 1 << 20], &[0; 4096]] {
            copy.write(bytes).unwrap();
        }
        let file = copy.into_file().unwrap();
        let facts = file.metadata().unwrap();
        assert!(facts.len() == 100_004 + (1 << 20) + 4096 && facts.blocks() * 512 < 100_000, "{facts:?}");
        let mut data = [0; 6];
        file.read_exact_at(&mut data, 99_999).unwrap();
        assert_eq!(&data, b"\0data\0");
    }

    #[test]
    fn the_first_bytes_decide() {
        let of = |bytes: &[u8]| format(recognise::start(bytes));
        assert_eq!(of(b""), Err(Kind::Empty));
        assert_eq!(of(&[0; 512]), Err(Kind::Zeros));
        // What begins with more than can be looked into may be an archive.
        for (bytes, format) in [
            (&[0x1f, 0x8b, 8][..], Format::Gzip),
            (b"BZh91AY&SY", Format::Bzip2),
            (b"\xfd7zXZ\0", Format::Xz),
            (&[4, 0x22, 0x4d, 0x18], Format::Lz4),
        ] {
            assert_eq!(of(bytes), Ok(format));
        }
        let mut header = tar::Header::new_ustar();
        header.set_cksum();
        assert_eq!(of(header.as_bytes()), Ok(Format::Tar));
    }
}
