//! A disk of which somebody wants to know how much has been read.

use super::Source;
use crate::formats::ReadAt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the module.
pub struct Counted<'a> {
    source: &'a dyn Source,
    bytes: AtomicU64,
}

impl<'a> Counted<'a> {
    /// Nothing has been read of it.
    pub fn of(source: &'a dyn Source) -> Counted<'a> {
        Counted { source, bytes: AtomicU64::new(0) }
    }

    /// Bytes that have been read, what was read twice counted twice.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl ReadAt for Counted<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.source.read_at(offset, buffer)?;
        self.bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl Source for Counted<'_> {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        self.source.data(from)
    }
}
