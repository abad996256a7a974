//! Stored bytes: a file of an OCI layout, or a part of an archive. Only ever a regular file, never through a symbolic
//! link, never read further than its size.

use crate::image::{Descriptor, Digest, Hasher};
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where a blob's bytes are.
#[derive(Clone, Debug)]
pub struct Blob {
    name: Arc<str>,
    place: Place,
    size: u64,
}

#[derive(Clone, Debug)]
enum Place {
    /// A file of its own. Opened when it is read: an image may have more layers than a process may have files open.
    File(PathBuf),
    /// Bytes from `offset` on of an open file.
    Part { file: Arc<File>, offset: u64 },
    /// Bytes that a document carries itself.
    Memory(Arc<[u8]>),
    /// Bytes that are on their way.
    Arriving(Arc<dyn Arriving>),
}

/// A blob that somebody fetches meanwhile. Its digest is computed by whoever fetches it.
pub trait Arriving: Debug + Send + Sync {
    /// Bytes from `at` on, at least one: waits until they are there. `unwanted` tells that nobody waits any more.
    ///
    /// # Errors
    /// When they do not come.
    fn read_at(&self, buffer: &mut [u8], at: u64, unwanted: &dyn Fn() -> bool) -> Result<usize, BlobFault>;

    /// Waits until it is whole.
    ///
    /// # Errors
    /// When it is not what it should be, or does not come.
    fn whole(&self, unwanted: &dyn Fn() -> bool) -> Result<(), BlobFault>;

    /// Whether whoever fetches it compares it with its digest. Otherwise its readers have to.
    fn is_compared(&self) -> bool;

    /// Its content is wrong, where its readers have compared it: whether that was a copy that is gone now.
    fn distrust(&self) -> bool;
}

/// How a layer is stored, as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Not compressed.
    Tar,
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
    /// xz; not decoded.
    Xz,
    /// bzip2; not decoded.
    Bzip2,
    /// LZ4; not decoded.
    Lz4,
}

impl Format {
    /// Bytes that [`Format::of`] wants to see.
    pub const PREFIX: usize = 6;

    /// The format of data that begins with `prefix`. What no magic number tells is taken for a tar.
    pub fn of(prefix: &[u8]) -> Format {
        match prefix {
            [0x1f, 0x8b, ..] => Format::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
            // A skippable frame, which zstd:chunked and pzstd put first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Format::Bzip2,
            [0x04, 0x22, 0x4d, 0x18, ..] => Format::Lz4,
            _ => Format::Tar,
        }
    }

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Tar => "tar",
            Format::Gzip => "gzip",
            Format::Zstd => "zstd",
            Format::Xz => "xz",
            Format::Bzip2 => "bzip2",
            Format::Lz4 => "lz4",
        }
    }
}

/// What is wrong with which blob.
#[derive(Debug, thiserror::Error)]
#[error("{blob}")]
pub struct BlobError {
    /// The blob as messages name it, escaped.
    pub blob: String,
    /// What is wrong.
    #[source]
    pub fault: BlobFault,
}

impl BlobError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        self.fault.hint()
    }
}

/// What is wrong with a blob.
#[derive(Debug, thiserror::Error)]
pub enum BlobFault {
    /// The operating system refused.
    #[error("cannot read it")]
    Io(#[source] io::Error),
    /// Nothing is there.
    #[error("it is missing from the image")]
    Missing,
    /// A directory, a device, a FIFO, a symbolic link.
    #[error("it is not a regular file but {0}")]
    NotRegular(&'static str),
    /// Not as long as it should be, in bytes.
    #[error("its size is {actual} bytes instead of {expected}")]
    Size {
        /// What its descriptor says.
        expected: u64,
        /// What is there.
        actual: u64,
    },
    /// Not the content that was asked for.
    #[error("its content does not match its digest, it has {actual} instead of {expected}")]
    Digest {
        /// What its descriptor says.
        expected: Digest,
        /// What is there.
        actual: Digest,
    },
    /// The decompressed content is not what the configuration names.
    #[error("its uncompressed content does not match its diff_id, it has {actual} instead of {expected}")]
    DiffId {
        /// What the configuration says.
        expected: Digest,
        /// What is there.
        actual: Digest,
    },
    /// The `data` of its descriptor is not base64, or not the content.
    #[error("the data embedded in its descriptor is not its content")]
    EmbeddedData,
    /// The compressed data ends too early.
    #[error("the {} data is cut short", .0.name())]
    CutShort(Format),
    /// The compressed data is not what the format allows.
    #[error("the {format} data is damaged: {1}", format = .0.name())]
    Damaged(Format, String),
    /// zstd data that wants more memory than is given.
    #[error("the zstd data needs a window of more than 128 MiB")]
    Window,
    /// A format that layers do not have.
    #[error("{} compression is not supported", .0.name())]
    Unsupported(Format),
    /// It does not come.
    #[error("it cannot be fetched")]
    Arriving(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A copy that was kept on this machine.
    #[error("the copy in the cache is damaged, and was removed")]
    Kept,
    /// Nobody made so much data after the end of an archive in earnest.
    #[error("more than 1 GiB of data follow the end of the archive in it")]
    Trailing,
}

impl BlobFault {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            BlobFault::Missing | BlobFault::Size { .. } | BlobFault::Digest { .. } | BlobFault::CutShort(_) => {
                Some("the image is damaged or incomplete: save or copy it again")
            }
            BlobFault::NotRegular("a symbolic link") => {
                Some("links are not followed; copy the layout with what they lead to: cp -rL LAYOUT COPY")
            }
            BlobFault::Window => Some("compress it again without --ultra or --long"),
            BlobFault::Kept => Some("run the command once more: it is fetched anew"),
            _ => None,
        }
    }
}

impl Blob {
    /// The regular file at `path`, called `name` (escaped) in messages.
    pub fn file(name: &str, path: PathBuf) -> Result<Blob, BlobError> {
        let found = open_regular(&path);
        match found {
            Ok((_, size)) => Ok(Blob { name: name.into(), place: Place::File(path), size }),
            Err(fault) => Err(BlobError { blob: name.into(), fault }),
        }
    }

    /// `size` bytes of `file` from `offset` on, called `name` (escaped) in messages.
    pub fn part(name: &str, file: Arc<File>, offset: u64, size: u64) -> Blob {
        Blob { name: name.into(), place: Place::Part { file, offset }, size }
    }

    /// These bytes, called `name` (escaped) in messages.
    pub fn memory(name: &str, bytes: Vec<u8>) -> Blob {
        Blob { name: name.into(), size: bytes.len() as u64, place: Place::Memory(bytes.into()) }
    }

    /// `size` bytes that are on their way, called `name` (escaped) in messages.
    pub fn arriving(name: &str, arriving: Arc<dyn Arriving>, size: u64) -> Blob {
        Blob { name: name.into(), place: Place::Arriving(arriving), size }
    }

    fn on_its_way(&self) -> Option<&Arc<dyn Arriving>> {
        match &self.place {
            Place::Arriving(arriving) => Some(arriving),
            _ => None,
        }
    }

    /// Whether its content is compared with its digest before [`Blob::whole`] says that it is whole.
    pub fn is_compared(&self) -> bool {
        self.on_its_way().is_some_and(|arriving| arriving.is_compared())
    }

    /// Waits until all of it is there, unless nobody wants it any more. What is stored is.
    pub fn whole(&self, unwanted: &AtomicBool) -> Result<(), BlobFault> {
        let whole = |arriving: &Arc<dyn Arriving>| arriving.whole(&|| unwanted.load(Ordering::Relaxed));
        self.on_its_way().map_or(Ok(()), whole)
    }

    /// What a wrong digest of it says: that it is wrong, or that a copy which was kept of it was, and is gone now.
    pub fn distrust(&self, fault: BlobFault) -> BlobFault {
        match (&fault, self.on_its_way()) {
            (BlobFault::Digest { .. }, Some(arriving)) if arriving.distrust() => BlobFault::Kept,
            _ => fault,
        }
    }

    /// Its name in messages, escaped.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its length in bytes as found, whatever a descriptor says.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// An error about this blob.
    pub fn error(&self, fault: BlobFault) -> BlobError {
        BlobError { blob: self.name.to_string(), fault }
    }

    /// Opens it for reading from its first byte.
    pub fn open(&self) -> Result<BlobReader, BlobFault> {
        self.open_while(Arc::default())
    }

    /// The same. A reader that waits for what is on its way gives up once it is `unwanted`.
    pub fn open_while(&self, unwanted: Arc<AtomicBool>) -> Result<BlobReader, BlobFault> {
        let (source, offset, size) = match &self.place {
            Place::File(path) => {
                let (file, size) = open_regular(path)?;
                if size != self.size {
                    return Err(BlobFault::Size { expected: self.size, actual: size });
                }
                (Source::File(Arc::new(file)), 0, size)
            }
            Place::Part { file, offset } => (Source::File(Arc::clone(file)), *offset, self.size),
            Place::Memory(bytes) => (Source::Memory(Arc::clone(bytes)), 0, self.size),
            Place::Arriving(arriving) => (Source::Arriving(Arc::clone(arriving)), 0, self.size),
        };
        Ok(BlobReader { source, at: offset, remaining: size, unwanted })
    }

    /// All of it. The caller has looked at its size.
    pub fn read(&self) -> Result<Vec<u8>, BlobFault> {
        let mut bytes = vec![0; self.size as usize];
        let mut reader = self.open()?;
        let mut done = 0;
        while done < bytes.len() {
            match reader.read(&mut bytes[done..])? {
                0 => return Err(BlobFault::Size { expected: self.size, actual: done as u64 }),
                n => done += n,
            }
        }
        Ok(bytes)
    }

    /// All of it, if it is what `descriptor` describes: size, digest, and embedded data if there is any.
    pub fn read_verified(&self, descriptor: &Descriptor) -> Result<Vec<u8>, BlobError> {
        self.check_size(descriptor.size)?;
        let bytes = self.read().map_err(|fault| self.error(fault))?;
        let actual = Hasher::digest(descriptor.digest.algorithm(), &bytes);
        if actual != descriptor.digest {
            return Err(self.error(BlobFault::Digest { expected: descriptor.digest.clone(), actual }));
        }
        Ok(bytes)
    }

    /// Refuses it unless it is as long as its descriptor says.
    pub fn check_size(&self, expected: u64) -> Result<(), BlobError> {
        if self.size != expected {
            return Err(self.error(BlobFault::Size { expected, actual: self.size }));
        }
        Ok(())
    }
}

/// Reads one blob front to back.
pub struct BlobReader {
    source: Source,
    at: u64,
    remaining: u64,
    unwanted: Arc<AtomicBool>,
}

enum Source {
    File(Arc<File>),
    Memory(Arc<[u8]>),
    Arriving(Arc<dyn Arriving>),
}

impl BlobReader {
    /// The next bytes; 0 only at the blob's end. A file that has become shorter meanwhile is an error.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BlobFault> {
        let want = self.remaining.min(buffer.len() as u64) as usize;
        if want == 0 {
            return Ok(0);
        }
        let got = loop {
            let attempt = match &self.source {
                Source::File(file) => file.read_at(&mut buffer[..want], self.at),
                Source::Memory(bytes) => {
                    buffer[..want].copy_from_slice(&bytes[self.at as usize..][..want]);
                    Ok(want)
                }
                Source::Arriving(arriving) => {
                    let unwanted = || self.unwanted.load(Ordering::Relaxed);
                    Ok(arriving.read_at(&mut buffer[..want], self.at, &unwanted)?)
                }
            };
            match attempt {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(BlobFault::Io)?,
            }
        };
        if got == 0 {
            let shrunk = io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read");
            return Err(BlobFault::Io(shrunk));
        }
        self.at += got as u64;
        self.remaining -= got as u64;
        Ok(got)
    }
}

/// Opens a file that must be regular. A FIFO does not block, a symbolic link is not followed.
fn open_regular(path: &std::path::Path) -> Result<(File, u64), BlobFault> {
    let opened =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(BlobFault::NotRegular("a symbolic link"));
        }
        // What open(2) says of a socket.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Err(BlobFault::NotRegular("a socket")),
        Err(error) => return Err(BlobFault::Io(error)),
    };
    let metadata = file.metadata().map_err(BlobFault::Io)?;
    match kind_of(&metadata) {
        None => {
            crate::inputs::note(&file, path);
            Ok((file, metadata.len()))
        }
        Some(kind) => Err(BlobFault::NotRegular(kind)),
    }
}

/// What something is that is no regular file.
fn kind_of(metadata: &std::fs::Metadata) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_fifo() => Some("a FIFO"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}
