//! Sizes of disks that were asked for or would have to be.

/// The image does not go onto a disk of that size.
#[derive(Debug, thiserror::Error)]
pub enum SizeError {
    /// And this size would do.
    #[error("image does not fit a disk of {}, it needs {}", suffixed(*.size), suffixed(*.needed))]
    TooSmall {
        /// Bytes asked for.
        size: u64,
        /// Bytes that are enough.
        needed: u64,
    },
    /// By so much that nobody counted to the end.
    #[error("image does not fit a disk of {}, it unpacks to more than {}", suffixed(*.size), suffixed(*.limit))]
    FarTooSmall {
        /// Bytes asked for.
        size: u64,
        /// Bytes counted.
        limit: u64,
    },
    /// No size was asked for and the image is suspiciously large.
    #[error("image unpacks to more than {}", suffixed(*.limit))]
    NeedsSize {
        /// Bytes counted.
        limit: u64,
    },
}

impl SizeError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            SizeError::TooSmall { needed, .. } => {
                let whole = needed.next_multiple_of(1 << 20);
                format!("give --size {}, or omit it", suffixed(whole))
            }
            SizeError::FarTooSmall { .. } => {
                "the image may be a decompression bomb; if not, give a larger --size".into()
            }
            SizeError::NeedsSize { .. } => "if that is intended, give the size of the disk with --size".into(),
        }
    }
}

/// A size as `--size` takes it, never rounded: `512M`, `3G`, `1000`.
fn suffixed(bytes: u64) -> String {
    match bytes.trailing_zeros() {
        30.. if bytes > 0 => format!("{}G", bytes >> 30),
        20..30 => format!("{}M", bytes >> 20),
        _ => bytes.to_string(),
    }
}
