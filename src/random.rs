//! The system's randomness: for what nobody may foresee, and for identifiers that are asked for as random.

use crate::hex::hex;
use std::fs::File;
use std::io::{self, Read};

/// 128 bits.
pub fn bits() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// 128 bits as 32 hexadecimal digits.
pub fn text() -> io::Result<String> {
    bits().map(hex)
}
