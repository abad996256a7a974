//! SHA-256 of a disk and of areas of it, in one pass. Holes are hashed as the zeros that they are, and not read.

use crate::forms::Source;
use crate::hex::hex;
use sha2::{Digest, Sha256};
use std::io;
use std::ops::Range;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// In hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Of all of the disk.
    pub whole: String,
    /// Of each area; `None` of one that is not all on the disk.
    pub areas: Vec<Option<String>>,
}

/// Reads the disk. Areas are in bytes, with their ends excluded.
///
/// # Errors
/// When it cannot be read.
pub fn of(disk: &dyn Source, areas: &[Range<u64>]) -> io::Result<Digests> {
    static ZEROS: [u8; CHUNK] = [0; CHUNK];
    let size = disk.size();
    let mut whole = Sha256::new();
    let mut each = vec![Sha256::new(); areas.len()];
    let mut buffer = vec![0; CHUNK];
    let (mut at, mut data) = (0, 0..0);
    while at < size {
        let end = size.min(at + CHUNK as u64);
        let length = (end - at) as usize;
        if data.end <= at {
            data = disk.data(at)?.unwrap_or(size..size);
        }
        let bytes = if data.start >= end {
            &ZEROS[..length]
        } else {
            disk.read_at(at, &mut buffer[..length])?;
            &buffer[..length]
        };
        whole.update(bytes);
        for (area, hasher) in areas.iter().zip(&mut each) {
            let (from, to) = (area.start.max(at), area.end.min(end));
            if from < to {
                hasher.update(&bytes[(from - at) as usize..(to - at) as usize]);
            }
        }
        at = end;
    }
    let is_there = |area: &Range<u64>| area.start <= area.end && area.end <= size;
    let areas = areas.iter().zip(each).map(|(area, hasher)| is_there(area).then(|| hex(hasher.finalize())));
    Ok(Digests { whole: hex(whole.finalize()), areas: areas.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forms::Raw;
    use std::os::unix::fs::FileExt;

    fn sum(bytes: &[u8]) -> String {
        hex(Sha256::digest(bytes))
    }

    #[test]
    fn areas_and_all_of_it_are_hashed_holes_included() {
        let file = tempfile::tempfile().unwrap();
        let size = 5 * CHUNK + 700;
        file.set_len(size as u64).unwrap();
        file.write_all_at(b"begins", 3).unwrap();
        file.write_all_at(&[7; 5000], 3 * CHUNK as u64 - 2500).unwrap();
        let mut all = vec![0; size];
        file.read_exact_at(&mut all, 0).unwrap();
        let ranges = [0..440, 440..CHUNK + 9, CHUNK + 9..3 * CHUNK + 1, 4 * CHUNK..size];
        let areas: Vec<_> = ranges.iter().map(|range| range.start as u64..range.end as u64).collect();
        let found = of(&Raw::new(file.try_clone().unwrap()).unwrap(), &areas).unwrap();
        assert_eq!(found.whole, sum(&all));
        let expected: Vec<_> = ranges.iter().map(|range| Some(sum(&all[range.clone()]))).collect();
        assert_eq!(found.areas, expected);
        let beyond = of(&Raw::new(file).unwrap(), &[0..size as u64 + 1, 9..9]).unwrap();
        assert_eq!(beyond.areas, [None, Some(sum(b""))]);
    }
}
