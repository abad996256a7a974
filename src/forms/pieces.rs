//! A disk, or a file around one, put together from pieces: some are given, the others lie in a source. What is between
//! them is zeros.

use super::Source;
use crate::formats::ReadAt;
use std::io;
use std::ops::Range;

/// Where a piece's bytes are.
pub(super) enum From {
    /// In the source, from this byte on.
    Source(u64),
    /// Here.
    Bytes(Vec<u8>),
}

/// One of the pieces, which do not overlap and are in order.
pub(super) struct Piece {
    pub at: u64,
    pub length: u64,
    pub from: From,
}

/// All of them, in `size` bytes.
pub(super) struct Pieces<S> {
    pub source: S,
    pub size: u64,
    pub pieces: Vec<Piece>,
}

impl<S> Pieces<S> {
    /// The first piece that ends behind `at`, and all that follow.
    fn behind(&self, at: u64) -> &[Piece] {
        &self.pieces[self.pieces.partition_point(|piece| piece.at + piece.length <= at)..]
    }
}

impl<S: ReadAt> ReadAt for Pieces<S> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.fill(0);
        for piece in self.behind(offset).iter().take_while(|piece| piece.at < end) {
            let (from, to) = (piece.at.max(offset), (piece.at + piece.length).min(end));
            let target = &mut buffer[(from - offset) as usize..(to - offset) as usize];
            match &piece.from {
                From::Source(start) => self.source.read_at(start + (from - piece.at), target)?,
                From::Bytes(bytes) => bytes.read_at(from - piece.at, target)?,
            }
        }
        Ok(())
    }
}

impl<S: ReadAt + Send + Sync> Source for Pieces<S> {
    fn size(&self) -> u64 {
        self.size
    }

    fn data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let next = self.behind(from).iter().find(|piece| piece.length > 0);
        Ok(next.map(|piece| piece.at.max(from)..piece.at + piece.length))
    }
}
