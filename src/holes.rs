//! Files with holes: where there is something in them, and what need not be there.
//!
//! See lseek(2), `SEEK_DATA` and `SEEK_HOLE`.

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::ops::Range;

/// The first range of data at or behind `from`, in a file of `size` bytes; `None` when only a hole follows.
///
/// # Errors
/// The system's: [`Errno::EINVAL`] and others where it does not know of holes.
pub fn data(file: &File, from: u64, size: u64) -> nix::Result<Option<Range<u64>>> {
    let seek = |from: u64, whence| {
        let from = from.try_into().map_err(|_| Errno::EOVERFLOW)?;
        match lseek(file, from, whence) {
            Ok(at) => Ok((at as u64).min(size)),
            // There is no more of it.
            Err(Errno::ENXIO) => Ok(size),
            Err(errno) => Err(errno),
        }
    };
    if from >= size {
        return Ok(None);
    }
    let start = seek(from, Whence::SeekData)?;
    if start == size { Ok(None) } else { Ok(Some(start..seek(start, Whence::SeekHole)?)) }
}

/// Whether all bytes are zeros, as those of a hole are.
pub fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_in_a_file_is_found_between_its_holes() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10 << 20).unwrap();
        file.write_all_at(&[1; 4096], 1 << 20).unwrap();
        file.write_all_at(&[1; 4096], 5 << 20).unwrap();
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(range) = data(&file, at, 10 << 20).unwrap() {
            assert!(range.start >= at && range.end > range.start);
            at = range.end;
            found.push(range);
        }
        for place in [1 << 20, 5 << 20] {
            assert!(found.iter().any(|range| range.contains(&place)), "{place}: {found:?}");
        }
        assert_eq!(data(&file, 10 << 20, 10 << 20), Ok(None));
        assert_eq!(data(&file, u64::MAX, 10 << 20), Ok(None));
    }

    #[test]
    fn zeros_are_nothing_else() {
        assert!(is_zero(&[]) && is_zero(&[0; 10_000]));
        for at in [0, 4095, 4096, 9999] {
            let mut bytes = [0; 10_000];
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at}");
        }
    }
}
