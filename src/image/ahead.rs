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
use super::{BlobError, Image, LayerBlob, LayerStream, stream};
use std::collections::VecDeque;
use std::iter::Enumerate;
use std::vec::IntoIter;

/// Bytes of all decoded chunks that wait to be read.
const BUFFERED: usize = 32 << 20;

/// Most layers decoded at a time: a zstd layer may ask for a window of 128 MiB.
const MOST: usize = 4;

/// The layers of an image, lowest first.
pub struct LayersAhead {
    /// Those that are not open yet.
    rest: Enumerate<IntoIter<LayerBlob>>,
    open: VecDeque<Result<LayerStream, BlobError>>,
    at_once: usize,
}

impl LayersAhead {
    /// Begins to decode as many layers at a time as there are `threads` to do it, 1 to 4.
    pub fn new(image: &Image, threads: usize) -> LayersAhead {
        LayersAhead::after(image, 0, threads)
    }

    /// The same behind the lowest `first` layers, which are not opened.
    pub fn after(image: &Image, first: usize, threads: usize) -> LayersAhead {
        let at_once = threads.clamp(1, MOST).min(image.layers.len().saturating_sub(first).max(1));
        let mut rest = image.layers.clone().into_iter().enumerate();
        (0..first).for_each(|_| _ = rest.next());
        let mut layers = LayersAhead { rest, open: VecDeque::new(), at_once };
        layers.open_more();
        layers
    }

    /// Opens layers until enough are.
    fn open_more(&mut self) {
        let ahead = match self.at_once {
            1 => stream::AHEAD,
            several => BUFFERED / CHUNK_WHOLE / several,
        };
        while self.open.len() < self.at_once
            && let Some((index, layer)) = self.rest.next()
        {
            // What is wrong with a layer is said when its turn has come: one before it may be the cause of more.
            self.open.push_back(layer.open(index, ahead));
        }
    }
}

impl Iterator for LayersAhead {
    type Item = Result<LayerStream, BlobError>;

    /// The next layer. The one before should be done with by then: more would be decoded at a time than there should be.
    fn next(&mut self) -> Option<Self::Item> {
        self.open_more();
        self.open.pop_front()
    }
}
