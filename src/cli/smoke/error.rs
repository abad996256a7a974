//! Why a spec file is not used.

/// Longest spec file, in bytes.
pub const LONGEST: u64 = 1 << 20;
/// Most tests of one file.
pub const MOST: usize = 1000;

/// Why a spec file is not used.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file, escaped.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is too long.
    #[error("spec file is longer than {LONGEST} bytes: {0}")]
    Long(String),
    /// It is not TOML, or what it says is wrong.
    #[error("{path}, {place}: {message}")]
    Wrong {
        /// The file, escaped.
        path: String,
        /// `line N`, or `somewhere`.
        place: String,
        /// One line, printable.
        message: String,
    },
    /// No tests, or too many.
    #[error("{path} has {count} tests, from 1 to {MOST} are run")]
    Count {
        /// The file, escaped.
        path: String,
        /// How many.
        count: usize,
    },
}

impl SpecError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            SpecError::Wrong { .. } | SpecError::Count { .. } => Some(
                "keys are the long names of options: bootdisk test --help lists them, docs/testing.md has an example",
            ),
            SpecError::Read { .. } | SpecError::Long(_) => None,
        }
    }
}
