//! What can be read at any place, as what is read from front to back, with a way past what nobody needs.

use super::ReadAt;
use std::io::{self, Read, Seek, SeekFrom};

/// `size` bytes of something, from the first one on.
pub struct Reading<'a, S: ?Sized> {
    source: &'a S,
    size: u64,
    at: u64,
}

impl<'a, S: ReadAt + ?Sized> Reading<'a, S> {
    /// Of `source`, which has `size` bytes.
    pub fn new(source: &'a S, size: u64) -> Self {
        Reading { source, size, at: 0 }
    }
}

impl<S: ReadAt + ?Sized> Read for Reading<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.size.saturating_sub(self.at).min(buffer.len() as u64) as usize;
        self.source.read_at(self.at, &mut buffer[..length])?;
        self.at += length as u64;
        Ok(length)
    }
}

impl<S: ?Sized> Seek for Reading<'_, S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_from_wherever_it_is_at_to_its_end() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut reading = Reading::new(&bytes, 90);
        let mut rest = |from| {
            let mut found = Vec::new();
            reading.seek(from).and_then(|_| reading.read_to_end(&mut found)).map(|_| found)
        };
        assert_eq!(rest(SeekFrom::Start(80)).unwrap(), bytes[80..90]);
        assert_eq!(rest(SeekFrom::Current(-3)).unwrap(), bytes[87..90]);
        assert_eq!(rest(SeekFrom::End(-1)).unwrap(), [89]);
        assert_eq!(rest(SeekFrom::End(7)).unwrap(), [0; 0], "behind its end is nothing");
        assert_eq!(rest(SeekFrom::End(-91)).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let mut longer = Reading::new(&bytes, 101);
        assert!(longer.read(&mut [0; 101]).is_err(), "it has fewer bytes than were named");
    }
}
