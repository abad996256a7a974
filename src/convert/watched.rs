//! A layer's stream that tells how far it is.

use super::Event;
use crate::image::LayerStream;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A layer's stream that tells how far it is.
pub(super) struct Watched<'a, 'b> {
    pub(super) inner: LayerStream,
    read: Arc<AtomicU64>,
    before: u64,
    told: u64,
    pub(super) observe: &'a mut (dyn FnMut(Event<'_>) + 'b),
}

impl<'a, 'b> Watched<'a, 'b> {
    pub(super) fn new(inner: LayerStream, before: u64, observe: &'a mut (dyn FnMut(Event<'_>) + 'b)) -> Self {
        Watched { read: inner.progress(), inner, before, told: 0, observe }
    }
}

impl Read for Watched<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl BufRead for Watched<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let read = self.read.load(Ordering::Relaxed);
        if read != self.told {
            self.told = read;
            (self.observe)(Event::Read { bytes: self.before + read });
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
    }
}
