//! The layers of an image in their order, the next ones already being decoded while one is read.
//!
//! ```text
//!  layer 1   ═══ decoded and read ═══▶
//!  layer 2   ══ decoded, then waits ·········▶ read
//!  layer 3   ══ decoded, then waits ····················▶
//! ```
//!
//! A reader gets the same bytes and the same errors in the same order, however many are decoded at a time.

use super::pool::CHUNK_WHOLE;
use super::{BlobError, Image, LayerStream, stream};
use std::collections::VecDeque;

/// Bytes of all decoded chunks that wait to be read.
const BUFFERED: usize = 32 << 20;

/// Most layers decoded at a time: a zstd layer may ask for a window of 128 MiB.
const MOST: usize = 4;

/// Opens the layers of an image, lowest first.
pub struct LayersAhead<'a> {
    image: &'a Image,
    next: usize,
    open: VecDeque<Result<LayerStream, BlobError>>,
    at_once: usize,
}

impl<'a> LayersAhead<'a> {
    /// Decodes as many layers at a time as there are `threads` to do it, 1 to 4.
    pub fn new(image: &'a Image, threads: usize) -> LayersAhead<'a> {
        let at_once = threads.clamp(1, MOST).min(image.layers.len().max(1));
        LayersAhead { image, next: 0, open: VecDeque::new(), at_once }
    }
}

impl Iterator for LayersAhead<'_> {
    type Item = Result<LayerStream, BlobError>;

    fn next(&mut self) -> Option<Self::Item> {
        let ahead = match self.at_once {
            1 => stream::AHEAD,
            several => BUFFERED / CHUNK_WHOLE / several,
        };
        while self.open.len() < self.at_once && self.next < self.image.layers.len() {
            // What is wrong with a layer is said when its turn has come: one before it may be the cause of more.
            self.open.push_back(self.image.open_layer_with(self.next, ahead));
            self.next += 1;
        }
        self.open.pop_front()
    }
}
