//! Why a layer cannot be applied, and where.

use crate::escape::escape;
use crate::layer;
use crate::rootfs::tree::TreeError;

/// Why a layer cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The archive itself is wrong, or its stream or the sink failed.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// An entry breaks a rule or a limit.
    #[error("entry \"{}\" at byte {offset}: {refusal}", escape(.entry))]
    Refused {
        /// The entry's name, raw.
        entry: Vec<u8>,
        /// Byte offset of its header in the uncompressed layer.
        offset: u64,
        /// The rule.
        refusal: Refusal,
    },
}

impl ApplyError {
    /// Whether the image is refused for its size, not for being wrong.
    pub fn is_limit(&self) -> bool {
        match self {
            ApplyError::Layer(error) => error.kind.is_limit(),
            ApplyError::Refused { refusal, .. } => refusal.is_limit(),
        }
    }
}

/// A rule or a limit that an entry breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Refusal {
    #[error("path leaves the image")]
    LeavesImage,
    #[error("an entry without a name")]
    NoName,
    #[error("the root of the image must be a directory")]
    RootNotDirectory,
    #[error("a whiteout of no name")]
    WhiteoutName,
    #[error("more than {0} symbolic links in its path")]
    TooManySymlinks(u32),
    #[error("a symbolic link in its path does not lead to a directory")]
    NotADirectory,
    #[error("a hard link to a missing file: {}", escape(.0))]
    LinkTargetMissing(Vec<u8>),
    #[error("a hard link to a directory: {}", escape(.0))]
    LinkToDirectory(Vec<u8>),
    #[error("a hard link to itself")]
    LinkToItself,
    #[error("{0}")]
    Name(#[from] TreeError),
    #[error("more names for one file than the limit of {0}")]
    Links(u32),
    #[error("more files than the limit of {0}")]
    Names(u32),
    #[error("more bytes of files than the limit of {0}")]
    FileBytes(u64),
    #[error("more bytes of names, link targets and extended attributes than the limit of {0}")]
    TextBytes(u64),
    #[error("more steps through symbolic links in one layer than the limit of {0}")]
    LinkSteps(u64),
}

impl Refusal {
    /// Whether it is about size, not about being wrong.
    pub fn is_limit(&self) -> bool {
        matches!(
            self,
            Refusal::Links(_)
                | Refusal::Names(_)
                | Refusal::FileBytes(_)
                | Refusal::TextBytes(_)
                | Refusal::LinkSteps(_)
                | Refusal::Name(TreeError::Full)
        )
    }
}
