//! Why a layer cannot be read, and where.

use crate::escape::escape;
use std::fmt;
use std::io;

/// An error of the layer reader with its place.
#[derive(Debug)]
pub struct Error {
    /// Byte offset in the uncompressed layer: of the block or body that is wrong.
    pub offset: u64,
    /// The entry it belongs to, when its name is known. Raw bytes; [`fmt::Display`] escapes them.
    pub entry: Option<Box<[u8]>>,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ErrorKind {
    #[error("cannot read the layer")]
    Read(#[source] io::Error),
    #[error("cannot store the file's data")]
    Store(#[source] io::Error),
    #[error("the layer ends in the middle of {0}")]
    Truncated(&'static str),
    #[error("not a tar header: the checksum does not match")]
    Checksum,
    #[error("the archive goes on after a single block of zeros")]
    DataAfterZeroBlock,
    #[error("the archive ends after an extension header that has no member")]
    OrphanExtension,
    #[error("two extension headers of the same kind before one member: '{}'", escape(&[*.0]))]
    RepeatedExtension(u8),
    #[error("a PAX record and a GNU extension header both give the {0}")]
    TwoNames(&'static str),
    #[error("a GNU extension header without a name in it")]
    EmptyLongName,
    #[error("an extension header of type '{}' where a member is needed", escape(&[*.0]))]
    MisplacedExtension(u8),
    #[error("unsupported member type: '{}'", escape(&[*.0]))]
    Unsupported(u8),
    #[error("unsupported file type: {}", escape(.0))]
    FileType(Box<[u8]>),
    #[error("{field} is not a number: {}", escape(.value))]
    NotANumber { field: &'static str, value: Box<[u8]> },
    #[error("{field} is out of range: {value}")]
    OutOfRange { field: &'static str, value: i128 },
    #[error("a PAX record has a wrong length: {}", escape(.0))]
    RecordLength(Box<[u8]>),
    #[error("a global header sets a record that belongs to one file: {}", escape(.0))]
    GlobalRecord(Box<[u8]>),
    #[error("a NUL byte in the {0}")]
    Nul(&'static str),
    #[error("a multi-volume archive: {}", escape(.0))]
    MultiVolume(Box<[u8]>),
    #[error("only regular files have a body, but the size of this {what} is {size}")]
    BodyNotAllowed { what: &'static str, size: u64 },
    #[error("a symbolic link or hard link without a target")]
    NoTarget,
    #[error("the target of a symbolic link has {0} bytes, more than 4095")]
    TargetTooLong(usize),
    #[error("an extended attribute without a valid name: {}", escape(.0))]
    XattrName(Box<[u8]>),
    #[error("an extended attribute whose value is not base64: {}", escape(.0))]
    Base64(Box<[u8]>),
    #[error("an access control list that cannot be read: {}", escape(.0))]
    Acl(Box<[u8]>),
    #[error("a sparse file whose map {0}")]
    Sparse(&'static str),
    #[error("a file larger than the limit of {limit} bytes: {size}")]
    FileTooLarge { size: u64, limit: u64 },
    #[error("an extension header larger than the limit of {limit} bytes: {size}")]
    ExtensionTooLarge { size: u64, limit: u64 },
    #[error("more extension headers before one member than the limit of {0}")]
    TooManyExtensions(u32),
    #[error("a sparse map with more entries than the limit of {0}")]
    SparseMapTooLong(usize),
}

impl ErrorKind {
    /// Whether the layer is refused for its size, not for being wrong.
    pub fn is_limit(&self) -> bool {
        matches!(
            self,
            ErrorKind::FileTooLarge { .. }
                | ErrorKind::ExtensionTooLarge { .. }
                | ErrorKind::TooManyExtensions(_)
                | ErrorKind::SparseMapTooLong(_)
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(name) => write!(f, "entry \"{}\" at byte {}: {}", escape(name), self.offset, self.kind),
            None => write!(f, "at byte {}: {}", self.offset, self.kind),
        }
    }
}

impl std::error::Error for Error {
    // The kind is part of the message; what it was caused by follows.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.kind)
    }
}
