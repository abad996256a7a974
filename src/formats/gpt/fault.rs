//! What can be wrong with a table, and with where its partitions lie.

use super::MAX_ENTRIES;
use std::fmt;

/// Why a table is not taken. Each sentence goes on from "the partition table".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is none.
    Absent,
    /// The header's own length.
    HeaderSize(u32),
    /// The header's checksum.
    HeaderChecksum,
    /// It is the header of another sector.
    Elsewhere {
        /// The LBA it names.
        says: u64,
        /// The LBA it was read from.
        is: u64,
    },
    /// Bytes of an entry: not 128, 256, 512 and so on.
    EntrySize(u32),
    /// More entries than are read.
    TooMany {
        /// Their number.
        count: u32,
        /// Bytes of each.
        size: u32,
    },
    /// The entries are not on the disk.
    EntriesMissing,
    /// The checksum of the entries.
    EntriesChecksum,
    /// It is whole and says something else than the other.
    Differs,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Absent => f.write_str("is not there"),
            Fault::HeaderSize(size) => write!(f, "has a header of an impossible length: {size} bytes"),
            Fault::HeaderChecksum => f.write_str("has a header with a wrong checksum"),
            Fault::Elsewhere { says, is } => write!(f, "claims to be in sector {says}, but is in sector {is}"),
            Fault::EntrySize(size) => {
                write!(f, "has entries of {size} bytes, where 128, 256, 512 and so on can be")
            }
            Fault::TooMany { count, size } => {
                write!(f, "has {count} entries of {size} bytes, more than {} MiB together", MAX_ENTRIES >> 20)
            }
            Fault::EntriesMissing => f.write_str("has its entries beyond the end of the disk"),
            Fault::EntriesChecksum => f.write_str("has entries with a wrong checksum"),
            Fault::Differs => f.write_str("differs from the one at the start"),
        }
    }
}

impl std::error::Error for Fault {}

/// What is wrong with where partitions lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Two share bytes.
    Overlap(u32, u32),
    /// One ends behind the disk.
    Beyond(u32),
    /// One ends before it begins, or behind every disk.
    Nowhere(u32),
    /// One lies where the table itself does, or behind what it says may be used.
    Unusable(u32),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Overlap(one, other) => write!(f, "partitions {one} and {other} overlap"),
            Problem::Beyond(number) => write!(f, "partition {number} ends beyond the disk"),
            Problem::Nowhere(number) => write!(f, "partition {number} ends before it begins"),
            Problem::Unusable(number) => write!(f, "partition {number} lies outside of what the table allows"),
        }
    }
}
