//! Headers of the members of a new archive, with the same owner and time in each: none.
//!
//! Specifications: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use crate::layer::seal;
use crate::output::Output;
use std::io;

/// Bytes of a header, and what every body is filled up to.
pub const BLOCK: u64 = 512;
/// Two blocks of zeros.
pub const END: u64 = 2 * BLOCK;

/// Which fields follow the name of a link's target.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Ustar,
    /// GNU's own, with a map of what is no hole.
    OldGnuSparse,
}

/// A header without its checksum.
pub fn header(dialect: Dialect, name: &str, size: u64) -> [u8; BLOCK as usize] {
    let mut header = [0; BLOCK as usize];
    let (kind, magic) = match dialect {
        Dialect::Ustar => (b'0', b"ustar\x0000"),
        Dialect::OldGnuSparse => (b'S', b"ustar  \0"),
    };
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, &number(size));
    put(136, &number(0));
    put(156, &[kind]);
    put(257, magic);
    header
}

/// The same with another kind, mode and owner.
pub fn owned(mut header: [u8; BLOCK as usize], kind: u8, mode: u32, owner: u32) -> [u8; BLOCK as usize] {
    let mut put = |at: usize, value: u32| header[at..at + 8].copy_from_slice(format!("{value:07o}\0").as_bytes());
    put(100, mode);
    put(108, owner);
    put(116, owner);
    header[156] = kind;
    header
}

/// The header with its checksum.
pub fn sealed(mut header: [u8; BLOCK as usize]) -> [u8; BLOCK as usize] {
    seal(&mut header);
    header
}

/// Eleven octal digits, or binary where they are too few.
pub fn number(number: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if number < 1 << 33 {
        field[..11].copy_from_slice(format!("{number:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&number.to_be_bytes());
    }
    field
}

/// Writes a whole member at `at`, and returns where the next one begins.
pub fn member(output: &dyn Output, at: u64, name: &str, body: &[u8]) -> io::Result<u64> {
    output.write_at(at, &sealed(header(Dialect::Ustar, name, body.len() as u64)))?;
    output.write_at(at + BLOCK, body)?;
    Ok(at + BLOCK + (body.len() as u64).next_multiple_of(BLOCK))
}
