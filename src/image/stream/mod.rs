//! A layer being read: decompressed ahead of its reader, hashed beside it.
//!
//! ```text
//!  blob ─▶ decoder thread ──────────── chunks ───────────▶ LayerStream: BufRead
//!             │ compressed chunks         │ the same chunks
//!             └──────────────▶ hash thread ◀──┘
//! ```
//!
//! Chunks are 256 KiB and come from two pools, one for what was decoded and one with [`READ`] of them for what was
//! read; the pools are what bounds the queues. Nobody copies a chunk: the hash thread and the reader share it. Of a layer
//! that is not compressed the chunks that were read are the chunks that are handed out, hashed once.
//!
//! A wrong digest is the better explanation of whatever else is wrong with a layer. So when decoding fails the rest of
//! the blob is still hashed, and [`verdict`] looks at the digest first.

mod ends;
mod hash;
mod verdict;

pub(super) use ends::{Halt, Input, Output};

use crate::image::blob::BlobFault;
use crate::image::pool::{Chunk, Pool};
use crate::image::{Blob, BlobError, Format, LayerBlob, gzip, zstandard};
use ends::Control;
use hash::{Digests, hash};
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{Builder, JoinHandle};
use verdict::{Decoded, verdict};

/// Decoded chunks in flight, unless somebody has more memory to give.
pub(super) const AHEAD: usize = 20;
/// Compressed chunks in flight.
const READ: usize = 4;

/// Most bytes of a layer that [`LayerStream::finish`] reads past the point where its reader stopped.
pub const MAX_TRAILING: u64 = 1 << 30;

/// The uncompressed tar of one layer.
///
/// Dropping it early stops its threads and waits for them; that takes no longer than decoding one chunk.
pub struct LayerStream {
    name: String,
    blob: Blob,
    format: Format,
    media_type: Option<String>,
    expected: Digests,
    chunks: Receiver<Arc<Chunk>>,
    current: Option<Arc<Chunk>>,
    at: usize,
    control: Arc<Control>,
    decoder: Option<JoinHandle<Result<(), BlobFault>>>,
    hasher: Option<JoinHandle<Digests>>,
    fault: Option<BlobFault>,
}

impl LayerStream {
    /// Begins to decode a layer, at most `ahead` chunks of it ahead of the reader.
    pub(super) fn open(layer: &LayerBlob, name: &str, ahead: usize) -> Result<LayerStream, BlobFault> {
        if layer.blob.size() != layer.size {
            return Err(BlobFault::Size { expected: layer.size, actual: layer.blob.size() });
        }
        // Whoever fetches it has its digest computed already.
        let stored = layer.digest.clone().filter(|_| !layer.blob.is_compared());
        let expected = Digests { blob: stored, tar: Some(layer.diff_id.clone()) };
        let mut stream = LayerStream::start(name, &layer.blob, expected, ahead)?;
        stream.media_type = layer.media_type.clone();
        Ok(stream)
    }

    /// Decompresses a file whose digest nobody states: an archive as a whole.
    pub(crate) fn decompress(file: Arc<File>) -> Result<LayerStream, BlobFault> {
        let size = file.metadata().map_err(BlobFault::Io)?.len();
        let expected = Digests::default();
        LayerStream::start("archive", &Blob::part("archive", file, 0, size), expected, AHEAD)
    }

    fn start(name: &str, blob: &Blob, expected: Digests, ahead: usize) -> Result<LayerStream, BlobFault> {
        let format = format_of(blob)?;
        let control = Arc::new(Control::new(Pool::new(ahead), Pool::new(READ)));
        let (to_reader, chunks) = channel();
        let (to_hasher, jobs) = channel();
        let blob_jobs = expected.blob.is_some().then(|| to_hasher.clone());
        let input = Input::new(blob.open_while(Arc::clone(control.abandoned()))?, Arc::clone(&control), blob_jobs);
        let output = Output::new(Arc::clone(&control), to_reader, to_hasher);
        let hasher = Builder::new().name("layer hash".into()).spawn({
            let expected = expected.clone();
            move || hash(&jobs, format, &expected)
        });
        let hasher = hasher.map_err(BlobFault::Io)?;
        let decoder = Builder::new().name("layer decode".into()).spawn(move || decode(format, input, output));
        Ok(LayerStream {
            name: name.into(),
            blob: blob.clone(),
            format,
            media_type: None,
            expected,
            chunks,
            current: None,
            at: 0,
            control,
            decoder: Some(decoder.map_err(BlobFault::Io)?),
            hasher: Some(hasher),
            fault: None,
        })
    }

    /// How the layer is stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes of the blob read so far, as stored; the whole is [`LayerBlob::size`]. May be kept and read elsewhere.
    pub fn progress(&self) -> Arc<AtomicU64> {
        self.control.progress()
    }

    /// A remark when the layer's media type names another compression than the layer has.
    pub fn warning(&self) -> Option<String> {
        let media_type = self.media_type.as_deref()?;
        let said = match media_type {
            t if t.ends_with("gzip") => Format::Gzip,
            t if t.ends_with("zstd") => Format::Zstd,
            _ => Format::Tar,
        };
        (said != self.format)
            .then(|| format!("{} is {} although its media type says {}", self.name, self.format.name(), said.name()))
    }

    /// Reads what is left and checks everything: size, digest, compression, diff_id. Only now may what was made from
    /// the layer be believed.
    ///
    /// A reader that has stopped at the tar's end marker leaves padding; more than [`MAX_TRAILING`] bytes are refused.
    pub fn finish(mut self) -> Result<(), BlobError> {
        let fault = match self.drain(MAX_TRAILING) {
            true => self.judge(Decoded::Whole),
            // Too much to decode, but the blob's own digest is soon known.
            false => self.stop_decoding().or(Some(BlobFault::Trailing)),
        };
        self.said(fault)
    }

    /// What to report when the reader has met something it cannot accept: an error if the layer is not what it
    /// should be, since that explains the rest; `Ok` if the reader's own complaint stands.
    ///
    /// Takes no longer than hashing the blob as stored. Only where no digest of that is known the layer is decoded
    /// further, at most [`MAX_TRAILING`] bytes.
    pub fn finish_after_error(mut self) -> Result<(), BlobError> {
        let is_known = self.expected.blob.is_some() || self.blob.is_compared();
        let fault = match is_known || !self.drain(MAX_TRAILING) {
            true => self.stop_decoding(),
            false => self.judge(Decoded::Whole),
        };
        self.said(fault)
    }

    fn said(&self, fault: Option<BlobFault>) -> Result<(), BlobError> {
        match fault {
            Some(fault) => Err(BlobError { blob: self.name.clone(), fault }),
            None => Ok(()),
        }
    }

    /// Discards what is left of the layer, if it is no more than `limit` bytes.
    fn drain(&mut self, limit: u64) -> bool {
        let mut drained = self.current.take().map_or(0, |chunk| (chunk.filled().len() - self.at) as u64);
        self.at = 0;
        while drained <= limit {
            match self.chunks.recv() {
                Ok(chunk) => drained += chunk.filled().len() as u64,
                Err(_) => return true,
            }
        }
        false
    }

    /// Ends decoding where it is, has the rest of the blob hashed, and says what that shows.
    fn stop_decoding(&mut self) -> Option<BlobFault> {
        self.control.stop();
        self.current = None;
        while self.chunks.recv().is_ok() {}
        self.judge(Decoded::Partly)
    }

    /// Waits for the threads and says what is wrong with what they saw; `unless_fault` is how far the decoder went if it
    /// met nothing wrong.
    fn judge(&mut self, unless_fault: Decoded) -> Option<BlobFault> {
        let decoded = self.join_decoder().map_or(unless_fault, Decoded::Fault);
        let actual = self.join_hasher();
        // A blob that does not come, or is another one, explains the rest too.
        if let Err(fault) = self.blob.whole(self.control.abandoned()) {
            return Some(fault);
        }
        let fault = match actual {
            Ok(actual) => verdict(&self.expected, &actual, decoded),
            Err(fault) => Some(fault),
        };
        fault.map(|fault| self.blob.distrust(fault))
    }

    fn join_decoder(&mut self) -> Option<BlobFault> {
        if let Some(decoder) = self.decoder.take() {
            self.fault = decoder.join().unwrap_or_else(|_| Err(thread_died())).err();
        }
        self.fault.take()
    }

    fn join_hasher(&mut self) -> Result<Digests, BlobFault> {
        match self.hasher.take() {
            Some(hasher) => hasher.join().map_err(|_| thread_died()),
            None => Err(thread_died()),
        }
    }
}

fn thread_died() -> BlobFault {
    BlobFault::Io(io::Error::other("a thread of the layer's reader ended unexpectedly"))
}

impl BufRead for LayerStream {
    /// The next decoded bytes, empty at the end. An error is about decoding only; [`LayerStream::finish`] has it in
    /// full, and knows whether the digest explains it.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|chunk| self.at == chunk.filled().len()) {
            self.at = 0;
            self.current = None;
            self.current = self.chunks.recv().ok();
            if self.current.is_none() {
                self.fault = self.join_decoder();
                if let Some(fault) = &self.fault {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, fault.to_string()));
                }
            }
        }
        Ok(self.current.as_ref().map_or(&[], |chunk| &chunk.filled()[self.at..]))
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for LayerStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl Drop for LayerStream {
    fn drop(&mut self) {
        self.control.abandon();
        // Errors and panics of the threads: nobody wants to know any more.
        _ = self.decoder.take().map(JoinHandle::join);
        _ = self.hasher.take().map(JoinHandle::join);
    }
}

/// The format by the blob's first bytes.
fn format_of(blob: &Blob) -> Result<Format, BlobFault> {
    let mut prefix = [0; Format::PREFIX];
    let mut length = 0;
    let mut reader = blob.open()?;
    while length < prefix.len() {
        match reader.read(&mut prefix[length..])? {
            0 => break,
            n => length += n,
        }
    }
    Ok(Format::of(&prefix[..length]))
}

fn decode(format: Format, mut input: Input, mut output: Output) -> Result<(), BlobFault> {
    let decoded = match format {
        Format::Tar => ends::pass(&mut input, &mut output),
        Format::Gzip => gzip::decode(&mut input, &mut output),
        Format::Zstd => zstandard::decode(&mut input, &mut output),
        Format::Xz | Format::Bzip2 | Format::Lz4 => Err(BlobFault::Unsupported(format).into()),
    };
    let ended = decoded.and_then(|()| output.flush());
    // The reader need not wait while the rest is hashed.
    drop(output);
    let hashed = input.hash_rest();
    match (ended, hashed) {
        (Err(Halt::Fault(fault)), _) | (_, Err(Halt::Fault(fault))) => Err(fault),
        _ => Ok(()),
    }
}
