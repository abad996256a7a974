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
//! the blob is still hashed, and [`LayerStream::finish`] and [`LayerStream::finish_after_error`] look at the digest
//! first.

use crate::image::blob::{BlobFault, BlobReader};
use crate::image::inflate::Target;
use crate::image::pool::{CHUNK, Chunk, Pool};
use crate::image::{Blob, BlobError, Digest, Format, Hasher, LayerBlob, gzip, zstandard};
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

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
    format: Format,
    media_type: Option<String>,
    expected: Expected,
    chunks: Receiver<Arc<Chunk>>,
    current: Option<Arc<Chunk>>,
    at: usize,
    control: Arc<Control>,
    decoder: Option<JoinHandle<Result<(), BlobFault>>>,
    hasher: Option<JoinHandle<Digests>>,
    fault: Option<BlobFault>,
}

/// Digests to compare with, as far as there are any.
#[derive(Clone)]
struct Expected {
    blob: Option<Digest>,
    tar: Option<Digest>,
}

/// What the reader tells the threads, and the decoder tells a progress bar.
struct Control {
    ahead: Arc<Pool>,
    read: Arc<Pool>,
    /// Nobody wants to know any more, not even a digest.
    abandoned: AtomicBool,
    progress: Arc<AtomicU64>,
}

enum Job {
    Blob(Arc<Chunk>),
    Tar(Arc<Chunk>),
    Both(Arc<Chunk>),
}

struct Digests {
    blob: Option<Digest>,
    tar: Option<Digest>,
}

/// Why decoding ends early.
pub(super) enum Halt {
    /// Something is wrong with the blob.
    Fault(BlobFault),
    /// The reader wants no more.
    Stopped,
}

impl From<BlobFault> for Halt {
    fn from(fault: BlobFault) -> Halt {
        Halt::Fault(fault)
    }
}

impl LayerStream {
    /// Begins to decode a layer, at most `ahead` chunks of it ahead of the reader.
    pub(super) fn open(layer: &LayerBlob, name: &str, ahead: usize) -> Result<LayerStream, BlobFault> {
        if layer.blob.size() != layer.size {
            return Err(BlobFault::Size { expected: layer.size, actual: layer.blob.size() });
        }
        let expected = Expected { blob: layer.digest.clone(), tar: Some(layer.diff_id.clone()) };
        let mut stream = LayerStream::start(name, &layer.blob, expected, ahead)?;
        stream.media_type = layer.media_type.clone();
        Ok(stream)
    }

    /// Decompresses a file whose digest nobody states: an archive as a whole.
    pub(crate) fn decompress(file: Arc<File>) -> Result<LayerStream, BlobFault> {
        let size = file.metadata().map_err(BlobFault::Io)?.len();
        let expected = Expected { blob: None, tar: None };
        LayerStream::start("archive", &Blob::part("archive", file, 0, size), expected, AHEAD)
    }

    fn start(name: &str, blob: &Blob, expected: Expected, ahead: usize) -> Result<LayerStream, BlobFault> {
        let format = format_of(blob)?;
        let control = Arc::new(Control {
            ahead: Pool::new(ahead),
            read: Pool::new(READ),
            abandoned: AtomicBool::new(false),
            progress: Arc::default(),
        });
        let (to_reader, chunks) = channel();
        let (to_hasher, jobs) = channel();
        let input = Input {
            reader: blob.open()?,
            current: None,
            at: 0,
            control: Arc::clone(&control),
            jobs: expected.blob.is_some().then(|| to_hasher.clone()),
        };
        let output = Output { current: None, before: None, control: Arc::clone(&control), to_reader, jobs: to_hasher };
        let hasher = Builder::new().name("layer hash".into()).spawn({
            let expected = expected.clone();
            move || hash(&jobs, &expected)
        });
        let hasher = hasher.map_err(BlobFault::Io)?;
        let decoder = Builder::new().name("layer decode".into()).spawn(move || decode(format, input, output));
        Ok(LayerStream {
            name: name.into(),
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
        Arc::clone(&self.control.progress)
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
            true => self.verdict(),
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
        let fault = match self.expected.blob.is_some() || !self.drain(MAX_TRAILING) {
            true => self.stop_decoding(),
            false => self.verdict(),
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
        self.control.ahead.close();
        self.current = None;
        while self.chunks.recv().is_ok() {}
        let decoded = self.join_decoder();
        match self.join_hasher() {
            Ok(digests) => blob_fault(&self.expected, digests).or(decoded),
            Err(fault) => Some(fault),
        }
    }

    /// What is wrong with a layer that was read to its end.
    fn verdict(&mut self) -> Option<BlobFault> {
        let decoded = self.join_decoder();
        let digests = match self.join_hasher() {
            Ok(digests) => digests,
            Err(fault) => return Some(fault),
        };
        let diff_id = digests.tar.clone();
        if let Some(fault) = blob_fault(&self.expected, digests).or(decoded) {
            return Some(fault);
        }
        let (expected, actual) = (self.expected.tar.clone()?, diff_id?);
        (actual != expected).then_some(BlobFault::DiffId { expected, actual })
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

fn blob_fault(expected: &Expected, digests: Digests) -> Option<BlobFault> {
    let (expected, actual) = (expected.blob.clone()?, digests.blob?);
    (expected != actual).then_some(BlobFault::Digest { expected, actual })
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
        self.control.abandoned.store(true, Ordering::Relaxed);
        self.control.ahead.close();
        self.control.read.close();
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
        Format::Tar => pass(&mut input, &mut output),
        Format::Gzip => gzip::decode(&mut input, &mut output),
        Format::Zstd => zstandard::decode(&mut input, &mut output),
        Format::Xz | Format::Bzip2 | Format::Lz4 => Err(BlobFault::Unsupported(format).into()),
    };
    let ended = decoded.and_then(|()| output.flush());
    // The reader need not wait while the rest is hashed.
    drop(output);
    let hashed = if input.control.abandoned.load(Ordering::Relaxed) { Ok(()) } else { input.hash_rest() };
    match (ended, hashed) {
        (Err(Halt::Fault(fault)), _) | (_, Err(Halt::Fault(fault))) => Err(fault),
        _ => Ok(()),
    }
}

/// A layer that is not compressed: what is read is what is handed out.
fn pass(input: &mut Input, output: &mut Output) -> Result<(), Halt> {
    loop {
        let mut chunk = input.control.ahead.take().ok_or(Halt::Stopped)?;
        if input.read_into(&mut chunk)? == 0 {
            return Ok(());
        }
        let chunk = Arc::new(chunk);
        _ = output.jobs.send(Job::Both(Arc::clone(&chunk)));
        output.to_reader.send(chunk).map_err(|_| Halt::Stopped)?;
    }
}

/// The stored bytes, on their way to a decoder, and to the hash thread if somebody knows their digest.
pub(super) struct Input {
    reader: BlobReader,
    current: Option<Arc<Chunk>>,
    at: usize,
    control: Arc<Control>,
    jobs: Option<Sender<Job>>,
}

impl Input {
    /// The bytes that come next, at least one; empty at the blob's end.
    pub fn fill(&mut self) -> Result<&[u8], Halt> {
        if self.current.as_ref().is_none_or(|chunk| self.at == chunk.filled().len()) {
            self.at = 0;
            self.current = None;
            let mut chunk = self.control.read.take().ok_or(Halt::Stopped)?;
            if self.read_into(&mut chunk)? > 0 {
                let chunk = Arc::new(chunk);
                if let Some(jobs) = &self.jobs {
                    _ = jobs.send(Job::Blob(Arc::clone(&chunk)));
                }
                self.current = Some(chunk);
            }
        }
        Ok(self.current.as_ref().map_or(&[], |chunk| &chunk.filled()[self.at..]))
    }

    /// Passes over the first `count` bytes of [`Input::fill`].
    pub fn consume(&mut self, count: usize) {
        self.at += count;
    }

    fn read_into(&mut self, chunk: &mut Chunk) -> Result<usize, Halt> {
        let mut total = 0;
        while total < CHUNK {
            match self.reader.read(chunk.free())? {
                0 => break,
                n => {
                    chunk.advance(n);
                    total += n;
                }
            }
        }
        self.control.progress.fetch_add(total as u64, Ordering::Relaxed);
        Ok(total)
    }

    /// Has the rest of the blob hashed, unless nobody compares.
    fn hash_rest(&mut self) -> Result<(), Halt> {
        if self.jobs.is_none() {
            return Ok(());
        }
        self.at = self.current.as_ref().map_or(0, |chunk| chunk.filled().len());
        while !self.fill()?.is_empty() {
            self.at = self.current.as_ref().map_or(0, |chunk| chunk.filled().len());
        }
        Ok(())
    }
}

/// The decoded bytes, on their way to the reader and to the hash thread.
pub(super) struct Output {
    current: Option<Chunk>,
    /// The chunk before, as long as the next one may want its end.
    before: Option<Arc<Chunk>>,
    control: Arc<Control>,
    to_reader: Sender<Arc<Chunk>>,
    jobs: Sender<Job>,
}

impl Output {
    /// Room for at least one byte. Waits for the reader when it is far behind.
    pub fn free(&mut self) -> Result<&mut [u8], Halt> {
        self.before = None;
        if self.current.is_none() {
            self.current = Some(self.control.ahead.take().ok_or(Halt::Stopped)?);
        }
        self.current.as_mut().map(Chunk::free).ok_or(Halt::Stopped)
    }

    /// The same for a decoder that looks back at what it has decoded, up to `history` bytes.
    pub fn target(&mut self, history: u64) -> Result<Target<'_>, Halt> {
        if self.current.is_none() {
            let mut chunk = self.control.ahead.take().ok_or(Halt::Stopped)?;
            if let Some(before) = self.before.take() {
                chunk.follow(&before);
            }
            self.current = Some(chunk);
        }
        self.current.as_mut().map(|chunk| chunk.target(history)).ok_or(Halt::Stopped)
    }

    /// Notes that `count` bytes of [`Output::free`] or [`Output::target`] have been written.
    pub fn advance(&mut self, count: usize) -> Result<(), Halt> {
        let Some(chunk) = &mut self.current else { return Ok(()) };
        chunk.advance(count);
        if chunk.is_full() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Halt> {
        let Some(chunk) = self.current.take().filter(|chunk| !chunk.filled().is_empty()) else { return Ok(()) };
        let chunk = Arc::new(chunk);
        _ = self.jobs.send(Job::Tar(Arc::clone(&chunk)));
        self.before = Some(Arc::clone(&chunk));
        self.to_reader.send(chunk).map_err(|_| Halt::Stopped)
    }
}

/// The hash thread. Of a chunk that is both blob and tar one digest serves for both, if they have one algorithm. A chunk
/// of the blob waits for one of the tar: two are hashed in less time together.
fn hash(jobs: &Receiver<Job>, expected: &Expected) -> Digests {
    let hasher = |digest: &Digest| Hasher::new(digest.algorithm());
    let mut blob = expected.blob.as_ref().map(hasher);
    let mut tar = expected.tar.as_ref().map(hasher);
    let algorithm = |digest: &Option<Digest>| digest.as_ref().map(Digest::algorithm);
    let one_algorithm = algorithm(&expected.blob) == algorithm(&expected.tar);
    let mut same = false;
    let update = |hasher: &mut Option<Hasher>, chunk: &Chunk| {
        if let Some(hasher) = hasher {
            hasher.update(chunk.filled());
        }
    };
    let mut waiting: Option<Arc<Chunk>> = None;
    for job in jobs {
        match job {
            Job::Both(chunk) => {
                same = one_algorithm;
                update(&mut blob, &chunk);
                if !same {
                    update(&mut tar, &chunk);
                }
            }
            Job::Blob(chunk) => {
                if let Some(earlier) = waiting.replace(chunk) {
                    update(&mut blob, &earlier);
                }
            }
            Job::Tar(chunk) => {
                let Some(tar) = &mut tar else { continue };
                match (waiting.take(), &mut blob) {
                    (Some(earlier), Some(blob)) => {
                        Hasher::update_both(blob, earlier.filled(), tar, chunk.filled());
                    }
                    _ => tar.update(chunk.filled()),
                }
            }
        }
    }
    if let Some(last) = waiting {
        update(&mut blob, &last);
    }
    let (blob, tar) = (blob.map(Hasher::finish), tar.map(Hasher::finish));
    let tar = if same { blob.clone() } else { tar };
    Digests { blob, tar }
}
