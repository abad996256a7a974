//! The two ends of a decoder: stored bytes in, decoded bytes out, both shared with the hash thread.

use super::hash::Job;
use crate::image::blob::{BlobFault, BlobReader};
use crate::image::inflate::Target;
use crate::image::pool::{CHUNK, Chunk, Pool};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

/// What the reader tells the threads, and the decoder tells a progress bar.
pub struct Control {
    ahead: Arc<Pool>,
    read: Arc<Pool>,
    /// Nobody wants to know any more, not even a digest.
    abandoned: Arc<AtomicBool>,
    progress: Arc<AtomicU64>,
}

impl Control {
    /// With a pool of decoded chunks and one of stored ones.
    pub fn new(ahead: Arc<Pool>, read: Arc<Pool>) -> Control {
        Control { ahead, read, abandoned: Arc::default(), progress: Arc::default() }
    }

    /// Ends decoding; what is stored goes on being hashed.
    pub fn stop(&self) {
        self.ahead.close();
    }

    /// Ends hashing too.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.ahead.close();
        self.read.close();
    }

    /// Whether nobody wants to know any more.
    pub fn abandoned(&self) -> &Arc<AtomicBool> {
        &self.abandoned
    }

    /// Bytes read so far, as stored.
    pub fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }
}

/// Why decoding ends early.
pub enum Halt {
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

/// The stored bytes, on their way to a decoder, and to the hash thread if somebody knows their digest.
pub struct Input {
    reader: BlobReader,
    current: Option<Arc<Chunk>>,
    at: usize,
    control: Arc<Control>,
    jobs: Option<Sender<Job>>,
}

impl Input {
    /// The bytes of `reader`; `jobs` leads to the hash thread.
    pub fn new(reader: BlobReader, control: Arc<Control>, jobs: Option<Sender<Job>>) -> Input {
        Input { reader, current: None, at: 0, control, jobs }
    }

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

    /// Has the rest of the blob hashed, unless nobody compares or nobody wants to know any more.
    pub fn hash_rest(&mut self) -> Result<(), Halt> {
        if self.jobs.is_none() || self.control.abandoned.load(Ordering::Relaxed) {
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
pub struct Output {
    current: Option<Chunk>,
    /// The chunk before, as long as the next one may want its end.
    before: Option<Arc<Chunk>>,
    control: Arc<Control>,
    to_reader: Sender<Arc<Chunk>>,
    jobs: Sender<Job>,
}

impl Output {
    /// Chunks go to the reader and to the hash thread.
    pub fn new(control: Arc<Control>, to_reader: Sender<Arc<Chunk>>, jobs: Sender<Job>) -> Output {
        Output { current: None, before: None, control, to_reader, jobs }
    }

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

    /// Hands out what there is.
    pub fn flush(&mut self) -> Result<(), Halt> {
        let Some(chunk) = self.current.take().filter(|chunk| !chunk.filled().is_empty()) else { return Ok(()) };
        let chunk = Arc::new(chunk);
        _ = self.jobs.send(Job::Tar(Arc::clone(&chunk)));
        self.before = Some(Arc::clone(&chunk));
        self.to_reader.send(chunk).map_err(|_| Halt::Stopped)
    }
}

/// A layer that is not compressed: what is read is what is handed out.
pub fn pass(input: &mut Input, output: &mut Output) -> Result<(), Halt> {
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
