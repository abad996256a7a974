//! A layer's stream that tells how far it is, and ends when nobody wants the disk any more.

use super::Event;
use crate::image::LayerStream;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module.
pub(super) struct Watched<'a, 'b> {
    pub(super) inner: LayerStream,
    read: Arc<AtomicU64>,
    before: u64,
    told: u64,
    /// There will be no disk: reading on is in vain.
    in_vain: &'a AtomicBool,
    pub(super) observe: &'a mut (dyn FnMut(Event<'_>) + 'b),
}

impl<'a, 'b> Watched<'a, 'b> {
    pub(super) fn new(
        inner: LayerStream,
        before: u64,
        in_vain: &'a AtomicBool,
        observe: &'a mut (dyn FnMut(Event<'_>) + 'b),
    ) -> Self {
        Watched { read: inner.progress(), inner, before, told: 0, in_vain, observe }
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
        if self.in_vain.load(Ordering::Relaxed) {
            return Err(io::Error::other("the boot files could not be written"));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
    }
}
