//! The hash thread: digests of what is stored and of what was decoded from it.

use crate::image::pool::Chunk;
use crate::image::{Digest, Format, Hasher};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// Digests of one layer, as far as there are any: those stated, or those computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// Of the stored bytes.
    pub blob: Option<Digest>,
    /// Of the uncompressed tar.
    pub tar: Option<Digest>,
}

/// A chunk to hash.
pub enum Job {
    /// Stored bytes.
    Blob(Arc<Chunk>),
    /// Decoded bytes.
    Tar(Arc<Chunk>),
    /// Stored bytes that are the tar.
    Both(Arc<Chunk>),
}

/// What is computed, settled before the first chunk.
#[expect(clippy::large_enum_variant, reason = "there is one for each layer that is open")]
enum Work {
    /// The stored bytes are the tar, and one digest serves for both.
    Shared(Hasher),
    /// Each has its own, where somebody states one.
    Apart(Apart),
}

struct Apart {
    blob: Option<Hasher>,
    tar: Option<Hasher>,
    /// A chunk of the blob waits for one of the tar: two are hashed in less time together.
    waiting: Option<Arc<Chunk>>,
}

/// Hashes every chunk until nobody sends any more, for what is to be compared with `expected`.
pub fn hash(jobs: &Receiver<Job>, format: Format, expected: &Digests) -> Digests {
    let mut work = Work::new(format, expected);
    jobs.iter().for_each(|job| work.take(job));
    work.finish()
}

impl Work {
    fn new(format: Format, expected: &Digests) -> Work {
        let hasher = |digest: &Digest| Hasher::new(digest.algorithm());
        match (&expected.blob, &expected.tar) {
            (Some(blob), Some(tar)) if format == Format::Tar && blob.algorithm() == tar.algorithm() => {
                Work::Shared(hasher(blob))
            }
            (blob, tar) => {
                let (blob, tar) = (blob.as_ref().map(hasher), tar.as_ref().map(hasher));
                Work::Apart(Apart { blob, tar, waiting: None })
            }
        }
    }

    fn take(&mut self, job: Job) {
        match (self, job) {
            (Work::Shared(hasher), Job::Blob(chunk) | Job::Tar(chunk) | Job::Both(chunk)) => {
                hasher.update(chunk.filled());
            }
            (Work::Apart(apart), Job::Blob(chunk)) => apart.blob(chunk),
            (Work::Apart(apart), Job::Tar(chunk)) => apart.tar(&chunk),
            (Work::Apart(apart), Job::Both(chunk)) => {
                apart.tar(&chunk);
                update(&mut apart.blob, &chunk);
            }
        }
    }

    fn finish(self) -> Digests {
        match self {
            Work::Shared(hasher) => {
                let digest = Some(hasher.finish());
                Digests { blob: digest.clone(), tar: digest }
            }
            Work::Apart(mut apart) => {
                apart.no_longer_wait();
                Digests { blob: apart.blob.map(Hasher::finish), tar: apart.tar.map(Hasher::finish) }
            }
        }
    }
}

impl Apart {
    fn blob(&mut self, chunk: Arc<Chunk>) {
        self.no_longer_wait();
        self.waiting = Some(chunk);
    }

    fn tar(&mut self, chunk: &Chunk) {
        let Some(tar) = &mut self.tar else { return };
        match (self.waiting.take(), &mut self.blob) {
            (Some(earlier), Some(blob)) => Hasher::update_both(blob, earlier.filled(), tar, chunk.filled()),
            _ => tar.update(chunk.filled()),
        }
    }

    fn no_longer_wait(&mut self) {
        if let Some(earlier) = self.waiting.take() {
            update(&mut self.blob, &earlier);
        }
    }
}

fn update(hasher: &mut Option<Hasher>, chunk: &Chunk) {
    if let Some(hasher) = hasher {
        hasher.update(chunk.filled());
    }
}
