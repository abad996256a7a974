//! The body of the entry an archive is at, and the way past it: the same for every archive that packages hold.

use std::io::{self, Read};

use super::ends_early;

/// What is left of a body. It ending early is an error and not an end.
pub struct Body<'a, R> {
    /// The archive.
    pub(super) input: &'a mut R,
    /// Bytes of the body that are still in `input`.
    pub(super) left: &'a mut u64,
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
pub(super) fn skip(input: &mut impl Read, length: u64) -> io::Result<()> {
    if io::copy(&mut input.by_ref().take(length), &mut io::sink())? < length { Err(ends_early()) } else { Ok(()) }
}
