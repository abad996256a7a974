//! Digests of what was written: SHA-256, in hexadecimal.

use crate::output::Output;
use sha2::{Digest, Sha256};
use std::io;

/// Bytes that are hashed at a time.
const PIECE: u64 = 1 << 20;

/// Of bytes in memory.
pub fn of(bytes: impl AsRef<[u8]>) -> String {
    crate::hex::hex(Sha256::digest(bytes))
}

/// Of the first `length` bytes of an output.
pub fn sum(written: &dyn Output, length: u64) -> io::Result<String> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; PIECE as usize]);
    for at in (0..length).step_by(PIECE as usize) {
        let piece = &mut buffer[..(length - at).min(PIECE) as usize];
        written.read_at(at, piece)?;
        hash.update(piece);
    }
    Ok(crate::hex::hex(hash.finalize()))
}
