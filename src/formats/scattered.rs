//! A file that lies in pieces in something larger. Whoever wants its header need not read the rest.

use super::{ReadAt, Reading};
use std::io;
use std::ops::Range;

/// Where bytes lie: offset and length in bytes of each piece, in the order of the bytes.
pub type Places = Vec<(u64, u64)>;

/// The bytes at some places of a source, one behind the other.
#[derive(Clone, Debug)]
pub struct Scattered<S> {
    source: S,
    places: Places,
    /// Where each place's bytes begin in the file: there may be millions of places.
    starts: Vec<u64>,
}

impl<S: ReadAt> Scattered<S> {
    /// Those at these places.
    pub fn new(source: S, places: Places) -> Self {
        let start = |at: &mut u64, length: u64| Some(std::mem::replace(at, *at + length));
        let starts = places.iter().scan(0, |at, (_, length)| start(at, *length)).collect();
        Scattered { source, places, starts }
    }

    /// Bytes of all of it.
    pub fn size(&self) -> u64 {
        self.starts.last().zip(self.places.last()).map_or(0, |(start, (_, length))| start + length)
    }

    /// Where it lies.
    pub fn places(&self) -> &[(u64, u64)] {
        &self.places
    }

    /// Its first bytes, `most` unless there are fewer.
    pub fn start(&self, most: usize) -> io::Result<Vec<u8>> {
        self.bytes(0..self.size().min(most as u64))
    }

    /// These of its bytes; more than there are is an error.
    pub fn bytes(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let length = range.end.checked_sub(range.start).filter(|_| range.end <= self.size());
        let mut bytes = vec![0; length.ok_or(io::ErrorKind::UnexpectedEof)? as usize];
        self.read_at(range.start, &mut bytes)?;
        Ok(bytes)
    }

    /// From its first byte on.
    pub fn reading(&self) -> Reading<'_, Self> {
        Reading::new(self, self.size())
    }

    /// A part of it.
    pub fn part(&self, part: Range<u64>) -> Scattered<S>
    where
        S: Clone,
    {
        Scattered::new(self.source.clone(), within(&self.places, part))
    }

    /// The first place with bytes at or behind `offset`, and how many of its bytes are before that.
    fn place(&self, offset: u64) -> (usize, u64) {
        let first = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        (first, offset - self.starts.get(first).copied().unwrap_or(0))
    }
}

impl<S: ReadAt> ReadAt for Scattered<S> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (first, mut before) = self.place(offset);
        let mut rest = buffer;
        for (at, length) in self.places.iter().skip(first) {
            if rest.is_empty() {
                break;
            }
            let here = length.saturating_sub(before).min(rest.len() as u64);
            let (piece, behind) = rest.split_at_mut(here as usize);
            self.source.read_at(at + before.min(*length), piece)?;
            (rest, before) = (behind, before.saturating_sub(*length));
        }
        if rest.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Bytes at all of these places.
pub fn size(places: &[(u64, u64)]) -> u64 {
    places.iter().map(|(_, length)| length).sum()
}

/// The places of a part of what lies at these; of one that goes beyond them, as far as they go.
pub fn within(whole: &[(u64, u64)], part: Range<u64>) -> Places {
    let (mut found, mut at) = (Vec::new(), 0);
    for (offset, length) in whole {
        let (from, to) = (part.start.max(at), part.end.min(at + length));
        if from < to {
            found.push((offset + (from - at), to - from));
        }
        at += length;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_part_of_a_file_is_cut_out_of_its_places() {
        let whole = [(1000, 512), (9000, 1024)];
        assert_eq!(within(&whole, 0..512), [(1000, 512)]);
        assert_eq!(within(&whole, 500..600), [(1500, 12), (9000, 88)]);
        assert_eq!(within(&whole, 512..1536), [(9000, 1024)]);
        assert_eq!(within(&whole, 7..7), []);
        assert_eq!(within(&whole, 1500..9999), [(9988, 36)]);
    }

    #[test]
    fn the_pieces_are_one_file() {
        let source: Vec<u8> = (0..=255).collect();
        let file = Scattered::new(&source, vec![(200, 3), (10, 2), (50, 0), (0, 4)]);
        let expected = [200, 201, 202, 10, 11, 0, 1, 2, 3];
        let mut all = Vec::new();
        file.reading().read_to_end(&mut all).unwrap();
        assert_eq!((file.size(), &all[..]), (9, &expected[..]));
        assert_eq!(file.start(4).unwrap(), expected[..4]);
        assert_eq!(file.start(40).unwrap(), expected);
        for (from, to) in [(0, 0), (2, 6), (4, 9), (9, 9)] {
            assert_eq!(file.bytes(from..to).unwrap(), expected[from as usize..to as usize]);
            let part = file.part(from..to);
            assert_eq!(part.bytes(0..part.size()).unwrap(), expected[from as usize..to as usize]);
        }
        for range in [0..10, 9..10, 12..12, u64::MAX - 1..u64::MAX] {
            assert!(file.bytes(range.clone()).is_err(), "{range:?}");
        }
        assert!(file.read_at(u64::MAX, &mut [0]).is_err());
        let empty = Scattered::new(&source, Places::new());
        assert_eq!((empty.size(), empty.start(4).unwrap()), (0, Vec::new()));
        assert!(empty.read_at(0, &mut [0]).is_err());
        // A file that somebody has put together out of single sectors far apart is read in one pass.
        let many = Scattered::new(&source, (0..1 << 20).map(|at| (at % 255, 1)).collect());
        let mut pieces = 0;
        for at in (0..many.size()).step_by(64) {
            pieces += many.bytes(at..at + 64).unwrap().iter().filter(|byte| **byte == 0).count();
        }
        assert_eq!(pieces, (1usize << 20).div_ceil(255));
        let behind = Scattered::new(&source, vec![(255, 2)]);
        assert!(behind.start(2).is_err(), "a piece that the source does not have");
    }
}
