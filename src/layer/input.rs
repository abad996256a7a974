//! The uncompressed stream of a layer as blocks and bytes, with a count of where it is.

use super::error::{Error, ErrorKind};
use super::header::BLOCK;
use std::io::{self, BufRead};

/// A layer's bytes, front to back.
pub struct Input<'a> {
    stream: &'a mut dyn BufRead,
    /// Bytes read so far.
    pub offset: u64,
}

impl<'a> Input<'a> {
    /// A stream at its first byte.
    pub fn new(stream: &'a mut dyn BufRead) -> Self {
        Input { stream, offset: 0 }
    }

    /// An error at the current place.
    pub fn error(&self, kind: ErrorKind) -> Error {
        Error { offset: self.offset, entry: None, kind }
    }

    /// The next block, or nothing at the end of the stream. A part of a block is an error.
    pub fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let available = self.fill()?;
            if available.is_empty() {
                return match filled {
                    0 => Ok(None),
                    _ => Err(self.error(ErrorKind::Truncated("a block"))),
                };
            }
            let n = available.len().min(BLOCK - filled);
            block[filled..filled + n].copy_from_slice(&available[..n]);
            filled += n;
            self.consume(n);
        }
        Ok(Some(block))
    }

    /// Hands the next `length` bytes to `store` in slices of the stream's own buffer.
    pub fn copy(&mut self, length: u64, mut store: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), Error> {
        let mut left = length;
        while left > 0 {
            let offset = self.offset;
            let available = self.fill()?;
            if available.is_empty() {
                return Err(self.error(ErrorKind::Truncated("a body")));
            }
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(available.len());
            store(&available[..n]).map_err(|e| Error { offset, entry: None, kind: ErrorKind::Store(e) })?;
            self.consume(n);
            left -= n as u64;
        }
        Ok(())
    }

    /// Passes over the next `length` bytes.
    pub fn skip(&mut self, length: u64) -> Result<(), Error> {
        self.copy(length, |_| Ok(()))
    }

    /// Passes over the padding behind a body. An archive may end there: `umoci insert` writes neither the padding of
    /// its one member nor an end marker, and no byte of the file is missing.
    pub fn skip_padding(&mut self, length: u64) -> Result<(), Error> {
        let mut left = length;
        while left > 0 {
            let available = self.fill()?.len();
            if available == 0 {
                return Ok(());
            }
            let n = available.min(left as usize);
            self.consume(n);
            left -= n as u64;
        }
        Ok(())
    }

    /// The next `length` bytes. The caller has checked that they are few.
    pub fn bytes(&mut self, length: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.copy(length, |slice| {
            bytes.extend_from_slice(slice);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Reads everything that is left.
    pub fn drain(&mut self) -> Result<(), Error> {
        loop {
            let n = self.fill()?.len();
            if n == 0 {
                return Ok(());
            }
            self.consume(n);
        }
    }

    fn consume(&mut self, n: usize) {
        self.stream.consume(n);
        self.offset += n as u64;
    }

    fn fill(&mut self) -> Result<&[u8], Error> {
        // Twice, because a slice returned out of a loop would keep the stream borrowed; the second call is free.
        loop {
            match self.stream.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(ErrorKind::Read(error))),
            }
        }
        let offset = self.offset;
        self.stream.fill_buf().map_err(|e| Error { offset, entry: None, kind: ErrorKind::Read(e) })
    }
}

/// Bytes of zeros between the end of a body and the next block.
pub fn padding(length: u64) -> u64 {
    length.wrapping_neg() % BLOCK as u64
}
