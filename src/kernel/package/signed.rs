//! Signatures as they are found in a package or beside it. Whether one is good is judged in `kernel/signature`.

use std::ops::Range;

/// Longest signature accepted, in bytes; OpenPGP's have less than 2 KiB.
pub(in crate::kernel) const MAX: u64 = 64 << 10;
/// Most signatures of one file that are looked at.
pub(in crate::kernel) const MAX_COUNT: usize = 16;

/// How a signature was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum Kind {
    /// OpenPGP signature packets, armoured or not.
    OpenPgp,
    /// RSA, PKCS #1 v1.5, of a SHA-1.
    RsaSha1,
    /// RSA, PKCS #1 v1.5, of a SHA-256.
    RsaSha256,
}

/// A signature that was found with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Signature {
    pub(in crate::kernel) kind: Kind,
    pub(in crate::kernel) bytes: Vec<u8>,
    /// What it covers: these bytes of the file, in this order.
    pub(in crate::kernel) covers: Vec<Range<u64>>,
}
