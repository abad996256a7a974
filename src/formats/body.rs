//! The body of the entry an archive is at, and the way past it: the same for every archive.

use std::io::{self, Read};

/// What is left of a body. It ending early is an error and not an end.
pub struct Body<'a, R> {
    /// The archive.
    pub input: &'a mut R,
    /// Bytes of the body that are still in `input`.
    pub left: &'a mut u64,
}

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = (buffer.len() as u64).min(*self.left) as usize;
        if most == 0 {
            return Ok(0);
        }
        let n = self.input.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(ends_early());
        }
        *self.left -= n as u64;
        Ok(n)
    }
}

/// Reads so many bytes and throws them away; fewer are an error.
pub fn skip(input: &mut impl Read, length: u64) -> io::Result<()> {
    if io::copy(&mut input.by_ref().take(length), &mut io::sink())? < length { Err(ends_early()) } else { Ok(()) }
}

/// The error of an archive that ends where something should be.
pub fn ends_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends too early")
}
