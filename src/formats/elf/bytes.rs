//! Numbers of either byte order and width, out of a file that may end anywhere.

/// A file, or a part of one.
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    /// The bytes there are.
    pub file: &'a [u8],
    /// Little-endian.
    pub little: bool,
    /// 64-bit words.
    pub wide: bool,
}

impl<'a> Bytes<'a> {
    /// `size` bytes at `offset`; `None` when they are not all there.
    pub fn part(&self, offset: u64, size: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(offset).ok().filter(|&start| start < self.file.len())?;
        let end = usize::try_from(offset.checked_add(size)?).ok().filter(|&end| end <= self.file.len())?;
        self.file.get(start..end)
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut bytes: [u8; N] = self.file.get(at..at.checked_add(N)?)?.try_into().ok()?;
        if !self.little {
            bytes.reverse();
        }
        Some(bytes)
    }

    /// Two bytes.
    pub fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// A word of the file's class.
    pub fn word(&self, at: usize) -> Option<u64> {
        if self.wide { self.u64(at) } else { self.u32(at).map(u64::from) }
    }
}
