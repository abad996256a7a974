//! What is wrong with a program.

use crate::escape::escape;
use thiserror::Error;

/// Why a file is no program that is understood, or none that takes another section. Each goes on from the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// No PE file, or one that is not of 32 or 64 bits.
    #[error("is not an EFI program")]
    NoProgram,
    /// It ends within its headers.
    #[error("ends within its headers")]
    Short,
    /// More than the format allows.
    #[error("has more sections than the 96 that a program may have: {0}")]
    Sections(usize),
    /// Alignments that are no power of two, or too large.
    #[error("has an alignment that no program has")]
    Alignment,
    /// A section's body is not in the file.
    #[error("ends before the end of its section {}", escape(.0.as_bytes()))]
    Beyond(String),
    /// Two sections share bytes, in the file or in memory.
    #[error("has sections that overlap: {} and {}", escape(.0.as_bytes()), escape(.1.as_bytes()))]
    Overlap(String, String),
    /// A section begins within the headers.
    #[error("has a section within its headers: {}", escape(.0.as_bytes()))]
    InHeaders(String),
    /// Its headers end where bodies begin.
    #[error("has no room in its headers for another section")]
    NoRoom,
    /// What is changed is not what was signed.
    #[error("is signed, and would not be any more")]
    Signed,
    /// A name that is too long, or empty.
    #[error("cannot have a section of this name: {}", escape(.0.as_bytes()))]
    Name(String),
    /// Larger than the format has numbers for.
    #[error("would be larger than 4 GiB")]
    TooLarge,
    /// Sections that are to go have others behind them.
    #[error("has sections of somebody else's behind those of a unified kernel image: {}", escape(.0.as_bytes()))]
    Behind(String),
}
